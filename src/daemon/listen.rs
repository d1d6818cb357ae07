//! The sockets that types listen on: bound by us before anything is started, kept while instances come and go, and handed
//! to each of them (spawn.rs), so that no client is refused between two lives.
//!
//! A socket belongs to its address: whoever has the same address after a reload has the same socket. It blocks for whoever
//! comes first: `O_NONBLOCK` lives on the description that all of its holders share, and is theirs to set.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect,
    getsockopt, listen, setsockopt, socket, sockopt,
};

use crate::api::{Notice, TypeName};
use crate::app::{Listen, ProcessType};

use super::port;
use super::proc::Stat;
use super::program::reason;

/// So many clients may wait to be accepted; the kernel takes fewer where `net.core.somaxconn` is lower. While an instance is
/// restarted nobody accepts.
const BACKLOG: i32 = 1024;

/// Every socket that is bound, each address once.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<Socket>);

/// One of them. With the last owner goes the file of a Unix socket, unless it is another one by now.
#[derive(Debug)]
struct Socket {
    /// For whom it was bound.
    process_type: TypeName,
    address: Listen,
    fd: OwnedFd,
    file: Option<SocketFile>,
}

/// Where a Unix socket stands, and which file that is.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

/// A type has no socket.
#[derive(Debug)]
pub(super) struct CannotListen {
    process_type: TypeName,
    address: Listen,
    why: String,
}

/// ``web cannot listen on tcp://0.0.0.0:80: permission denied ...``.
impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CannotListen { process_type, address, why } = self;
        write!(f, "`{process_type}` cannot listen on {address}: {why}")
    }
}

impl Sockets {
    /// Binds whatever types of which something shall run listen on, those aside that are bound already: what is new.
    ///
    /// # Errors
    /// The first that cannot be bound; then none is.
    pub(super) fn bind_more(&self, types: &[ProcessType]) -> Result<Sockets, CannotListen> {
        let mut more = Sockets::default();
        for process_type in types.iter().filter(|process_type| process_type.quantity > 0) {
            let Some(address) = &process_type.listen else { continue };
            if self.get(address).is_none() && more.get(address).is_none() {
                more.0.push(self.make(process_type, address)?);
            }
        }
        Ok(more)
    }

    /// What is to be said of them.
    pub(super) fn listening(&self) -> impl Iterator<Item = Notice> {
        self.0.iter().map(Socket::listening)
    }

    /// Makes them ours.
    pub(super) fn take_in(&mut self, mut more: Sockets) {
        self.0.append(&mut more.0);
    }

    /// The socket of a type; it is bound now, where nothing of the type ran until now, an earlier edition comes back, or
    /// somebody has removed the file by which clients find it.
    ///
    /// # Errors
    /// It cannot be bound.
    pub(super) fn of(
        &mut self,
        process_type: &ProcessType,
        holders: Holders,
    ) -> Result<Option<(BorrowedFd<'_>, Bound)>, CannotListen> {
        let Some(address) = &process_type.listen else { return Ok(None) };
        let known = self.0.iter_mut().find(|socket| socket.address == *address);
        let bound = if let Some(socket) = known {
            let bound = socket.find_again();
            match holders {
                Holders::None => socket.block(),
                Holders::Some => {}
            }
            bound
        } else {
            let socket = self.make(process_type, address)?;
            let notice = socket.listening();
            self.0.push(socket);
            Bound::Now(notice)
        };
        Ok(self.get(address).map(|socket| (socket.fd.as_fd(), bound)))
    }

    /// Closes those that nobody needs.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&Listen) -> bool) {
        self.0.retain(|socket| is_needed(&socket.address));
    }

    /// Each address.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Listen> {
        self.0.iter().map(|socket| &socket.address)
    }

    fn get(&self, address: &Listen) -> Option<&Socket> {
        self.0.iter().find(|socket| socket.address == *address)
    }

    fn make(&self, process_type: &ProcessType, address: &Listen) -> Result<Socket, CannotListen> {
        let ours = self.addresses().find(|ours| ours.excludes(address));
        let made = match ours {
            Some(ours) => Err(format!("we listen on {ours}, which we keep until no instance uses it")),
            None => bind_to(address),
        };
        let (process_type, address) = (process_type.name.clone(), address.clone());
        match made {
            Ok((fd, file)) => Ok(Socket { process_type, address, fd, file }),
            Err(why) => Err(CannotListen { process_type, address, why }),
        }
    }
}

/// Whether any instance has a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    /// Nobody has.
    None,
    /// Somebody has, and may have set `O_NONBLOCK`: a server with an event loop would stand still without it.
    Some,
}

