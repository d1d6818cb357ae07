//! The readers of this room on texts instead of files, for tests that try to break them (`fuzz/`).

use std::ffi::OsString;
use std::path::Path;

use crate::api::TypeName;

use super::diagnostic::Diagnostics;
use super::envfile::{self, Escapes};
use super::formation::{self, Candidate};
use super::inputs::{Expansion, Strays};
use super::ports::{self, Base, First};
use super::spec::Spec;
use super::yaml::Document;
use super::{Listen, Selection, limits, procfile};

/// The entries of a Procfile, each with the number of its line.
///
/// # Errors
/// All that is wrong with it.
pub fn procfile(text: &[u8]) -> Result<Vec<(TypeName, Vec<u8>, usize)>, Diagnostics> {
    let entries = procfile::parse(Path::new("f"), text)?;
    Ok(entries.into_iter().map(|entry| (entry.name, entry.command, entry.line)).collect())
}

/// The variables of an env file, each with the number of its line; `$NAME` finds what stands before it.
///
/// # Errors
/// All that is wrong with it.
pub fn env_file(text: &[u8], expansion: Expansion) -> Result<Vec<(String, OsString, usize)>, Diagnostics> {
    let lookup = |_: &str, earlier: Option<&OsString>| earlier.cloned();
    let escapes = match expansion {
        Expansion::Literal => Escapes::Usual(None),
        Expansion::Expand => Escapes::Usual(Some(&lookup)),
        Expansion::Kept => Escapes::Kept,
    };
    let found = envfile::read(Path::new("f"), text, escapes)?;
    Ok(found.into_iter().map(|found| (found.name, found.value, found.line)).collect())
}

/// What a spec says for each type: how many, and everything as the debugger shows it; and all that is wrong with it.
#[must_use]
pub fn spec(text: &[u8], known: &[TypeName]) -> (Vec<(String, Option<u32>)>, String, Diagnostics) {
    let (spec, errors) = Spec::parse(Path::new("f"), text, Some(known));
    let quantities = spec.types.iter().map(|found| (found.name.clone(), found.settings.quantity)).collect();
    (quantities, format!("{:?}{:?}{:?}", spec.defaults, spec.types, spec.services), errors)
}

/// Whether a text is YAML that we read.
#[must_use]
pub fn is_yaml(text: &[u8]) -> bool {
    Document::parse(Path::new("f"), text).is_ok()
}

/// How many of each type run, given how many of each run where nothing is said, and at most.
///
/// # Errors
/// All that is wrong with the arguments.
pub fn formation(
    arguments: &[String],
    selection: Selection,
    types: &[(TypeName, u32, Option<u32>)],
) -> Result<Vec<Option<u32>>, Diagnostics> {
    let mut errors = Diagnostics::default();
    let request = formation::parse(arguments, &mut errors);
    let names: Vec<TypeName> = types.iter().map(|(name, ..)| name.clone()).collect();
    errors.extend(request.strays(selection, Strays::Refused, &names));
    let candidates: Vec<Candidate<'_>> = types
        .iter()
        .map(|(name, quantity, max)| Candidate { name, quantity: *quantity, max: *max })
        .collect();
    let counts = request.apply(selection, &candidates, &mut errors);
    if errors.is_empty() { Ok(counts) } else { Err(errors) }
}

/// The port of slot 1 of each type, given how many run.
///
/// # Errors
/// All that is wrong with them.
pub fn ports(base: u16, step: u16, types: &[(TypeName, u32)]) -> Result<Vec<Option<u16>>, Diagnostics> {
    let candidates: Vec<ports::Candidate<'_>> = types
        .iter()
        .map(|(name, quantity)| ports::Candidate { name, quantity: *quantity, own: None })
        .collect();
    let (ports, errors) = ports::assign(Base { port: base, first: First::InFile }, step, &candidates);
    if errors.is_empty() { Ok(ports) } else { Err(errors) }
}

/// An address to listen at.
///
/// # Errors
/// What is wrong with it.
pub fn listen(text: &str) -> Result<Listen, String> {
    Listen::parse(text)
}

/// A resource limit and what an instance may have of memory (bytes), processors (microseconds of a period) and processes.
#[must_use]
pub fn limits(text: &str) -> [Option<u64>; 4] {
    limits::read(text)
}
