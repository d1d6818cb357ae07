//! Puts everything together: arguments, environment and files become one [`Release`], or all that is wrong with them.

use crate::api::{Notice, TypeName, brief};

use super::attach::{self, Attached};
use super::diagnostic::{self, Diagnostic, Diagnostics};
use super::environment::Sources;
use super::formation::{self, RELEASE, Request, Selection};
use super::inputs::{FoundSpec, Inputs};
use super::order;
use super::ports::{self, Base, Ports};
use super::procfile::{self, Entry};
use super::release::Identity;
use super::settings::{Port, Settings};
use super::spec::Spec;
use super::spot::Spots;
use super::{Command, Environment, Origin, ProcessType, Release};

/// Works out what runs.
///
/// # Errors
/// Everything that is wrong with the Procfile, the env files, the spec, the arguments and the ports, in one run.
pub fn plan(inputs: &Inputs) -> Result<Release, Diagnostics> {
    resolve(inputs, Procfile::Required)
}

/// Works out the environment of a one-off command: as [`plan`], but a directory without a Procfile will do, unless one is
/// named.
///
/// # Errors
/// As those of [`plan`].
pub fn plan_one_off(inputs: &Inputs) -> Result<Release, Diagnostics> {
    resolve(inputs, Procfile::Optional)
}

/// Whether there must be one.
#[derive(Clone, Copy)]
enum Procfile {
    Required,
    Optional,
}

