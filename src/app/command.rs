//! A command of the Procfile and the way it is executed.
//!
//! The text is never edited. A shell that only waits for its one child costs memory and stands between that child and
//! the signals, so it is left out wherever the result is the same; when in doubt, the shell stays.

/// A command line, as the Procfile has it, with the way to execute it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The text, never edited; need not be UTF-8.
    pub text: Vec<u8>,
    /// How it is executed.
    pub form: Form,
}

/// How a command is executed; its text is never edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Plain words: the first is looked up in the child's PATH and executed without a shell.
    Direct(Vec<Vec<u8>>),
    /// A single simple command with expansions: `/bin/sh -c 'exec TEXT'`.
    Exec,
    /// Anything else: `/bin/sh -c TEXT`.
    Shell,
}

impl Command {
    /// Chooses the form for a text.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Command {
        let form = direct(&text).map(Form::Direct).unwrap_or(if is_simple_command(&text) {
            Form::Exec
        } else {
            Form::Shell
        });
        Command { text, form }
    }

    /// What the kernel is given: the words themselves, or `sh -c` with the text, for `/bin/sh`.
    #[must_use]
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        let shell = |text: Vec<u8>| vec![b"sh".to_vec(), b"-c".to_vec(), text];
        match &self.form {
            Form::Direct(words) => words.clone(),
            Form::Exec => shell([b"exec ", self.text.as_slice()].concat()),
            Form::Shell => shell(self.text.clone()),
        }
    }
}

/// The words of a text in which a shell would find nothing to do.
fn direct(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let words: Vec<&[u8]> = text.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).collect();
    let plain = words.iter().all(|word| word.iter().all(|byte| is_plain(*byte)));
    (plain && is_program(words.first()?)).then(|| words.into_iter().map(<[u8]>::to_vec).collect())
}

/// Whether a word in the place of the command names a file to execute, in every shell.
fn is_program(word: &[u8]) -> bool {
    let named = !word.is_empty() && word.iter().all(|byte| is_plain(*byte) && *byte != b'=');
    // A `-` would be an option of `exec` or `sh`, a `%` a job.
    named
        && !matches!(word[0], b'-' | b'+' | b'%')
        && !SHELL_WORDS.iter().any(|known| known.as_bytes() == word)
}

/// Whether the text is exactly one simple command (POSIX, Shell Command Language, 2.9.1) that begins with the plain name
/// of a program, so that `exec` in front changes nothing but the number of processes.
///
/// Understood are plain characters, quotes, backslashes, globs, `$NAME`, `${NAME}`, `${NAME:-plain}`, and redirections
/// to words. Everything else makes it something that only a shell should judge.
fn is_simple_command(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    let (program, arguments) = text.split_at(end);
    is_program(program) && only_words(arguments)
}

fn only_words(text: &[u8]) -> bool {
    let mut rest = text;
    let mut word_starts = true;
    let mut target_missing = false;
    while let Some((&byte, after)) = rest.split_first() {
        let blank = is_blank(byte);
        let operator = byte == b'<' || byte == b'>';
        rest = match byte {
            b'#' if word_starts => return false,
            b'\'' => match memchr::memchr(b'\'', after) {
                Some(end) if is_ascii_text(&after[..end]) => &after[end + 1..],
                _ => return false,
            },
            b'"' => match double_quoted(after) {
                Some(rest) => rest,
                None => return false,
            },
            b'\\' => match after.split_first() {
                Some((escaped, rest)) if is_ascii_text(&[*escaped]) => rest,
                _ => return false,
            },
            b'$' => match expansion(after) {
                Some(rest) => rest,
                None => return false,
            },
            // Two operators in a row, a here-document, a process substitution: not this.
            b'<' | b'>' if target_missing => return false,
            b'<' => after.strip_prefix(b"&").unwrap_or(after),
            b'>' => [b">", b"&", b"|"].iter().find_map(|op| after.strip_prefix(*op)).unwrap_or(after),
            b' ' | b'\t' | b'#' | b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'~' | b'^' => after,
            plain if is_plain(plain) => after,
            // `;`, `&`, `|`, parentheses, backquotes, `!`, newlines, control characters, anything not ASCII.
            _ => return false,
        };
        word_starts = blank || operator;
        target_missing = operator || (target_missing && blank);
    }
    !target_missing
}

/// What follows the closing quote.
fn double_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        let (&byte, after) = text.split_first()?;
        text = match byte {
            b'"' => return Some(after),
            b'\\' => after.split_first().filter(|(escaped, _)| is_ascii_text(&[**escaped]))?.1,
            b'$' => expansion(after)?,
            b'`' => return None,
            other if is_ascii_text(&[other]) => after,
            _ => return None,
        };
    }
}

