//! `release prune`: without the old ones.

use std::io::{self, Write};
use std::path::Path;

use super::{Failure, end};
use crate::app::Inputs;
use crate::store::{Number, Store};

/// Removes all but the newest `keep` releases, and those that are needed; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn prune(
    inputs: &Inputs,
    state: Option<&Path>,
    keep: usize,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let pruned = remove(inputs, state, keep, out);
    end(pruned, err)
}

fn remove(inputs: &Inputs, state: Option<&Path>, keep: usize, out: &mut dyn Write) -> Result<(), Failure> {
    let store = Store::open(&Store::place(inputs, state)?)?;
    let pruned = store.prune(keep)?;
    let listed = |numbers: &[Number]| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        numbers.join(" ")
    };
    let mut said = match pruned.removed.as_slice() {
        [] => "nothing was removed\n".to_owned(),
        removed => format!("removed {}\n", listed(removed)),
    };
    if !pruned.in_use.is_empty() {
        said.extend(["kept ", &listed(&pruned.in_use), ": in use\n"]);
    }
    out.write_all(said.as_bytes()).map_err(Failure::Output)
}
