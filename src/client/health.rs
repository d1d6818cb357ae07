//! `health`: whether everything is well, for HEALTHCHECK and for people.

use std::io::Write;

use super::conclude;
use super::connection::{Connection, Trouble, Whereabouts};
use super::terminal::one_line;
use crate::api::{Health, HealthQuestion};

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// As the supervisor gives it.
    Json,
    /// A line for each check.
    Lines,
}

/// The exit code where something is not well.
const NOT_WELL: u8 = 1;

/// Shows each check; the answer is the exit code.
pub fn health(
    whereabouts: &Whereabouts,
    question: HealthQuestion,
    report: Report,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut ask = || -> Result<u8, Trouble> {
        let question = match question {
            HealthQuestion::Live => "live",
            HealthQuestion::Ready => "ready",
            HealthQuestion::Startup => "startup",
        };
        let (health, text) =
            Connection::open(whereabouts)?.health(&format!("/v1/health?check={question}"))?;
        match report {
            Report::Json => {
                out.write_all(text.trim_ascii_end())?;
                out.write_all(b"\n")?;
            }
            Report::Lines => out.write_all(lines(&health).as_bytes())?,
        }
        Ok(if health.ok { 0 } else { NOT_WELL })
    };
    conclude(ask(), err)
}

fn lines(health: &Health) -> String {
    let width = health.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let line = |check: &crate::api::HealthCheck| {
        let ok = if check.ok { "ok" } else { "not ok" };
        format!("{:width$}  {ok:6}  {}\n", one_line(&check.name, None), one_line(&check.message, None))
    };
    health.checks.iter().map(line).collect()
}
