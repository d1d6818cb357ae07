//! The Procfile: `name: command`, one per line.
//!
//! Every line is an entry, a comment, blank, or an error; none is skipped in silence. Command bytes are not
//! interpreted here and need not be UTF-8.

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
    let mut errors = Diagnostics::default();
    for logical in logical_lines(text) {
        match logical.and_then(|line| line.entry()) {
            Ok(None) => {}
            Ok(Some(entry)) => match entries.iter().find(|earlier| earlier.name == entry.name) {
                None => entries.push(entry),
                Some(earlier) => errors.push(
                    Diagnostic::new(
                        Place::Line(path.to_owned(), entry.line),
                        format!(
                            "`{}` is there twice: on lines {} and {}",
                            entry.name, earlier.line, entry.line
                        ),
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
        let mut logical = Logical { number, first, text: first.to_vec() };
        let mut last = (number, first);
        while logical.is_entry() && ends_with_backslash(&logical.text) {
            logical.text.pop();
            let Some((number, line)) = physical.next() else {
                fault =
                    fault.or(Some(unfinished(last.0, last.1, "the file ends where a line should follow")));
                break;
            };
            last = (number, line);
            fault = fault.or_else(|| check(number, line).err());
            logical.text.extend_from_slice(line);
        }
        let trimmed = trim_end(last.1);
        if fault.is_none()
            && logical.is_entry()
            && trimmed.len() < last.1.len()
            && ends_with_backslash(trimmed)
        {
            fault = Some(unfinished(
                last.0,
                last.1,
                "white space follows the backslash, so it continues nothing",
            ));
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

fn unfinished<'a>(line: usize, source: &'a [u8], reason: &str) -> Fault<'a> {
    let at = trim_end(source).len().checked_sub(1);
    let help = "a backslash at the very end of a line continues it on the next; remove what is too much";
    Fault { line, at, source, reason: reason.to_owned(), help: Some(help.to_owned()) }
}

impl<'a> Logical<'a> {
    /// Whether it is neither blank nor a comment: only entries are continued.
    fn is_entry(&self) -> bool {
        let text = trim_start(&self.text);
        !text.is_empty() && text[0] != b'#'
    }

    fn fault(&self, at: usize, reason: impl Into<String>, help: &str) -> Fault<'a> {
        let (line, source) = (self.number, self.first);
        Fault { line, at: Some(at), source, reason: reason.into(), help: Some(help.to_owned()) }
    }

    /// The entry it is; `None` for a blank line or a comment.
    fn entry(&self) -> Result<Option<Entry>, Fault<'a>> {
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
