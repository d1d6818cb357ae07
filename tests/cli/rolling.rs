//! `restart --rolling` and `reload`, while somebody waits: how it goes on is shown as it goes on.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use super::fake::Fake;
use super::test::Test;

const BEGAN: &str = r#"{"timestamp":"t","process":"supervise","stream":"notice","event":"rollout_began","message":"web: replacing 2 one after the other, 1 at a time","rollout":"web","instances":2,"at_a_time":1}
"#;
const UNWELL: &str = r#"{"timestamp":"t","process":"web.1","type":"web","stream":"notice","event":"unwell","message":"web.1 failed its startup probe, so it is stopped: refused","probe":"startup","why":"refused"}
"#;
const CRASHED: &str = r#"{"timestamp":"t","process":"web.1","type":"web","stream":"notice","event":"exited","message":"web.1 exited with code 3 after 12ms; restarting in 500ms","code":3,"delay_ms":500}
"#;
const DRAINED: &str = r#"{"timestamp":"t","process":"web.1","type":"web","stream":"notice","event":"exited","message":"web.1 exited with code 0 after 3h","code":0}
"#;
const READY: &str = r#"{"timestamp":"t","process":"web.1","type":"web","stream":"notice","event":"ready","message":"web.1 is ready after 2s","after_ms":2000}
"#;
const STEP: &str = r#"{"timestamp":"t","process":"supervise","stream":"notice","event":"rollout_step","message":"web: 1 of 2 replaced","rollout":"web","replaced":1,"instances":2}
"#;
const OTHER: &str = r#"{"timestamp":"t","process":"worker.1","type":"worker","stream":"notice","event":"ready","message":"worker.1 is ready after 2s"}
"#;
const DONE: &str = r#"{"timestamp":"t","process":"supervise","stream":"notice","event":"rollout_done","message":"web: all replaced after 4s","rollout":"web","took_ms":4000}
"#;
const TURNED_BACK: &str = r#"{"timestamp":"t","process":"web.1","type":"web","stream":"notice","event":"turned_back","message":"web.1 decides it: the new web is turned back, it failed 3 times in a row","rollout":"web","reason":"failures","failures":3,"last_lines":["Traceback:","  boom\u001b[2J"]}
"#;

const EVENTS: &str = "GET /v1/events?follow=true&n=0";
const RESTART: &str = "POST /v1/restart?wait=true";
const ROLLED: &str = r#"{"formation":{"web":2,"worker":1},"processes":[{"name":"web.1","will":"restart","state":"running"},{"name":"web.2","will":"restart","state":"running"}]}"#;
const REFUSED: &str =
    r#"{"error":{"code":"turned_back","message":"the new web was turned back: it failed 3 times in a row"}}"#;

fn test(fake: &Fake, arguments: &str) -> Test {
    Test::new(&format!("{arguments} {}", fake.named()))
}

/// Lines that come at once, in pieces that are torn anywhere, and then nothing more.
fn events(lines: &[&str]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in lines.concat().as_bytes().chunks(100) {
        answer.extend(format!("{:x}\r\n", piece.len()).bytes());
        answer.extend(piece);
        answer.extend(b"\r\n");
    }
    answer
}

