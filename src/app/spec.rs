//! The scaling spec, `supervise.yml`, as settings.
//!
//! Nothing in it is ignored: what is unknown, twice there, of the wrong type or impossible is an error with its line, its
//! column and the path of its key, all of them in one run. The value of a variable is in none of them.

use std::path::Path;
use std::time::Duration;

use crate::api::{Signal, TypeName, UnknownSignal, parse_duration};

use super::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::envfile::is_variable_name;
use super::formation::{MOST_INSTANCES, too_many};
use super::limits;
use super::settings::{Port, Settings};
use super::spot::{Spot, Spots};
use super::trail::{Entry, Trail};
use super::yaml::{Document, Kind, Node};
use super::{Leftovers, Restart, Stderr, StopScope};

/// What a spec says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    /// For every type.
    pub(super) defaults: Settings,
    /// Where they say what can be wrong only together with something else.
    pub(super) defaults_spots: Spots,
    /// For one type each.
    pub(super) types: Vec<TypeSpec>,
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
const KEYS: [&str; 14] = [
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
    "after",
];

/// Keys of a process type that come with a later version.
const LATER_KEYS: [&str; 4] = ["health", "listen", "rollout", "needs"];

/// Keys of the whole spec.
const TOP_KEYS: [&str; 2] = ["formation", "defaults"];

/// A key of the whole spec that comes with a later version.
const LATER_TOP_KEYS: [&str; 1] = ["services"];

/// Signals that stop or continue a process, or that it ignores unless it asks for them (signal(7)).
#[rustfmt::skip]
const ENDS_NOTHING: [i32; 8] = [
    libc::SIGSTOP, libc::SIGCONT, libc::SIGCHLD, libc::SIGWINCH,
    libc::SIGURG, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU,
];

const BACKOFF_KEYS: [&str; 4] = ["first", "max", "reset_after", "give_up_after"];

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
                _ => reader.unknown_key(&entry, &TOP_KEYS, &LATER_TOP_KEYS),
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

struct Reader<'a> {
    document: &'a Document,
    /// The types of the Procfile, where that could be read.
    known: Option<&'a [TypeName]>,
    errors: Diagnostics,
    /// How many of them concern a single type of the Procfile.
    of_one_type: usize,
}

impl<'a> Reader<'a> {
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

