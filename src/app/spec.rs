//! The scaling spec, `supervise.yml`, as settings.
//!
//! Nothing in it is ignored: what is unknown, twice there, of the wrong type or impossible is an error with its line, its
//! column and the path of its key, all of them in one run. The value of a variable is in none of them.

use std::path::Path;

use crate::api::{Signal, TypeName, UnknownSignal};

use super::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::envfile::is_variable_name;
use super::environment::is_only_ours;
use super::needs::ServiceSpec;
use super::reader::Reader;
use super::settings::{Port, Settings};
use super::spot::{Spot, Spots};
use super::trail::{Entry, Trail};
use super::yaml::{Document, Kind, Node};
use super::{Leftovers, Listen, Restart, Stderr, StopScope};

/// What a spec says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    /// For every type.
    pub(super) defaults: Settings,
    /// Where they say what can be wrong only together with something else.
    pub(super) defaults_spots: Spots,
    /// For one type each.
    pub(super) types: Vec<TypeSpec>,
    /// The backing services.
    pub(super) services: Vec<ServiceSpec>,
    /// Whether it is not known what it says for every type: nothing should be concluded from it.
    pub(super) is_unclear: bool,
}

/// What a spec says for one type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TypeSpec {
    /// Its name.
    pub(super) name: String,
    /// Its own settings.
    pub(super) settings: Settings,
    /// Where they stand.
    pub(super) spots: Spots,
    /// Whether something in them is wrong: nothing should be concluded from the rest.
    pub(super) is_unclear: bool,
}

/// The keys of a process type, and of `defaults`.
const KEYS: [&str; 18] = [
    "quantity",
    "max",
    "restart",
    "backoff",
    "essential",
    "drain",
    "stop_signal",
    "stop_scope",
    "leftovers",
    "env",
    "port",
    "limits",
    "stderr",
    "health",
    "listen",
    "rollout",
    "needs",
    "after",
];

/// Keys of the whole spec.
const TOP_KEYS: [&str; 3] = ["formation", "defaults", "services"];

/// Signals that stop or continue a process, or that it ignores unless it asks for them (signal(7)).
#[rustfmt::skip]
const ENDS_NOTHING: [i32; 8] = [
    libc::SIGSTOP, libc::SIGCONT, libc::SIGCHLD, libc::SIGWINCH,
    libc::SIGURG, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU,
];

const BACKOFF_KEYS: [&str; 4] = ["first", "max", "reset_after", "give_up_after"];

const ROLLOUT_KEYS: [&str; 4] = ["max_surge", "max_unavailable", "min_ready", "progress_deadline"];

const SERVICE_KEYS: [&str; 1] = ["wait"];

impl Spec {
    /// What it says for one type.
    pub(super) fn of(&self, name: &TypeName) -> Option<&TypeSpec> {
        self.types.iter().find(|spec| spec.name == name.as_str())
    }

    /// One of which nothing is known.
    pub(super) fn unclear() -> Spec {
        Spec { is_unclear: true, ..Spec::default() }
    }

    /// Reads `supervise.yml`; `known` are the types of the Procfile, where that could be read. Everything that is wrong with
    /// it comes with what is right.
    pub(super) fn parse(file: &Path, bytes: &[u8], known: Option<&[TypeName]>) -> (Spec, Diagnostics) {
        let document = match Document::parse(file, bytes) {
            Ok(document) => document,
            Err(error) => return (Spec::unclear(), error.into()),
        };
        let mut reader =
            Reader { document: &document, known, errors: Diagnostics::default(), of_one_type: 0 };
        let mut spec = Spec::default();
        let top = match document.root.kind {
            // Nothing but comments.
            Kind::Null => Vec::new(),
            Kind::Bool(_)
            | Kind::Number(_)
            | Kind::OtherNumber
            | Kind::Text(_)
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => reader.mapping(&Trail::default(), &document.root),
        };
        for entry in top {
            match entry.trail.name() {
                "formation" => spec.types = reader.formation(&entry),
                "defaults" => {
                    (spec.defaults, spec.defaults_spots) = reader.settings(&entry);
                }
                "services" => spec.services = reader.services(&entry),
                _ => reader.unknown_top_key(&entry),
            }
        }
        spec.is_unclear = reader.errors.len() > reader.of_one_type;
        reader.errors.sort();
        (spec, reader.errors)
    }
}

