//! `SQLite`: whether the file can be written, or made. It also writes beside the file (its manual, "Temporary Files"), so
//! the directory must take files in any case.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::url::{Url, decode, printable};
use super::wire::{Work, off_the_loop};
use super::{ANSWERS, Verdict};

pub(super) async fn ask(url: &Url, root: &Path) -> Verdict {
    let Some(file) = file(url, root) else { return ANSWERS };
    let reads_only = url.option(&["mode"]).is_some_and(|mode| mode == b"ro")
        || url.option(&["immutable"]).is_some_and(|immutable| immutable == b"1");
    off_the_loop(Work::File, move || look(&file, reads_only)).await?
}

/// Where the file is: its directory.
pub(super) fn host(url: &Url, root: &Path) -> String {
    let directory = file(url, root).and_then(|file| file.parent().map(Path::to_owned));
    directory.map_or_else(|| "memory".to_owned(), |directory| printable(&directory.to_string_lossy()))
}

/// None where it is only in memory.
fn file(url: &Url, root: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(decode(&url.path)));
    let in_memory = path.as_os_str().is_empty()
        || path.ends_with(":memory:")
        || url.option(&["mode"]).is_some_and(|mode| mode == b"memory");
    (!in_memory).then(|| root.join(path))
}

fn look(file: &Path, reads_only: bool) -> Verdict {
    let directory = file.parent().unwrap_or(Path::new("/"));
    match directory.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) | Err(_) => return Err("no such directory".into()),
    }
    let (of_file, of_directory) = if reads_only {
        (AccessFlags::R_OK, AccessFlags::X_OK)
    } else {
        (AccessFlags::R_OK | AccessFlags::W_OK, AccessFlags::W_OK | AccessFlags::X_OK)
    };
    if access(directory, of_directory).is_err() {
        return Err("its directory cannot be written".into());
    }
    if file.is_dir() {
        return Err("it is a directory".into());
    }
    match access(file, of_file) {
        Ok(()) => ANSWERS,
        Err(Errno::ENOENT) if reads_only => Err("no such file".into()),
        // It will be made.
        Err(Errno::ENOENT) => ANSWERS,
        Err(_) => Err("the file cannot be written".into()),
    }
}
