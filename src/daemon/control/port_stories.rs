//! Conversations about health, and by the port of `--http`, letter by letter, with a played formation behind it.

use std::time::Instant;

use crate::api::ServiceStatus;

use super::hall::{CONNECTIONS, STANDING};
use super::http::{Client, PATIENCE, request, request_with};
use super::server::HEADER_TIME;
use super::testing::{Mood, Rig, TOKEN, eventually};

fn told(rig: &Rig, path: &str) -> (u16, String) {
    let reply = rig.ask("GET", path, "");
    let health = reply.json();
    assert_eq!(health["ok"].as_bool(), Some(reply.status == 200), "{reply:?}");
    let checks = health["checks"].as_array().expect("a list").iter().map(|check| {
        let text = |key: &str| check[key].as_str().expect("a text");
        let ok = check["ok"].as_bool().expect("yes or no");
        format!("{}{}: {}", if ok { "" } else { "!" }, text("name"), text("message"))
    });
    (reply.status, checks.collect::<Vec<_>>().join(", "))
}

#[test]
fn who_is_well_is_told_by_each_of_the_three_questions_and_so_is_who_is_not() {
    let rig = Rig::new();
    rig.has(Some(Vec::new()));
    for (mood, path, status, checks) in [
        (Mood::Well, "/health/live", 200, "supervisor: answers"),
        (Mood::Well, "/health/ready", 200, "supervisor: running, web: 2 of 2 ready, worker: 1 of 1 ready"),
        (Mood::Well, "/health/startup", 200, "supervisor: started"),
        (Mood::Unready, "/health/live", 200, "supervisor: answers"),
        (
            Mood::Unready,
            "/health/ready",
            503,
            "supervisor: running, !web: 1 of 2 ready, worker: 1 of 1 ready",
        ),
        (
            Mood::Unready,
            "/health/startup",
            503,
            "!supervisor: not every essential type has been ready yet, !web: 1 of 2 ready, worker: 1 of 1 ready",
        ),
        (Mood::Draining, "/health/live", 200, "supervisor: answers, and is draining"),
        (
            Mood::Draining,
            "/health/ready",
            503,
            "!supervisor: draining, web: 2 of 2 ready, worker: 1 of 1 ready",
        ),
        (Mood::Draining, "/health/startup", 200, "supervisor: started"),
    ] {
        rig.is(mood);
        assert_eq!(told(&rig, path), (status, checks.to_owned()), "{mood:?} {path}");
        let question = path.rsplit('/').next().expect("a word");
        assert_eq!(told(&rig, &format!("/v1/health?check={question}")), (status, checks.to_owned()));
    }
    assert_eq!(told(&rig, "/v1/health"), told(&rig, "/health/ready"));
}

#[test]
fn a_loop_that_does_not_answer_is_told_within_a_moment_of_its_second() {
    let rig = Rig::new();
    rig.is(Mood::Deaf);
    for path in ["/health/live", "/health/ready", "/health/startup"] {
        let begin = Instant::now();
        assert_eq!(told(&rig, path), (503, "!supervisor: has not answered for 1 s".to_owned()), "{path}");
        assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
    }
    rig.is(Mood::Well);
    assert_eq!(told(&rig, "/health/live").0, 200);
}

