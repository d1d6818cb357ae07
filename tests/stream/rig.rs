//! A stream between pipes whose other ends the test holds.

use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use supervise::api::{ExitStatus, InstanceId, Notice, Pid, SlotName, Then};
use supervise::stream::{
    Channel, Choice, Format, History, Output, Report, Settings, Source, Stream, Totals, WhenGone, WhenSlow,
    open_on,
};

/// Far longer than anything here takes; it only decides how long a broken stream is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Text without time and colour; the reader is waited for.
pub(crate) const PLAIN: Settings = Settings {
    output: Output::Stdout,
    format: Format::Text,
    timestamps: Choice::Never,
    color: Choice::Never,
    when_slow: WhenSlow::Block,
    when_gone: WhenGone::Drain,
};

/// A stream, its reports, and what it said on stderr.
pub(crate) struct Rig {
    pub(crate) stream: Stream,
    pub(crate) history: Arc<History>,
    pub(crate) reports: Receiver<Report>,
    pub(crate) aside: Reading,
}

impl Rig {
    /// A stream whose output is read all the time.
    pub(crate) fn read(settings: Settings) -> (Rig, Reading) {
        let (rig, reader) = Rig::unread(settings);
        (rig, Reading::of(reader))
    }

    /// A stream whose output is a pipe that nobody reads yet, of a size that is somebody's wish, so that it stays so.
    pub(crate) fn unread(settings: Settings) -> (Rig, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETPIPE_SZ(128 * 1024)).unwrap();
        (Rig::on(writer.into(), settings), reader)
    }

    /// A stream on this output.
    pub(crate) fn on(out: OwnedFd, settings: Settings) -> Rig {
        let (aside, aside_writer) = pipe().unwrap();
        let (sender, reports) = channel();
        let history = History::new(32 * 1024);
        let report = move |report| sender.send(report).unwrap();
        let stream = open_on(out, aside_writer.into(), settings, 0, Arc::clone(&history), report).unwrap();
        Rig { stream, history, reports, aside: Reading::of(aside) }
    }

    /// The writing end of the stdout of instance N of this slot.
    pub(crate) fn child(&self, slot: &str, instance: u64) -> PipeWriter {
        self.pipe(slot, instance, Channel::Stdout)
    }

    /// The writing end of one pipe of instance N of this slot.
    pub(crate) fn pipe(&self, slot: &str, instance: u64, channel: Channel) -> PipeWriter {
        let (writer, mut source) = source(slot, instance);
        source.channel = channel;
        self.stream.attach(source);
        writer
    }

    /// Ends the stream with plenty of time.
    pub(crate) fn finish(self) -> Totals {
        self.stream.finish(SOON).expect("nothing holds the thread")
    }
}

/// What came out of a pipe so far; a thread reads it.
#[derive(Clone)]
pub(crate) struct Reading {
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    over: bool,
}

impl Reading {
    /// Reads a pipe to its end.
    pub(crate) fn of(reader: impl Read + Send + 'static) -> Reading {
        Reading::slowly(reader, Duration::ZERO)
    }

    /// Reads a pipe to its end, 64 KiB at a time with a pause after each.
    pub(crate) fn slowly(mut reader: impl Read + Send + 'static, pause: Duration) -> Reading {
        let reading = Reading { seen: Arc::default() };
        let seen = Arc::clone(&reading.seen);
        thread::spawn(move || {
            let mut chunk = vec![0; 65_536];
            loop {
                let count = reader.read(&mut chunk).unwrap();
                let mut lock = seen.0.lock().unwrap();
                lock.bytes.extend_from_slice(&chunk[..count]);
                lock.over = count == 0;
                seen.1.notify_all();
                if lock.over {
                    return;
                }
                drop(lock);
                thread::sleep(pause);
            }
        });
        reading
    }

    /// Waits until what was seen is as wanted, and returns it.
    pub(crate) fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.wait(|seen| wanted(&String::from_utf8_lossy(&seen.bytes)), "it did not come")
    }

    /// Waits for the end of the output and returns all of it.
    pub(crate) fn all(&self) -> String {
        self.wait(|seen| seen.over, "it did not end")
    }

    /// The same, as bytes.
    pub(crate) fn all_bytes(&self) -> Vec<u8> {
        self.all();
        self.seen.0.lock().unwrap().bytes.clone()
    }

    fn wait(&self, wanted: impl Fn(&Seen) -> bool, complaint: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if wanted(&seen) {
                return String::from_utf8_lossy(&seen.bytes).into_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let end = String::from_utf8_lossy(&seen.bytes[seen.bytes.len().saturating_sub(2000)..]);
            assert!(!left.is_zero(), "{complaint} in {SOON:?}; the end of what was seen: {end}");
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }
}

/// The writing end of the stdout of instance N of a slot, and what the stream is given of it.
pub(crate) fn source(slot: &str, instance: u64) -> (PipeWriter, Source) {
    let (reader, writer) = pipe().unwrap();
    let flags = OFlag::from_bits_retain(fcntl(&reader, FcntlArg::F_GETFL).unwrap());
    fcntl(&reader, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let (instance, pid) = (InstanceId(instance), Pid::new(4321).unwrap());
    (writer, Source { instance, slot: name(slot), pid, channel: Channel::Stdout, pipe: reader.into() })
}

/// A slot by its name.
pub(crate) fn name(slot: &str) -> SlotName {
    let (process_type, number) = slot.rsplit_once('.').unwrap();
    SlotName { process_type: process_type.parse().unwrap(), number: number.parse().unwrap() }
}

/// That the leader of a slot has ended.
pub(crate) fn exited(slot: &str, code: u8) -> Notice {
    Notice::Exited {
        slot: name(slot),
        pid: Pid::new(4321).unwrap(),
        status: ExitStatus::Code(code),
        uptime_ms: 12,
        then: Then::Rest,
    }
}

/// Waits for a thread, but not for ever.
pub(crate) fn join<T: Send + 'static>(thread: thread::JoinHandle<T>, who: &str) -> T {
    let deadline = Instant::now() + SOON;
    while !thread.is_finished() {
        assert!(Instant::now() < deadline, "{who} is still held after {SOON:?}");
        thread::sleep(Duration::from_millis(1));
    }
    thread.join().unwrap()
}

/// The numbers in the lines of the stream that say what was dropped.
pub(crate) fn said_dropped(text: &str) -> u64 {
    let said = text.lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("supervise | ")?.split_once(" lines dropped: ")?;
        Some(number.parse::<u64>().unwrap())
    });
    said.sum()
}

/// So many numbered lines.
pub(crate) fn numbered(lines: u32) -> String {
    let lines: Vec<_> = (0..lines).map(|n| format!("line {n}\n")).collect();
    lines.concat()
}
