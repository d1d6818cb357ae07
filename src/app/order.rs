//! Who comes first: `after`, and that it has no end where it began.

use crate::api::TypeName;

use super::diagnostic::Diagnostics;
use super::settings::Settings;
use super::spot::{Spot, Spots};

/// A type and whom it waits for.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    /// Who waits.
    pub(super) name: &'a TypeName,
    /// For whom.
    pub(super) after: Vec<TypeName>,
    /// Where that is said, unless it is in `defaults`.
    pub(super) spot: Option<&'a Spot>,
}

/// Whom a type waits for. What `defaults` say for every type does not mean a type itself.
pub(super) fn before(name: &TypeName, settings: &Settings) -> Vec<TypeName> {
    settings.after.iter().flatten().filter(|first| *first != name).cloned().collect()
}

/// Types that wait for themselves in the end: nobody of them would ever start. Each circle is told once.
pub(super) fn cycles(types: &[Waits<'_>], defaults: &Spots) -> Diagnostics {
    let mut errors = Diagnostics::default();
    let mut told: Vec<&TypeName> = Vec::new();
    for waits in types {
        if told.contains(&waits.name) {
            continue;
        }
        let Some(circle) = circle(types, waits) else { continue };
        told.extend(circle.iter().map(|waits| waits.name));
        let names: Vec<&str> = circle.iter().chain([&waits]).map(|waits| waits.name.as_str()).collect();
        if let Some(spot) = waits.spot.or(defaults.after.as_ref()) {
            let fault = spot.fault(&format!("{} would wait for each other", names.join(" -> ")));
            errors.push(fault.with_help("take one of them out of the `after` of another"));
        }
    }
    errors
}

/// The shortest way from a type back to itself, itself first.
fn circle<'a>(types: &'a [Waits<'a>], from: &'a Waits<'a>) -> Option<Vec<&'a Waits<'a>>> {
    let mut ways: Vec<Vec<&Waits<'_>>> = vec![vec![from]];
    let mut seen: Vec<&TypeName> = Vec::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let next = way.last().into_iter().flat_map(|last| &last.after);
            for name in next {
                if name == from.name {
                    return Some(way);
                }
                let Some(next) = types.iter().find(|waits| waits.name == name) else { continue };
                if !seen.contains(&next.name) {
                    seen.push(next.name);
                    longer.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}
