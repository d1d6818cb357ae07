//! One release as it is kept: its record, its files and its seal.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};

use super::place::SCHEMA;
use super::{Number, Store, Trouble, UNFINISHED, Writer, disk};
use crate::app::{Diagnostics, read_env_file};

/// A release that is whole.
#[derive(Clone)]
pub struct Kept {
    /// What is said of it.
    pub record: Record,
    pub(super) directory: PathBuf,
    pub(super) files: Files,
}

/// The bytes of each file of a release, but the record.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What is said of a release, without any value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// That of the format.
    pub schema: u32,
    /// Its number.
    pub number: Number,
    /// The keyed hash of build and config: the same for the same input in one store.
    pub id: String,
    /// When it was made: RFC 3339, UTC, seconds.
    pub created: String,
    /// Who made it: the name of a user.
    pub by: String,
    /// Why, in the words of whoever made it.
    pub message: Option<String>,
    /// Its code.
    pub build: Build,
    /// What the Procfile was called.
    pub procfile: String,
    /// What the spec was called, where there was one.
    pub spec: Option<String>,
    /// The names of the variables of its config.
    pub config: Vec<String>,
    /// The release that it is once more.
    pub copy_of: Option<Number>,
}

/// The code of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its name: the git commit, or a piece of the hash of its files.
    pub id: String,
    /// The hash of its files; of a build that was not copied, the whole name of the commit.
    pub digest: String,
    /// Its copy, below the store; or where it was built.
    pub directory: PathBuf,
}

/// What stands in `release.json`.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    record: Record,
    seal: String,
}

pub(super) const RECORD: &str = "release.json";
pub(super) const PROCFILE: &str = "Procfile";
pub(super) const CONFIG: &str = "config.env";
/// The spec, by what it is.
pub(super) const SPECS: [&str; 2] = ["supervise.yml", "app.json"];
/// The files of a copied build.
pub(super) const BUILD_LIST: &str = "build.list";

/// Shows no value.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("record", &self.record)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> Number {
        self.record.number
    }

    /// The variables of its config with their values: they may be secrets.
    ///
    /// # Errors
    /// It is none of ours, though its seal is whole.
    pub fn config(&self) -> Result<Vec<(String, OsString)>, Diagnostics> {
        read_env_file(&self.config_file(), self.file(CONFIG))
    }

    /// The text of its spec; empty where it has none.
    #[must_use]
    pub fn spec_text(&self) -> &[u8] {
        SPECS.iter().find_map(|name| self.files.get(*name)).map_or(&[], Vec::as_slice)
    }

    /// A line for each file of its build, where that was copied.
    #[must_use]
    pub fn build_list(&self) -> Option<&[u8]> {
        self.files.get(BUILD_LIST).map(Vec::as_slice)
    }

    fn file(&self, name: &str) -> &[u8] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn procfile(&self) -> PathBuf {
        self.directory.join(PROCFILE)
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.directory.join(CONFIG)
    }

    pub(super) fn spec(&self) -> Option<PathBuf> {
        SPECS.iter().find(|name| self.files.contains_key(**name)).map(|name| self.directory.join(name))
    }
}

impl Build {
    /// Whether the store has a copy of it, which nobody else touches.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.directory.is_relative()
    }
}

/// Reads a release, and refuses one that is not as it was made.
pub(super) fn load(store: &Store, number: Number) -> Result<Kept, Trouble> {
    let directory = store.release(number);
    let damaged = |reason: &str| Trouble::Damaged(number, reason.to_owned());
    let mut files = Files::new();
    for name in disk::names(&directory)? {
        let shown = name.to_string_lossy().into_owned();
        let known = [RECORD, PROCFILE, CONFIG, BUILD_LIST].contains(&shown.as_str())
            || SPECS.contains(&shown.as_str());
        if !known {
            return Err(Trouble::Damaged(
                number,
                format!("there is a file in it that is not ours: {}", shown.escape_debug()),
            ));
        }
        if let Some(bytes) = disk::read(&directory.join(&name))? {
            files.insert(shown, bytes);
        }
    }
    let Some(text) = files.remove(RECORD) else { return Err(damaged("`release.json` is gone")) };
    let Ok(Sealed { record, seal }) = serde_json::from_slice(&text) else {
        return Err(damaged("`release.json` is not the file that we wrote"));
    };
    if record.schema != SCHEMA {
        return Err(damaged("a newer `supervise` wrote it"));
    }
    if render(&record, seal.clone()) != text {
        return Err(damaged("`release.json` is not the file that we wrote"));
    }
    if record.number != number {
        return Err(Trouble::Damaged(number, format!("it is {} in another place", record.number)));
    }
    if seal != seal_of(store, &record, &files) {
        return Err(damaged("its seal does not fit: somebody changed it, or `store.json`"));
    }
    if record.id != id_of(store, &record.build, &files) {
        return Err(damaged("its id does not fit"));
    }
    Ok(Kept { record, directory, files })
}

/// Keeps a new release, as a whole or not at all; its id is found out here.
pub(super) fn add(store: &Store, _writer: &Writer, record: Record, files: Files) -> Result<Kept, Trouble> {
    let record = Record { id: id_of(store, &record.build, &files), ..record };
    let seal = seal_of(store, &record, &files);
    let aside = store.releases().join(format!("{UNFINISHED}{}", record.number));
    let write = || {
        disk::make_directory(&aside)?;
        for (name, bytes) in &files {
            disk::write_new(&aside.join(name), bytes)?;
        }
        disk::write_new(&aside.join(RECORD), &render(&record, seal))?;
        disk::sync_directory(&aside)?;
        disk::rename(&aside, &store.release(record.number))
    };
    if let Err(trouble) = write() {
        // The next writer removes what stays now; what is to be told is why it could not be kept.
        let _ = disk::remove(&aside);
        return Err(trouble);
    }
    Ok(Kept { directory: store.release(record.number), record, files })
}

fn render(record: &Record, seal: String) -> Vec<u8> {
    let sealed = Sealed { record: record.clone(), seal };
    // Its one path was a text, or is made of our own names.
    let mut text = serde_json::to_vec_pretty(&sealed).expect("texts and numbers are JSON");
    text.push(b'\n');
    text
}

/// Over everything in it.
fn seal_of(store: &Store, record: &Record, files: &Files) -> String {
    let record = render(record, String::new());
    let mut parts: Vec<&[u8]> = vec![&record];
    parts.extend(files.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]));
    store.key.hash("seal", &parts)
}

/// Over what it is made of: build, Procfile, spec and config.
fn id_of(store: &Store, build: &Build, files: &Files) -> String {
    /// Enough to tell the releases of one store apart.
    const DIGITS: usize = 16;
    let mut parts = vec![build.id.as_bytes(), build.digest.as_bytes()];
    let files = files.iter().filter(|(name, _)| *name != BUILD_LIST);
    parts.extend(files.flat_map(|(name, bytes)| [name.as_bytes(), bytes]));
    let mut id = store.key.hash("id", &parts);
    id.truncate(DIGITS);
    id
}

/// RFC 3339, UTC, whole seconds.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// The name of the user that we are, else the number.
pub(super) fn by() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// The name of a file as it may stand in a record.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
