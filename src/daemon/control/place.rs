//! Where the control socket is, and whose it is.
//!
//! Who holds the lock beside the socket owns the socket: one that nobody listens on never stands in the way, and of many
//! that start at once one wins. The lock's file is never removed, so that nobody locks a file that is no longer there for
//! others; should somebody else remove it, its owner is still found by the socket.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

use crate::api::place::{lock_of, socket_name};

/// A socket's place, owned until it is dropped; then the socket is removed, unless somebody has put another one there.
#[derive(Debug)]
pub(in crate::daemon) struct Place {
    socket: PathBuf,
    kind: Kind,
    directory: File,
    lock: Flock<File>,
    /// The socket's own file, as it was made.
    made: FileId,
}

/// Where the socket is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) enum Wanted<'a> {
    /// Exactly there: `--socket PATH`.
    At(&'a Path),
    /// In the first of these directories that can be used (see [`crate::api::place::directories`]).
    Of {
        /// The project's name.
        project: &'a str,
        /// The best first.
        directories: &'a [PathBuf],
        /// Where a start with another environment may have put it.
        elsewhere: &'a [PathBuf],
    },
}

/// Why there is no socket.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::daemon) enum NoPlace {
    /// Another supervisor has it. Nothing may be started.
    Taken {
        /// The socket.
        socket: PathBuf,
        /// The owner, where it can be read.
        pid: Option<i32>,
    },
    /// The socket that was asked for cannot be made. Nothing may be started.
    Impossible {
        /// The socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// None of the places can be used. The formation runs without control.
    Nowhere {
        /// Each directory, and why not there.
        tried: Vec<(PathBuf, String)>,
    },
}

/// Whose directory the socket is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ours alone.
    Private,
    /// Whatever `--socket` names.
    Chosen,
}

/// Which file, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

/// What went wrong at one place.
enum Trouble {
    Taken(Option<i32>),
    Unusable(String),
}

/// The owner of a lock writes its pid when it has the socket too; who is faster waits for that at most so long.
const UNTIL_OWNER_IS_KNOWN: Duration = Duration::from_secs(1);

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The longest path of a socket, without the NUL: `sun_path` of unix(7).
const LONGEST: usize = 107;

impl Place {
    /// Takes a place, and listens there.
    ///
    /// # Errors
    /// Why there is none, and so what is to follow.
    pub(in crate::daemon) fn take(wanted: Wanted) -> Result<(Place, UnixListener), NoPlace> {
        match wanted {
            Wanted::At(path) => {
                let socket = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                take_at(&socket, Kind::Chosen).map_err(|trouble| match trouble {
                    Trouble::Taken(pid) => NoPlace::Taken { socket, pid },
                    Trouble::Unusable(reason) => NoPlace::Impossible { socket, reason },
                })
            }
            Wanted::Of { project, directories, elsewhere } => {
                let mut tried = Vec::new();
                for directory in directories {
                    let socket = directory.join(socket_name(project));
                    match take_at(&socket, Kind::Private) {
                        Ok(taken) => {
                            let others = directories.iter().chain(elsewhere);
                            return alone(project, others.filter(|other| *other != directory))
                                .map(|()| taken);
                        }
                        Err(Trouble::Taken(pid)) => return Err(NoPlace::Taken { socket, pid }),
                        Err(Trouble::Unusable(reason)) => tried.push((directory.clone(), reason)),
                    }
                }
                Err(NoPlace::Nowhere { tried })
            }
        }
    }

    /// The socket's absolute path.
    pub(in crate::daemon) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes the socket anew where it, its lock or its directory was removed; `None` where all are as they were.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(super) fn remake(&mut self) -> Result<Option<UnixListener>, NoPlace> {
        let intact = id_of(&self.socket) == Some(self.made)
            && id_of(&lock_of(&self.socket)) == id_of_open(&self.lock)
            && id_of(parent(&self.socket)) == id_of_open(&self.directory);
        if intact {
            return Ok(None);
        }
        let socket = self.socket.clone();
        self.mend().map_err(|trouble| match trouble {
            Trouble::Taken(pid) => NoPlace::Taken { socket, pid },
            Trouble::Unusable(reason) => NoPlace::Impossible { socket, reason },
        })
    }