#[test]
fn a_service_that_something_needs_has_to_answer_and_one_that_is_silent_keeps_nobody_waiting() {
    let rig = Rig::new();
    let service = |name: &str, ok, needed_by: &[&str]| ServiceStatus {
        name: name.to_owned(),
        kind: "redis".to_owned(),
        host: "localhost:6379".to_owned(),
        ok,
        message: if ok { "answers" } else { "connection refused" }.to_owned(),
        time_ms: 1,
        needed_by: needed_by.iter().map(|name| name.parse().expect("a name")).collect(),
    };
    let well = "supervisor: running, web: 2 of 2 ready, worker: 1 of 1 ready";
    let begin = Instant::now();
    rig.has(None);
    assert_eq!(told(&rig, "/health/ready"), (503, format!("{well}, !services: have not answered yet")));
    assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
    drop(rig);
    let rig = Rig::new();
    let unneeded = service("S3_URL", false, &["beat"]);
    rig.has(Some(vec![service("REDIS_URL", true, &["web", "worker"]), unneeded.clone()]));
    assert_eq!(told(&rig, "/health/ready"), (200, format!("{well}, REDIS_URL: answers")));
    rig.has(Some(vec![service("REDIS_URL", false, &["beat", "worker"]), unneeded]));
    let refused = (503, format!("{well}, !REDIS_URL: connection refused"));
    assert_eq!(told(&rig, "/health/ready"), refused);
    assert_eq!(told(&rig, "/health/live").0, 200, "that is no reason to restart us");
    rig.has(None);
    assert_eq!(told(&rig, "/health/ready"), refused, "what was found the last time");
    rig.is(Mood::Draining);
    let begin = Instant::now();
    assert!(told(&rig, "/health/ready").1.starts_with("!supervisor: draining"));
    assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
}

#[test]
fn while_the_last_lines_are_written_we_live_and_are_not_ready() {
    let mut rig = Rig::new();
    rig.end_of_the_loop();
    assert_eq!(told(&rig, "/health/live"), (200, "supervisor: ending".to_owned()));
    assert_eq!(told(&rig, "/health/ready"), (503, "!supervisor: ending".to_owned()));
    assert_eq!(rig.ask("GET", "/metrics", "").code(), "shutting_down");
}

#[test]
fn what_there_is_to_count_is_told_to_prometheus() {
    let mut rig = Rig::new();
    rig.say("one");
    rig.say("two");
    rig.end_of_the_stream();
    let reply = rig.ask_port("GET", "/metrics", "", "");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let text = String::from_utf8(reply.body).expect("text");
    for line in [
        "supervise_instances{type=\"web\",state=\"running\"} 2",
        "supervise_ready_instances{type=\"worker\"} 1",
        "supervise_wanted_instances{type=\"web\"} 2",
        "supervise_restarts_total{type=\"web\"} 0",
        "supervise_lines_total{type=\"web\",slot=\"web.1\"} 2",
        "supervise_bytes_total{type=\"web\",slot=\"web.1\"} 8",
        concat!("supervise_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\n{text}");
    }
    for name in ["supervise_resident_memory_bytes{type=\"web\",slot=\"web.1\"} ", "process_open_fds "] {
        assert!(text.lines().any(|said| said.starts_with(name)), "{name}\n{text}");
    }
}

