//! The part of the hierarchy of version 2 that is ours to arrange, and the cells in it: one cgroup for each instance.
//!
//! ```text
//!   (delegated to us)        controllers are given to those below only where a limit asks for one; then nobody may live here
//!   |-- supervise            so that is where we live
//!   |-- web.1-4711-1         an instance: slot, our pid, number
//!   `-- web.2-4711-2
//! ```
//! systemd says with an attribute that a cgroup is delegated (`CGROUP_DELEGATION`); the init of a container that may write
//! its own needs nobody to say so.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::api::{InstanceId, SlotName};
use crate::app::{CPU_PERIOD, Confinement};

use super::super::proc::{Short, Stat};
use super::super::program::reason;
use super::place::Seat;

/// See the module.
#[derive(Debug)]
pub(super) struct Domain {
    seat: Seat,
    /// Whether we live where we arrange things, or in our leaf.
    home: Home,
    /// Controllers that those below have.
    given: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Top,
    Leaf,
}

/// The cgroup of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) directory: PathBuf,
}

/// Where we live once nobody may live above the cells. `DelegateSubgroup=supervise` of systemd puts us there itself.
const LEAF: &str = "supervise";

/// The attributes by which systemd says so, for a user's manager and for the system's.
const ATTRIBUTES: [&std::ffi::CStr; 2] = [c"user.delegate", c"trusted.delegate"];

impl Domain {
    /// What is delegated to us around here.
    ///
    /// # Errors
    /// Nothing is; says why, and what would help.
    pub(super) fn of(seat: Option<&Seat>) -> Result<Domain, &'static str> {
        let seat = seat.ok_or("there is no cgroup of version 2 here that could be delegated to us")?;
        let is_leaf = seat.name.file_name().is_some_and(|name| name == LEAF);
        let above = is_leaf.then(|| seat.above()).flatten().filter(|above| is_marked(&above.directory));
        let (seat, home) = match above {
            Some(above) => (above, Home::Leaf),
            None if is_marked(&seat.directory) || is_ours_as_init(&seat.directory) => {
                (seat.clone(), Home::Top)
            }
            None => {
                return Err(
                    "no cgroup is delegated to us; `Delegate=yes` of systemd does that, and a container \
                            whose cgroup may be written",
                );
            }
        };
        let may_write = |name| access(&seat.directory.join(name), AccessFlags::W_OK).is_ok();
        if !may_write("") || !may_write("cgroup.procs") {
            return Err("the cgroup that is delegated to us may not be written by us");
        }
        Ok(Domain { seat, home, given: BTreeSet::new() })
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether the kernel counts the memory of each cell.
    pub(super) fn counts_memory(&self) -> bool {
        self.given.contains("memory")
    }