/// What follows `$NAME`, `${NAME}` or `${NAME:-plain}`, given what follows the dollar.
fn expansion(text: &[u8]) -> Option<&[u8]> {
    let (braced, text) = match text.strip_prefix(b"{") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if length == 0 || text[0].is_ascii_digit() {
        return None;
    }
    let rest = &text[length..];
    if !braced {
        return Some(rest);
    }
    let rest =
        [&b":-"[..], b"-", b":+", b"+"].iter().find_map(|op| rest.strip_prefix(*op)).map_or(rest, |rest| {
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            &rest[plain..]
        });
    rest.strip_prefix(b"}")
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Printable ASCII and tabs: nothing that a locale could read otherwise.
fn is_ascii_text(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t')
}

/// Words that a shell does not look up in PATH: reserved words and builtins of POSIX, dash, busybox
/// ash and bash, any of which may be `/bin/sh` (POSIX 2.4 and 2.14, and each shell's manual).
#[rustfmt::skip]
const SHELL_WORDS: &[&str] = &[
    // Reserved words.
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select",
    "then", "time", "until", "while",
    // Special builtins of POSIX.
    ".", ":", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift",
    "times", "trap", "unset",
    // Other builtins of POSIX, dash and busybox ash.
    "alias", "bg", "cd", "chdir", "command", "echo", "false", "fc", "fg", "getopts", "hash", "help",
    "history", "jobs", "kill", "let", "local", "newgrp", "printf", "pwd", "read", "source", "test", "true",
    "type", "ulimit", "umask", "unalias", "wait",
    // bash.
    "bind", "builtin", "caller", "compgen", "complete", "compopt", "declare", "dirs", "disown", "enable",
    "logout", "mapfile", "popd", "pushd", "readarray", "shopt", "suspend", "typeset",
];

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Path, PathBuf};
    use std::process;

    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> Form {
        Command::new(text.into()).form
    }

    #[test]
    fn plain_words_need_no_shell() {
        for text in [
            "bundle exec puma",
            "node web.js --port=3000 a@b %1 x=y",
            "./bin/web",
            "/usr/bin/x",
            "2to3 +x",
            "sleep 1",
            "cat x",
            "sleep 1",
            "cat",
            "a\t b",
        ] {
            let words: Vec<Vec<u8>> = text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(form(text), Form::Direct(words), "{text}");
        }
    }

    #[test]
    fn a_single_simple_command_gets_exec_in_front() {
        for text in [
            "puma -p $PORT",
            "puma -p ${PORT:-3000} -t 1:$N",
            "gunicorn 'a b' \"c $D \\\" e\" f\\ g",
            "node *.js",
            "cat2 ~/x {a,b} [0-9] a#b",
            "web >log/web.log 2>&1",
            "web >> log <in",
        ] {
            assert_eq!(form(text), Form::Exec, "{text}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_shell() {
        for text in [
            "exit 3",
            "cd x",
            "echo hi",
            "test -f x",
            "wait",
            "while true",
            "time x",
            ": x",
            ". x",
            "true",
            "a; b",
            "a && b",
            "a | b",
            "a &",
            "a & b",
            "(a)",
            "{ a; }",
            "! a",
            "a $(b)",
            "a `b`",
            "a \"`b`\"",
            "a \"$(b)\"",
            "FOO=1 cmd",
            "$CMD x",
            "\"cmd\" x",
            "cmd\"x\"",
            "\\cmd $x",
            "~/cmd $x",
            "-x",
            "+x",
            "%1",
            "a # c",
            "a 'b",
            "a \"b",
            "a b\\",
            "a $",
            "a $1",
            "a $$",
            "a $'x'",
            "a ${X:=y}",
            "a ${X:-$Y}",
            "a ${X",
            "a $((1))",
            "a << E",
            "a <<< b",
            "a <(b)",
            "a >(b)",
            "a &> b",
            "a > ",
            "a > > b",
            "a >&",
            "a \u{e9} $X",
            "a 'x\u{e9}'",
            "a \u{1} $X",
            "",
            " ",
        ] {
            assert_eq!(form(text), Form::Shell, "{text}");
        }
        assert_eq!(Command::new(b"a \xff $X".to_vec()).form, Form::Shell);
    }

    #[test]
    fn no_word_that_a_shell_of_this_machine_has_built_in_is_looked_up_by_us() {
        let builtins = |shell: &str, script: &str| {
            let output = process::Command::new(shell).args(["-c", script]).output().ok()?;
            Some(
                String::from_utf8_lossy(&output.stdout)
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        let all = builtins("bash", "compgen -b; compgen -k").unwrap_or_default();
        for word in &all {
            assert!(!is_program(word.as_bytes()), "{word} is built into bash");
        }
        // dash cannot list its builtins: ask it about every word of ours that bash does not know, and about bash's.
        let asked = all.iter().map(String::as_str).chain(SHELL_WORDS.iter().copied());
        for word in asked.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            let told = builtins("/bin/sh", &format!("command -V {word}")).unwrap_or_default().join(" ");
            assert!(!told.contains("builtin") || !is_program(word.as_bytes()), "{told}");
        }
    }

    /// A directory with a program that shows its arguments, its name for one run of this process.
    struct Workshop(PathBuf);

    impl Workshop {
        fn new() -> Workshop {
            let directory = std::env::temp_dir().join(format!("supervise-command-{}", process::id()));
            std::fs::create_dir_all(&directory).expect("a temporary directory can be made");
            for file in ["a.txt", "b.txt"] {
                std::fs::write(directory.join(file), file).expect("and written to");
            }
            let script =
                "#!/bin/sh\nfor each; do printf '[%s]' \"$each\"; done\nprintf ' to stderr' >&2\nexit 7\n";
            let program = directory.join("show");
            std::fs::write(&program, script).expect("and written to");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(program, mode).expect("our own file can be made executable");
            Workshop(directory)
        }

        /// Standard output and exit code; as in a shell, 127 is not found and 126 not executable.
        fn run(&self, words: Vec<Vec<u8>>) -> (String, Option<i32>) {
            let mut words = words.into_iter().map(std::ffi::OsString::from_vec);
            let program = words.next().expect("there is a program");
            let path = format!("{}:/usr/bin:/bin", self.0.display());
            let output = process::Command::new(program)
                .args(words)
                .env_clear()
                .envs([
                    ("PATH", path.as_str()),
                    ("A", "x  y"),
                    ("EMPTY", ""),
                    ("HOME", "/home/me"),
                    ("T", "*.txt"),
                ])
                .current_dir(&self.0)
                .stdin(process::Stdio::null())
                .output();
            match output {
                // What a shell says about a program that it cannot execute is its own affair, and `2>&1` brings it here.
                Ok(output) if matches!(output.status.code(), Some(126 | 127)) => {
                    (String::new(), output.status.code())
                }
                Ok(output) => (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code()),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    (String::new(), Some(126))
                }
                Err(_) => (String::new(), Some(127)),
            }
        }
    }

    impl Drop for Workshop {
        fn drop(&mut self) {
            // A directory in /tmp that stays is no reason to fail.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn whatever_the_form_the_result_is_what_sh_makes_of_the_text() {
        let workshop = Workshop::new();
        let first = prop_oneof![
            8 => Just("show"),
            1 => prop::sample::select(vec![
                "./show", "nosuch", "echo", "exit", "test", "cd", "FOO=1 show", "$EMPTY show", "\"show\"", "! show", "time",
                "\\show", "-x", "exec show", "sh\\ow", "./a.txt", "command show", "{ show;", "(show",
            ]),
        ];
        let piece = prop::sample::select(vec![
            "a",
            "b.txt",
            "x=y",
            "3",
            "-c",
            "--",
            "$A",
            "\"$A\"",
            "${A}",
            "${NOT_SET:-d}",
            "${EMPTY-e}",
            "$EMPTY",
            "$T",
            "'$A'",
            "'a b'",
            "\"a\\\"b\"",
            "\\ ",
            "\\$A",
            "*.txt",
            "[ab].txt",
            "?.txt",
            "~",
            "{a,b}",
            "#",
            "a#",
            "# c",
            ";",
            "&&",
            "|| show",
            "| cat",
            "> out",
            ">>out",
            "2>&1",
            "2>/dev/null",
            "< a.txt",
            "<nosuch",
            ">",
            "<",
            "$(show q)",
            "`show q`",
            "$((1+2))",
            "\"",
            "'",
            "\\",
            ")",
            "}",
            "!",
            "&",
            "\t",
            "%",
            "^",
            "@:,+",
        ]);
        let gap = prop::sample::select(vec![" ", " ", "", "  "]);
        let texts = (first, prop::collection::vec((gap, piece), 0..5));
        let runner_config =
            ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = proptest::test_runner::TestRunner::new(runner_config);
        let result = runner.run(&texts, |(first, rest)| {
            let mut text = first.to_owned();
            for (gap, piece) in rest {
                text.extend([gap, piece]);
            }
            let command = Command::new(text.clone().into_bytes());
            for shell in ["/bin/sh", "/bin/bash"].into_iter().filter(|shell| Path::new(shell).exists()) {
                let through = |mut words: Vec<Vec<u8>>| {
                    if words[0] == b"sh" {
                        words[0] = shell.into();
                    }
                    workshop.run(words)
                };
                let plain = through(vec![b"sh".to_vec(), b"-c".to_vec(), text.clone().into_bytes()]);
                prop_assert_eq!(
                    through(command.arguments()),
                    plain,
                    "{} {:?}: {}",
                    shell,
                    command.form,
                    text
                );
            }
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
    }
}