#[test]
fn by_the_port_everybody_may_look_and_only_who_knows_the_token_may_change() {
    let rig = Rig::new();
    assert_eq!(rig.ask_port("GET", "/v1/formation", "", "").body, b"{\"web\":2,\"worker\":1}\n");
    assert_eq!(rig.ask_port("GET", "/health/ready", "", "").status, 200);
    let reply = rig.ask_port("POST", "/v1/formation", "", r#"{"web":4}"#);
    assert_eq!((reply.status, reply.code().as_str()), (401, "unauthorized"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    let wrong = "authorization: Bearer 0123456789abcdee\r\n";
    assert_eq!(rig.ask_port("POST", "/v1/formation", wrong, r#"{"web":4}"#).status, 401);
    assert_eq!(rig.ask("GET", "/v1/formation", "").json()["web"], 2);
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(rig.ask_port("POST", "/v1/formation", &right, r#"{"web":4}"#).status, 202);
    assert_eq!(rig.ask("GET", "/v1/formation", "").json()["web"], 4);
    let foreign = format!("{right}origin: http://evil.example\r\n");
    assert_eq!(rig.ask_port("POST", "/v1/formation", &foreign, r#"{"web":1}"#).code(), "foreign_origin");
    // The socket needs none of that.
    assert_eq!(rig.ask("POST", "/v1/formation", r#"{"web":1}"#).status, 202);
    assert_eq!(rig.ask_port("POST", "/v1/nosuch", "", "").status, 404);
    assert_eq!(rig.ask_port("POST", "/metrics", "", "").status, 405);
    let rebound = request("GET", "/v1/processes", "").replace("localhost", "evil.example");
    let mut client = Client::by_port(rig.port);
    client.write(rebound).expect("it is heard");
    assert_eq!(client.reply().expect("an answer").code(), "foreign_host");
}

#[test]
fn who_asks_with_head_is_told_the_same_without_the_body() {
    let rig = Rig::new();
    rig.has(Some(Vec::new()));
    rig.say("a line");
    let mut client = Client::by_port(rig.port);
    // All on one connection: had one of them a body, it would be taken for the head of the next.
    for mood in [Mood::Well, Mood::Unready] {
        rig.is(mood);
        for path in
            ["/health/live", "/health/ready", "/metrics", "/v1/processes", "/v1/logs", "/v1/logs?follow=true"]
        {
            client.write(request("HEAD", path, "")).expect("it is heard");
            let head = client.head().expect("an answer");
            let ready = mood == Mood::Well || path != "/health/ready";
            assert_eq!(head.status, if ready { 200 } else { 503 }, "{path}");
            assert!(head.header("content-type").is_some(), "{path}: {head:?}");
        }
    }
    client.write(request("HEAD", "/v1/stop", "")).expect("it is heard");
    let head = client.head().expect("an answer");
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
    assert_eq!(client.ask("GET", "/health/live", "").status, 200);
}

#[test]
fn fault_56_whoever_crowds_the_port_takes_no_seat_of_the_socket() {
    let rig = Rig::new();
    let begin = Instant::now();
    let mut followers: Vec<Client> = (0..STANDING).map(|_| Client::by_port(rig.port)).collect();
    for follower in &mut followers {
        follower.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
        assert_eq!(follower.head().expect("an answer").status, 200);
    }
    assert_eq!(rig.ask_port("GET", "/v1/logs?follow=true", "", "").code(), "too_many_clients");
    let mut slow: Vec<Client> = (0..2 * CONNECTIONS).map(|_| Client::by_port(rig.port)).collect();
    for client in &mut slow {
        // Those that had to give way cannot.
        let _ = client.write("GET /v1/processes HTTP/1.1\r\nx: ");
    }
    assert_eq!(rig.ask_port("GET", "/health/live", "", "").status, 200, "short questions have their places");
    let mut users: Vec<Client> = (0..STANDING).map(|_| rig.connect()).collect();
    for user in &mut users {
        user.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
        assert_eq!(user.head().expect("an answer").status, 200);
    }
    assert_eq!(rig.ask("GET", "/v1/formation", "").status, 200);
    assert!(begin.elapsed() < HEADER_TIME, "nobody had to wait for the time of the slow ones to be over");
    rig.say("still here");
    for follower in followers.iter_mut().chain(&mut users) {
        assert_eq!(follower.message(), "still here", "nobody was sent away");
    }
    for client in &mut slow {
        assert_eq!(client.rest(), b"");
    }
    followers.clear();
    eventually("their places are free", || {
        let mut client = Client::by_port(rig.port);
        client.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
        match client.head().expect("an answer").status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    });
}

#[test]
fn fault_55_what_is_too_large_or_no_http_is_answered_once_by_the_port_too() {
    let rig = Rig::new();
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let huge = format!("x: {}\r\n", "y".repeat(20_000));
    for (bytes, status) in [
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
        ("\x16\x03\x01\x02\0\x01\0\x01".to_owned(), "400"),
        (request_with("GET", "/metrics", &huge, ""), "431"),
        (request_with("GET", "/metrics", &"x: y\r\n".repeat(65), ""), "431"),
        (request_with("POST", "/v1/stop", &right, &" ".repeat(70_000)), "413"),
        (request_with("POST", "/v1/stop", &right, "{"), "400"),
    ] {
        let mut client = Client::by_port(rig.port);
        // It may be answered before all is written.
        let _ = client.write(&bytes);
        let head = client.head().map(|reply| reply.status.to_string());
        assert_eq!(head.ok().as_deref(), Some(status), "{bytes:.60}");
    }
    assert_eq!(rig.ask_port("GET", "/v1/formation", "", "").status, 200);
}
