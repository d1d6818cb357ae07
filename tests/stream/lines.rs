//! Lines come out whole, once, under one tag, with their bytes.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use serde_json::Value;
use supervise::api::{Notice, Verdict};
use supervise::stream::{Channel, Choice, Format, Settings, dressed};

use crate::rig::{PLAIN, Rig, exited, join, name};

#[test]
fn blank_lines_are_kept_and_every_line_has_its_tag() {
    let (rig, out) = Rig::read(PLAIN);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"\n\nhello\n\n").unwrap();
    drop(web);
    let totals = rig.finish();
    assert_eq!(out.all(), "web.1     | \nweb.1     | \nweb.1     | hello\nweb.1     | \n");
    assert_eq!((totals.written, totals.dropped), (4, 0));
}

#[test]
fn a_longer_name_widens_the_column_from_then_on() {
    let (rig, out) = Rig::read(PLAIN);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"narrow\n").unwrap();
    out.until(|text| text.contains("narrow\n"));
    let mut long = rig.child("scheduler.10", 2);
    long.write_all(b"long\n").unwrap();
    out.until(|text| text.contains("long\n"));
    web.write_all(b"wide\n").unwrap();
    out.until(|text| text.contains("wide\n"));
    drop((web, long));
    rig.finish();
    assert_eq!(out.all(), "web.1     | narrow\nscheduler.10 | long\nweb.1        | wide\n");
}

#[test]
fn a_prompt_of_one_delays_no_other() {
    let (rig, out) = Rig::read(PLAIN);
    let (mut asks, mut ticks) = (rig.child("asks.1", 1), rig.child("ticks.1", 2));
    asks.write_all(b"name? ").unwrap();
    ticks.write_all(b"tick\ntick\n").unwrap();
    out.until(|text| text == "ticks.1   | tick\nticks.1   | tick\n");
    asks.write_all(b"eve\n").unwrap();
    out.until(|text| text.ends_with("asks.1    | name? eve\n"));
    rig.finish();
}