/// When a socket was bound.
#[derive(Debug)]
pub(super) enum Bound {
    /// It was there.
    Before,
    /// Just now, which is to be said.
    Now(Notice),
}

impl Socket {
    fn listening(&self) -> Notice {
        Notice::Listening { process_type: self.process_type.clone(), address: self.address.to_string() }
    }

    /// Binds a Unix socket anew to which no path leads any more, as far as nobody else is there: what waits in it is still
    /// answered by who has it.
    fn find_again(&mut self) -> Bound {
        let Some(SocketFile { path, id }) = &self.file else { return Bound::Before };
        if id_of(path) == Some(*id) {
            return Bound::Before;
        }
        match bind_unix(path) {
            Ok((fd, file)) => {
                (self.fd, self.file) = (fd, Some(file));
                Bound::Now(self.listening())
            }
            Err(why) => {
                tracing::warn!(address = %self.address, why, "no client finds this socket any more");
                Bound::Before
            }
        }
    }

    /// Undoes what those did who had it before.
    fn block(&self) {
        let set = fcntl(&self.fd, FcntlArg::F_GETFL).and_then(|flags| {
            let blocking = OFlag::from_bits_retain(flags) - OFlag::O_NONBLOCK;
            fcntl(&self.fd, FcntlArg::F_SETFL(blocking))
        });
        if let Err(errno) = set {
            tracing::debug!(address = %self.address, %errno, "a socket may not block");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id_of(&self.path) == Some(self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a socket's file stays");
        }
    }
}

/// # Errors
/// Why not, and who is in the way where that can be told.
fn bind_to(address: &Listen) -> Result<(OwnedFd, Option<SocketFile>), String> {
    match address {
        Listen::Tcp(at) => Ok((bind_tcp(*at)?, None)),
        Listen::Unix(path) => bind_unix(path).map(|(fd, file)| (fd, Some(file))),
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> Result<OwnedFd, String> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = open(family)?;
    // Connections of the run before, in TIME_WAIT, are not in the way (ip(7)).
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(plain)?;
    start_listening(&fd, &SockaddrStorage::from(address)).map_err(|errno| match errno {
        Errno::EADDRINUSE => match port::holder(address.port()) {
            Some(holder) => format!("process {holder} listens there already"),
            None => "somebody listens there already".to_owned(),
        },
        Errno::EACCES => format!("{}; ports below 1024 are root's, as a rule", reason(errno)),
        Errno::EADDRNOTAVAIL => "this machine has no such address".to_owned(),
        _ => plain(errno),
    })?;
    Ok(fd)
}

fn bind_unix(path: &Path) -> Result<(OwnedFd, SocketFile), String> {
    make_way(path)?;
    let address = UnixAddr::new(path).map_err(plain)?;
    let fd = open(AddressFamily::Unix)?;
    start_listening(&fd, &address).map_err(|errno| match errno {
        Errno::EADDRINUSE => "something is there already".to_owned(),
        Errno::ENOENT => "its directory is not there".to_owned(),
        _ => plain(errno),
    })?;
    let id = id_of(path).ok_or("it has gone again")?;
    Ok((fd, SocketFile { path: path.to_owned(), id }))
}

/// Removes a socket that nobody answers: whoever bound it was killed.
fn make_way(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err("a file that is no socket is there: move it away, or choose another path".to_owned());
    }
    let address = UnixAddr::new(path).map_err(plain)?;
    // A full queue would have us wait.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(plain)?;
    match connect(client.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path)
            .map_err(|error| format!("a socket of an earlier run is in the way: {error}")),
        Err(Errno::ENOENT) => Ok(()),
        Ok(()) => {
            let peer = getsockopt(&client, sockopt::PeerCredentials).ok();
            let holder = peer.and_then(|peer| Stat::of(peer.pid())).and_then(|stat| stat.process());
            Err(match holder {
                Some(holder) => format!("process {holder} listens there already"),
                None => "somebody listens there already".to_owned(),
            })
        }
        Err(Errno::EAGAIN) => Err("somebody listens there already".to_owned()),
        Err(errno) => {
            Err(format!("a socket is there, and it is not known whether anybody listens: {}", reason(errno)))
        }
    }
}

fn open(family: AddressFamily) -> Result<OwnedFd, String> {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(plain)
}

fn start_listening(fd: &OwnedFd, address: &dyn SockaddrLike) -> Result<(), Errno> {
    bind(fd.as_raw_fd(), address)?;
    listen(fd, Backlog::new(BACKLOG)?)
}

fn plain(errno: Errno) -> String {
    reason(errno).to_owned()
}

/// Which file a path names.
fn id_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
