//! The way to a key of the spec, as messages have it.

use std::fmt;

use super::yaml::Node;

/// The path of a key: `formation.worker.drain`.
#[derive(Clone, Default)]
pub(super) struct Trail {
    /// What may be shown of it: all, but for a last key that is hidden.
    pub(super) shown: Vec<String>,
    /// The last key.
    name: String,
}

impl Trail {
    pub(super) fn then(&self, key: &str) -> Trail {
        let shown = self.shown.iter().map(String::as_str).chain([key]).map(str::to_owned).collect();
        Trail { shown, name: key.to_owned() }
    }

    /// With a key that may itself be, or hold, the value of a variable: `DATABASE_URL=secret`.
    pub(super) fn then_hidden(&self, key: &str) -> Trail {
        Trail { shown: self.shown.clone(), name: key.to_owned() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.shown.last().is_none_or(|last| *last != self.name)
    }

    /// Whether what is here may hold the value of a variable.
    pub(super) fn is_secret(&self) -> bool {
        let below = |key: &String| key == "env" || key == "needs";
        self.shown.iter().skip(1).any(below) || self.shown.first().is_some_and(|top| top == "services")
    }

    /// Whether it is a key of the whole spec.
    pub(super) fn is_top(&self) -> bool {
        self.shown.len() == 1
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown.join("."))
    }
}

/// One entry of a mapping.
pub(super) struct Entry<'a> {
    pub(super) trail: Trail,
    pub(super) key: &'a Node,
    pub(super) value: &'a Node,
}