#[test]
fn many_writers_at_once_never_tear_a_line() {
    let (rig, out) = Rig::read(PLAIN);
    let line = |writer: usize, n: usize| format!("{writer}-{n}-{}", "x".repeat(n * 37 % 5000));
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let mut pipe = rig.child(&format!("w{writer}.1"), writer as u64);
            thread::spawn(move || {
                let text: String = (0..300).map(|n| line(writer, n) + "\n").collect();
                // Writes that end anywhere in a line.
                for (nth, chunk) in text.as_bytes().chunks(1 + writer * 977).enumerate() {
                    if writer > 0 || nth < 2000 {
                        pipe.write_all(chunk).unwrap();
                    } else {
                        pipe.write_all(&text.as_bytes()[nth..]).unwrap();
                        break;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        join(writer, "a writer");
    }
    rig.finish();
    let mut next = [0; 12];
    for text in out.all().lines() {
        let (tag, text) = text.split_once(" | ").unwrap();
        let writer: usize =
            tag.trim_end().strip_prefix('w').unwrap().strip_suffix(".1").unwrap().parse().unwrap();
        assert_eq!(text, line(writer, next[writer]));
        next[writer] += 1;
    }
    assert_eq!(next, [300; 12]);
}

#[test]
fn a_character_split_over_reads_is_whole_again() {
    let (rig, out) = Rig::read(Settings { format: Format::Json, ..PLAIN });
    let mut web = rig.child("web.1", 1);
    let text = "\u{1b}[1m😀 50 %\rdone\u{0}\n";
    for byte in text.bytes() {
        web.write_all(&[byte]).unwrap();
        // Not a promise, only a chance for the byte to be read alone.
        thread::yield_now();
    }
    drop(web);
    rig.finish();
    let object: Value = serde_json::from_str(&out.all()).unwrap();
    assert_eq!(object["message"], text.trim_end_matches('\n'));
    assert_eq!(object.get("message_base64"), None);
}

#[test]
fn colours_end_with_the_line_that_began_them() {
    let (rig, out) = Rig::read(Settings { color: Choice::Always, ..PLAIN });
    let mut web = rig.child("web.1", 1);
    web.write_all(b"\x1b[31mred").unwrap();
    // Its own read, so that the line begins in one chunk and ends in another.
    while !web_is_empty(&web) {
        thread::yield_now();
    }
    web.write_all(b"der\nplain\n").unwrap();
    drop(web);
    rig.finish();
    let tag = "\u{1b}[36mweb.1     |\u{1b}[0m ";
    assert_eq!(out.all(), format!("{tag}\u{1b}[31mredder\u{1b}[0m\n{tag}plain\n"));
}

fn web_is_empty(web: &std::io::PipeWriter) -> bool {
    use std::os::fd::AsRawFd;
    let mut held: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int to the address of a live int.
    assert_eq!(unsafe { libc::ioctl(web.as_raw_fd(), libc::FIONREAD, &raw mut held) }, 0);
    held == 0
}

#[test]
fn stdout_and_stderr_are_told_apart_in_json() {
    let (rig, out) = Rig::read(Settings { format: Format::Json, ..PLAIN });
    let mut stdout = rig.pipe("web.1", 1, Channel::Stdout);
    let mut stderr = rig.pipe("web.1", 1, Channel::Stderr);
    stdout.write_all(b"out").unwrap();
    stderr.write_all(b"err").unwrap();
    rig.stream.last_words(supervise::api::InstanceId(1), exited("web.1", 0));
    drop((stdout, stderr));
    rig.finish();
    let objects: Vec<Value> = out.all().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = objects.iter().map(|o| (o["stream"].as_str(), o["process"].as_str())).collect();
    assert_eq!(
        seen,
        [(Some("stdout"), Some("web.1")), (Some("stderr"), Some("web.1")), (Some("notice"), Some("web.1"))]
    );
    assert_eq!(objects[2]["event"], "exited");
}

#[test]
fn raw_lines_have_no_tag_and_notices_go_to_stderr() {
    let (rig, out) = Rig::read(Settings { format: Format::Raw, ..PLAIN });
    let mut web = rig.child("web.1", 1);
    web.write_all(b"{\"a\":1}\n{\"b\"").unwrap();
    rig.stream.last_words(supervise::api::InstanceId(1), exited("web.1", 0));
    rig.aside.until(|text| text == "supervise | web.1 exited with code 0 after 12ms\n");
    rig.finish();
    assert_eq!(out.all(), "{\"a\":1}\n{\"b\"\n");
}

#[test]
fn a_slot_that_failed_for_good_shows_what_it_wrote_last() {
    for format in [Format::Text, Format::Json] {
        let (rig, out) = Rig::read(Settings { format, ..PLAIN });
        let mut web = rig.child("web.1", 1);
        for n in 0..100 {
            writeln!(web, "line {n}").unwrap();
        }
        web.write_all(b"boom").unwrap();
        drop(web);
        rig.stream.last_words(supervise::api::InstanceId(1), exited("web.1", 1));
        rig.stream.notice(Notice::Failed { slot: name("web.1"), reason: Verdict::Never });
        rig.finish();
        let text = out.all();
        let (_, failed) = text.split_once("exited with code 1").unwrap();
        if format == Format::Json {
            let object: Value = serde_json::from_str(failed.lines().nth(1).unwrap()).unwrap();
            let lines: Vec<_> = object["last_lines"].as_array().unwrap().iter().collect();
            assert_eq!(
                (lines.len(), lines[0], lines[9]),
                (10, &Value::from("line 91"), &Value::from("boom"))
            );
        } else {
            let lines: Vec<_> = failed.lines().skip(2).collect();
            assert_eq!(
                (lines.len(), lines[0], lines[9]),
                (10, "supervise |   line 91", "supervise |   boom")
            );
        }
    }
}

/// What a person would undo by eye: tags off, pieces joined.
fn undo(format: Format, output: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        match format {
            Format::Text => input.extend_from_slice(line.strip_prefix(b"web.1     | ").unwrap()),
            Format::Raw => input.extend_from_slice(line),
            Format::Json => {
                let object: Value = serde_json::from_slice(line).unwrap();
                match object.get("message_base64") {
                    None => input.extend_from_slice(object["message"].as_str().unwrap().as_bytes()),
                    Some(text) => input.extend(decode(text.as_str().unwrap())),
                }
                if object.get("partial").is_none() {
                    input.push(b'\n');
                }
            }
        }
    }
    input
}

fn decode(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let bits = four.iter().filter(|c| **c != b'=').fold((0u32, 0), |(bits, count), c| {
            (
                bits << 6 | u32::try_from(digits.iter().position(|digit| digit == c).unwrap()).unwrap(),
                count + 6,
            )
        });
        let word = bits.0 << (24 - bits.1);
        bytes.extend(&word.to_be_bytes()[1..=bits.1 / 8]);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_bytes_in_any_writes_come_out_line_by_line(
        format in prop_oneof![Just(Format::Text), Just(Format::Json), Just(Format::Raw)],
        writes in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 1..60),
                prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), Just(0xF0), Just(0x1b)], 1..60),
                "[\\PC\n]{1,20}".prop_map(String::into_bytes),
            ],
            0..30,
        ),
    ) {
        let (rig, out) = Rig::read(Settings { format, ..PLAIN });
        let mut web = rig.child("web.1", 1);
        let mut input = Vec::new();
        for write in &writes {
            web.write_all(write).unwrap();
            input.extend_from_slice(write);
        }
        drop(web);
        rig.finish();
        if !input.is_empty() && !input.ends_with(b"\n") {
            input.push(b'\n');
        }
        prop_assert_eq!(undo(format, &out.all_bytes()), input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The reads are cut where they are cut here, which no pipe promises.
    #[test]
    fn any_bytes_in_any_reads_come_out_line_by_line(
        format in prop_oneof![Just(Format::Text), Just(Format::Json), Just(Format::Raw)],
        runs in prop::collection::vec(
            (prop_oneof![any::<u8>(), Just(b'\n'), Just(b'"'), Just(0xC3)], prop_oneof![1..4usize, 1..40usize, 30_000..90_000usize]),
            0..8,
        ),
        cuts in prop::collection::vec(1..80_000usize, 1..10),
    ) {
        let mut input: Vec<u8> = runs.iter().flat_map(|(byte, length)| vec![*byte; *length]).collect();
        let (mut rest, mut reads) = (&input[..], Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (read, more) = rest.split_at(rest.len().min(*cut));
            reads.push(read);
            rest = more;
        }
        let output = dressed(format, &reads).unwrap();
        if !input.is_empty() && !input.ends_with(b"\n") {
            input.push(b'\n');
        }
        let output = undo(format, &output);
        // A piece ends as a line does where the format has no mark for it.
        let whole = format == Format::Json || !input.split(|byte| *byte == b'\n').any(|line| line.len() > 65_536);
        let without_ends = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\n').collect::<Vec<_>>();
        prop_assert_eq!(without_ends(&output), without_ends(&input));
        prop_assert!(!whole || output == input);
    }
}

#[test]
fn bytes_that_mean_something_to_a_terminal_are_nothing_but_bytes() {
    let said = b"50 %\r100 %\r\n\0nul\0\n\xff\xfe\x80\n\t\x08\x07bell\n\x1b[2Jclear\n\xe2\x82\n";
    let tagged: Vec<u8> = said
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| [b"web.1     | ", line].concat())
        .collect();
    assert_eq!(dressed(Format::Text, &[said]).unwrap(), tagged);
    assert_eq!(dressed(Format::Raw, &[said]).unwrap(), said);
    assert_eq!(undo(Format::Json, &dressed(Format::Json, &[said]).unwrap()), said);
}

#[test]
fn sixty_four_mib_without_a_newline_are_never_held_for_long_and_lose_no_byte() {
    let (rig, mut reader) = Rig::unread(Settings { format: Format::Json, ..PLAIN });
    let mut web = rig.child("web.1", 1);
    let read = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&read);
    let counter = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        loop {
            let count = reader.read(&mut buffer).unwrap();
            if count == 0 {
                return;
            }
            // No key or value of the objects has an x but the message.
            let bytes = memchr::memchr_iter(b'x', &buffer[..count]).count();
            seen.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    let chunk = vec![b'x'; 65_521];
    for written in (0..1024).map(|n| n * chunk.len()) {
        let held = written - read.load(Ordering::Relaxed);
        assert!(held < 2 << 20, "{held} bytes are held after {written}");
        web.write_all(&chunk).unwrap();
    }
    drop(web);
    let totals = rig.finish();
    join(counter, "the reader");
    assert_eq!(read.load(Ordering::Relaxed), 1024 * chunk.len());
    assert_eq!(totals.written, (1024 * 65_521_u64).div_ceil(65_536));
}
