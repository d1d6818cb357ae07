//! Releases: immutable, numbered pairs of build and config, kept in one directory.
//!
//! ```text
//! <state>/             0700; one project's
//!     store.json       the project, and the key
//!     lock             flock(2): one writer at a time
//!     releases/v4/     release.json, Procfile, supervise.yml or app.json, config.env, build.list
//!     builds/<digest>/ copies of builds; equal ones are kept once
//!     deployed.json    which one is current, and which have completed; replaced as a whole
//! ```
//!
//! Whatever is made is made aside, synced and renamed: who reads finds all of it or nothing, whenever we were killed. What
//! a writer left unfinished, the next one removes. Nothing changes a release; each bears a seal, a keyed hash over
//! everything in it, so that a change by somebody else is noticed. No value of the config is ever in an error, a listing or
//! a `Debug`.
//!
//! A kept release is an ordinary app directory to [`crate::app::plan`]: [`Store::inputs`] leads there. This room starts no process but
//! `git`, and that only to make or to examine a build: never in a supervisor, whose reaper would not know of it.

mod build;
mod copying;
mod deployed;
mod disk;
mod draft;
mod git;
mod kept;
mod key;
mod number;
mod place;
mod prune;
mod trouble;

#[cfg(test)]
mod histories;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::Flock;

use self::kept::Record;
use self::key::Key;
use crate::app::{Diagnostic, Expansion, Identity, Inputs, Place as Where, Stronger, did_you_mean};

pub use self::build::differences as build_differences;
pub use self::deployed::Deployed;
pub use self::draft::{Copying, Created, Draft, Tidiness};
pub use self::kept::{Build, Kept};
pub use self::number::Number;
pub use self::place::Place;
pub use self::prune::{Hold, Pruned};
pub use self::trouble::Trouble;

/// The releases of one project.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    /// The real path of the Procfile that it was made for.
    project: PathBuf,
    key: Key,
}

/// A release that runs: who holds it is spared by [`Store::prune`].
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it is kept.
    pub store: Store,
    /// Its number.
    pub number: Number,
    /// For as long as it runs.
    pub hold: Arc<Hold>,
}

/// Every release there is.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that are whole, the oldest first.
    pub kept: Vec<Kept>,
    /// Those that are not, and why.
    pub damaged: Vec<Trouble>,
}

impl Store {
    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The real path of the Procfile that it was made for.
    #[must_use]
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// One release, by its number (`v3`, `3`) or as the `current` one.
    ///
    /// # Errors
    /// There is none like that, or it is not as it was made.
    pub fn load(&self, name: &str) -> Result<Kept, Trouble> {
        let number = self.number(name)?;
        kept::load(self, number)
    }

    /// One release, as [`Store::load`] finds it, to be run: it is held before anybody looks at its files, which stay from now on.
    ///
    /// # Errors
    /// As those of [`Store::load`] and [`Store::hold`].
    pub fn take(self, name: &str) -> Result<(Kept, Running), Trouble> {
        let kept = self.load(name)?;
        let number = kept.number();
        let hold = Arc::new(self.hold(number)?);
        Ok((kept, Running { store: self, number, hold }))
    }

    /// What a name means: `v3`, `3` or `current`, and that there is such a release.
    fn number(&self, name: &str) -> Result<Number, Trouble> {
        let known = self.numbers()?;
        let number = if name == "current" {
            let nothing = || {
                let error = Diagnostic::new(Where::Arguments, "no release was deployed yet");
                Trouble::from(error.with_help(help(&known, name)))
            };
            self.deployed()?.current.ok_or_else(nothing)?
        } else {
            let unknown = || {
                let error = Diagnostic::new(Where::Arguments, format!("there is no release `{name}`"));
                Trouble::from(error.with_help(help(&known, name)))
            };
            let number: Number = name.parse().map_err(|_| unknown())?;
            known.contains(&number).then_some(number).ok_or_else(unknown)?
        };
        Ok(number)
    }

