//! Reads the values of a spec, and says what is wrong with one: where it is, the path of its key, and what it should be.

use std::time::Duration;

use crate::api::{TypeName, parse_duration};

use super::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::elsewhere::ours;
use super::envfile::is_variable_name;
use super::formation::{MOST_INSTANCES, too_many};
use super::spot::Spot;
use super::trail::{Entry, Trail};
use super::yaml::{Document, Kind, Node};

/// What is read, and what is wrong with it so far.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    /// The types of the Procfile, where that could be read.
    pub(super) known: Option<&'a [TypeName]>,
    pub(super) errors: Diagnostics,
    /// How many of them concern a single type of the Procfile.
    pub(super) of_one_type: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn spot(&self, entry: &Entry<'a>) -> Spot {
        Spot::new(self.document.place(entry.value), entry.trail.to_string())
    }

    pub(super) fn duration(&mut self, entry: &Entry<'a>) -> Option<Duration> {
        let text = match &entry.value.kind {
            Kind::Text(text) => text.clone(),
            // A bare number is seconds.
            Kind::Number(_) | Kind::OtherNumber => entry.value.scalar_text(),
            Kind::Null | Kind::Bool(_) | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => String::new(),
        };
        parse_duration(&text).map_err(|reason| self.fault(entry, entry.value, reason)).ok()
    }

    /// A duration that is longer than nothing.
    pub(super) fn some_time(&mut self, entry: &Entry<'a>) -> Option<Duration> {
        let duration = self.duration(entry)?;
        if duration.is_zero() {
            self.fault(entry, entry.value, "is longer than 0");
            return None;
        }
        Some(duration)
    }

    pub(super) fn word<T: Copy>(&mut self, entry: &Entry<'a>, words: &[(&str, T)]) -> Option<T> {
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

    pub(super) fn yes_or_no(&mut self, entry: &Entry<'a>) -> Option<bool> {
        if let Kind::Bool(value) = entry.value.kind {
            return Some(value);
        }
        self.wrong(entry, "is `true` or `false`");
        None
    }

    pub(super) fn count(&mut self, entry: &Entry<'a>) -> Option<u32> {
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
            Kind::Text(text) if text.ends_with('%') => {
                self.wrong(entry, "is a whole number, and no percentage");
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

    pub(super) fn instances(&mut self, entry: &Entry<'a>) -> Option<u32> {
        let count = self.count(entry)?;
        if count > MOST_INSTANCES {
            self.fault(entry, entry.value, too_many(count));
            return None;
        }
        Some(count)
    }

    pub(super) fn at_least_one(&mut self, entry: &Entry<'a>) -> Option<u32> {
        let count = self.count(entry)?;
        if count == 0 {
            self.fault(entry, entry.value, "is 1 or more; `quantity: 0` is what starts none");
        }
        Some(count)
    }

    /// A number from 1 to 65535.
    pub(super) fn port_number(node: &Node) -> Option<u16> {
        let Kind::Number(number) = node.kind else { return None };
        u16::try_from(number).ok().filter(|port| *port > 0)
    }

    /// The entries of a mapping, each key once.
    pub(super) fn mapping(&mut self, trail: &Trail, node: &'a Node) -> Vec<Entry<'a>> {
        let Kind::Mapping(pairs) = &node.kind else {
            let owner = Entry { trail: trail.clone(), key: node, value: node };
            self.wrong(&owner, "is a map of keys and values");
            return Vec::new();
        };
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for (key, value) in pairs {
            let name = match &key.kind {
                Kind::Text(text) => text.clone(),
                Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber => key.scalar_text(),
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

    pub(super) fn unknown_key(&mut self, entry: &Entry<'a>, known: &[&str]) {
        if entry.trail.is_hidden() {
            self.fault(entry, entry.key, "there is no such key here");
            return;
        }
        let name = entry.trail.name();
        let error = self.diagnostic(entry, entry.key, format!("there is no key `{name}`"));
        let help = match name {
            "<<" => "merge keys are not read; what holds for every type goes under `defaults`".to_owned(),
            _ => ours(name, known)
                .unwrap_or_else(|| did_you_mean(name, "the keys here are", known.iter().copied())),
        };
        self.push_with_line(error.with_help(help));
    }

    /// A value of the wrong type, or an impossible one; `is` says what it should be.
    pub(super) fn wrong(&mut self, entry: &Entry<'a>, is: &str) {
        let found = match (&entry.value.kind, entry.trail.is_secret()) {
            (_, true) => String::new(),
            (Kind::Null, _) => ", and nothing is here".to_owned(),
            (Kind::Bool(value), _) => format!(", not `{value}`"),
            (Kind::Number(number), _) => format!(", not `{number}`"),
            (Kind::OtherNumber, _) => format!(", not `{}`", entry.value.scalar_text()),
            (Kind::Text(text), _) if text.len() < 30 => format!(", not `{}`", text.escape_debug()),
            (Kind::Text(_), _) => ", not a text".to_owned(),
            (Kind::Sequence(_), _) => ", not a list".to_owned(),
            (Kind::Mapping(_), _) => ", not a map".to_owned(),
            (Kind::Tagged, _) => ", not something with a tag".to_owned(),
        };
        self.fault(entry, entry.value, format!("{is}{found}"));
    }

    pub(super) fn fault(&mut self, entry: &Entry<'a>, at: &Node, reason: impl AsRef<str>) {
        let error = self.diagnostic(entry, at, reason.as_ref());
        let is_name = matches!(&at.kind, Kind::Text(text) if text == entry.trail.name());
        if !entry.trail.is_secret() || (at.is_key() && is_name && !entry.trail.is_hidden()) {
            self.push_with_line(error);
        } else {
            self.errors.push(error);
        }
    }

    pub(super) fn diagnostic(&self, entry: &Entry<'a>, at: &Node, reason: impl AsRef<str>) -> Diagnostic {
        let trail = match entry.trail.shown.as_slice() {
            [] => "the spec".to_owned(),
            _ => format!("`{}`:", entry.trail),
        };
        Diagnostic::new(self.document.place(at), format!("{trail} {}", reason.as_ref()))
    }

    pub(super) fn push_with_line(&mut self, error: Diagnostic) {
        let line = self.document.visible_line(&error.place);
        self.errors.push(match line {
            Some(line) => error.with_source(line.as_bytes()),
            None => error,
        });
    }
}
