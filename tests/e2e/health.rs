//! Whether an instance is well: who asks it, what it says of itself, and what follows.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{
    Caller, Judge, PATIENCE, Run, Supervise, Verdict, can_judge, descriptors, eventually, is_alive, peak_kib,
    send, zombies_of,
};
use crate::socket::{ask, socket_of};
use crate::verbs::says;

/// How a process is, as `ps --json` has it.
fn ps(run: &Run, name: &str) -> Value {
    // Whoever asks is answered from then on.
    run.event("started", "");
    let status: Value = serde_json::from_str(&says(run, &["ps", "--json"])).expect("it is JSON");
    let processes = status["processes"].as_array().expect("a list");
    processes.iter().find(|process| process["name"] == name).expect("it is listed").clone()
}

/// Waits until `ps` shows a process so.
fn until(run: &Run, name: &str, key: &str, value: impl Into<Value>) {
    let value = value.into();
    let look = || (ps(run, name)[key] == value).then_some(());
    eventually(&format!("{name} with {key} {value}"), look, || {
        format!("{}\n{}", ps(run, name), run.so_far())
    });
}

/// Waits until nobody of the run lives but those with such command lines.
fn until_only(run: &Run, commands: &[&str]) {
    let only = || {
        let mut alive: Vec<String> = run.alive().into_iter().map(|(_, command)| command).collect();
        alive.sort();
        (alive == commands).then_some(())
    };
    eventually(&format!("only {commands:?}"), only, || format!("{:?}\n{}", run.alive(), run.so_far()));
}

#[test]
fn who_comes_after_a_type_waits_until_its_startup_probe_has_passed() {
    let mut run =
        Supervise::with("web: chaos gate gate touch well sleep 1h\njob: chaos say begun sleep 1h\n")
            .spec(
                "formation:\n  \
               web: { health: { startup: { exec: 'test -e well || { echo no file; exit 1; }', period: 100ms, \
                                           failure_threshold: 10000 } } }\n  \
               job: { after: [web] }\n",
            )
            .gate("gate")
            .start();
    until(&run, "web.1", "reason", "startup: exited with code 1: no file");
    assert_eq!(ps(&run, "web.1")["ready"], false);
    assert_eq!(ps(&run, "job.1")["state"], "pending");
    assert!(run.so_far().said("job.1").is_empty());
    run.directory().open_gate("gate");
    run.event("ready", "web.1");
    run.line("job.1", "begun");
    until(&run, "web.1", "reason", Value::Null);
    assert_eq!(ps(&run, "web.1")["ready"], true);
    let seen = run.is_stopped();
    assert!(seen.events("unwell", "").is_empty(), "{seen}");
}

/// A type that is asked over HTTP by this probe as soon as it listens.
fn asked_over_http(probe: &str) -> Run {
    let run = Supervise::with("web: chaos listen-while well\n")
        .file("well", "")
        .spec(&format!(
            "formation:\n  web:\n    health:\n      \
             startup: {{ tcp: true, period: 100ms, failure_threshold: 600 }}\n      \
             {probe}: {{ http: /health, period: 100ms, failure_threshold: 2 }}\n"
        ))
        .start();
    run.rest("web.1", "listening");
    run
}

#[test]
fn who_fails_its_readiness_probe_is_not_ready_and_lives_on() {
    let mut run = asked_over_http("readiness");
    run.event("ready", "web.1");
    let pid = ps(&run, "web.1")["pid"].clone();
    let file = run.directory().app("well");
    for again in 1..=2 {
        fs::remove_file(&file).expect("it is ours");
        let unready = run.nth_event(again, "unready", "web.1");
        assert_eq!(unready.json["why"], "GET /health answered 503");
        let process = ps(&run, "web.1");
        assert_eq!(process["ready"], false, "{process}");
        assert_eq!(process["reason"], "readiness: GET /health answered 503");
        fs::write(&file, "").expect("it is ours");
        run.nth_event(again + 1, "ready", "web.1");
        until(&run, "web.1", "ready", true);
    }
    assert_eq!(ps(&run, "web.1")["pid"], pid);
    let seen = run.is_stopped();
    assert!(seen.events("unwell", "").is_empty(), "{seen}");
}

