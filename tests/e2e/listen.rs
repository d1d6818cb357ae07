//! Sockets that outlive the instances that serve them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::harness::{PATIENCE, Run, Setup, Supervise, eventually, free_ports, is_alive};
use crate::verbs::{ask, says};

fn spec(address: &str) -> String {
    format!("formation:\n  web: {{ listen: '{address}' }}\n")
}

fn tcp(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

/// A client that waits for its answer.
struct Client(Box<dyn Read>);

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client(Box::new(stream)))
    }

    fn connect_to(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client(Box::new(stream)))
    }

    /// Who answered: PS and pid.
    fn answer(mut self, run: &Run) -> (String, i32) {
        let mut text = String::new();
        self.0
            .read_to_string(&mut text)
            .unwrap_or_else(|error| panic!("no answer: {error}\n{}", run.so_far()));
        let (name, pid) =
            text.trim_end().split_once(' ').unwrap_or_else(|| panic!("`{text}`\n{}", run.so_far()));
        (name.to_owned(), pid.parse().expect("a pid"))
    }
}

/// Connects where somebody must listen.
#[track_caller]
fn connect(port: u16, run: &Run) -> Client {
    Client::connect(port).unwrap_or_else(|error| panic!("refused: {error}\n{}", run.so_far()))
}

#[test]
fn an_instance_gets_the_socket_as_descriptor_3_and_is_told_so_however_it_is_executed() {
    let verbs = "env LISTEN_FDS env LISTEN_FDNAMES env LISTEN_PID report sleep 1h";
    for command in [
        format!("chaos {verbs}"),
        format!("chaos {verbs} ${{NOTHING:-x}}"),
        format!("cd . && exec chaos {verbs}"),
    ] {
        let procfile = format!("web: {command}\nworker: chaos {verbs}\n");
        let mut run = Supervise::with(procfile)
            .spec(&spec(&tcp(free_ports(1))))
            // As if something like systemd had handed sockets to us.
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "a:b")
            .env("LISTEN_PID", "1")
            .setup(Setup::Open(3))
            .start();
        let web = run.report("web.1");
        assert_eq!(web["fds"], "0,1,2,3", "{command}\n{}", run.so_far());
        assert_eq!((web["LISTEN_FDS"].as_str(), web["LISTEN_FDNAMES"].as_str()), ("1", "web"), "{command}");
        assert_eq!(web["LISTEN_PID"], web["pid"], "{command}");
        let worker = run.report("worker.1");
        assert_eq!(worker["fds"], "0,1,2", "{command}");
        for name in ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"] {
            run.line("worker.1", &format!("{name} is not set"));
        }
        run.is_stopped();
    }
}

#[test]
fn a_child_of_the_shell_sees_that_the_socket_is_for_its_parent() {
    let mut run = Supervise::with("web: chaos env LISTEN_PID pid me; sleep 3600\n")
        .spec(&spec(&tcp(free_ports(1))))
        .start();
    let shell = run.event("started", "web.1").pid();
    run.line("web.1", &format!("LISTEN_PID={shell}"));
    assert_ne!(run.pid_said("web.1", "me"), shell);
    run.is_stopped();
}

#[test]
fn instances_share_one_port_and_it_is_said_where_they_listen() {
    let port = free_ports(1);
    let mut run = Supervise::with("web: chaos serve\n").spec(&spec(&tcp(port))).args(["web=4"]).start();
    let said = run.event("listening", "");
    assert_eq!(said.message(), format!("web listens on tcp://127.0.0.1:{port}"));
    let mut names = BTreeSet::new();
    let all = || {
        names.insert(connect(port, &run).answer(&run).0);
        (names.len() == 4).then_some(())
    };
    eventually("an answer of each", all, || run.so_far().to_string());
    let seen = run.is_stopped();
    assert!(seen.events("listening", "")[0].place < seen.events("started", "")[0].place, "{seen}");
    assert!(Client::connect(port).is_err(), "the port is free again");
}

