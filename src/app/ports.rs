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

/// The port of slot 1 of every candidate, `None` where it gets none; and what is wrong with them: two slots with the same
/// port, and a port above 65535, with the step that would fit.
pub(super) fn assign(base: Base, step: u16, candidates: &[Candidate<'_>]) -> (Vec<Option<u16>>, Diagnostics) {
    let ranges = ranges(base, step, candidates);
    let faults = faults(candidates, &ranges);
    let ports = ranges.into_iter().map(|range| u16::try_from(range?.0).ok()).collect();
    let mut errors = Diagnostics::default();
    if faults.is_empty() {
        return (ports, errors);
    }
    let widest = widest(base, candidates);
    let found = (step.saturating_add(1)..=widest)
        .chain((1..step.min(widest.saturating_add(1))).rev())
        .find(|step| fits(candidates, &self::ranges(base, *step, candidates)));
    let help = match found {
        Some(step) => format!("`--port-step {}` fits", rounded(step, base, candidates)),
        None => "no `--port-step` fits: run fewer, lower `-p`, or set `port` in supervise.yml".to_owned(),
    };
    errors
        .extend(faults.into_iter().map(|reason| Diagnostic::new(Place::Arguments, reason).with_help(&help)));
    (ports, errors)
}

/// No larger step fits: with it the last of those that run would begin above 65535. So the more types there are, the fewer
/// steps are to be tried. 0 where no step changes anything.
fn widest(base: Base, candidates: &[Candidate<'_>]) -> u16 {
    let at = |step| ranges(Base { port: 0, ..base }, step, candidates).into_iter().zip(candidates);
    let follows = |(range, candidate): (Range, &Candidate<'_>)| {
        range.filter(|_| candidate.own.is_none() && candidate.quantity > 0).map(|(first, _)| first)
    };
    // From port 0 in steps of 1 each begins at its index.
    let last = at(1).filter_map(follows).max().unwrap_or(0);
    let widest = u64::from(u16::MAX - base.port).checked_div(last).unwrap_or(0);
    u16::try_from(widest).unwrap_or(u16::MAX)
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
    taken.iter().all(|(_, last)| u16::try_from(*last).is_ok())
        && taken.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

/// A sentence for each type that begins where another still runs, and for each that goes too high, in the order of the file.
fn faults(candidates: &[Candidate<'_>], ranges: &[Range]) -> Vec<String> {
    let mut running: Vec<(u64, u64, usize)> = ranges
        .iter()
        .enumerate()
        .filter(|(index, _)| candidates[*index].quantity > 0)
        .filter_map(|(index, range)| range.map(|(first, last)| (first, last, index)))
        .collect();
    running.sort_unstable();
    let mut faults = Vec::new();
    let mut furthest: Option<(u64, u64, usize)> = None;
    for (first, last, index) in running {
        let name = candidates[index].name;
        if last > u64::from(u16::MAX) {
            let slot = first.max(u64::from(u16::MAX) + 1) - first + 1;
            let reason = format!("`{name}.{slot}` would get PORT {}, above 65535", first + slot - 1);
            faults.push((index, reason));
        }
        if let Some((from, _, other)) = furthest.filter(|(_, to, _)| first <= *to) {
            let (slot, name_of_other) = (first - from + 1, candidates[other].name);
            let (mine, its) = (format!("`{name}.1`"), format!("`{name_of_other}.{slot}`"));
            let (earlier, later) = if index < other { (mine, its) } else { (its, mine) };
            let reason = format!("{earlier} and {later} would both get PORT {first}");
            faults.push((index.max(other), reason));
        }
        if furthest.is_none_or(|(_, to, _)| to < last) {
            furthest = Some((first, last, index));
        }
    }
    faults.sort();
    faults.into_iter().map(|(_, reason)| reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u16 = Ports::STEP;

    fn in_file(port: u16) -> Base {
        Base { port, first: First::InFile }
    }

    /// `foo=3 web=2 x:7000=1`: counts, and a port of their own.
    fn assign_all(base: Base, step: u16, types: &str) -> Result<String, String> {
        let parsed: Vec<(TypeName, Option<Port>, u32)> = types
            .split(' ')
            .map(|each| {
                let (name, count) = each.split_once('=').expect("a count");
                let (name, own) = match name.split_once(':') {
                    Some((name, "false")) => (name, Some(Port::None)),
                    Some((name, own)) => (name, Some(Port::Base(own.parse().expect("a port")))),
                    None => (name, None),
                };
                (name.parse().expect("a name"), own, count.parse().expect("a count"))
            })
            .collect();
        let candidates: Vec<Candidate<'_>> = parsed
            .iter()
            .map(|(name, own, quantity)| Candidate { name, quantity: *quantity, own: *own })
            .collect();
        let (ports, errors) = assign(base, step, &candidates);
        if !errors.is_empty() {
            return Err(errors.to_string());
        }
        let shown = ports.iter().map(|port| port.map_or("-".to_owned(), |port| port.to_string()));
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_type_begins_a_step_after_the_one_before_it() {
        let web = Base { port: 4000, first: First::Web };
        for (base, step, types, expected) in [
            (in_file(4000), STEP, "foo=3 bar=2", "4000 4100"),
            (in_file(5000), STEP, "web=1 worker=0 beat=1", "5000 5100 5200"),
            (in_file(5000), 10, "a=10 b=10 c=99", "5000 5010 5020"),
            (web, STEP, "a=1 b=1 c=1", "4000 4100 4200"),
            (web, STEP, "a=1 b=1 web=1 c=1", "4100 4200 4000 4300"),
            (web, STEP, "web=1 a=1", "4000 4100"),
            (in_file(4000), STEP, "a=1 web=1", "4000 4100"),
            (in_file(5000), STEP, "a=1 b:false=1 c:7000=2 d=1", "5000 - 7000 5300"),
            (in_file(65500), STEP, "a=1 b=0", "65500 -"),
        ] {
            assert_eq!(assign_all(base, step, types).as_deref(), Ok(expected), "{types}");
        }
    }

    #[test]
    fn two_slots_with_one_port_and_a_port_too_high_are_refused_with_the_step_that_fits() {
        for (base, types, said, help) in [
            (
                5000,
                "web=200 worker=1",
                "`web.101` and `worker.1` would both get PORT 5100",
                "`--port-step 200` fits",
            ),
            (5000, "web=201 worker=1 x=1", "`web.101` and `worker.1`", "`--port-step 300` fits"),
            (
                65000,
                "a=1 b=1 c=1 d=1 e=1 f=1 g=1",
                "`g.1` would get PORT 65600, above 65535",
                "`--port-step 89` fits",
            ),
            (65500, "a=40", "`a.37` would get PORT 65536, above 65535", "no `--port-step` fits"),
            (5000, "a=1 b:5000=1", "`a.1` and `b.1` would both get PORT 5000", "no `--port-step` fits"),
            (5000, "a:6000=1 b:5999=3", "`a.1` and `b.2` would both get PORT 6000", "no `--port-step` fits"),
        ] {
            let error = assign_all(in_file(base), STEP, types).expect_err(types);
            assert!(error.contains(said) && error.contains(help), "{types}: {error}");
        }
        assert_eq!(assign_all(in_file(5000), STEP, "web=100 worker=300").as_deref(), Ok("5000 5100"));
    }
    #[test]
    fn a_step_for_many_types_is_found_without_trying_every_one() {
        let types = |many| (0..many).map(|nth| format!("t{nth}=2")).collect::<Vec<_>>().join(" ");
        let error = assign_all(in_file(5000), 1, &types(20_000)).expect_err("they overlap");
        assert!(error.contains("`t0.2` and `t1.1` would both get PORT 5001"), "{error:.200}");
        assert!(error.contains("`--port-step 2` fits"), "{error:.200}");
        assert_eq!(error.matches("would both get").count(), 19_999);
        let error = assign_all(in_file(5000), 3, &types(40_000)).expect_err("they go too high");
        assert!(error.contains("no `--port-step` fits"), "{error:.200}");
    }
}
