//! What the place we run in gives us, and what it keeps from us: a sandbox, a container without /proc or /dev. What we can do
//! without is said once, and the formation runs; what we cannot is an error that says what to do.

use std::fs::{self, File};
use std::io;

use nix::errno::Errno;

use crate::api::Notice;

use super::family::Adoption;
use super::{proc, program};

/// What was found.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Whose child an orphan of our descendants becomes.
    pub(super) adoption: Adoption,
    /// What is to be said of it all.
    pub(super) remarks: Vec<Notice>,
}

/// Becomes the parent of all orphans below us, so that none is out of sight, and looks around. As init they are ours anyway.
///
/// # Errors
/// Our children would not be ours.
pub(super) fn settle_in() -> io::Result<Surroundings> {
    let refused = nix::sys::prctl::set_child_subreaper(true).err().filter(|_| std::process::id() != 1);
    let remarks = [refused.map(not_a_subreaper), blind()].into_iter().flatten();
    let remarks = remarks.map(|reason| Notice::EscapeesUnseen { reason }).collect();
    born_elsewhere()?;
    Ok(Surroundings {
        adoption: if refused.is_some() { Adoption::Elsewhere } else { Adoption::Ours },
        remarks,
    })
}

fn not_a_subreaper(errno: Errno) -> String {
    format!("this system does not let us adopt orphans (PR_SET_CHILD_SUBREAPER: {})", program::reason(errno))
}

/// Why nothing of other processes is to be seen.
fn blind() -> Option<String> {
    let whose = match fs::metadata("/proc/self/stat") {
        Ok(_) if proc::shows_us() => return None,
        Ok(_) => {
            "/proc is that of another pid namespace; mount our own, as `unshare --mount-proc` does".to_owned()
        }
        Err(error) => {
            format!("/proc is not there to be looked at ({error}); mount one, as container engines do")
        }
    };
    Some(whose)
}

/// After `unshare --pid` without `--fork` our first child is the init of a new namespace, which ends with it, and no second one
/// can be started (`pid_namespaces(7)`).
fn born_elsewhere() -> io::Result<()> {
    let link = |name| format!("/proc/self/ns/{name}");
    let theirs = link("pid_for_children");
    let is_another = match fs::read_link(&theirs) {
        Ok(theirs) => fs::read_link(link("pid")).is_ok_and(|ours| ours != theirs),
        // As long as nobody was born into it, there is nothing to be read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::symlink_metadata(&theirs).is_ok(),
        // A sandbox lets nobody read it: that says nothing.
        Err(_) => false,
    };
    if is_another {
        return Err(io::Error::other(
            "our processes would live in another pid namespace, and end with the first of them; \
             with `unshare --pid` use `--fork`, too",
        ));
    }
    Ok(())
}

/// What children read: nothing.
///
/// # Errors
/// The system's, and what to do.
pub(super) fn open_null() -> io::Result<File> {
    File::open("/dev/null").map_err(|error| {
        let reason = "`/dev/null` cannot be opened, which processes get as their stdin";
        io::Error::new(error.kind(), format!("{reason}: {error}; mount a /dev, as container engines do"))
    })
}
