//! What is understood of a request, and what is refused.

use hyper::{Method, StatusCode};
use proptest::prelude::*;

use super::super::edition::OneOff;
use super::routes::{Follow, Wanted, read, resource};
use crate::api::{Change, HealthQuestion, Manner, Verb, When};

fn ask(method: &str, target: &str, body: &str) -> Result<Wanted, (u16, String)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method: Method = method.parse().expect("a method");
    resource(&method, path)
        .and_then(|resource| read(resource, query, body.as_bytes()))
        .map_err(|fault| (fault.status.as_u16(), fault.message))
}

fn verb(method: &str, target: &str, body: &str) -> (Verb, When) {
    match ask(method, target, body) {
        Ok(Wanted::Request(request)) => (request.verb, request.answer),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_refused(status: u16, method: &str, target: &str, body: &str, says: &str) {
    match ask(method, target, body) {
        Err((found, message)) => {
            assert_eq!(found, status, "{message}");
            assert!(message.contains(says), "{message}");
        }
        Ok(wanted) => panic!("{wanted:?}"),
    }
}

#[test]
fn counts_and_differences_keep_their_order() {
    let changes = [("worker", Change::By(2)), ("web", Change::To(6)), ("beat", Change::By(-1))];
    let changes = changes.map(|(name, change)| (name.to_owned(), change)).to_vec();
    let asked = verb("POST", "/v1/formation?wait=true", r#"{"worker":"+2","web":6,"beat":"-1"}"#);
    assert_eq!(asked, (Verb::Scale { changes }, When::Happened));
}

#[test]
fn a_count_is_a_number_or_a_difference_and_nothing_else() {
    for count in [
        "-1",
        "1.5",
        "-1.0",
        "1e10",
        "4294967296",
        r#""6""#,
        r#""=6""#,
        r#""+""#,
        r#""+ 1""#,
        r#""++1""#,
        "null",
        "[1]",
        "true",
    ] {
        is_refused(400, "POST", "/v1/formation", &format!(r#"{{"web":{count}}}"#), "the body: ");
    }
    is_refused(400, "POST", "/v1/formation", r#"{"web":1,"web":2}"#, "`web` is there twice");
    is_refused(400, "POST", "/v1/formation", "{}", "at least one type");
    is_refused(400, "POST", "/v1/formation", "", "missing in the body");
    is_refused(400, "POST", "/v1/formation", "[]", "no JSON object");
}

#[test]
fn what_is_optional_may_be_left_out_with_the_whole_body() {
    for body in ["", "{}", " \n"] {
        assert_eq!(
            verb("POST", "/v1/restart", body),
            (Verb::Restart { targets: vec![], manner: Manner::AtOnce }, When::Accepted)
        );
        assert_eq!(verb("POST", "/v1/stop", body), (Verb::Stop { targets: vec![] }, When::Accepted));
        assert_eq!(verb("POST", "/v1/reload", body), (Verb::Reload, When::Accepted));
        assert_eq!(verb("POST", "/v1/shutdown", body), (Verb::Shutdown { drain: None }, When::Accepted));
    }
    is_refused(400, "POST", "/v1/signal", "{}", "missing field `signal`");
}

#[test]
fn a_restart_is_all_at_once_unless_it_is_to_roll() {
    for (body, manner) in [
        (r#"{"rolling":true}"#, Manner::Rolling),
        (r#"{"rolling":false}"#, Manner::AtOnce),
        ("", Manner::AtOnce),
    ] {
        let (asked, _) = verb("POST", "/v1/restart", body);
        assert_eq!(asked, Verb::Restart { targets: vec![], manner }, "{body}");
    }
    is_refused(400, "POST", "/v1/restart", r#"{"rolling":1}"#, "the body: ");
    is_refused(400, "POST", "/v1/stop", r#"{"rolling":true}"#, "unknown field `rolling`");
}

#[test]
fn one_of_three_questions_about_health_is_asked() {
    for (target, question) in [
        ("/v1/health", HealthQuestion::Ready),
        ("/v1/health?check=ready", HealthQuestion::Ready),
        ("/v1/health?check=live", HealthQuestion::Live),
        ("/v1/health?check=startup", HealthQuestion::Startup),
        ("/health/live", HealthQuestion::Live),
        ("/health/ready", HealthQuestion::Ready),
        ("/health/startup", HealthQuestion::Startup),
    ] {
        assert_eq!(ask("GET", target, ""), Ok(Wanted::Health(question)), "{target}");
    }
    is_refused(400, "GET", "/v1/health?check=well", "", "live, ready or startup, not `well`");
    is_refused(400, "GET", "/health/live?check=live", "", "no parameter `check`");
    is_refused(404, "GET", "/health", "", "nothing of that path");
    is_refused(405, "POST", "/metrics", "", "`/metrics` takes GET, HEAD");
}

#[test]
fn to_wait_may_be_said_in_either_place() {
    for (target, body, answer) in [
        ("/v1/stop", r#"{"wait":true}"#, When::Happened),
        ("/v1/stop?wait=true", "", When::Happened),
        ("/v1/stop?wait=true", r#"{"wait":false}"#, When::Happened),
        ("/v1/stop?wait=false", r#"{"targets":["web"]}"#, When::Accepted),
    ] {
        assert_eq!(verb("POST", target, body).1, answer, "{target} {body}");
    }
}

#[test]
fn a_signal_a_drain_and_targets_are_read_as_on_the_command_line() {
    let (asked, _) = verb("POST", "/v1/signal", r#"{"signal":"HUP","targets":["web","web.2","w*"]}"#);
    let Verb::Signal { signal, targets } = asked else { panic!("{asked:?}") };
    assert_eq!((signal.number(), targets.len()), (1, 3));
    is_refused(400, "POST", "/v1/signal", r#"{"signal":"TREM"}"#, "`TREM` is no signal");
    is_refused(400, "POST", "/v1/stop", r#"{"targets":["["]}"#, "`[` is no pattern");
    is_refused(400, "POST", "/v1/stop", r#"{"targets":[""]}"#, "a target is");
    let (asked, _) = verb("POST", "/v1/shutdown", r#"{"drain":"1.5s"}"#);
    assert_eq!(asked, Verb::Shutdown { drain: Some(std::time::Duration::from_millis(1500)) });
    is_refused(400, "POST", "/v1/shutdown", r#"{"drain":"soon"}"#, "`drain`: a duration is");
    is_refused(400, "POST", "/v1/shutdown", r#"{"drain":null}"#, "the body: ");
}

#[test]
fn nobody_keeps_the_loop_with_targets_without_end() {
    let targets = |count| format!(r#"{{"targets":{:?},"signal":"HUP"}}"#, vec!["web.1"; count]);
    assert!(matches!(verb("POST", "/v1/signal", &targets(100)).0, Verb::Signal { .. }));
    is_refused(400, "POST", "/v1/signal", &targets(101), "101 targets are too many");
    for path in ["/v1/stop", "/v1/restart"] {
        let body = format!(r#"{{"targets":{:?}}}"#, vec!["web.1"; 101]);
        is_refused(400, "POST", path, &body, "or a pattern");
    }
    let query = vec!["target=web.1"; 101].join("&");
    is_refused(400, "GET", &format!("/v1/logs?{query}"), "", "too many");
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    is_refused(400, "POST", "/v1/stop", r#"{"target":["web"]}"#, "unknown field `target`");
    is_refused(400, "POST", "/v1/stop", r#"{"wait":true,"wait":true}"#, "duplicate field `wait`");
    is_refused(400, "POST", "/v1/stop?drain=3s", "", "no parameter `drain`");
    is_refused(400, "GET", "/v1/processes?wait=true", "", "no parameter `wait`");
    is_refused(400, "GET", "/v1/processes", "{}", "takes no body");
    for path in
        ["/", "", "*", "/v1", "/v1/", "/v1/processes/", "/v2/processes", "/V1/processes", "//v1/processes"]
    {
        is_refused(404, "GET", path, "", "nothing of that path");
    }
}

#[test]
fn a_release_is_named_by_its_number() {
    let asked = verb("POST", "/v1/deploy", r#"{"release":"v4","wait":true}"#);
    assert_eq!(asked, (Verb::Deploy { release: "v4".to_owned() }, When::Happened));
    for release in ["4", "v", "v0", "v04", "V4", "v-1", "v4 ", "current", "v9999999999", "../v4"] {
        let body = serde_json::json!({ "release": release }).to_string();
        is_refused(400, "POST", "/v1/deploy", &body, "a release is called v1");
    }
    is_refused(400, "POST", "/v1/deploy", "{}", "missing field `release`");
    is_refused(400, "POST", "/v1/deploy", "", "missing in the body");
}

#[test]
fn what_runs_once_is_a_command_or_that_of_a_type() {
    let run = |target: &str, body: &str| match ask("POST", target, body) {
        Ok(Wanted::Run { command, answer }) => (command, answer),
        other => panic!("{other:?}"),
    };
    let words = [&b"sh"[..], b"-c", b"echo $HOME"].map(<[u8]>::to_vec).to_vec();
    let asked = run("/v1/run", r#"{"command":["sh","-c","echo $HOME"]}"#);
    assert_eq!(asked, (OneOff::Words(words), When::Accepted));
    let worker = "worker".parse().expect("a name");
    assert_eq!(run("/v1/run?wait=true", r#"{"type":"worker"}"#), (OneOff::Of(worker), When::Happened));
    for (body, reason) in [
        ("{}", "name a `command`"),
        (r#"{"command":["x"],"type":"web"}"#, "name a `command`"),
        (r#"{"command":[]}"#, "there are none"),
        (r#"{"command":["a\u0000b"]}"#, "NUL"),
        (r#"{"command":"ls -l"}"#, "the body"),
        (r#"{"command":null}"#, "the body"),
    ] {
        is_refused(400, "POST", "/v1/run", body, reason);
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW"] {
        let method: Method = method.parse().expect("a method");
        let fault = resource(&method, "/v1/formation").expect_err("no such method");
        assert_eq!(
            (fault.status, fault.allow.as_deref()),
            (StatusCode::METHOD_NOT_ALLOWED, Some("GET, POST, HEAD"))
        );
    }
}

#[test]
fn a_query_is_decoded_once() {
    let wanted =
        ask("GET", "/v1/logs?follow=true&n=100&target=web%2E*&target=a%2Bb&&", "").expect("a request");
    let Wanted::Logs { targets, last, follow } = wanted else { panic!("{wanted:?}") };
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    assert_eq!(
        (targets.as_slice(), last, follow),
        (["web.*".to_owned(), "a+b".to_owned()].as_slice(), Some(100), Follow::Yes)
    );
    is_refused(400, "GET", "/v1/logs?n=1&n=2", "", "`n` is there 2 times");
    for n in ["-1", "", "+1", "%2B1", "1.5", "-1.0", "1e10", "x"] {
        is_refused(400, "GET", &format!("/v1/logs?n={n}"), "", "`n` is a number");
    }
    for query in ["n=%", "n=%4", "n=%zz", "target=%ff"] {
        is_refused(400, "GET", &format!("/v1/logs?{query}"), "", "not encoded");
    }
    is_refused(400, "GET", "/v1/logs?follow", "", "`follow` is true or false");
    is_refused(400, "GET", "/v1/events?target=web", "", "no parameter `target`");
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd_to_be_answered(
        method in "[A-Z]{1,8}|GET|POST",
        path in prop_oneof!["/v1/(processes|services|formation|restart|stop|signal|reload|shutdown|logs|events|health)", ".{0,40}"],
        query in prop_oneof!["((wait|follow|n|target|check)=[a-z0-9%.*\\[+-]{0,9}&?){0,4}", ".{0,60}"],
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{("(web|targets|wait|signal|drain|rolling)":("[+-]?[0-9a-zA-Z.\[*]{0,5}"|-?[0-9]{1,12}|true|false|null|\[("[a-z*.\[]{0,4}",?){0,2}\]),?){0,3}\}"#
                .prop_map(String::into_bytes),
        ],
    ) {
        match super::understand(method.as_bytes(), &path, &query, &body) {
            Ok(wanted) => prop_assert!(!wanted.is_empty()),
            Err((status, code, message)) => {
                prop_assert!([400, 404, 405].contains(&status), "{status}");
                prop_assert!(!code.is_empty() && !message.is_empty());
            }
        }
    }
}
