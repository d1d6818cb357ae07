//! examples/listen: servers that share a socket which outlives them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::{Project, Run, free_base, http, installed, on_the_path, path, repository};

/// The example with its address on a free port, which it returns.
fn start(example: &str, files: &[&str], path: &str) -> (Run, u16) {
    let port = free_base();
    let directory = repository().join("examples/listen").join(example);
    let project = files.iter().fold(Project::new().with_variable("PATH", path), |project, file| {
        let text =
            std::fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        project.with(file, &text.replace("0.0.0.0:8000", &format!("127.0.0.1:{port}")))
    });
    (project.supervise(&["start"]), port)
}

/// Who answers a request: `web.1 in process 123`.
fn ask(port: u16) -> Result<String, String> {
    match http("GET", port, "/", "")? {
        (200, text) => Ok(text),
        (status, text) => Err(format!("{status} {text}")),
    }
}

/// Waits until so many others than these have answered.
fn answering(run: &Run, port: u16, number: usize, others: &BTreeSet<String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    run.until("an answer of each instance", || {
        seen.extend(ask(port).ok().filter(|text| !others.contains(text)));
        if seen.len() == number { Ok(seen.clone()) } else { Err(format!("{seen:?}")) }
    })
}

/// What a server does with a client whom it has accepted and not yet heard when it is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// It serves it.
    Serves,
    /// It may send it away: that is the server's, and nobody else can help it.
    MayReset,
}

/// Four instances answer on one port, and while all of them are restarted at once, no client is refused: each waits for the
/// next life.
fn shares_its_socket_and_refuses_nobody(example: &str, files: &[&str], path: &str, manners: Manners) {
    let (mut run, port) = start(example, files, path);
    run.says(&format!("web listens on tcp://127.0.0.1:{port}"));
    let first = answering(&run, port, 4, &BTreeSet::new());

    let over = AtomicBool::new(false);
    let failures = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut asked = 0;
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) {
                failures.extend(ask(port).err());
                asked += 1;
            }
            (asked, failures)
        });
        for _ in 0..2 {
            let restart = run.project.command(&["restart", "--wait", "web"]).output().expect("it was built");
            assert!(restart.status.success(), "{restart:?}\n{}", run.transcript());
        }
        answering(&run, port, 4, &first);
        over.store(true, Ordering::Relaxed);
        client.join().expect("it does not panic")
    });
    let (asked, mut failures) = failures;
    match manners {
        Manners::Serves => {}
        Manners::MayReset => failures.retain(|failure| failure.contains("refused")),
    }
    assert!(asked > 10 && failures.is_empty(), "{failures:?} of {asked}\n{}", run.transcript());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

/// Where the Python programs are.
fn with_python() -> String {
    let bin = installed("venv/bin/gunicorn");
    format!("{}:{}", bin.parent().expect("a file is in a directory").display(), path())
}

#[test]
fn gunicorn_takes_the_socket_by_its_variables() {
    let files = ["Procfile", "supervise.yml", "wsgi.py"];
    shares_its_socket_and_refuses_nobody("gunicorn", &files, &with_python(), Manners::Serves);
}

#[test]
fn uvicorn_takes_the_socket_as_its_descriptor() {
    let files = ["Procfile", "supervise.yml", "app.py"];
    shares_its_socket_and_refuses_nobody("uvicorn", &files, &with_python(), Manners::MayReset);
}

#[test]
fn node_takes_the_socket_as_its_descriptor() {
    on_the_path("node");
    let files = ["Procfile", "supervise.yml", "server.js"];
    shares_its_socket_and_refuses_nobody("node", &files, &path(), Manners::MayReset);
}

#[test]
fn puma_takes_the_socket_by_its_variables_and_its_address() {
    on_the_path("puma");
    let files = ["Procfile", "supervise.yml", "config.ru"];
    shares_its_socket_and_refuses_nobody("puma", &files, &path(), Manners::MayReset);
}
