//! What becomes of what is written.

use std::time::Duration;

use memchr::memmem;

use super::super::cell::{Cell, Run, SLACK, Stage, Told, fails, within};
use super::super::peers::{Job, Restart};
use super::super::proc;

const DRAIN: u64 = 3;

/// More memory than this is no buffer but the whole of it.
const MOST_MIB: u64 = 48;

pub(super) fn closes(cell: &Cell) -> Told {
    let run = cell.keep(DRAIN, vec![cell.chaos("web", 1, "touch @ready close-stdout sleep 1h")])?;
    run.begun(&["ready"])?;
    let before = run.with("ready");
    let spent = run.cpu();
    std::thread::sleep(Duration::from_secs(3));
    let spent = run.cpu().saturating_sub(spent);
    if run.with("ready") != before {
        return fails("it was taken for an end");
    }
    // A busy loop gets more even where ten others want to run.
    if spent > Duration::from_millis(300) {
        return fails(format!("a busy loop: {:.1} s of 3 s", spent.as_secs_f64()));
    }
    run.signal(libc::SIGTERM);
    run.ends_clean(SLACK)
}

pub(super) fn endless(cell: &Cell) -> Told {
    const LINE: usize = 64 << 20;
    let run = cell
        .start(DRAIN, vec![cell.chaos("web", 1, &format!("sleep 1s flood {LINE} touch @done sleep 1h"))])?;
    run.counted(1)?;
    std::thread::sleep(Duration::from_millis(900));
    let before = run.peak_mib();
    let done = || cell.file("done").exists();
    if within(Duration::from_secs(60), done).is_none() {
        return fails(format!("{} MiB came through within a minute", run.listener.len() >> 20));
    }
    run.heard();
    let grown = run.peak_mib().saturating_sub(before);
    // Who keeps a line until it ends has all of it only then.
    run.signal(libc::SIGTERM);
    run.ends_within(2 * SLACK);
    let bytes = run.heard();
    let count = memchr::memchr_iter(b'x', &bytes).count();
    if count < LINE {
        return fails(format!("{} of 64 MiB came out", count >> 20));
    }
    if grown > MOST_MIB { fails(format!("it takes {grown} MiB of memory")) } else { Ok(()) }
}

pub(super) fn odd(cell: &Cell) -> Told {
    // No UTF-8, a NUL, a colour, a carriage return, an emoji, and an end that is heard.
    let bytes = b"\xff\xfe\xc3(\0\x1b[31m\r\xf0\x9f\x98\x80the-end";
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let web = cell.chaos("web", 1, &format!("bytes {hex}0a touch @ready sleep 1h"));
    let run = cell.start(DRAIN, vec![web])?;
    run.begun(&["ready"])?;
    let came = run.hears("the-end", 2 * SLACK);
    let heard = run.heard();
    if !run.is_alive() {
        return fails("it ended");
    }
    match (came, memmem::find(&heard, bytes)) {
        (true, Some(_)) => Ok(()),
        (true, None) => fails("bytes were changed"),
        (false, _) => fails("the line did not come out"),
    }
}

pub(super) fn together(cell: &Cell) -> Told {
    const LINES: usize = 2000;
    const LENGTH: usize = 6000;
    let of = |letter: &str| format!("sleep 500ms blocks {LINES} {LENGTH} {letter} sleep 1h");
    let run = cell.start(DRAIN, vec![cell.chaos("one", 1, &of("A")), cell.chaos("two", 1, &of("B"))])?;
    run.counted(2)?;
    within(Duration::from_secs(10), || run.listener.len() > 2 * LINES * LENGTH);
    let heard = run.heard();
    let whole = |letter: u8| {
        let body = vec![letter; LENGTH];
        let is_whole = |line: &&[u8]| {
            let Some(before) = line.strip_suffix(body.as_slice()) else { return false };
            before.len() < 64 && before.last() != Some(&letter)
        };
        heard.split(|byte| *byte == b'\n').filter(is_whole).count()
    };
    let count = whole(b'A') + whole(b'B');
    if count == 2 * LINES {
        Ok(())
    } else {
        fails(format!("{} of {} lines torn", 2 * LINES - count, 2 * LINES))
    }
}

