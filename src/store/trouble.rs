//! Why a store could not do what it was asked to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Number;
use crate::app::{Diagnostic, Diagnostics};

/// Why nothing came of it. No value of a variable is in any.
#[derive(Debug)]
pub enum Trouble {
    /// What was asked for, or the files of the app, are wrong.
    Input(Diagnostics),
    /// There is no store: nothing was released yet.
    NoStore(PathBuf),
    /// Somebody else could have written it.
    Untrusted(PathBuf, String),
    /// The store itself is not as we left it.
    Broken(PathBuf, String),
    /// A release is not as it was made.
    Damaged(Number, String),
    /// What a release needs is there no more, or is another one.
    Gone(String),
    /// The system refuses.
    System {
        /// What could not be done: `write`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Trouble {
    pub(super) fn system(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
        move |error| Trouble::System { doing, path: path.to_owned(), error }
    }

    /// The exit code: 2 where the input is wrong, 1 where the system or the store is.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Trouble::Input(_) | Trouble::NoStore(_) => 2,
            Trouble::Untrusted(..)
            | Trouble::Broken(..)
            | Trouble::Damaged(..)
            | Trouble::Gone(_)
            | Trouble::System { .. } => 1,
        }
    }
}

impl From<Diagnostic> for Trouble {
    fn from(diagnostic: Diagnostic) -> Trouble {
        Trouble::Input(diagnostic.into())
    }
}

impl From<Diagnostics> for Trouble {
    fn from(diagnostics: Diagnostics) -> Trouble {
        Trouble::Input(diagnostics)
    }
}

impl std::error::Error for Trouble {}

/// `error: ...` on lines of its own, with the way out.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Input(diagnostics) => write!(f, "{}", diagnostics.to_string().trim_end()),
            Trouble::NoStore(directory) => write!(
                f,
                "error: there are no releases: {} is not there\n  help: `supervise release create` makes the first one; \
                 `--state` names another directory",
                directory.display()
            ),
            Trouble::Untrusted(path, reason) => write!(f, "error: {}: {reason}", path.display()),
            Trouble::Broken(path, reason) => write!(f, "error: {}: {reason}", path.display()),
            Trouble::Damaged(number, reason) => write!(
                f,
                "error: {number} is not as it was made: {reason}\n  help: another release can still be used: `supervise releases`"
            ),
            Trouble::Gone(reason) => write!(f, "error: {reason}"),
            Trouble::System { doing, path, error } => {
                write!(f, "error: cannot {doing} {}: {error}", path.display())
            }
        }
    }
}