    fn mend(&mut self) -> Result<Option<UnixListener>, Trouble> {
        let directory = open_directory(parent(&self.socket), self.kind)?;
        if id_of(&lock_of(&self.socket)) != id_of_open(&self.lock) {
            let mut lock = take_lock(&self.socket)?;
            say_owner(&mut lock).map_err(unusable("its lock cannot be written"))?;
            self.lock = lock;
        }
        self.directory = directory;
        if id_of(&self.socket) == Some(self.made) {
            return Ok(None);
        }
        nobody_listens(&self.socket, &self.directory)?;
        let (listener, made) = make_socket(&self.socket, &self.directory)?;
        self.made = made;
        Ok(Some(listener))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if id_of(&self.socket) == Some(self.made) {
            // What cannot be removed is stale as soon as we are gone, and stands in nobody's way.
            let _ = remove(&self.socket, &self.directory);
        }
        // Nobody shall be told our number when we are gone; a reader waits for a better one anyway.
        let _ = self.lock.set_len(0);
    }
}

/// The sentence, with what to do next.
impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlace::Taken { socket, pid } => {
                write!(f, "already running here")?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid})")?;
                }
                write!(f, ": it listens on `{}`; end it, or start with another --socket", socket.display())
            }
            NoPlace::Impossible { socket, reason } => {
                write!(
                    f,
                    "no control socket `{}`: {reason}; choose another --socket, or none",
                    socket.display()
                )
            }
            NoPlace::Nowhere { tried } => {
                write!(f, "no control: no place for a socket")?;
                for (at, (directory, reason)) in tried.iter().enumerate() {
                    let before = if at == 0 { ": " } else { ", " };
                    write!(f, "{before}`{}` ({reason})", directory.display())?;
                }
                write!(f, "; name one with --socket")
            }
        }
    }
}

/// Whether nobody serves the same project in one of these directories of ours. One lock is not enough: a start from cron has
/// no `XDG_RUNTIME_DIR`, say, and would run everything once more.
///
/// # Errors
/// Somebody does.
fn alone<'a>(project: &str, mut directories: impl Iterator<Item = &'a PathBuf>) -> Result<(), NoPlace> {
    let taken = directories.find_map(|path| {
        // Another user's directory may have anything in it.
        let directory = own_directory(path).ok()?;
        let socket = path.join(socket_name(project));
        let pid = listener_of(&socket, &directory).ok()??;
        Some(NoPlace::Taken { socket, pid: Some(pid).filter(|pid| *pid > 0) })
    });
    taken.map_or(Ok(()), Err)
}

fn take_at(socket: &Path, kind: Kind) -> Result<(Place, UnixListener), Trouble> {
    if socket.file_name().is_none() {
        return Err(Trouble::Unusable("it is no file name".to_owned()));
    }
    let directory = open_directory(parent(socket), kind)?;
    let mut lock = take_lock(socket)?;
    // The lock is free, but its owner may have lost it to whoever removed the file.
    nobody_listens(socket, &directory)?;
    let (listener, made) = make_socket(socket, &directory)?;
    say_owner(&mut lock).map_err(unusable("its lock cannot be written"))?;
    Ok((Place { socket: socket.to_owned(), kind, directory, lock, made }, listener))
}

fn open_directory(path: &Path, kind: Kind) -> Result<File, Trouble> {
    match kind {
        Kind::Private => private_directory(path).map_err(Trouble::Unusable),
        Kind::Chosen => File::open(path).map_err(unusable("its directory cannot be opened")),
    }
}

/// A directory of ours alone, made where there is none.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn private_directory(path: &Path) -> Result<File, String> {
    let us = geteuid().as_raw();
    let above =
        fs::metadata(parent(path)).map_err(|error| format!("the directory above: {}", plain(&error)))?;
    // Whoever owns it can exchange what is in it. And `sudo` must not leave root's things where they stand in a user's way.
    if above.uid() != us && above.uid() != 0 {
        return Err(format!("the directory above belongs to uid {}", above.uid()));
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Whatever the umask took away.
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|error| plain(&error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(plain(&error)),
    }
    own_directory(path)
}

/// A directory of ours alone.
///
/// # Errors
/// Why it is none.
fn own_directory(path: &Path) -> Result<File, String> {
    let us = geteuid().as_raw();
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        if link { "it is a symbolic link".to_owned() } else { plain(&error) }
    })?;
    let found = directory.metadata().map_err(|error| plain(&error))?;
    if found.uid() != us {
        return Err(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("it is open to others (mode {:03o})", found.mode() & 0o777));
    }
    Ok(directory)
}

