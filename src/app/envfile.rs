//! Env files: `NAME=value`, one per line.
//!
//! Every tool reads them a little differently; this is our reading, chosen so that passwords survive: nothing is expanded
//! unless asked for, and an unquoted value is what stands there. An error names file and line and shows nothing of the
//! line: it may be a piece of a secret. No crate reads it so: dotenvy always expands, refuses `A=b c`, takes `$DB_USER`
//! for `$DB` and a text, and puts the whole line into its errors.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::expand::{Unfit, expand_into};

/// One variable of an env file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// `[A-Za-z_][A-Za-z0-9_]*`.
    pub(super) name: String,
    /// Any bytes but NUL.
    pub(super) value: OsString,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// Shows no value.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on line {}", self.name, self.line)
    }
}

/// Finds the value of a variable for `--env-expand`, given what this file says of it so far.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, Option<&OsString>) -> Option<OsString>;

/// What is more than the bytes that stand there.
#[derive(Clone, Copy)]
pub(super) enum Escapes<'a> {
    /// Backslashes in double quotes; with a look-up, `$NAME` and `${NAME}` outside single quotes, too.
    Usual(Option<Lookup<'a>>),
    /// Backslashes in double quotes, `\r` among them: what [`write()`] writes.
    Kept,
}

/// Writes an env file that reads back byte for byte as [`Escapes::Kept`]. Names are such that a shell could set them, values are
/// without NUL, as those of every environment.
#[must_use]
pub fn write(variables: &[(String, OsString)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in variables {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"=\"");
        for byte in value.as_bytes() {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                b'\\' | b'"' => text.extend([b'\\', *byte]),
                plain => text.push(*plain),
            }
        }
        text.extend_from_slice(b"\"\n");
    }
    text
}

/// Reads what [`write()`] has written.
///
/// # Errors
/// Somebody else wrote it.
pub fn read_kept(path: &Path, text: &[u8]) -> Result<Vec<(String, OsString)>, Diagnostics> {
    let assignments = read(path, text, Escapes::Kept)?;
    Ok(assignments.into_iter().map(|found| (found.name, found.value)).collect())
}

/// Reads the text of an env file as users write them; with `expand`, `$NAME` and `${NAME}` outside single quotes are replaced.
///
/// # Errors
/// As those of [`read`].
#[cfg(test)]
fn parse(path: &Path, text: &[u8], expand: Option<Lookup<'_>>) -> Result<Vec<Assignment>, Diagnostics> {
    read(path, text, Escapes::Usual(expand))
}

/// Reads the text of an env file.
///
/// # Errors
/// All of them, up to a quote that is never closed: what follows it may be anything.
pub(super) fn read(path: &Path, text: &[u8], escapes: Escapes<'_>) -> Result<Vec<Assignment>, Diagnostics> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let (expand, has_cr) = match escapes {
        Escapes::Usual(expand) => (expand, false),
        Escapes::Kept => (None, true),
    };
    let mut reader = Reader { rest: text, line: 1, has_cr, room: MOST_EXPANDED };
    let mut assignments: Vec<Assignment> = Vec::new();
    // Where the last value of each stands; of use to nobody else.
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut errors = Diagnostics::default();
    while !reader.rest.is_empty() {
        let line = reader.line;
        let earlier = |name: &str| last.get(name).map(|at| &assignments[*at].value);
        match reader.line(expand, &earlier) {
            Ok(Some((name, value))) => {
                if expand.is_some() {
                    last.insert(name.clone(), assignments.len());
                }
                assignments.push(Assignment { name, value: OsString::from_vec(value), line });
            }
            Ok(None) => {}
            Err(fault) => {
                errors.push(
                    Diagnostic::new(Place::Line(path.to_owned(), line), fault.reason())
                        .with_help(fault.help()),
                );
                match fault {
                    Fault::Unterminated | Fault::TooMuch(_) => break,
                    Fault::NoEquals
                    | Fault::BadName
                    | Fault::AfterQuote(_)
                    | Fault::Nul(_)
                    | Fault::LoneCr(_)
                    | Fault::BadExpansion(_) => reader.skip_line(),
                }
            }
        }
    }
    if errors.is_empty() { Ok(assignments) } else { Err(errors) }
}

