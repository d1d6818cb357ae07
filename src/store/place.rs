//! Where a store is, and that it is this project's.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::{Store, Trouble, disk};
use crate::app::{Diagnostic, Inputs, Place as Where};

/// Where the releases of a project are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// Whose it has to be.
    owner: Owner,
}

/// Whose a store has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// That of the project with this Procfile, by its real path: the directory has its name, which others may have, too.
    Project(PathBuf),
    /// Whatever `--state` leads to; the Procfile that is meant, where there is one.
    Named(Option<PathBuf>),
}

/// What `store.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    schema: u32,
    project: String,
    key: String,
}

/// That of `store.json`, and of `release.json`.
pub(super) const SCHEMA: u32 = 1;

impl Store {
    /// Finds out where the releases are: `--state`, else `supervise/<directory of the Procfile>` below `XDG_STATE_HOME`, else
    /// below `~/.local/state` (XDG base directory specification).
    ///
    /// # Errors
    /// There is no Procfile, or no home, and nothing else says it.
    pub fn place(inputs: &Inputs, state: Option<&Path>) -> Result<Place, Trouble> {
        let procfile = inputs.locate();
        let project = procfile.canonicalize();
        if let Some(state) = state {
            let directory = std::path::absolute(state).map_err(Trouble::system("find", state))?;
            return Ok(Place { directory, owner: Owner::Named(project.ok()) });
        }
        let project = project.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Diagnostic::new(Where::File(procfile), "there is no such Procfile")
                .with_help("go to the directory of the app, or name its Procfile with `-f FILE` or its releases with `--state DIR`")
                .into(),
            // The system's own words say the others best.
            _ => Trouble::system("find", &inputs.locate())(error),
        })?;
        let variable = |name: &str| {
            let found = inputs.environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| Path::new(value)).filter(|path| path.is_absolute())
        };
        let states = variable("XDG_STATE_HOME").map(Path::to_owned);
        let states = states.or_else(|| variable("HOME").map(|home| home.join(".local/state")));
        let Some(states) = states else {
            let error = Diagnostic::new(
                Where::Environment,
                "neither XDG_STATE_HOME nor HOME says where releases are kept",
            );
            return Err(error.with_help("name a directory for them with `--state DIR`").into());
        };
        let app = project.parent().and_then(Path::file_name).unwrap_or(OsStr::new("root"));
        Ok(Place { directory: states.join("supervise").join(app), owner: Owner::Project(project) })
    }

    /// Opens the store that is there.
    ///
    /// # Errors
    /// There is none, it is another project's, or somebody else could have written it.
    pub fn open(place: &Place) -> Result<Store, Trouble> {
        let directory = &place.directory;
        match directory.metadata() {
            Ok(metadata) if metadata.is_dir() => disk::trust(directory, &metadata)?,
            Ok(_) => return Err(Trouble::Broken(directory.clone(), "this is no directory".to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Trouble::NoStore(directory.clone()));
            }
            Err(error) => return Err(Trouble::system("read", directory)(error)),
        }
        let path = directory.join(FILE);
        let Some(bytes) = disk::read(&path)? else { return Err(Trouble::NoStore(path)) };
        let broken = |reason: &str| Trouble::Broken(path.clone(), reason.to_owned());
        let Ok(Identity { schema, project, key }) = serde_json::from_slice(&bytes) else {
            return Err(broken(
                "this is not the file that we wrote\n  help: without its key no release can be trusted: move the directory away, and begin anew",
            ));
        };
        if schema != SCHEMA {
            return Err(broken("a newer `supervise` wrote it"));
        }
        let key = Key::of_text(&key).ok_or_else(|| broken("the key is none"))?;
        let project = PathBuf::from(project);
        if let Owner::Project(wanted) = &place.owner
            && *wanted != project
        {
            return Err(other_project(directory, &project, wanted));
        }
        Ok(Store { directory: directory.clone(), project, key })
    }

    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    /// As those of [`Store::open`]; there is no Procfile that it could be for; it cannot be written.
    pub fn open_or_create(place: &Place) -> Result<Store, Trouble> {
        let (Owner::Project(wanted) | Owner::Named(Some(wanted))) = &place.owner else {
            let error = Diagnostic::new(Where::Arguments, "there is no Procfile here to make a release of");
            return Err(error.with_help("go to the directory of the app, or name it with `-f FILE`").into());
        };
        let store = match Store::open(place) {
            Err(Trouble::NoStore(_)) => create(&place.directory, wanted).and_then(|()| Store::open(place))?,
            opened => opened?,
        };
        if store.project != *wanted {
            return Err(other_project(&store.directory, &store.project, wanted));
        }
        Ok(store)
    }
}

const FILE: &str = "store.json";

/// `store.json` comes last: where it is, everything is.
fn create(directory: &Path, project: &Path) -> Result<(), Trouble> {
    let Some(project) = project.to_str() else {
        let error = Diagnostic::new(Where::File(project.to_owned()), "the path of the Procfile is not UTF-8");
        return Err(error.with_help("releases are made of apps whose path is").into());
    };
    disk::make_directories(directory)?;
    disk::trust(directory, &directory.metadata().map_err(Trouble::system("read", directory))?)?;
    let _alone = disk::lock(&directory.join("lock"))?;
    let path = directory.join(FILE);
    if disk::read(&path)?.is_some() {
        // Somebody else was faster.
        return Ok(());
    }
    for name in ["releases", "builds"] {
        disk::make_directories(&directory.join(name))?;
    }
    let key = Key::random().map_err(Trouble::system("make a key for", directory))?;
    let identity = Identity { schema: SCHEMA, project: project.to_owned(), key: key.to_text() };
    // Texts and a number: there is nothing in it that JSON could not say.
    let mut text = serde_json::to_vec_pretty(&identity).expect("plain texts are JSON");
    text.push(b'\n');
    // Who was killed here before us left it.
    disk::remove(&directory.join(".unfinished-store.json"))?;
    disk::replace(&path, &text)?;
    disk::sync_directory(directory.parent().unwrap_or(Path::new("/")))
}

fn other_project(directory: &Path, project: &Path, wanted: &Path) -> Trouble {
    let reason = format!(
        "{} keeps the releases of {}, not those of {}",
        directory.display(),
        project.display(),
        wanted.display()
    );
    let error = Diagnostic::new(Where::Arguments, reason);
    error
        .with_help("another project has the same name: name a directory of its own with `--state DIR`")
        .into()
}
