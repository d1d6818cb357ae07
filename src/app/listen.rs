//! The socket that the supervisor binds for a process type and hands to each of its instances: the key `listen`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `tcp://0.0.0.0:8000`.
    Tcp(SocketAddr),
    /// `unix:///run/app.sock`, or a path; a relative one begins at the root.
    Unix(PathBuf),
}

/// The longest path of a Unix socket, in bytes: `sun_path` without its NUL (unix(7)).
const LONGEST_PATH: usize = 107;

const ADDRESSES: &str =
    "`tcp://0.0.0.0:8000`, `tcp://[::1]:8000`, `tcp://:8000`, `unix:///run/app.sock`, or a path";

impl Listen {
    /// Reads an address as people write it; a relative path stays one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Listen, String> {
        if let Some(address) = text.strip_prefix("tcp:") {
            let address = address.strip_prefix("//").ok_or_else(|| expected(text))?;
            return tcp(address).map(Listen::Tcp);
        }
        let path = match text.strip_prefix("unix:") {
            Some(path) => match path.strip_prefix("//") {
                Some(path) if path.starts_with('/') => path,
                Some(_) => {
                    return Err("an absolute path follows `unix://`, a relative one `unix:`".to_owned());
                }
                None => path,
            },
            None if text.contains("://") || ends_in_port(text) => return Err(expected(text)),
            None => text,
        };
        match path.chars().next() {
            None => Err(expected(text)),
            Some('@') => {
                Err("a socket without a file (`@name`) has no owner and no mode: give it a path".to_owned())
            }
            Some(_) if path.ends_with('/') => {
                Err("a path of a file is needed, and this is a directory".to_owned())
            }
            Some(_) if path.contains('\0') => Err("a NUL byte is in no path".to_owned()),
            Some(_) => Ok(Listen::Unix(path.into())),
        }
    }

    /// The same for processes that run in a directory.
    ///
    /// # Errors
    /// The path is longer than the kernel takes.
    pub(super) fn below(&self, root: &Path) -> Result<Listen, String> {
        let path = match self {
            Listen::Tcp(_) => return Ok(self.clone()),
            Listen::Unix(path) => root.join(path),
        };
        // `components` drops every `.`, so that one file has one name.
        let path: PathBuf = path.components().collect();
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            let path = path.display();
            return Err(format!("`{path}` has {length} bytes, and a socket's path {LONGEST_PATH} at most"));
        }
        Ok(Listen::Unix(path))
    }

    /// Whether both cannot be bound at once.
    #[must_use]
    pub fn excludes(&self, other: &Listen) -> bool {
        match (self, other) {
            (Listen::Tcp(one), Listen::Tcp(other)) => {
                let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
                one == other || (anywhere && one.port() == other.port() && one.is_ipv4() == other.is_ipv4())
            }
            (Listen::Unix(one), Listen::Unix(other)) => one == other,
            (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
        }
    }

    /// The port, where it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) => None,
        }
    }
}

fn tcp(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').ok_or("a port is missing, as in `tcp://0.0.0.0:8000`")?;
    if text.ends_with(']') {
        return Err(format!("a port is missing, as in `tcp://{text}:8000`"));
    }
    let plain = port.bytes().all(|byte| byte.is_ascii_digit());
    let number: u16 = port.parse().ok().filter(|port| *port > 0 && plain).ok_or("a port is 1 to 65535")?;
    match host {
        "" => return Ok((Ipv4Addr::UNSPECIFIED, number).into()),
        "localhost" => return Ok((Ipv4Addr::LOCALHOST, number).into()),
        _ => {}
    }
    text.parse().map_err(|_| {
        if host.contains(':') && !host.starts_with('[') {
            return format!("an IPv6 address stands in brackets: `tcp://[{host}]:{number}`");
        }
        format!("`{host}` is no IP address, and a name could mean several: `127.0.0.1`, `[::1]`, `0.0.0.0`")
    })
}

/// `localhost:8000`, `:8000`, `8000`: somebody means a port, and would get a file of that name.
fn ends_in_port(text: &str) -> bool {
    let last = text.rsplit(':').next().unwrap_or_default();
    !text.contains('/') && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn expected(text: &str) -> String {
    let text = text.escape_debug();
    format!("`{text}` is no address; there is {ADDRESSES}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, shown) in [
            ("tcp://0.0.0.0:8000", "tcp://0.0.0.0:8000"),
            ("tcp://:8000", "tcp://0.0.0.0:8000"),
            ("tcp://localhost:80", "tcp://127.0.0.1:80"),
            ("tcp://[::1]:8000", "tcp://[::1]:8000"),
            ("unix:///run/app.sock", "unix:///run/app.sock"),
            ("unix:/run/app.sock", "unix:///run/app.sock"),
            ("unix:tmp/app.sock", "unix:///srv/tmp/app.sock"),
            ("./app.sock", "unix:///srv/app.sock"),
            ("/run/./app.sock", "unix:///run/app.sock"),
            ("sock/3000/x", "unix:///srv/sock/3000/x"),
        ] {
            let listen = Listen::parse(text).and_then(|listen| listen.below(Path::new("/srv")));
            assert_eq!(listen.map(|listen| listen.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for (text, said) in [
            ("", "no address"),
            ("8000", "no address; there is `tcp://0.0.0.0:8000`"),
            (":8000", "no address"),
            ("localhost:8000", "no address"),
            ("http://localhost:80", "no address"),
            ("tcp:8000", "no address"),
            ("tcp://8000", "a port is missing"),
            ("tcp://[::1]", "a port is missing, as in `tcp://[::1]:8000`"),
            ("tcp://:0", "a port is 1 to 65535"),
            ("tcp://:+80", "a port is 1 to 65535"),
            ("tcp://:65536", "a port is 1 to 65535"),
            ("tcp://::1:80", "brackets: `tcp://[::1]:80`"),
            ("tcp://example.org:80", "`example.org` is no IP address"),
            ("unix://app.sock", "an absolute path follows `unix://`"),
            ("unix:", "no address"),
            ("unix:@app", "give it a path"),
            ("/run/", "this is a directory"),
        ] {
            let error = Listen::parse(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = Listen::Unix("x".repeat(108).into());
        assert!(long.below(Path::new("/")).expect_err("too long").contains("has 109 bytes"));
    }

    #[test]
    fn two_addresses_that_cannot_be_bound_at_once_exclude_each_other() {
        let excludes = |one: &str, other: &str| {
            let read = |text: &str| Listen::parse(text).expect("an address");
            let answer = read(one).excludes(&read(other));
            assert_eq!(answer, read(other).excludes(&read(one)), "{one} {other}");
            answer
        };
        assert!(excludes("tcp://:80", "tcp://0.0.0.0:80"));
        assert!(excludes("tcp://:80", "tcp://127.0.0.1:80"));
        assert!(!excludes("tcp://127.0.0.2:80", "tcp://127.0.0.1:80"));
        assert!(!excludes("tcp://:80", "tcp://:81"));
        assert!(excludes("unix:/a", "/a"));
        assert!(!excludes("tcp://:80", "/a"));
    }
}
