//! Every flag of `start` has a variable that means exactly what the flag means.
//!
//! A flag reads its variable when it is defined, so each line is read in a process of its own: this test program again.

use std::collections::BTreeSet;
use std::process::Command;

use clap::Arg;

use super::*;

/// What is asked of [`one_line`].
const LINE: &str = "CLI_TEST_LINE";

/// What `supervise LINE` is understood as, with these variables and no others.
fn understood(line: &str, variables: &[(&str, &str)]) -> String {
    let program = std::env::current_exe().expect("we are a program");
    let mut command = Command::new(program);
    command.args(["--exact", "cli::variables_tests::one_line", "--nocapture"]).env_clear();
    let output =
        command.env(LINE, line).envs(variables.iter().copied()).output().expect("it can be started again");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, after) = text.split_once("understood: ").unwrap_or_else(|| panic!("{line}: {text}"));
    after.split_once(" :understood").expect("it has an end").0.to_owned()
}

/// Reads one line where there is one: in the process that [`understood`] starts.
#[test]
fn one_line() {
    let Ok(line) = std::env::var(LINE) else { return };
    let words = ["supervise"].into_iter().chain(line.split_whitespace());
    let understood = match Cli::parse_from(words.map(OsString::from)) {
        // Alternate: no two of them look alike, and an error has lines as well.
        Ok(cli) => format!("{cli:#?}"),
        Err(error) => format!("refused: {error}"),
    };
    println!("understood: {understood} :understood");
}

/// What of `start` can be set: its flags and its formation.
fn settable() -> Vec<Arg> {
    let start = definition().get_subcommands().find(|verb| verb.get_name() == "start").cloned();
    let start = start.expect("there is a `start`");
    start
        .get_arguments()
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .cloned()
        .collect()
}

fn variable(arg: &Arg) -> String {
    let named = arg.get_long().map_or_else(|| arg.get_id().to_string(), str::to_owned);
    format!("SUPERVISE_{}", named.to_uppercase().replace('-', "_"))
}

/// Words after `start`, and the same as a variable; `{}` is the flag's own name. A new flag has to be given a line here.
fn sample(id: &str) -> (&'static str, &'static str) {
    match id {
        "formation" => ("web=4 worker=8", "web=4 worker=8"),
        "procfile" => ("{} Procfile.dev", "Procfile.dev"),
        "root" => ("{} app", "app"),
        "env" => ("{} a.env {} b.env", "a.env,b.env"),
        "spec" => ("{} other.yml", "other.yml"),
        "port" => ("{} 8000", "8000"),
        "port_step" => ("{} 1000", "1000"),
        "socket" => ("{} none", "none"),
        "drain" => ("{} 25s", "25s"),
        "restart" => ("{} never", "never"),
        "leftovers" => ("{} fail", "fail"),
        "http" => ("{} 0.0.0.0:9000", "0.0.0.0:9000"),
        "token_file" => ("{} token", "token"),
        "log_file" => ("{} log", "log"),
        "log_buffer" => ("{} 64k", "64k"),
        "format" => ("{} json", "json"),
        "timestamps" | "color" => ("{} always", "always"),
        "when_slow" | "when_gone" => ("{} drop", "drop"),
        "release" => ("{} v3", "v3"),
        "state" => ("{} kept", "kept"),
        "trace" => ("{} trace.json", "trace.json"),
        "verbose" => ("{} {}", "2"),
        "env_expand" | "env_override" | "no_port" | "only" | "fail_fast" | "detach" => ("{}", "1"),
        other => panic!("`{other}` is new: how is it set, and what does its variable hold?"),
    }
}

/// What has to be there beside a flag.
fn beside(id: &str) -> &'static str {
    match id {
        "token_file" => "--http 9000",
        "log_file" => "--detach",
        _ => "",
    }
}

#[test]
fn every_flag_of_start_has_a_variable_that_means_the_same_and_is_in_the_help() {
    let mut start = definition().find_subcommand("start").expect("there is a `start`").clone();
    let help = start.render_long_help().to_string();
    for arg in settable() {
        let id = arg.get_id().as_str();
        let variable = variable(&arg);
        assert_eq!(
            arg.get_env().map(|name| name.to_string_lossy().into_owned()),
            Some(variable.clone()),
            "{id}"
        );
        assert!(help.contains(&format!("[${variable}]")), "{variable} is not in the help");
        let (words, value) = sample(id);
        let flag = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        let line = format!("start {} {}", beside(id), words.replace("{}", &flag));
        let bare = format!("start {}", beside(id));
        let by_flag = understood(&line, &[]);
        assert!(!by_flag.starts_with("refused"), "{by_flag}");
        let by_variable = understood(&bare, &[(&variable, value)]);
        match id {
            // One argument that holds them all; what is made of it is the same: see `app::formation`.
            "formation" => assert!(by_variable.contains("\"web=4 worker=8\""), "{by_variable}"),
            _ => assert_eq!(by_variable, by_flag, "{variable}={value}"),
        }
        assert_ne!(by_flag, understood(&bare, &[]), "{line} changes nothing, so this proves nothing");
        assert_eq!(
            understood(&bare, &[(&variable, "")]),
            understood(&bare, &[]),
            "empty is as if unset: {variable}"
        );
    }
}

#[test]
fn a_switch_is_turned_on_and_off_by_the_words_for_it() {
    let switches: Vec<Arg> =
        settable().into_iter().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)).collect();
    assert!(switches.len() >= 6);
    for arg in switches {
        let variable = variable(&arg);
        let flag = format!("start --{}", arg.get_long().expect("a switch has a name"));
        let (on, off) = (understood(&flag, &[]), understood("start", &[]));
        assert_ne!(on, off);
        for word in ["1", "true", "yes", "on", "TRUE"] {
            assert_eq!(understood("start", &[(&variable, word)]), on, "{variable}={word}");
        }
        for word in ["0", "false", "no", "off"] {
            assert_eq!(understood("start", &[(&variable, word)]), off, "{variable}={word}");
        }
        let refused = understood("start", &[(&variable, "maybe")]);
        assert!(refused.starts_with("refused") && refused.contains("maybe"), "{variable}: {refused}");
    }
}

#[test]
fn what_is_typed_wins_over_the_variable() {
    for (line, variable, value) in [
        ("start web=1", "SUPERVISE_FORMATION", "worker=2"),
        ("start --drain 1s", "SUPERVISE_DRAIN", "9s"),
        ("start -e typed", "SUPERVISE_ENV", "a,b"),
        ("start --no-port", "SUPERVISE_PORT", "8000"),
        ("start --format raw", "SUPERVISE_FORMAT", "json"),
    ] {
        assert_eq!(understood(line, &[(variable, value)]), understood(line, &[]), "{line}, {variable}");
    }
}

#[test]
fn no_two_flags_have_the_same_variable() {
    let variables: Vec<String> = settable().iter().map(variable).collect();
    let unique: BTreeSet<&String> = variables.iter().collect();
    assert_eq!(unique.len(), variables.len(), "{variables:?}");
}