#[test]
fn who_fails_its_liveness_probe_is_stopped_and_started_again() {
    let mut run = asked_over_http("liveness");
    let pid = run.event("started", "web.1").pid();
    fs::remove_file(run.directory().app("well")).expect("it is ours");
    let unwell = run.event("unwell", "web.1");
    assert_eq!(unwell.json["probe"], "liveness");
    assert_eq!(unwell.json["why"], "GET /health answered 503");
    run.event("exited", "web.1");
    fs::write(run.directory().app("well"), "").expect("it is ours");
    assert_ne!(run.nth_event(2, "started", "web.1").pid(), pid);
    assert!(!is_alive(pid));
    run.is_stopped();
}

#[test]
fn a_tcp_probe_passes_as_soon_as_somebody_listens() {
    let mut run = Supervise::with("web: chaos gate gate listen\n")
        .spec("formation:\n  web: { health: { startup: { tcp: true, period: 100ms, failure_threshold: 10000 } } }\n")
        .gate("gate")
        .start();
    let port = run.event("started", "web.1").number("port");
    until(&run, "web.1", "reason", format!("startup: port {port}: connection refused"));
    run.directory().open_gate("gate");
    run.event("ready", "web.1");
    run.is_stopped();
}

#[test]
fn each_slot_is_asked_on_a_port_of_its_own() {
    let mut run = Supervise::with("web: test $SUPERVISE_SLOT = 2 && exec chaos sleep 1h; exec chaos listen\n")
        .spec("formation:\n  web: { quantity: 3, health: { startup: { http: /, period: 100ms, failure_threshold: 10000 } } }\n")
        .start();
    run.event("ready", "web.1");
    run.event("ready", "web.3");
    let port = run.event("started", "web.2").number("port");
    until(&run, "web.2", "reason", format!("startup: GET / on port {port}: connection refused"));
    run.is_stopped();
}

#[test]
fn fault_48_who_never_becomes_ready_is_stopped_and_that_is_a_failure() {
    for probe in ["exec: 'false'", "notify: true", "tcp: true"] {
        let mut run = Supervise::with("web: chaos sleep 1h\n")
            .spec(&format!(
                "formation:\n  web:\n    backoff: {{ first: 1ms, give_up_after: 2 }}\n    \
                 health: {{ startup: {{ {probe}, period: 100ms, failure_threshold: 3 }} }}\n"
            ))
            .start();
        run.event("failed", "web.1");
        let (status, alive) = run.wait_for_exit();
        let seen = run.so_far();
        assert!(status.code().is_some_and(|code| code > 0), "{status}\n{seen}");
        assert!(alive.is_empty(), "{alive:?}");
        assert_eq!(seen.events("unwell", "web.1").len(), 2, "{seen}");
        assert!(seen.events("ready", "").is_empty(), "{seen}");
    }
}

/// A type that says by itself when it is ready.
fn speaking(line: &str) -> Supervise {
    Supervise::with(format!("web: {line}\nother: chaos sleep 1h\n")).spec(
        "formation:\n  web: { restart: never, essential: false, health: { startup: { notify: true } } }\n",
    )
}

#[test]
fn fault_47_who_ends_before_it_is_ready_never_was() {
    let mut run = speaking("chaos notify STATUS=nearly exit 3").start();
    run.event("exited", "web.1");
    until(&run, "web.1", "state", "failed");
    assert_eq!(ps(&run, "web.1")["last_exit"]["reason"], "exited_before_ready");
    let seen = run.is_stopped();
    assert!(seen.events("ready", "").is_empty(), "{seen}");
}

#[test]
fn what_an_instance_says_with_its_last_breath_is_heard_before_its_end() {
    // A socket that was just read is left alone for a moment, and the word comes within it.
    for pause in (0..10).flat_map(|_| ["0ms", "1ms", "2ms"]) {
        let line = format!("chaos notify STATUS=nearly sleep {pause} notify READY=1 exit 3");
        let mut run = speaking(&line).start();
        run.event("exited", "web.1");
        until(&run, "web.1", "state", "failed");
        assert_eq!(ps(&run, "web.1")["last_exit"]["reason"], "failed");
        let seen = run.is_stopped();
        let [ready, exited] = ["ready", "exited"].map(|event| seen.events(event, "web.1")[0].place);
        assert!(ready < exited, "{seen}");
    }
}

#[test]
fn who_says_ready_is_ready_and_its_status_is_shown() {
    let mut run =
        speaking("chaos gate gate notify STATUS=serving notify READY=1 sleep 1h").gate("gate").start();
    run.event("started", "web.1");
    assert_eq!(ps(&run, "web.1")["ready"], false);
    run.directory().open_gate("gate");
    run.event("ready", "web.1");
    until(&run, "web.1", "status_text", "serving");
    run.is_stopped();
}

