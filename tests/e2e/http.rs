//! The port of `--http`, of real runs: health for whoever is above us, metrics, and who may change something.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Run, Stdout, Supervise, descriptors, eventually, resident_kib};
use crate::socket::http::{Client, Reply, request, request_with};
use crate::socket::{ask, socket_of};
use crate::verbs;

const TOKEN: &str = "0123456789abcdef";

/// Where a run says that it serves.
fn port_of(run: &Run) -> SocketAddr {
    let serving = run.event("serving", "");
    serving.json["address"].as_str().expect("an address").parse().expect("with its port")
}

fn get(port: SocketAddr, path: &str) -> Reply {
    Client::by_port(port).ask("GET", path, "")
}

/// The checks of an answer, those that are not well with a `!`.
fn checks(reply: &Reply) -> String {
    let checks = reply.json()["checks"].as_array().expect("a list").clone();
    let checks = checks.iter().map(|check| {
        let ok = if check["ok"].as_bool().expect("yes or no") { "" } else { "!" };
        format!("{ok}{}: {}", check["name"].as_str().expect("text"), check["message"].as_str().expect("text"))
    });
    checks.collect::<Vec<_>>().join(", ")
}

/// Waits until a question is answered so.
fn until(run: &Run, port: SocketAddr, path: &str, status: u16, says: &str) {
    let told = || {
        let reply = get(port, path);
        (reply.status, checks(&reply))
    };
    let so = || Some(told()).filter(|told| *told == (status, says.to_owned())).map(drop);
    eventually(&format!("{path}: {status} {says}"), so, || format!("{:?}\n{}", told(), run.so_far()));
}

/// A metric's value; the sum of all with these labels.
fn metric(port: SocketAddr, sample: &str) -> Option<f64> {
    let text = String::from_utf8(get(port, "/metrics").body).expect("text");
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_formation_is_live_at_once_then_started_and_ready_and_not_ready_while_it_drains() {
    let procfile = "web: chaos ignore TERM say deaf gate go\nworker: chaos say up sleep 1h\n";
    let mut run = Supervise::with(procfile).gate("go").args(["--http", "0", "-t", "1h"]).start();
    let port = port_of(&run);
    assert_eq!(get(port, "/health/live").status, 200);
    run.line("web.1", "deaf");
    until(&run, port, "/health/ready", 200, "supervisor: running, web: 1 of 1 ready, worker: 1 of 1 ready");
    until(&run, port, "/health/startup", 200, "supervisor: started");
    let socket = socket_of(&run);
    for path in ["/health/live", "/health/ready", "/health/startup", "/v1/health?check=startup"] {
        assert_eq!(ask(&socket, "GET", path, "").body, get(port, path).body, "{path}");
    }
    run.signal(libc::SIGTERM);
    run.event("draining", "");
    let reply = get(port, "/health/ready");
    assert_eq!(reply.status, 503, "at once: {reply:?}");
    assert!(checks(&reply).starts_with("!supervisor: draining, "), "{reply:?}");
    assert_eq!((get(port, "/health/live").status, get(port, "/health/startup").status), (200, 200));
    let health = verbs::ask(&run, &["health"]);
    assert_eq!(health.code, Some(1), "{}", health.out);
    run.directory().open_gate("go");
    run.ends_with(0);
}

#[test]
fn who_does_not_run_is_named_and_the_exit_code_tells_healthcheck() {
    let procfile = "web: chaos sleep 1h\nbad: chaos crash-until mended 1000000 3\nextra: chaos exit 3\n";
    let spec = "formation: { bad: { backoff: { first: 1h, max: 1h } }, extra: { essential: false } }\n";
    let mut run = Supervise::with(procfile).spec(spec).args(["--http", "0"]).start();
    let port = port_of(&run);
    let told = "supervisor: running, web: 1 of 1 ready, !bad: 0 of 1 ready";
    until(&run, port, "/health/ready", 503, told);
    assert_eq!(get(port, "/health/live").status, 200, "that is no reason to restart us");
    assert_eq!(get(port, "/health/startup").status, 503);
    let health = verbs::ask(&run, &["health"]);
    let lines =
        "supervisor  ok      running\nweb         ok      1 of 1 ready\nbad         not ok  0 of 1 ready\n";
    assert_eq!((health.code, health.out.as_str(), health.err.as_str()), (Some(1), lines, ""));
    assert_eq!(verbs::says(&run, &["health", "--live"]), "supervisor  ok      answers\n");
    // What shall not run is not asked for.
    verbs::says(&run, &["scale", "--wait", "bad=0"]);
    until(&run, port, "/health/ready", 200, "supervisor: running, web: 1 of 1 ready");
    verbs::says(&run, &["health"]);
    verbs::says(&run, &["health", "--startup"]);
    verbs::says(&run, &["shutdown"]);
    run.ends_with(0);
    let nobody = verbs::ask(&run, &["health"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(1), ""));
    assert!(nobody.err.contains("no supervisor is running"), "{}", nobody.err);
}

#[test]
fn a_backing_service_that_goes_away_makes_us_unready_and_is_no_reason_to_restart_us() {
    let service = TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let url = format!("tcp://{}", service.local_addr().expect("it is bound"));
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .spec("formation: { web: { needs: [SVC_URL] } }\n")
        .env("SVC_URL", url)
        .args(["--http", "0"])
        .start();
    let port = port_of(&run);
    let ready = |service: &str| format!("supervisor: running, web: 1 of 1 ready, {service}");
    until(&run, port, "/health/ready", 200, &ready("SVC_URL: takes connections"));
    drop(service);
    until(&run, port, "/health/ready", 503, &ready("!SVC_URL: connection refused"));
    assert_eq!(get(port, "/health/live").status, 200);
    assert_eq!(verbs::ask(&run, &["health"]).code, Some(1));
    run.is_stopped();
}

#[test]
fn while_hundreds_are_started_each_question_is_answered_in_time() {
    let mut run = Supervise::with("web: chaos sleep 1h\n").args(["web=400", "--no-port", "--http", "0"]);
    run = run.without_port_argument();
    let mut run = run.start();
    let port = port_of(&run);
    let mut client = Client::by_port(port);
    let mut answered_before = 0;
    let begin = Instant::now();
    loop {
        assert_eq!(client.ask("GET", "/health/live", "").status, 200, "{}", run.so_far());
        if client.ask("GET", "/health/ready", "").status == 200 {
            break;
        }
        assert!(begin.elapsed() < crate::harness::PATIENCE, "not ready: {}", run.so_far());
        answered_before += 1;
        thread::yield_now();
    }
    // Whoever had to wait for all of them would be answered once.
    assert!(answered_before > 10, "{answered_before} answers while 400 were started");
    run.is_stopped();
}

#[test]
fn a_port_that_cannot_be_had_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let address = taken.local_addr().expect("it is bound").to_string();
    for more in [&[][..], &["--detach"]] {
        let arguments = ["--http", &address].iter().chain(more).copied().collect::<Vec<_>>();
        let mut run = Supervise::with("a: chaos touch started sleep 1h\n").args(arguments).start();
        let seen = run.ends_with(1);
        let says = format!("error: `--http {address}` cannot be listened on: Address already in use");
        assert!(seen.err_text().contains(&says), "{seen}");
        assert!(seen.events("started", "").is_empty(), "{seen}");
        assert!(!run.directory().app("started").exists(), "{seen}");
    }
    // And it stands in nobody's way.
    let supervise = Supervise::with("a: chaos sleep 1h\n");
    supervise.clone().args(["--http", &address]).start().ends_with(1);
    let mut run = supervise.start();
    run.event("started", "a.1");
    run.is_stopped();
}

