//! The `OpenAPI` document that a run serves, held against what the same run answers.

use std::collections::BTreeSet;
use std::path::Path;

use super::schema::{Answer, Document};
use super::{ask, socket_of};
use crate::harness::Supervise;

#[test]
fn every_real_answer_is_as_the_served_document_says() {
    let procfile =
        "web: sleep 1000\nworker: chaos say \"hello\" sleep 1000\ndone: true\nbad: sh -c 'exit 3'\n";
    let supervise = Supervise::with(procfile).spec(
        "formation: { web: { quantity: 2, max: 4 }, worker: { max: 4 }, \
         bad: { restart: never, essential: false } }\n",
    );
    let mut run = supervise.start();
    run.event("failed", "bad.1");
    run.event("completed", "done.1");
    run.event("started", "worker.1");
    let socket = socket_of(&run);
    let reply = ask(&socket, "GET", "/v1/openapi.json", "");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let document = Document::new(&reply.body);

    let big = " ".repeat(65 * 1024);
    let mut requests = vec![
        ("GET", "/v1/processes", ""),
        ("GET", "/v1/formation", ""),
        ("GET", "/v1/version", ""),
        ("GET", "/v1/logs", ""),
        ("GET", "/v1/logs?n=1&target=worker&target=web.1", ""),
        ("GET", "/v1/logs?target=nosuch", ""),
        ("GET", "/v1/events", ""),
        ("POST", "/v1/formation?wait=true", r#"{"web":"+1","worker":2}"#),
        ("POST", "/v1/formation", r#"{"web":2}"#),
        ("POST", "/v1/formation", r#"{"web":5}"#),
        ("POST", "/v1/formation", r#"{"web":"-9"}"#),
        ("POST", "/v1/formation", r#"{"nosuch":1}"#),
        ("POST", "/v1/signal", r#"{"signal":"CONT","targets":["web"]}"#),
        ("POST", "/v1/signal", r#"{"signal":"CONT","targets":["done"]}"#),
        ("POST", "/v1/signal", r#"{"signal":"CONT","targets":["nosuch"]}"#),
        ("POST", "/v1/stop", r#"{"targets":["worker.1"],"wait":true}"#),
        ("POST", "/v1/stop", r#"{"targets":["nosuch"]}"#),
        ("POST", "/v1/restart", r#"{"targets":["w*"],"wait":true}"#),
        ("POST", "/v1/restart", r#"{"targets":["nosuch"]}"#),
        ("POST", "/v1/restart", r#"{"rolling":true}"#),
        ("POST", "/v1/reload?wait=true", ""),
        ("GET", "/v1/processes", ""),
    ];
    let operations = document.operations();
    for (method, path, _) in operations.iter().filter(|(_, path, _)| path != "/v1/shutdown") {
        requests.extend([(method.as_str(), path.as_str(), "x"), (method, path, &big)]);
    }
    let mut seen = BTreeSet::new();
    for (method, path, body) in requests {
        seen.insert(holds(&document, &socket, method, path, body));
    }
    assert!([200, 202, 400, 404, 409, 413, 422].iter().all(|status| seen.contains(status)), "{seen:?}");

    std::fs::write(run.directory().app("Procfile"), "no colon\n").expect("it is ours");
    assert_eq!(holds(&document, &socket, "POST", "/v1/reload", r#"{"wait":true}"#), 422);
    assert_eq!(holds(&document, &socket, "POST", "/v1/shutdown", r#"{"drain":"5s","wait":true}"#), 200);
    run.ends_with(0);
}

/// One request whose answer has to be as documented; its status.
#[track_caller]
fn holds(document: &Document, socket: &Path, method: &str, path: &str, body: &str) -> u16 {
    let reply = ask(socket, method, path, body);
    let documented = path.split('?').next().unwrap_or(path);
    let answer =
        Answer { status: reply.status, content_type: reply.header("content-type"), body: &reply.body };
    let complaints = document.complaints(method, documented, &answer);
    assert!(complaints.is_empty(), "{method} {path} {body:.80}: {complaints:#?}\n{reply:?}");
    reply.status
}

#[test]
fn no_value_of_the_environment_is_ever_answered() {
    let mut run =
        Supervise::with("web: sleep 1000\n").env("API_KEY", "s3cr3t").file(".env", "TOKEN=s3cr3t\n").start();
    run.event("started", "web.1");
    let socket = socket_of(&run);
    for (method, path, body) in [
        ("GET", "/v1/processes", ""),
        ("GET", "/v1/events", ""),
        ("GET", "/v1/logs", ""),
        ("POST", "/v1/restart", r#"{"wait":true}"#),
        ("POST", "/v1/reload", r#"{"wait":true}"#),
        ("POST", "/v1/formation", r#"{"API_KEY":1}"#),
    ] {
        let answer = String::from_utf8_lossy(&ask(&socket, method, path, body).body).into_owned();
        assert!(!answer.contains("s3cr3t"), "{path}: {answer}");
    }
    run.is_stopped();
}