#[test]
fn whoever_connects_between_two_lives_waits_for_the_next_one() {
    let port = free_ports(1);
    let mut run =
        Supervise::with("web: chaos gate open serve\n").gate("open").spec(&spec(&tcp(port))).start();
    let first = run.event("started", "web.1").pid();
    let early = connect(port, &run);
    says(&run, &["restart", "--wait"]);
    let second = run.nth_event(2, "started", "web.1").pid();
    assert!(!is_alive(first), "{}", run.so_far());
    let late = connect(port, &run);
    run.directory().open_gate("open");
    for client in [early, late] {
        assert_eq!(client.answer(&run), ("web.1".to_owned(), second));
    }
    // One that dies by itself loses no client either.
    crate::harness::send(second, libc::SIGKILL);
    run.nth_event(2, "exited", "web.1");
    let third = connect(port, &run).answer(&run).1;
    assert_eq!(third, run.nth_event(3, "started", "web.1").pid());
    let seen = run.is_stopped();
    assert!(seen.events("port_taken", "").is_empty(), "{seen}");
}

#[test]
fn a_shared_socket_on_the_types_own_port_is_no_port_that_is_taken() {
    let port = free_ports(1);
    let mut run = Supervise::with("web: chaos serve\n")
        .without_port_argument()
        .args(["-p", &port.to_string()])
        .spec(&spec(&tcp(port)))
        .start();
    run.event("listening", "");
    assert_eq!(connect(port, &run).answer(&run).0, "web.1");
    let seen = run.is_stopped();
    assert!(seen.events("port_taken", "").is_empty(), "{seen}");
}

#[test]
fn where_somebody_listens_already_nothing_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let mut run =
        Supervise::with("worker: chaos sleep 1h\nweb: chaos serve\n").spec(&spec(&tcp(port))).start();
    let seen = run.ends_with(1);
    let said =
        format!("error: `web` cannot listen on tcp://127.0.0.1:{port}: process {} (", std::process::id());
    assert!(seen.err_text().contains(&said) && seen.err_text().contains(") listens there already"), "{seen}");
    assert!(seen.events("started", "").is_empty(), "{seen}");
}

#[test]
fn a_socket_that_cannot_be_is_an_error_that_says_why() {
    let deep = "x".repeat(90);
    for (address, said) in [
        ("tcp://192.0.2.1:8000", "cannot listen on tcp://192.0.2.1:8000: this machine has no such address"),
        ("unix:nowhere/app.sock", "app/nowhere/app.sock: its directory is not there"),
        (&format!("unix:{deep}"), "a socket's path 107 at most"),
        ("unix:Procfile", "a file that is no socket is there: move it away, or choose another path"),
    ] {
        let mut run = Supervise::with("web: chaos serve\n").spec(&spec(address)).start();
        let (status, _) = run.wait_for_exit();
        let seen = run.so_far();
        assert!(seen.err_text().contains(said), "{address}: {seen}");
        assert_eq!(status.code(), Some(if address.contains(&deep) { 2 } else { 1 }), "{seen}");
        assert!(run.directory().app("Procfile").exists());
    }
}

