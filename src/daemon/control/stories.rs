//! Conversations with a served socket, letter by letter, with a played formation behind it.

use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::BODY_BYTES;
use super::hall::{CONNECTIONS, STANDING};
use super::http::{Client, PATIENCE, request};
use super::server::HEADER_TIME;
use super::testing::{Rig, eventually};

#[test]
fn everybody_and_what_they_use_is_told() {
    let rig = Rig::new();
    let reply = rig.ask("GET", "/v1/processes", "");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let json = reply.json();
    assert_eq!(json["formation"].to_string(), r#"{"web":2,"worker":1}"#);
    assert_eq!(json["processes"][0]["name"], "web.1");
    assert!(json["processes"][0]["rss_bytes"].as_u64() > Some(1_000_000), "{json}");
    assert!(json["processes"][0]["cpu_ms"].is_u64() && json["processes"][1]["rss_bytes"].is_null(), "{json}");
    assert_eq!(rig.ask("GET", "/v1/formation", "").body, b"{\"web\":2,\"worker\":1}\n");
}

#[test]
fn what_is_accepted_is_202_and_what_has_happened_200() {
    let rig = Rig::new();
    let reply = rig.ask("POST", "/v1/formation", r#"{"web":"+2"}"#);
    assert_eq!((reply.status, reply.json()["formation"]["web"].as_u64()), (202, Some(4)));
    let reply = rig.ask("POST", "/v1/formation?wait=true", r#"{"web":1}"#);
    assert_eq!((reply.status, reply.json()["formation"]["web"].as_u64()), (200, Some(1)));
}

#[test]
fn each_refusal_has_its_status_and_its_word() {
    let rig = Rig::new();
    for (path, body, status, code) in [
        ("/v1/formation", r#"{"web":9}"#, 422, "over_max"),
        ("/v1/formation", r#"{"web":"-3"}"#, 422, "below_zero"),
        ("/v1/formation", r#"{"nosuch":1}"#, 404, "unknown_process_type"),
        ("/v1/stop", r#"{"targets":["nosuch"]}"#, 404, "unknown_target"),
        ("/v1/signal", r#"{"signal":"HUP"}"#, 409, "not_running"),
        ("/v1/reload", "", 422, "invalid_configuration"),
        ("/v1/restart", "{", 400, "bad_request"),
        ("/v1/nosuch", "", 404, "not_found"),
        ("/v1/processes", "", 405, "method_not_allowed"),
    ] {
        let reply = rig.ask("POST", path, body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path} {body}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    assert_eq!(rig.ask("PUT", "/v1/formation", "").header("allow"), Some("GET, POST, HEAD"));
    let reply = rig.ask("GET", "/v1/logs?target=nosuch.1", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_target"));
}

#[test]
fn lines_that_were_said_are_told_and_a_follower_hears_those_that_come() {
    let mut rig = Rig::new();
    rig.say("one");
    let mut client = rig.connect();
    eventually("it is kept", || {
        let reply = rig.ask("GET", "/v1/logs", "");
        if reply.body.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
    });
    for target in ["", "?target=web", "?target=web.1&target=web.7&n=1", "?target=w*.1"] {
        client.write(request("GET", &format!("/v1/logs{target}"), "")).expect("it is heard");
        let head = client.head().expect("an answer");
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, Some("application/x-ndjson")),
            "{target}"
        );
        assert_eq!(client.message(), "one");
        assert_eq!(client.piece().expect("the end"), b"");
    }
    for target in ["?target=web.7", "?target=worker", "?target=supervise", "?n=0"] {
        assert_eq!(rig.ask("GET", &format!("/v1/logs{target}"), "").body, b"", "{target}");
    }
    client.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
    client.head().expect("an answer");
    assert_eq!(client.message(), "one");
    for line in ["two", "three"] {
        rig.say(line);
        assert_eq!(client.message(), line);
    }
    rig.end_of_the_stream();
    assert_eq!(client.piece().expect("the end"), b"");
}

#[test]
fn fault_55_whatever_is_no_http_gets_one_error_and_the_end_of_the_connection() {
    let rig = Rig::new();
    let many = "x: y\r\n".repeat(65);
    for (bytes, status) in [
        (&b"\0\0\0\0\r\n\r\n"[..], Some("400")),
        (b"GET /v1/processes HTTP/1.1\r\nhost: a\0b\r\n\r\n", Some("400")),
        (b"GET /v1/pro\0cesses HTTP/1.1\r\n\r\n", Some("400")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some("400")),
        (b"{\"formation\":{}}\n\n\r\n\r\n", Some("400")),
        (b"GET\r\n\r\n", Some("400")),
        (b"GET /v1/processes HTTP/9.9\r\n\r\n", Some("400")),
        (b"POST /v1/stop HTTP/1.1\r\ncontent-length: -1\r\n\r\n", Some("400")),
        (b"POST /v1/stop HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Some("400")),
        (b"POST /v1/stop HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Some("400")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (format!("GET /v1/processes HTTP/1.1\r\n{many}\r\n").as_bytes(), Some("431")),
        (format!("GET /v1/processes HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000)).as_bytes(), Some("431")),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(20_000)).as_bytes(), Some("4")),
    ] {
        let mut client = rig.connect();
        // It may be answered before all is written.
        let _ = client.write(bytes);
        let answer = String::from_utf8_lossy(&client.rest()).into_owned();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{shown}: {answer}");
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
        }
    }
    assert_eq!(rig.ask("GET", "/v1/processes", "").status, 200);
    assert_eq!(rig.asked.load(Ordering::SeqCst), 1, "nothing of that came to the loop");
}

#[test]
fn fault_55_ten_mebibytes_of_anything_are_turned_away() {
    let rig = Rig::new();
    for _ in 0..10 {
        let mut headers = rig.connect();
        flood(&mut headers, b"GET /v1/processes HTTP/1.1\r\nx: ");
        assert!(headers.rest().starts_with(b"HTTP/1.1 431"));

        let mut body = rig.connect();
        flood(&mut body, b"POST /v1/formation HTTP/1.1\r\ncontent-length: 10485760\r\n\r\n");
        let reply = body.reply().expect("an answer");
        assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"));

        let mut pieces = rig.connect();
        flood(&mut pieces, b"POST /v1/formation HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA00000\r\n");
        assert_eq!(pieces.reply().expect("an answer").status, 413);
    }
    let just_right = format!("{{{}}}", " ".repeat(BODY_BYTES - 2));
    assert_eq!(rig.ask("POST", "/v1/stop", &just_right).status, 202);
    assert_eq!(rig.ask("POST", "/v1/stop", &format!("{just_right} ")).status, 413);
}

/// Ten mebibytes, unless the other side has heard enough.
fn flood(client: &mut Client, beginning: &[u8]) {
    let piece = vec![b'a'; 64 * 1024];
    if client.write(beginning).is_ok() {
        for _ in 0..160 {
            if client.write(&piece).is_err() {
                return;
            }
        }
    }
}

#[test]
fn fault_56_whoever_only_holds_connections_keeps_nobody_out_and_is_sent_away() {
    let rig = Rig::new();
    let begin = Instant::now();
    let mut slow: Vec<Client> = (0..200).map(|_| rig.connect()).collect();
    for client in &mut slow {
        // Those that had to give way cannot.
        let _ = client.write("GET /v1/processes HTTP/1.1\r\n");
    }
    let mut client = rig.connect();
    assert_eq!(client.ask("GET", "/v1/processes", "").status, 200);
    assert!(begin.elapsed() < HEADER_TIME, "it did not have to wait for their time to be over");
    for client in &mut slow {
        assert_eq!(client.rest(), b"", "nobody has asked anything");
    }
    assert!(begin.elapsed() >= HEADER_TIME, "the last of them had their time");
}

#[test]
fn fault_56_a_body_that_does_not_come_is_not_waited_for() {
    let rig = Rig::new();
    let mut client = rig.connect();
    client.write("POST /v1/stop HTTP/1.1\r\ncontent-length: 10\r\n\r\n{").expect("it is heard");
    let reply = client.reply().expect("an answer");
    assert_eq!((reply.status, reply.code().as_str()), (408, "too_slow"));
    assert_eq!(client.rest(), b"");
    assert_eq!(rig.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn who_follows_leaves_places_for_short_questions() {
    let rig = Rig::new();
    let mut followers: Vec<Client> = (0..STANDING).map(|_| rig.connect()).collect();
    for follower in &mut followers {
        follower.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
        assert_eq!(follower.head().expect("an answer").status, 200);
    }
    let reply = rig.ask("GET", "/v1/logs?follow=true", "");
    assert_eq!((reply.status, reply.code().as_str()), (503, "too_many_clients"));
    let _idle: Vec<Client> = (0..CONNECTIONS).map(|_| rig.connect()).collect();
    assert_eq!(rig.ask("GET", "/v1/processes", "").status, 200);
    rig.say("still here");
    for follower in &mut followers {
        assert_eq!(follower.message(), "still here", "nobody was sent away");
    }
    followers.pop();
    eventually("a place for another follower", || {
        let mut client = rig.connect();
        client.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
        match client.head().expect("an answer").status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    });
}

#[test]
fn fault_57_ten_thousand_requests_in_one_breath_are_answered_in_order() {
    let rig = Rig::new();
    let mut client = rig.connect();
    let mut writing = client.stream.get_ref().try_clone().expect("a descriptor");
    let writer = thread::spawn(move || {
        let mut all = String::new();
        for number in 0..10_000 {
            all += &request("POST", "/v1/formation", &format!(r#"{{"web":{}}}"#, number % 9));
        }
        writing.write_all(all.as_bytes()).expect("it is heard");
    });
    for number in 0..10_000_u64 {
        let reply = client.reply().expect("an answer");
        assert_eq!(
            (reply.status, reply.json()["formation"]["web"].as_u64()),
            (202, Some(number % 9)),
            "{number}"
        );
    }
    writer.join().expect("no panic");
}

#[test]
fn fault_58_what_was_asked_happens_though_nobody_waits_for_the_answer() {
    let rig = Rig::new();
    for _ in 0..100 {
        // In the middle of a request, of an answer, and of waiting for one.
        rig.connect().write("POST /v1/formation HTTP/1.1\r\ncontent-le").expect("it is heard");
        rig.connect()
            .write("POST /v1/formation HTTP/1.1\r\ncontent-length: 9\r\n\r\n{\"web")
            .expect("it is heard");
        rig.connect().write(request("GET", "/v1/processes", "")).expect("it is heard");
    }
    let before = rig.asked.load(Ordering::SeqCst);
    let mut waiting: Vec<Client> = (0..STANDING).map(|_| rig.connect()).collect();
    for client in &mut waiting {
        client.write(request("POST", "/v1/shutdown?wait=true", "")).expect("it is heard");
    }
    eventually("all have asked", || {
        let asked = rig.asked.load(Ordering::SeqCst) - before;
        if asked >= STANDING { Ok(()) } else { Err(format!("{asked} of {STANDING}")) }
    });
    let reply = rig.ask("POST", "/v1/formation?wait=true", r#"{"web":3}"#);
    assert_eq!(reply.status, 503, "all places to wait are taken");
    drop(waiting);
    eventually("their places are free", || {
        let reply = rig.ask("POST", "/v1/formation?wait=true", r#"{"web":3}"#);
        if reply.status == 200 { Ok(()) } else { Err(format!("{reply:?}")) }
    });
}

#[test]
fn fault_59_a_follower_that_does_not_read_hinders_nobody_and_is_told_what_it_missed() {
    let rig = Rig::new();
    let mut idle = rig.connect();
    idle.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
    idle.head().expect("an answer");
    let mut reads = rig.connect();
    reads.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
    reads.head().expect("an answer");
    let filler = "x".repeat(1000);
    let (mut said, mut heard) = (0, 0);
    for _ in 0..200 {
        for _ in 0..100 {
            rig.say(&format!("{said} {filler}"));
            said += 1;
        }
        assert_eq!(rig.ask("GET", "/v1/formation", "").status, 200);
        while heard < said {
            let message = reads.message();
            let number = message.split_once(' ').and_then(|(number, _)| number.parse().ok());
            assert_eq!(number, Some(heard), "{message:.100}");
            heard += 1;
        }
    }
    // It is told how much it has missed, and goes on with what is still kept.
    let (mut next, mut missed) = (0, 0);
    while next < said {
        let message = idle.message();
        let number: i32 = message.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        if message.ends_with(&filler) {
            assert_eq!(number, next, "{message:.100}");
            next += 1;
        } else {
            assert!(message.contains("missed"), "{message:.100}");
            next += number;
            missed += number;
        }
    }
    assert!(missed > said / 2, "{missed} of {said} missed");
}

#[test]
fn fault_54_a_removed_socket_is_made_anew_when_asked_to_be() {
    let rig = Rig::new();
    let mut before = rig.connect();
    assert_eq!(before.ask("GET", "/v1/formation", "").status, 200);
    fs::remove_file(&rig.socket).expect("it is there");
    rig.remake();
    eventually("a new socket", || if rig.socket.exists() { Ok(()) } else { Err("none".to_owned()) });
    assert_eq!(rig.ask("GET", "/v1/formation", "").status, 200);
    assert_eq!(before.ask("GET", "/v1/formation", "").status, 200, "who was there goes on");
}

#[test]
fn the_end_waits_for_nobody_who_is_idle() {
    let mut rig = Rig::new();
    let mut asked = rig.connect();
    assert_eq!(asked.ask("GET", "/v1/formation", "").status, 200);
    let mut silent = rig.connect();
    eventually("it is accepted", || silent.write("").map_err(|error| error.to_string()));
    let took = rig.finish(PATIENCE);
    assert!(took < PATIENCE / 2, "{took:?}");
    assert!(!rig.socket.exists());
    assert_eq!((asked.rest(), silent.rest()), (vec![], vec![]));
}

#[test]
fn the_end_lets_followers_hear_the_last_words_and_waits_no_longer_than_its_limit() {
    let mut rig = Rig::new();
    let mut follower = rig.connect();
    follower.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
    follower.head().expect("an answer");
    rig.say("the last words");
    rig.end_of_the_stream();
    let took = rig.finish(PATIENCE);
    assert!(took < PATIENCE / 2, "{took:?}");
    let heard = String::from_utf8(follower.rest()).expect("text");
    assert!(heard.contains("the last words") && heard.ends_with("0\r\n\r\n"), "{heard}");

    let mut rig = Rig::new();
    let mut follower = rig.connect();
    follower.write(request("GET", "/v1/logs?follow=true", "")).expect("it is heard");
    follower.head().expect("an answer");
    let limit = Duration::from_millis(100);
    let took = rig.finish(limit);
    assert!(took >= limit && took < PATIENCE / 2, "{took:?}");
}
