//! Whatever is written, in whatever reads, and however slowly it is read again: every line is told or counted.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::stream::ring::count_lines;
use crate::stream::{Read, Reader, What};

/// One child's pipe of one slot, as the pump sees it: whether a line has begun is known from what was written.
struct Writer {
    slot: usize,
    pipe: (InstanceId, Pid, Channel),
    begins: Begins,
}

impl Writer {
    fn new(history: &History, slot: &str, instance: u64, channel: Channel) -> Writer {
        let slot = history.place(&slot.parse().unwrap());
        Writer { slot, pipe: (InstanceId(instance), Pid::new(4321).unwrap(), channel), begins: Begins::Line }
    }

    fn write(&mut self, history: &History, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        history.keep(self.slot, self.pipe, self.begins, bytes, count_lines(bytes));
        self.begins = if bytes.ends_with(b"\n") { Begins::Line } else { Begins::Middle };
    }

    fn end(&mut self, history: &History) {
        if self.begins == Begins::Middle {
            self.write(history, b"\n");
        }
    }
}

fn notice(code: u8) -> Notice {
    Notice::Ended { code, because: None }
}

fn objects(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).expect("each line is an object")).collect()
}

/// Everything there is for a reader now, a little at a time.
fn read_all(reader: &mut Reader) -> Vec<Value> {
    let mut out = Vec::new();
    while reader.read(&mut out, 100) == Read::More {}
    objects(&out)
}

fn messages(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| object["message"].as_str().unwrap().to_owned()).collect()
}

fn all(history: &Arc<History>, targets: &[&str], last: Option<usize>) -> Vec<String> {
    let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    messages(&read_all(&mut Reader::new(Arc::clone(history), What::Logs, targets, last)))
}

#[test]
fn lines_of_all_slots_come_in_the_order_in_which_they_were_read() {
    let history = History::new(4096);
    let mut web = Writer::new(&history, "web.1", 1, Channel::Stdout);
    let mut worker = Writer::new(&history, "worker.1", 2, Channel::Stderr);
    history.say(notice(1), Vec::new());
    web.write(&history, b"a\nb\nc");
    worker.write(&history, b"\n1\n");
    web.write(&history, b"c\n");
    history.say(notice(2), Vec::new());
    assert_eq!(
        all(&history, &[], None),
        ["ending with code 1", "a", "b", "", "1", "cc", "ending with code 2"]
    );
    assert_eq!(all(&history, &["web"], None), ["a", "b", "cc"]);
    assert_eq!(all(&history, &["supervise"], None), ["ending with code 1", "ending with code 2"]);
    assert_eq!(all(&history, &[], Some(4)), ["", "1", "cc", "ending with code 2"]);
    assert_eq!(all(&history, &["w*"], Some(2)), ["1", "cc"]);
    assert_eq!(all(&history, &[], Some(0)), [""; 0]);
    let mut events = Reader::new(Arc::clone(&history), What::Events, Vec::new(), None);
    assert_eq!(messages(&read_all(&mut events)), ["ending with code 1", "ending with code 2"]);
}

#[test]
fn a_line_says_who_wrote_it_and_a_notice_of_a_slot_goes_with_it() {
    let history = History::new(4096);
    let mut web = Writer::new(&history, "web.2", 1, Channel::Stderr);
    let slot: SlotName = "web.2".parse().unwrap();
    history.say(Notice::Started { slot, pid: Pid::new(4321).unwrap(), port: None }, Vec::new());
    web.write(&history, b"\xff\n");
    let mut reader = Reader::new(Arc::clone(&history), What::Logs, vec!["web".parse().unwrap()], None);
    let said = read_all(&mut reader);
    assert_eq!(said[0]["event"], "started");
    assert_eq!((&said[1]["process"], &said[1]["pid"]), (&"web.2".into(), &4321.into()));
    assert_eq!((&said[1]["stream"], &said[1]["message_base64"]), (&"stderr".into(), &"/w==".into()));
}

#[test]
fn the_bell_rings_once_for_those_who_wait_and_not_for_a_flood_that_nobody_follows() {
    let history = History::new(4096);
    let rings = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&rings);
    history.set_bell(move || {
        heard.fetch_add(1, Ordering::Relaxed);
    });
    let mut web = Writer::new(&history, "web.1", 1, Channel::Stdout);
    web.write(&history, b"nobody follows\n");
    assert_eq!(rings.load(Ordering::Relaxed), 0);
    let mut reader = Reader::new(Arc::clone(&history), What::Logs, Vec::new(), None);
    assert_eq!(read_all(&mut reader).len(), 1);
    for n in 0..1000 {
        web.write(&history, format!("{n}\n").as_bytes());
    }
    assert_eq!(rings.load(Ordering::Relaxed), 1);
    read_all(&mut reader);
    history.end();
    assert_eq!(rings.load(Ordering::Relaxed), 2);
    assert_eq!(reader.read(&mut Vec::new(), 100), Read::Over);
}