#[test]
fn without_wait_it_returns_when_it_is_accepted() {
    let accepted =
        r#"{"formation":{"web":1},"processes":[{"name":"web.1","will":"restart","state":"running"}]}"#;
    let fake = Fake::new().answers("POST /v1/restart", 202, accepted);
    test(&fake, "restart --rolling web").stdout("web.1 will restart\n").run();
    test(&fake, "restart").variable("SUPERVISE_ROLLING", "1").stdout("web.1 will restart\n").run();
    let asked = [r#"{"rolling":true,"targets":["web"]}"#, r#"{"rolling":true,"targets":[]}"#];
    assert_eq!(fake.asked(), asked.map(|body| format!("POST /v1/restart {body}")));
}

#[test]
fn with_wait_each_step_is_a_line_where_there_is_no_terminal() {
    let fake = Fake::new()
        .answers_raw(EVENTS, events(&[BEGAN, OTHER, UNWELL, CRASHED, DRAINED, READY, STEP, DONE]))
        .answers(RESTART, 200, ROLLED);
    test(&fake, "restart --rolling --wait web")
        .stdout(
            "web: replacing 2 one after the other, 1 at a time\n\
             web.1 failed its startup probe, so it is stopped: refused\n\
             web.1 exited with code 3 after 12ms; restarting in 500ms\n\
             web.1 is ready after 2s\n\
             web: 1 of 2 replaced\n\
             web: all replaced after 4s\n\
             web.1, web.2 restarted, now running\n",
        )
        .run();
    assert_eq!(fake.asked()[1], EVENTS, "it listens before it asks");
}

#[test]
fn what_is_turned_back_is_a_failure_with_the_last_lines_of_who_did_not_work() {
    let fake =
        Fake::new().answers_raw(EVENTS, events(&[BEGAN, UNWELL, TURNED_BACK])).answers(RESTART, 409, REFUSED);
    test(&fake, "restart --rolling --wait web")
        .code(1)
        .stdout(
            "web: replacing 2 one after the other, 1 at a time\n\
             web.1 failed its startup probe, so it is stopped: refused\n\
             web.1 decides it: the new web is turned back, it failed 3 times in a row\n",
        )
        .stderr(
            "error: the new web was turned back: it failed 3 times in a row\n\
             \x20 web.1 wrote last:\n    Traceback:\n      boom\u{fffd}[2J\n",
        )
        .run();
}

#[test]
fn a_newer_request_and_one_that_hears_no_events_end_with_their_answer() {
    let superseded =
        r#"{"error":{"code":"superseded","message":"a newer request replaces the instances of web now"}}"#;
    let fake = Fake::new().answers_raw(EVENTS, events(&[BEGAN])).answers(RESTART, 409, superseded);
    test(&fake, "restart --rolling --wait")
        .code(1)
        .stdout("web: replacing 2 one after the other, 1 at a time\n")
        .stderr("error: a newer request replaces the instances of web now\n")
        .run();
    let crowded = r#"{"error":{"code":"too_many_clients","message":"too many clients at once"}}"#;
    let fake = Fake::new().answers(EVENTS, 503, crowded).answers(RESTART, 200, ROLLED);
    test(&fake, "restart --rolling --wait").stdout("web.1, web.2 restarted, now running\n").run();
}

#[test]
fn reload_shows_how_it_goes_on_too() {
    let reloaded = r#"{"formation":{"web":2,"worker":1},"processes":[{"name":"web.1","will":"restart","state":"running"}]}"#;
    let fake = Fake::new().answers_raw(EVENTS, events(&[BEGAN, STEP, DONE])).answers(
        "POST /v1/reload?wait=true",
        200,
        reloaded,
    );
    test(&fake, "reload --wait")
        .stdout(
            "web: replacing 2 one after the other, 1 at a time\nweb: 1 of 2 replaced\n\
             web: all replaced after 4s\nweb.1 restarted, now running\n",
        )
        .run();
    let fake = Fake::new().answers_raw(EVENTS, events(&[BEGAN, TURNED_BACK])).answers(
        "POST /v1/reload?wait=true",
        409,
        REFUSED,
    );
    test(&fake, "reload --wait")
        .code(1)
        .stdout(
            "web: replacing 2 one after the other, 1 at a time\n\
             web.1 decides it: the new web is turned back, it failed 3 times in a row\n",
        )
        .stderr_says(&["turned back", "web.1 wrote last:\n    Traceback:"])
        .run();
}

#[test]
fn on_a_terminal_a_type_has_one_line_that_fits_and_is_rewritten() {
    let fake =
        Fake::new().answers_raw(EVENTS, events(&[BEGAN, READY, STEP, DONE])).answers(RESTART, 200, ROLLED);
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).expect("there are terminals");
    let child = Command::new(env!("CARGO_BIN_EXE_supervise"))
        .args(["restart", "--rolling", "--wait", "--socket"])
        .arg(&fake.socket)
        .stdout(Stdio::from(OwnedFd::try_clone(&terminal.slave).expect("descriptors are left")))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    drop(terminal.slave);
    let mut shown = Vec::new();
    // A terminal whose other side is gone ends with EIO.
    let _ = File::from(terminal.master).read_to_end(&mut shown);
    let output = child.wait_with_output().expect("it is ours");
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
    let rewritten = |text: &str| format!("\x1b[1A\r\x1b[K{text}\x1b[1B\r");
    let expected = [
        "\n".to_owned(),
        rewritten("web: 0 of 2 replaced; replacing 2 one..."),
        rewritten("web: 0 of 2 replaced; web.1 is ready ..."),
        rewritten("web: 1 of 2 replaced"),
        rewritten("web: all replaced after 4s"),
        "web.1, web.2 restarted, now running\n".to_owned(),
    ];
    assert_eq!(shown, expected.concat());
}
