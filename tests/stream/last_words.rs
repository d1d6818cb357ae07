//! What the kernel took from an instance stands before its exit notice, and nobody delays that notice.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use supervise::api::{InstanceId, Notice};

use crate::rig::{PLAIN, Reading, Rig, SOON, exited, join, numbered};

#[test]
fn the_last_line_needs_no_newline_to_stand_before_the_exit() {
    let (rig, out) = Rig::read(PLAIN);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"one\ntwo").unwrap();
    drop(web);
    rig.stream.last_words(InstanceId(1), exited("web.1", 3));
    rig.finish();
    assert_eq!(
        out.all(),
        "web.1     | one\nweb.1     | two\nsupervise | web.1 exited with code 3 after 12ms\n"
    );
}

#[test]
fn a_hundred_thousand_lines_and_the_end_stand_before_the_exit() {
    let (rig, out) = Rig::read(PLAIN);
    let mut web = rig.child("web.1", 1);
    web.write_all(numbered(100_000).as_bytes()).unwrap();
    drop(web);
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let totals = rig.finish();
    let text = out.all();
    let mut lines = text.lines();
    for n in 0..100_000 {
        assert_eq!(lines.next(), Some(format!("web.1     | line {n}").as_str()));
    }
    assert_eq!(lines.next(), Some("supervise | web.1 exited with code 0 after 12ms"));
    assert_eq!((lines.next(), totals.written, totals.dropped), (None, 100_001, 0));
}

#[test]
fn a_silent_descendant_delays_nothing_and_is_read_on_to_its_end() {
    let (rig, out) = Rig::read(PLAIN);
    let mut leader = rig.child("web.1", 1);
    let mut descendant = leader.try_clone().unwrap();
    leader.write_all(b"leaving").unwrap();
    drop(leader);
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    out.until(|text| text == "web.1     | leaving\nsupervise | web.1 exited with code 0 after 12ms\n");
    descendant.write_all(b"still here\nand gone").unwrap();
    drop(descendant);
    out.until(|text| text.ends_with("0 after 12ms\nweb.1     | still here\nweb.1     | and gone\n"));
    rig.finish();
}

#[test]
fn a_descendant_that_never_stops_writing_delays_nothing() {
    let (rig, out) = Rig::read(PLAIN);
    let mut leader = rig.child("web.1", 1);
    let mut descendant = leader.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            descendant.write_all(&b"flood\n".repeat(1000)).unwrap();
        }
    });
    leader.write_all(b"leader's last\n").unwrap();
    drop(leader);
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let text = out.until(|text| text.contains("exited with code 0"));
    assert!(text.find("leader's last").unwrap() < text.find("exited with code 0").unwrap());
    // A finish takes what is there and does not wait for more.
    let started = Instant::now();
    rig.finish();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    stop.store(true, Ordering::Relaxed);
    // It may have lost its reader; how it ends is of no interest.
    drop(flood);
}

#[test]
fn notices_keep_their_order_around_last_words() {
    let (rig, out) = Rig::read(PLAIN);
    let (mut one, mut two) = (rig.child("web.1", 1), rig.child("web.2", 2));
    one.write_all(b"a\n").unwrap();
    two.write_all(b"b").unwrap();
    rig.stream.last_words(InstanceId(2), exited("web.2", 2));
    rig.stream.notice(Notice::Suspended);
    rig.stream.last_words(InstanceId(1), exited("web.1", 1));
    rig.stream.notice(Notice::Ended { code: 2, because: None });
    rig.finish();
    let text = out.all();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    assert!(at("web.2     | b\n") < at("web.2 exited"));
    assert!(at("web.2 exited") < at("suspended"));
    assert!(at("suspended") < at("web.1 exited"));
    assert!(at("web.1     | a\n") < at("web.1 exited"));
    assert!(at("web.1 exited") < at("ending with code 2"));
}

#[test]
fn last_words_behind_a_reader_that_stopped_come_when_it_goes_on() {
    let (rig, reader) = Rig::unread(PLAIN);
    let mut web = rig.child("web.1", 1);
    let writer = thread::spawn(move || {
        web.write_all(numbered(60_000).as_bytes()).unwrap();
        web.write_all(b"end").unwrap();
    });
    // Said while the writer is held; a descendant still writes, as far as the stream can know.
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let out = Reading::of(reader);
    join(writer, "the writer");
    let totals = rig.finish();
    let text = out.all();
    assert_eq!(text.lines().filter(|line| line.starts_with("web.1     | line ")).count(), 60_000);
    assert!(text.contains("| end\n") && text.contains("exited with code 0"));
    assert_eq!(totals.dropped, 0);
}