fn resolve(inputs: &Inputs, need: Procfile) -> Result<Release, Diagnostics> {
    let mut errors = Diagnostics::default();
    let sources = inputs.sources(&mut errors);
    let sources_known = errors.is_empty();
    let file = inputs.procfile(&sources);
    let entries = match need {
        Procfile::Optional if inputs.procfile.is_none() && !file.exists() => None,
        Procfile::Optional | Procfile::Required => diagnostic::read(&file, "Procfile")
            .map_err(|missing| Diagnostics::from(inputs.explain(&sources, missing)))
            .and_then(|text| procfile::parse(&file, &text))
            .map_or_else(|found| errors.gather(found), Some),
    };
    let known: Option<Vec<TypeName>> =
        entries.as_ref().map(|entries| entries.iter().map(|entry| entry.name.clone()).collect());
    let entries = entries.unwrap_or_default();
    let FoundSpec { spec, heroku } = inputs.spec(&file, known.as_deref(), &mut errors);
    let root = inputs.root(&file).unwrap_or_else(|found| errors.gather(found.into()));
    let request = formation::parse(&inputs.formation, &mut errors);
    let strays = known.iter().flat_map(|known| request.strays(inputs.selection, inputs.strays, known));
    errors.extend(strays);
    let types = settle(&entries, &spec, &inputs.flags, &sources);
    let (ports, base) = match (need, inputs.base(&sources, &spec)) {
        (_, Ok(base)) => (inputs.ports, base),
        (Procfile::Required, Err(found)) => (inputs.ports, errors.gather(found.into())),
        // It starts no formation that would need one.
        (Procfile::Optional, Err(_)) => (Ports::Off, Base::default()),
    };
    // Counts and ports follow from everything before: where that is wrong, what is said of them could be wrong too.
    let all_known = errors.is_empty();
    for settled in types.iter().filter(|settled| settled.is_clear) {
        settled.check(&spec, &mut errors);
    }
    let waits: Vec<order::Waits<'_>> = types.iter().map(Settled::waits).collect();
    errors.extend(order::cycles(&waits, &spec.defaults_spots));
    let counts = count(&request, inputs.selection, &types, &mut errors);
    let (ports, conflicts) = assign_ports(ports, base, &types, &counts);
    let candidates = candidates(&types, &counts, &ports, &spec);
    let (attached, faults) = attach::attach(&candidates, &root, &spec.services);
    match need {
        Procfile::Required => {
            errors.extend(faults.sockets);
            errors.extend(faults.needs.into_iter().filter(|_| sources_known));
            errors.extend(conflicts.into_iter().chain(faults.probes).filter(|_| all_known));
        }
        // It listens nowhere, is asked nothing and waits for nobody.
        Procfile::Optional => {}
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    let mut remarks: Vec<Notice> = heroku.map(|file| Notice::SpecFound { file }).into_iter().collect();
    let named = |name: &str| types.iter().position(|settled| settled.entry.name.as_str() == name);
    if named(RELEASE).is_some_and(|release| counts[release].is_none()) {
        remarks.push(Notice::ReleaseNotStarted);
    }
    let overridden = sources.overridden();
    if !overridden.is_empty() {
        remarks.push(Notice::Overridden { names: overridden });
    }
    let environment = sources.environment(&spec.defaults.env, &[]);
    let services = attach::services(&spec.services, &attached, &environment);
    let types = complete(types, &counts, &ports, attached);
    remarks.extend(announce(&types, &counts));
    let Identity { id, fingerprint, project: procfile } = inputs.identity.clone().unwrap_or_else(|| {
        // The file was just read: it can only have gone away since.
        Identity::of_directory(file.canonicalize().unwrap_or(file))
    });
    Ok(Release { id, fingerprint, procfile, root, types, environment, services, control: None, remarks })
}

impl Diagnostics {
    /// Takes them in and goes on with nothing, to find what else is wrong.
    fn gather<T: Default>(&mut self, found: Diagnostics) -> T {
        self.extend(found);
        T::default()
    }
}

/// An entry with what holds for it.
struct Settled {
    entry: Entry,
    /// All together: its own, then flags, then the spec's defaults, then built in.
    settings: Settings,
    /// The variables of its instances without the injected ones.
    environment: Environment,
    /// Where its own settings stand.
    spots: Spots,
    /// Whether all of them are known.
    is_clear: bool,
}

impl Settled {
    /// Whom it waits for.
    fn waits(&self) -> order::Waits<'_> {
        let name = &self.entry.name;
        order::Waits { name, after: order::before(name, &self.settings), spot: self.spots.after.as_ref() }
    }

    /// What is possible alone and impossible together with something that is said elsewhere.
    fn check(&self, spec: &Spec, errors: &mut Diagnostics) {
        let (name, settings, defaults) = (&self.entry.name, &self.settings, &spec.defaults_spots);
        if let (Some(quantity), Some(max)) = (settings.quantity, settings.max)
            && quantity > max
            && let Some(spot) = self.spots.quantity.as_ref().or(defaults.quantity.as_ref())
        {
            let fault = spot.fault(&format!("is {quantity}, and the `max` of `{name}` is {max}"));
            let help = format!("give `{name}` a `quantity` of at most {max}, or a larger `max`");
            errors.push(fault.with_help(help));
        }
        let backoff = settings.policy().backoff;
        if backoff.first > backoff.max
            && let Some(spot) = self.spots.backoff.as_ref().or(defaults.backoff.as_ref())
        {
            let (first, max) = (backoff.first, backoff.max);
            let fault = spot.fault(&format!("`first` is {first:?} for `{name}`, longer than `max`, {max:?}"));
            errors.push(fault.with_help("set both"));
        }
        let rollout = settings.policy().rollout;
        if rollout.max_surge == 0
            && rollout.max_unavailable == 0
            && let Some(spot) = self.spots.rollout.as_ref().or(defaults.rollout.as_ref())
        {
            let reason =
                format!("`max_surge` and `max_unavailable` are both 0 for `{name}`: none could be replaced");
            errors.push(spot.fault(&reason).with_help("set one of them to 1 or more"));
        }
        if rollout.min_ready >= rollout.progress_deadline
            && let Some(spot) = self.spots.rollout.as_ref().or(defaults.rollout.as_ref())
        {
            let (min_ready, deadline) = (brief(rollout.min_ready), brief(rollout.progress_deadline));
            let reason = format!(
                "`progress_deadline` is {deadline} for `{name}`, not longer than `min_ready`, {min_ready}: every rollout \
                 would be turned back"
            );
            errors.push(spot.fault(&reason).with_help("make `progress_deadline` the longer one"));
        }
    }
}

fn settle(entries: &[Entry], spec: &Spec, flags: &Settings, sources: &Sources) -> Vec<Settled> {
    let mut defaults = flags.or(&spec.defaults);
    // A number there is where the ports begin, not one port for everybody.
    defaults.port = defaults.port.filter(|port| *port == Port::None);
    let settle = |entry: &Entry| {
        let own = spec.of(&entry.name);
        let silent = Settings::default();
        let settings =
            own.map_or(&silent, |own| &own.settings).or(&defaults).or(&Settings::built_in(&entry.name));
        let mut environment = sources.environment(&spec.defaults.env, &settings.env);
        if settings.port == Some(Port::None)
            && environment.get("PORT").is_some_and(|v| v.origin != Origin::Spec)
        {
            environment.remove("PORT");
        }
        Settled {
            entry: entry.clone(),
            settings,
            environment,
            spots: own.map(|own| own.spots.clone()).unwrap_or_default(),
            is_clear: !spec.is_unclear && own.is_none_or(|own| !own.is_unclear),
        }
    };
    entries.iter().map(settle).collect()
}

