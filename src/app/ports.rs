//! Which PORT each process type begins with.
//!
//! PORT = base + step x (the type's index in the Procfile, every entry counted) + (slot - 1), so that scaling one type
//! moves no other (foreman's rule).

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::settings::Port;

/// What the flags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// `--no-port`.
    Off,
    /// Each type gets one.
    On {
        /// `-p`.
        base: Option<u16>,
        /// `--port-step`.
        step: u16,
    },
}

impl Ports {
    /// Between two types, as foreman has it.
    pub const STEP: u16 = 100;
    /// The first port, as foreman has it.
    pub const BASE: u16 = 5000;
}

impl Default for Ports {
    fn default() -> Ports {
        Ports::On { base: None, step: Ports::STEP }
    }
}

/// Where the ports begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The port of the type with index 0.
    pub(super) port: u16,
    /// Which type that is.
    pub(super) first: First,
}

impl Default for Base {
    fn default() -> Base {
        Base { port: Ports::BASE, first: First::InFile }
    }
}

/// Which type has index 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The Procfile's first.
    InFile,
    /// `web`, since the platform that chose the port sends its traffic there.
    Web,
}

/// One type as the ports see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Its name.
    pub(super) name: &'a TypeName,
    /// How many run.
    pub(super) quantity: u32,
    /// Its own `port` key.
    pub(super) own: Option<Port>,
}

/// The port of slot 1 of every candidate, `None` where it gets none.
///
/// # Errors
/// Two slots with the same port, and a port above 65535, with the step that would fit.
pub(super) fn assign(
    base: Base,
    step: u16,
    candidates: &[Candidate<'_>],
) -> Result<Vec<Option<u16>>, Diagnostics> {
    let ranges = ranges(base, step, candidates);
    let faults = faults(candidates, &ranges);
    if faults.is_empty() {
        return Ok(ranges.into_iter().map(|range| u16::try_from(range?.0).ok()).collect());
    }
    let found = (1..=u16::MAX)
        .filter(|candidate| *candidate > step)
        .chain((1..step).rev())
        .find(|step| fits(candidates, &self::ranges(base, *step, candidates)));
    let help = match found {
        Some(step) => format!("`--port-step {}` fits", rounded(step, base, candidates)),
        None => "no `--port-step` fits: run fewer, lower `-p`, or set `port` in supervise.yml".to_owned(),
    };
    let mut errors = Diagnostics::default();
    errors
        .extend(faults.into_iter().map(|reason| Diagnostic::new(Place::Arguments, reason).with_help(&help)));
    Err(errors)
}

/// The next multiple of 100 where that fits too: people remember it.
fn rounded(step: u16, base: Base, candidates: &[Candidate<'_>]) -> u16 {
    let round = step.checked_next_multiple_of(100).unwrap_or(step);
    if fits(candidates, &ranges(base, round, candidates)) { round } else { step }
}

/// First and last port of each candidate; wider than a port so that what is too high can be said.
type Range = Option<(u64, u64)>;

fn ranges(base: Base, step: u16, candidates: &[Candidate<'_>]) -> Vec<Range> {
    let web = match base.first {
        First::InFile => None,
        First::Web => candidates.iter().position(|candidate| candidate.name.as_str() == "web"),
    };
    let index_of = |position: usize| match web {
        Some(web) if position == web => 0,
        Some(web) if position < web => position + 1,
        Some(_) | None => position,
    };
    let range = |(position, candidate): (usize, &Candidate<'_>)| {
        let first = match candidate.own {
            Some(Port::None) => return None,
            Some(Port::Base(own)) => u64::from(own),
            None => u64::from(base.port) + u64::from(step) * index_of(position) as u64,
        };
        Some((first, first + u64::from(candidate.quantity.max(1)) - 1))
    };
    candidates.iter().enumerate().map(range).collect()
}

/// Whether there is no fault in them, for trying many steps.
fn fits(candidates: &[Candidate<'_>], ranges: &[Range]) -> bool {
    let running = candidates.iter().zip(ranges).filter(|(candidate, _)| candidate.quantity > 0);
    let mut taken: Vec<(u64, u64)> = running.filter_map(|(_, range)| *range).collect();
    taken.sort_unstable();
    taken.iter().all(|(_, last)| *last <= u64::from(u16::MAX))
        && taken.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

/// A sentence for each pair of types that overlap and for each that goes too high.
fn faults(candidates: &[Candidate<'_>], ranges: &[Range]) -> Vec<String> {
    let running = || {
        candidates.iter().zip(ranges).filter_map(|(candidate, range)| {
            let range = (*range).filter(|_| candidate.quantity > 0)?;
            Some((candidate.name, range))
        })
    };
    let mut faults = Vec::new();
    for (index, (name, (first, last))) in running().enumerate() {
        if last > u64::from(u16::MAX) {
            let slot = first.max(u64::from(u16::MAX) + 1) - first + 1;
            faults.push(format!("`{name}.{slot}` would get PORT {}, above 65535", first + slot - 1));
        }
        for (earlier, (from, to)) in running().take(index) {
            if first <= to && from <= last {
                let shared = first.max(from);
                let (a, b) = (shared - from + 1, shared - first + 1);
                faults.push(format!("`{earlier}.{a}` and `{name}.{b}` would both get PORT {shared}"));
            }
        }
    }
    faults
}