/// The sockets of TCP that a process has open, by /proc.
fn tcp_sockets(pid: i32) -> usize {
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let inodes: Vec<&str> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| line.split_whitespace().nth(9))
        .collect();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let is_tcp = |link: &Path| {
        let inode = link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.contains(&inode))
    };
    links.filter(|link| is_tcp(link)).count()
}

#[test]
fn nothing_listens_unless_it_was_asked_for_and_no_child_has_it() {
    let mut run = Supervise::with("a: chaos sleep 1h\n").start();
    run.event("started", "a.1");
    assert_eq!(ask(&socket_of(&run), "GET", "/health/live", "").status, 200);
    assert_eq!(tcp_sockets(run.pid()), 0);
    run.is_stopped();
    // Without a socket too.
    let mut run =
        Supervise::with("a: chaos sleep 1h\n").args(["--http", "localhost:0", "--socket", "none"]).start();
    let child = run.event("started", "a.1").pid();
    let port = port_of(&run);
    assert!(port.ip().is_loopback(), "{port}");
    assert_eq!(get(port, "/v1/formation").body, b"{\"a\":1}\n");
    // The connection that has just ended is forgotten a moment later.
    let one = || (tcp_sockets(run.pid()) == 1).then_some(());
    eventually("one that listens", one, || tcp_sockets(run.pid()).to_string());
    assert_eq!(tcp_sockets(child), 0);
    run.is_stopped();
}

