//! Backing services as attached resources: named by the variable that holds their URL (twelve-factor, IV).

use std::fmt;
use std::time::Duration;

/// A service that a process type needs before it is started.
#[derive(Clone, PartialEq, Eq)]
pub struct Service {
    /// The variable that holds its URL: `REDIS_URL`.
    pub name: String,
    /// The URL, with its password. Never to be printed. Empty for a type of which nothing ran at the start, where the variable
    /// was not set: nobody answers there.
    pub url: String,
    /// How long a start waits for it before that is a failure.
    pub wait: Duration,
}

impl Service {
    /// Where the spec is silent.
    pub const WAIT: Duration = Duration::from_secs(30);
}

/// Without the URL.
impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("wait", &self.wait).finish_non_exhaustive()
    }
}