/// The lock beside a socket.
fn take_lock(socket: &Path) -> Result<Flock<File>, Trouble> {
    let path = lock_of(socket);
    let deadline = Instant::now() + UNTIL_OWNER_IS_KNOWN;
    loop {
        let file = open_own(&path).map_err(|reason| Trouble::Unusable(format!("its lock: {reason}")))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, Errno::EWOULDBLOCK)) => {
                let owner = read_owner(file);
                // What an earlier owner wrote stays until the next one has had the time to write.
                let lives = |pid: &i32| Path::new(&format!("/proc/{pid}")).exists();
                if owner.as_ref().is_some_and(lives) || Instant::now() >= deadline {
                    return Err(Trouble::Taken(owner));
                }
                // Whoever has it has only just got it, or ends, or waits for the end of somebody who did.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err((_, errno)) => return Err(Trouble::Unusable(format!("its lock: {}", errno.desc()))),
        };
        if id_of(&path) != id_of_open(&lock) {
            // Removed between our opening and our locking it.
            continue;
        }
        return Ok(lock);
    }
}

/// A file of ours alone, made where there is none.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn open_own(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    // A FIFO must not make us wait.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| plain(&error))?;
    let found = file.metadata().map_err(|error| plain(&error))?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.uid() != geteuid().as_raw() {
        return Err(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o777 != 0o600 {
        // Whatever the umask took away: the next start has to read it.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| plain(&error))?;
    }
    Ok(file)
}

fn say_owner(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// The pid that the owner of a lock has written into it.
fn read_owner(mut lock: File) -> Option<i32> {
    let mut text = String::new();
    // What cannot be read is not known.
    lock.read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

fn nobody_listens(socket: &Path, directory: &File) -> Result<(), Trouble> {
    match listener_of(socket, directory).map_err(Trouble::Unusable)? {
        None => Ok(()),
        Some(pid) => Err(Trouble::Taken(Some(pid).filter(|pid| *pid > 0))),
    }
}

/// Who listens on a socket: its pid, 0 where that is not to be seen, `None` where nobody listens.
///
/// # Errors
/// Why that cannot be found out, or what there is instead of a socket.
fn listener_of(path: &Path, directory: &File) -> Result<Option<i32>, String> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err("there is something else of that name".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(plain(&error)),
    }
    let probe = new_socket().map_err(|errno| errno.desc().to_owned())?;
    match connect(probe.as_raw_fd(), &address(path, directory)?) {
        Ok(()) => Ok(Some(getsockopt(&probe, PeerCredentials).map_or(0, |peer| peer.pid()))),
        // Its backlog is full.
        Err(Errno::EAGAIN) => Ok(Some(0)),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

/// Listens on a new socket in the place of a stale one.
fn make_socket(path: &Path, directory: &File) -> Result<(UnixListener, FileId), Trouble> {
    let system =
        |what: &'static str| move |errno: Errno| Trouble::Unusable(format!("{what}: {}", errno.desc()));
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => remove(path, directory)?,
        Ok(_) => return Err(Trouble::Unusable("there is something else of that name".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Trouble::Unusable(plain(&error))),
    }
    let socket = new_socket().map_err(system("no socket"))?;
    // The file gets the mode that the socket has when it is bound, less the umask (unix_bind of the kernel): nobody else
    // can ever connect, whoever may look into the directory.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(system("no socket"))?;
    let address = address(path, directory).map_err(Trouble::Unusable)?;
    bind(socket.as_raw_fd(), &address).map_err(system("it cannot be bound"))?;
    let made = fs::symlink_metadata(path).map_err(unusable("it cannot be seen"))?;
    if made.mode() & 0o777 != 0o600 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(unusable("its mode"))?;
    }
    let backlog = Backlog::new(BACKLOG).map_err(system("its backlog"))?;
    listen(&socket, backlog).map_err(system("it cannot be listened on"))?;
    Ok((UnixListener::from(socket), FileId(made.dev(), made.ino())))
}

fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// The address of a socket; by way of its directory's descriptor where the path is longer than an address may be.
fn address(path: &Path, directory: &File) -> Result<UnixAddr, String> {
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let path = if path.as_os_str().len() > LONGEST { short.as_path() } else { path };
    UnixAddr::new(path).map_err(|errno| match errno {
        Errno::ENAMETOOLONG => format!("its name has {} bytes, too many for a socket", name.len()),
        errno => errno.desc().to_owned(),
    })
}

fn remove(path: &Path, directory: &File) -> Result<(), Trouble> {
    let name = path.file_name().unwrap_or(OsStr::new("."));
    match nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Trouble::Unusable(format!("a stale one cannot be removed: {}", errno.desc()))),
    }
}

fn id_of(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|found| FileId(found.dev(), found.ino()))
}

fn id_of_open(file: &File) -> Option<FileId> {
    file.metadata().ok().map(|found| FileId(found.dev(), found.ino()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn unusable(what: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Unusable(format!("{what}: {}", plain(&error)))
}

/// What the system said, without Rust's number behind it.
fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| Errno::from_raw(raw).desc().to_owned())
}
