//! `release diff`: what differs between two releases.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use serde_yaml::Value;

use super::super::config::{Values, shown};
use super::super::terminal::one_line;
use super::{Failure, end};
use crate::app::{self, Inputs, Release};
use crate::store::{Kept, Store, build_differences};

/// Shows what has changed from one release to another; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn diff(
    inputs: &Inputs,
    state: Option<&Path>,
    (before, after): (&str, &str),
    values: Values,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let text = text(inputs, state, before, after, values);
    let result = text.and_then(|text| out.write_all(text.as_bytes()).map_err(Failure::Output));
    end(result, err)
}

fn text(
    inputs: &Inputs,
    state: Option<&Path>,
    before: &str,
    after: &str,
    values: Values,
) -> Result<String, Failure> {
    let store = Store::open(&Store::place(inputs, state)?)?;
    let (before, after) = (store.load(before)?, store.load(after)?);
    let planned = [&before, &after].map(|kept| app::plan(&store.description(kept)));
    let [was, is] = planned;
    let (was, is) = (was?, is?);
    let sections = [
        build(&before, &after),
        ("procfile", changes(&commands(&was), &commands(&is), |_| true)),
        ("formation", changed_line(&counts(&was), &counts(&is))),
        ("spec", changes(&keys(&before), &keys(&after), |key| values == Values::Shown || !is_secret(key))),
        ("config", changes(&config(&before)?, &config(&after)?, |_| values == Values::Shown)),
    ];
    let mut text = format!("{} -> {}\n", before.number(), after.number());
    let mut same = true;
    for (name, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        same = false;
        text.push_str(name);
        text.push('\n');
        for line in lines {
            text.extend(["  ", &one_line(line, None), "\n"]);
        }
    }
    if same {
        text.push_str("nothing differs\n");
    }
    Ok(text)
}

fn build(before: &Kept, after: &Kept) -> (&'static str, Vec<String>) {
    /// The rest is counted.
    const SHOWN: usize = 20;
    let mut lines = changed_line(&before.record.build.id, &after.record.build.id);
    if let (Some(before), Some(after)) = (before.build_list(), after.build_list()) {
        let differences = build_differences(before, after);
        let shown = differences.iter().take(SHOWN);
        lines.extend(shown.map(|(mark, path)| format!("{mark} {}", path.display())));
        if differences.len() > SHOWN {
            lines.push(format!("and {} more", differences.len() - SHOWN));
        }
    }
    ("build", lines)
}

fn changed_line(before: &str, after: &str) -> Vec<String> {
    if before == after { Vec::new() } else { vec![format!("~ {before} -> {after}")] }
}

/// `+ NAME`, `- NAME`, `~ NAME`, with what stands behind the name where that may be shown.
fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    may_be_shown: impl Fn(&str) -> bool,
) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let line = |name: &String| {
        let (mark, change) = match (before.get(name), after.get(name)) {
            (None, Some(after)) => ('+', after.clone()),
            (Some(before), None) => ('-', before.clone()),
            (Some(before), Some(after)) if before != after => ('~', format!("{before} -> {after}")),
            (None, None) | (Some(_), Some(_)) => return None,
        };
        Some(if may_be_shown(name) { format!("{mark} {name}: {change}") } else { format!("{mark} {name}") })
    };
    names.into_iter().filter_map(line).collect()
}

fn commands(release: &Release) -> BTreeMap<String, String> {
    let command = |kind: &app::ProcessType| String::from_utf8_lossy(&kind.command.text).into_owned();
    release.types.iter().map(|kind| (kind.name.to_string(), command(kind))).collect()
}

/// `web=4 worker=8`.
pub(super) fn counts(release: &Release) -> String {
    let counts: Vec<String> =
        release.types.iter().map(|kind| format!("{}={}", kind.name, kind.quantity)).collect();
    counts.join(" ")
}

/// With the values, which have to be there to be compared.
fn config(kept: &Kept) -> Result<BTreeMap<String, String>, Failure> {
    let value = |value: &OsString| shown(value, Values::Shown);
    Ok(kept.config()?.into_iter().map(|(name, text)| (name, value(&text))).collect())
}

/// Every key of a spec by its path, with its value. What cannot be read has no keys: it was refused when it was to be kept.
fn keys(kept: &Kept) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Ok(value) = serde_yaml::from_slice::<Value>(kept.spec_text()) {
        gather(String::new(), &value, &mut keys);
    }
    keys
}

fn gather(path: String, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let key = scalar(key);
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                gather(path, value, keys);
            }
        }
        Value::Null if path.is_empty() => {}
        value => {
            keys.insert(path, scalar(value));
        }
    }
}

/// As it would stand on one line.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // JSON is the shortest of what is YAML.
        value => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// Variables may be secrets wherever they are set.
fn is_secret(path: &str) -> bool {
    path.split('.').any(|key| key == "env")
}
