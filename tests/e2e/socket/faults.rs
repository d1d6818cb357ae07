//! What clients can do wrong, and what happens to sockets: none of it may break a run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Client, request};
use super::{ask, socket_of};
use crate::harness::{Run, Supervise, descriptors, eventually, resident_kib};

/// Waits until the supervisor has no more descriptors open than this.
fn lets_go(run: &Run, before: usize) {
    let now = || descriptors(run.pid());
    eventually(
        "no descriptor more than before",
        || (now() <= before).then_some(()),
        || format!("{} of {before}\n{}", now(), run.so_far()),
    );
}

#[test]
fn fault_52_a_stale_socket_is_in_nobodys_way() {
    let supervise = Supervise::with("a: sleep 1000\n");
    let mut run = supervise.start();
    let socket = socket_of(&run);
    run.event("started", "a.1");
    run.is_killed();
    assert!(socket.exists(), "nobody could remove it");
    let mut run = supervise.start();
    run.event("started", "a.1");
    assert_eq!(ask(&socket_of(&run), "GET", "/v1/formation", "").body, b"{\"a\":1}\n");
    run.is_stopped();
    assert!(!socket.exists());
    // And at once again.
    let mut run = supervise.start();
    run.event("started", "a.1");
    assert_eq!(ask(&socket_of(&run), "GET", "/v1/formation", "").status, 200);
    run.is_stopped();
}

#[test]
fn fault_53_of_twenty_that_start_at_once_one_runs_and_all_others_name_it() {
    let supervise = Supervise::with("a: sleep 1000\n");
    let runs: Vec<Run> = (0..20).map(|_| supervise.start()).collect();
    let winner = eventually(
        "one that runs",
        || runs.iter().position(|run| !run.so_far().events("started", "a.1").is_empty()),
        || format!("{} started, and none runs", runs.len()),
    );
    let pid = runs[winner].pid();
    let mut winning = None;
    for (at, mut run) in runs.into_iter().enumerate() {
        if at == winner {
            winning = Some(run);
            continue;
        }
        let seen = run.ends_with(1);
        assert!(seen.events("started", "").is_empty(), "{at}: {seen}");
        let says = format!("already running here (pid {pid})");
        assert!(seen.err_text().contains(&says), "{at}: {seen}");
    }
    winning.expect("it was among them").is_stopped();
}

#[test]
fn fault_54_a_removed_socket_is_back_after_a_reload() {
    let mut run = Supervise::with("a: sleep 1000\n").start();
    run.event("started", "a.1");
    let socket = socket_of(&run);
    fs::remove_file(&socket).expect("it is ours");
    run.signal(libc::SIGHUP);
    assert_eq!(ask(&socket_of(&run), "GET", "/v1/formation", "").body, b"{\"a\":1}\n");
    run.is_stopped();
    assert!(!socket.exists());
}

