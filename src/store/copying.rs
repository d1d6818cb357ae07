//! Copies of builds: a rollback brings the code back, whatever has become of the directory that it was built in.

use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, syncfs};

use super::build::{self, BuildList, Excluded, Kind};
use super::{Store, Trouble, UNFINISHED, Writer, disk};

/// A copy, and what is in it.
pub(super) struct Copied {
    /// Below the store.
    pub(super) directory: PathBuf,
    pub(super) list: BuildList,
}

/// Copies a build into the store, unless an equal one is there that nobody has changed.
pub(super) fn copy(
    store: &Store,
    _writer: &Writer,
    root: &Path,
    excluded: &Excluded,
) -> Result<Copied, Trouble> {
    let list = BuildList::of(root, excluded)?;
    if let Some(directory) = find(store, &list)? {
        return Ok(Copied { directory, list });
    }
    let aside = store.builds().join(format!("{UNFINISHED}build"));
    let keep = || {
        disk::make_directory(&aside)?;
        let skipped = copy_tree(root, &aside, excluded)?;
        // What is there now counts: a file that was changed in between is harmless.
        let list = BuildList { skipped, ..BuildList::of(&aside, &Excluded::default())? };
        let directory = if let Some(equal) = find(store, &list)? {
            disk::remove(&aside)?;
            equal
        } else {
            let directory = free(store, &list);
            disk::rename(&aside, &store.directory.join(&directory))?;
            directory
        };
        Ok(Copied { directory, list })
    };
    keep().inspect_err(|_| {
        // The next writer removes what stays now; what is to be told is why it could not be copied.
        let _ = disk::remove(&aside);
    })
}

/// An equal build that is as it was made: the app may have written to its own files.
fn find(store: &Store, list: &BuildList) -> Result<Option<PathBuf>, Trouble> {
    for directory in candidates(list) {
        let path = store.directory.join(&directory);
        if !path.exists() {
            return Ok(None);
        }
        if build::altered(&path, &list.text)?.is_empty() {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

fn free(store: &Store, list: &BuildList) -> PathBuf {
    // Sooner or later there is a number that nobody has.
    candidates(list).find(|directory| !store.directory.join(directory).exists()).unwrap_or_default()
}

/// The names a copy may have: further ones are for where the first was changed.
fn candidates(list: &BuildList) -> impl Iterator<Item = PathBuf> {
    let digest = list.digest();
    (1_u64..).map(move |count| match count {
        1 => Path::new("builds").join(&digest),
        more => Path::new("builds").join(format!("{digest}-{more}")),
    })
}

/// So many files are synced each for itself; with more the whole file system at once is quicker.
const SYNCED_ONE_BY_ONE: usize = 256;

fn copy_tree(root: &Path, to: &Path, excluded: &Excluded) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = 0;
    let mut directories = vec![to.to_owned()];
    let skipped = build::walk(root, excluded, |path, kind, metadata| {
        let (from, to) = (root.join(path), to.join(path));
        let refused = Trouble::system("copy to", &to);
        files += 1;
        let copied = disk::step().and_then(|()| match kind {
            Kind::Directory => {
                directories.push(to.clone());
                fs::create_dir(&to)
            }
            Kind::Link => symlink(fs::read_link(&from)?, &to),
            Kind::File => copy_file(&from, &to, metadata, files <= SYNCED_ONE_BY_ONE),
        });
        copied.and_then(|()| dress(&to, kind, metadata)).map_err(refused)
    })?;
    if files > SYNCED_ONE_BY_ONE {
        let sync = || syncfs(File::open(to)?).map_err(io::Error::from);
        disk::step().and_then(|()| sync()).map_err(Trouble::system("sync", to))?;
    } else {
        directories.iter().rev().try_for_each(|directory| disk::sync_directory(directory))?;
    }
    Ok(skipped)
}

/// Copies by the quickest way that std knows (`copy_file_range(2)`, which shares blocks where the file system can), again while it is being
/// written.
fn copy_file(from: &Path, to: &Path, before: &Metadata, synced: bool) -> io::Result<()> {
    /// Whoever writes without end is to be told.
    const TRIES: u32 = 5;
    let mut before = Version::of(before);
    for _ in 0..TRIES {
        fs::copy(from, to)?;
        let after = Version::of(&from.symlink_metadata()?);
        if before == after {
            let file = File::options().write(true).open(to)?;
            // Programs compare times of sources and of what was made from them.
            file.set_times(FileTimes::new().set_modified(from.metadata()?.modified()?))?;
            return if synced { file.sync_all() } else { Ok(()) };
        }
        before = after;
    }
    Err(io::Error::other("it is being written all the time: stop whoever does, or let it write elsewhere"))
}

/// Which content a file has, as far as the kernel tells.
#[derive(PartialEq, Eq)]
struct Version(u64, u64, (i64, i64), (i64, i64));

impl Version {
    fn of(metadata: &Metadata) -> Version {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Version(metadata.ino(), metadata.size(), modified, (metadata.ctime(), metadata.ctime_nsec()))
    }
}

/// The mode of the original; where we are root, its owner, too: an app that drops privileges still finds its own.
fn dress(to: &Path, kind: Kind, metadata: &Metadata) -> io::Result<()> {
    if geteuid().is_root() {
        lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    match kind {
        Kind::Link => Ok(()),
        Kind::Directory | Kind::File => {
            fs::set_permissions(to, Permissions::from_mode(build::mode(kind, metadata)))
        }
    }
}