#[test]
fn a_unix_socket_has_the_mode_of_the_umask_and_goes_with_us() {
    let supervise =
        Supervise::with("web: chaos serve\n").spec(&spec("unix:app.sock")).setup(Setup::Umask(0o027));
    let path = supervise.directory().app("app.sock");
    // Whoever bound this one was killed.
    drop(UnixListener::bind(&path).expect("the directory is ours"));
    let mut run = supervise.start();
    run.line("web.1", "serving");
    let found = fs::symlink_metadata(&path).expect("it is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o750);
    let client = Client::connect_to(&path).expect("somebody listens");
    assert_eq!(client.answer(&run).0, "web.1");
    run.is_stopped();
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_somebody_answers_is_left_alone() {
    let supervise = Supervise::with("web: chaos serve\n").spec(&spec("unix:app.sock"));
    let path = supervise.directory().app("app.sock");
    let taken = UnixListener::bind(&path).expect("the directory is ours");
    let mut run = supervise.start();
    let seen = run.ends_with(1);
    let said = format!("app.sock: process {} (", std::process::id());
    assert!(seen.err_text().contains(&said), "{seen}");
    assert!(path.exists(), "it is not ours to remove");
    drop(taken);
}

#[test]
fn a_socket_that_another_one_has_replaced_is_not_removed() {
    let supervise = Supervise::with("web: chaos serve\n").spec(&spec("unix:app.sock"));
    let mut run = supervise.start();
    run.line("web.1", "serving");
    let path = supervise.directory().app("app.sock");
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("the directory is ours");
    run.is_stopped();
    assert!(path.exists());
    drop(other);
}

#[test]
fn a_unix_socket_whose_file_was_removed_is_found_again_after_a_restart() {
    let supervise = Supervise::with("web: chaos serve\n").spec(&spec("unix:app.sock"));
    let path = supervise.directory().app("app.sock");
    let mut run = supervise.args(["web=2"]).start();
    run.line("web.2", "serving");
    fs::remove_file(&path).expect("it is there");
    says(&run, &["restart", "--wait", "web"]);
    run.nth_event(2, "listening", "");
    let answer = Client::connect_to(&path).expect("somebody listens").answer(&run);
    assert!(["web.1", "web.2"].contains(&answer.0.as_str()));

    // What is somebody else's now stays so, and nobody stops for that.
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("the directory is ours");
    says(&run, &["restart", "--wait", "web"]);
    drop(other);
    fs::remove_file(&path).expect("it is there");
    says(&run, &["restart", "--wait", "web"]);
    run.nth_event(3, "listening", "");
    Client::connect_to(&path).expect("somebody listens").answer(&run);
    run.is_stopped();
    assert!(!path.exists());
}

#[test]
fn a_socket_blocks_for_the_first_who_gets_it_and_stays_as_its_holders_have_made_it() {
    let supervise = Supervise::with("web: chaos unblock sleep 1h\n").spec(&spec(&tcp(free_ports(1))));
    let mut run = supervise.start();
    run.line("web.1", "unblocked");
    says(&run, &["scale", "--wait", "web=2"]);
    run.line("web.2", "unblocked");
    says(&run, &["stop", "--wait", "web"]);
    says(&run, &["restart", "--wait", "web.2"]);
    run.wait_for("another life", |seen| (seen.said("web.2").len() == 4).then_some(()));
    let seen = run.is_stopped();
    assert_eq!(seen.said("web.1"), ["it blocks", "unblocked"], "{seen}");
    // With a sister that has it, and alone.
    assert_eq!(seen.said("web.2"), ["it blocks not", "unblocked", "it blocks", "unblocked"], "{seen}");
}

#[test]
fn a_rollout_to_another_address_that_is_turned_back_leaves_the_old_one_answering() {
    let (old, new) = (free_ports(1), free_ports(1));
    let rollout = |surge: u32, unavailable: u32| {
        let room = format!("max_surge: {surge}, max_unavailable: {unavailable}");
        format!("rollout: {{ {room}, min_ready: 100ms, progress_deadline: 1s }}")
    };
    // The old one stays meanwhile; or nobody does, and its socket is closed and bound again.
    for rollout in [rollout(1, 0), rollout(0, 1)] {
        let spec = |port, probe| {
            let health = format!("health: {{ readiness: {{ exec: '{probe}', period: 100ms }} }}");
            format!("formation:\n  web: {{ listen: '{}', {rollout}, {health} }}\n", tcp(port))
        };
        let mut run = Supervise::with("web: chaos serve\n").spec(&spec(old, "true")).start();
        run.event("ready", "web.1");
        fs::write(run.directory().app("supervise.yml"), spec(new, "false")).expect("it is ours");
        let refused = ask(&run, &["reload", "--wait"]);
        assert_eq!(refused.code, Some(1), "{}\n{}", refused.err, run.so_far());
        let back = || Client::connect(old).ok().map(|client| client.answer(&run).0);
        assert_eq!(eventually("the old address again", back, || run.so_far().to_string()), "web.1");
        let closed = || Client::connect(new).is_err().then_some(());
        eventually("the new address closed", closed, || run.so_far().to_string());
        run.is_stopped();
    }
}

#[test]
fn a_reload_keeps_the_socket_of_an_address_binds_a_new_one_and_closes_what_nobody_uses() {
    let (old, new) = (free_ports(1), free_ports(1));
    let supervise = Supervise::with("web: chaos gate never serve\n").gate("never").spec(&spec(&tcp(old)));
    let mut run = supervise.start();
    run.event("started", "web.1");
    let waiting = connect(old, &run);
    let rewrite = |procfile: &str, spec: &str| {
        fs::write(run.directory().app("Procfile"), procfile).expect("it is ours");
        fs::write(run.directory().app("supervise.yml"), spec).expect("it is ours");
    };

    // Another program on the same address has the same socket, and the client in it.
    rewrite("web: chaos serve\n", &spec(&tcp(old)));
    says(&run, &["reload", "--wait"]);
    // The new one that came first, or the one that followed it.
    assert!(["web.1", "web.2"].contains(&waiting.answer(&run).0.as_str()));

    // Another address.
    rewrite("web: chaos serve\n", &spec(&tcp(new)));
    says(&run, &["reload", "--wait"]);
    assert_eq!(run.nth_event(2, "listening", "").json["address"], tcp(new));
    assert_eq!(connect(new, &run).answer(&run).0, "web.1");
    let closed = || Client::connect(old).is_err().then_some(());
    eventually("the old address closed", closed, || run.so_far().to_string());

    // None.
    rewrite("web: chaos sleep 1h\n", "");
    says(&run, &["reload", "--wait"]);
    let closed = || Client::connect(new).is_err().then_some(());
    eventually("the new address closed", closed, || run.so_far().to_string());
    run.is_stopped();
}

#[test]
fn an_address_that_cannot_be_bound_refuses_the_reload_and_changes_nothing() {
    let (old, free) = (free_ports(1), free_ports(1));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let supervise = Supervise::with("web: chaos serve\napi: chaos serve\n").spec(&spec(&tcp(old)));
    let mut run = supervise.start();
    let pid = run.event("started", "web.1").pid();
    let both =
        format!("formation:\n  web: {{ listen: '{}' }}\n  api: {{ listen: '{}' }}\n", tcp(free), tcp(port));
    fs::write(run.directory().app("supervise.yml"), both).expect("it is ours");
    let refused = ask(&run, &["reload"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    let said = format!("`api` cannot listen on tcp://127.0.0.1:{port}: process {} (", std::process::id());
    assert!(refused.err.contains(&said), "{}", refused.err);
    assert!(is_alive(pid));
    assert_eq!(connect(old, &run).answer(&run), ("web.1".to_owned(), pid));
    let closed = || Client::connect(free).is_err().then_some(());
    eventually("what was bound with it closed", closed, || run.so_far().to_string());
    run.is_stopped();
}

#[test]
fn a_type_of_which_nothing_runs_listens_when_it_is_scaled_up() {
    let port = free_ports(1);
    let supervise = Supervise::with("web: chaos serve\nworker: chaos sleep 1h\n");
    let mut run = supervise.spec(&spec(&tcp(port))).args(["worker"]).start();
    run.event("started", "worker.1");
    assert!(Client::connect(port).is_err(), "nobody would answer");
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    says(&run, &["scale", "web=1"]);
    let failed = run.event("not_started", "web.1");
    assert!(failed.message().contains("listens there already"), "{}", failed.message());
    drop(taken);
    // A shortage, which passes: it is tried again.
    run.event("listening", "");
    run.event("started", "web.1");
    assert_eq!(connect(port, &run).answer(&run).0, "web.1");
    says(&run, &["scale", "--wait", "web=0"]);
    run.is_stopped();
}

#[test]
fn what_an_earlier_run_left_behind_gives_the_socket_back_first() {
    let port = free_ports(1);
    let supervise =
        Supervise::with("web: chaos ignore TERM serve\n").spec(&spec(&tcp(port))).args(["-t", "1s"]);
    let mut killed = supervise.start();
    killed.line("web.1", "serving");
    killed.is_killed();
    assert!(Client::connect(port).is_ok(), "its instance ignores that its supervisor is gone");
    let mut run = supervise.start();
    run.line("web.1", "serving");
    let pid = run.event("started", "web.1").pid();
    assert_eq!(connect(port, &run).answer(&run).1, pid);
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

#[test]
fn while_we_end_nobody_new_is_kept_waiting() {
    let supervise = Supervise::with("web: chaos on TERM say bye serve\n").spec(&spec("unix:app.sock"));
    let path = supervise.directory().app("app.sock");
    let mut run = supervise.args(["-t", "30s"]).start();
    run.line("web.1", "serving");
    run.signal(libc::SIGTERM);
    run.line("web.1", "bye");
    let gone = || (!path.exists()).then_some(());
    eventually("the file gone", gone, || run.so_far().to_string());
    assert!(!run.alive().is_empty(), "{}", run.so_far());
    run.is_killed();
}
