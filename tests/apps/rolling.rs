//! Four gunicorns behind one socket under `wrk`: they are replaced, and a release that does not work is turned back, and no
//! request ever fails.

use nix::sys::signal::Signal;

use crate::harness::{Project, Run, free_base, installed, path};
use crate::load::{BROKEN, Load, STUCK, fewest_ready, pids};

/// gunicorn loads the app first, and says READY=1 when it serves.
const PROCFILE: &str = "web: gunicorn --preload wsgi:app\n";

const APP: &str = r#"
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['PS']}\n".encode()]
"#;

fn spec(port: u16) -> String {
    format!(
        "formation:
  web:
    quantity: 4
    listen: tcp://127.0.0.1:{port}
    port: false
    health:
      startup: {{ notify: true }}
    rollout: {{ min_ready: 200ms, progress_deadline: 4s }}
"
    )
}

fn start() -> (Run, u16) {
    let port = free_base();
    let bin = installed("venv/bin/gunicorn");
    let path = format!("{}:{}", bin.parent().expect("a file is in a directory").display(), path());
    let project = Project::new()
        .with_variable("PATH", &path)
        .with("Procfile", PROCFILE)
        .with("supervise.yml", &spec(port))
        .with("wsgi.py", APP)
        .with("stuck.py", STUCK)
        .with("broken.py", BROKEN);
    let run = project.supervise(&["start"]);
    for slot in 1..=4 {
        run.says(&format!("web.{slot} is ready after"));
    }
    (run, port)
}

#[test]
fn three_rolling_restarts_under_load_fail_no_request() {
    let (mut run, port) = start();
    let load = Load::on(port);
    for _ in 0..3 {
        let before = pids(&run);
        let mut restart = run.project.command(&["restart", "--rolling", "--wait"]);
        let (fewest, restart) = fewest_ready(&run, || restart.output().expect("it was built"));
        assert!(fewest >= 4, "only {fewest} were ready\n{}", run.transcript());
        assert!(restart.status.success(), "{restart:?}\n{}", run.transcript());
        let after = pids(&run);
        assert_eq!(after.len(), 4, "the surge is gone: {after:?}");
        assert!(before.iter().all(|process| !after.contains(process)), "{before:?} {after:?}");
    }
    load.ends_without_a_failure(&run);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn a_release_that_never_becomes_ready_fails_no_request_and_the_old_ones_are_still_there() {
    let (mut run, port) = start();
    let load = Load::on(port);
    let before = pids(&run);
    for (app, reason, last_line) in [
        ("stuck", "nothing became ready within 4s: startup: not yet", "loading the model"),
        ("broken", "it failed 3 times in a row", "no such table: users"),
    ] {
        let procfile = PROCFILE.replace("wsgi", app);
        std::fs::write(run.project.root.join("Procfile"), procfile).expect("it is ours");
        let mut reload = run.project.command(&["reload", "--wait"]);
        let (fewest, reload) = fewest_ready(&run, || reload.output().expect("it was built"));
        assert!(fewest >= 4, "only {fewest} were ready\n{}", run.transcript());
        let told = String::from_utf8_lossy(&reload.stderr).into_owned();
        assert_eq!(reload.status.code(), Some(1), "{told}\n{}", run.transcript());
        assert!(told.contains(reason) && told.contains("web.5"), "{told}\n{}", run.transcript());
        assert!(told.contains(last_line), "the last lines of the one that failed: {told}");
        run.until("the old ones alone", || match pids(&run) {
            after if after == before => Ok(()),
            after => Err(format!("{before:?} {after:?}")),
        });
    }
    load.ends_without_a_failure(&run);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
