//! The Procfile: `name: command`, one per line.
//!
//! Every line is an entry, a comment, blank, or an error; none is skipped in silence. Command bytes are not
//! interpreted here and need not be UTF-8.

use std::collections::HashMap;
use std::path::Path;

use crate::api::{InvalidTypeName, TypeName};

use super::diagnostic::{Diagnostic, Diagnostics, Place};

/// One line of the Procfile, with those that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Before the colon.
    pub(super) name: TypeName,
    /// After it, without the white space around it.
    pub(super) command: Vec<u8>,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// A longer line is no line that anybody wrote.
const LONGEST_LINE: usize = 1 << 20;

/// Reads the text of a Procfile; `path` is what errors call it.
///
/// # Errors
/// All of them: a line that is no entry, a duplicate name, no entry at all.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Vec<Entry>, Diagnostics> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut lines: HashMap<TypeName, usize> = HashMap::new();
    let mut errors = Diagnostics::default();
    for logical in logical_lines(text) {
        match logical.and_then(Logical::entry) {
            Ok(None) => {}
            Ok(Some(entry)) => match lines.get(&entry.name) {
                None => {
                    lines.insert(entry.name.clone(), entry.line);
                    entries.push(entry);
                }
                Some(earlier) => errors.push(
                    Diagnostic::new(
                        Place::Line(path.to_owned(), entry.line),
                        format!("`{}` is there twice: on lines {} and {}", entry.name, earlier, entry.line),
                    )
                    .with_help("give one of them another name, or remove it"),
                ),
            },
            Err(fault) => errors.push(fault.at(path)),
        }
    }
    if entries.is_empty() && errors.is_empty() {
        errors.push(
            Diagnostic::new(Place::File(path.to_owned()), "no process is defined in it")
                .with_help("write one per line, as in `web: bundle exec puma`"),
        );
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

/// A line as the grammar sees it: continued lines are joined, without the backslash and the newline between them.
struct Logical<'a> {
    /// Where it begins, from 1.
    number: usize,
    /// The first physical line, for errors.
    first: &'a [u8],
    text: Vec<u8>,
    /// So much of the text is known to be nothing but white space before it begins.
    blank: usize,
}

/// What is wrong with a line.
struct Fault<'a> {
    line: usize,
    /// Byte offset in `source`.
    at: Option<usize>,
    source: &'a [u8],
    reason: String,
    help: Option<String>,
}

impl Fault<'_> {
    fn at(self, path: &Path) -> Diagnostic {
        let place = match self.at {
            Some(byte) => {
                let before = String::from_utf8_lossy(&self.source[..byte.min(self.source.len())]);
                Place::Column(path.to_owned(), self.line, before.chars().count() + 1)
            }
            None => Place::Line(path.to_owned(), self.line),
        };
        let mut diagnostic = Diagnostic::new(place, self.reason).with_source(self.source);
        diagnostic.help = self.help;
        diagnostic
    }
}

/// Splits a text at its newlines and joins what a backslash continues.
fn logical_lines(text: &[u8]) -> impl Iterator<Item = Result<Logical<'_>, Fault<'_>>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut physical = physical_lines(text);
    std::iter::from_fn(move || {
        let (number, first) = physical.next()?;
        let mut fault = check(number, first).err();
        let mut logical = Logical { number, first, text: first.to_vec(), blank: 0 };
        let mut last = (number, first);
        while logical.is_entry() && ends_with_backslash(trim_end(last.1)) {
            if trim_end(last.1).len() < last.1.len() {
                fault = fault
                    .or(Some(unfinished(last, "white space follows the backslash, so it continues nothing")));
            }
            logical.text.truncate(trim_end(&logical.text).len() - 1);
            let Some(next) = physical.next() else {
                fault = fault.or(Some(unfinished(last, "the file ends where a line should follow")));
                break;
            };
            last = next;
            fault = fault.or_else(|| check(next.0, next.1).err());
            logical.text.extend_from_slice(next.1);
        }
        Some(fault.map_or(Ok(logical), Err))
    })
}

/// Each line with its number, from 1, without its LF or CRLF.
fn physical_lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let last = text.split(|byte| *byte == b'\n').count();
    text.split(|byte| *byte == b'\n').enumerate().filter_map(move |(index, line)| {
        let ended = index + 1 < last;
        let line = if ended { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        (ended || !line.is_empty()).then_some((index + 1, line))
    })
}

