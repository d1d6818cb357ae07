//! What runs, how many of it, under which names and on which ports.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Run, Supervise, free_ports};

/// A type that tells its port and stays.
const TELL_PORT: &str = "chaos env PORT sleep 1h";

#[test]
fn the_formation_and_its_ports_are_announced_before_anything_starts() {
    let base = free_ports(110);
    let mut run = Supervise::with("web: chaos sleep 1h\nworker: chaos sleep 1h\nbeat: chaos sleep 1h\n")
        .args(["-p", &base.to_string(), "web=2"])
        .without_port_argument()
        .start();
    let formation = run.event("formation", "");
    assert_eq!(formation.json["formation"], json!({ "web": 2, "worker": 1, "beat": 1 }));
    assert_eq!(formation.message(), "formation: web=2 worker=1 beat=1");
    let ports = run.event("ports", "");
    let (worker, beat) = (base + 100, base + 200);
    assert_eq!(
        ports.json["ports"],
        json!({ "web": [base, base + 1], "worker": [worker, worker], "beat": [beat, beat] })
    );
    let first_start = run.event("started", "");
    assert!(formation.place < first_start.place && ports.place < first_start.place);
    run.is_stopped();
}

#[test]
fn every_instance_knows_its_name_its_place_and_its_port() {
    let base = free_ports(2);
    let line =
        "chaos env PS env PORT env SUPERVISE_TYPE env SUPERVISE_SLOT env SUPERVISE_RELEASE_ID sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\n"))
        .args(["web=2", "-p", &base.to_string()])
        .without_port_argument()
        .start();
    for slot in 1..=2_u16 {
        let process = format!("web.{slot}");
        run.line(&process, &format!("PS={process}"));
        run.line(&process, &format!("PORT={}", base + slot - 1));
        run.line(&process, "SUPERVISE_TYPE=web");
        run.line(&process, &format!("SUPERVISE_SLOT={slot}"));
        run.rest(&process, "SUPERVISE_RELEASE_ID=");
        assert_eq!(run.event("started", &process).number("port"), i64::from(base + slot - 1));
    }
    run.is_stopped();
}

#[test]
fn every_life_has_an_instance_of_its_own() {
    let mut run = Supervise::with("web: chaos env SUPERVISE_INSTANCE crash-until lives 1 1 sleep 1h\n")
        .args(["web=2"])
        .start();
    let enough = |run: &Run, process: &str, lives: usize| {
        run.wait_for("an instance's mark", |seen| {
            let marks = seen.rests(process, "SUPERVISE_INSTANCE=");
            (marks.len() == lives).then_some(marks)
        })
    };
    // One of the two is the first to count a life, and crashes once.
    let crashed = run.event("exited", "").json["process"].as_str().expect("a name").to_owned();
    let other = if crashed == "web.1" { "web.2" } else { "web.1" };
    let mut marks = [enough(&run, &crashed, 2), enough(&run, other, 1)].concat();
    marks.sort();
    marks.dedup();
    assert_eq!(marks.len(), 3, "{marks:?}");
    run.is_stopped();
}

#[test]
fn our_own_variables_reach_no_child() {
    let mut run = Supervise::with("web: chaos env SUPERVISE_FORMAT env SUPERVISE_TIMESTAMPS sleep 1h\n")
        .env("SUPERVISE_FORMAT", "text")
        .env("SUPERVISE_TIMESTAMPS", "never")
        .start();
    run.line("web.1", "SUPERVISE_FORMAT is not set");
    run.line("web.1", "SUPERVISE_TIMESTAMPS is not set");
    run.is_stopped();
}

#[test]
fn each_type_has_a_hundred_ports_of_its_own() {
    let base = free_ports(110);
    let mut run = Supervise::with(format!("foo: {TELL_PORT}\nbar: {TELL_PORT}\n"))
        .args(["-p", &base.to_string(), "foo=3,bar=2"])
        .without_port_argument()
        .start();
    for (process, offset) in [("foo.1", 0), ("foo.2", 1), ("foo.3", 2), ("bar.1", 100), ("bar.2", 101)] {
        run.line(process, &format!("PORT={}", base + offset));
    }
    run.is_stopped();
}

#[test]
fn a_type_keeps_its_ports_when_others_do_not_run() {
    let base = free_ports(1);
    let mut run = Supervise::with(format!("web: {TELL_PORT}\nworker: {TELL_PORT}\nbeat: {TELL_PORT}\n"))
        .args(["-p", &base.to_string(), "worker=0", "all=1"])
        .without_port_argument()
        .start();
    run.line("web.1", &format!("PORT={base}"));
    run.line("beat.1", &format!("PORT={}", base + 200));
    let seen = run.is_stopped();
    assert!(seen.events("started", "worker.1").is_empty(), "{seen}");
}

#[test]
fn without_any_base_ports_begin_at_5000() {
    let mut run =
        Supervise::with(format!("a: {TELL_PORT}\nb: {TELL_PORT}\n")).without_port_argument().start();
    run.line("a.1", "PORT=5000");
    run.line("b.1", "PORT=5100");
    run.is_stopped();
}

#[test]
fn the_real_port_belongs_to_web_wherever_it_stands() {
    let mut run = Supervise::with(format!("worker: {TELL_PORT}\nweb: {TELL_PORT}\nbeat: {TELL_PORT}\n"))
        .without_port_argument()
        .env("PORT", "14000")
        .start();
    for (process, port) in [("web.1", 14000), ("worker.1", 14100), ("beat.1", 14200)] {
        run.line(process, &format!("PORT={port}"));
    }
    run.is_stopped();
}

