//! What a build consists of: one line for each file, and a hash over all of them.
//!
//! ```text
//! d 755 - bin
//! f 755 9f86d081884c7d65... bin/start
//! l 777 2c26b46b68ffc68f... current
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Trouble;
use super::key::{digest, hex};

/// Everything in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuildList {
    /// Its lines, by path.
    pub(super) text: Vec<u8>,
    /// Sockets, fifos and devices: they belong to something that runs, and not to the code.
    pub(super) skipped: Vec<PathBuf>,
}

/// What is found in a directory, by its path below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Link,
}

/// What is no part of a build: `.git`, and files by device and inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Excluded(BTreeSet<(u64, u64)>);

impl Excluded {
    /// The env files that were read, and the store itself.
    pub(super) fn new(paths: &[PathBuf]) -> Excluded {
        let id = |path: &PathBuf| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        Excluded(paths.iter().filter_map(id).collect())
    }

    fn has(&self, name: &OsString, metadata: &Metadata) -> bool {
        name == ".git" || self.0.contains(&(metadata.dev(), metadata.ino()))
    }
}

impl BuildList {
    /// Looks at everything in a directory.
    pub(super) fn of(root: &Path, excluded: &Excluded) -> Result<BuildList, Trouble> {
        let mut lines = Vec::new();
        let skipped = walk(root, excluded, |path, kind, metadata| {
            let hash = match kind {
                Kind::Directory => None,
                Kind::File | Kind::Link => Some(hash(&root.join(path), kind)?),
            };
            lines.extend(line(path, kind, metadata, hash.as_deref()));
            Ok(())
        })?;
        Ok(BuildList { text: lines, skipped })
    }

    /// The hash of all of it: 128 bits, enough that no two builds of anybody's meet by chance.
    pub(super) fn digest(&self) -> String {
        const DIGITS: usize = 32;
        let mut digest = digest(&self.text);
        digest.truncate(DIGITS);
        digest
    }
}

/// Visits everything in a directory in the order of the paths, directories before what is in them; what is passed over
/// because it is neither file, directory nor link is returned. Nothing may be in the way: what cannot be read is an error.
pub(super) fn walk(
    root: &Path,
    excluded: &Excluded,
    mut visit: impl FnMut(&Path, Kind, &Metadata) -> Result<(), Trouble>,
) -> Result<Vec<PathBuf>, Trouble> {
    let mut skipped = Vec::new();
    let mut pending = children(root, Path::new(""))?;
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        let metadata = match full.symlink_metadata() {
            Ok(metadata) => metadata,
            // It went away while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Trouble::system("read", &full)(error)),
        };
        if path.file_name().is_some_and(|name| excluded.has(&name.to_owned(), &metadata)) {
            continue;
        }
        let file_type = metadata.file_type();
        if file_type.is_dir() {
            visit(&path, Kind::Directory, &metadata)?;
            pending.extend(children(root, &path)?);
        } else if file_type.is_file() {
            visit(&path, Kind::File, &metadata)?;
        } else if file_type.is_symlink() {
            visit(&path, Kind::Link, &metadata)?;
        } else {
            skipped.push(path);
        }
    }
    Ok(skipped)
}

/// What is in a directory, the first one last.
fn children(root: &Path, below: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let directory = root.join(below);
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        // As above; but the build itself has to be there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && below != Path::new("") => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Trouble::system("read", &directory)(error)),
    };
    let entries = entries.map(|entry| entry.map(|entry| below.join(entry.file_name())));
    let mut children: Vec<PathBuf> =
        entries.collect::<io::Result<_>>().map_err(Trouble::system("read", &directory))?;
    children.sort_unstable_by(|one, other| other.as_os_str().cmp(one.as_os_str()));
    Ok(children)
}

/// The files of a copy that are not as the list says, or not there.
pub(super) fn altered(root: &Path, list: &[u8]) -> Result<Vec<PathBuf>, Trouble> {
    let mut altered = Vec::new();
    for (path, expected) in entries(list) {
        let full = root.join(&path);
        let found = match full.symlink_metadata() {
            Ok(metadata) => {
                let kind = match metadata.file_type() {
                    found if found.is_dir() => Kind::Directory,
                    found if found.is_symlink() => Kind::Link,
                    _ => Kind::File,
                };
                let hash = match kind {
                    Kind::Directory => None,
                    Kind::File if !metadata.is_file() => Some(String::new()),
                    Kind::File | Kind::Link => Some(hash(&full, kind)?),
                };
                line(&path, kind, &metadata, hash.as_deref())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Trouble::system("read", &full)(error)),
        };
        if found.strip_suffix(b"\n") != Some(expected) {
            altered.push(path);
        }
    }
    Ok(altered)
}

/// The files that two builds differ in, and whether each was added (`+`), removed (`-`) or changed (`~`).
#[must_use]
pub fn differences(before: &[u8], after: &[u8]) -> Vec<(char, PathBuf)> {
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (entries(before).collect(), entries(after).collect());
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let differs = |path: &PathBuf| match (before.get(path), after.get(path)) {
        (None, _) => Some('+'),
        (_, None) => Some('-'),
        (before, after) => (before != after).then_some('~'),
    };
    paths.into_iter().filter_map(|path| Some((differs(path)?, path.clone()))).collect()
}

/// Each line with its path.
fn entries(list: &[u8]) -> impl Iterator<Item = (PathBuf, &[u8])> {
    let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| Some((unescape(line.splitn(4, |byte| *byte == b' ').nth(3)?), line)))
}

fn line(path: &Path, kind: Kind, metadata: &Metadata, hash: Option<&str>) -> Vec<u8> {
    let letter = match kind {
        Kind::Directory => 'd',
        Kind::File => 'f',
        Kind::Link => 'l',
    };
    let mut line = format!("{letter} {:03o} {} ", mode(kind, metadata), hash.unwrap_or("-")).into_bytes();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            plain => line.push(*plain),
        }
    }
    line.push(b'\n');
    line
}

fn unescape(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(byte) = rest.next() {
        match (byte, byte == &b'\\') {
            (_, true) => bytes.push(if rest.next() == Some(&b'n') { b'\n' } else { b'\\' }),
            (plain, false) => bytes.push(*plain),
        }
    }
    OsString::from_vec(bytes).into()
}

/// Who may do what with it; a directory of a copy is always ours to remove. That of a link means nothing.
pub(super) fn mode(kind: Kind, metadata: &Metadata) -> u32 {
    match kind {
        Kind::Directory => metadata.mode() & 0o777 | 0o700,
        Kind::File => metadata.mode() & 0o777,
        Kind::Link => 0o777,
    }
}

/// The hash of a file's content, or of where a link leads.
fn hash(path: &Path, kind: Kind) -> Result<String, Trouble> {
    let hash = || match kind {
        Kind::Link => Ok(digest(fs::read_link(path)?.as_os_str().as_bytes())),
        Kind::File | Kind::Directory => {
            /// Two pages of most devices: more is not faster.
            const PIECE: usize = 128 * 1024;
            let mut file = File::open(path)?;
            let mut hasher = Sha256::new();
            let mut piece = vec![0; PIECE];
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(hex(&hasher.finalize())),
                    read => hasher.update(&piece[..read]),
                }
            }
        }
    };
    hash().map_err(Trouble::system("read", path))
}
