//! `check`: valid, or everything that is wrong.

use super::test::Test;

#[test]
fn t26_a_valid_procfile_is_named_by_its_types_in_file_order() {
    Test::new("check")
        .procfile("alpha: ./alpha\n\nbravo:\t./bravo\nfoo_bar: ./f\n# no\nfoo-bar: ./f")
        .stdout("valid procfile detected (alpha, bravo, foo_bar, foo-bar)\n")
        .run();
}

#[test]
fn t27_an_empty_procfile_is_an_error() {
    Test::new("check")
        .procfile("# nothing\n")
        .code(2)
        .stderr(
            "error: Procfile: no process is defined in it\n  \
             help: write one per line, as in `web: bundle exec puma`\n",
        )
        .run();
}

#[test]
fn t28_a_missing_procfile_is_an_error() {
    Test::new("check")
        .code(2)
        .stderr(
            "error: Procfile: there is no such Procfile\n  \
             help: go to the directory of the app, or name it with `-f FILE`\n",
        )
        .run();
    Test::new("check -f .").code(2).stderr("error: .: this is a directory, not a Procfile\n").run();
}

#[test]
fn every_error_of_the_procfile_is_shown_with_its_line_and_the_way_out() {
    Test::new("check")
        .procfile("web: a\nwe.b: c\n<<<<<<< HEAD\nworker :x\nweb: b\n")
        .code(2)
        .stderr(
            "error: Procfile:2:3: a name has only letters A to Z, digits, `_` and `-`, no `.`\n  \
             2 | we.b: c\n    |   ^\n  \
             help: a name is letters A to Z, digits, `_` and `-`, as in `web` or `mail-worker`\n\
             error: Procfile:3:1: there is no colon in the line\n  \
             3 | <<<<<<< HEAD\n    | ^\n  \
             help: this looks like a merge conflict: resolve it\n\
             error: Procfile:4:7: there is a space before ':' in `worker :`\n  \
             4 | worker :x\n    |       ^\n  \
             help: the colon follows the name at once\n\
             error: Procfile:5: `web` is there twice: on lines 1 and 5\n  \
             help: give one of them another name, or remove it\n",
        )
        .run();
}

#[test]
fn env_files_and_the_spec_are_checked_too_and_no_value_is_shown() {
    Test::new("check")
        .procfile("web: a\n")
        .file(".env", "A=1\nSECRET\nB='hunter2\n")
        .file("supervise.yml", "formation:\n  web:\n    drian: 8s\n    env: {A: [hunter2]}\n")
        .code(2)
        .stderr(
            "error: .env:2: there is no `=` after a name in the line\n  \
             help: a line is `NAME=value`; a comment begins with `#`\n\
             error: .env:3: a quote that is opened here is never closed\n  \
             help: close it; a value with a quote in it can stand in quotes of the other kind\n\
             error: supervise.yml:3:5: `formation.web.drian`: there is no key `drian`\n  \
             3 |     drian\n    |     ^\n  \
             help: did you mean `drain`? the keys here are: `quantity`, `max`, `restart`, `backoff`, `essential`, \
             `drain`, `stop_signal`, `stop_scope`, `leftovers`, `env`, `port`, `limits`, `stderr`, `health`, `listen`, `rollout`, `needs`, `after`\n\
             error: supervise.yml:4:14: `formation.web.env.A`: is a text or a number; an empty one is written \"\"\n",
        )
        .run();
}

#[test]
fn a_file_that_is_no_text_is_an_error_and_not_a_terminal_full_of_controls() {
    Test::new("check")
        .procfile(b"\x7fELF\x02\x01\n\x1b[31mweb: x\n")
        .code(2)
        .stderr_says(&[
            "Procfile:1:1: there is no colon",
            "1 | \u{fffd}ELF\u{fffd}\u{fffd}",
            "2 | \u{fffd}[31mweb",
            "not with `\u{fffd}`",
        ])
        .run();
}

#[test]
fn flags_name_the_files_before_and_after_the_verb_and_so_do_variables() {
    let project = |arguments: &str| Test::new(arguments).file("app/Procfile.dev", "dev: a").file("e", "A=1");
    let valid = "valid procfile detected (dev)\n";
    project("check -f app/Procfile.dev -e e").stdout(valid).run();
    project("-f app/Procfile.dev -e e check").stdout(valid).run();
    project("check")
        .variable("SUPERVISE_PROCFILE", "app/Procfile.dev")
        .variable("SUPERVISE_ENV", "e,e")
        .stdout(valid)
        .run();
    project("check -f app/Procfile.dev -e missing")
        .code(2)
        .stderr("error: missing: there is no such env file\n")
        .run();
    Test::new("check")
        .procfile("web: a")
        .variable("SUPERVISE_PROCFILE", "")
        .stdout("valid procfile detected (web)\n")
        .run();
}
