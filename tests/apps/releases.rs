//! An app in git, released again and again while its clients never stop asking: what works comes to run, what does not is
//! turned back, and no request ever fails.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::{Project, Run, free_base, http, installed, path};
use crate::load::{BROKEN, Load, STUCK, fewest_ready, pids, status};

/// gunicorn loads the app first, and says READY=1 when it serves.
const PROCFILE: &str = "web: gunicorn --preload wsgi:app
worker: python3 worker.py
release: python3 migrate.py
";

/// Says which code this is, of which release, and where that code lies.
const APP: &str = r#"
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    said = ["ONE", os.environ["SUPERVISE_RELEASE_ID"], os.environ["GREETING"], os.path.dirname(__file__)]
    return [" ".join(said).encode()]
"#;

const WORKER: &str = "import time\nprint('at work', flush=True)\ntime.sleep(3600)\n";

const MIGRATE: &str = "print('the tables are as they should be', flush=True)\n";

/// With the time that the new ones have to become ready.
fn spec(port: u16, deadline: &str) -> String {
    format!(
        "formation:
  web:
    quantity: 4
    listen: tcp://127.0.0.1:{port}
    port: false
    health:
      startup: {{ notify: true }}
    rollout: {{ min_ready: 200ms, progress_deadline: {deadline} }}
  worker:
    port: false
    rollout: {{ min_ready: 200ms, progress_deadline: {deadline} }}
"
    )
}

/// An app whose state is beside it, and its first commit.
fn app(port: u16) -> Project {
    let bin = installed("venv/bin/gunicorn");
    let path = format!("{}:{}", bin.parent().expect("a file is in a directory").display(), path());
    let project = Project::new();
    let state = project.root.join("state").display().to_string();
    let project = project
        .with_variable("PATH", &path)
        .with_variable("XDG_STATE_HOME", &state)
        .with(".gitignore", "state/\nsupervise/\n.env\n")
        .with("Procfile", PROCFILE)
        .with("supervise.yml", &spec(port, "100s"))
        .with(".env", "GREETING=hello\n")
        .with("wsgi.py", APP)
        .with("worker.py", WORKER)
        .with("migrate.py", MIGRATE);
    git(&project, &["init", "-q", "."]);
    project
}

