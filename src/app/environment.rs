//! The environment of a process type, each value with its origin.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::envfile::Assignment;

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

/// `environment`, `.env:3`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Injected => write!(f, "supervise"),
            Origin::Spec => write!(f, "spec (env)"),
            Origin::Real => write!(f, "environment"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Defaults => write!(f, "spec (defaults.env)"),
        }
    }
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

    /// Takes a variable away, whoever set it.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.0.remove(name.as_ref());
    }

    /// Every variable in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &Variable)> {
        self.0.iter().map(|(name, variable)| (name.as_os_str(), variable))
    }
}

/// Where variables come from before any process type says its own.
#[derive(Clone, Default)]
pub(super) struct Sources {
    /// The environment we were started with.
    pub(super) real: Vec<(OsString, OsString)>,
    /// Env files with what they say, the last one strongest.
    pub(super) files: Vec<(PathBuf, Vec<Assignment>)>,
    /// Whether files or the real environment are stronger.
    pub(super) stronger: Stronger,
}

/// Which wins where an env file and the real environment set the same variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stronger {
    /// The real environment.
    #[default]
    Real,
    /// The files: `--env-override`.
    Files,
}

impl Sources {
    /// The same, with another order.
    #[must_use]
    pub(super) fn ranked(&self, stronger: Stronger) -> Sources {
        Sources { stronger, ..self.clone() }
    }

    /// The same where they speak of one variable, with another order.
    #[must_use]
    pub(super) fn of_one(&self, variable: &str, stronger: Stronger) -> Sources {
        let said = |assignments: &[Assignment]| {
            assignments.iter().filter(|assignment| assignment.name == variable).cloned().collect()
        };
        Sources {
            real: self.real.iter().filter(|(name, _)| name == variable).cloned().collect(),
            files: self.files.iter().map(|(path, assignments)| (path.clone(), said(assignments))).collect(),
            stronger,
        }
    }

    /// What a type gets before anything is injected, given `defaults.env` and its own `env`.
    #[must_use]
    pub(super) fn environment(&self, defaults: &[(String, String)], own: &[(String, String)]) -> Environment {
        let mut environment = Environment::default();
        for (name, value) in defaults {
            environment.set(name, value, Origin::Defaults);
        }
        match self.stronger {
            Stronger::Real => {
                self.add_files(&mut environment);
                self.add_real(&mut environment);
            }
            Stronger::Files => {
                self.add_real(&mut environment);
                self.add_files(&mut environment);
            }
        }
        for (name, value) in own {
            environment.set(name, value, Origin::Spec);
        }
        environment.0.retain(|name, _| !is_only_ours(name));
        environment
    }

    fn add_real(&self, environment: &mut Environment) {
        for (name, value) in &self.real {
            environment.set(name, value, Origin::Real);
        }
    }

    fn add_files(&self, environment: &mut Environment) {
        for (path, assignments) in &self.files {
            for Assignment { name, value, line } in assignments {
                environment.set(name, value, Origin::File { path: path.clone(), line: *line });
            }
        }
    }

    /// The names that a file sets and the real environment sets otherwise and stronger.
    #[must_use]
    pub(super) fn overridden(&self) -> Vec<String> {
        let Stronger::Real = self.stronger else { return Vec::new() };
        let mut files = Environment::default();
        self.add_files(&mut files);
        let differs = |(name, value): &&(OsString, OsString)| {
            !is_only_ours(name) && files.get(name).is_some_and(|file| file.value != *value)
        };
        let mut names: Vec<String> =
            self.real.iter().filter(differs).map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Whether a variable speaks to a supervisor, or is what one says to its child: none of these reaches a child but those that
/// are injected.
pub(super) fn is_only_ours(name: &OsStr) -> bool {
    /// Whoever started us may have given us sockets and a place to say that we are ready: that is for us
    /// (`sd_listen_fds(3)`, `sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_pid_notify_with_fds(3)`). `JOURNAL_STREAM` tells
    /// which of our descriptors is the journal's (`systemd.exec(5)`); a child writes to a pipe of ours.
    const HANDED_TO_US: [&str; 9] = [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "FDSTORE",
        "JOURNAL_STREAM",
    ];
    name.as_bytes().starts_with(b"SUPERVISE_") || HANDED_TO_US.iter().any(|handed| name == *handed)
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("value", &"(hidden)").field("origin", &self.origin).finish()
    }
}
