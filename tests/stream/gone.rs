//! A reader that goes away: said once; children are read on and never feel it.

use std::io::Write;
use std::time::Duration;

use supervise::api::InstanceId;
use supervise::stream::{Format, Report, Settings, WhenGone};

use crate::rig::{PLAIN, Rig, SOON, exited, said_dropped};

#[test]
fn it_is_reported_once_and_children_write_on() {
    let (rig, reader) = Rig::unread(PLAIN);
    let mut web = rig.child("web.1", 1);
    drop(reader);
    for n in 0..50_000 {
        writeln!(web, "line {n}").unwrap();
    }
    assert_eq!(rig.reports.recv_timeout(SOON), Ok(Report::ReaderGone));
    rig.stream.drain();
    rig.stream.last_words(InstanceId(1), exited("web.1", 0));
    let (reports, aside) = (rig.reports, rig.aside);
    let totals = rig.stream.finish(SOON).unwrap();
    assert_eq!((totals.written, totals.dropped), (0, 50_000));
    assert!(reports.recv_timeout(Duration::ZERO).is_err());
    let said = aside.all();
    assert!(said.contains("web.1 exited with code 0"), "{said}");
    assert_eq!(said_dropped(&said), 50_000);
}

#[test]
fn it_is_noticed_while_nobody_writes() {
    let (rig, reader) = Rig::unread(PLAIN);
    drop(reader);
    assert_eq!(rig.reports.recv_timeout(SOON), Ok(Report::ReaderGone));
    assert_eq!(rig.finish().dropped, 0);
}

#[test]
fn it_may_be_gone_from_the_start() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let rig = Rig::on(writer.into(), PLAIN);
    assert_eq!(rig.reports.recv_timeout(SOON), Ok(Report::ReaderGone));
    rig.finish();
}

#[test]
fn a_formation_that_goes_on_says_so_on_stderr_and_counts() {
    for format in [Format::Text, Format::Json, Format::Raw] {
        let (rig, reader) = Rig::unread(Settings { format, when_gone: WhenGone::Drop, ..PLAIN });
        let mut web = rig.child("web.1", 1);
        drop(reader);
        rig.aside.until(|text| text.contains("nobody reads our output any more"));
        web.write_all(b"a\nb\nc").unwrap();
        drop(web);
        let (reports, aside) = (rig.reports, rig.aside);
        assert_eq!(rig.stream.finish(SOON).unwrap().dropped, 3);
        assert!(aside.all().contains("3 lines dropped: nobody reads them"), "{}", aside.all());
        assert!(reports.recv_timeout(Duration::ZERO).is_err());
    }
}
