//! Old releases and builds that nobody needs any more.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::{Number, Store, Trouble, UNFINISHED, disk};

/// For as long as it is there, its release is not pruned: a lock on the release's directory, which ends with the process at the
/// latest. It is let go of when the last copy of the descriptor is closed, and never by a call: a process that has forked into the
/// background and ends must not take it away from the one that goes on.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "it is unlocked when it is closed")] File);

/// What became of old releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Those that are gone.
    pub removed: Vec<Number>,
    /// Those that would be, and run.
    pub in_use: Vec<Number>,
}

impl Store {
    /// Keeps a release from being pruned.
    ///
    /// # Errors
    /// It is not there, or cannot be locked.
    pub fn hold(&self, number: Number) -> Result<Hold, Trouble> {
        let path = self.release(number);
        let refused = || Trouble::system("hold", &path);
        let directory = File::open(&path).map_err(refused())?;
        disk::lock_shared(&directory).map_err(refused())?;
        let (ours, named) = (directory.metadata().map_err(refused())?, path.metadata().map_err(refused())?);
        // Pruned while we waited.
        if (ours.dev(), ours.ino()) != (named.dev(), named.ino()) {
            return Err(refused()(nix::errno::Errno::ENOENT.into()));
        }
        Ok(Hold(directory))
    }

    /// Removes all but the newest `keep` releases, the current one and those that run; then the builds that no release has.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn prune(&self, keep: usize) -> Result<Pruned, Trouble> {
        let _writer = self.write()?;
        let numbers = self.numbers()?;
        let current = self.deployed()?.current;
        let mut pruned = Pruned::default();
        // The newest one stays in any case: its number is not to be given again.
        let old = &numbers[..numbers.len().saturating_sub(keep.max(1))];
        for number in old.iter().filter(|number| Some(**number) != current) {
            let path = self.release(*number);
            let directory = File::open(&path).map_err(Trouble::system("read", &path))?;
            let Ok(_alone) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else {
                pruned.in_use.push(*number);
                continue;
            };
            remove(&path)?;
            pruned.removed.push(*number);
        }
        self.remove_unneeded_builds()?;
        Ok(pruned)
    }

    fn remove_unneeded_builds(&self) -> Result<(), Trouble> {
        let listing = self.list()?;
        if !listing.damaged.is_empty() {
            // It is not known what they need.
            return Ok(());
        }
        let needed: BTreeSet<PathBuf> =
            listing.kept.iter().map(|kept| self.root(&kept.record.build)).collect();
        let builds = disk::names(&self.builds())?.into_iter().map(|name| self.builds().join(name));
        builds.filter(|build| !needed.contains(build)).try_for_each(|build| remove(&build))
    }
}

/// First out of sight, and then away: who is killed in between has not left half of it.
fn remove(path: &Path) -> Result<(), Trouble> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = path.with_file_name(format!("{UNFINISHED}{name}"));
    disk::rename(path, &aside)?;
    disk::remove(&aside)
}