/// How many of each type, `None` for those not selected.
fn count(
    request: &Request,
    selection: Selection,
    types: &[Settled],
    errors: &mut Diagnostics,
) -> Vec<Option<u32>> {
    let candidates: Vec<formation::Candidate<'_>> = types
        .iter()
        .map(|settled| formation::Candidate {
            name: &settled.entry.name,
            quantity: settled.settings.quantity.unwrap_or(1),
            max: settled.settings.max.filter(|_| settled.is_clear),
        })
        .collect();
    request.apply(selection, &candidates, errors)
}

fn assign_ports(
    ports: Ports,
    base: Base,
    types: &[Settled],
    counts: &[Option<u32>],
) -> (Vec<Option<u16>>, Diagnostics) {
    let (step, silent) = match ports {
        Ports::On { step, .. } => (step, None),
        Ports::Off => (Ports::STEP, Some(Port::None)),
    };
    let candidates: Vec<ports::Candidate<'_>> = types
        .iter()
        .zip(counts)
        .map(|(settled, count)| ports::Candidate {
            name: &settled.entry.name,
            quantity: count.unwrap_or(0),
            own: settled.settings.port.or(silent),
        })
        .collect();
    let (ports, mut errors) = ports::assign(base, step, &candidates);
    for (settled, port) in types.iter().zip(&ports) {
        if let (Some(place), Some(_)) = (&settled.spots.port_variable, port) {
            let reason = format!(
                "`formation.{}.env.PORT` would be overwritten by the PORT given out",
                settled.entry.name
            );
            let help = "set `port` to this type's own number, or to false";
            errors.push(Diagnostic::new(place.clone(), reason).with_help(help));
        }
    }
    (ports, errors)
}

fn candidates<'a>(
    types: &'a [Settled],
    counts: &[Option<u32>],
    ports: &[Option<u16>],
    spec: &'a Spec,
) -> Vec<attach::Candidate<'a>> {
    let candidate =
        |(settled, (count, port)): (&'a Settled, (&Option<u32>, &Option<u16>))| attach::Candidate {
            name: &settled.entry.name,
            settings: &settled.settings,
            spots: &settled.spots,
            defaults: &spec.defaults_spots,
            is_clear: settled.is_clear,
            quantity: count.unwrap_or(0),
            port: *port,
            environment: &settled.environment,
        };
    types.iter().zip(counts.iter().zip(ports)).map(candidate).collect()
}

fn complete(
    types: Vec<Settled>,
    counts: &[Option<u32>],
    ports: &[Option<u16>],
    attached: Vec<Attached>,
) -> Vec<ProcessType> {
    let mut completed = Vec::new();
    for ((settled, attached), (count, port)) in types.into_iter().zip(attached).zip(counts.iter().zip(ports))
    {
        let Settled { entry, settings, environment, spots: _, is_clear: _ } = settled;
        let Attached { listen, health, needs } = attached;
        completed.push(ProcessType {
            after: order::before(&entry.name, &settings),
            name: entry.name,
            command: Command::new(entry.command),
            quantity: count.unwrap_or(0),
            max: settings.max,
            policy: settings.policy(),
            limits: settings.limits,
            confinement: settings.confinement,
            stderr: settings.stderr,
            port: *port,
            health,
            listen,
            needs,
            environment,
        });
    }
    completed
}

/// The formation, and the ports where any are given out.
fn announce(types: &[ProcessType], counts: &[Option<u32>]) -> Vec<Notice> {
    let selected = types.iter().zip(counts).filter(|(_, count)| count.is_some());
    let counts = selected.map(|(entry, _)| (entry.name.clone(), entry.quantity)).collect();
    let ports =
        |entry: &ProcessType| Some((entry.name.clone(), entry.port_of(1)?, entry.port_of(entry.quantity)?));
    let ranges: Vec<_> = types.iter().filter_map(ports).collect();
    let mut notices = vec![Notice::Formation { counts }];
    if !ranges.is_empty() {
        notices.push(Notice::Ports { ranges });
    }
    notices
}