#[test]
fn the_argument_beats_the_real_port_and_that_beats_the_file() {
    let from = |argument: &[&str], real: Option<&str>| {
        let mut supervise = Supervise::with(format!("foo: {TELL_PORT}\n"))
            .without_port_argument()
            .file(".env", "PORT=13000\n")
            .args(argument);
        if let Some(real) = real {
            supervise = supervise.env("PORT", real);
        }
        let mut run = supervise.start();
        let port = run.rest("foo.1", "PORT=");
        run.is_stopped();
        port
    };
    assert_eq!(from(&["-p", "15000"], Some("14000")), "15000");
    assert_eq!(from(&[], Some("14000")), "14000");
    assert_eq!(from(&[], None), "13000");
}

#[test]
fn no_port_means_no_port() {
    let mut run =
        Supervise::with(format!("web: {TELL_PORT}\n")).without_port_argument().args(["--no-port"]).start();
    run.line("web.1", "PORT is not set");
    assert!(run.event("started", "web.1").json.get("port").is_none());
    let seen = run.is_stopped();
    assert!(seen.events("ports", "").is_empty(), "{seen}");
}

#[test]
fn fault_68_a_port_that_is_taken_is_said_with_the_holder() {
    let port = free_ports(1);
    let holder = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .without_port_argument()
        .args(["-p", &port.to_string()])
        .start();
    let notice = run.event("port_taken", "web.1");
    assert_eq!(notice.number("port"), i64::from(port));
    assert_eq!(notice.json["holder"]["pid"], json!(std::process::id()), "{}", notice.json);
    // It is a notice only: the child is started all the same, and may know better.
    run.event("started", "web.1");
    run.is_stopped();
    drop(holder);
}

#[test]
fn a_free_port_is_no_notice_and_the_child_can_serve_on_it() {
    let mut run = Supervise::with("web: chaos listen\n").start();
    let port: u16 = run.rest("web.1", "listening on ").parse().expect("a port");
    let mut answer = String::new();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let seen = run.is_stopped();
    assert!(seen.events("port_taken", "").is_empty(), "{seen}");
}

#[test]
fn a_bare_name_runs_only_what_is_named() {
    let mut run = Supervise::with("web: chaos sleep 1h\nworker: chaos sleep 1h\nbeat: chaos sleep 1h\n")
        .args(["worker", "web=2"])
        .start();
    run.event("started", "worker.1");
    run.event("started", "web.2");
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "").len(), 3, "{seen}");
    assert!(seen.events("started", "beat.1").is_empty(), "{seen}");
}

#[test]
fn only_makes_a_count_a_selection() {
    let mut run =
        Supervise::with("web: chaos sleep 1h\nworker: chaos sleep 1h\n").args(["--only", "web=2"]).start();
    run.event("started", "web.2");
    let seen = run.is_stopped();
    assert_eq!(seen.events("formation", "")[0].json["formation"]["web"], 2);
    assert!(seen.events("started", "worker.1").is_empty(), "{seen}");
}

#[test]
fn arguments_are_stronger_than_the_spec_and_that_than_one() {
    let mut run = Supervise::with("a: chaos sleep 1h\nb: chaos sleep 1h\nc: chaos sleep 1h\n")
        .spec("formation:\n  a: 2\n  b: { quantity: 2 }\n")
        .args(["a=3"])
        .start();
    assert_eq!(run.event("formation", "").json["formation"], json!({ "a": 3, "b": 2, "c": 1 }));
    run.event("started", "c.1");
    run.is_stopped();
}

#[test]
fn the_formation_of_app_json_is_read_and_the_file_named() {
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .file(
            "app.json",
            r#"{ "name": "app", "formation": { "web": { "quantity": 2, "size": "standard-1x" } } }"#,
        )
        .start();
    run.event("started", "web.2");
    let seen = run.is_stopped();
    assert_eq!(seen.events("spec_found", "")[0].json["file"], "app.json", "{seen}");
}

#[test]
fn the_release_type_is_not_started_unless_it_is_named() {
    let project = Supervise::with("release: chaos say migrating\nweb: chaos sleep 1h\n");
    let mut run = project.start();
    run.event("started", "web.1");
    let seen = run.is_stopped();
    assert_eq!(seen.events("release_not_started", "").len(), 1, "{seen}");
    assert!(seen.events("started", "release.1").is_empty(), "{seen}");

    let mut run = project.args(["release"]).start();
    run.line("release.1", "migrating");
    run.event("completed", "release.1");
    run.ends_with(0);
}

#[test]
fn a_second_clock_is_refused_before_anything_starts() {
    let mut run = Supervise::with("web: chaos sleep 1h\nbeat: chaos sleep 1h\n").args(["beat=2"]).start();
    let seen = run.ends_with(2);
    assert!(seen.err_text().contains("beat"), "{seen}");
    assert!(seen.events("started", "").is_empty(), "{seen}");
}

#[test]
fn who_comes_after_is_started_when_whoever_comes_first_is_ready_or_has_completed() {
    let mut run = Supervise::with(
        "web: chaos say web sleep 1h\nmigrate: chaos gate schema say migrated\ndb: chaos say db sleep 1h\n",
    )
    .spec("formation:\n  web: { after: [migrate] }\n  migrate: { restart: never, after: [db] }\n")
    .gate("schema")
    .start();
    assert_eq!(run.event("waiting", "").json["waiting"], "web");
    let ready = run.event("started", "migrate.1");
    assert!(run.so_far().events("started", "web.1").is_empty(), "{}", run.so_far());
    assert!(run.event("started", "db.1").place < ready.place);
    run.directory().open_gate("schema");
    let completed = run.event("completed", "migrate.1");
    assert!(completed.place < run.event("started", "web.1").place);
    run.line("web.1", "web");
    run.is_stopped();
}
