//! `check`: is everything right? Starts nothing.

use std::io::{self, Write};

use crate::app::{self, Inputs};

use super::refuse;

/// Names the process types on `out`, or everything that is wrong on `err`; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn check(inputs: &Inputs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match app::plan(inputs) {
        Ok(release) => {
            let names: Vec<&str> = release.types.iter().map(|entry| entry.name.as_str()).collect();
            writeln!(out, "valid procfile detected ({})", names.join(", "))?;
            Ok(0)
        }
        Err(errors) => Ok(refuse(&errors, err)),
    }
}
