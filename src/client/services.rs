//! `services`: every backing service and whether it answers, as a table or as JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::conclude;
use super::connection::{Connection, Trouble, Whereabouts, read};
use super::ps::Shape;
use super::table::{GREEN, Paint, RED, Row, tabulate};
use crate::api::{ServiceStatus, Services, brief};

/// Shows every backing service; the answer is the exit code.
pub fn services<W: Write + IsTerminal>(
    whereabouts: &Whereabouts,
    shape: Shape,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    conclude(show(whereabouts, shape, out), err)
}

fn show<W: Write + IsTerminal>(whereabouts: &Whereabouts, shape: Shape, out: &mut W) -> Result<u8, Trouble> {
    let answer = Connection::open(whereabouts)?.get("/v1/services")?;
    match shape {
        Shape::Json => {
            out.write_all(answer.trim_ascii_end())?;
            out.write_all(b"\n")?;
        }
        Shape::Table(color) => {
            let Services { services, .. } = read(&answer)?;
            let paint = if color.holds_for(out) { Paint::Coloured } else { Paint::Plain };
            let rows =
                services.iter().map(|service| Row { cells: row(service), color: Some(color_of(service)) });
            out.write_all(tabulate(HEADINGS, STATE, rows.collect(), paint).as_bytes())?;
        }
    }
    Ok(0)
}

const HEADINGS: [&str; 5] = ["NAME", "KIND", "HOST", "STATE", "TIME"];
/// Which column is painted.
const STATE: usize = 3;

fn row(service: &ServiceStatus) -> [String; 5] {
    let ServiceStatus { name, kind, host, ok: _, message, time_ms, needed_by: _ } = service;
    let host = if host.is_empty() { "-" } else { host };
    let time = brief(Duration::from_millis(*time_ms));
    [name.clone(), kind.clone(), host.to_owned(), message.clone(), time]
}

fn color_of(service: &ServiceStatus) -> &'static str {
    if service.ok { GREEN } else { RED }
}
