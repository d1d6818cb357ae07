//! The socket that the supervisor binds for a process type and hands to each of its instances: the key `listen`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `tcp://0.0.0.0:8000`.
    Tcp(SocketAddr),
    /// `unix:///run/app.sock`, or a path; a relative one begins at the root.
    Unix(PathBuf),
}

/// As it is written in a spec.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
