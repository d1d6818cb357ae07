//! The `OpenAPI` document says what is so.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};

use super::answer::{OPENAPI, crowded, stranger};
use super::routes::{self, Fault};
use super::schema::{Answer, Document};
use super::testing::{Mood, Rig, TOKEN};

/// Statuses that every operation may have for reasons of the connection, and which other tests have seen.
const OF_THE_CONNECTION: [u16; 5] = [401, 403, 408, 431, 503];

#[test]
fn every_answer_is_as_documented_and_every_documented_answer_is_given() {
    let document = Document::new(OPENAPI.as_bytes());
    let mut rig = Rig::new();
    rig.say("hello");
    rig.end_of_the_stream();
    let big = " ".repeat(super::answer::BODY_BYTES + 1);
    let mut requests = vec![
        ("POST", "/v1/formation", r#"{"web":"+1"}"#),
        ("POST", "/v1/formation?wait=true", r#"{"web":2}"#),
        ("POST", "/v1/formation", r#"{"web":9}"#),
        ("POST", "/v1/formation", r#"{"nosuch":9}"#),
        ("POST", "/v1/signal", r#"{"signal":"HUP"}"#),
        ("POST", "/v1/signal", r#"{"signal":"HUP","targets":["worker"]}"#),
        ("POST", "/v1/signal", r#"{"signal":"HUP","targets":["web"]}"#),
        ("POST", "/v1/signal", r#"{"signal":"HUP","targets":["web"],"wait":true}"#),
        ("POST", "/v1/signal", r#"{"signal":"HUP","targets":["nosuch"]}"#),
        ("POST", "/v1/reload", r#"{"wait":true}"#),
        ("POST", "/v1/reload", r"{}"),
        ("POST", "/v1/deploy", r#"{"release":"v1"}"#),
        ("POST", "/v1/deploy", r#"{"release":"v1","wait":true}"#),
        ("POST", "/v1/deploy", r#"{"release":"v9"}"#),
        ("POST", "/v1/run", r#"{"command":["echo","hello"]}"#),
        ("POST", "/v1/run", r#"{"type":"web","wait":true}"#),
        ("POST", "/v1/run", r#"{"type":"nosuch"}"#),
        ("POST", "/v1/shutdown", r#"{"drain":"1s"}"#),
        ("GET", "/v1/logs?target=nosuch", ""),
    ];
    for path in ["/v1/restart", "/v1/stop"] {
        requests.extend([
            ("POST", path, ""),
            ("POST", path, r#"{"targets":["web"],"wait":true}"#),
            ("POST", path, r#"{"targets":["nosuch"]}"#),
        ]);
    }
    let operations = document.operations();
    for (method, path, _) in &operations {
        if method == "GET" {
            requests.push((method, path, ""));
        }
        requests.extend([(method.as_str(), path.as_str(), "x"), (method, path, &big)]);
    }

    let mut seen = BTreeSet::new();
    let mut ask = |rig: &Rig, method: &str, path: &str, body: &str| {
        let reply = rig.ask(method, path, body);
        let documented = path.split('?').next().unwrap_or(path);
        let answer =
            Answer { status: reply.status, content_type: reply.header("content-type"), body: &reply.body };
        let complaints = document.complaints(method, documented, &answer);
        assert!(complaints.is_empty(), "{method} {path} {body:.80}: {complaints:#?}\n{reply:?}");
        seen.insert((method.to_owned(), documented.to_owned(), reply.status));
    };
    for (method, path, body) in requests {
        ask(&rig, method, path, body);
    }
    rig.is(Mood::Unready);
    for path in ["/health/ready", "/health/startup", "/v1/health"] {
        ask(&rig, "GET", path, "");
    }
    // Now the loop has ended, and whoever asks is told so; who waits as well.
    rig.end_of_the_loop();
    for (method, path, _) in &operations {
        let body = match path.as_str() {
            "/v1/signal" => r#"{"signal":"HUP"}"#,
            "/v1/formation" => r#"{"web":1}"#,
            "/v1/deploy" => r#"{"release":"v1"}"#,
            "/v1/run" => r#"{"type":"web"}"#,
            _ => "",
        };
        let body = if method == "GET" { "" } else { body };
        let path = if path == "/v1/logs" { "/v1/logs?target=web" } else { path };
        ask(&rig, method, path, body);
    }
    for (method, path, statuses) in operations {
        for status in statuses.into_iter().filter(|status| !OF_THE_CONNECTION.contains(status)) {
            // The played formation cannot do these two: its files are invalid, and it never ends.
            let cannot = (path == "/v1/reload" || path == "/v1/shutdown") && [200, 202].contains(&status);
            let given = seen.contains(&(method.clone(), path.clone(), status));
            assert!(given || cannot, "{method} {path} never answered {status}");
        }
    }
}

#[test]
fn what_is_told_to_whoever_is_turned_away_is_documented_too() {
    let document = Document::new(OPENAPI.as_bytes());
    let slow = Fault::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body was not there within 5 s");
    for fault in [stranger(), crowded(), slow] {
        let answer = Answer {
            status: fault.status.as_u16(),
            content_type: Some("application/json"),
            body: &fault.json(),
        };
        assert_eq!(document.complaints("GET", "/v1/logs", &answer), Vec::<String>::new());
    }
}

#[test]
fn what_the_port_answers_is_documented_too() {
    let document = Document::new(OPENAPI.as_bytes());
    let rig = Rig::new();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for (method, path, _) in document.operations() {
        for headers in ["", &token, "origin: http://evil.example\r\n"] {
            // What makes the one change that would end it all is not asked for by the right one.
            if path == "/v1/shutdown" && headers == token {
                continue;
            }
            let body = if path == "/v1/signal" { r#"{"signal":"HUP"}"# } else { "" };
            let reply = rig.ask_port(&method, &path, headers, body);
            let answer = Answer {
                status: reply.status,
                content_type: reply.header("content-type"),
                body: &reply.body,
            };
            assert_eq!(
                document.complaints(&method, &path, &answer),
                Vec::<String>::new(),
                "{method} {path} {headers}"
            );
            let status = match (method.as_str(), headers) {
                ("POST", "") => Some(401),
                ("POST", headers) if headers.starts_with("origin") => Some(403),
                (_, _) => None,
            };
            assert!(
                status.is_none_or(|status| status == reply.status),
                "{method} {path} {headers}: {reply:?}"
            );
        }
    }
}

#[test]
fn every_route_is_documented_and_every_documented_one_is_a_route() {
    let document = Document::new(OPENAPI.as_bytes());
    let documented: BTreeSet<_> =
        document.operations().into_iter().map(|(method, path, _)| (path, method)).collect();
    let routes: BTreeSet<_> =
        routes::all().map(|(method, path)| (path.to_owned(), method.to_string())).collect();
    assert_eq!(documented, routes);
    for (path, method) in documented {
        let method: Method = method.parse().expect("a method");
        assert!(routes::resource(&method, &path).is_ok());
    }
}

#[test]
fn a_lie_in_the_document_or_in_an_answer_is_found() {
    let document = Document::new(OPENAPI.as_bytes());
    let complaints = |path: &str, status: u16, content_type: &str, body: &str| {
        let answer = Answer { status, content_type: Some(content_type), body: body.as_bytes() };
        document.complaints("GET", path, &answer).len()
    };
    let json = "application/json";
    assert_eq!(complaints("/v1/formation", 200, json, r#"{"web":1}"#), 0);
    assert_eq!(complaints("/v1/formation", 200, json, r#"{"web":-1,"worker":"1"}"#), 3);
    assert_eq!(complaints("/v1/formation", 200, "text/plain", r#"{"web":1}"#), 1);
    assert_eq!(complaints("/v1/formation", 201, json, r#"{"web":1}"#), 1);
    assert_eq!(complaints("/v1/processes", 200, json, r#"{"schema":2,"formation":{},"more":1}"#), 3);
    assert_eq!(complaints("/v1/processes", 409, json, r#"{"error":{"code":"","message":"m"}}"#), 1);
    let line = r#"{"timestamp":"t","process":"web.1","stream":"stdout","message":"m"}"#;
    assert_eq!(complaints("/v1/logs", 200, "application/x-ndjson", &format!("{line}\n{line}\n")), 0);
    assert_eq!(complaints("/v1/logs", 200, "application/x-ndjson", &format!("{line}\n{{}}\n")), 4);
}
