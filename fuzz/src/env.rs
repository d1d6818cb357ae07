//! Whatever stands in an env file, it is read as it stands there, or refused without a piece of it in the message.
//!
//! A file that begins with `+` is read with `--env-expand`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use supervise::app::bare::env_file;
use supervise::app::{Diagnostics, Expansion, read_env_file, write_env_file};

pub(crate) fn check(input: &[u8]) {
    let (expansion, input) = match input.strip_prefix(b"+") {
        Some(rest) => (Expansion::Expand, rest),
        None => (Expansion::Literal, input),
    };
    let found = match env_file(input, expansion) {
        Ok(found) => found,
        Err(errors) => return expect_silent(&errors, input),
    };
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut before = 0;
    for (name, value, line) in &found {
        assert!(is_name(name) && !value.as_bytes().contains(&0));
        assert!(*line > before, "two on one line");
        before = *line;
        let line = String::from_utf8_lossy(lines[line - 1]);
        assert!(line.split('=').next().expect("a first piece").trim_end().ends_with(name), "{line}");
    }
    let pairs: Vec<(String, OsString)> = found.into_iter().map(|(name, value, _)| (name, value)).collect();
    let read =
        read_env_file(Path::new("f"), &write_env_file(&pairs)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(read, pairs, "as a release keeps it");
    quoted(&pairs);
    if let (Expansion::Literal, Ok(text)) = (expansion, std::str::from_utf8(text)) {
        dotenvy_agrees(text, &pairs);
    }
}

/// What single quotes can hold reads back from them.
fn quoted(pairs: &[(String, OsString)]) {
    let can = |value: &OsString| !value.as_bytes().iter().any(|byte| b"'\r".contains(byte));
    let mut text = Vec::new();
    for (name, value) in pairs.iter().filter(|(_, value)| can(value)) {
        text.extend_from_slice(format!("export {name} = '").as_bytes());
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"' # why\n");
    }
    for expansion in [Expansion::Literal, Expansion::Expand] {
        let read = env_file(&text, expansion).unwrap_or_else(|errors| panic!("{errors}"));
        let read: Vec<_> = read.into_iter().map(|(name, value, _)| (name, value)).collect();
        let could: Vec<_> = pairs.iter().filter(|(_, value)| can(value)).cloned().collect();
        assert_eq!(read, could);
    }
}

/// Where every line is one that all tools read alike, ours and theirs are the same.
fn dotenvy_agrees(text: &str, pairs: &[(String, OsString)]) {
    let plain =
        |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@%+,-".contains(&byte));
    let between = |value: &str, quote: char| {
        let inside = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        inside.is_some_and(|inside| {
            inside.bytes().all(|byte| byte == b' ' || byte == b'#' || plain(&char::from(byte).to_string()))
        })
    };
    let usual = |line: &str| {
        line.is_empty()
            || line.starts_with('#')
            || line.split_once('=').is_some_and(|(name, value)| {
                // Theirs takes a line `export` for one without a name, and names with a dot.
                is_name(name)
                    && name != "export"
                    && (plain(value) || between(value, '\'') || between(value, '"'))
            })
    };
    if !text.lines().all(usual) || text.contains('\r') {
        return;
    }
    let theirs: Result<Vec<(String, String)>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    let theirs: Vec<(String, OsString)> =
        theirs.expect("it is usual").into_iter().map(|(name, value)| (name, value.into())).collect();
    assert_eq!(pairs, theirs);
}

/// In backticks there is nothing but names of variables and what the grammar itself is made of.
fn expect_silent(errors: &Diagnostics, input: &[u8]) {
    super::expect_good(errors, input);
    for error in errors.iter() {
        assert_eq!(error.source, None);
        for quoted in error.reason.split('`').skip(1).step_by(2) {
            assert!(is_name(quoted) || ["=", "${", "${NAME}"].contains(&quoted), "{error}");
        }
        let spoken: String = error.reason.split('`').step_by(2).collect();
        assert!(spoken.chars().all(|c| c.is_ascii_alphanumeric() || " ,;".contains(c)), "{error}");
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