    /// Has those below get the controllers that limits ask for; we move out of their way, once.
    ///
    /// # Errors
    /// Which one cannot be had, and why.
    pub(super) fn give(&mut self, wanted: &Confinement) -> Result<(), String> {
        let missing: Vec<&'static str> =
            controllers(wanted).filter(|controller| !self.given.contains(controller)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let available =
            fs::read_to_string(self.seat.directory.join("cgroup.controllers")).unwrap_or_default();
        let is_there = |controller: &str| available.split_ascii_whitespace().any(|name| name == controller);
        if missing.iter().any(|controller| is_there(controller)) {
            self.move_out()?;
        }
        // Each by itself: what can be had is had.
        let mut refused = Vec::new();
        for controller in missing {
            if !is_there(controller) {
                refused.push(format!("the controller `{controller}` is not delegated to us"));
                continue;
            }
            match write(&self.seat.directory.join("cgroup.subtree_control"), &format!("+{controller}")) {
                Ok(()) => {
                    self.given.insert(controller);
                }
                Err(Errno::EBUSY) => {
                    refused.push("other processes live in the cgroup that is delegated to us".to_owned());
                }
                Err(errno) => refused.push(format!("the controller `{controller}`: {}", reason(errno))),
            }
        }
        refused.dedup();
        if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
    }

    /// A cgroup that gives its controllers on may have no processes of its own (cgroup-v2.rst, "No Internal Process
    /// Constraint").
    fn move_out(&mut self) -> Result<(), String> {
        match self.home {
            Home::Leaf => Ok(()),
            Home::Top => {
                let leaf = self.seat.directory.join(LEAF);
                let made =
                    make(&leaf).or_else(|errno| if errno == Errno::EEXIST { Ok(()) } else { Err(errno) });
                // All our threads go.
                made.and_then(|()| write(&leaf.join("cgroup.procs"), &std::process::id().to_string()))
                    .map_err(|errno| format!("we cannot move to a cgroup of our own: {}", reason(errno)))?;
                self.home = Home::Leaf;
                Ok(())
            }
        }
    }

    /// Makes the cell of an instance, with its limits as far as their controllers were given. What it returns beside the
    /// cell opens it.
    ///
    /// # Errors
    /// The system's, in words.
    pub(super) fn make_cell(
        &self,
        slot: &SlotName,
        instance: InstanceId,
        limits: &Confinement,
    ) -> Result<(Cell, OwnedFd), String> {
        let name = format!("{slot}-{}-{}", std::process::id(), instance.0);
        let directory = self.seat.directory.join(&name);
        make(&directory).map_err(|errno| format!("no cgroup for an instance: {}", reason(errno)))?;
        let cell = Cell { name, directory };
        let filled = self.limit(&cell, limits).and_then(|()| {
            File::open(&cell.directory)
                .map_err(|error| format!("a cgroup cannot be opened: {}", in_words(&error)))
        });
        match filled {
            Ok(opened) => Ok((cell, opened.into())),
            Err(error) => {
                cell.remove();
                Err(error)
            }
        }
    }

    /// `memory.oom.group` stays 0: the kernel kills one process, and its leader is told (cgroup-v2.rst).
    fn limit(&self, cell: &Cell, limits: &Confinement) -> Result<(), String> {
        let most = |value: u64| if value == u64::MAX { "max".to_owned() } else { value.to_string() };
        let files = [
            ("memory", "memory.max", limits.memory.map(most)),
            ("cpu", "cpu.max", limits.cpus.map(|quota| format!("{} {CPU_PERIOD}", most(quota)))),
            ("pids", "pids.max", limits.pids.map(most)),
        ];
        for (controller, file, value) in files {
            if let Some(value) = value
                && self.given.contains(controller)
            {
                write(&cell.directory.join(file), &value)
                    .map_err(|errno| format!("`{file}` cannot be set: {}", reason(errno)))?;
            }
        }
        Ok(())
    }

    /// Removes what an earlier run left and nobody lives in; nothing of somebody's who lives.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.seat.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(maker) = name.to_str().and_then(maker) else { continue };
            let is_ours = u32::try_from(maker) == Ok(std::process::id());
            if is_ours || !Stat::of(maker).is_some_and(|stat| stat.alive()) {
                let cell = Cell { name: String::new(), directory: entry.path() };
                let removed = cell.remove();
                tracing::debug!(?name, removed, "left by an earlier run");
            }
        }
    }

    /// The name of the cell, of this run or not, that a process with this cgroup lives in or below.
    pub(super) fn cell_name<'a>(&self, cgroup: &'a Path) -> Option<&'a str> {
        cgroup.strip_prefix(&self.seat.name).ok()?.iter().next()?.to_str()
    }
}

impl Cell {
    /// Who lives in it and below; those aside whom we cannot see from our pid namespace.
    ///
    /// # Errors
    /// The system is [short](Short) of something: that cannot be told for now.
    pub(super) fn members(&self) -> Result<Vec<i32>, Short> {
        let mut found = Vec::new();
        members(&self.directory, &mut found)?;
        Ok(found)
    }

    /// SIGKILL to everybody in it and below, and to whom they are just starting (Linux 5.14).
    pub(super) fn kill(&self) -> Result<(), Errno> {
        write(&self.directory.join("cgroup.kill"), "1")
    }

    /// Removes it, and what was made below: whether it is gone. It stays while anybody lives in it.
    pub(super) fn remove(&self) -> bool {
        remove(&self.directory)
    }
}