pub(super) fn unfinished(cell: &Cell) -> Told {
    let web = cell.chaos("web", 1, "sleep 500ms partial unfinished exit 0");
    let next =
        cell.chaos("next", 1, "on TERM sleep-then-say 500ms following sleep 2s say following sleep 1h");
    let run = cell.start(DRAIN, vec![web, next])?;
    if !run.hears("following", Duration::from_secs(10)) {
        return fails("the next line did not come out");
    }
    let heard = run.heard();
    let ends = heard.split(|byte| *byte == b'\n').any(|line| line.ends_with(b"unfinished"));
    match (ends, memmem::find(&heard, b"unfinished")) {
        (true, _) => Ok(()),
        (false, Some(_)) => fails("the next line was glued to it"),
        (false, None) => fails("it did not come out"),
    }
}

const LINES: usize = 100_000;

pub(super) fn last_words(cell: &Cell) -> Told {
    let run = cell.start(DRAIN, vec![cell.chaos("web", 1, &format!("spam {LINES} exit 0"))])?;
    all_lines(cell, &run)
}

pub(super) fn nonblocking(cell: &Cell) -> Told {
    let entries = vec![cell.chaos("web", 1, &format!("sleep 1s spam {LINES} sleep 1h"))];
    let drain = Duration::from_secs(DRAIN);
    let run = cell.start_as(Stage::Nonblocking, &Job { entries, restart: Restart::Never, drain })?;
    run.listener.wait();
    // Long enough for every pipe on the way to be full.
    std::thread::sleep(Duration::from_secs(3));
    run.listener.read_on();
    all_lines(cell, &run)
}

/// Every line of `spam` came, once and in order.
fn all_lines(cell: &Cell, run: &Run) -> Told {
    let last = format!("spam {LINES}\n");
    within(Duration::from_secs(30), || {
        run.listener.contains(last.as_bytes())
            || run.listener.is_silent_for(Duration::from_secs(5))
            || (!run.is_alive() && run.children().is_empty())
    });
    let heard = run.heard();
    let number = |line: &[u8]| {
        let at = memmem::rfind(line, b"spam ")?;
        std::str::from_utf8(&line[at + 5..]).ok()?.parse::<usize>().ok()
    };
    // Its own words may hold those of the child.
    let told = format!("spam {LINES} ");
    let lines =
        heard.split(|byte| *byte == b'\n').filter(|line| memmem::find(line, told.as_bytes()).is_none());
    let numbers: Vec<usize> = lines.filter_map(number).collect();
    let in_order = numbers.iter().zip(1..).all(|(seen, wanted)| *seen == wanted);
    let name = cell.peer.name();
    match numbers.len() {
        LINES if in_order => Ok(()),
        count if count < LINES => fails(format!("{} of {LINES} lines missing", LINES - count)),
        count => fails(format!("{count} lines from {name} for {LINES}, out of order or twice")),
    }
}

pub(super) fn unread(cell: &Cell) -> Told {
    let entries = vec![cell.chaos("web", 1, "touch @ready sleep 1s spam 8000000 touch @all sleep 1h")];
    let run = cell.start(DRAIN, entries)?;
    run.begun(&["ready"])?;
    let before = run.peak_mib();
    run.listener.wait();
    std::thread::sleep(Duration::from_secs(6));
    let grown = run.peak_mib().saturating_sub(before);
    if grown > MOST_MIB {
        return fails(format!("it takes {grown} MiB of memory in 5 s"));
    }
    run.signal(libc::SIGTERM);
    run.ends_clean(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK)
}

pub(super) fn reader_gone(cell: &Cell) -> Told {
    let run = cell.start(DRAIN, vec![cell.chaos("web", 2, "touch @ready loop tick 20ms")])?;
    run.begun(&["ready"])?;
    run.counted(2)?;
    run.hears("tick 10", SLACK);
    let before = run.with("tick");
    run.listener.go();
    let ended = run.ends_within(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK);
    let left = run.with("tick");
    if ended.is_some() {
        return if left.is_empty() {
            Ok(())
        } else {
            fails(format!("ended and left {} processes behind", left.len()))
        };
    }
    // It may as well go on without a reader.
    if left != before {
        return fails(format!("{} of 2 children died of it", before.len() - left.len().min(before.len())));
    }
    let written: Vec<u64> = left.iter().map(|pid| proc::written(*pid)).collect();
    let go_on = || left.iter().zip(&written).all(|(pid, before)| proc::written(*pid) > *before);
    if within(SLACK, go_on).is_some() { Ok(()) } else { fails("its children hang for ever") }
}
