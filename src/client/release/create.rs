//! `release create`: a release of what is here.

use std::io::{self, Write};
use std::path::Path;

use super::{Failure, end};
use crate::store::{Created, Draft, Store};

/// Makes a release and says its number; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn create(
    draft: &Draft,
    state: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let made = make(draft, state, out, err);
    end(made, err)
}

fn make(
    draft: &Draft,
    state: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let place = Store::place(&draft.inputs, state)?;
    let Created { kept, skipped } = Store::create(&place, draft)?;
    if !skipped.is_empty() {
        let names: Vec<String> = skipped.iter().map(|path| format!("`{}`", path.display())).collect();
        let note = format!("note: sockets, fifos and devices are no part of a build: {}", names.join(", "));
        writeln!(err, "{}", super::printable(&note)).map_err(Failure::Output)?;
    }
    let record = &kept.record;
    let variables = match record.config.len() {
        1 => "1 variable".to_owned(),
        many => format!("{many} variables"),
    };
    let line = format!("{}: build {}, {variables}, id {}", record.number, record.build.id, record.id);
    writeln!(out, "{line}").map_err(Failure::Output)
}
