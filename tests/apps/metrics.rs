//! `/metrics` as Prometheus' own client for Python reads it.

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Project, free_base, http, installed};

/// Reads the text on stdin, and writes what it understood: every family with its type and its samples.
const PARSER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = {}
for family in parse(sys.stdin.read()):
    assert family.name not in families and family.documentation, family.name
    samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
    families[family.name] = {'type': family.type, 'samples': samples}
json.dump(families, sys.stdout)
";

fn parsed(text: &str) -> Value {
    let mut parser = Command::new(installed("venv/bin/python"))
        .args(["-c", PARSER])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut stdin = parser.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = parser.wait_with_output().expect("it is ours");
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn prometheus_reads_what_we_count() {
    let port = free_base();
    let procfile = "web: echo hello; exec sleep 1000\nodd-name_1: echo bye; exec sleep 1000\nbad: exit 3\n";
    let spec =
        "formation: { web: 2, bad: { essential: false, backoff: { give_up_after: 2, first: 10ms } } }\n";
    let project = Project::new().with("Procfile", procfile).with("supervise.yml", spec);
    let address = format!("127.0.0.1:{}", port + 99);
    let mut run = project.supervise(&["start", "-p", &port.to_string(), "--http", &address]);
    run.says("odd-name_1.1 | bye");
    run.says("bad.1 failed 2 times in a row");
    let families = run.until("all is counted", || {
        let (status, text) = http("GET", port + 99, "/metrics", "")?;
        assert_eq!(status, 200, "{text}");
        let families = parsed(&text);
        let lines = &families["supervise_lines"]["samples"];
        if lines.as_array().map(Vec::len) == Some(4) { Ok(families) } else { Err(text) }
    });
    for (name, kind) in [
        ("supervise_instances", "gauge"),
        ("supervise_ready_instances", "gauge"),
        ("supervise_wanted_instances", "gauge"),
        // The names of counters are without their `_total` here.
        ("supervise_restarts", "counter"),
        ("supervise_exits", "counter"),
        ("supervise_probes", "counter"),
        ("supervise_start_seconds", "histogram"),
        ("supervise_drain_seconds", "histogram"),
        ("supervise_lines", "counter"),
        ("supervise_bytes", "counter"),
        ("supervise_dropped_lines", "counter"),
        ("supervise_resident_memory_bytes", "gauge"),
        ("supervise_cpu_seconds", "counter"),
        ("supervise_build_info", "gauge"),
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_start_time_seconds", "gauge"),
    ] {
        assert_eq!(families[name]["type"], kind, "{name}: {families:#}");
    }
    let value = |family: &str, labels: &Value| {
        let samples = families[family]["samples"].as_array().expect("a list");
        let found = samples.iter().find(|sample| &sample[1] == labels);
        found.and_then(|sample| sample[2].as_f64())
    };
    let labels = |text: &str| serde_json::from_str(text).expect("it is JSON");
    let running = labels(r#"{"type":"web","state":"running"}"#);
    assert_eq!(value("supervise_instances", &running), Some(2.0), "{families:#}");
    let odd = labels(r#"{"type":"odd-name_1","slot":"odd-name_1.1"}"#);
    assert_eq!(value("supervise_lines", &odd), Some(1.0), "{families:#}");
    assert_eq!(value("supervise_bytes", &odd), Some(4.0), "{families:#}");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

/// Whatever only grows: counters, and all of a histogram.
fn growing(families: &Value) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for family in families.as_object().expect("a map").values() {
        if family["type"] != "counter" && family["type"] != "histogram" {
            continue;
        }
        for sample in family["samples"].as_array().expect("a list") {
            all.insert(format!("{} {}", sample[0], sample[1]), sample[2].as_f64().expect("a number"));
        }
    }
    all
}

#[test]
fn what_only_grows_never_falls_and_never_vanishes_whatever_is_restarted_replaced_or_taken_away() {
    let port = free_base();
    let busy = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; echo done; exec sleep 1000";
    let web = format!("web: {busy}\n");
    let both = format!("{web}worker: {busy}\n");
    let spec = "formation: { web: { quantity: 2, port: false, rollout: { min_ready: 0 } } }\n";
    let project = Project::new().with("Procfile", &both).with("supervise.yml", spec);
    let address = format!("127.0.0.1:{}", port + 99);
    let mut run = project.supervise(&["start", "-p", &port.to_string(), "--http", &address]);
    run.says_times("| done", 3);
    let mut before = BTreeMap::new();
    let mut look = |after: &str| {
        let (_, text) = http("GET", port + 99, "/metrics", "").expect("it is served");
        let now = growing(&parsed(&text));
        for (name, value) in &before {
            assert!(now.get(name).is_some_and(|now| now >= value), "{name} was {value}; {after}: {text}");
        }
        before = now;
    };
    let command = |arguments: &[&str]| {
        let output = run.project.command(arguments).output().expect("it was built");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let procfile = |text: &str| {
        std::fs::write(run.project.root.join("Procfile"), text).expect("a test can write into its directory");
    };
    look("at first");
    for arguments in [
        &["restart", "--wait", "worker"][..],
        &["restart", "--rolling", "--wait", "web"],
        &["scale", "--wait", "worker=3", "web=1"],
        &["scale", "--wait", "worker=1"],
        &["stop", "--wait", "worker"],
    ] {
        command(arguments);
        look(&arguments.join(" "));
    }
    procfile(&web);
    command(&["reload", "--wait"]);
    look("without the worker");
    procfile(&both);
    command(&["reload", "--wait"]);
    look("with the worker again");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