#[test]
fn a_descendant_speaks_for_its_instance_wherever_it_has_gone() {
    let escaped = "chaos fork setsid fork notify READY=1 sleep 1h end sleep 1h end sleep 1h";
    let orphaned = "chaos fork fork setpgid notify READY=1 sleep 1h end end sleep 1h";
    for line in [escaped, orphaned] {
        let mut run = speaking(line).start();
        run.event("ready", "web.1");
        run.is_stopped();
    }
}

#[test]
fn systemd_notify_of_this_machine_is_understood() {
    if Command::new("systemd-notify").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-notify here");
        return;
    }
    let mut run = speaking("systemd-notify --ready --status='it is up' && echo told && sleep 1000").start();
    // It waits until its words were read (BARRIER=1).
    run.line("web.1", "told");
    run.event("ready", "web.1");
    until(&run, "web.1", "status_text", "it is up");
    run.is_stopped();
}

#[test]
fn fault_49_the_words_of_strangers_and_long_datagrams_change_nothing() {
    let line = "chaos env NOTIFY_SOCKET gate one notify-long 100000 notify MAINPID=1 notify STATUS=here gate two \
                notify READY=1 sleep 1h";
    let mut run = speaking(line).gate("one").gate("two").start();
    let name = run.rest("web.1", "NOTIFY_SOCKET=@");
    let address = SocketAddr::from_abstract_name(name).expect("it is a name");
    let voice = UnixDatagram::unbound().expect("a socket can be made");
    // We are the supervisor's parent, and none of the instance's.
    voice.send_to_addr(b"READY=1\nSTATUS=not here\n", &address).expect("somebody listens");
    run.directory().open_gate("one");
    until(&run, "web.1", "status_text", "here");
    assert_eq!(ps(&run, "web.1")["ready"], false);
    assert!(run.so_far().events("ready", "").is_empty());
    run.directory().open_gate("two");
    run.event("ready", "web.1");
    let metrics = ask(&socket_of(&run), "GET", "/metrics", "").body;
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains("\nsupervise_ignored_notifications_total 2\n"), "{metrics}");
    run.is_stopped();
}

#[test]
fn a_sister_cannot_speak_for_another() {
    let mut run = Supervise::with("web: chaos gate gate notify READY=1 sleep 1h\n")
        .spec("formation:\n  web: { quantity: 2, health: { startup: { notify: true } } }\n")
        .gate("gate")
        .start();
    let seen = |run: &Run| run.so_far().events("ready", "").len();
    run.event("started", "web.2");
    assert_eq!(seen(&run), 0);
    run.directory().open_gate("gate");
    run.event("ready", "web.1");
    run.event("ready", "web.2");
    run.is_stopped();
}

#[test]
fn our_own_notify_socket_is_for_nobody_else() {
    let mut run =
        Supervise::with("web: chaos env NOTIFY_SOCKET env WATCHDOG_USEC env WATCHDOG_PID sleep 1h\n")
            .env("NOTIFY_SOCKET", "/run/systemd/notify")
            .env("WATCHDOG_USEC", "1000000")
            .env("WATCHDOG_PID", "1")
            .start();
    assert!(run.rest("web.1", "NOTIFY_SOCKET=").starts_with("@supervise/"));
    run.line("web.1", "WATCHDOG_USEC is not set");
    run.line("web.1", "WATCHDOG_PID is not set");
    run.is_stopped();
}

/// A type that says again and again that it lives.
fn watched(line: &str) -> Run {
    Supervise::with(format!("web: {line}\n"))
        .spec("formation:\n  web: { health: { liveness: { notify: true, period: 100ms, failure_threshold: 5 } } }\n")
        .start()
}

#[test]
fn who_is_watched_and_falls_silent_is_stopped_and_started_again() {
    let mut run = watched("chaos env WATCHDOG_USEC env WATCHDOG_PID notify WATCHDOG=1 sleep 1h");
    run.line("web.1", "WATCHDOG_USEC=500000");
    run.line("web.1", "WATCHDOG_PID is not set");
    let unwell = run.event("unwell", "web.1");
    assert_eq!(
        (&unwell.json["probe"], &unwell.json["why"]),
        (&"liveness".into(), &"no WATCHDOG=1 within 500ms".into())
    );
    run.nth_event(2, "started", "web.1");
    run.is_stopped();
}

