//! Where the control socket of a project is: the same answer for the supervisor and for its clients.

use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fnv::FnvHasher;

/// The name of a project in files and marks: the same for every run of the same Procfile, which is given by its real path.
#[must_use]
pub fn project(procfile: &Path) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(procfile.as_os_str().as_bytes());
    format!("{:016x}", hasher.finish())
}

/// The directories where sockets of a user may be, the best first: never the project's own, whose watchers stumble over
/// sockets, and which may be on a disk that cannot have any.
///
/// `runtime` is `XDG_RUNTIME_DIR`, where it is set and absolute (XDG base directory specification).
#[must_use]
pub fn directories(runtime: Option<&Path>, uid: u32) -> Vec<PathBuf> {
    let runtime = runtime.filter(|path| path.is_absolute()).map(|path| path.join("supervise"));
    let shared = ["/tmp", "/dev/shm"].map(|path| Path::new(path).join(format!("supervise-{uid}")));
    runtime.into_iter().chain(shared).collect()
}

/// The file name of a project's socket.
#[must_use]
pub fn socket_name(project: &str) -> String {
    format!("{project}{SOCKET_SUFFIX}")
}

/// What the names of sockets end with.
pub const SOCKET_SUFFIX: &str = ".sock";

/// The lock that decides who owns a socket. It holds the owner's pid in decimal and a newline.
#[must_use]
pub fn lock_of(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The record of a project's runs, beside its socket in one of [`directories`]: it tells the next start whether anybody can
/// have left anything behind.
#[must_use]
pub fn record_name(project: &str) -> String {
    format!("{project}.run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_runtime_directory_is_none() {
        let shared = ["/tmp/supervise-7", "/dev/shm/supervise-7"].map(PathBuf::from);
        assert_eq!(directories(Some(Path::new("run")), 7), shared);
        assert_eq!(directories(None, 7), shared);
        assert_eq!(directories(Some(Path::new("/run/user/7")), 7)[0], Path::new("/run/user/7/supervise"));
    }

    #[test]
    fn two_procfiles_in_one_directory_are_two_projects() {
        let [one, other] = ["/app/Procfile", "/app/Procfile.dev"].map(|path| project(Path::new(path)));
        assert_ne!(one, other);
        assert_eq!(one, project(Path::new("/app/Procfile")));
        assert_eq!(lock_of(Path::new("/run/a.sock")), Path::new("/run/a.sock.lock"));
    }
}
