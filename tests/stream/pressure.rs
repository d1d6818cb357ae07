//! A reader that is slow or has stopped: children wait, or lines are dropped and counted; memory is bounded.

use std::io::{PipeReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use supervise::api::{InstanceId, Notice};
use supervise::stream::{Report, Settings, WhenSlow};

use crate::rig::{PLAIN, Reading, Rig, SOON, exited, join, said_dropped};

const DROPPING: Settings = Settings { when_slow: WhenSlow::Drop, ..PLAIN };

/// Writes so many numbered lines of 100 bytes in a thread; how many are taken is counted.
pub(crate) fn flood(mut pipe: std::io::PipeWriter, lines: u64) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let thread = thread::spawn(move || {
        for n in 0..lines {
            pipe.write_all(format!("{n:099}\n").as_bytes()).unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (thread, taken)
}

/// Waits until nothing has been taken for a while.
pub(crate) fn held(taken: &AtomicU64) -> u64 {
    loop {
        let before = taken.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(200));
        if before > 0 && taken.load(Ordering::Relaxed) == before {
            return before;
        }
    }
}

/// The numbers of the lines in order, each exactly where the lines that were said to be dropped leave it.
pub(crate) fn check_numbers(text: &str, lines: u64) -> u64 {
    let (mut next, mut seen) = (0, 0);
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("web.1     | ") {
            assert_eq!(number.parse::<u64>().unwrap(), next, "after {seen} lines");
            next += 1;
            seen += 1;
        } else {
            next += said_dropped(line);
        }
    }
    assert_eq!(next, lines);
    seen
}

#[test]
fn children_wait_for_a_reader_that_stopped_and_nothing_is_lost() {
    let (rig, reader) = Rig::unread(PLAIN);
    let (writer, taken) = flood(rig.child("web.1", 1), 100_000);
    let lines = held(&taken);
    assert!(lines * 100 < 2 << 20, "{lines} lines of 100 bytes are held somewhere");
    let out = Reading::of(reader);
    join(writer, "the writer");
    let totals = rig.finish();
    assert_eq!(check_numbers(&out.all(), 100_000), 100_000);
    assert_eq!((totals.written, totals.dropped), (100_000, 0));
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_gets_every_one_and_the_door_is_served() {
    let (rig, mut reader) = Rig::unread(PLAIN);
    let (writer, taken) = flood(rig.child("web.1", 1), 20_000);
    held(&taken);
    let mut text = Vec::new();
    for _ in 0..50 {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        text.extend(byte);
        let asked = Instant::now();
        rig.stream.last_words(InstanceId(7), Notice::Suspended);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    let out = Reading::of(reader);
    join(writer, "the writer");
    let totals = rig.finish();
    text.extend(out.all_bytes());
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("supervise | suspended")).collect();
    assert_eq!(check_numbers(&lines.join("\n"), 20_000), 20_000);
    assert_eq!((totals.written, totals.dropped), (20_050, 0));
}

#[test]
fn the_door_is_served_while_the_reader_has_stopped() {
    let (rig, reader) = Rig::unread(PLAIN);
    let (writer, taken) = flood(rig.child("web.1", 1), 20_000);
    held(&taken);
    let started = Instant::now();
    for _ in 0..20_000 {
        rig.stream.notice(Notice::Suspended);
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // What is attached now is read like the others, once there is room.
    let mut late = rig.child("late.1", 2);
    late.write_all(b"late\n").unwrap();
    let out = Reading::of(reader);
    join(writer, "the writer");
    drop(late);
    let totals = rig.finish();
    let text = out.all();
    assert!(text.contains("late.1    | late\n"));
    let notices = text.lines().filter(|line| line.starts_with("supervise | suspended")).count() as u64;
    // The oldest notices had no place at the door.
    assert!(notices < 20_000 && notices + totals.dropped == 20_000, "{notices}, {totals:?}");
    assert_eq!(said_dropped(&text), totals.dropped);
}

#[test]
fn the_oldest_lines_are_dropped_and_their_count_is_exact() {
    let (rig, reader) = Rig::unread(DROPPING);
    let (writer, _) = flood(rig.child("web.1", 1), 300_000);
    // It is never held.
    join(writer, "the writer");
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let out = Reading::of(reader);
    let totals = rig.finish();
    let text = out.all();
    let seen = check_numbers(&text, 300_000);
    assert!(text.ends_with("exited with code 0 after 12ms\n"), "the newest are kept");
    assert_eq!((totals.written, totals.dropped), (seen + 1, 300_000 - seen));
    assert!(totals.dropped > 0);
}

#[test]
fn a_reader_that_reads_now_and_then_is_told_each_time_what_it_missed() {
    let (rig, reader) = Rig::unread(DROPPING);
    let out = Reading::slowly(reader, Duration::from_millis(3));
    let (writer, _) = flood(rig.child("web.1", 1), 300_000);
    join(writer, "the writer");
    let totals = rig.finish();
    let seen = check_numbers(&out.all(), 300_000);
    assert_eq!((totals.written, totals.dropped), (seen, 300_000 - seen));
}

#[test]
fn a_drain_goes_on_without_a_reader_that_stopped() {
    let (rig, mut reader) = Rig::unread(PLAIN);
    let (writer, taken) = flood(rig.child("web.1", 1), 100_000);
    held(&taken);
    rig.stream.drain();
    join(writer, "the writer");
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let started = Instant::now();
    let totals = rig.stream.finish(Duration::from_millis(500)).expect("the thread is not held");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(totals.written + totals.dropped, 100_001);
    let said = rig.aside.all();
    assert!(said_dropped(&said) > 0 && said_dropped(&said) <= totals.dropped, "{said}");
    // What did reach the reader is whole lines, but for the one that it was in the middle of.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && said_dropped(line) == 0);
    assert_eq!(whole.count() as u64, totals.written);
}

#[test]
fn an_instance_that_is_asked_to_end_is_read_on_while_the_others_wait() {
    const LINES: u64 = 100_000;
    let (rig, reader) = Rig::unread(PLAIN);
    let (ending, taken) = flood(rig.child("web.1", 1), LINES);
    let (staying, staying_taken) = flood(rig.child("web.2", 2), LINES);
    held(&taken);
    let before = held(&staying_taken);
    rig.stream.drain_instance(InstanceId(1));
    join(ending, "who is asked to end");
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    assert_eq!(held(&staying_taken), before, "the other one is not read");
    let out = Reading::of(reader);
    join(staying, "the other one");
    let totals = rig.finish();
    let text = out.all();
    let numbers = |tag: &str| -> Vec<u64> {
        text.lines().filter_map(|line| line.strip_prefix(tag)).map(|number| number.parse().unwrap()).collect()
    };
    assert!(numbers("web.2     | ").into_iter().eq(0..LINES), "the other one has lost something");
    let seen = numbers("web.1     | ");
    assert!(seen.is_sorted_by(|a, b| a < b));
    assert_eq!(said_dropped(&text), LINES - seen.len() as u64);
    assert_eq!(totals.dropped, LINES - seen.len() as u64);
    assert!(totals.dropped > 0);
}

#[test]
fn an_instance_that_is_asked_to_end_loses_nothing_while_its_reader_is_only_slow() {
    let (rig, reader) = Rig::unread(PLAIN);
    rig.stream.drain_instance(InstanceId(1));
    let (writer, _) = flood(rig.child("web.1", 1), 50_000);
    let out = Reading::slowly(reader, Duration::from_millis(5));
    join(writer, "the writer");
    let totals = rig.finish();
    assert_eq!((totals.written, totals.dropped), (50_000, 0));
    assert_eq!(check_numbers(&out.all(), 50_000), 50_000);
}

#[test]
fn whoever_writes_little_is_read_in_every_round_though_the_reader_does_not_keep_up_with_another() {
    const LINES: u64 = 50_000;
    let (rig, reader) = Rig::unread(PLAIN);
    // What comes first in a round is what was attached first.
    let (writer, taken) = flood(rig.child("web.1", 1), LINES);
    let mut whisper = rig.child("web.2", 2);
    let out = Reading::slowly(reader, Duration::from_millis(10));
    while taken.load(Ordering::Relaxed) < LINES / 10 {
        thread::yield_now();
    }
    whisper.write_all(b"whisper\n").unwrap();
    let before = taken.load(Ordering::Relaxed);
    join(writer, "the writer");
    rig.finish();
    let text = out.all();
    let place = text.lines().position(|line| line == "web.2     | whisper").expect("it was said") as u64;
    // What was on the way, and a few rounds.
    assert!(place < before + LINES / 10, "after {place} lines; {before} were written before it");
}

#[test]
fn a_drain_loses_nothing_while_its_reader_is_only_slow() {
    let (rig, reader) = Rig::unread(PLAIN);
    rig.stream.drain();
    let (writer, _) = flood(rig.child("web.1", 1), 50_000);
    let out = Reading::slowly(reader, Duration::from_millis(5));
    join(writer, "the writer");
    let totals = rig.finish();
    assert_eq!((totals.written, totals.dropped), (50_000, 0));
    assert_eq!(check_numbers(&out.all(), 50_000), 50_000);
}

#[test]
fn a_finish_with_a_reader_that_stopped_keeps_its_limit() {
    for settings in [PLAIN, DROPPING] {
        let (rig, reader) = Rig::unread(settings);
        let (_held, taken) = flood(rig.child("web.1", 1), u64::from(u16::MAX));
        held_or_done(&taken);
        let started = Instant::now();
        rig.stream.finish(Duration::from_millis(300)).expect("the thread is not held");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        assert!(said_dropped(&rig.aside.all()) > 0);
        drop::<PipeReader>(reader);
    }
}

fn held_or_done(taken: &AtomicU64) {
    held(taken);
}

#[test]
fn what_runs_out_waits_for_its_reader_however_long_it_takes() {
    let (rig, reader) = Rig::unread(PLAIN);
    // More than the pipe to the reader holds.
    let (writer, _) = flood(rig.child("web.1", 1), 3_000);
    join(writer, "the writer");
    rig.stream.run_out();
    // Twice as long as a drain is patient with a reader that takes nothing.
    assert!(rig.reports.recv_timeout(Duration::from_secs(1)).is_err(), "nobody has read anything");
    let out = Reading::of(reader);
    assert_eq!(rig.reports.recv_timeout(SOON), Ok(Report::Over));
    assert_eq!(rig.finish().dropped, 0);
    assert_eq!(check_numbers(&out.all(), 3_000), 3_000);
}

#[test]
fn whoever_runs_out_can_be_told_to_hurry() {
    let (rig, reader) = Rig::unread(PLAIN);
    let (writer, _) = flood(rig.child("web.1", 1), 2_000);
    join(writer, "the writer");
    rig.stream.run_out();
    let totals = rig.stream.finish(Duration::from_millis(300)).expect("nothing holds the thread");
    assert_eq!(totals.written + totals.dropped, 2_000);
    assert!(totals.dropped > 0, "a pipe does not hold so much: {totals:?}");
    drop(reader);
}
