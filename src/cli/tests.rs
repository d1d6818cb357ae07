//! Which lines are understood, and as what.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use super::start::weigh_color;
use super::*;
use crate::api::HealthQuestion;
use crate::app::{Ports, Restart};
use crate::stream::{Choice, WhenGone};

fn parse(line: &str) -> Result<Cli, String> {
    Cli::parse_from(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
}

fn start(line: &str) -> StartArgs {
    match parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command {
        Command::Start(start) => start,
        other => panic!("{line} is a start, not {other:?}"),
    }
}

#[test]
fn the_command_is_well_formed() {
    definition().debug_assert();
}

#[test]
fn start_is_understood_as_if_there_were_other_verbs() {
    let both = |line: &str| {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let alone = Cli::of_start(&words).map(|cli| format!("{cli:?}"));
        (alone, Cli::of_any_verb(&words).map(|cli| format!("{cli:?}")).map_err(|error| error.to_string()))
    };
    for line in [
        "supervise start",
        "supervise start web=2 worker",
        "supervise start -f P -e a,b -e c --env-expand --port 9 -d there check=1",
        "supervise start --no-port --socket none -t 500ms --restart never --fail-fast -vv",
        "supervise start --format json --timestamps never --when-slow drop --detach --log-file log",
        "supervise start --release v3 --state there",
    ] {
        let (alone, among_others) = both(line);
        assert_eq!(alone, Some(among_others.unwrap_or_else(|error| panic!("{line}: {error}"))), "{line}");
    }
    // What there is to be said is said by whoever knows all verbs.
    for line in [
        "supervise",
        "supervise -f P start",
        "supervise check start",
        "supervise start --help",
        "supervise start --nonsense",
        "supervise start --port 9 --no-port",
        "supervise start --release v3 -e a",
    ] {
        assert_eq!(both(line).0, None, "{line}");
    }
}

#[test]
fn flags_of_the_app_stand_before_or_after_the_verb() {
    for line in ["supervise -f P -e a,b -e c check", "supervise check -e a,b -e c -f P"] {
        let cli = parse(line).expect("a valid line");
        assert_eq!(cli.app.procfile, Some("P".into()), "{line}");
        assert_eq!(cli.app.env, ["a", "b", "c"].map(PathBuf::from), "{line}");
    }
}

#[test]
fn what_follows_the_command_of_run_belongs_to_it() {
    for (line, words, env) in [
        ("supervise run grep -e FOO -f x", vec!["grep", "-e", "FOO", "-f", "x"], vec![]),
        ("supervise run -e .env sh -c x", vec!["sh", "-c", "x"], vec![".env"]),
        ("supervise -e .env run -- -weird --help", vec!["-weird", "--help"], vec![".env"]),
    ] {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Run(run) = &cli.command else { panic!("{line} is a run") };
        assert_eq!(run.command, words, "{line}");
        assert_eq!(cli.app.env, env.into_iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
    }
}

#[test]
fn a_flag_that_mirrors_a_key_becomes_a_setting() {
    let cli = parse("supervise start -t 500ms --restart never --no-port web=2").expect("a valid line");
    let inputs = cli.inputs(Vec::new());
    assert_eq!(inputs.flags.drain, Some(Duration::from_millis(500)));
    assert_eq!(inputs.flags.restart, Some(Restart::Never));
    assert_eq!(inputs.ports, Ports::Off);
    assert_eq!(inputs.formation, ["web=2"]);
}

#[test]
fn a_flag_for_color_wins_over_every_variable() {
    let set = Some(OsStr::new("1"));
    for (choice, no_color, force, expected) in [
        (Choice::Auto, None, None, Choice::Auto),
        (Choice::Auto, set, None, Choice::Never),
        (Choice::Auto, None, set, Choice::Always),
        (Choice::Auto, None, Some(OsStr::new("0")), Choice::Auto),
        (Choice::Auto, set, set, Choice::Never),
        (Choice::Always, set, None, Choice::Always),
        (Choice::Never, None, set, Choice::Never),
    ] {
        assert_eq!(weigh_color(choice, no_color, force), expected, "{choice:?} {no_color:?} {force:?}");
    }
    let environment = [("NO_COLOR".into(), "".into()), ("CLICOLOR_FORCE".into(), "1".into())];
    let settings = start("supervise start").stream_settings(&environment, false);
    assert_eq!(settings.color, Choice::Always, "an empty NO_COLOR is none");
}

#[test]
fn as_pid_1_a_reader_that_goes_away_ends_nothing() {
    let plain = start("supervise start");
    assert_eq!(plain.stream_settings(&[], true).when_gone, WhenGone::Drop);
    assert_eq!(plain.stream_settings(&[], false).when_gone, WhenGone::Drain);
    assert_eq!(
        start("supervise start --when-gone drain").stream_settings(&[], true).when_gone,
        WhenGone::Drain
    );
}

#[test]
fn a_socket_is_named_on_either_side_of_the_verb() {
    for line in ["supervise --socket /s ps", "supervise ps --socket /s", "supervise start --socket /s"] {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(cli.app.socket, Some("/s".into()), "{line}");
    }
    assert!(parse("supervise --socket /s ps --socket /s").is_err());
}

#[test]
fn a_log_file_is_for_a_supervisor_that_detaches() {
    let start = start("supervise start -D --log-file x");
    assert_eq!((start.detach, start.log_file, start.log_buffer), (true, Some("x".into()), 32 * 1024));
    assert!(parse("supervise start --log-file x").expect_err("no -D").contains("--detach"));
}

#[test]
fn an_address_alone_is_served_and_a_token_only_with_one() {
    let served = start("supervise start --http 9000");
    assert_eq!(served.http.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9000"));
    assert!(start("supervise start").http().expect("nothing is wrong").is_none());
    assert!(parse("supervise start --token-file x").expect_err("no port").contains("--http"));
    assert!(parse("supervise start --http web:80").expect_err("no address").contains("`web` is no address"));
    let error = start("supervise start --http 9000 --token-file /nowhere/t").http().expect_err("no file");
    assert!(error.contains("`--token-file /nowhere/t`"), "{error}");
}

#[test]
fn health_is_one_question_and_whether_it_is_ready_unless_another_is_asked() {
    for (line, question) in [
        ("health", HealthQuestion::Ready),
        ("health --ready", HealthQuestion::Ready),
        ("health --live", HealthQuestion::Live),
        ("health --startup --json", HealthQuestion::Startup),
    ] {
        let Command::Control(Control::Health(health)) =
            parse(&format!("supervise {line}")).expect("a valid line").command
        else {
            panic!("it is health")
        };
        assert_eq!(health.question(), question, "{line}");
    }
    for line in ["--live --ready", "--live --startup", "--ready --startup"] {
        assert!(parse(&format!("supervise health {line}")).is_err(), "{line}");
    }
}

#[test]
fn a_size_is_bytes_or_so_many_k_or_m() {
    for (size, bytes) in [("4096", 4096), ("1k", 1024), ("1K", 1024), ("2m", 2 << 20), ("1024m", 1 << 30)] {
        assert_eq!(start(&format!("supervise start --log-buffer {size}")).log_buffer, bytes, "{size}");
    }
    for size in
        ["", "k", "1x", "-1k", "1.5k", "0", "1023", "1025m", "99999999999999999999m", "9999999999999m"]
    {
        let line = ["supervise", "start", "--log-buffer", size].map(OsString::from);
        assert!(Cli::parse_from(line).is_err(), "{size}");
    }
}

#[test]
fn f_means_follow_where_lines_are_shown() {
    let Command::Control(Control::Logs(logs)) =
        parse("supervise -f P logs -f").expect("a valid line").command
    else {
        panic!("it is logs")
    };
    assert!(logs.extent.follow);
    let cli = parse("supervise -f P logs -f web").expect("a valid line");
    assert_eq!(cli.app.procfile, Some("P".into()));
}

#[test]
fn ports_are_given_out_or_not() {
    assert!(parse("supervise start -p 3000 --no-port").is_err());
    for line in ["-p 0", "-p 65536", "-p web", "--port-step 0"] {
        assert!(parse(&format!("supervise start {line}")).is_err(), "{line}");
    }
    for line in ["supervise start -p 3000 --port-step 10", "supervise -p 3000 --port-step 10 check"] {
        let inputs = parse(line).expect("a valid line").inputs(Vec::new());
        assert_eq!(inputs.ports, Ports::On { base: Some(3000), step: 10 }, "{line}");
    }
}

#[test]
fn what_stands_on_both_sides_of_the_verb_is_read_in_order_or_refused() {
    let cli = parse("supervise -e a -e b run -e c ls").expect("a valid line");
    assert_eq!(cli.app.env, ["a", "b", "c"].map(PathBuf::from));
    for line in ["-f a start -f b", "-p 1 config -p 2", "--spec a check --spec a", "start -f a -f b"] {
        let error = parse(&format!("supervise {line}")).expect_err(line);
        assert!(error.contains("before and after") || error.contains("multiple times"), "{line}: {error}");
    }
    assert!(parse("supervise -p 3000 start --no-port").is_err());
}

#[test]
fn before_the_command_of_run_only_flags_of_ours_are_flags() {
    for line in ["run --bogus", "run --prot 80 ls", "run -v ls", "run"] {
        assert!(parse(&format!("supervise {line}")).is_err(), "{line}");
    }
}

#[test]
fn a_release_is_named_by_start_run_and_config_and_nothing_may_change_it() {
    let release = |line: &str| match parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command {
        Command::Start(start) => start.which,
        Command::Run(run) => run.which,
        Command::Config(config) => config.which,
        other => panic!("{line} names no release: {other:?}"),
    };
    for line in ["start --release v3 web=2", "run --release v3 ls --release x", "config --release v3 web"] {
        assert_eq!(release(&format!("supervise {line}")).release.as_deref(), Some("v3"), "{line}");
    }
    assert_eq!(release("supervise start --release v3 --state /s").place.state, Some("/s".into()));
    for flag in ["--env x", "--env-expand", "--env-override", "--spec x"] {
        let line = format!("supervise {flag} start --release v3");
        let error = parse(&line).expect_err(&line);
        let word = flag.split(' ').next().expect("it has one");
        assert!(error.contains(&format!("`{word}` has no part in the release `v3`")), "{line}: {error}");
    }
}

#[test]
fn flags_of_the_app_stand_before_or_after_the_verbs_of_a_release() {
    for line in ["-f P -e a release create -e b", "release create -f P -e a -e b"] {
        let cli = parse(&format!("supervise {line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(
            (cli.app.procfile, cli.app.env),
            (Some("P".into()), vec!["a".into(), "b".into()]),
            "{line}"
        );
    }
    for line in ["-p 1 release create", "-e x releases", "--socket x release show", "release -f P show"] {
        assert!(parse(&format!("supervise {line}")).is_err(), "{line}");
    }
    let error = parse("supervise release creat").expect_err("a slip");
    assert!(error.contains("there is no command `release creat`"), "{error}");
    assert!(error.contains("did you mean `release create`? the commands are: `release create`, "), "{error}");
}