/// A type that the Procfile does not have.
pub(super) fn unknown_type(
    place: impl FnOnce() -> Place,
    trail: &str,
    name: &str,
    known: Option<&[TypeName]>,
) -> Option<Diagnostic> {
    let known = known?.iter().map(TypeName::as_str);
    if known.clone().any(|known| known == name) {
        return None;
    }
    let reason = format!("`{trail}`: there is no process type `{name}`");
    Some(Diagnostic::new(place(), reason).with_help(did_you_mean(name, "the Procfile has", known)))
}

impl<'a> Reader<'a> {
    fn unknown_top_key(&mut self, entry: &Entry<'a>) {
        let name = entry.trail.name();
        let is_type = self.known.into_iter().flatten().any(|known| known.as_str() == name);
        let belongs = if is_type {
            "a process type stands below `formation`"
        } else if KEYS.contains(&name) {
            "this is set for one type, below `formation`, or for every type, below `defaults`"
        } else {
            return self.unknown_key(entry, &TOP_KEYS);
        };
        let error = self.diagnostic(entry, entry.key, format!("there is no key `{name}`"));
        self.push_with_line(error.with_help(belongs));
    }

    fn formation(&mut self, formation: &Entry<'a>) -> Vec<TypeSpec> {
        let mut types = Vec::new();
        for entry in self.mapping(&formation.trail, formation.value) {
            let name = entry.trail.name().to_owned();
            let place = || self.document.place(entry.key);
            if let Some(error) = unknown_type(place, &entry.trail.to_string(), &name, self.known) {
                self.push_with_line(error);
            }
            let before = self.errors.len();
            let (settings, spots) = match &entry.value.kind {
                Kind::Mapping(_) => self.settings(&entry),
                Kind::Number(_) => (
                    Settings { quantity: self.instances(&entry), ..Settings::default() },
                    Spots { quantity: Some(self.spot(&entry)), ..Spots::default() },
                ),
                Kind::Null
                | Kind::Bool(_)
                | Kind::OtherNumber
                | Kind::Text(_)
                | Kind::Sequence(_)
                | Kind::Tagged => {
                    self.wrong(&entry, "is a count, or a map of settings");
                    (Settings::default(), Spots::default())
                }
            };
            let found = self.errors.len() - before;
            self.of_one_type += found;
            types.push(TypeSpec { name, settings, spots, is_unclear: found > 0 });
        }
        types
    }

    fn settings(&mut self, owner: &Entry<'a>) -> (Settings, Spots) {
        let mut settings = Settings::default();
        let mut spots = Spots { port_variable: self.port_variable(owner.value), ..Spots::default() };
        let entries = self.mapping(&owner.trail, owner.value);
        for entry in &entries {
            match entry.trail.name() {
                "quantity" => {
                    settings.quantity = self.instances(entry);
                    spots.quantity = Some(self.spot(entry));
                }
                "max" => settings.max = self.at_least_one(entry),
                "restart" => settings.restart = self.word(entry, &Restart::WORDS),
                "backoff" => {
                    self.backoff(entry, &mut settings);
                    spots.backoff = Some(self.spot(entry));
                }
                "essential" => settings.essential = self.yes_or_no(entry),
                "drain" => settings.drain = self.duration(entry),
                "stop_signal" => settings.stop_signal = self.signal(entry),
                "stop_scope" => settings.stop_scope = self.word(entry, &StopScope::WORDS),
                "leftovers" => settings.leftovers = self.word(entry, &Leftovers::WORDS),
                "env" => settings.env = self.variables(entry),
                "port" => settings.port = self.port(entry),
                "limits" => self.limits(entry, &mut settings),
                "stderr" => settings.stderr = self.word(entry, &Stderr::WORDS),
                "health" => (settings.health, spots.probes) = self.health(entry),
                "listen" => {
                    settings.listen = self.listen(owner, entry);
                    spots.listen = Some(self.spot(entry));
                }
                "rollout" => {
                    self.rollout(entry, &mut settings);
                    spots.rollout = Some(self.spot(entry));
                }
                "needs" => {
                    let needs = self.needs(entry);
                    settings.needs = Some(needs.iter().map(|(name, _)| name.clone()).collect());
                    spots.needs = needs;
                }
                "after" => {
                    settings.after = self.types(entry);
                    spots.after = Some(self.spot(entry));
                }
                _ => self.unknown_key(entry, &KEYS),
            }
        }
        self.check_together(&entries, &settings);
        (settings, spots)
    }

