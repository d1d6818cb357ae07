//! `config`: the environment that each process type gets, and where each value is from. A value is shown only if asked for.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use crate::app::{self, Diagnostics, Environment, Inputs};

use super::refuse;

/// Whether values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Every one as `(hidden)`.
    Hidden,
    /// Every one, on one line each.
    Shown,
}

/// Lists the environment of one process type, or of each, as slot 1 gets it; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn config(
    inputs: &Inputs,
    process_type: Option<&str>,
    values: Values,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    match environments(inputs, process_type) {
        Ok(environments) => {
            for (index, (name, environment)) in environments.iter().enumerate() {
                if process_type.is_none() {
                    let gap = if index > 0 { "\n" } else { "" };
                    writeln!(out, "{gap}{name}:")?;
                }
                writeln!(out, "{}", table(environment, values))?;
            }
            Ok(0)
        }
        Err(errors) => Ok(refuse(&errors, err)),
    }
}

fn environments(
    inputs: &Inputs,
    process_type: Option<&str>,
) -> Result<Vec<(String, Environment)>, Diagnostics> {
    let release = app::plan(inputs)?;
    let asked = match process_type {
        Some(name) => vec![release.named(name)?],
        None => release.types.iter().collect(),
    };
    let of_slot_1 = |entry| release.environment_of(entry, 1, "(its own for each process)");
    Ok(asked.into_iter().map(|entry| (entry.name.to_string(), of_slot_1(entry))).collect())
}

/// `NAME  value  origin`, in columns.
fn table(environment: &Environment, values: Values) -> String {
    let rows: Vec<[String; 3]> = environment
        .iter()
        .map(|(name, variable)| [one_line(name), shown(&variable.value, values), variable.origin.to_string()])
        .collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).min(WIDEST);
    let (names, texts) = (width(0), width(1));
    let lines: Vec<String> =
        rows.iter().map(|[name, value, origin]| format!("{name:names$}  {value:texts$}  {origin}")).collect();
    lines.join("\n")
}

/// A value on one line, or not at all.
pub(super) fn shown(value: &OsStr, values: Values) -> String {
    match values {
        Values::Hidden => "(hidden)".to_owned(),
        Values::Shown => one_line(value),
    }
}

/// A longer value pushes only its own origin to the right.
const WIDEST: usize = 40;

/// The text itself, or quoted with escapes where it is not printable.
fn one_line(text: &OsStr) -> String {
    match text.to_str() {
        Some(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Some(text) => format!("\"{}\"", text.escape_debug()),
        None => format!("\"{}\"", text.as_bytes().escape_ascii()),
    }
}
