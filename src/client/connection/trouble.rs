//! Why a client could not do what it was asked to, and its exit code.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::link::Miss;
use crate::client::BAD_INPUT;
use crate::client::terminal::printable;

/// The exit code of a client that was refused, or that found nobody to talk to.
const REFUSED: u8 = 1;

/// Why nothing came of it.
#[derive(Debug)]
pub(in crate::client) enum Trouble {
    /// No supervisor is there.
    Nobody {
        /// The Procfile that is meant.
        procfile: Option<PathBuf>,
        /// The sockets that were tried.
        tried: Vec<(PathBuf, Miss)>,
        /// The directories where any socket would have done.
        places: Vec<PathBuf>,
        /// Who runs elsewhere.
        others: Vec<Running>,
    },
    /// It is not said which one of these is meant.
    Several(Vec<Running>),
    /// `--socket none`.
    NoSocket,
    /// The Procfile that was named is not there.
    NoProcfile(PathBuf, io::Error),
    /// The words cannot mean anything; nothing was sent.
    Usage(String),
    /// The supervisor refuses.
    Refused {
        /// Why, in one word.
        code: String,
        /// Why, as a sentence.
        message: String,
    },
    /// The conversation broke off, or made no sense: what the supervisor did, as the end of a sentence.
    Broken(String),
    /// Our own output, or a system call of ours.
    System(io::Error),
}

/// A supervisor that answers.
#[derive(Debug)]
pub(in crate::client) struct Running {
    /// Where.
    pub(in crate::client) socket: PathBuf,
    /// The directory that it was started in.
    pub(in crate::client) home: Option<PathBuf>,
}

impl Trouble {
    /// The exit code for it.
    pub(in crate::client) fn code(&self) -> u8 {
        match self {
            Trouble::Usage(_) => BAD_INPUT,
            Trouble::Nobody { .. }
            | Trouble::Several(_)
            | Trouble::NoSocket
            | Trouble::NoProcfile(..)
            | Trouble::Refused { .. }
            | Trouble::Broken(_)
            | Trouble::System(_) => REFUSED,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::System(error)
    }
}

/// So many places there are for the socket of one user.
const OWN_PLACES: usize = 3;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Nobody { procfile, tried, places, others } => {
                match procfile {
                    Some(procfile) => write!(f, "no supervisor is running for {}", procfile.display())?,
                    None => write!(f, "no supervisor is running here")?,
                }
                write!(f, ": start one with `supervise start`")?;
                let mut passed_over = 0;
                for (at, (socket, miss)) in tried.iter().enumerate() {
                    match miss {
                        // Root tries those of every user.
                        Miss::System(Errno::ENOENT | Errno::ENOTDIR) if at >= OWN_PLACES => passed_over += 1,
                        miss => write!(f, "\n  tried: {}: {miss}", socket.display())?,
                    }
                }
                if passed_over > 0 {
                    write!(f, "\n  tried: {passed_over} places of other users: not there")?;
                }
                if procfile.is_none() && tried.is_empty() {
                    let places: Vec<String> =
                        places.iter().map(|place| place.display().to_string()).collect();
                    write!(
                        f,
                        "\n  tried: there is no Procfile here or above, and no socket in {}",
                        places.join(", ")
                    )?;
                }
                if !others.is_empty() {
                    write!(f, "\n  help: others are running; name one by")?;
                }
                others.iter().try_for_each(|running| write!(f, "\n    {running}"))
            }
            Trouble::Several(running) => {
                write!(f, "several supervisors are running: say which one is meant, by")?;
                running.iter().try_for_each(|running| write!(f, "\n    {running}"))
            }
            Trouble::NoSocket => {
                write!(f, "`--socket none` is for `start`: a supervisor without a socket cannot be talked to")
            }
            Trouble::NoProcfile(path, error) => write!(
                f,
                "{}: {error}\n  help: name the Procfile with `-f FILE`, or the socket with `--socket PATH`",
                path.display()
            ),
            Trouble::Usage(reason) => f.write_str(reason),
            Trouble::Refused { message, .. } => f.write_str(&printable(message)),
            Trouble::Broken(reason) => write!(f, "the supervisor {reason}"),
            Trouble::System(error) => write!(f, "{error}"),
        }
    }
}

/// `--socket /tmp/supervise-0/1f.sock   (started in /srv/app)`.
impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--socket {}", self.socket.display())?;
        match &self.home {
            Some(home) => write!(f, "   (started in {})", home.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_other_users_are_counted_and_whoever_refuses_there_is_named() {
        let place = |user: u32| PathBuf::from(format!("/tmp/supervise-{user}/a.sock"));
        let mut tried: Vec<_> = (0..20).map(|user| (place(user), Miss::System(Errno::ENOENT))).collect();
        tried[7].1 = Miss::System(Errno::ECONNREFUSED);
        let nobody = Trouble::Nobody { procfile: None, tried, places: Vec::new(), others: Vec::new() };
        let said = nobody.to_string();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 6, "{said}");
        assert_eq!(lines[3], "  tried: /tmp/supervise-2/a.sock: not there");
        assert_eq!(lines[4], "  tried: /tmp/supervise-7/a.sock: nobody listens any more");
        assert_eq!(lines[5], "  tried: 16 places of other users: not there");
    }
}
