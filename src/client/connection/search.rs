//! Finding the supervisor: which socket is meant.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::link::{Link, Miss};
use super::trouble::{Running, Trouble};
use crate::api::place;
use crate::app::Inputs;

/// What the user said about where the supervisor is.
#[derive(Clone, Default)]
pub struct Whereabouts {
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `-f`, `-d`, `-e` and the environment: which Procfile.
    pub inputs: Inputs,
}

/// A directory with sockets, and whose supervisors in it are trusted.
struct Place {
    directory: PathBuf,
    trusted: Vec<u32>,
}

/// Connects to the supervisor that is meant: `--socket`, else in a child of ours the one that started it, else that of the
/// Procfile here or above, else the only one that runs. Whoever stands before a Procfile means its supervisor and no other: of
/// those that run elsewhere only one that was started in the same directory is taken.
///
/// # Errors
/// Nobody is there, or several are; with everything that was tried.
pub(super) fn find(whereabouts: &Whereabouts) -> Result<Link, Trouble> {
    let Whereabouts { socket, inputs } = whereabouts;
    let named = inputs.procfile.is_some() || inputs.root.is_some();
    let injected = variable(inputs, "SUPERVISE_CONTROL").filter(|_| !named).map(Path::new);
    if let Some(socket) = socket.as_deref().or(injected) {
        if socket == Path::new("none") {
            return Err(Trouble::NoSocket);
        }
        return Link::new(socket, &trusted_at(socket)).map_err(|miss| nobody(vec![(socket.into(), miss)]));
    }
    let places = places(inputs);
    let procfile = if named { named_procfile(inputs)? } else { nearest_procfile(inputs) };
    let mut tried = Vec::new();
    if let Some(procfile) = &procfile {
        let name = place::socket_name(&place::project(procfile));
        for Place { directory, trusted } in &places {
            let socket = directory.join(&name);
            match Link::new(&socket, trusted) {
                Ok(link) => return Ok(link),
                Err(miss) => tried.push((socket, miss)),
            }
        }
    }
    let (mut meant, mut others) = (Vec::new(), Vec::new());
    for link in live(&places) {
        let home = home(&link);
        let is_meant = match &procfile {
            None => true,
            Some(procfile) => !named && home.is_some() && home.as_deref() == procfile.parent(),
        };
        if is_meant { meant.push((link, home)) } else { others.push(Running { socket: link.socket, home }) }
    }
    match meant.len() {
        0 => {
            let places = places.into_iter().map(|place| place.directory).collect();
            Err(Trouble::Nobody { procfile, tried, places, others })
        }
        1 => Ok(meant.remove(0).0),
        _ => Err(Trouble::Several(
            meant.into_iter().map(|(link, home)| Running { socket: link.socket, home }).collect(),
        )),
    }
}

fn nobody(tried: Vec<(PathBuf, Miss)>) -> Trouble {
    Trouble::Nobody { procfile: None, tried, places: Vec::new(), others: Vec::new() }
}

fn variable<'i>(inputs: &'i Inputs, name: &str) -> Option<&'i OsStr> {
    let found = inputs.environment.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
}

/// Ourselves and root, who could do everything anyway.
fn trusted() -> Vec<u32> {
    vec![geteuid().as_raw(), 0]
}

/// The same for a socket that was named; root means its owner where it names somebody's.
fn trusted_at(socket: &Path) -> Vec<u32> {
    let owner = socket.metadata().ok().map(|socket| socket.uid()).filter(|_| geteuid().is_root());
    trusted().into_iter().chain(owner).collect()
}

/// The Procfile that was named, by its real path.
fn named_procfile(inputs: &Inputs) -> Result<Option<PathBuf>, Trouble> {
    let procfile = inputs.locate();
    procfile.canonicalize().map(Some).map_err(|error| Trouble::NoProcfile(procfile, error))
}

/// The Procfile here, else in the nearest directory above, by its real path.
fn nearest_procfile(inputs: &Inputs) -> Option<PathBuf> {
    let here = std::path::absolute(if inputs.directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &inputs.directory
    });
    let here = here.ok()?;
    here.ancestors().find_map(|directory| {
        // Env files that were named are named from here.
        let env_files = inputs.env_files.iter().map(|file| here.join(file)).collect();
        let inputs = Inputs { directory: directory.to_owned(), env_files, ..inputs.clone() };
        inputs.locate().canonicalize().ok()
    })
}

/// Every directory where a supervisor of ours may have its socket, the best first; for root those of every user.
fn places(inputs: &Inputs) -> Vec<Place> {
    let uid = geteuid().as_raw();
    let runtime = variable(inputs, "XDG_RUNTIME_DIR").map(Path::new);
    // Not every shell has the variable that the supervisor was started with (cron, `docker exec`).
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let mut directories = place::directories(runtime, uid);
    directories.extend(place::directories(Some(&usual), uid));
    let mut places: Vec<Place> = Vec::new();
    for directory in directories {
        if places.iter().all(|place| place.directory != directory) {
            places.push(Place { directory, trusted: trusted() });
        }
    }
    if uid == 0 {
        let others = everybody().into_iter().filter(|other| *other != 0);
        for other in others {
            let runtime = PathBuf::from(format!("/run/user/{other}"));
            let directories = place::directories(Some(&runtime), other);
            places.extend(directories.into_iter().map(|directory| Place { directory, trusted: vec![other] }));
        }
    }
    places
}

/// The users who have a directory where sockets may be.
fn everybody() -> Vec<u32> {
    let beginnings = [("/run/user", ""), ("/tmp", "supervise-"), ("/dev/shm", "supervise-")];
    let names = beginnings.iter().flat_map(|(directory, beginning)| {
        file_names(Path::new(directory))
            .into_iter()
            .filter_map(move |name| name.strip_prefix(beginning)?.parse().ok())
    });
    let mut users: Vec<u32> = names.collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// Everybody who answers.
fn live(places: &[Place]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for Place { directory, trusted } in places {
        let mut names = file_names(directory);
        names.sort_unstable();
        let sockets = names.iter().filter(|name| name.ends_with(place::SOCKET_SUFFIX));
        links.extend(sockets.filter_map(|name| Link::new(&directory.join(name), trusted).ok()));
    }
    links
}

/// The names in a directory; none where it cannot be read, which is another user's.
fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The directory that a supervisor was started in, where /proc lets us see.
fn home(link: &Link) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/cwd", link.pid?)).ok()
}