#[test]
fn who_says_that_it_fails_is_stopped_at_once() {
    let mut run = watched("chaos notify WATCHDOG=trigger sleep 1h");
    let unwell = run.event("unwell", "web.1");
    assert_eq!(unwell.json["why"], "it says so (WATCHDOG=trigger)");
    run.is_stopped();
}

#[test]
fn who_never_stops_talking_lives_and_costs_little() {
    let line = "chaos notify-flood WATCHDOG=1";
    let mut run = watched(line);
    let quick = Instant::now();
    for _ in 0..20 {
        assert_eq!(ps(&run, "web.1")["state"], "running");
    }
    assert!(quick.elapsed() < PATIENCE / 2, "{:?}", quick.elapsed());
    let peak = peak_kib(run.pid());
    assert!(peak < 64 * 1024, "{peak} KiB");
    let seen = run.is_stopped();
    assert!(seen.events("unwell", "").is_empty(), "{seen}");
}

#[test]
fn who_says_that_it_is_stopping_is_not_ready_any_more() {
    let mut run = speaking("chaos notify READY=1 gate gate notify STOPPING=1 sleep 1h").gate("gate").start();
    run.event("ready", "web.1");
    run.directory().open_gate("gate");
    run.event("unready", "web.1");
    until(&run, "web.1", "ready", false);
    assert_eq!(ps(&run, "web.1")["state"], "running");
    run.is_stopped();
}

/// A type whose readiness is asked by a command.
fn asked_by(command: &str, timing: &str) -> Supervise {
    Supervise::with("web: chaos sleep 1h\n").spec(&format!(
        "formation:\n  web: {{ health: {{ readiness: {{ exec: '{command}', {timing} }} }} }}\n"
    ))
}

#[test]
fn fault_50_a_probe_that_hangs_is_killed_with_all_that_it_made() {
    let hang = "test -e well && exit 0; test -e hung && exec chaos sleep 1h; touch hung; \
                exec chaos fork setsid fork setsid sleep 1h end sleep 1h end \
                fork sleep 1h end fork fork setsid sleep 1h end end sleep 1h";
    let mut run = asked_by(hang, "timeout: 500ms, period: 100ms").start();
    until(&run, "web.1", "reason", "readiness: did not end within 500ms");
    fs::write(run.directory().app("well"), "").expect("it is ours");
    run.event("ready", "web.1");
    until_only(&run, &["chaos sleep 1h"]);
    // Nothing of it is taken for the instance's.
    send(run.event("started", "web.1").pid(), libc::SIGKILL);
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.json["leftovers_stopped"], Value::Null, "{}", exited.json);
    run.is_stopped();
}

#[test]
fn fault_50_what_a_probe_leaves_behind_is_killed_when_it_has_ended() {
    let mut run =
        asked_by("chaos fork setsid fork sleep 1h end sleep 1h end fork sleep 1h end", "period: 1h").start();
    run.event("ready", "web.1");
    until_only(&run, &["chaos sleep 1h"]);
    run.is_stopped();
}

#[test]
fn fault_50_a_probe_that_prints_without_end_costs_no_memory() {
    const SIZE: u64 = if cfg!(debug_assertions) { 256 << 20 } else { 1 << 30 };
    let mut run =
        asked_by(&format!("chaos flood {SIZE} bytes 0a say done exit 1"), "timeout: 10m, period: 1h").start();
    until(&run, "web.1", "reason", "readiness: exited with code 1: done");
    let peak = peak_kib(run.pid());
    assert!(peak < 32 * 1024, "{peak} KiB");
    run.is_stopped();
}

#[test]
fn fault_50_the_probe_of_an_instance_that_has_ended_ends_with_it() {
    let probe = "chaos fork setsid fork sleep 3h end end sleep 2h";
    let mut run = asked_by(probe, "timeout: 1h, period: 1h").start();
    // One of each: the instance, its probe, and what that has made.
    let pids = || run.alive().into_iter().map(|(pid, _)| pid).collect::<Vec<_>>();
    let three = || Some(pids()).filter(|pids| pids.len() == 3);
    let first = eventually("a probe and its child", three, || format!("{:?}", run.alive()));
    send(run.event("started", "web.1").pid(), libc::SIGKILL);
    // What the probe has made is none of what the instance has left behind.
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.json["leftovers_stopped"], Value::Null, "{}", exited.json);
    run.nth_event(2, "started", "web.1");
    let others = || three().filter(|pids| pids.iter().all(|pid| !first.contains(pid)));
    eventually("others, and nobody of before", others, || format!("{first:?} {:?}", run.alive()));
    run.is_stopped();
}

