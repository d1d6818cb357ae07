//! A connected Unix socket whose other end is known to be somebody who may be trusted.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroI32;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};

/// How long a queue of connections may be full: a living supervisor empties it at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a supervisor; nothing was sent yet.
#[derive(Debug)]
pub(super) struct Link {
    /// It blocks.
    pub(super) stream: UnixStream,
    /// Where the socket is, as the user would type it.
    pub(super) socket: PathBuf,
    /// Whose process it is.
    pub(super) user: u32,
    /// The supervisor, which may be PID 1. `None` where it lives in a pid namespace that we cannot see into.
    pub(super) pid: Option<NonZeroI32>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Miss {
    /// The system's reason; `ENOENT` and `ECONNREFUSED` mean that nobody is there.
    System(Errno),
    /// Somebody whom we do not trust listens there: whose process it is.
    Stranger(u32),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::System(Errno::ENOENT | Errno::ENOTDIR) => f.write_str("not there"),
            Miss::System(Errno::ECONNREFUSED) => f.write_str("nobody listens any more"),
            Miss::System(Errno::EACCES) => f.write_str("another user's, whom only root may speak for"),
            Miss::System(Errno::EAGAIN) => f.write_str("it takes no connection"),
            Miss::System(Errno::ENAMETOOLONG) => f.write_str("the file name is too long for a socket"),
            Miss::System(errno) => f.write_str(errno.desc()),
            Miss::Stranger(uid) => write!(f, "user {uid} listens there, who is not trusted"),
        }
    }
}

impl Link {
    /// Connects, and makes sure by the kernel's word (`SO_PEERCRED`, unix(7)) that the other end is one of these users, before
    /// anything is sent.
    ///
    /// # Errors
    /// Why there is nobody to talk to.
    pub(super) fn new(path: &Path, trusted: &[u32]) -> Result<Link, Miss> {
        let stream = connected(path).map_err(Miss::System)?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(Miss::System)?;
        if !trusted.contains(&peer.uid()) {
            return Err(Miss::Stranger(peer.uid()));
        }
        let (user, pid) = (peer.uid(), NonZeroI32::new(peer.pid()));
        Ok(Link { stream, socket: path.to_owned(), user, pid })
    }
}

fn connected(path: &Path) -> Result<UnixStream, Errno> {
    let (address, _directory) = address(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let begin = Instant::now();
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => break,
            // A Unix socket does not connect later: its queue is full now (connect(2)).
            Err(Errno::EAGAIN) if begin.elapsed() < PATIENCE => sleep(Duration::from_millis(10)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false).map_err(|error| errno_of(&error))?;
    Ok(stream)
}

/// The address of a socket, however long its path is: a longer one than fits (108 bytes, unix(7)) is reached through its
/// directory, which has to stay open for that long.
fn address(path: &Path) -> Result<(UnixAddr, Option<File>), Errno> {
    match (UnixAddr::new(path), path.parent(), path.file_name()) {
        (Ok(address), _, _) => Ok((address, None)),
        (Err(_), Some(parent), Some(name)) => {
            let directory = File::options()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                .open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
                .map_err(|error| errno_of(&error))?;
            let mut short = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            short.extend_from_slice(name.as_bytes());
            Ok((UnixAddr::new(short.as_slice())?, Some(directory)))
        }
        (Err(errno), _, _) => Err(errno),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Shutdown, shutdown};
    use nix::unistd::geteuid;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("supervise-link-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_stranger_is_told_nothing() {
        let directory = directory("stranger");
        let path = directory.join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let us = geteuid().as_raw();
        assert_eq!(Link::new(&path, &[us + 1]).unwrap_err(), Miss::Stranger(us));
        assert!(Link::new(&path, &[us]).is_ok());
        // To close it is not enough: a process that another test has just begun has it too, until it execs.
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
        assert_eq!(Link::new(&path, &[us]).unwrap_err(), Miss::System(Errno::ECONNREFUSED));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_path_of_any_length_is_reached() {
        let top = directory("long");
        let deep = top.join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let directory = File::open(&deep).unwrap();
        let _listener = UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd())).unwrap();
        assert!(Link::new(&deep.join("s"), &[geteuid().as_raw()]).is_ok());
        let miss = Link::new(&deep.join("f".repeat(108)), &[]).unwrap_err();
        assert_eq!(miss, Miss::System(Errno::ENAMETOOLONG));
        std::fs::remove_dir_all(top).unwrap();
    }
}