#[test]
fn only_who_knows_the_token_changes_something_by_the_port() {
    let procfile = "web: chaos sleep 1h\n";
    let change = |port, headers: &str| {
        let mut client = Client::by_port(port);
        client
            .write(request_with("POST", "/v1/formation?wait=true", headers, r#"{"web":2}"#))
            .expect("it is heard");
        client.reply().expect("an answer")
    };
    let mut run = Supervise::with(procfile).args(["--http", "0"]).start();
    let port = port_of(&run);
    let reply = change(port, "authorization: Bearer x\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (403, "no_token"));
    assert_eq!(get(port, "/v1/formation").body, b"{\"web\":1}\n");
    run.is_stopped();

    let supervise = Supervise::with(procfile).file("token", format!("{TOKEN}\n"));
    let mode = |mode| {
        let path = supervise.directory().app("token");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    let start = || supervise.clone().args(["--http", "0", "--token-file", "token"]).start();
    mode(0o644);
    let seen = start().ends_with(2);
    assert!(seen.err_text().contains("others may read or change it (mode 0644)"), "{seen}");
    mode(0o600);
    let mut run = start();
    let port = port_of(&run);
    assert_eq!(change(port, "").status, 401);
    assert_eq!(change(port, "authorization: Bearer 0123456789abcdee\r\n").status, 401);
    assert_eq!(get(port, "/v1/formation").body, b"{\"web\":1}\n");
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(change(port, &format!("{right}origin: http://evil.example\r\n")).code(), "foreign_origin");
    assert_eq!(change(port, &right).status, 200);
    assert_eq!(get(port, "/v1/formation").body, b"{\"web\":2}\n");
    let mut rebound = Client::by_port(port);
    rebound.write(request("GET", "/v1/logs", "").replace("localhost", "evil.example")).expect("it is heard");
    assert_eq!(rebound.reply().expect("an answer").code(), "foreign_host");
    let seen = run.is_stopped();
    let whole = [seen.lines().join("\n"), seen.err_text()].concat();
    assert!(!whole.contains(TOKEN), "the token is nobody's to see: {seen}");
}

#[test]
fn fault_56_whoever_floods_the_port_keeps_nobody_from_the_socket() {
    let mut run = Supervise::with("a: chaos sleep 1h\n").args(["--http", "0"]).start();
    run.event("started", "a.1");
    let (port, socket) = (port_of(&run), socket_of(&run));
    assert_eq!(get(port, "/metrics").status, 200);
    assert_eq!(ask(&socket, "GET", "/v1/processes", "").status, 200);
    let (before, size) = (descriptors(run.pid()), resident_kib(run.pid()));
    let mut many: Vec<Client> = (0..500).map(|_| Client::by_port(port)).collect();
    for (number, client) in many.iter_mut().enumerate() {
        let bytes = match number % 4 {
            0 => "GET /v1/processes HTTP/1.1\r\nx: ".to_owned(),
            1 => request("GET", "/v1/logs?follow=true", ""),
            2 => format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(100_000)),
            _ => String::new(),
        };
        // Those that had to give way cannot.
        let _ = client.write(bytes);
    }
    for _ in 0..20 {
        let begin = Instant::now();
        assert_eq!(ask(&socket, "GET", "/v1/processes", "").status, 200);
        // Who had to wait for a place would wait until those without a header are sent away, after five seconds.
        assert!(begin.elapsed() < Duration::from_secs(4), "it had to wait: {:?}", begin.elapsed());
        assert_eq!(get(port, "/health/live").status, 200, "short questions have their places");
    }
    verbs::says(&run, &["scale", "--wait", "a=2"]);
    let grown = resident_kib(run.pid()).saturating_sub(size);
    assert!(grown < 16 * 1024, "{grown} KiB more than before");
    drop(many);
    let now = || descriptors(run.pid());
    // The second child's pipes and its NOTIFY_SOCKET are three of them.
    eventually("all are gone", || (now() <= before + 3).then_some(()), || format!("{} of {before}", now()));
    run.is_stopped();
}

#[test]
fn what_has_happened_is_counted() {
    let procfile = "web: chaos say one say two partial three sleep 1h\nbad: chaos crash-until lives 3 3\n";
    let mut run = Supervise::with(procfile).args(["web=2", "--http", "0"]).start();
    let port = port_of(&run);
    run.nth_event(3, "started", "bad.1");
    let counted = |sample: &str, value: f64| {
        let look = || metric(port, sample).filter(|found| (found - value).abs() < 1e-9).map(drop);
        eventually(&format!("{sample} {value}"), look, || {
            String::from_utf8_lossy(&get(port, "/metrics").body).into_owned()
        });
    };
    counted("supervise_instances{type=\"web\",state=\"running\"}", 2.0);
    counted("supervise_ready_instances{type=\"web\"}", 2.0);
    counted("supervise_wanted_instances{type=\"web\"}", 2.0);
    counted("supervise_lines_total{type=\"web\",slot=\"web.2\"}", 2.0);
    counted("supervise_bytes_total{type=\"web\",slot=\"web.2\"}", 13.0);
    counted("supervise_dropped_lines_total{reason=\"slow_reader\"}", 0.0);
    assert!(metric(port, "supervise_resident_memory_bytes{type=\"web\",slot=\"web.1\"}") > Some(10_000.0));
    assert!(metric(port, "process_resident_memory_bytes") > Some(1_000_000.0));
    run.is_stopped();
}

#[test]
fn lines_that_are_dropped_are_counted_while_they_are() {
    let mut run = Supervise::with("a: chaos spam 200000 sleep 1h\n")
        .stdout(Stdout::Unread)
        .args(["--http", "127.0.0.1:0", "--when-slow", "drop"])
        .start();
    let socket = socket_of(&run);
    let look = || {
        let text = String::from_utf8(ask(&socket, "GET", "/metrics", "").body).expect("text");
        let dropped = text.lines().find_map(|line| {
            line.strip_prefix("supervise_dropped_lines_total{reason=\"slow_reader\"} ")?.parse::<u64>().ok()
        });
        dropped.filter(|dropped| *dropped > 100_000)
    };
    eventually("many dropped lines", look, || format!("{:?}", look()));
    run.read_on();
    run.is_stopped();
}