    fn spot(&self, entry: &Entry<'a>) -> Spot {
        Spot::new(self.document.place(entry.value), entry.trail.to_string())
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
                "after" => {
                    settings.after = self.types(entry);
                    spots.after = Some(self.spot(entry));
                }
                _ => self.unknown_key(entry, &KEYS, &LATER_KEYS),
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
                _ => self.unknown_key(&entry, &BACKOFF_KEYS, &[]),
            }
        }
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
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => self.document.scalar_text(element),
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
            if name == "PS" || name.starts_with("SUPERVISE_") {
                let reason = "supervise sets this itself, or keeps it from the processes: remove it";
                self.fault(&entry, entry.key, reason);
                continue;
            }
            let value = match &entry.value.kind {
                Kind::Text(text) => text.clone(),
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => self.document.scalar_text(entry.value),
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

    fn limits(&mut self, owner: &Entry<'a>, settings: &mut Settings) {
        for entry in self.mapping(&owner.trail, owner.value) {
            let text = match &entry.value.kind {
                Kind::Text(text) => Some(text.clone()),
                Kind::Number(number) => Some(number.to_string()),
                Kind::Null
                | Kind::Bool(_)
                | Kind::OtherNumber
                | Kind::Sequence(_)
                | Kind::Mapping(_)
                | Kind::Tagged => None,
            };
            let Some(resource) = limits::resource(entry.trail.name()) else {
                let known: Vec<&str> = limits::names().collect();
                self.unknown_key(&entry, &known, &[]);
                continue;
            };
            match text.and_then(|text| limits::parse(resource, &text)) {
                Some(limit) => settings.limits.push(limit),
                None => {
                    self.wrong(&entry, "is a whole number, with k, m or g behind it or not, or `unlimited`");
                }
            }
        }
    }

    fn port(&mut self, entry: &Entry<'a>) -> Option<Port> {
        let port = match entry.value.kind {
            Kind::Bool(false) => Some(Port::None),
            Kind::Number(number) => u16::try_from(number).ok().filter(|port| *port > 0).map(Port::Base),
            Kind::Null
            | Kind::Bool(true)
            | Kind::OtherNumber
            | Kind::Text(_)
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => None,
        };
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

    fn duration(&mut self, entry: &Entry<'a>) -> Option<Duration> {
        let text = match &entry.value.kind {
            Kind::Text(text) => text.clone(),
            // A bare number is seconds.
            Kind::Number(_) | Kind::OtherNumber => self.document.scalar_text(entry.value),
            Kind::Null | Kind::Bool(_) | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => String::new(),
        };
        parse_duration(&text).map_err(|reason| self.fault(entry, entry.value, reason)).ok()
    }

    fn word<T: Copy>(&mut self, entry: &Entry<'a>, words: &[(&str, T)]) -> Option<T> {
        let known = words.iter().map(|(word, _)| *word);
        let Kind::Text(text) = &entry.value.kind else {
            let known: Vec<&str> = known.collect();
            self.wrong(entry, &format!("is one of {}", known.join(", ")));
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text).map(|(_, value)| *value);
        if found.is_none() {
            let error = self.diagnostic(entry, entry.value, format!("`{text}` is not known here"));
            self.push_with_line(error.with_help(did_you_mean(text, "it is one of", known)));
        }
        found
    }

    fn yes_or_no(&mut self, entry: &Entry<'a>) -> Option<bool> {
        if let Kind::Bool(value) = entry.value.kind {
            return Some(value);
        }
        self.wrong(entry, "is `true` or `false`");
        None
    }

    fn count(&mut self, entry: &Entry<'a>) -> Option<u32> {
        match &entry.value.kind {
            Kind::Number(number) => {
                let count = u32::try_from(*number);
                count.map_err(|_| self.fault(entry, entry.value, format!("{number} is too large"))).ok()
            }
            Kind::Text(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let reason = "is a whole number, and this is a text: take the quotes away";
                self.fault(entry, entry.value, reason);
                None
            }
            Kind::Null
            | Kind::Bool(_)
            | Kind::OtherNumber
            | Kind::Text(_)
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => {
                self.wrong(entry, "is a whole number, 0 or more");
                None
            }
        }
    }

    fn instances(&mut self, entry: &Entry<'a>) -> Option<u32> {
        let count = self.count(entry)?;
        if count > MOST_INSTANCES {
            self.fault(entry, entry.value, too_many(count));
            return None;
        }
        Some(count)
    }

    fn at_least_one(&mut self, entry: &Entry<'a>) -> Option<u32> {
        let count = self.count(entry)?;
        if count == 0 {
            self.fault(entry, entry.value, "is 1 or more; `quantity: 0` is what starts none");
        }
        Some(count)
    }

    /// The entries of a mapping, each key once.
    fn mapping(&mut self, trail: &Trail, node: &'a Node) -> Vec<Entry<'a>> {
        let Kind::Mapping(pairs) = &node.kind else {
            let owner = Entry { trail: trail.clone(), key: node, value: node };
            self.wrong(&owner, "is a map of keys and values");
            return Vec::new();
        };
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for (key, value) in pairs {
            let name = match &key.kind {
                Kind::Text(text) => text.clone(),
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => self.document.scalar_text(key),
                Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => {
                    let owner = Entry { trail: trail.clone(), key, value };
                    self.fault(&owner, key, "a key is a plain word");
                    continue;
                }
            };
            // A key without a value is often the rest of one: `{A: first, second}`.
            let hidden =
                trail.is_secret() && (!is_variable_name(name.as_bytes()) || matches!(value.kind, Kind::Null));
            let below = if hidden { trail.then_hidden(&name) } else { trail.then(&name) };
            let entry = Entry { trail: below, key, value };
            match entries.iter().find(|earlier| earlier.trail.name() == name) {
                None => entries.push(entry),
                Some(earlier) => {
                    let first = match self.document.place(earlier.key) {
                        Place::Column(_, line, _) => format!("first on line {line}"),
                        Place::Arguments | Place::Environment | Place::File(_) | Place::Line(..) => {
                            "before".to_owned()
                        }
                    };
                    self.fault(&entry, key, format!("the key is there twice, {first}"));
                }
            }
        }
        entries
    }

    fn unknown_key(&mut self, entry: &Entry<'a>, known: &[&str], later: &[&str]) {
        if entry.trail.is_hidden() {
            self.fault(entry, entry.key, "there is no such key here");
            return;
        }
        let name = entry.trail.name();
        if later.contains(&name) {
            self.fault(entry, entry.key, format!("`{name}` is not in this version"));
            return;
        }
        let error = self.diagnostic(entry, entry.key, format!("there is no key `{name}`"));
        let help = match name {
            "<<" => "merge keys are not read; what holds for every type goes under `defaults`".to_owned(),
            _ => did_you_mean(name, "the keys here are", known.iter().copied()),
        };
        self.push_with_line(error.with_help(help));
    }

    /// A value of the wrong type, or an impossible one; `is` says what it should be.
    fn wrong(&mut self, entry: &Entry<'a>, is: &str) {
        let found = match (&entry.value.kind, entry.trail.is_secret()) {
            (_, true) => String::new(),
            (Kind::Null, _) => ", and nothing is here".to_owned(),
            (Kind::Bool(value), _) => format!(", not `{value}`"),
            (Kind::Number(number), _) => format!(", not `{number}`"),
            (Kind::OtherNumber, _) => format!(", not `{}`", self.document.scalar_text(entry.value)),
            (Kind::Text(text), _) if text.len() < 30 => format!(", not `{}`", text.escape_debug()),
            (Kind::Text(_), _) => ", not a text".to_owned(),
            (Kind::Sequence(_), _) => ", not a list".to_owned(),
            (Kind::Mapping(_), _) => ", not a map".to_owned(),
            (Kind::Tagged, _) => ", not something with a tag".to_owned(),
        };
        self.fault(entry, entry.value, format!("{is}{found}"));
    }

    fn fault(&mut self, entry: &Entry<'a>, at: &Node, reason: impl AsRef<str>) {
        let error = self.diagnostic(entry, at, reason.as_ref());
        let is_name = matches!(&at.kind, Kind::Text(text) if text == entry.trail.name());
        if !entry.trail.is_secret() || (at.is_key() && is_name && !entry.trail.is_hidden()) {
            self.push_with_line(error);
        } else {
            self.errors.push(error);
        }
    }

    fn diagnostic(&self, entry: &Entry<'a>, at: &Node, reason: impl AsRef<str>) -> Diagnostic {
        let trail = match entry.trail.shown.as_slice() {
            [] => "the spec".to_owned(),
            _ => format!("`{}`:", entry.trail),
        };
        Diagnostic::new(self.document.place(at), format!("{trail} {}", reason.as_ref()))
    }

    fn push_with_line(&mut self, error: Diagnostic) {
        let line = self.document.visible_line(&error.place);
        self.errors.push(match line {
            Some(line) => error.with_source(line.as_bytes()),
            None => error,
        });
    }
}
