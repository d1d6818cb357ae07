//! What our stdout may be besides a pipe that is ours alone.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use supervise::stream::Settings;

use crate::rig::{PLAIN, Reading, Rig, SOON, join, said_dropped};

fn flags(fd: impl AsFd) -> OFlag {
    OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap())
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("supervise-stream-{}-{name}", std::process::id()))
}

#[test]
fn the_flags_of_an_inherited_pipe_stay_as_they_are() {
    for inherited in [OFlag::empty(), OFlag::O_NONBLOCK] {
        let (reader, writer) = pipe().unwrap();
        let before = flags(&writer) | inherited;
        fcntl(&writer, FcntlArg::F_SETFL(before)).unwrap();
        let rig = Rig::on(writer.try_clone().unwrap().into(), PLAIN);
        let mut web = rig.child("web.1", 1);
        // More than the pipe holds, so that it is full before it is read.
        let writing = std::thread::spawn(move || {
            for n in 0..20_000 {
                writeln!(web, "line {n}").unwrap();
            }
        });
        let out = Reading::of(reader);
        join(writing, "the writer");
        let totals = rig.finish();
        assert_eq!(flags(&writer), before);
        drop(writer);
        assert_eq!((out.all().lines().count(), totals.written, totals.dropped), (20_000, 20_000, 0));
    }
}

#[test]
fn a_file_keeps_its_offset_and_is_shared_with_others() {
    let path = scratch("file");
    std::fs::write(&path, "").unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"before\n").unwrap();
    let rig = Rig::on(file.try_clone().unwrap().into(), PLAIN);
    let mut web = rig.child("web.1", 1);
    web.write_all(b"hello\n").unwrap();
    drop(web);
    rig.finish();
    file.write_all(b"after\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nweb.1     | hello\nafter\n");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_socket_gets_every_line() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let rig = Rig::on(writer.into(), PLAIN);
    let mut web = rig.child("web.1", 1);
    let writing = std::thread::spawn(move || {
        for n in 0..50_000 {
            writeln!(web, "line {n}").unwrap();
        }
    });
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    join(writing, "the writer");
    assert_eq!(rig.finish().written, 50_000);
    assert_eq!(join(reading, "the reader").lines().count(), 50_000);
}

#[test]
fn a_disk_that_stays_full_is_said_once_and_every_line_is_counted() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let rig = Rig::on(full.into(), PLAIN);
    let mut web = rig.child("web.1", 1);
    // Nobody is held up.
    for n in 0..100_000 {
        writeln!(web, "line {n}").unwrap();
    }
    drop(web);
    let aside = rig.aside;
    let totals = rig.stream.finish(SOON).unwrap();
    assert_eq!((totals.written, totals.dropped), (0, 100_000));
    let said = aside.all();
    assert_eq!(said.matches("the output cannot be written: No space left on device").count(), 1, "{said}");
    assert_eq!(said_dropped(&said), 100_000);
}

#[test]
fn a_disk_that_has_room_again_gets_the_lines_and_the_count_of_those_it_missed() {
    /// Of the whole process, and so more than a log of these tests has; the file begins that far on, with a hole.
    const LIMIT: u64 = 1 << 30;
    const BEFORE: u64 = LIMIT - 100_000;
    let path = scratch("disk");
    // SAFETY: ignoring a signal runs no code.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    // Files of this process cannot grow beyond this for a while: as good as a full disk.
    setrlimit(Resource::RLIMIT_FSIZE, LIMIT, hard).unwrap();
    let mut disk = File::create(&path).unwrap();
    disk.seek(SeekFrom::Start(BEFORE)).unwrap();
    let rig = Rig::on(disk.into(), Settings { ..PLAIN });
    let mut web = rig.child("web.1", 1);
    for n in 0..100_000 {
        writeln!(web, "line {n}").unwrap();
    }
    rig.aside.until(|text| text.contains("the output cannot be written: File too large; trying again\n"));
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    web.write_all(b"room again\n").unwrap();
    drop(web);
    let totals = rig.finish();
    let (mut disk, mut text) = (File::open(&path).unwrap(), String::new());
    disk.seek(SeekFrom::Start(BEFORE)).unwrap();
    disk.read_to_string(&mut text).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(text.ends_with("web.1     | room again\n"));
    assert!(text.contains("lines dropped: they could not be written\n"));
    let lines = text.lines().filter(|line| line.starts_with("web.1     | ")).count() as u64;
    assert_eq!((totals.written, totals.dropped), (lines, said_dropped(&text)));
    assert_eq!(totals.written + totals.dropped, 100_001);
}