fn git(project: &Project, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(&project.root);
    let output = git.output().expect("there is git");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// The next release, of a commit with these files changed.
fn release(project: &Project, number: u32, changes: &[(&str, &str)]) {
    for (name, content) in changes {
        std::fs::write(project.root.join(name), content).expect("it is ours");
    }
    git(project, &["add", "."]);
    git(project, &["commit", "-q", "-m", "another"]);
    let said = says(project, &["release", "create"]);
    assert!(said.starts_with(&format!("v{number}: build ")) && !said.contains("dirty"), "{said}");
}

fn says(project: &Project, words: &[&str]) -> String {
    let output = project.command(words).output().expect("it was built");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The releases of everybody who runs.
fn running(run: &Run) -> BTreeSet<String> {
    let status = status(run);
    let processes = status["processes"].as_array().expect("a list");
    processes.iter().map(|process| process["release"].as_str().expect("a text").to_owned()).collect()
}

fn only(release: &str) -> BTreeSet<String> {
    BTreeSet::from([release.to_owned()])
}

fn current(project: &Project) -> String {
    let releases = says(project, &["releases", "--json"]);
    let releases: serde_json::Value = serde_json::from_str(&releases).expect("JSON");
    releases["current"].as_str().unwrap_or_default().to_owned()
}

/// The keyed hash of a release, which is what its instances see.
fn id(project: &Project, release: &str) -> String {
    let shown = says(project, &["release", "show", release, "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    shown["id"].as_str().expect("a text").to_owned()
}

/// What a client is answered: the code, its release, its greeting, its directory.
fn answer(run: &Run, port: u16) -> [String; 4] {
    let body = run.until("an answer", || match http("GET", port, "/", "") {
        Ok((200, body)) => Ok(body),
        other => Err(format!("{other:?}")),
    });
    let words: Vec<String> = body.split_whitespace().map(str::to_owned).collect();
    words.try_into().unwrap_or_else(|words| panic!("{words:?}"))
}

/// Does it, sees that never fewer than four webs are ready meanwhile, and that both releases are seen where both run.
fn watched(run: &Run, words: &[&str], both: Option<[&str; 2]>) -> Output {
    let mut command = run.project.command(words);
    thread::scope(|scope| {
        let watch = both.map(|both| {
            let both = BTreeSet::from(both.map(str::to_owned));
            scope.spawn(move || {
                run.until(&format!("{both:?} side by side"), || match running(run) {
                    seen if seen == both => Ok(()),
                    seen => Err(format!("{seen:?}")),
                });
            })
        });
        let (fewest, output) = fewest_ready(run, || command.output().expect("it was built"));
        assert!(fewest >= 4, "only {fewest} were ready\n{}", run.transcript());
        if let Some(watch) = watch {
            watch.join().expect("both were seen");
        }
        output
    })
}

fn begins(project: Project, port: u16) -> (Run, Load) {
    let run = project.supervise(&["start", "--release", "v1"]);
    for slot in 1..=4 {
        run.says(&format!("web.{slot} is ready after"));
    }
    (run, Load::on(port))
}

fn ends(mut run: Run, load: Load) {
    load.ends_without_a_failure(&run);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn two_commits_come_to_run_one_after_the_other_and_back_without_a_failed_request() {
    let port = free_base();
    let project = app(port);
    release(&project, 1, &[]);
    let two = APP.replace("ONE", "TWO");
    release(&project, 2, &[("wsgi.py", &two), ("migrate.py", "print('a new column')\n")]);
    let (run, load) = begins(project, port);
    let ids = ["v1", "v2"].map(|name| id(&run.project, name));
    let [code, release, greeting, directory] = answer(&run, port);
    assert_eq!([&code, &release, &greeting], ["ONE", &ids[0], "hello"]);

    // What becomes of the working tree is nothing to what runs.
    for (name, content) in
        [("wsgi.py", "raise RuntimeError()"), (".env", "GREETING=bye\n"), ("Procfile", "web: false\n")]
    {
        std::fs::write(run.project.root.join(name), content).expect("it is ours");
    }
    let before = pids(&run);
    let restart = run.project.command(&["restart", "web", "--rolling", "--wait"]).output().expect("built");
    assert!(restart.status.success(), "{restart:?}\n{}", run.transcript());
    let after = pids(&run);
    assert!(before.iter().filter(|(name, _)| name != "worker.1").all(|process| !after.contains(process)));
    assert_eq!(answer(&run, port), [code, release, greeting, directory.clone()]);

    let deploy = watched(&run, &["deploy", "--wait", "v2"], Some(["v1", "v2"]));
    let said = String::from_utf8_lossy(&deploy.stdout).into_owned();
    assert!(deploy.status.success(), "{deploy:?}\n{}", run.transcript());
    assert!(said.contains("deploying v2, from v1") && said.contains("v2 runs everywhere"), "{said}");
    run.says("run.1     | a new column");
    assert_eq!((running(&run), current(&run.project).as_str()), (only("v2"), "v2"));
    let [code, release, greeting, elsewhere] = answer(&run, port);
    assert_eq!([&code, &release, &greeting], ["TWO", &ids[1], "hello"]);
    assert_ne!(elsewhere, directory);

    let rollback = watched(&run, &["rollback", "--wait"], Some(["v2", "v3"]));
    let said = String::from_utf8_lossy(&rollback.stdout).into_owned();
    assert!(rollback.status.success(), "{rollback:?}\n{}", run.transcript());
    assert!(said.starts_with("v3 is v1 once more\n"), "{said}");
    assert_eq!((running(&run), current(&run.project).as_str()), (only("v3"), "v3"));
    let [code, release, _, here] = answer(&run, port);
    // The same build and the same config are the same release, whatever its number.
    assert_eq!([&code, &release, &here], ["ONE", &ids[0], &directory]);
    ends(run, load);
}

#[test]
fn whatever_does_not_work_is_turned_back_and_fails_no_request() {
    let port = free_base();
    let project = app(port);
    release(&project, 1, &[]);
    let failing = "print('no such column', flush=True)\nraise SystemExit(3)\n";
    let crashing = "print('no queue', flush=True)\nraise SystemExit(7)\n";
    release(&project, 2, &[("wsgi.py", BROKEN)]);
    release(&project, 3, &[("wsgi.py", STUCK), ("supervise.yml", &spec(port, "4s"))]);
    release(
        &project,
        4,
        &[("wsgi.py", APP), ("migrate.py", failing), ("supervise.yml", &spec(port, "100s"))],
    );
    release(&project, 5, &[("migrate.py", MIGRATE), ("worker.py", crashing)]);
    let (run, load) = begins(project, port);
    let id = id(&run.project, "v1");
    for (release, reason, last_line) in [
        ("v2", "the new web was turned back, web.5: it failed 3 times in a row", "no such table: users"),
        (
            "v3",
            "the new web was turned back, web.5: nothing became ready within 4s: startup: not yet",
            "loading the model",
        ),
        ("v4", "its type `release` failed as run.1, so nothing else was changed", "no such column"),
        ("v5", "the new worker was turned back, worker.2: it failed 3 times in a row", "no queue"),
    ] {
        let before = pids(&run);
        let both = (release != "v4").then_some(["v1", release]);
        let deploy = watched(&run, &["deploy", "--wait", release], both);
        let told = String::from_utf8_lossy(&deploy.stderr).into_owned();
        assert_eq!(deploy.status.code(), Some(1), "{told}\n{}", run.transcript());
        assert!(told.contains(&format!("{release} was not deployed: ")), "{told}\n{}", run.transcript());
        assert!(told.contains(reason), "{told}\n{}", run.transcript());
        assert!(told.contains(last_line), "the last lines of the one that failed: {told}");
        run.until("everything back on v1", || match (running(&run), pids(&run)) {
            (releases, pids) if releases == only("v1") && pids.len() == 5 => Ok(()),
            seen => Err(format!("{seen:?}")),
        });
        if release == "v4" {
            assert_eq!(pids(&run), before, "nobody was touched\n{}", run.transcript());
        }
        assert_eq!(current(&run.project), "v1");
        let [code, seen, ..] = answer(&run, port);
        assert_eq!([&code, &seen], ["ONE", &id]);
    }
    ends(run, load);
}