/// What can be wrong with a line. A name is known only where it is a valid one that `=` follows.
enum Fault {
    NoEquals,
    BadName,
    Unterminated,
    AfterQuote(String),
    Nul(String),
    LoneCr(String),
    BadExpansion(String),
    TooMuch(String),
}

impl Fault {
    fn reason(&self) -> String {
        match self {
            Fault::NoEquals => "there is no `=` after a name in the line".to_owned(),
            Fault::BadName => "what stands before `=` is no name of a variable".to_owned(),
            Fault::Unterminated => "a quote that is opened here is never closed".to_owned(),
            Fault::AfterQuote(name) => format!("something follows the closing quote of `{name}`"),
            Fault::Nul(name) => format!("there is a NUL byte in the value of `{name}`"),
            Fault::LoneCr(name) => format!("there is a carriage return in the value of `{name}`"),
            Fault::BadExpansion(name) => format!("there is a `${{` in `{name}` that is not `${{NAME}}`"),
            Fault::TooMuch(name) => {
                format!("with `{name}` the variables that are replaced in this file come to more than 16 MiB")
            }
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Fault::NoEquals => "a line is `NAME=value`; a comment begins with `#`",
            Fault::BadName => "a name is letters A to Z, digits and `_`, and does not begin with a digit",
            Fault::Unterminated => {
                "close it; a value with a quote in it can stand in quotes of the other kind"
            }
            Fault::AfterQuote(_) => "put the whole value in quotes; a comment needs a space before its `#`",
            Fault::Nul(_) => "no variable can contain one: remove it",
            Fault::LoneCr(_) => "end lines with a newline, or with a carriage return and a newline",
            Fault::BadExpansion(_) => "close it, write `\\$` in double quotes, or use single quotes",
            Fault::TooMuch(_) => "no process can be given so much: let fewer of them stand in others",
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Of the next byte, from 1.
    line: usize,
    /// Whether `\r` in double quotes is a carriage return.
    has_cr: bool,
    /// So many bytes may still be put in the place of variables.
    room: usize,
}

/// As large as a file may be: a few lines that each name the one before twice would be larger than any memory.
const MOST_EXPANDED: usize = 16 << 20;

type Pair = (String, Vec<u8>);

impl Reader<'_> {
    /// Reads up to the next newline that is not inside quotes. After an error the reader stands somewhere on the line.
    fn line<'e>(
        &mut self,
        expand: Option<Lookup<'_>>,
        earlier: &dyn Fn(&str) -> Option<&'e OsString>,
    ) -> Result<Option<Pair>, Fault> {
        self.skip_blanks();
        if matches!(self.rest.first(), None | Some(b'\n' | b'#')) {
            self.skip_line();
            return Ok(None);
        }
        let name = self.name()?;
        let value = self.rest;
        self.skip_blanks();
        let quoted = match self.rest.first() {
            Some(b'\'') => self.single_quoted()?,
            Some(b'"') => self.double_quoted()?,
            Some(_) | None => Vec::new(),
        };
        let pieces = if quoted.is_empty() {
            vec![Piece::Open(unquoted(value))]
        } else {
            self.end_after_quote(&name)?;
            quoted
        };
        if pieces.iter().any(|piece| piece.bytes().contains(&0)) {
            return Err(Fault::Nul(name));
        }
        if pieces.iter().any(|piece| !matches!(piece, Piece::Escaped(_)) && piece.bytes().contains(&b'\r')) {
            return Err(Fault::LoneCr(name));
        }
        let mut value = Vec::new();
        for piece in pieces {
            match (piece, expand) {
                (Piece::Open(bytes), Some(lookup)) => {
                    let lookup = |name: &str| lookup(name, earlier(name));
                    expand_into(&mut value, &bytes, &lookup, &mut self.room).map_err(
                        |unfit| match unfit {
                            Unfit::NoName => Fault::BadExpansion(name.clone()),
                            Unfit::TooMuch => Fault::TooMuch(name.clone()),
                        },
                    )?;
                }
                (Piece::Escaped(byte), None) if byte == b'$' => value.extend([b'\\', byte]),
                (piece, _) => value.extend_from_slice(piece.bytes()),
            }
        }
        self.skip_line();
        Ok(Some((name, value)))
    }

