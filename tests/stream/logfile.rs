//! The log file: opened again when it was moved away, and written on where it cannot be.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use supervise::stream::{History, Output, Settings, Stream, WhenGone, open};

use crate::rig::{PLAIN, SOON, exited, source};

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("supervise-logfile-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left lies in the temporary directory; the test has its result already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stream(file: &Path) -> Stream {
    let settings = Settings { output: Output::File(file.to_owned()), when_gone: WhenGone::Drop, ..PLAIN };
    open(settings, 0, History::new(1024), |report| panic!("{report:?}")).unwrap()
}

/// Waits until the file is as wanted.
fn until(file: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "after {SOON:?} there is: {text}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn it_is_appended_to_and_others_of_its_group_may_read_it_at_most() {
    let directory = Directory::new();
    let file = directory.path("log");
    for n in 0..2 {
        let stream = stream(&file);
        stream.notice(exited("web.1", n));
        assert_eq!(stream.finish(SOON).unwrap().written, 1);
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & !0o640 & 0o777, 0, "{mode:o}");
}

#[test]
fn it_is_opened_again_after_it_was_moved_away_and_no_line_is_torn_or_lost() {
    let directory = Directory::new();
    let file = directory.path("log");
    let stream = stream(&file);
    let (mut web, pipe) = source("web.1", 1);
    stream.attach(pipe);
    let writer = thread::spawn(move || {
        for n in 0..20_000 {
            writeln!(web, "line {n}").unwrap();
        }
    });
    let mut files = Vec::new();
    for n in 0..5 {
        until(&file, |text| !text.is_empty() || n > 0 && writer.is_finished());
        let moved = directory.path(&format!("log.{n}"));
        if fs::rename(&file, &moved).is_ok() {
            files.push(moved);
        }
        stream.reopen();
        until(&file, |_| file.exists());
    }
    files.push(file);
    writer.join().unwrap();
    assert_eq!(stream.finish(SOON).unwrap().written, 20_000);
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(texts.iter().all(|text| text.is_empty() || text.ends_with('\n')), "a torn line");
    let all = texts.concat();
    let expected: Vec<String> = (0..20_000).map(|n| format!("web.1     | line {n}")).collect();
    assert!(all.lines().eq(expected), "lines are lost or out of order");
}

#[test]
fn where_it_cannot_be_opened_again_that_is_said_and_the_old_one_is_written_on() {
    let directory = Directory::new();
    fs::create_dir(directory.path("logs")).unwrap();
    let file = directory.path("logs/log");
    let stream = stream(&file);
    stream.notice(exited("web.1", 1));
    until(&file, |text| text.contains("code 1"));
    fs::rename(directory.path("logs"), directory.path("old")).unwrap();
    stream.reopen();
    let old = directory.path("old/log");
    let text = until(&old, |text| text.contains("cannot be opened again"));
    assert!(text.contains("the old one is written on: No such file or directory"), "{text}");
    stream.notice(exited("web.1", 2));
    until(&old, |text| text.contains("code 2"));
    fs::create_dir(directory.path("logs")).unwrap();
    stream.reopen();
    stream.notice(exited("web.1", 3));
    assert_eq!(stream.finish(SOON).unwrap().dropped, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("code 3"));
    assert_eq!(fs::read_to_string(&old).unwrap().matches("cannot be opened").count(), 1);
}

#[test]
fn one_that_cannot_be_opened_at_all_is_an_error_with_its_name() {
    let directory = Directory::new();
    let settings = Settings { output: Output::File(directory.path("none/log")), ..PLAIN };
    let error = open(settings, 0, History::new(1024), |_| {}).unwrap_err();
    assert!(error.to_string().contains("none/log` cannot be opened: No such file"), "{error}");
}
