//! What cannot be deployed, and what cannot be written down.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::App;
use crate::harness::{Caller, Judge, Verdict, can_judge};
use crate::socket;

const WEB: &str = "web: chaos sleep 1h\n";

#[test]
fn of_two_deploys_at_once_the_second_is_told_of_the_first() {
    let app = App::new("");
    app.gate("phase");
    app.release(WEB);
    app.release(&format!("{WEB}release: chaos say here gate {{TOP}}/phase\n"));
    let mut run = app.runs("v1");
    app.says(&["deploy", "v2"]);
    run.line("run.1", "here");
    for words in [&["deploy", "v1"][..], &["deploy", "--wait", "v2"], &["reload"]] {
        let told = app.refuses(words, 1);
        assert!(told.starts_with("error: ") && told.contains("v2"), "{words:?}: {told}");
    }
    let reply = socket::ask(&socket::socket_of(&run), "POST", "/v1/deploy", r#"{"release":"v1"}"#);
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(String::from_utf8_lossy(&reply.body).contains("v2"), "{reply:?}");
    app.open_gate("phase");
    run.event("deployed", "");
    app.becomes_current("v2", &run);
    app.comes_to(&[("web.1", "v2")], &run);
    run.is_stopped();
}

#[test]
fn a_release_that_is_not_there_or_not_as_it_was_changes_nothing() {
    let app = App::new("");
    for nth in 1..=4 {
        app.release(&format!("web: chaos say {nth} sleep 1h\n"));
    }
    app.says(&["release", "prune", "--keep", "3"]);
    let mut run = app.runs("v2");
    let procfile = app.store().join("releases/v3/Procfile");
    let text = fs::read_to_string(&procfile).expect("it is there").replace("say", "err");
    fs::remove_file(&procfile).expect("it is ours");
    fs::write(&procfile, text).expect("it is ours");
    let builds = app.says(&["release", "show", "v4", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&builds).expect("it is JSON");
    fs::remove_dir_all(shown["build"]["directory"].as_str().expect("a text")).expect("it is there");
    let socket = socket::socket_of(&run);
    for (release, said) in [
        ("v9", "there is no release `v9`"),
        ("v1", "there is no release `v1`"),
        ("v3", "v3 is not as it was made"),
        ("v4", "the build of v4 is gone"),
    ] {
        for words in [&["deploy", "--wait", release][..], &["deploy", release]] {
            let told = app.asks(words);
            assert!(matches!(told.code, Some(1 | 2)), "{words:?}: {}", told.err);
            assert!(told.err.starts_with("error: ") && told.err.contains(said), "{words:?}: {}", told.err);
        }
        // Whoever asks without our client is told the same.
        let body = format!(r#"{{"release":"{release}"}}"#);
        let reply = socket::ask(&socket, "POST", "/v1/deploy", &body);
        let told = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 409, "{told}");
        assert!(told.contains(said) && told.contains("nothing was changed"), "{told}");
    }
    assert_eq!(run.so_far().events("started", "web.1").len(), 1, "{}", run.so_far());
    app.comes_to(&[("web.1", "v2")], &run);
    // And the next one comes to run.
    app.writes("Procfile", "web: chaos say 5 sleep 1h\n");
    app.says(&["release", "create"]);
    app.says(&["deploy", "--wait", "v5"]);
    run.is_stopped();
}

#[test]
fn what_cannot_be_written_down_runs_all_the_same_and_it_is_said() {
    if !can_judge() {
        return;
    }
    for (call, error) in
        [(libc::SYS_fsync, libc::ENOSPC), (libc::SYS_rename, libc::EROFS), (libc::SYS_fsync, libc::EIO)]
    {
        let app = App::new("");
        app.release(WEB);
        app.release("web: chaos say two sleep 1h\n");
        let refuses = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&refuses);
        let judge = Judge::new(&[call], move |call| match call.caller {
            Caller::Stream | Caller::Loop if now.load(Ordering::SeqCst) => Verdict::Fail(error),
            Caller::Stream | Caller::Loop | Caller::Newborn | Caller::Other => Verdict::Go,
        });
        let app = App { project: app.project.judged(judge) };
        let mut run = app.runs("v1");
        refuses.store(true, Ordering::SeqCst);
        app.says(&["deploy", "--wait", "v2"]);
        let not_recorded = run.event("not_recorded", "");
        assert_eq!(not_recorded.json["release"], "v2", "{}", run.so_far());
        app.comes_to(&[("web.1", "v2")], &run);
        assert_eq!(app.current().as_deref(), Some("v1"), "nothing is broken\n{}", run.so_far());
        // The command of an admin is for what runs, whatever was written down.
        assert_eq!(app.says(&["run", "printenv", "SUPERVISE_RELEASE_ID"]).trim(), app.id("v2"));
        refuses.store(false, Ordering::SeqCst);
        app.says(&["deploy", "--wait", "v2"]);
        assert_eq!(app.current().as_deref(), Some("v2"));
        run.is_stopped();
    }
}

#[test]
fn a_release_is_not_read_again_and_it_is_said_what_to_do_instead() {
    let app = App::new("");
    app.release(WEB);
    let mut run = app.runs("v1");
    app.writes("Procfile", "web: chaos exit 1\n");
    let told = app.refuses(&["reload"], 1);
    assert!(
        told.contains("v1 runs, which nothing changes; `supervise deploy` runs another release"),
        "{told}"
    );
    run.event("reload_failed", "");
    // Without a controlling terminal HUP is a reload.
    run.signal(libc::SIGHUP);
    let notice = run.nth_event(2, "reload_failed", "");
    assert!(notice.message().contains("`supervise deploy`"), "{}", notice.message());
    app.comes_to(&[("web.1", "v1")], &run);
    assert_eq!(run.so_far().events("started", "web.1").len(), 1, "{}", run.so_far());
    run.is_stopped();
}
