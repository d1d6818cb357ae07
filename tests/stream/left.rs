//! What ended lives have left while our reader had stopped: it takes no descriptors, up to a bound, and is said as ever.

use std::collections::HashSet;
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use supervise::api::{InstanceId, Notice};
use supervise::stream::Channel;

use crate::pressure::{check_numbers, flood, held};
use crate::rig::{PLAIN, Reading, Rig, SOON, exited, join};

/// By which a pipe is known in /proc, whoever has it.
fn name(pipe: &PipeWriter) -> String {
    format!("pipe:[{}]", fstat(pipe.as_fd()).unwrap().st_ino)
}

/// Which of these pipes this process, the stream above all, has open.
fn open_ones(pipes: &[String]) -> Vec<&String> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open: HashSet<_> = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    pipes.iter().filter(|pipe| open.contains(std::path::Path::new(pipe))).collect()
}

/// Waits until no more of these pipes are open.
fn until_open(pipes: &[String], most: usize) -> usize {
    let deadline = Instant::now() + SOON;
    loop {
        let open = open_ones(pipes).len();
        if open <= most {
            return open;
        }
        assert!(Instant::now() < deadline, "{open} of {} pipes are still open, not {most}", pipes.len());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn lives_that_have_ended_hold_no_descriptors_while_the_reader_has_stopped() {
    const LIVES: u8 = 200;
    let (rig, reader) = Rig::unread(PLAIN);
    let (writer, taken) = flood(rig.child("web.1", 1), 20_000);
    held(&taken);
    let (mut pipes, mut descendants) = (Vec::new(), Vec::new());
    let mut expected = Vec::new();
    for life in 0..LIVES {
        let instance = 100 + u64::from(life);
        let mut out = rig.child("crash.1", instance);
        let mut err = rig.pipe("crash.1", instance, Channel::Stderr);
        pipes.extend([name(&out), name(&err)]);
        write!(out, "life {life}\n\nend {life}").unwrap();
        expected.extend([format!("life {life}"), String::new()]);
        if life == 7 {
            descendants.push(out.try_clone().unwrap());
            expected.push(format!("end {life}, later"));
        } else {
            expected.push(format!("end {life}"));
        }
        // Every second one is silent there.
        if life % 2 == 0 {
            writeln!(err, "wrong {life}").unwrap();
            expected.push(format!("wrong {life}"));
        }
        drop((out, err));
        rig.stream.last_words(InstanceId(instance), exited("crash.1", life));
        expected.push(format!("exited {life}"));
    }
    // The life that runs now, in whose place the others were.
    let running = rig.child("crash.1", 1000);
    assert_eq!(until_open(&pipes, 1), 1, "a descendant has one, and may write more");
    descendants[0].write_all(b", later\n").unwrap();
    descendants.clear();
    let late = rig.child("crash.2", 1001);
    until_open(&pipes, 0);
    let out = Reading::of(reader);
    join(writer, "the writer");
    drop((running, late));
    let totals = rig.finish();
    let text = out.all();
    let (flood, crashes): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("web.1 "));
    assert_eq!(check_numbers(&flood.join("\n"), 20_000), 20_000);
    let said = crashes.iter().map(|line| match line.strip_prefix("crash.1   | ") {
        Some(said) => said.to_owned(),
        None => line.replace("supervise | crash.1 exited with code ", "exited ").replace(" after 12ms", ""),
    });
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!(totals.dropped, 0);
}

#[test]
fn what_ended_lives_have_left_is_bounded_in_memory_again_and_again_and_the_rest_waits_in_its_pipes() {
    const LIVES: u8 = 90;
    const BYTES: usize = 60_000;
    // Twice their bytes are 4 MiB and more, so that the bound is what holds the second time too.
    const TAKEN: usize = 4 * 1024 * 1024 / BYTES;
    let (rig, mut reader) = Rig::unread(PLAIN);
    let mut text = String::new();
    for round in 0..2 {
        let (writer, taken) = flood(rig.child("web.1", 1), 20_000);
        held(&taken);
        let mut pipes = Vec::new();
        for life in 0..LIVES {
            let instance = 100 + u64::from(life);
            let mut out = rig.child("crash.1", instance);
            pipes.push(name(&out));
            out.write_all(format!("{life:099}\n").repeat(BYTES / 100).as_bytes()).unwrap();
            drop(out);
            rig.stream.last_words(InstanceId(instance), exited("crash.1", life));
        }
        let running = rig.child("crash.1", 1000);
        let left = usize::from(LIVES) - TAKEN;
        let open = until_open(&pipes, left + 2);
        assert!(open >= left, "{open} are open in round {round}: more is in memory than may be");
        rig.stream.notice(Notice::Ended { code: round, because: None });
        let ends = [format!("ending with code {round}"), format!("web.1     | {:099}", 19_999)];
        text.push_str(&read_until(&mut reader, &ends));
        join(writer, "the writer");
        drop(running);
        until_open(&pipes, 0);
    }
    let out = Reading::of(reader);
    assert_eq!(rig.finish().dropped, 0);
    text.push_str(&out.all());
    let mut lines = text.lines().filter(|line| line.contains("crash.1 "));
    for _ in 0..2 {
        for life in 0..LIVES {
            for _ in 0..BYTES / 100 {
                assert_eq!(lines.next(), Some(format!("crash.1   | {life:099}").as_str()));
            }
            let end = format!("supervise | crash.1 exited with code {life} after 12ms");
            assert_eq!(lines.next(), Some(end.as_str()));
        }
    }
    assert_eq!(lines.next(), None);
}

/// Reads until all of these were there, and no further but for what came with the last.
fn read_until(reader: &mut PipeReader, ends: &[String]) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 65_536]);
    let mut missing: Vec<_> = ends.iter().collect();
    while !missing.is_empty() {
        let count = reader.read(&mut chunk).unwrap();
        assert!(count > 0, "the output is over before {missing:?}");
        // No line is longer than this.
        let from = bytes.len().saturating_sub(200);
        bytes.extend_from_slice(&chunk[..count]);
        missing.retain(|end| memchr::memmem::find(&bytes[from..], end.as_bytes()).is_none());
    }
    String::from_utf8(bytes).unwrap()
}