    /// Every release, the oldest first; who is damaged does not hide the others.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        for number in self.numbers()? {
            match kept::load(self, number) {
                Ok(kept) => listing.kept.push(kept),
                // Pruned meanwhile.
                Err(_) if !self.release(number).exists() => {}
                Err(damaged) => listing.damaged.push(damaged),
            }
        }
        Ok(listing)
    }

    /// What runs that release: its Procfile, its spec and its config, which is stronger than the environment, in its build's
    /// directory. Formation, ports and flags stay those of `base`.
    #[must_use]
    pub fn inputs(&self, kept: &Kept, base: Inputs) -> Inputs {
        Inputs {
            procfile: Some(kept.procfile()),
            root: Some(self.root(&kept.record.build)),
            env_files: vec![kept.config_file()],
            expansion: Expansion::Kept,
            stronger: Stronger::Files,
            spec: kept.spec(),
            identity: Some(Identity {
                id: kept.number().to_string(),
                fingerprint: kept.record.id.clone(),
                project: self.project.clone(),
            }),
            ..base
        }
    }

    /// What describes that release, wherever its build is and whatever the environment says.
    #[must_use]
    pub fn description(&self, kept: &Kept) -> Inputs {
        let inputs = self.inputs(kept, Inputs::default());
        Inputs { root: Some(kept.directory.clone()), ..inputs }
    }

    /// A new release that is an old one once more.
    ///
    /// # Errors
    /// There is no such release, or it cannot be written.
    pub fn copy(&self, of: Number, message: &str) -> Result<Kept, Trouble> {
        let writer = self.write()?;
        let kept = self.load(&of.to_string())?;
        let record = Record {
            number: self.next(&writer)?,
            created: kept::now(),
            by: kept::by(),
            message: Some(message.to_owned()),
            copy_of: Some(of),
            ..kept.record
        };
        kept::add(self, &writer, record, kept.files)
    }

    /// Where the build of a release is: its copy in the store, or where it was built.
    #[must_use]
    pub fn root(&self, build: &Build) -> PathBuf {
        self.directory.join(&build.directory)
    }

    /// Finds out what has become of the build of a release: the files of its copy that were changed or removed since. New ones
    /// beside them are the app's own business.
    ///
    /// # Errors
    /// It is gone; or it was not copied, and is another one now.
    pub fn examine(&self, kept: &Kept) -> Result<Vec<PathBuf>, Trouble> {
        let root = self.standing_build(kept)?;
        match kept.build_list() {
            Some(list) => build::altered(&root, list),
            None => git::expect(&root, &kept.record.build.digest, kept.number()).map(|()| Vec::new()),
        }
    }

    /// Where the build of a release is, and that it is there; whether it is what it was is not looked at.
    ///
    /// # Errors
    /// It is gone.
    pub fn standing_build(&self, kept: &Kept) -> Result<PathBuf, Trouble> {
        let root = self.root(&kept.record.build);
        if root.is_dir() {
            return Ok(root);
        }
        let reason = format!("the build of {} is gone: {} is no directory", kept.number(), root.display());
        Err(Trouble::Gone(reason))
    }

    /// The numbers there are, in order.
    fn numbers(&self) -> Result<Vec<Number>, Trouble> {
        let names = disk::names(&self.releases())?;
        let mut numbers: Vec<Number> =
            names.iter().filter_map(|name| name.to_str().and_then(Number::of_directory)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// One more than any number there was: `deployed.json` may know of some that were removed.
    fn next(&self, _writer: &Writer) -> Result<Number, Trouble> {
        let last = self.numbers()?.into_iter().chain(self.deployed()?.completed).max();
        Ok(last.map_or(Number::FIRST, Number::next))
    }

    fn releases(&self) -> PathBuf {
        self.directory.join("releases")
    }

    fn release(&self, number: Number) -> PathBuf {
        self.releases().join(number.to_string())
    }

    fn builds(&self) -> PathBuf {
        self.directory.join("builds")
    }

    /// Waits until nobody else writes, and removes what who was killed left unfinished.
    fn write(&self) -> Result<Writer, Trouble> {
        let writer = Writer(disk::lock(&self.directory.join("lock"))?);
        for directory in [self.releases(), self.builds(), self.directory.clone()] {
            for name in disk::names(&directory)?.into_iter().filter(is_unfinished) {
                disk::remove(&directory.join(name))?;
            }
        }
        Ok(writer)
    }
}

/// Only who has it writes.
#[derive(Debug)]
struct Writer(#[allow(dead_code, reason = "it is unlocked when it is dropped")] Flock<std::fs::File>);

/// How the names of things begin that are being made, or being removed.
const UNFINISHED: &str = ".unfinished-";

fn is_unfinished(name: &OsString) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

/// Which releases there are.
fn help(known: &[Number], name: &str) -> String {
    /// More would fill a screen.
    const SHOWN: usize = 12;
    let shown: Vec<String> = known.iter().rev().take(SHOWN).map(ToString::to_string).collect();
    match known.len() {
        0 => "there is none: `supervise release create` makes the first one".to_owned(),
        many => {
            let shown = shown.iter().map(String::as_str).chain(["current"]);
            let listed = did_you_mean(name, "there are", shown);
            let rest = if many > SHOWN { format!(" and {} more", many - SHOWN) } else { String::new() };
            listed + &rest
        }
    }
}
