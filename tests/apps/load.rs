//! Clients who never stop asking, what can be seen of a formation meanwhile, and web apps that do not work.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::{Run, on_the_path};

/// A module that is imported for ever: it never says READY=1, while its sisters answer on the socket that it has, too.
pub(crate) const STUCK: &str = "import time\nprint('loading the model', flush=True)\ntime.sleep(3600)\n";

/// One that cannot be imported.
pub(crate) const BROKEN: &str = "raise RuntimeError('no such table: users')\n";

/// `wrk` with eight clients, until it is asked to end.
pub(crate) struct Load(Child);

impl Load {
    pub(crate) fn on(port: u16) -> Load {
        on_the_path("wrk");
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c8", "-d600s", "--timeout", "20s", &format!("http://127.0.0.1:{port}/")]);
        Load(wrk.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wrk runs"))
    }

    /// Its report, in which nothing failed.
    pub(crate) fn ends_without_a_failure(self, run: &Run) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        nix::sys::signal::kill(pid, Signal::SIGINT).expect("it runs");
        let output = self.0.wait_with_output().expect("it was started");
        let report = String::from_utf8_lossy(&output.stdout);
        let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests: u64 = requests.and_then(|(count, _)| count.parse().ok()).expect("a report of wrk");
        let failed = report.contains("Socket errors") || report.contains("Non-2xx");
        assert!(requests > 500 && !failed, "{report}\n{}", run.transcript());
    }
}

/// The fewest webs that were ready at any look while something is done.
pub(crate) fn fewest_ready<T>(run: &Run, doing: impl FnOnce() -> T) -> (u64, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut fewest = u64::MAX;
            while !over.load(Ordering::Relaxed) {
                let ready = status(run)["processes"].as_array().map(|processes| {
                    let webs = processes.iter().filter(|process| process["type"] == "web");
                    webs.filter(|process| process["ready"] == true).count() as u64
                });
                fewest = fewest.min(ready.expect("a list"));
            }
            fewest
        });
        let done = doing();
        over.store(true, Ordering::Relaxed);
        (looks.join().expect("it does not panic"), done)
    })
}

/// What `ps --json` says.
pub(crate) fn status(run: &Run) -> serde_json::Value {
    let output = run.project.command(&["ps", "--json"]).output().expect("it was built");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Who runs.
pub(crate) fn pids(run: &Run) -> Vec<(String, u64)> {
    let status = status(run);
    let processes = status["processes"].as_array().expect("a list");
    let each = processes.iter().map(|process| {
        let name = process["name"].as_str().expect("a name").to_owned();
        (name, process["pid"].as_u64().unwrap_or(0))
    });
    each.collect()
}
