//! Help, and arguments that are wrong.

use super::test::Test;

const VERBS: [&str; 21] = [
    "start",
    "check",
    "run",
    "config",
    "release",
    "releases",
    "ps",
    "services",
    "scale",
    "restart",
    "stop",
    "signal",
    "logs",
    "events",
    "health",
    "reload",
    "deploy",
    "rollback",
    "shutdown",
    "completions",
    "man",
];

#[test]
fn help_reads_well() {
    Test::new("--help").run_golden("help.txt");
    for verb in VERBS {
        Test::new(&format!("{verb} --help")).run_golden(&format!("{verb}.txt"));
    }
    for verb in ["create", "show", "diff", "prune"] {
        Test::new(&format!("release {verb} --help")).run_golden(&format!("release-{verb}.txt"));
    }
}

#[test]
fn help_fits_a_terminal() {
    let further = ["help", "release-create", "release-show", "release-diff", "release-prune"];
    for name in VERBS.into_iter().chain(further) {
        let path = format!("{}/tests/cli/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the golden file is there");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn without_a_verb_help_is_shown_and_nothing_done() {
    Test::new("")
        .code(2)
        .stderr_says(&["Usage: supervise [OPTIONS] <COMMAND>", "  start        Start the formation"])
        .run();
    Test::new("-f Procfile").code(2).stderr_says(&["requires a subcommand"]).run();
}

#[test]
fn the_version_is_ours() {
    Test::new("--version").stdout(concat!("supervise ", env!("CARGO_PKG_VERSION"), "\n")).run();
}

#[test]
fn a_slip_is_recognised() {
    Test::new("strat").code(2).stderr_says(&["there is no command `strat`", "did you mean `start`?"]).run();
    Test::new("reslart")
        .code(2)
        .stderr(
            "error: there is no command `reslart`\n  help: did you mean `restart`? the commands are: `start`, \
             `check`, `run`, `config`, `release`, `releases`, `ps`, `services`, `scale`, `restart`, `stop`, `signal`, `logs`, `events`, `health`, \
             `reload`, `deploy`, `rollback`, `shutdown`, `completions`, `man`\n\n\
             Usage: supervise [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
        )
        .run();
    Test::new("start --formt json")
        .code(2)
        .stderr_says(&["unexpected argument '--formt'", "'--format'"])
        .run();
    Test::new("start --format jsn").code(2).stderr_says(&["invalid value 'jsn'", "'json'"]).run();
    Test::new("start --drain soon").code(2).stderr_says(&["invalid value 'soon'", "500ms, 8s, 2m, 1h"]).run();
}

#[test]
fn what_a_release_is_called_is_known_before_anybody_is_asked() {
    Test::new("deploy").code(2).stderr_says(&["<RELEASE>"]).run();
    for line in ["deploy web", "deploy v0", "rollback web"] {
        Test::new(line).code(2).stderr_says(&["invalid value", "RELEASE"]).run();
    }
    for line in ["deploy v1", "rollback", "run --detach true"] {
        Test::new(line).procfile("web: x").code(1).stderr_says(&["error: no supervisor"]).run();
    }
}

#[test]
fn what_would_change_the_config_means_nothing_to_a_command_under_the_supervisor() {
    for flag in ["-e x", "--env-expand", "--env-override", "--spec x", "-p 80", "--port-step 1", "--no-port"]
    {
        for line in [format!("run {flag} --detach true"), format!("{flag} run -D true")] {
            let said = "means nothing with `--detach`: the supervisor runs the command";
            Test::new(&line).procfile("web: x").code(2).stderr_says(&[said]).run();
        }
    }
    // A variable is for whoever it means something to.
    let mut test = Test::new("run --detach true").procfile("web: x").variable("SUPERVISE_ENV", "x");
    test = test.code(1);
    test.stderr_says(&["error: no supervisor"]).run();
}

#[test]
fn a_variable_that_was_injected_means_nothing_to_us() {
    let mut test = Test::new("check").procfile("web: x").stdout("valid procfile detected (web)\n");
    for name in ["CONTROL", "TYPE", "SLOT", "INSTANCE", "RELEASE_ID"] {
        test = test.variable(&format!("SUPERVISE_{name}"), "x");
    }
    test.run();
}

#[test]
fn a_port_or_a_token_that_cannot_be_meant_starts_nothing() {
    let start = |arguments: &str| Test::new(&format!("start {arguments}")).procfile("web: x").code(2);
    start("--http web:80").stderr_says(&["`web` is no address", "`0.0.0.0:9000` or `9000`"]).run();
    start("--token-file t").file("t", "0123456789abcdef").stderr_says(&["--http <ADDR>"]).run();
    start("").variable("SUPERVISE_TOKEN_FILE", "t").stderr_says(&["--http <ADDR>"]).run();
    start("")
        .variable("SUPERVISE_HTTP", "80x")
        .stderr_says(&["invalid value '80x' for '--http <ADDR>'"])
        .run();
    start("--http 0 --token-file t")
        .stderr("error: `--token-file t`: No such file or directory (os error 2)\n")
        .run();
    // The umask of tests is what it is: others may read it unless that is taken away.
    start("--http 0 --token-file /etc/passwd")
        .stderr_says(&[
            "error: `--token-file /etc/passwd`: others may read",
            "\n  help: `chmod 600 /etc/passwd`\n",
        ])
        .run();
    start("--http 0 --token-file /dev/stdin").stderr_says(&["error: `--token-file /dev/stdin`: "]).run();
}

#[test]
fn a_boolean_variable_is_read_as_people_write_them() {
    let project = |value: &str| {
        Test::new("run printenv A")
            .procfile("web: x")
            .file(".env", "A=$B")
            .variable("SUPERVISE_ENV_EXPAND", value)
    };
    for value in ["1", "true", "yes", "on"] {
        project(value).variable("B", "b").stdout("b\n").run();
    }
    for value in ["0", "false", "no", "off", ""] {
        project(value).stdout("$B\n").run();
    }
    project("maybe").code(2).stderr_says(&["'maybe'", "--env-expand"]).run();
}

#[test]
fn ports_are_given_out_or_not_and_a_flag_wins_over_the_variable_of_the_other() {
    Test::new("start -p 1 --no-port").procfile("web: x").code(2).stderr_says(&["choose one"]).run();
    for value in ["0", "65536", "-1", "web"] {
        let said = format!("invalid value '{value}' for '--port <PORT>'");
        Test::new(&format!("start --port={value}")).code(2).stderr_says(&[&said]).run();
    }
}

#[test]
fn what_is_no_flag_of_ours_and_stands_before_the_command_of_run_is_refused() {
    for (arguments, said) in
        [("run --bogus", "'--bogus'"), ("run --prot 80 ls", "'--port'"), ("run -v ls", "'-v'")]
    {
        Test::new(arguments).procfile("web: x").code(2).stderr_says(&["unexpected argument", said]).run();
    }
}

#[test]
fn env_files_on_both_sides_of_the_verb_are_read_in_order_and_two_procfiles_refused() {
    Test::new("-e a run -e b sh -c")
        .argument("echo $A $B")
        .file("a", "A=1\nB=1")
        .file("b", "B=2")
        .stdout("1 2\n")
        .run();
    Test::new("-f a start -f b")
        .code(2)
        .stderr_says(&["error: `--procfile` is given before and after the command"])
        .run();
}

#[test]
fn a_formation_that_is_wrong_starts_nothing() {
    Test::new("start nosuch=2 web=x")
        .procfile("web: x")
        .code(2)
        .stderr(
            "error: `web=x`: `x` is no number\n  \
             help: name types with or without a count: `web`, `web=4 worker=8`, `all=0 web=2`\n\
             error: there is no process type `nosuch`\n  \
             help: the Procfile has: `web`\n",
        )
        .run();
}

#[test]
fn wrong_input_is_wrong_though_nobody_hears_of_it() {
    let directory = std::env::temp_dir().join(format!("supervise-cli-unheard-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    std::fs::write(directory.join("Procfile"), "web\n").expect("it is ours");
    let (reader, writer) = std::io::pipe().expect("descriptors are left");
    drop(reader);
    // With SIGPIPE at its default it would just die of it.
    let script = "trap '' PIPE; exec \"$0\" check";
    let status = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_supervise")])
        .current_dir(&directory)
        .stderr(writer)
        .status()
        .expect("there is a shell");
    std::fs::remove_dir_all(&directory).expect("it is ours");
    assert_eq!(status.code(), Some(2));
}