/// What no line may contain, comments included.
fn check(number: usize, line: &[u8]) -> Result<(), Fault<'_>> {
    let fault = |at, reason: &str, help: &str| {
        Err(Fault { line: number, at, source: line, reason: reason.to_owned(), help: Some(help.to_owned()) })
    };
    if line.len() > LONGEST_LINE {
        return fault(None, "the line is longer than 1 MiB", "put the command into a script and call that");
    }
    if let Some(at) = memchr::memchr(0, line) {
        return fault(Some(at), "there is a NUL byte in the line", "no command can contain one: remove it");
    }
    if let Some(at) = memchr::memchr(b'\r', line) {
        return fault(
            Some(at),
            "there is a carriage return inside the line",
            "end lines with a newline (LF), or with CR and LF",
        );
    }
    Ok(())
}

fn unfinished<'a>((line, source): (usize, &'a [u8]), reason: &str) -> Fault<'a> {
    let at = trim_end(source).len().checked_sub(1);
    let help = "a backslash at the very end of a line continues it on the next; remove what is too much";
    Fault { line, at, source, reason: reason.to_owned(), help: Some(help.to_owned()) }
}

impl<'a> Logical<'a> {
    /// Whether it is neither blank nor a comment: only entries are continued.
    fn is_entry(&mut self) -> bool {
        // What continues a line is asked about again and again: what was looked at once is not looked at any more.
        let seen = self.blank.min(self.text.len());
        let text = trim_start(&self.text[seen..]);
        self.blank = self.text.len() - text.len();
        !text.is_empty() && text[0] != b'#'
    }

    fn fault(&self, at: usize, reason: impl Into<String>, help: &str) -> Fault<'a> {
        let (line, source) = (self.number, self.first);
        Fault { line, at: Some(at), source, reason: reason.into(), help: Some(help.to_owned()) }
    }

    /// The entry it is; `None` for a blank line or a comment.
    fn entry(mut self) -> Result<Option<Entry>, Fault<'a>> {
        if !self.is_entry() {
            return Ok(None);
        }
        let text = trim_start(&self.text);
        let indent = self.text.len() - text.len();
        let Some(colon) = memchr::memchr(b':', text) else {
            let help = if [&b"<<<<<<<"[..], b"=======", b">>>>>>>", b"|||||||"]
                .iter()
                .any(|m| text.starts_with(m))
            {
                "this looks like a merge conflict: resolve it"
            } else {
                "a line is `name: command`; a comment begins with `#`"
            };
            return Err(self.fault(indent, "there is no colon in the line", help));
        };
        let name = self.name(indent, &text[..colon])?;
        let command = trim_end(trim_start(&text[colon + 1..]));
        if command.is_empty() {
            let reason = format!("`{name}` has no command");
            return Err(self.fault(indent + colon, reason, "write it after the colon, or remove the line"));
        }
        Ok(Some(Entry { name, command: command.to_vec(), line: self.number }))
    }

    fn name(&self, indent: usize, bytes: &[u8]) -> Result<TypeName, Fault<'a>> {
        const RULE: &str = "a name is letters A to Z, digits, `_` and `-`, as in `web` or `mail-worker`";
        let Ok(text) = std::str::from_utf8(bytes) else {
            let at = indent + bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
            return Err(self.fault(at, "the name is not UTF-8", RULE));
        };
        let trimmed = text.trim_end_matches([' ', '\t']);
        if trimmed.len() < text.len() && trimmed.parse::<TypeName>().is_ok() {
            let reason = format!("there is a space before ':' in `{trimmed} :`");
            return Err(self.fault(indent + trimmed.len(), reason, "the colon follows the name at once"));
        }
        text.parse().map_err(|invalid: InvalidTypeName| {
            let (at, help) = match &invalid {
                InvalidTypeName::Empty => (0, "write a name before the colon"),
                InvalidTypeName::Start(_) => (0, RULE),
                InvalidTypeName::Character(character, _) => {
                    (text.char_indices().nth(*character).map_or(0, |(byte, _)| byte), RULE)
                }
                InvalidTypeName::TooLong(_) => (0, "shorten it"),
                InvalidTypeName::Reserved => {
                    (0, "`all`, `run` and `supervise` mean something else: choose another")
                }
            };
            let reason = match &invalid {
                InvalidTypeName::Reserved => format!("the name `{text}` is reserved"),
                InvalidTypeName::Empty
                | InvalidTypeName::Start(_)
                | InvalidTypeName::Character(..)
                | InvalidTypeName::TooLong(_) => invalid.to_string(),
            };
            self.fault(indent + at, reason, help)
        })
    }
}

