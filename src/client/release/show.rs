//! `release show`: everything about one release.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::config::{Values, shown};
use super::super::terminal::{one_line, printable};
use super::{Failure, end, facts, standing};
use crate::app::{self, Inputs, Release};
use crate::client::Report;
use crate::store::{Deployed, Kept, Store};

/// Shows a release: the one that is named, else the current one, else the newest; the answer is the exit code.
///
/// # Errors
/// What prevents writing.
pub fn show(
    inputs: &Inputs,
    state: Option<&Path>,
    release: Option<&str>,
    (report, values): (Report, Values),
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let text = text(inputs, state, release, report, values);
    let result = text.and_then(|text| out.write_all(text.as_bytes()).map_err(Failure::Output));
    end(result, err)
}

fn text(
    inputs: &Inputs,
    state: Option<&Path>,
    release: Option<&str>,
    report: Report,
    values: Values,
) -> Result<String, Failure> {
    let store = Store::open(&Store::place(inputs, state)?)?;
    let deployed = store.deployed()?;
    let kept = match (release, deployed.current) {
        (Some(name), _) => store.load(name)?,
        (None, Some(current)) => store.load(&current.to_string())?,
        (None, None) => match store.list()?.kept.pop() {
            Some(newest) => newest,
            None => store.load("current")?,
        },
    };
    let planned = app::plan(&store.description(&kept))?;
    let config = kept.config()?;
    Ok(match report {
        Report::Json => {
            let mut facts = facts(&store, &kept, &deployed);
            facts.insert("processes".to_owned(), processes(&planned));
            facts.insert("formation".to_owned(), formation(&planned));
            if values == Values::Shown {
                let value = |(name, value): &(String, std::ffi::OsString)| {
                    (name.clone(), Value::from(value.to_string_lossy().into_owned()))
                };
                facts.insert("values".to_owned(), Value::Object(config.iter().map(value).collect()));
            }
            format!("{}\n", Value::Object(facts))
        }
        Report::Lines => lines(&store, &kept, &deployed, &planned, values)?,
    })
}

fn processes(planned: &Release) -> Value {
    let command = |kind: &app::ProcessType| {
        (kind.name.to_string(), Value::from(String::from_utf8_lossy(&kind.command.text).into_owned()))
    };
    Value::Object(planned.types.iter().map(command).collect::<Map<_, _>>())
}

fn formation(planned: &Release) -> Value {
    let count = |kind: &app::ProcessType| (kind.name.to_string(), json!(kind.quantity));
    Value::Object(planned.types.iter().map(count).collect::<Map<_, _>>())
}

fn lines(
    store: &Store,
    kept: &Kept,
    deployed: &Deployed,
    planned: &Release,
    values: Values,
) -> Result<String, Failure> {
    let record = &kept.record;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // A text takes everything.
        let _ = writeln!(text, "{name:<10} {}", one_line(value, None));
    };
    let state = standing(record.number, deployed);
    let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
    line("release", &format!("{}{state}", record.number));
    line("id", &record.id);
    line("created", &format!("{} by {}", record.created, record.by));
    if let Some(message) = &record.message {
        line("message", message);
    }
    if let Some(copied) = record.copy_of {
        line("copy of", &copied.to_string());
    }
    line("build", &record.build.id);
    line("directory", &store.root(&record.build).display().to_string());
    line("procfile", &record.procfile);
    for kind in &planned.types {
        line(&format!("  {}", kind.name), &String::from_utf8_lossy(&kind.command.text));
    }
    line("formation", &super::super::release::diff::counts(planned));
    line("spec", record.spec.as_deref().unwrap_or("none"));
    line("config", &record.config.len().to_string());
    for (name, value) in kept.config()? {
        line(&format!("  {name}"), &shown(&value, values));
    }
    Ok(printable(&text))
}
