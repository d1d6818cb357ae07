//! Cgroups of a test's own, below those of the machine. They are removed with everybody in them, also where a test fails.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{eventually, send};

/// One cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    members: File,
}

impl Cgroup {
    /// One below this place of the machine; `None`, and it is said, where there is no such place or we may not.
    pub(crate) fn below(place: &str) -> Option<Cgroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("supervise-e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(place).join(name);
        let made = fs::create_dir(&directory);
        let opened = made.and_then(|()| OpenOptions::new().write(true).open(directory.join("cgroup.procs")));
        match opened {
            Ok(members) => Some(Cgroup { directory, members }),
            Err(error) => {
                println!("not run: no cgroup can be made below {place}: {error}");
                // Where it was made after all, and is none.
                drop(fs::remove_dir(&directory));
                None
            }
        }
    }

    /// One of version 1 with so much memory, and no swap beside it where that can be limited: as docker makes them.
    pub(crate) fn with_memory(bytes: u64) -> Option<Cgroup> {
        let cgroup = Cgroup::below("/sys/fs/cgroup/memory")?;
        for limit in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            if cgroup.directory.join(limit).exists() {
                cgroup.set(limit, &bytes.to_string());
            }
        }
        Some(cgroup)
    }

    /// One of version 2 that is delegated to whoever lives in it, as systemd would.
    pub(crate) fn delegated() -> Option<Cgroup> {
        let cgroup = Cgroup::below("/sys/fs/cgroup/unified")?;
        let path = CString::new(cgroup.directory.as_os_str().as_bytes()).expect("there is no NUL in it");
        // SAFETY: the kernel reads one byte.
        let set = unsafe {
            libc::setxattr(path.as_ptr(), c"trusted.delegate".as_ptr(), c"1".as_ptr().cast(), 1, 0)
        };
        assert_eq!(set, 0, "root may set it: {}", std::io::Error::last_os_error());
        Some(cgroup)
    }

    /// For [`Setup::Join`](super::Setup::Join).
    pub(crate) fn members_fd(&self) -> RawFd {
        self.members.as_raw_fd()
    }

    pub(crate) fn set(&self, file: &str, value: &str) {
        fs::write(self.directory.join(file), value).expect("root may");
    }

    /// The directories in it.
    pub(crate) fn cells(&self) -> Vec<String> {
        let mut names: Vec<String> = below(&self.directory)
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    pub(crate) fn make(&self, cell: &str) {
        fs::create_dir(self.directory.join(cell)).expect("root may");
    }

    /// Whether nobody lives in one of them: the dying are listed no more, and keep it all the same.
    pub(crate) fn is_empty(&self, cell: &str) -> bool {
        let events =
            fs::read_to_string(self.directory.join(cell).join("cgroup.events")).expect("it is there");
        events.contains("populated 0")
    }

    /// Who lives in one of them.
    pub(crate) fn in_cell(&self, cell: &str) -> Vec<i32> {
        members(&self.directory.join(cell))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let gone = || {
            for pid in everybody(&self.directory) {
                send(pid, libc::SIGKILL);
            }
            remove(&self.directory).then_some(())
        };
        eventually("nobody in the cgroup", gone, || format!("{:?}", everybody(&self.directory)));
    }
}

fn everybody(directory: &Path) -> Vec<i32> {
    below(directory).iter().flat_map(|below| everybody(below)).chain(members(directory)).collect()
}

fn members(directory: &Path) -> Vec<i32> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn remove(directory: &Path) -> bool {
    below(directory).iter().all(|below| remove(below)) && fs::remove_dir(directory).is_ok()
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}