/// Whether the last backslash is not itself escaped.
fn ends_with_backslash(text: &[u8]) -> bool {
    text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| is_blank(**byte)).count()..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    &text[..text.len() - text.iter().rev().take_while(|byte| is_blank(**byte)).count()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Diagnostics> {
        let entries = parse(Path::new("Procfile"), text)?;
        Ok(entries.into_iter().map(|entry| (entry.name.to_string(), entry.command)).collect())
    }

    #[test]
    fn rows_1_to_41_each_entry_is_read_as_promised() {
        let long = "x".repeat(63);
        let long_line = format!("web: {}", "y".repeat(70 << 10));
        for (row, text, expected) in [
            (1, "web: cmd", "web|cmd"),
            (2, "web:cmd", "web|cmd"),
            (4, " web: cmd", "web|cmd"),
            (5, "\tweb: cmd", "web|cmd"),
            (6, "web:\tcmd", "web|cmd"),
            (9, "web: cmd  ", "web|cmd"),
            (10, "web: cmd # c", "web|cmd # c"),
            (11, "# web: cmd\n#web: cmd\nx: y", "x|y"),
            (12, " # web: x\nx: y", "x|y"),
            (14, "web: a \\\n  b", "web|a   b"),
            (14, "web: a\\\\\nx: b", "web|a\\\\,x|b"),
            (14, "web: a\\\r\nb\\\r\nc", "web|abc"),
            (14, "web: \\\n cmd", "web|cmd"),
            (14, "# a \\\nx: y", "x|y"),
            (14, "web: a \\\n# b", "web|a # b"),
            (15, "web: a\r\nx: b\r\n", "web|a,x|b"),
            (17, "web: a\u{c}b\u{2028}c: d", "web|a\u{c}b\u{2028}c: d"),
            (18, "web: a\nx: b", "web|a,x|b"),
            (19, "\n\nweb: a\n \t\n\nx: b\n\n", "web|a,x|b"),
            (24, "WEB: x\nweb: y", "WEB|x,web|y"),
            (25, "2web: x", "2web|x"),
            (26, &format!("{long}: x"), &format!("{long}|x")),
            (28, "release: x", "release|x"),
            (29, "web: a: b", "web|a: b"),
            (30, "web: FOO=1 cmd", "web|FOO=1 cmd"),
            (31, "web: cd x && cmd", "web|cd x && cmd"),
            (32, "web: \"0.0.0.0:$PORT\"", "web|\"0.0.0.0:$PORT\""),
            (33, "web: echo $PORTAL '$PORT'", "web|echo $PORTAL '$PORT'"),
            (36, "http://x", "http|//x"),
            (37, "\u{feff}web: x", "web|x"),
            (41, &long_line, &long_line.replacen(": ", "|", 1)),
            // What other suites have as valid.
            (
                0,
                "cron: a\nweb: a\nwor-ker: a\ncustom: a\n2custom: a\nworker_2: a",
                "cron|a,web|a,wor-ker|a,custom|a,2custom|a,worker_2|a",
            ),
            (0, "web: node web.js # testing inline comment", "web|node web.js # testing inline comment"),
            (0, "asdf:\techo derp", "asdf|echo derp"),
        ] {
            let found = read(text.as_bytes()).unwrap_or_else(|errors| panic!("row {row}: {errors}"));
            let shown: Vec<String> = found
                .iter()
                .map(|(name, command)| format!("{name}|{}", String::from_utf8_lossy(command)))
                .collect();
            assert_eq!(shown.join(","), expected, "row {row}: {text:?}");
        }
    }

    #[test]
    fn rows_3_to_42_everything_else_is_an_error_with_its_place_and_reason() {
        let long = format!("{}: x", "x".repeat(64));
        let endless = format!("web: {}", "y".repeat(1 << 20));
        for (row, text, place, reason) in [
            (3, "web :cmd", (1, 4), "space before ':'"),
            (3, "a: b\n  indented  :  echo", (2, 11), "space before ':'"),
            (7, "web:", (1, 4), "`web` has no command"),
            (8, "web:   ", (1, 4), "`web` has no command"),
            (13, "// web: x", (1, 1), "begins with a letter"),
            (14, "web: a \\", (1, 8), "the file ends"),
            (14, "web: a \\ \nb", (1, 8), "white space follows the backslash"),
            (16, "a: x\rb: y", (1, 5), "carriage return"),
            (20, "web: a\nx: y\nweb: b", (3, 0), "on lines 1 and 3"),
            (21, "we b: c", (1, 3), "no ` `"),
            (21, "we.b: c", (1, 3), "no `.`"),
            (21, "is_w.e.b: x", (1, 5), "no `.`"),
            (21, "a/b: c", (1, 2), "no `/`"),
            (21, "web.1: c", (1, 4), "no `.`"),
            (22, "w\u{e9}b: c", (1, 2), "no `\u{e9}`"),
            (23, "-: x", (1, 1), "not with `-`"),
            (23, "-foo: x", (1, 1), "not with `-`"),
            (26, &long, (1, 1), "at most 63"),
            (27, "all: x", (1, 1), "`all` is reserved"),
            (27, "run: x", (1, 1), "`run` is reserved"),
            (27, "supervise: x", (1, 1), "`supervise` is reserved"),
            (35, "<<<<<<< HEAD", (1, 1), "no colon"),
            (38, "web: a\0b", (1, 7), "NUL"),
            (40, "", (0, 0), "no process is defined"),
            (40, "# only\n\n  # comments\n", (0, 0), "no process is defined"),
            (41, &endless, (1, 0), "longer than 1 MiB"),
            // What other suites have as invalid.
            (0, "&&&&&", (1, 1), "no colon"),
            (0, ": rails -s", (1, 1), "the name is empty"),
            (0, "a: b\ninvalid_line_no_colon", (2, 1), "no colon"),
        ] {
            let errors = read(text.as_bytes()).expect_err(text);
            assert_eq!(errors.len(), 1, "row {row}: {errors}");
            let error = errors.iter().next().expect("one");
            let file = "Procfile".into();
            let place = match place {
                (0, _) => Place::File(file),
                (line, 0) => Place::Line(file, line),
                (line, column) => Place::Column(file, line, column),
            };
            assert_eq!(error.place, place, "row {row}: {error}");
            assert!(error.reason.contains(reason), "row {row}: {error}");
            assert!(error.help.is_some(), "row {row}: {error}");
        }
    }

    #[test]
    fn row_39_bytes_of_a_command_are_kept_and_a_name_has_none() {
        let entries = read(b"web: a\xff\xfeb").expect("commands are bytes");
        assert_eq!(entries, [("web".to_owned(), b"a\xff\xfeb".to_vec())]);
        let errors = read(b"w\xffb: a").expect_err("a name is no bytes");
        assert!(errors.to_string().contains("Procfile:1:2: the name is not UTF-8"), "{errors}");
    }

    #[test]
    fn every_error_is_found_in_one_run() {
        let errors =
            read(b"a\nweb: 1\nb c: 1\nx:\nweb: 2\nall: 3\nok: 4\0\nb: \\").expect_err("most are wrong");
        let lines: Vec<String> = errors.iter().map(|error| error.place.to_string()).collect();
        let begins = ["1:1", "3:2", "4:2", "5", "6:1", "7:6", "8:4"].map(|at| format!("Procfile:{at}: "));
        assert_eq!(lines, begins);
    }

    /// A line and whether it is wrong, alone in its file.
    fn line(number: usize) -> impl Strategy<Value = (String, bool)> {
        prop_oneof![
            Just((format!("n{number}: cmd"), false)),
            "[ \t]{0,2}(#[^\n\r\0\\\\]{0,8})?".prop_map(|line| (line, false)),
            "[a-z]{1,4}".prop_map(|line| (line, true)),
            "[.-][a-z]{0,4}: x".prop_map(|line| (line, true)),
            "[a-z]{1,4}: *".prop_map(|line| (line, true)),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_no_error_can_move_the_cursor(text: Vec<u8>) {
            if let Err(errors) = read(&text) {
                let shown = errors.to_string();
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
            }
        }

        #[test]
        fn no_line_is_lost_in_silence(lines in (1usize..12).prop_flat_map(|n| (0..n).map(line).collect::<Vec<_>>())) {
            let text: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
            let wrong: Vec<usize> =
                lines.iter().enumerate().filter(|(_, (_, wrong))| *wrong).map(|(index, _)| index + 1).collect();
            let entries = lines.iter().filter(|(line, wrong)| !wrong && line.starts_with('n')).count();
            match parse(Path::new("P"), text.join("\n").as_bytes()) {
                Ok(found) => prop_assert_eq!((found.len(), wrong), (entries, vec![])),
                Err(errors) if entries == 0 && wrong.is_empty() => prop_assert_eq!(errors.len(), 1),
                Err(errors) => {
                    let found: Vec<usize> = errors.iter().map(|error| match error.place {
                        Place::Line(_, line) | Place::Column(_, line, _) => line,
                        Place::Arguments | Place::Environment | Place::File(_) => 0,
                    }).collect();
                    prop_assert_eq!(found, wrong);
                }
            }
        }
    }
    #[test]
    fn a_line_that_goes_on_and_on_behind_much_white_space_is_read_once() {
        let text = format!("{}a: \\\n{}x", " ".repeat(200_000), "\\\n".repeat(200_000));
        let entries = parse(Path::new("f"), text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(entries[0].command, b"x");
        let many = (0..50_000).map(|nth| format!("t{nth}: x\n")).collect::<Vec<_>>().concat();
        assert_eq!(parse(Path::new("f"), many.as_bytes()).map(|entries| entries.len()), Ok(50_000));
    }
}