#[test]
fn a_follower_that_came_too_late_is_told_what_it_missed_and_one_that_comes_later_is_not() {
    let history = History::new(1024);
    let mut web = Writer::new(&history, "web.1", 1, Channel::Stdout);
    let mut early = Reader::new(Arc::clone(&history), What::Logs, Vec::new(), None);
    for n in 0..1000 {
        web.write(&history, format!("{n}\n").as_bytes());
    }
    for code in 0..=255 {
        for _ in 0..4 {
            history.say(notice(code), Vec::new());
        }
    }
    let said = read_all(&mut early);
    assert_eq!((&said[0]["event"], &said[0]["process"]), (&"missed".into(), &"web.1".into()));
    let lines = said[0]["lines"].as_u64().unwrap();
    assert_eq!(said[1]["message"], lines.to_string());
    let notices = said.iter().find(|object| object["process"] == "supervise").unwrap();
    assert_eq!((&notices["event"], &notices["lines"]), (&"missed".into(), &24.into()));
    assert!(!all(&history, &[], None).iter().any(|message| message.contains("missed")));
}

#[test]
fn a_silent_slot_costs_nothing_and_a_chatty_one_no_more_than_it_may() {
    let history = History::new(32 * 1024);
    for n in 1..=100 {
        let mut web = Writer::new(&history, &format!("web.{n}"), n, Channel::Stdout);
        if n <= 64 {
            for length in (1..70_000).step_by(997) {
                web.write(&history, &vec![b'\n'; length]);
                web.write(&history, b"x\n");
            }
        }
    }
    let kept = history.lock();
    let real: usize = kept.rings.iter().map(|(_, ring)| ring.held()).sum();
    assert_eq!(kept.held, real);
    assert_eq!(real, 64 * 32 * 1024);
}

#[test]
fn all_rings_together_are_bounded_and_the_longest_silent_goes() {
    let history = History::new(1024);
    let mut early = Reader::new(Arc::clone(&history), What::Logs, vec!["web.1".parse().unwrap()], None);
    for n in 1..=RINGS as u64 + 1 {
        let mut web = Writer::new(&history, &format!("web.{n}"), n, Channel::Stdout);
        web.write(&history, &[b'\n'; 2000]);
    }
    assert!(history.lock().held <= RINGS * 1024);
    assert_eq!(history.lock().rings[0].1.held(), 0);
    let said = read_all(&mut early);
    assert_eq!((said.len(), &said[0]["lines"]), (1, &2000.into()));
}

