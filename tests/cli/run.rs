//! `run`: we become the command.

use super::test::Test;

#[test]
fn t29_the_output_is_the_commands_own() {
    Test::new("run echo 1").procfile("web: x").stdout("1\n").run();
}

#[test]
fn t30_what_follows_the_command_belongs_to_it() {
    Test::new("run grep -e FOO .env")
        .procfile("web: x")
        .file(".env", "FOO=bar\nA=b\n")
        .stdout("FOO=bar\n")
        .run();
}

#[test]
fn t31_t35_env_files_are_named_before_or_after_the_verb() {
    for arguments in ["run -e .env.x sh -c", "-e .env.x run sh -c", "--env .env.x run -- sh -c"] {
        Test::new(arguments)
            .argument("echo $FOO $GONE")
            .procfile("web: x")
            .file(".env.x", "FOO=bar")
            .file(".env", "GONE=1")
            .stdout("bar\n")
            .run();
    }
}

#[test]
fn t32_a_process_type_stands_for_its_command_whatever_its_form() {
    let project = |name: &str| {
        Test::new(&format!("run {name}"))
            .procfile("direct: printenv FOO PORT\nexec: printenv $NAME PORT\nshell: echo $FOO && exit 4\n")
            .file(".env", "FOO=bar\nNAME=FOO")
            .file("supervise.yml", "formation: {exec: {env: {FOO: own}}}")
    };
    project("direct").stdout("bar\n5000\n").run();
    project("exec").stdout("own\n5100\n").run();
    project("shell").stdout("bar\n").code(4).run();
}

#[test]
fn t33_the_exit_code_or_the_signal_is_the_commands() {
    for code in [0, 1, 42, 200] {
        Test::new("run sh -c").argument(&format!("exit {code}")).procfile("web: x").code(code).run();
    }
    Test::new("run sh -c").argument("kill -TERM $$").procfile("web: x").signal(15).run();
}

#[test]
fn a_broken_pipe_ends_the_command_as_it_would_without_us() {
    Test::new("run sh -c").argument("kill -PIPE $$; echo alive").procfile("web: x").signal(13).run();
}

#[test]
fn t34_stderr_stays_on_stderr() {
    Test::new("run -- sh -c")
        .argument("echo o; echo e >&2")
        .procfile("web: x")
        .stdout("o\n")
        .stderr("e\n")
        .run();
}

#[test]
fn what_is_not_found_is_127_and_what_cannot_be_executed_126() {
    Test::new("run nosuch")
        .procfile("web: x")
        .code(127)
        .stderr("error: `nosuch` cannot be executed: not found\n")
        .run();
    Test::new("run ./Procfile")
        .procfile("web: x")
        .code(126)
        .stderr("error: `./Procfile` cannot be executed: Permission denied (os error 13)\n")
        .run();
}

#[test]
fn it_runs_at_the_root_with_the_environment_of_the_app_alone() {
    Test::new("run -f app/Procfile sh -c")
        .argument("pwd; printenv PWD; env | grep ^SUPERVISE_; printenv PORT")
        .file("app/Procfile", "web: x")
        .file("app/.env", "PWD=/elsewhere\nSUPERVISE_LOG=x")
        .variable("SUPERVISE_LOG", "debug")
        .variable("SUPERVISE_INSTANCE", "an outer one")
        .stdout("[DIR]/app\n[DIR]/app\nSUPERVISE_RELEASE_ID=dev\n")
        .code(1)
        .run();
}

#[test]
fn no_procfile_is_needed_but_a_wrong_one_is_an_error() {
    Test::new("run echo 1").stdout("1\n").run();
    Test::new("run echo 1").procfile("web\n").code(2).stderr_says(&["Procfile:1:1: there is no colon"]).run();
}