#[test]
fn the_probe_of_an_instance_that_drains_ends_at_once() {
    let mut run = Supervise::with("web: chaos on TERM say asked on USR1 exit 0 say up sleep 1h\n")
        .spec("formation:\n  web: { health: { liveness: { exec: chaos ignore TERM sleep 2h, timeout: 1h } } }\n")
        .args(["-t", "10m"])
        .start();
    run.line("web.1", "up");
    eventually("a probe", || (run.alive().len() == 2).then_some(()), || format!("{:?}", run.alive()));
    run.signal(libc::SIGTERM);
    run.line("web.1", "asked");
    let leader = run.event("started", "web.1").pid();
    let alone = || run.alive().iter().all(|(pid, _)| *pid == leader).then_some(());
    eventually("no probe", alone, || format!("{:?}", run.alive()));
    assert!(is_alive(leader));
    send(leader, libc::SIGUSR1);
    run.ends_with(0);
}

#[test]
fn a_shutdown_waits_for_no_probe_and_leaves_none_behind() {
    let mut run =
        asked_by("chaos ignore TERM fork setsid ignore TERM sleep 3h end sleep 2h", "timeout: 1h").start();
    let escaped =
        |seen: &[(i32, String)]| seen.iter().filter(|(_, command)| command.contains("3h")).count() == 2;
    eventually("a probe", || escaped(&run.alive()).then_some(()), || format!("{:?}", run.alive()));
    let begin = Instant::now();
    run.is_stopped();
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
}

#[test]
fn a_command_that_we_cannot_start_says_nothing_of_its_instance() {
    if !can_judge() {
        return;
    }
    // The instance has its directory; then nobody has, as while an app is moved away and a new one put in its place.
    let refused = Arc::new(AtomicI32::new(-1));
    let judge = Judge::new(&[libc::SYS_chdir], {
        let refused = Arc::clone(&refused);
        move |call| match (call.caller, refused.load(Ordering::Relaxed)) {
            (Caller::Newborn, 0..) => {
                refused.fetch_add(1, Ordering::Relaxed);
                Verdict::Fail(libc::ENOENT)
            }
            (Caller::Newborn | Caller::Loop | Caller::Stream | Caller::Other, _) => Verdict::Go,
        }
    });
    let liveness = "liveness: { exec: 'true', period: 100ms, failure_threshold: 1 }";
    let mut run = Supervise::with("web: chaos say up sleep 1h\n")
        .spec(&format!("formation:\n  web: {{ health: {{ {liveness} }} }}\n"))
        .judged(judge)
        .start();
    run.line("web.1", "up");
    refused.store(0, Ordering::Relaxed);
    let many = || (refused.load(Ordering::Relaxed) >= 3).then_some(());
    eventually("it is asked again and again", many, || run.so_far().to_string());
    let seen = run.is_stopped();
    assert!(seen.events("unwell", "").is_empty(), "{seen}");
    assert_eq!(seen.events("started", "web.1").len(), 1, "{seen}");
}

#[test]
fn a_command_that_is_not_there_is_the_users_to_know() {
    let mut run = asked_by("no-such-probe", "period: 100ms").start();
    until(&run, "web.1", "reason", "readiness: not found: `no-such-probe` (in PATH)");
    run.is_stopped();
}

#[test]
fn of_a_hundred_tries_nothing_is_left() {
    let mut run = asked_by("echo >> tries", "period: 10ms").start();
    run.event("ready", "web.1");
    let descriptors_before = descriptors(run.pid());
    let tries = || fs::read(run.directory().app("tries")).map_or(0, |tries| tries.len());
    eventually("a hundred tries", || (tries() >= 100).then_some(()), || tries().to_string());
    // One that is just being asked may be there.
    let as_few = || (descriptors(run.pid()) <= descriptors_before).then_some(());
    eventually("as few descriptors", as_few, || descriptors(run.pid()).to_string());
    eventually("no zombies", || zombies_of(run.pid()).is_empty().then_some(()), || run.so_far().to_string());
    run.is_stopped();
}