#[test]
fn the_last_words_of_a_slot_are_those_of_its_last_instance_and_stderr_comes_last() {
    let history = History::new(32 * 1024);
    let last = || {
        let lines = history.last_lines(&"web.1".parse().unwrap());
        lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect::<Vec<_>>()
    };
    assert!(last().is_empty());
    Writer::new(&history, "web.1", 1, Channel::Stdout).write(&history, b"old\n");
    let mut stderr = Writer::new(&history, "web.1", 2, Channel::Stderr);
    let mut stdout = Writer::new(&history, "web.1", 2, Channel::Stdout);
    stderr.write(&history, b"Traceback\nboom\n");
    stdout.write(&history, b"\n1\n2\n3\n4\n5\n6\n7\n8\n");
    assert_eq!(last(), ["1", "2", "3", "4", "5", "6", "7", "8", "Traceback", "boom"]);
    let mut endless = Writer::new(&history, "web.1", 3, Channel::Stdout);
    endless.write(&history, &vec![b'x'; 70_000]);
    endless.write(&history, b"end");
    assert_eq!(last(), [format!("{}end", "x".repeat(2045))]);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// So many lines of one pipe, each so long, written in reads of this size.
    Write { pipe: usize, lines: usize, length: usize, read: usize },
    /// The last line of a pipe has no newline, and its process ends.
    Crash { pipe: usize },
    /// A notice.
    Say,
    /// The reader reads so much.
    Read { most: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4usize, 0..40usize, 0..200usize, 1..3000usize)
            .prop_map(|(pipe, lines, length, read)| Step::Write { pipe, lines, length, read }),
        1 => (0..4usize, 1..3usize, 1000..150_000usize, 1..70_000usize)
            .prop_map(|(pipe, lines, length, read)| Step::Write { pipe, lines, length, read }),
        2 => (0..4usize).prop_map(|pipe| Step::Crash { pipe }),
        2 => Just(Step::Say),
        6 => prop_oneof![1..50usize, 1..5000usize, Just(1 << 20)].prop_map(|most| Step::Read { most }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a reader was told of one slot: each line by its number, and how many it missed.
#[derive(Default)]
struct Told {
    lines: u64,
    missed: u64,
    last: HashMap<String, u64>,
    piece: HashMap<String, String>,
}

impl Told {
    /// Takes note of a line: it is whole, and later than those of its pipe before.
    fn note(&mut self, object: &Value, written: &HashMap<String, Vec<String>>) {
        if object["event"] == "missed" {
            self.missed += object["lines"].as_u64().unwrap();
            // What has begun is among them.
            self.piece.clear();
            return;
        }
        let text = object["message"].as_str().unwrap();
        let pipe = text.split(':').next().unwrap().to_owned();
        let stream = object["stream"].as_str().unwrap().to_owned();
        let begun = self.piece.remove(&stream);
        if object["partial"] == true {
            self.piece.insert(stream, begun.unwrap_or_default() + text);
            return;
        }
        let whole = begun.unwrap_or_default() + text;
        let pipe = if whole.len() > text.len() { whole.split(':').next().unwrap().to_owned() } else { pipe };
        let number: u64 = whole.split(':').nth(1).expect("a line says its number").parse().unwrap();
        assert_eq!(whole, written[&pipe][usize::try_from(number).unwrap()], "a torn line");
        if let Some(last) = self.last.insert(pipe, number) {
            assert!(number > last, "{number} after {last}");
        }
        self.lines += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Four pipes in two slots, any reads, any ring, any pace of the reader.
    #[test]
    fn every_line_is_told_or_counted(steps in steps(), ring in 0..40_000usize) {
        let history = History::new(ring);
        let pipe = |n: usize| {
            let channel = if n.is_multiple_of(2) { Channel::Stdout } else { Channel::Stderr };
            Writer::new(&history, ["web.1", "web.2"][n / 2], 1, channel)
        };
        let mut pipes: Vec<Writer> = (0..4).map(pipe).collect();
        let mut reader = Reader::new(Arc::clone(&history), What::Logs, Vec::new(), None);
        let mut out = Vec::new();
        let mut written: HashMap<String, Vec<String>> = HashMap::new();
        let mut lines_of = [0u64; 2];
        let mut said = 0u64;
        for step in steps {
            match step {
                Step::Write { pipe, lines, length, read } => {
                    let of = written.entry(format!("p{pipe}")).or_default();
                    let mut text = String::new();
                    for _ in 0..lines {
                        let line = format!("p{pipe}:{}:{}", of.len(), "x".repeat(length));
                        text += &line;
                        text.push('\n');
                        of.push(line);
                    }
                    lines_of[pipe / 2] += lines as u64;
                    for chunk in text.as_bytes().chunks(read) {
                        pipes[pipe].write(&history, chunk);
                    }
                }
                Step::Crash { pipe } => {
                    let of = written.entry(format!("p{pipe}")).or_default();
                    let line = format!("p{pipe}:{}:the end", of.len());
                    pipes[pipe].write(&history, line.as_bytes());
                    pipes[pipe].end(&history);
                    pipes[pipe].pipe.0.0 += 1;
                    of.push(line);
                    lines_of[pipe / 2] += 1;
                }
                Step::Say => {
                    history.say(notice(0), Vec::new());
                    said += 1;
                }
                Step::Read { most } => {
                    let before = out.len();
                    reader.read(&mut out, most);
                    let over = out[before..].len().saturating_sub(most);
                    prop_assert!(over < 66_000, "{over} bytes more than wanted");
                }
            }
        }
        while reader.read(&mut out, 1000) == Read::More {}
        let mut told = [Told::default(), Told::default()];
        let mut notices = 0;
        for object in objects(&out) {
            match object["process"].as_str().unwrap() {
                "web.1" => told[0].note(&object, &written),
                "web.2" => told[1].note(&object, &written),
                _ => notices += 1,
            }
        }
        for (told, lines) in told.iter().zip(lines_of) {
            prop_assert_eq!(told.lines + told.missed, lines, "told {} and missed {}", told.lines, told.missed);
        }
        prop_assert_eq!(notices, said);
    }

    /// The last N are the end of what all of it would be.
    #[test]
    fn the_last_lines_are_the_last_of_all(steps in steps(), ring in 0..40_000usize, last in 0..80usize) {
        let history = History::new(ring);
        let mut pipes: Vec<Writer> = ["web.1", "web.1", "web.2", "worker.1"].iter().enumerate().map(|(n, slot)| {
            let channel = if n == 1 { Channel::Stderr } else { Channel::Stdout };
            Writer::new(&history, slot, 1, channel)
        }).collect();
        for step in steps {
            match step {
                Step::Write { pipe, lines, length, read } => {
                    let text = format!("{}\n", "x".repeat(length)).repeat(lines);
                    for chunk in text.as_bytes().chunks(read) {
                        pipes[pipe].write(&history, chunk);
                    }
                }
                Step::Crash { pipe } => pipes[pipe].write(&history, b"not yet ended"),
                Step::Say => history.say(notice(0), Vec::new()),
                Step::Read { .. } => {}
            }
        }
        for targets in [&[][..], &["web"], &["web.1", "supervise"]] {
            let everything = all(&history, targets, None);
            let wanted = everything.len().saturating_sub(last);
            // A piece of a line that has not ended is no line.
            let pieces = everything.iter().any(|message| message.len() > 65_000);
            if !pieces {
                prop_assert_eq!(all(&history, targets, Some(last)), &everything[wanted..]);
            }
        }
    }
}
