//! `releases`: which there are.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::super::table::{GREEN, Paint, Row, tabulate};
use super::super::terminal::one_line;
use super::{Failure, end, facts, standing, tell};
use crate::app::Inputs;
use crate::client::Report;
use crate::store::{Deployed, Kept, Listing, Store, Trouble};

/// Lists the releases, the newest first; the answer is the exit code: 1 where one is damaged.
///
/// # Errors
/// What prevents writing.
pub fn releases(
    inputs: &Inputs,
    state: Option<&Path>,
    report: Report,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut damaged = Vec::new();
    let listed = list(inputs, state, report, &mut damaged, out, err);
    let code = end(listed, err)?;
    let damaged = damaged.iter().map(|trouble| tell(trouble, err)).max();
    Ok(code.max(damaged.unwrap_or(0)))
}

fn list(
    inputs: &Inputs,
    state: Option<&Path>,
    report: Report,
    damaged: &mut Vec<Trouble>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let place = Store::place(inputs, state)?;
    let store = match Store::open(&place) {
        Ok(store) => Some(store),
        // That there are none yet is no fault.
        Err(Trouble::NoStore(_)) => None,
        Err(trouble) => return Err(trouble.into()),
    };
    let listing = store.as_ref().map(Store::list).transpose()?.unwrap_or_default();
    // What is current can be unknown, and the releases are there.
    let deployed = store.as_ref().map(Store::deployed).transpose().unwrap_or_else(|trouble| {
        damaged.push(trouble);
        None
    });
    let deployed = deployed.unwrap_or_default();
    let Listing { kept, damaged: broken } = listing;
    damaged.extend(broken);
    let text = match (report, &store) {
        (Report::Json, None) => format!("{}\n", json!({ "schema": 1, "current": null, "releases": [] })),
        (Report::Json, Some(store)) => json_of(store, &kept, &deployed),
        (Report::Lines, _) if kept.is_empty() => {
            let none = "there are no releases yet: `supervise release create` makes the first one";
            writeln!(err, "{none}").map_err(Failure::Output)?;
            String::new()
        }
        (Report::Lines, _) => table(&kept, &deployed),
    };
    out.write_all(text.as_bytes()).map_err(Failure::Output)
}

fn json_of(store: &Store, kept: &[Kept], deployed: &Deployed) -> String {
    let releases: Vec<Value> =
        kept.iter().rev().map(|kept| Value::Object(facts(store, kept, deployed))).collect();
    format!("{}\n", json!({ "schema": 1, "current": deployed.current, "releases": releases }))
}

fn table(kept: &[Kept], deployed: &Deployed) -> String {
    let row = |kept: &Kept| {
        let record = &kept.record;
        let state = standing(record.number, deployed);
        let message = record.message.as_deref().unwrap_or("");
        let cells = [
            record.number.to_string(),
            state.to_owned(),
            record.created.clone(),
            one_line(&record.by, None),
            record.build.id.clone(),
            one_line(message, Some(LONGEST)),
        ];
        Row { cells, color: (state == "current").then_some(GREEN) }
    };
    let headings = ["RELEASE", "STATE", "CREATED", "BY", "BUILD", "MESSAGE"];
    tabulate(headings, 1, kept.iter().rev().map(row).collect(), Paint::Plain)
}

/// `release show` has the whole of a message.
const LONGEST: usize = 50;
