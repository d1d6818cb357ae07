//! The environment of a process type, each value with its origin.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// Variables by name. Printing one for debugging shows names and origins, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, Variable>);

/// One value and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// What the child sees; any bytes but NUL.
    pub value: OsString,
    /// Who set it.
    pub origin: Origin,
}

/// Who set a variable, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The supervisor: `PORT`, `PS`, `SUPERVISE_*`.
    Injected,
    /// The type's `env` in the spec.
    Spec,
    /// The environment we were started with.
    Real,
    /// A line of an env file.
    File {
        /// As the user named it.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The spec's `defaults.env`.
    Defaults,
}

impl Environment {
    /// Sets a variable, whatever was there.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>, origin: Origin) {
        self.0.insert(name.into(), Variable { value: value.into(), origin });
    }

    /// The variable of that name.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&Variable> {
        self.0.get(name.as_ref())
    }

    /// Every variable in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &Variable)> {
        self.0.iter().map(|(name, variable)| (name.as_os_str(), variable))
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("value", &"(hidden)").field("origin", &self.origin).finish()
    }
}
