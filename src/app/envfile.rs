//! Env files: `NAME=value`, one per line.
//!
//! Every tool reads them a little differently; this is our reading, chosen so that passwords survive: nothing is expanded
//! unless asked for, and an unquoted value is what stands there. An error names file and line and shows nothing of the
//! line: it may be a piece of a secret. No crate reads it so: dotenvy always expands, refuses `A=b c`, takes `$DB_USER`
//! for `$DB` and a text, and puts the whole line into its errors.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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

/// Shows no value.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on line {}", self.name, self.line)
    }
}

/// Finds the value of a variable for `--env-expand`, given those of this file so far.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, &[Assignment]) -> Option<OsString>;

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
    let mut reader = Reader { rest: text, line: 1, has_cr };
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
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Of the next byte, from 1.
    line: usize,
    /// Whether `\r` in double quotes is a carriage return.
    has_cr: bool,
}

type Pair = (String, Vec<u8>);

impl Reader<'_> {
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
        if pieces.iter().any(|piece| !matches!(piece, Piece::Escaped(_)) && piece.bytes().contains(&b'\r')) {
            return Err(Fault::LoneCr(name));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Diagnostics> {
        let assignments = parse(Path::new(".env"), text, None)?;
        Ok(assignments.into_iter().map(|found| (found.name, found.value.into_vec())).collect())
    }

    fn value(text: &str) -> String {
        let found = pairs(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let (name, value) = found.last().unwrap_or_else(|| panic!("nothing in {text}"));
        format!("{name}={}", String::from_utf8_lossy(value))
    }

    #[test]
    fn rows_43_to_68_each_value_is_read_as_promised() {
        for (row, text, expected) in [
            (43, "A = b", "A=b"),
            (44, "export A=b", "A=b"),
            (44, "export\tA=2", "A=2"),
            (44, "exportFOO=2", "exportFOO=2"),
            (44, "export=2", "export=2"),
            (45, "A=b c", "A=b c"),
            (46, "A=b # c", "A=b"),
            (46, "A=b\t# c", "A=b"),
            (46, "A= # c", "A="),
            (47, "A=b#c", "A=b#c"),
            (47, "A=#fff", "A=#fff"),
            (48, "A=\"a#b\"", "A=a#b"),
            (48, "A=\"a # b\"", "A=a # b"),
            (49, "A=\"x\" # c", "A=x"),
            (49, "FOO='bar#baz' # comment", "FOO=bar#baz"),
            (50, "A=", "A="),
            (50, "A=\"\"", "A="),
            (50, "A=''", "A="),
            (52, "A='a b'", "A=a b"),
            (53, "A=\"x\\ny\"", "A=x\ny"),
            (53, "A=\"x\\ty\"", "A=x\ty"),
            (54, "A='x\\ny'", "A=x\\ny"),
            (55, "A=x\\ny", "A=x\\ny"),
            (57, "A=it's", "A=it's"),
            (58, "A=C:\\path", "A=C:\\path"),
            (58, "A=\"C:\\path\"", "A=C:\\path"),
            (59, "A=\"a\\\"b\"", "A=a\"b"),
            (59, "FOO=\"bar\\\\\"", "FOO=bar\\"),
            (60, "A=$HOME ${HOME}", "A=$HOME ${HOME}"),
            (60, "A=\"$HOME\"", "A=$HOME"),
            (60, "A=\"\\$HOME\"", "A=\\$HOME"),
            (61, "A=  b  ", "A=b"),
            (61, "A='  b  '", "A=  b  "),
            (62, "  A=b", "A=b"),
            (65, "A=\"l1\nl2\"", "A=l1\nl2"),
            (65, "A='l1\r\n\r\nl2'\r\n", "A=l1\n\nl2"),
            (66, "A=b\nA=c", "A=c"),
            (67, "\u{feff}A=b", "A=b"),
            (68, "A=b\r\n", "A=b"),
            (68, "A=\"b\"\r\n", "A=b"),
            (68, "A=b\r\nC=d\r\n", "C=d"),
        ] {
            assert_eq!(value(text), expected, "row {row}: {text:?}");
        }
    }

    #[test]
    fn what_other_suites_expect_of_values_holds() {
        for (text, expected) in [
            ("MYVAR='hello\"world'", "MYVAR=hello\"world"),
            ("MYVAR=\"hello'world\"", "MYVAR=hello'world"),
            ("MYVAR='\"surrounded\"'", "MYVAR=\"surrounded\""),
            ("MYVAR=user@domain.com", "MYVAR=user@domain.com"),
            ("MYVAR=~pun|u@|0n$=", "MYVAR=~pun|u@|0n$="),
            ("MYVAR=\u{2ac}\u{fc}", "MYVAR=\u{2ac}\u{fc}"),
            ("MYVAR='sp ace'", "MYVAR=sp ace"),
            ("OTHER=\"escaped\\\"quote\"", "OTHER=escaped\"quote"),
            ("URL=\"http://example.com/api?foo=bar&baz=1\"", "URL=http://example.com/api?foo=bar&baz=1"),
            ("key = \"quoted#hash\"", "key=quoted#hash"),
            ("base64=aGk===", "base64=aGk==="),
            ("FOO=foobar=", "FOO=foobar="),
            ("JSON={\"a\": \"b # c\"}", "JSON={\"a\": \"b"),
            ("JSON={\"a\": [1,2]}", "JSON={\"a\": [1,2]}"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_an_error_with_its_line_and_nothing_of_its_text() {
        for (row, text, line, reason) in [
            (51, "B=1\nhunter2", 2, "no `=`"),
            (51, "FOOBAR", 1, "no `=`"),
            (56, "B=1\nA=\"hunter2", 2, "never closed"),
            (56, "A='hunter2\nB=2\n", 1, "never closed"),
            (63, "1hunter2=b", 1, "no name"),
            (64, "hunter-2=c", 1, "no name"),
            (64, "hunter.2=c", 1, "no name"),
            (69, "{\"A\": \"hunter2\"}", 1, "no `=`"),
            (69, "A: hunter2", 1, "no `=`"),
            (0, "=hunter2", 1, "no name"),
            (0, "export hunter2", 1, "no `=`"),
            (0, "hunter\u{fc}2=x", 1, "no name"),
            (0, "A=\"x\"hunter2", 1, "follows the closing quote of `A`"),
            (0, "A='x' hunter2", 1, "follows the closing quote of `A`"),
            (0, "A='x\ny'#hunter2", 1, "follows the closing quote of `A`"),
            (0, "A=hunter2\rB=2\n", 1, "a carriage return in the value of `A`"),
            (0, "A='hunter2\rB'\n", 1, "a carriage return in the value of `A`"),
            (0, "A=hunter2\0", 1, "NUL byte in the value of `A`"),
        ] {
            let errors = pairs(text.as_bytes()).expect_err(text);
            assert_eq!(errors.len(), 1, "row {row}: {errors}");
            let error = errors.iter().next().expect("one");
            assert_eq!(error.place, Place::Line(".env".into(), line), "row {row}: {text:?}");
            assert!(error.reason.contains(reason), "row {row}: {text:?}: {error}");
            assert!(!error.to_string().contains("hunter"), "row {row}: {error}");
        }
    }

    #[test]
    fn every_bad_line_is_named_in_one_run_and_the_line_after_a_quote_is_right() {
        let errors = pairs(b"# c\n\nA\nB='1\n2\n3'\nC-D=1\nE=\"x\" y\n").expect_err("three are bad");
        let places: Vec<&Place> = errors.iter().map(|error| &error.place).collect();
        assert_eq!(places, [3, 7, 8].map(|line| Place::Line(".env".into(), line)).iter().collect::<Vec<_>>());
        let lines: Vec<usize> = parse(Path::new("e"), b"A=1\nB='\n\n'\nC=2", None)
            .expect("all are right")
            .iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(lines, [1, 2, 5]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept() {
        assert_eq!(
            pairs(b"A=\xff\xfe b\nB=\"\xff\"\n").expect("values may be any bytes"),
            [("A".to_owned(), b"\xff\xfe b".to_vec()), ("B".to_owned(), b"\xff".to_vec()),]
        );
    }

    #[test]
    fn variables_are_replaced_only_where_asked_for_and_never_in_single_quotes() {
        let lookup = |name: &str, earlier: &[Assignment]| match name {
            "DB_USER" => Some("me".into()),
            name => earlier.iter().find(|found| found.name == name).map(|found| found.value.clone()),
        };
        let text = b"A=$DB_USER:${DB_USER}x\nB=\"$A \\$A\"\nC='$A'\nD=[$NOT_SET]$5 $ $$\nE=a$A\n";
        let found = parse(Path::new("e"), text, Some(&lookup)).expect("all are right");
        let values: Vec<&str> = found.iter().map(|found| found.value.to_str().expect("UTF-8")).collect();
        assert_eq!(values, ["me:mex", "me:mex $A", "$A", "[]$5 $ $$", "ame:mex"]);
        for text in ["A=${hunter2", "A=\"${hunter2:-x}\"", "A=${}"] {
            let errors = parse(Path::new("e"), text.as_bytes(), Some(&lookup)).expect_err(text);
            assert!(!errors.to_string().contains("hunter"), "{errors}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            let _either = parse(Path::new("e"), &text, None);
            let _either = parse(Path::new("e"), &text, Some(&|_, _| None));
        }

        #[test]
        fn no_error_shows_a_secret(
            lines in prop::collection::vec("(A|B|1A|A-B|export C|)(=| = |)['\"]?(zq[0-9]zq|[ #$\\\\{]zq7zq)['\"]?( x| #)?", 1..8),
            expand: bool,
        ) {
            let text = lines.join("\n");
            let nothing: Lookup<'_> = &|_, _| None;
            if let Err(errors) = parse(Path::new(".env"), text.as_bytes(), expand.then_some(nothing)) {
                prop_assert!(!errors.to_string().contains("zq"), "{text}\n{errors}");
            }
        }

        #[test]
        fn where_dotenvy_reads_a_file_without_dollars_we_read_the_same(
            lines in prop::collection::vec(
                "(export )?[A-Z_]{1,3} ?= ?([a-z0-9:/=#.-]{0,6}|'[a-z0-9 #]{0,6}'|\"[a-z0-9 #']{0,6}\"|)( # [a-z ]{0,3})?",
                0..6,
            ),
        ) {
            let text = lines.join("\n");
            let theirs: Result<Vec<(String, String)>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
            // They take a `#` right after `=` for a comment; a colour is a value to us.
            let colours = lines.iter().any(|line| line.split_once('=').is_some_and(|(_, v)| v.trim().starts_with('#')));
            if let (Ok(theirs), false) = (theirs, colours) {
                let ours: Vec<(String, String)> = pairs(text.as_bytes())
                    .expect("they can read it")
                    .into_iter()
                    .map(|(name, value)| (name, String::from_utf8(value).expect("it was UTF-8")))
                    .collect();
                prop_assert_eq!(ours, theirs, "{}", text);
            }
        }

        #[test]
        fn what_we_write_reads_back_byte_for_byte(
            values in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(1..=255_u8, 0..20),
                    prop::collection::vec(prop::sample::select(&b"\\\"'$#={}nrt \t\r\n\xffA"[..]), 0..12),
                ],
                0..5,
            ),
        ) {
            let named = |(index, value): (usize, Vec<u8>)| (format!("V{index}"), OsString::from_vec(value));
            let variables: Vec<(String, OsString)> = values.into_iter().enumerate().map(named).collect();
            let read = read_kept(Path::new("config.env"), &write(&variables)).expect("it is ours");
            prop_assert_eq!(read, variables);
        }
    }
}
