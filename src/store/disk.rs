//! Files, written so that a crash at any moment leaves all of a thing or nothing, and read only where nobody else could
//! have written them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use super::{Trouble, UNFINISHED};

/// Whose the files of a store are: nobody else may read them.
const FILE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

/// The most that is read of a file that we wrote, in bytes: the list of a build has a line for each of its files.
const LARGEST: u64 = 256 << 20;

/// Writes a file that is not there yet, and syncs it; its directory is not.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let write = || {
        step()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        if let Err(stopped) = step() {
            // A crash in the middle: what was written by then may be there.
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(stopped);
        }
        file.write_all(bytes)?;
        step()?;
        file.sync_all()
    };
    write().map_err(Trouble::system("write", path))
}

/// Puts a file into the place of another, or where none was, as a whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let mut name = OsString::from(UNFINISHED);
    name.push(path.file_name().unwrap_or_default());
    let aside = path.with_file_name(name);
    write_new(&aside, bytes)?;
    rename(&aside, path)
}

/// Gives something its name, and syncs the directory that it is in. A directory never takes the place of one that has
/// anything in it (rename(2)).
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Trouble> {
    step().and_then(|()| fs::rename(from, to)).map_err(Trouble::system("make", to))?;
    sync_directory(to.parent().unwrap_or(Path::new("/")))
}

/// Makes a directory that is ours alone.
pub(super) fn make_directory(path: &Path) -> Result<(), Trouble> {
    let make = || {
        step()?;
        DirBuilder::new().mode(DIRECTORY).create(path)?;
        // A umask may have taken something away, and setgid of the directory above may have added something.
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY))
    };
    make().map_err(Trouble::system("make the directory", path))
}

/// The same where it may be there already, with those above it.
pub(super) fn make_directories(path: &Path) -> Result<(), Trouble> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
        make_directories(parent)?;
    }
    match make_directory(path) {
        Err(Trouble::System { error, .. }) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {
            Ok(())
        }
        made => made,
    }
}

/// What is in a directory is there after a crash, too.
pub(super) fn sync_directory(path: &Path) -> Result<(), Trouble> {
    let sync = || {
        step()?;
        match File::open(path)?.sync_all() {
            // Not every file system can (fsync(2)); then it has no need to, or no way.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    };
    sync().map_err(Trouble::system("sync", path))
}

/// Removes a file, or a directory with everything in it.
pub(super) fn remove(path: &Path) -> Result<(), Trouble> {
    let remove = || {
        step()?;
        if !path.symlink_metadata()?.is_dir() {
            return fs::remove_file(path);
        }
        match fs::remove_dir_all(path) {
            // An app may have made directories that nobody may write to, as Go does for its modules.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                open_up(path)?;
                fs::remove_dir_all(path)
            }
            removed => removed,
        }
    };
    match remove() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Trouble::system("remove", path)),
    }
}

/// Lets us remove what is in a directory.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(DIRECTORY))?;
    for entry in directory.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// What is in a directory of ours, in no order.
pub(super) fn names(directory: &Path) -> Result<Vec<OsString>, Trouble> {
    let refused = || Trouble::system("read", directory);
    trust(directory, &directory.metadata().map_err(refused())?)?;
    let entries = directory.read_dir().map_err(refused())?;
    entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>().map_err(refused())
}

/// A file of ours; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    let read = || {
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        if metadata.is_file() {
            file.take(LARGEST).read_to_end(&mut bytes)?;
        }
        Ok::<_, io::Error>((metadata, bytes))
    };
    match read() {
        Ok((metadata, bytes)) if metadata.is_file() => trust(path, &metadata).map(|()| Some(bytes)),
        Ok(_) => Err(Trouble::Untrusted(path.to_owned(), "this is no file".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble::system("read", path)(error)),
    }
}

/// Refuses what somebody else could have written: neither ours nor root's, or open to others.
pub(super) fn trust(path: &Path, metadata: &Metadata) -> Result<(), Trouble> {
    let us = geteuid().as_raw();
    let owner = metadata.uid();
    if owner != us && owner != 0 {
        let reason = format!(
            "it belongs to the user {owner}, and we are {us}\n  help: run as that user, or name another directory with `--state`"
        );
        return Err(Trouble::Untrusted(path.to_owned(), reason));
    }
    if metadata.mode() & 0o022 != 0 {
        let reason = format!("others may write to it\n  help: `chmod go-w {}`", path.display());
        return Err(Trouble::Untrusted(path.to_owned(), reason));
    }
    Ok(())
}

/// Waits until nobody else has the lock; its file is never removed.
pub(super) fn lock(path: &Path) -> Result<Flock<File>, Trouble> {
    let lock = || {
        step()?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(FILE);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))
    };
    lock().map_err(Trouble::system("lock", path))
}

/// Shares a lock with others, until the last copy of the descriptor is closed.
pub(super) fn lock_shared(file: &File) -> io::Result<()> {
    // SAFETY: it takes a descriptor, which is open, and touches no memory.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_SH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where tests have the machine stop: from then on nothing can be written.
#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps, reason = "in tests it may fail")]
#[inline]
pub(super) fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
thread_local! {
    /// So many steps are taken before the machine stops.
    static STEPS: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn step() -> io::Result<()> {
    STEPS.with(|steps| match steps.get() {
        None => Ok(()),
        Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
        Some(left) => {
            steps.set(Some(left - 1));
            Ok(())
        }
    })
}

/// Has the machine stop after so many steps, or never; whether it had stopped.
#[cfg(test)]
pub(super) fn stop_after(steps: Option<u32>) -> bool {
    STEPS.with(|left| left.replace(steps) == Some(0))
}