fn members(directory: &Path, found: &mut Vec<i32>) -> Result<(), Short> {
    let list = Short::or_nothing(fs::read_to_string(directory.join("cgroup.procs")))?;
    let Some(list) = list else { return Ok(()) };
    found.extend(list.lines().filter_map(|pid| pid.parse().ok()).filter(|pid: &i32| *pid > 0));
    below(directory)?.iter().try_for_each(|below| members(below, found))
}

fn remove(directory: &Path) -> bool {
    match fs::remove_dir(directory) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        // What is empty below belongs to whoever lives beside it.
        Err(_) if is_populated(directory) => false,
        Err(_) => {
            // Where there is no telling it is tried again later.
            let below = below(directory).unwrap_or_default();
            !below.is_empty() && below.iter().all(|below| remove(below)) && fs::remove_dir(directory).is_ok()
        }
    }
}

/// Whether anybody lives in it or below.
fn is_populated(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

fn below(directory: &Path) -> Result<Vec<PathBuf>, Short> {
    let mut found = Vec::new();
    for entry in Short::or_nothing(fs::read_dir(directory))?.into_iter().flatten() {
        let Some(entry) = Short::or_nothing(entry)? else { continue };
        if Short::or_nothing(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The controllers that limits need.
fn controllers(limits: &Confinement) -> impl Iterator<Item = &'static str> {
    let pairs = [("memory", limits.memory), ("cpu", limits.cpus), ("pids", limits.pids)];
    pairs.into_iter().filter(|(_, most)| most.is_some_and(|most| most < u64::MAX)).map(|(name, _)| name)
}

/// The pid in the name of a cell.
fn maker(name: &str) -> Option<i32> {
    let (rest, number) = name.rsplit_once('-')?;
    let (slot, pid) = rest.rsplit_once('-')?;
    let (_, slot_number) = slot.rsplit_once('.')?;
    let _: (u64, u32) = (number.parse().ok()?, slot_number.parse().ok()?);
    pid.parse().ok()
}

fn is_marked(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    ATTRIBUTES.iter().any(|attribute| {
        let mut value = [0_u8; 2];
        // SAFETY: the kernel writes at most as much as there is room for.
        let length = unsafe {
            libc::getxattr(path.as_ptr(), attribute.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        length == 1 && value[0] == b'1'
    })
}

/// Whether we are the init of a container, alone in the cgroup that is its root. The machine's own root has no type.
fn is_ours_as_init(directory: &Path) -> bool {
    std::process::id() == 1
        && directory.join("cgroup.type").exists()
        && fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|list| list == "1\n")
}

fn make(directory: &Path) -> Result<(), Errno> {
    DirBuilder::new().create(directory).map_err(|error| errno(&error))
}

/// In one piece, as the kernel wants it.
fn write(file: &Path, text: &str) -> Result<(), Errno> {
    let mut file = OpenOptions::new().write(true).open(file).map_err(|error| errno(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn in_words(error: &io::Error) -> &'static str {
    reason(errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_told_from_other_directories_by_its_name() {
        for (name, pid) in [
            ("web.1-4711-3", Some(4711)),
            ("a-1.2-7-12", Some(7)),
            ("web.1-4711", None),
            ("web-4711-3", None),
            ("supervise", None),
            ("init.scope", None),
            ("web.x-1-2", None),
            ("", None),
        ] {
            assert_eq!(maker(name), pid, "{name}");
        }
    }

    #[test]
    fn controllers_are_asked_for_only_where_there_is_a_limit() {
        let wanted = |limits: Confinement| controllers(&limits).collect::<Vec<_>>();
        assert!(wanted(Confinement::default()).is_empty());
        let limits = Confinement { memory: Some(1), cpus: Some(u64::MAX), pids: Some(2) };
        assert_eq!(wanted(limits), ["memory", "pids"]);
    }

    #[test]
    fn nothing_is_ours_that_nobody_gave_us() {
        assert!(!is_marked(Path::new("/proc")));
        assert!(!is_ours_as_init(Path::new("/sys/fs/cgroup")));
        assert!(Domain::of(None).is_err());
    }
}
