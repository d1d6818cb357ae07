//! `completions`: real shells ask, and real shells show what they are answered.

use std::path::Path;
use std::process::{Command, Output};

use super::fake::Fake;
use super::test::Test;

/// Runs a script in a shell that has our program in its PATH; `None` where there is no such shell.
fn run(shell: &[&str], script: &str, directory: &Path) -> Option<Output> {
    let ours = Path::new(env!("CARGO_BIN_EXE_supervise")).parent().expect("it is in a directory");
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .arg(script)
        .current_dir(directory)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", ours.display()))
        .env("HOME", directory)
        .env("XDG_RUNTIME_DIR", directory)
        .env("TERM", "dumb")
        .output();
    if output.is_err() {
        println!("there is no `{}` here: not tried", shell[0]);
    }
    output.ok()
}

/// What a shell offers at the end of a line, sorted.
type Offers = fn(line: &str, directory: &Path) -> Option<Vec<String>>;

fn bash(line: &str, directory: &Path) -> Option<Vec<String>> {
    // What bash does when the user presses tab; it divides words at `=`, too.
    let script = format!(
        "source <(supervise completions bash) || exit 9
         COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=('')
         COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMP_TYPE=9
         _clap_complete_supervise supervise \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    Some(lines(&run(&["bash", "--norc", "-c"], &script, directory)?))
}

fn zsh(line: &str, directory: &Path) -> Option<Vec<String>> {
    // The function with zsh's own ones replaced by what shows their arguments.
    let script = format!(
        "compdef() {{ :; }}; _describe() {{ local -a shown; shown=(\"${{(@P)@[-1]}}\"); print -rl -- $shown; }}
         compadd() {{ :; }}; _message() {{ :; }}
         source <(supervise completions zsh) || exit 9
         words=({line}); [[ '{line}' == *' ' ]] && words+=('')
         CURRENT=$#words
         _clap_dynamic_completer_supervise"
    );
    Some(lines(&run(&["zsh", "-f", "-c"], &script, directory)?))
}

fn fish(line: &str, directory: &Path) -> Option<Vec<String>> {
    let script = format!("supervise completions fish | source; complete -C '{line}'");
    Some(lines(&run(&["fish", "--no-config", "-c"], &script, directory)?))
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    // zsh and fish show a description behind the word.
    let words = text.lines().map(|line| line.split(['\t', ':']).next().unwrap_or_default());
    let mut words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

const SHELLS: [(&str, Offers); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];

#[track_caller]
fn offers(line: &str, directory: &Path, expected: &[&str]) {
    for (shell, offers) in SHELLS {
        if let Some(mut words) = offers(line, directory) {
            // Where nothing is begun, flags are offered as well.
            words.retain(|word| {
                [" --l", " --t", " --r"].iter().any(|begun| line.contains(begun)) || !word.starts_with('-')
            });
            assert_eq!(words, expected, "{shell}: {line}");
        }
    }
}

#[test]
fn verbs_flags_and_words_are_offered() {
    let test = Test::new("");
    offers("supervise sh", test.directory(), &["shutdown"]);
    offers("supervise st", test.directory(), &["start", "stop"]);
    offers("supervise start --log-", test.directory(), &["--log-buffer", "--log-file"]);
    offers("supervise completions ", test.directory(), &["bash", "fish", "zsh"]);
    offers("supervise signal US", test.directory(), &["USR1", "USR2"]);
    offers("supervise man sca", test.directory(), &["scale"]);
    offers("supervise start --tok", test.directory(), &["--token-file"]);
    offers("supervise restart --r", test.directory(), &["--rolling", "--root"]);
    offers("supervise rele", test.directory(), &["release", "releases"]);
    offers("supervise release d", test.directory(), &["diff"]);
    offers("supervise release create --requ", test.directory(), &["--require-clean"]);
    offers("supervise start --rel", test.directory(), &["--release"]);
    offers("supervise roll", test.directory(), &["rollback"]);
    offers("supervise dep", test.directory(), &["deploy"]);
}

#[test]
fn releases_come_from_where_they_are_kept() {
    let test = Test::new("").procfile("web: x\n");
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_supervise"))
            .args(["release", "create", "--state", "s"])
            .current_dir(test.directory())
            .output()
            .expect("the program was built");
        assert!(output.status.success(), "{output:?}");
    }
    offers("supervise start --state s --release v", test.directory(), &["v1", "v2"]);
    offers("supervise release diff --state s v1 c", test.directory(), &["current"]);
    offers("supervise deploy --state s ", test.directory(), &["v1", "v2"]);
    offers("supervise rollback --state s v", test.directory(), &["v1", "v2"]);
    offers("supervise release show --state nowhere ", test.directory(), &[]);
}

#[test]
fn types_come_from_the_procfile_where_nobody_runs() {
    let test = Test::new("").procfile("web: x\nworker: x\nbeat: x\n").file("Procfile.dev", "wonder: x\n");
    offers("supervise start w", test.directory(), &["web", "worker"]);
    offers("supervise restart w", test.directory(), &["web", "worker"]);
    offers("supervise scale b", test.directory(), &["beat="]);
    offers("supervise -f Procfile.dev restart w", test.directory(), &["wonder"]);
    let broken = Test::new("").procfile("web\n");
    offers("supervise restart w", broken.directory(), &[]);
}

#[test]
fn types_and_slots_come_from_the_supervisor_that_runs() {
    let fake = Fake::new();
    let test = Test::new("").procfile("web: x\nother: x\n");
    let socket = fake.socket.display();
    offers(
        &format!("supervise --socket {socket} restart "),
        test.directory(),
        &["web", "web.1", "web.2", "worker", "worker.1"],
    );
    offers(&format!("supervise logs --socket {socket} web."), test.directory(), &["web.1", "web.2"]);
    offers(&format!("supervise scale --socket {socket} w"), test.directory(), &["web=", "worker="]);
    // What could be started stands in the Procfile.
    offers("supervise start o", test.directory(), &["other"]);
}

#[test]
fn another_shell_is_refused_by_name() {
    Test::new("completions tcsh").code(2).stderr_says(&["invalid value 'tcsh'", "bash, zsh, fish"]).run();
}