    /// `NAME=` or `export NAME=`, with blanks around the name.
    fn name(&mut self) -> Result<String, Fault> {
        let line = &self.rest[..memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len())];
        let equals = memchr::memchr(b'=', line).ok_or(Fault::NoEquals)?;
        let mut name = line[..equals].trim_ascii();
        if let Some(exported) =
            name.strip_prefix(b"export").filter(|rest| rest.first().is_some_and(|b| is_blank(*b)))
        {
            name = exported.trim_ascii();
        }
        let valid = std::str::from_utf8(name).ok().filter(|name| is_variable_name(name.as_bytes()));
        let name = valid.ok_or(Fault::BadName)?.to_owned();
        self.rest = &self.rest[equals + 1..];
        Ok(name)
    }

    fn single_quoted(&mut self) -> Result<Vec<Piece>, Fault> {
        let body = &self.rest[1..];
        let end = memchr::memchr(b'\'', body).ok_or(Fault::Unterminated)?;
        self.advance(end + 2);
        Ok(vec![Piece::Closed(unix_newlines(&body[..end]))])
    }

    fn double_quoted(&mut self) -> Result<Vec<Piece>, Fault> {
        let body = &self.rest[1..];
        let mut pieces = Vec::new();
        let mut open = Vec::new();
        let mut index = 0;
        loop {
            let byte = *body.get(index).ok_or(Fault::Unterminated)?;
            let escaped = body.get(index + 1).copied();
            index += 1;
            match (byte, escaped) {
                (b'"', _) => break,
                (b'\\', Some(b'r')) if self.has_cr => {
                    index += 1;
                    pieces.push(Piece::Open(unix_newlines(&std::mem::take(&mut open))));
                    pieces.push(Piece::Escaped(b'\r'));
                }
                (b'\\', Some(code @ (b'n' | b't' | b'\\' | b'"' | b'$'))) => {
                    index += 1;
                    pieces.push(Piece::Open(unix_newlines(&std::mem::take(&mut open))));
                    pieces.push(Piece::Escaped(match code {
                        b'n' => b'\n',
                        b't' => b'\t',
                        other => other,
                    }));
                }
                (other, _) => open.push(other),
            }
        }
        pieces.push(Piece::Open(unix_newlines(&open)));
        self.advance(index + 1);
        Ok(pieces)
    }

    /// After a closing quote only blanks and a comment may follow.
    fn end_after_quote(&mut self, name: &str) -> Result<(), Fault> {
        let before = self.rest;
        self.skip_blanks();
        match self.rest.first() {
            None | Some(b'\n') => Ok(()),
            Some(b'#') if self.rest.len() < before.len() => Ok(()),
            Some(_) => Err(Fault::AfterQuote(name.to_owned())),
        }
    }

    /// Spaces, tabs, and the CR of a CRLF.
    fn skip_blanks(&mut self) {
        let blanks = self.rest.iter().take_while(|byte| is_blank(**byte) || **byte == b'\r').count();
        self.rest = &self.rest[blanks..];
    }

    fn skip_line(&mut self) {
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |newline| newline + 1);
        self.advance(end);
    }

    fn advance(&mut self, bytes: usize) {
        self.line += memchr::memchr_iter(b'\n', &self.rest[..bytes]).count();
        self.rest = &self.rest[bytes..];
    }
}

/// Whether a shell could set it (POSIX, Base Definitions, 3.230 Name).
pub(super) fn is_variable_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What stands on the rest of the line, up to a `#` that follows a blank, without the blanks around it.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let comment = line.windows(2).position(|pair| is_blank(pair[0]) && pair[1] == b'#').unwrap_or(line.len());
    line[..comment].trim_ascii().to_vec()
}

/// A piece of a value.
enum Piece {
    /// `$` may be expanded in it.
    Open(Vec<u8>),
    /// From single quotes: literal.
    Closed(Vec<u8>),
    /// A byte that a backslash in double quotes stands for: literal.
    Escaped(u8),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Open(bytes) | Piece::Closed(bytes) => bytes,
            Piece::Escaped(byte) => std::slice::from_ref(byte),
        }
    }
}

/// In a file with CRLF a value that spans lines has ordinary newlines.
fn unix_newlines(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (index, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(index + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
#[path = "envfile_tests.rs"]
mod tests;
