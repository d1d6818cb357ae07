//! Env files: `NAME=value`, one per line.
//!
//! Every tool reads them a little differently; this is our reading (CONTRACT section 4), chosen so that passwords
//! survive: nothing is expanded unless asked for, and an unquoted value is what stands there. An error names file and
//! line and shows nothing of the line: it may be a piece of a secret.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics, Place};

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

/// Finds the value of a variable for `--env-expand`, given those of this file so far.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, &[Assignment]) -> Option<OsString>;

/// Reads the text of an env file; with `expand`, `$NAME` and `${NAME}` outside single quotes are replaced.
///
/// # Errors
/// All of them, up to a quote that is never closed: what follows it may be anything.
pub(super) fn parse(
    path: &Path,
    text: &[u8],
    expand: Option<Lookup<'_>>,
) -> Result<Vec<Assignment>, Diagnostics> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1 };
    let mut assignments = Vec::new();
    let mut errors = Diagnostics::default();
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.line(expand, &assignments) {
            Ok(Some((name, value))) => {
                assignments.push(Assignment { name, value: OsString::from_vec(value), line });
            }
            Ok(None) => {}
            Err(fault) => {
                errors.push(
                    Diagnostic::new(Place::Line(path.to_owned(), line), fault.reason())
                        .with_help(fault.help()),
                );
                match fault {
                    Fault::Unterminated => break,
                    Fault::NoEquals
                    | Fault::BadName
                    | Fault::AfterQuote(_)
                    | Fault::Nul(_)
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
    BadExpansion(String),
}

impl Fault {
    fn reason(&self) -> String {
        match self {
            Fault::NoEquals => "there is no `=` after a name in the line".to_owned(),
            Fault::BadName => "what stands before `=` is no name of a variable".to_owned(),
            Fault::Unterminated => "a quote that is opened here is never closed".to_owned(),
            Fault::AfterQuote(name) => format!("something follows the closing quote of `{name}`"),
            Fault::Nul(name) => format!("there is a NUL byte in the value of `{name}`"),
            Fault::BadExpansion(name) => format!("there is a `${{` in `{name}` that is not `${{NAME}}`"),
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
            Fault::BadExpansion(_) => "close it, write `\\$` in double quotes, or use single quotes",
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Of the next byte, from 1.
    line: usize,
}

type Pair = (String, Vec<u8>);

impl<'a> Reader<'a> {
    /// Reads up to the next newline that is not inside quotes. After an error the reader stands somewhere on the line.
    fn line(&mut self, expand: Option<Lookup<'_>>, earlier: &[Assignment]) -> Result<Option<Pair>, Fault> {
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
        let mut value = Vec::new();
        for piece in pieces {
            match (piece, expand) {
                (Piece::Open(bytes), Some(lookup)) => {
                    let lookup = |name: &str| lookup(name, earlier);
                    expand_into(&mut value, &bytes, &lookup)
                        .map_err(|()| Fault::BadExpansion(name.clone()))?;
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

/// `$NAME` and `${NAME}`; a variable that is not set is empty, and a `$` before anything else is itself.
fn expand_into(
    value: &mut Vec<u8>,
    mut text: &[u8],
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), ()> {
    while let Some(dollar) = memchr::memchr(b'$', text) {
        value.extend_from_slice(&text[..dollar]);
        text = &text[dollar + 1..];
        let braced = text.first() == Some(&b'{');
        let name = &text[usize::from(braced)..];
        let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let named = length > 0 && !name[0].is_ascii_digit();
        match (braced, named) {
            (true, true) if name.get(length) == Some(&b'}') => text = &text[length + 2..],
            (true, _) => return Err(()),
            (false, true) => text = &text[length..],
            (false, false) => {
                value.push(b'$');
                continue;
            }
        }
        let name = std::str::from_utf8(&name[..length]).map_err(|_| ())?;
        value.extend(lookup(name).unwrap_or_default().into_vec());
    }
    value.extend_from_slice(text);
    Ok(())
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
