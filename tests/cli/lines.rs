//! `logs` and `events`: lines of the past, and those that come.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::fake::Fake;
use super::test::Test;

const LINES: &str = concat!(
    r#"{"timestamp":"2026-01-31T12:34:56.000001Z","process":"web.1","type":"web","pid":7,"stream":"stdout","message":"hello"}"#,
    "\n",
    r#"{"timestamp":"2026-01-31T12:34:57.000001Z","process":"worker.1","type":"worker","pid":8,"stream":"stderr","message":"\u001b[31mred \ufffd","message_base64":"G1szMW1yZWQg/w==","partial":true}"#,
    "\n",
    r#"{"timestamp":"2026-01-31T12:34:58.000001Z","process":"web.1","type":"web","stream":"notice","event":"failed","message":"web.1 failed","last_lines":["boom"]}"#,
    "\n",
);

fn test(fake: &Fake, arguments: &str) -> Test {
    Test::new(&format!("{arguments} {}", fake.named()))
}

#[test]
fn logs_look_like_the_stream() {
    let fake = Fake::new().answers("GET /v1/logs", 200, LINES);
    let text =
        "web.1     | hello\nworker.1  | \x1b[31mred \u{fffd}\nsupervise | web.1 failed\nsupervise |   boom\n";
    test(&fake, "logs").stdout(text).run();
    test(&fake, "logs --color always --timestamps always")
        .variable("TZ", "UTC")
        .stdout(
            "\x1b[33m12:34:56 web.1     |\x1b[0m hello\n\
             \x1b[36m12:34:57 worker.1  |\x1b[0m \x1b[31mred \u{fffd}\x1b[0m\n\
             \x1b[1m12:34:58 supervise |\x1b[0m web.1 failed\n\
             \x1b[1m12:34:58 supervise |\x1b[0m   boom\n",
        )
        .run();
}

#[test]
fn bytes_of_a_line_survive() {
    let fake = Fake::new().answers("GET /v1/logs", 200, LINES);
    let output = Command::new(env!("CARGO_BIN_EXE_supervise"))
        .args(["logs", "--socket"])
        .arg(&fake.socket)
        .output()
        .expect("the program was built");
    assert!(output.stdout.windows(6).any(|bytes| bytes == b"red \xff\n"), "{:?}", output.stdout);
}

#[test]
fn logs_as_json_are_the_answer_as_it_is() {
    let fake = Fake::new().answers("GET /v1/logs", 200, LINES);
    test(&fake, "logs --json").stdout(LINES).run();
    assert_eq!(fake.asked(), ["GET /v1/logs"]);
}

#[test]
fn what_is_wanted_of_the_lines_is_asked_for() {
    let fake = Fake::new().answers("GET /v1/logs?follow=true&n=5&target=web&target=w%2A.%5B12%5D", 200, "");
    test(&fake, "logs --json -f -n 5 web w*.[12]").run();
    let fake = Fake::new().answers("GET /v1/events?follow=true&n=0", 200, "{}\n");
    test(&fake, "events -n 0 --follow").stdout("{}\n").run();
    let fake = Fake::new().answers("GET /v1/events", 200, LINES);
    test(&fake, "events").stdout(LINES).run();
}

#[test]
fn an_unknown_target_is_an_error() {
    let refusal = r#"{"error":{"code":"unknown_target","message":"`x` means nobody"}}"#;
    let fake = Fake::new().answers("GET /v1/logs?target=x", 404, refusal);
    test(&fake, "logs x").code(1).stderr("error: `x` means nobody\n").run();
}

#[test]
fn a_supervisor_that_is_killed_leaves_an_error_behind_its_last_line() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let fake = Fake::new().answers_raw("GET /v1/events?follow=true", format!("{head}3\r\n{{}}\n\r\n"));
    test(&fake, "events -f")
        .stdout("{}\n")
        .code(1)
        .stderr("error: the supervisor is gone, without having ended\n")
        .run();
}

#[test]
fn a_line_is_shown_as_soon_as_it_is_there_and_a_reader_that_goes_away_is_no_fault() {
    // A chunk with half a line, one with the rest and another half; then silence without an end.
    let (first, rest) = LINES.split_at(40);
    let (rest, unfinished) = rest.split_at(rest.find('\n').expect("there is a line") + 20);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = format!("{head}{}{}", chunk(first), chunk(rest));
    let fake = Fake::new().answers_raw("GET /v1/logs?follow=true", answer);
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    command.args(["logs", "-f", "--socket"]).arg(&fake.socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Whoever runs these tests in the background of a script ignores INT, and so would it.
    // SAFETY: signal(2) alone is called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("the program was built");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    out.read_line(&mut line).expect("a line comes");
    assert_eq!(line, "web.1     | hello\n");
    assert!(unfinished.len() > 20, "more would come");
    // Ctrl-C.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let status = child.wait().expect("it is ours");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));

    let many = LINES.repeat(10_000);
    let fake = Fake::new().answers("GET /v1/logs", 200, &many);
    let mut child = Command::new(env!("CARGO_BIN_EXE_supervise"))
        .args(["logs", "--socket"])
        .arg(&fake.socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut some = [0; 100];
    child.stdout.take().expect("it is piped").read_exact(&mut some).expect("there is more");
    let output = child.wait_with_output().expect("it is ours");
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