    /// Values that are possible alone and impossible together.
    fn check_together(&mut self, entries: &[Entry<'a>], settings: &Settings) {
        let entry = |name: &str| entries.iter().find(|entry| entry.trail.name() == name);
        if let (Some(quantity), Some(max), Some(at)) = (settings.quantity, settings.max, entry("quantity"))
            && quantity > max
        {
            self.fault(at, at.value, format!("is {quantity}, more than `max`, which is {max}"));
        }
        if let (Some(first), Some(max), Some(at)) =
            (settings.backoff_first, settings.backoff_max, entry("backoff"))
            && first > max
        {
            self.fault(at, at.value, "`first` is longer than `max`");
        }
    }

    fn port_variable(&self, node: &Node) -> Option<Place> {
        let key = node.entry("env")?.entry_key("PORT")?;
        Some(self.document.place(key))
    }

    fn backoff(&mut self, owner: &Entry<'a>, settings: &mut Settings) {
        for entry in self.mapping(&owner.trail, owner.value) {
            match entry.trail.name() {
                "first" => settings.backoff_first = self.duration(&entry),
                "max" => settings.backoff_max = self.duration(&entry),
                "reset_after" => settings.backoff_reset_after = self.duration(&entry),
                "give_up_after" => settings.backoff_give_up_after = self.count(&entry),
                _ => self.unknown_key(&entry, &BACKOFF_KEYS),
            }
        }
    }

    fn rollout(&mut self, owner: &Entry<'a>, settings: &mut Settings) {
        for entry in self.mapping(&owner.trail, owner.value) {
            match entry.trail.name() {
                "max_surge" => settings.rollout_max_surge = self.instances(&entry),
                "max_unavailable" => settings.rollout_max_unavailable = self.instances(&entry),
                "min_ready" => settings.rollout_min_ready = self.duration(&entry),
                "progress_deadline" => settings.rollout_progress_deadline = self.some_time(&entry),
                _ => self.unknown_key(&entry, &ROLLOUT_KEYS),
            }
        }
    }

    fn listen(&mut self, owner: &Entry<'a>, entry: &Entry<'a>) -> Option<Listen> {
        if owner.trail.name() == "defaults" && owner.trail.is_top() {
            self.fault(entry, entry.key, "two types cannot have the same socket: give it to one");
            return None;
        }
        let Kind::Text(text) = &entry.value.kind else {
            self.wrong(entry, "is an address, as in `tcp://0.0.0.0:8000` or `unix:///run/app.sock`");
            return None;
        };
        Listen::parse(text).map_err(|reason| self.fault(entry, entry.value, reason)).ok()
    }

    /// Names of variables, each with its place. Somebody may have written a URL there: what is no name is not shown.
    fn needs(&mut self, entry: &Entry<'a>) -> Vec<(String, Spot)> {
        let Kind::Sequence(elements) = &entry.value.kind else {
            self.wrong(entry, "is a list of variables that hold URLs, as in `[REDIS_URL]`");
            return Vec::new();
        };
        let mut needs: Vec<(String, Spot)> = Vec::new();
        for element in elements {
            let name = match &element.kind {
                Kind::Text(text) if is_variable_name(text.as_bytes()) => text,
                Kind::Null
                | Kind::Bool(_)
                | Kind::Number(_)
                | Kind::OtherNumber
                | Kind::Text(_)
                | Kind::Sequence(_)
                | Kind::Mapping(_)
                | Kind::Tagged => {
                    self.fault(entry, element, "is a list of names of variables, and this is none");
                    continue;
                }
            };
            if needs.iter().any(|(known, _)| known == name) {
                self.fault(entry, element, format!("`{name}` is named twice"));
                continue;
            }
            let spot = Spot::new(self.document.place(element), entry.trail.to_string());
            needs.push((name.clone(), spot));
        }
        needs
    }

    fn services(&mut self, owner: &Entry<'a>) -> Vec<ServiceSpec> {
        let mut services = Vec::new();
        for service in self.mapping(&owner.trail, owner.value) {
            let name = service.trail.name().to_owned();
            if !is_variable_name(name.as_bytes()) {
                self.fault(
                    &service,
                    service.key,
                    "is named by the variable that holds its URL, as in `REDIS_URL`",
                );
                continue;
            }
            let entries = match service.value.kind {
                Kind::Null => Vec::new(),
                Kind::Mapping(_) => self.mapping(&service.trail, service.value),
                Kind::Bool(_)
                | Kind::Number(_)
                | Kind::OtherNumber
                | Kind::Text(_)
                | Kind::Sequence(_)
                | Kind::Tagged => {
                    self.wrong(&service, "is a map, as in `{ wait: 30s }`");
                    continue;
                }
            };
            let mut wait = None;
            for entry in entries {
                match entry.trail.name() {
                    "wait" => wait = self.duration(&entry),
                    _ => self.unknown_key(&entry, &SERVICE_KEYS),
                }
            }
            services.push(ServiceSpec { name, wait });
        }
        services
    }

    /// A list of process types.
    fn types(&mut self, entry: &Entry<'a>) -> Option<Vec<TypeName>> {
        let Kind::Sequence(elements) = &entry.value.kind else {
            self.wrong(entry, "is a list of process types, as in `[web]`");
            return None;
        };
        let mut types: Vec<TypeName> = Vec::new();
        for element in elements {
            let text = match &element.kind {
                Kind::Text(text) => text.clone(),
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => element.scalar_text(),
                Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => {
                    self.fault(entry, element, "is a list of process types, and this is no name of one");
                    continue;
                }
            };
            match text.parse::<TypeName>() {
                Err(invalid) => self.fault(entry, element, format!("`{text}` is no process type: {invalid}")),
                Ok(name) if types.contains(&name) => {
                    self.fault(entry, element, format!("`{name}` is named twice"));
                }
                Ok(name) if entry.trail.to_string() == format!("formation.{name}.after") => {
                    self.fault(entry, element, "it would wait for itself");
                }
                Ok(name) => {
                    let place = || self.document.place(element);
                    let unknown = unknown_type(place, &entry.trail.to_string(), name.as_str(), self.known);
                    if let Some(unknown) = unknown {
                        self.errors.push(unknown);
                    }
                    types.push(name);
                }
            }
        }
        Some(types)
    }

    fn variables(&mut self, owner: &Entry<'a>) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        for entry in self.mapping(&owner.trail, owner.value) {
            let name = entry.trail.name();
            if !is_variable_name(name.as_bytes()) {
                self.fault(
                    &entry,
                    entry.key,
                    "a name is letters A to Z, digits and `_`, and begins with no digit",
                );
                continue;
            }
            if name == "PS" || is_only_ours(name.as_ref()) {
                let reason = "supervise sets this itself, or keeps it from the processes: remove it";
                self.fault(&entry, entry.key, reason);
                continue;
            }
            let value = match &entry.value.kind {
                Kind::Text(text) => text.clone(),
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => entry.value.scalar_text(),
                Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => {
                    self.wrong(&entry, "is a text or a number; an empty one is written \"\"");
                    continue;
                }
            };
            if value.contains('\0') {
                self.wrong(&entry, "holds a NUL byte, and no variable can");
                continue;
            }
            variables.push((name.to_owned(), value));
        }
        variables
    }

    fn port(&mut self, entry: &Entry<'a>) -> Option<Port> {
        let none = (entry.value.kind == Kind::Bool(false)).then_some(Port::None);
        let port = none.or_else(|| Self::port_number(entry.value).map(Port::Base));
        if port.is_none() {
            self.wrong(entry, "is a number from 1 to 65535, or `false` for none");
        }
        port
    }

    fn signal(&mut self, entry: &Entry<'a>) -> Option<Signal> {
        let signal: Result<Signal, UnknownSignal> = match &entry.value.kind {
            Kind::Text(text) => text.parse(),
            Kind::Number(number) => number.to_string().parse(),
            Kind::Null
            | Kind::Bool(_)
            | Kind::OtherNumber
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => {
                self.wrong(entry, "is the name of a signal: TERM, INT, QUIT, USR1, RTMIN+3");
                return None;
            }
        };
        let signal = signal.map_err(|unknown| self.fault(entry, entry.value, unknown.to_string())).ok()?;
        if ENDS_NOTHING.contains(&signal.number()) {
            let reason = format!("{signal} asks no process to end: TERM, INT, QUIT, USR1 and others can");
            self.fault(entry, entry.value, reason);
            return None;
        }
        Some(signal)
    }
}
