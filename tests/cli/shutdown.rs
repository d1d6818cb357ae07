//! `shutdown`, and finding a supervisor by where it was started: both need one that is a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::fake::Fake;
use super::test::Test;

const SOCKET: &str = "FAKE_SUPERVISOR_SOCKET";

/// A fake in a process of its own. It lives until its stdin is closed.
struct Process(Child);

impl Process {
    fn start(directory: &Path, socket: &Path) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("we are a program"))
            .args(["--exact", "shutdown::a_supervisor_of_its_own", "--ignored", "--nocapture"])
            .current_dir(directory)
            .env(SOCKET, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("we can be started again");
        let out = BufReader::new(child.stdout.as_mut().expect("it is piped"));
        let listens = out.lines().map_while(Result::ok).any(|line| line.ends_with("it listens"));
        assert!(listens, "it ended before it listened");
        Process(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It may have ended before.
        let _ = self.0.wait();
    }
}

/// Not a test: what [`Process`] runs.
#[test]
#[ignore = "it is started by other tests"]
fn a_supervisor_of_its_own() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let accepted =
        r#"{"formation":{"web":1},"processes":[{"name":"web.1","will":"stop","state":"draining"}]}"#;
    let _fake = Fake::at(Path::new(&socket)).answers("POST /v1/shutdown", 202, accepted);
    println!("it listens");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("it is a pipe");
}

#[test]
fn shutdown_returns_when_the_supervisor_is_gone() {
    let test = Test::new("shutdown -t 1.5s");
    let socket = test.directory().join("s");
    let mut process = Process::start(test.directory(), &socket);
    let mut child = Command::new(env!("CARGO_BIN_EXE_supervise"))
        .args(["shutdown", "-t", "1.5s", "--socket"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("it says what will happen");
    assert_eq!(line, "web.1 will stop\n");
    // It has been told and has nothing else to wait for: were it not to wait, it would end now.
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        assert_eq!(child.try_wait().expect("it is ours"), None, "it did not wait");
        thread::sleep(Duration::from_millis(10));
    }
    drop(process.0.stdin.take());
    let pid = process.0.id();
    line.clear();
    out.read_line(&mut line).expect("it says what has happened");
    assert_eq!(line, format!("the supervisor (pid {pid}) is gone\n"));
    assert!(process.0.try_wait().expect("it is ours").is_some(), "it said so too early");
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
}

#[test]
fn shutdown_sends_the_drain_and_tells_a_refusal() {
    let fake = Fake::new().answers("POST /v1/shutdown", 400, r#"{"error":{"code":"bad","message":"no"}}"#);
    let arguments = format!("shutdown --drain 1.5s {}", fake.named());
    Test::new(&arguments).code(1).stderr("error: no\n").run();
    assert_eq!(fake.asked(), [r#"POST /v1/shutdown {"drain":"1500ms"}"#]);
    // The variable is `start`'s.
    let arguments = format!("shutdown {}", fake.named());
    Test::new(&arguments).variable("SUPERVISE_DRAIN", "1s").code(1).stderr("error: no\n").run();
    assert_eq!(fake.asked()[1], "POST /v1/shutdown {}");
}

#[test]
fn of_those_elsewhere_only_one_that_was_started_here_is_meant() {
    let test = Test::new("scale").procfile("web: x").stdout("web=2 worker=1\n");
    let runtime = test.directory().join("run");
    let runtime = runtime.to_str().expect("it is plain").to_owned();
    let socket = Path::new(&runtime).join("supervise/other-procfile.sock");
    let process = Process::start(test.directory(), &socket);
    // `run` ends the project's own directory: one that stands elsewhere asks first.
    Test::new("scale")
        .procfile("web: x")
        .variable("XDG_RUNTIME_DIR", &runtime)
        .code(1)
        .stderr_says(&["no supervisor is running for [DIR]/Procfile", "--socket", "other-procfile.sock"])
        .run();
    test.variable("XDG_RUNTIME_DIR", &runtime).run();
    drop(process);
}

#[test]
fn nobody_there_is_said_with_what_was_tried() {
    let test = Test::new("ps").procfile("web: x");
    let runtime = test.directory().join("run").to_str().expect("it is plain").to_owned();
    test.variable("XDG_RUNTIME_DIR", &runtime)
        .code(1)
        .stderr_says(&[
            "error: no supervisor is running for [DIR]/Procfile: start one with `supervise start`\n",
            "  tried: [DIR]/run/supervise/",
            ".sock: not there",
        ])
        .run();
    Test::new("ps --socket nowhere")
        .code(1)
        .stderr(
            "error: no supervisor is running here: start one with `supervise start`\n  \
             tried: nowhere: not there\n",
        )
        .run();
    Test::new("ps").variable("SUPERVISE_SOCKET", "none").code(1).stderr_says(&["`--socket none`"]).run();
    for verb in ["scale", "restart", "stop", "signal 1", "logs", "events", "reload", "shutdown"] {
        Test::new(&format!("{verb} --socket nowhere"))
            .code(1)
            .stderr_says(&["no supervisor is running"])
            .run();
    }
}

#[test]
fn what_hears_but_never_answers_is_named() {
    // A listener without anybody who accepts: its queue takes us all the same.
    let test = Test::new("ps --socket s");
    let _listener = std::os::unix::net::UnixListener::bind(test.directory().join("s")).expect("it is ours");
    let begin = Instant::now();
    test.code(1).stderr_says(&["error: the supervisor has not answered for 10 seconds"]).run();
    assert!(begin.elapsed() > Duration::from_secs(9), "it waits a while");
}