#[test]
fn fault_55_malformed_requests_are_answered_once_and_cost_nothing() {
    let mut run = Supervise::with("a: sleep 1000\n").start();
    run.event("started", "a.1");
    let socket = socket_of(&run);
    assert_eq!(ask(&socket, "GET", "/v1/processes", "").status, 200);
    let before = resident_kib(run.pid());
    for _ in 0..20 {
        for bytes in [
            &b"\0\0\0\0\r\n\r\n"[..],
            b"GET /v1/processes HTTP/1.1\r\nhost: a\0b\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /v1/formation HTTP/1.1\r\ncontent-length: 4\r\nconnection: close\r\n\r\n{\"a\"",
            b"POST /v1/formation HTTP/1.1\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\xff\0\xfe\0",
        ] {
            let mut client = Client::new(&socket);
            client.write(bytes).expect("it is heard");
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(
                answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1 ").count() == 1,
                "{answer}"
            );
        }
        for beginning in [
            "GET /v1/processes HTTP/1.1\r\nx: ",
            "POST /v1/formation HTTP/1.1\r\ncontent-length: 10485760\r\n\r\n",
            "POST /v1/formation HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA00000\r\n",
        ] {
            let mut client = Client::new(&socket);
            client.write(beginning).expect("it is heard");
            let piece = vec![b'a'; 64 * 1024];
            // Ten mebibytes, unless it has heard enough.
            let _ = (0..160).try_for_each(|_| client.write(&piece));
            let answer = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(answer.starts_with("HTTP/1.1 4") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
        }
    }
    let grown = resident_kib(run.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more than before");
    assert_eq!(ask(&socket, "GET", "/v1/formation", "").body, b"{\"a\":1}\n");
    run.is_stopped();
}

#[test]
fn fault_56_two_hundred_slow_clients_keep_nobody_out() {
    let mut run = Supervise::with("a: sleep 1000\n").start();
    run.event("started", "a.1");
    let socket = socket_of(&run);
    // Whoever is answered meets a server that has all that it needs.
    assert_eq!(ask(&socket, "GET", "/v1/formation", "").status, 200);
    let before = descriptors(run.pid());
    let begin = Instant::now();
    let mut slow: Vec<Client> = (0..200).map(|_| Client::new(&socket)).collect();
    for client in &mut slow {
        // Those that had to give way cannot.
        let _ = client.write("GET /v1/processes HTTP/1.1\r\nx: ");
    }
    assert_eq!(ask(&socket, "GET", "/v1/processes", "").status, 200);
    assert!(begin.elapsed() < Duration::from_secs(5), "it had to wait: {:?}", begin.elapsed());
    for client in &mut slow {
        assert_eq!(client.rest(), b"");
    }
    lets_go(&run, before);
    run.is_stopped();
}

#[test]
fn fault_57_ten_thousand_requests_in_one_breath_are_answered_in_order() {
    let mut run = Supervise::with("a: sleep 1000\nb: sleep 1000\n").args(["a=1", "b=1"]).start();
    run.event("started", "b.1");
    let mut client = Client::new(&socket_of(&run));
    let mut writing = client.stream.get_ref().try_clone().expect("a descriptor");
    let writer = thread::spawn(move || {
        let paths = ["/v1/formation", "/v1/version", "/v1/nosuch"];
        let all: String = (0..10_000).map(|number| request("GET", paths[number % 3], "")).collect();
        std::io::Write::write_all(&mut writing, all.as_bytes()).expect("it is heard");
    });
    for number in 0..10_000 {
        let reply = client.reply().expect("an answer");
        let (status, key) = [(200, "a"), (200, "version"), (404, "error")][number % 3];
        assert_eq!(reply.status, status, "{number}");
        assert!(!reply.json()[key].is_null(), "{number}: {reply:?}");
    }
    writer.join().expect("no panic");
    run.is_stopped();
}

#[test]
fn fault_58_clients_that_go_away_leave_nothing_and_take_nothing_back() {
    let mut run = Supervise::with("a: sleep 1000\n").start();
    run.event("started", "a.1");
    let socket = socket_of(&run);
    // Whoever is answered meets a server that has all that it needs.
    assert_eq!(ask(&socket, "GET", "/v1/formation", "").status, 200);
    let before = descriptors(run.pid());
    for _ in 0..50 {
        for bytes in [
            "POST /v1/formation HTTP/1.1\r\ncontent-le".to_owned(),
            "POST /v1/formation HTTP/1.1\r\ncontent-length: 9\r\n\r\n{\"a".to_owned(),
            request("GET", "/v1/processes", ""),
            request("GET", "/v1/logs?follow=true", ""),
        ] {
            Client::new(&socket).write(bytes).expect("it is heard");
        }
    }
    lets_go(&run, before);
    let mut client = Client::new(&socket);
    client.write(request("POST", "/v1/formation?wait=true", r#"{"a":3}"#)).expect("it is heard");
    run.event("started", "a.3");
    drop(client);
    assert_eq!(ask(&socket, "GET", "/v1/formation", "").body, b"{\"a\":3}\n");
    run.is_stopped();
}

#[test]
fn fault_58_whoever_goes_while_waiting_for_what_takes_long_is_forgotten() {
    let supervise = Supervise::with("a: chaos ignore TERM say deaf sleep 1h\n");
    let trace = supervise.directory().app("trace");
    let mut run = supervise.args(["-t", "1h", "--trace", "trace"]).start();
    run.line("a.1", "deaf");
    let socket = socket_of(&run);
    let withdrawn = || fs::read_to_string(&trace).unwrap_or_default().contains("Withdrawn");
    eventually(
        "some who have gone",
        || {
            let mut client = Client::new(&socket);
            client.write(request("POST", "/v1/stop?wait=true", "")).expect("it is heard");
            drop(client);
            // Answered by the loop, behind the other.
            assert_eq!(ask(&socket, "GET", "/v1/formation", "").status, 200);
            withdrawn().then_some(())
        },
        || run.so_far().to_string(),
    );
    assert_eq!(ask(&socket, "POST", "/v1/shutdown", r#"{"drain":"0s"}"#).status, 202);
    run.ends_with(137);
}

#[test]
fn fault_59_a_follower_that_does_not_read_slows_nobody_and_hears_how_much_it_missed() {
    let mut run = Supervise::with("a: chaos gate go spam 200000 say over sleep 1000\n").gate("go").start();
    run.event("started", "a.1");
    let socket = socket_of(&run);
    let mut idle = Client::new(&socket);
    idle.write(request("GET", "/v1/logs?follow=true&target=a", "")).expect("it is heard");
    idle.head().expect("an answer");
    let before = resident_kib(run.pid());
    run.directory().open_gate("go");
    run.line("a.1", "over");
    let grown = resident_kib(run.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more than before");
    let mut next = 1;
    loop {
        let message = idle.message();
        let word = |at| message.split(' ').nth(at).and_then(|word| word.parse::<u64>().ok());
        match (message.as_str(), word(0), word(1)) {
            ("over", ..) => break,
            (_, Some(missed), _) => next += missed,
            (_, None, Some(number)) => {
                assert_eq!(number, next, "{message}");
                next += 1;
            }
            // What was said before the first line.
            (_, None, None) => assert_eq!(next, 1, "{message}"),
        }
    }
    assert_eq!(next, 200_001);
    run.is_stopped();
}

#[test]
fn fault_60_another_user_is_refused_whatever_the_modes_of_the_files_say() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    let supervise = Supervise::with("a: sleep 1000\n");
    let socket = supervise.directory().top().join("open.sock");
    let mut run = supervise.args(["--socket".as_ref(), socket.as_os_str()]).start();
    run.event("started", "a.1");
    eventually("a socket", || socket.exists().then_some(()), || run.so_far().to_string());
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("it is ours");
    // Of a thread alone: the C library's function would change all of them.
    let stranger = thread::spawn({
        let socket = socket.clone();
        move || {
            // SAFETY: no memory is involved; only this thread, which ends soon, has other rights from here.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 12_345, 12_345, 12_345) };
            assert_eq!(changed, 0, "root may become anybody");
            UnixStream::connect(&socket).expect("the modes allow it");
            let mut client = Client::new(&socket);
            // It may be refused before it has asked.
            let _ = client.write(request("POST", "/v1/shutdown", ""));
            client.reply().expect("an answer")
        }
    });
    let reply = stranger.join().expect("no panic");
    assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
    assert_eq!(ask(&socket, "GET", "/v1/formation", "").body, b"{\"a\":1}\n");
    run.is_stopped();
}
