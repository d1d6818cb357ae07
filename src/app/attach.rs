//! What is attached to a type beside its command: its socket, its probes, the backing services it needs. What can be wrong
//! with these follows from several types, their ports and the environment.

use std::path::Path;

use crate::api::TypeName;

use super::diagnostic::Diagnostics;
use super::needs::{self, ServiceSpec, Unfit};
use super::probes::{self, Ground};
use super::settings::Settings;
use super::spot::Spots;
use super::{Environment, Health, Listen, Service};

/// A type as it is seen from here.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// Its name.
    pub(super) name: &'a TypeName,
    /// Everything that is said for it.
    pub(super) settings: &'a Settings,
    /// Where its own settings stand.
    pub(super) spots: &'a Spots,
    /// Where those stand that hold for every type.
    pub(super) defaults: &'a Spots,
    /// Whether all of them are known.
    pub(super) is_clear: bool,
    /// How many run.
    pub(super) quantity: u32,
    /// The PORT of slot 1.
    pub(super) port: Option<u16>,
    /// The variables of its instances.
    pub(super) environment: &'a Environment,
}

/// What a type has beside its command.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub(super) listen: Option<Listen>,
    pub(super) health: Health,
    pub(super) needs: Vec<Service>,
}

/// What is wrong, by what it follows from.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From the spec.
    pub(super) sockets: Diagnostics,
    /// From the spec and the environment.
    pub(super) needs: Diagnostics,
    /// From the spec, the counts and the ports.
    pub(super) probes: Diagnostics,
}

/// What each type has, without what is wrong with it.
pub(super) fn attach(
    types: &[Candidate<'_>],
    root: &Path,
    services: &[ServiceSpec],
) -> (Vec<Attached>, Faults) {
    let mut faults = Faults::default();
    let listens = listens(types, root, &mut faults.sockets);
    let healths = healths(types, &listens, &mut faults.probes);
    let needs = needs(types, services, &mut faults.needs);
    let attached = listens.into_iter().zip(healths).zip(needs);
    let attached = attached.map(|((listen, health), needs)| Attached { listen, health, needs });
    (attached.collect(), faults)
}

/// The socket of each type.
fn listens(types: &[Candidate<'_>], root: &Path, errors: &mut Diagnostics) -> Vec<Option<Listen>> {
    let mut listens: Vec<Option<Listen>> = Vec::new();
    for candidate in types {
        let (Some(listen), Some(spot)) = (&candidate.settings.listen, &candidate.spots.listen) else {
            listens.push(None);
            continue;
        };
        let listen = match listen.below(root) {
            Ok(listen) => listen,
            Err(reason) => {
                errors.push(spot.fault(&reason).with_help("choose a shorter path, in /run or /tmp"));
                listens.push(None);
                continue;
            }
        };
        let earlier = types.iter().zip(&listens).find_map(|(earlier, other)| {
            let other = other.as_ref().filter(|other| other.excludes(&listen))?;
            Some((earlier.name, other))
        });
        if let Some((name, other)) = earlier {
            let fault = spot.fault(&format!("`{name}` listens on {other} already"));
            errors.push(fault.with_help("each type has a socket to itself: choose another address"));
        }
        listens.push(Some(listen));
    }
    listens
}

/// The probes of each type. What is wrong with those of a type that is not clear is not told.
fn healths(types: &[Candidate<'_>], listens: &[Option<Listen>], errors: &mut Diagnostics) -> Vec<Health> {
    let mut health = |(candidate, listen): (&Candidate<'_>, &Option<Listen>)| {
        let surge = match (listen, candidate.port) {
            // Each slot has a port to itself, and none is added.
            (None, Some(_)) => 0,
            (Some(_), _) | (None, None) => candidate.settings.policy().rollout.max_surge,
        };
        let ground = Ground {
            name: candidate.name,
            port: candidate.port,
            listen: listen.as_ref(),
            slots: candidate.quantity.max(1).saturating_add(surge),
        };
        let (health, impossible) = probes::resolve(&candidate.settings.health, ground);
        for found in impossible.into_iter().filter(|_| candidate.is_clear) {
            let spot = candidate.spots.probe(found.probe).or_else(|| candidate.defaults.probe(found.probe));
            errors.extend(spot.map(|spot| spot.fault(&found.reason).with_help(found.help)));
        }
        health
    };
    types.iter().zip(listens).map(&mut health).collect()
}

/// The services that each type needs. A type of which nothing runs may be without: it is for another machine.
fn needs(types: &[Candidate<'_>], specs: &[ServiceSpec], errors: &mut Diagnostics) -> Vec<Vec<Service>> {
    let mut unfit = Vec::new();
    let mut needed = Vec::new();
    for candidate in types {
        let mut services = Vec::new();
        for variable in candidate.settings.needs.iter().flatten() {
            let found = needs::service(variable, specs, candidate.environment);
            let spot = candidate.spots.need(variable).or_else(|| candidate.defaults.need(variable));
            match (found, spot) {
                (Err(why), Some(spot)) if candidate.is_clear && candidate.quantity > 0 => {
                    unfit.push(Unfit { variable, needed_by: candidate.name, spot, why });
                }
                (Ok(service), _) => services.push(service),
                (Err(_), _) => {
                    services.push(needs::service_or_nowhere(variable, specs, candidate.environment));
                }
            }
        }
        needed.push(services);
    }
    needs::tell(&unfit, errors);
    needed
}

/// Every service that is named anywhere and has a URL: the app's, else that of the first type that needs it.
pub(super) fn services(specs: &[ServiceSpec], types: &[Attached], environment: &Environment) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    let needed = || types.iter().flat_map(|attached| &attached.needs);
    let names = specs.iter().map(|spec| &spec.name).chain(needed().map(|service| &service.name));
    for name in names {
        if services.iter().any(|known| known.name == *name) {
            continue;
        }
        let of_a_type = || needed().find(|service| service.name == *name && !service.url.is_empty()).cloned();
        services.extend(needs::service(name, specs, environment).ok().or_else(of_a_type));
    }
    services
}
