//! What `logs` and `events` read: everything that went through the stream, for any number of readers who may be slow.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde_json::Value;
use supervise::api::{InstanceId, Notice};
use supervise::stream::{Channel, Format, History, Output, Read, Reader, Settings, What};

use crate::rig::{PLAIN, Rig, SOON, exited, join, numbered};

/// A follower, who waits for the bell.
struct Follower {
    reader: Reader,
    bell: Receiver<()>,
    seen: Vec<u8>,
}

impl Follower {
    fn of(history: &Arc<History>, what: What) -> Follower {
        let (ringer, bell) = sync_channel(1);
        history.set_bell(move || {
            // One ring that is not yet heard is enough.
            let _ = ringer.try_send(());
        });
        let reader = Reader::new(Arc::clone(history), what, Vec::new(), None);
        Follower { reader, bell, seen: Vec::new() }
    }

    /// Reads until this has been said.
    fn until(&mut self, text: &str) -> Vec<Value> {
        self.read(|seen| String::from_utf8_lossy(seen).contains(text), text)
    }

    /// Reads to the end.
    fn all(&mut self) -> Vec<Value> {
        self.read(|_| false, "the end")
    }

    fn read(&mut self, enough: impl Fn(&[u8]) -> bool, what: &str) -> Vec<Value> {
        while !enough(&self.seen) {
            match self.reader.read(&mut self.seen, 8192) {
                Read::More => {}
                Read::Over => break,
                Read::CaughtUp if enough(&self.seen) => break,
                Read::CaughtUp => {
                    let rung = self.bell.recv_timeout(SOON);
                    rung.unwrap_or_else(|_| {
                        panic!("{what} did not come: {}", String::from_utf8_lossy(&self.seen))
                    });
                }
            }
        }
        let lines = self.seen.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

fn messages(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["message"].as_str().unwrap()).collect()
}

#[test]
fn a_follower_hears_every_line_and_notice_in_order_until_the_end() {
    let (rig, _reading) = Rig::read(Settings { output: Output::Stdout, ..PLAIN });
    let mut follower = Follower::of(&rig.history, What::Logs);
    let mut web = rig.child("web.1", 1);
    let mut errors = rig.pipe("web.1", 1, Channel::Stderr);
    web.write_all(b"one\ntw").unwrap();
    follower.until("one");
    web.write_all(b"o\nlast words").unwrap();
    drop(web);
    follower.until("last words");
    errors.write_all(b"boom\n").unwrap();
    follower.until("boom");
    rig.stream.last_words(InstanceId(1), exited("web.1", 3));
    rig.finish();
    let seen = follower.all();
    assert_eq!(messages(&seen), ["one", "two", "last words", "boom", "web.1 exited with code 3 after 12ms"]);
    assert_eq!(seen[3]["stream"], "stderr");
    assert_eq!((&seen[4]["event"], &seen[4]["code"]), (&"exited".into(), &3.into()));
}

#[test]
fn the_history_says_what_format_json_says() {
    let (rig, reading) = Rig::read(Settings { format: Format::Json, ..PLAIN });
    let mut follower = Follower::of(&rig.history, What::Logs);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"a \"line\"\n\xff\n").unwrap();
    follower.until("message_base64");
    rig.stream.notice(Notice::Suspended);
    rig.finish();
    let without_time = |mut object: Value| {
        let time = object.as_object_mut().unwrap().remove("timestamp");
        assert!(time.is_some_and(|time| time.as_str().unwrap().ends_with('Z')));
        object
    };
    let said: Vec<Value> =
        reading.all().lines().map(|line| without_time(serde_json::from_str(line).unwrap())).collect();
    let told: Vec<Value> = follower.all().into_iter().map(without_time).collect();
    assert_eq!(told, said);
}

#[test]
fn a_follower_who_does_not_read_holds_up_nobody_and_learns_what_it_missed() {
    const LINES: u32 = 300_000;
    let (rig, _reading) = Rig::read(PLAIN);
    let mut follower = Follower::of(&rig.history, What::Logs);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"first\n").unwrap();
    follower.until("first");
    let flood = thread::spawn(move || web.write_all(numbered(LINES).as_bytes()).unwrap());
    join(flood, "the flood");
    rig.finish();
    let seen = follower.all();
    let missed: u64 = seen.iter().filter_map(|object| object["lines"].as_u64()).sum();
    let told = seen.iter().filter(|object| object["stream"] == "stdout").count() as u64;
    assert!(missed > 0, "a ring of 32 KiB cannot hold {LINES} lines");
    assert_eq!(told + missed, u64::from(LINES) + 1);
    assert_eq!(seen.last().unwrap()["message"], format!("line {}", LINES - 1));
}

#[test]
fn without_an_output_lines_live_in_the_history_and_none_is_dropped() {
    let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
    let rig = Rig::on(null.into(), Settings { output: Output::Nowhere, ..PLAIN });
    let mut follower = Follower::of(&rig.history, What::Logs);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"a\nb").unwrap();
    drop(web);
    follower.until("\"b\"");
    rig.stream.notice(Notice::Suspended);
    let aside = rig.aside.clone();
    assert_eq!(rig.finish().dropped, 0);
    assert_eq!(messages(&follower.all()), ["a", "b", "suspended with everything; `fg` or SIGCONT goes on"]);
    assert_eq!(aside.all(), "");
}

#[test]
fn a_reader_of_what_is_kept_now_ends_there_however_much_comes() {
    let (rig, _reading) = Rig::read(Settings { output: Output::Stdout, ..PLAIN });
    let mut follower = Follower::of(&rig.history, What::Logs);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"one\n").unwrap();
    follower.until("one");
    let mut reader = Reader::new(Arc::clone(&rig.history), What::Logs, Vec::new(), None).until_now();
    web.write_all(b"two\n").unwrap();
    rig.stream.notice(exited("web.1", 3));
    follower.until("code 3");
    let mut seen = Vec::new();
    assert_eq!(reader.read(&mut seen, 8192), Read::CaughtUp);
    let text = String::from_utf8(seen).unwrap();
    assert!(text.contains("one") && !text.contains("two") && !text.contains("code 3"), "{text}");
}
