//! The verbs that ask a supervisor: what is asked, what is shown, and with which exit code.

use super::fake::{Fake, PROCESSES, SERVICES};
use super::test::Test;

/// An answer to a request that changes something.
fn effects(formation: &str, processes: &[(&str, &str, &str)]) -> String {
    let each = |(name, will, state): &(&str, &str, &str)| {
        format!(r#"{{"name":"{name}","will":"{will}","state":"{state}"}}"#)
    };
    let processes: Vec<String> = processes.iter().map(each).collect();
    format!(r#"{{"formation":{formation},"processes":[{}]}}"#, processes.join(","))
}

fn test(fake: &Fake, arguments: &str) -> Test {
    Test::new(&format!("{arguments} {}", fake.named()))
}

#[test]
fn ps_is_a_table_in_formation_order() {
    let fake = Fake::new();
    test(&fake, "ps").run_golden("table.txt");
    test(&fake, "ps --color always").run_golden("table-color.txt");
    test(&fake, "ps").variable("CLICOLOR_FORCE", "1").run_golden("table-color.txt");
    test(&fake, "ps").variable("CLICOLOR_FORCE", "1").variable("NO_COLOR", "1").run_golden("table.txt");
}

#[test]
fn ps_as_json_is_the_answer_as_it_is() {
    let fake = Fake::new();
    test(&fake, "ps --json").stdout(&format!("{PROCESSES}\n")).run();
    test(&fake, "ps").variable("SUPERVISE_JSON", "1").stdout(&format!("{PROCESSES}\n")).run();
}

#[test]
fn services_are_a_table_with_the_reason_of_each_that_does_not_answer() {
    let fake = Fake::new();
    test(&fake, "services").run_golden("services-table.txt");
    test(&fake, "services --json").stdout(&format!("{SERVICES}\n")).run();
    test(&fake, "services --color always")
        .stdout(
            "NAME          KIND       HOST            STATE                TIME\n\
            DATABASE_URL  postgres   db:5432         \x1b[32manswers\x1b[0m              3ms\n\
            REDIS_URL     redis      localhost:6379  \x1b[31mconnection refused\x1b[0m   0ms\n\
            BAD_URL       somewhere  -               \x1b[31mits value is no URL\x1b[0m  0ms\n",
        )
        .run();
    assert_eq!(fake.asked(), ["GET /v1/services"; 3]);
}

#[test]
fn ps_fits_a_terminal() {
    let path = format!("{}/tests/cli/golden/table.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the golden file is there");
    assert!(text.lines().count() == 4 && text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn scale_without_words_shows_the_formation() {
    let fake = Fake::new();
    test(&fake, "scale").stdout("web=2 worker=1\n").run();
    assert_eq!(fake.asked(), ["GET /v1/formation"]);
}

#[test]
fn scale_says_what_will_happen() {
    let will = [("web.3", "start", "pending"), ("web.4", "start", "pending"), ("web.1", "stay", "running")];
    let fake = Fake::new().answers("POST /v1/formation", 202, effects(r#"{"web":4,"worker":1}"#, &will));
    test(&fake, "scale web=4,worker+0")
        .stdout("web: 2 -> 4\nweb.3, web.4 will start\nweb.1 stays running\n")
        .run();
    assert_eq!(fake.asked()[1], r#"POST /v1/formation {"web":4,"worker":"+0"}"#);
}

#[test]
fn scale_with_wait_says_what_has_happened_and_fails_where_something_does_not_run() {
    let done = |state| {
        let processes = [("web.3", "start", "running"), ("web.4", "start", state)];
        let answer = effects(r#"{"web":4,"worker":1}"#, &processes);
        Fake::new().answers("POST /v1/formation?wait=true", 200, answer)
    };
    test(&done("running"), "scale --wait web+2")
        .stdout("web: 2 -> 4\nweb.3, web.4 started, now running\n")
        .run();
    test(&done("backoff"), "scale --wait web+2")
        .stdout("web: 2 -> 4\nweb.3 started, now running\nweb.4 started, now backoff\n")
        .code(1)
        .run();
}

#[test]
fn an_exact_name_wins_over_a_minus() {
    let formation = r#"{"a":3,"a-1":1}"#;
    let fake = || {
        let fake = Fake::new().answers("GET /v1/formation", 200, formation);
        fake.answers("POST /v1/formation", 202, effects(formation, &[]))
    };
    for (words, body) in [("a-1=2", r#"{"a-1":2}"#), ("a-2", r#"{"a":"-2"}"#), ("a-1-1", r#"{"a-1":"-1"}"#)] {
        let fake = fake();
        test(&fake, &format!("scale {words}")).stdout("nothing to do\n").run();
        assert_eq!(fake.asked()[1], format!("POST /v1/formation {body}"));
    }
    let fake = fake();
    test(&fake, "scale a-1").code(2).stderr_says(&["error: `a-1`: a count is missing", "`web=6`"]).run();
    assert_eq!(fake.asked(), ["GET /v1/formation"]);
}

#[test]
fn t74_words_that_mean_nothing_are_not_sent() {
    let fake = Fake::new();
    for words in ["web", "web=x", "web=-1", "web==1", "=1", "web=1,,", "web=1 web=2"] {
        test(&fake, &format!("scale {words}")).code(2).stderr_says(&["error: `", "\n  help: "]).run();
    }
    assert_eq!(fake.asked(), [""; 0]);
}

#[test]
fn targets_are_sent_as_they_are() {
    for (verb, will, says) in [("restart", "restart", "will restart"), ("stop", "stop", "will stop")] {
        let processes = [("web.1", will, "running"), ("web.2", will, "running"), ("web.3", will, "running")];
        let fake = Fake::new().answers(&format!("POST /v1/{verb}"), 202, effects("{}", &processes));
        test(&fake, &format!("{verb} web wor*.1")).stdout(&format!("web.1 to web.3 {says}\n")).run();
        test(&fake, verb).stdout(&format!("web.1 to web.3 {says}\n")).run();
        let asked = [r#"{"targets":["web","wor*.1"]}"#, r#"{"targets":[]}"#];
        assert_eq!(fake.asked(), asked.map(|body| format!("POST /v1/{verb} {body}")));
    }
    let fake = Fake::new();
    test(&fake, "stop").argument("[").code(2).stderr_says(&["`[` is no pattern"]).run();
    assert_eq!(fake.asked(), [""; 0]);
}

#[test]
fn stop_with_wait_returns_when_it_is_gone() {
    let processes = [("web.1", "stop", "stopped"), ("web.2", "stop", "stuck"), ("web.3", "stay", "stopped")];
    let fake = Fake::new().answers("POST /v1/stop?wait=true", 200, effects("{}", &processes));
    test(&fake, "stop --wait web")
        .stdout("web.1 stopped\nweb.2 stopped, now stuck\nweb.3 stays stopped\n")
        .run();
}

#[test]
fn a_signal_is_named_in_many_ways_and_sent_in_one() {
    let processes = [("web.1", "signal", "running")];
    for (signal, sent, said) in
        [("SIGHUP", "HUP", "SIGHUP"), ("1", "HUP", "SIGHUP"), ("rtmin+3", "RTMIN+3", "SIGRTMIN+3")]
    {
        let fake = Fake::new().answers("POST /v1/signal", 202, effects("{}", &processes));
        test(&fake, &format!("signal {signal} web")).stdout(&format!("web.1 will get {said}\n")).run();
        assert_eq!(fake.asked(), [format!(r#"POST /v1/signal {{"signal":"{sent}","targets":["web"]}}"#)]);
    }
    let fake = Fake::new();
    test(&fake, "signal TREM").code(2).stderr_says(&["`TREM` is no signal", "kill -l"]).run();
    test(&fake, "signal").code(2).stderr_says(&["<SIG>"]).run();
}

#[test]
fn reload_says_what_changes() {
    let processes =
        [("web.1", "stay", "running"), ("worker.1", "restart", "running"), ("cron.1", "start", "pending")];
    let fake =
        Fake::new().answers("POST /v1/reload", 202, effects(r#"{"web":2,"worker":1,"cron":1}"#, &processes));
    test(&fake, "reload")
        .stdout("cron: new, 1\nweb.1 stays running\nworker.1 will restart\ncron.1 will start\n")
        .run();
    assert_eq!(fake.asked()[1], "POST /v1/reload {}");
}

#[test]
fn t80_a_refusal_is_told_as_it_is() {
    let refusal =
        r#"{"error":{"code":"unknown_target","message":"`wbe` means nobody; the types are `web`\u001b[2J"}}"#;
    let fake = Fake::new().answers("POST /v1/restart", 404, refusal).answers("POST /v1/stop", 500, "oh");
    test(&fake, "restart wbe")
        .code(1)
        .stderr("error: `wbe` means nobody; the types are `web`\u{fffd}[2J\n")
        .run();
    test(&fake, "stop web").code(1).stderr_says(&["error: the supervisor answered 500"]).run();
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let fake = Fake::new()
        .answers_raw("GET /v1/processes", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{")
        .answers("GET /v1/formation", 200, "[]");
    // It hears nothing more, so this one ends by itself: the connection is closed on a request without an answer.
    test(&fake, "stop").code(1).stderr_says(&["closed the connection before it had answered"]).run();
    test(&fake, "scale")
        .code(1)
        .stderr_says(&["error: the supervisor gave an answer that cannot be read", "`supervise --version`"])
        .run();
}

#[test]
fn a_flag_that_means_nothing_to_a_verb_is_refused_on_both_sides() {
    let fake = Fake::new();
    for line in ["-p 3000 ps", "ps -p 3000", "--spec x scale", "ps --no-port", "reload --color never"] {
        test(&fake, line).code(2).stderr_says(&["error: "]).run();
    }
    Test::new("--socket x check").code(2).stderr_says(&["`--socket` means nothing to `check`"]).run();
    Test::new("-f x man").code(2).stderr_says(&["`--procfile` means nothing to `man`"]).run();
    test(&fake, "ps").variable("SUPERVISE_PORT", "3000").run_golden("table.txt");
}
