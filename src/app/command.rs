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

/// How a command is executed (CONTRACT: "The command text is never edited").
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

    /// The program and its arguments: the words themselves, or `/bin/sh -c` with the text.
    #[must_use]
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        let shell = |text: Vec<u8>| vec![b"/bin/sh".to_vec(), b"-c".to_vec(), text];
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
            b' ' | b'\t' => after,
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
            b'#' | b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'~' | b'^' => after,
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
const SHELL_WORDS: &[&str] = &[
    // Reserved words.
    "case",
    "coproc",
    "do",
    "done",
    "elif",
    "else",
    "end",
    "esac",
    "fi",
    "for",
    "foreach",
    "function",
    "if",
    "in",
    "namespace",
    "nocorrect",
    "repeat",
    "select",
    "then",
    "time",
    "until",
    "while",
    // Special builtins of POSIX.
    ".",
    ":",
    "break",
    "continue",
    "eval",
    "exec",
    "exit",
    "export",
    "readonly",
    "return",
    "set",
    "shift",
    "times",
    "trap",
    "unset",
    // Other builtins of POSIX, dash and busybox ash.
    "alias",
    "bg",
    "cd",
    "chdir",
    "command",
    "echo",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "newgrp",
    "printf",
    "pwd",
    "read",
    "source",
    "test",
    "true",
    "type",
    "ulimit",
    "umask",
    "unalias",
    "wait",
    // bash.
    "bind",
    "builtin",
    "caller",
    "compgen",
    "complete",
    "compopt",
    "declare",
    "dirs",
    "disown",
    "enable",
    "logout",
    "mapfile",
    "popd",
    "pushd",
    "readarray",
    "shopt",
    "suspend",
    "typeset",
];
