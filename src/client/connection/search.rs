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
    find_among(places(&whereabouts.inputs), whereabouts)
}

fn find_among(places: Vec<Place>, whereabouts: &Whereabouts) -> Result<Link, Trouble> {
    let Whereabouts { socket, inputs } = whereabouts;
    let named = inputs.procfile.is_some() || inputs.root.is_some();
    let injected = variable(inputs, "SUPERVISE_CONTROL").filter(|_| !named).map(Path::new);
    if let Some(socket) = socket.as_deref().or(injected) {
        if socket == Path::new("none") {
            return Err(Trouble::NoSocket);
        }
        return Link::new(socket, &trusted_at(socket)).map_err(|miss| nobody(vec![(socket.into(), miss)]));
    }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Shutdown, shutdown};

    use super::*;

    /// Two directories for sockets, and one with nothing in it to stand in.
    struct Rig(PathBuf);

    impl Rig {
        fn new(name: &str) -> Rig {
            let top = std::env::temp_dir().join(format!("supervise-search-{name}-{}", std::process::id()));
            for directory in ["one", "two", "here/below"] {
                fs::create_dir_all(top.join(directory)).unwrap();
            }
            Rig(top.canonicalize().unwrap())
        }

        fn listener(&self, path: &str) -> UnixListener {
            UnixListener::bind(self.0.join(path)).unwrap()
        }

        /// What is found from `here/below`: the socket, or the message.
        fn found(&self, change: impl Fn(&mut Whereabouts)) -> Result<String, String> {
            let place = |name| Place { directory: self.0.join(name), trusted: trusted() };
            let mut whereabouts = Whereabouts::default();
            whereabouts.inputs.directory = self.0.join("here/below");
            change(&mut whereabouts);
            let top = format!("{}/", self.0.display());
            let found = find_among(vec![place("one"), place("two")], &whereabouts);
            let found = found.map(|link| link.socket.display().to_string().replace(&top, ""));
            found.map_err(|trouble| trouble.to_string().replace(&top, ""))
        }
    }

    /// Listens no more. To close it is not enough: a process that another test has just begun has it too, until it execs.
    fn hangs_up(listener: &UnixListener) {
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            // A directory in /tmp that stays is no reason to fail.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_that_is_named_is_meant_and_no_other() {
        let rig = Rig::new("named");
        let _one = rig.listener("one/a.sock");
        let path = |name: &str| Some(rig.0.join(name));
        assert_eq!(rig.found(|at| at.socket = path("one/a.sock")).as_deref(), Ok("one/a.sock"));
        let error = rig.found(|at| at.socket = path("one/b.sock")).unwrap_err();
        assert!(error.contains("\n  tried: one/b.sock: not there"), "{error}");
        let error = rig.found(|at| at.socket = Some("none".into())).unwrap_err();
        assert!(error.contains("`--socket none`"), "{error}");
    }

    #[test]
    fn inside_a_child_it_is_the_one_that_started_it() {
        let rig = Rig::new("injected");
        let (_one, _two) = (rig.listener("one/a.sock"), rig.listener("two/b.sock"));
        let injected = |at: &mut Whereabouts, name: &str| {
            at.inputs.environment.push(("SUPERVISE_CONTROL".into(), rig.0.join(name).into()));
        };
        assert_eq!(rig.found(|at| injected(at, "two/b.sock")).as_deref(), Ok("two/b.sock"));
        assert!(rig.found(|at| injected(at, "two/gone.sock")).is_err());
        // A Procfile that is named by hand is stronger.
        fs::write(rig.0.join("P"), "web: x").unwrap();
        let error = rig.found(|at| {
            injected(at, "two/b.sock");
            at.inputs.procfile = Some(rig.0.join("P"));
        });
        assert!(error.unwrap_err().contains("no supervisor is running for P"));
    }

    #[test]
    fn a_procfile_here_or_above_leads_to_its_own() {
        let rig = Rig::new("procfile");
        let procfile = rig.0.join("here/Procfile");
        fs::write(&procfile, "web: x").unwrap();
        let _other = rig.listener("one/a.sock");
        let name = place::socket_name(&place::project(&procfile));
        let error = rig.found(|_| {}).unwrap_err();
        for says in
            ["for here/Procfile: start one", &format!("tried: two/{name}: not there"), "--socket one/a.sock"]
        {
            assert!(error.contains(says), "{says}: {error}");
        }
        let second = format!("two/{name}");
        let ours = rig.listener(&second);
        assert_eq!(rig.found(|_| {}).as_ref(), Ok(&second));
        // The best place first; one that nobody listens at any more is passed over.
        let first = format!("one/{name}");
        let best = rig.listener(&first);
        assert_eq!(rig.found(|_| {}).as_ref(), Ok(&first));
        hangs_up(&best);
        assert_eq!(rig.found(|_| {}).as_ref(), Ok(&second));
        hangs_up(&ours);
        assert!(rig.found(|_| {}).unwrap_err().contains("nobody listens any more"));
        // By another name for the same file, by name and by `-d`.
        let _ours = rig.listener(&format!("one/{name}.2"));
        std::os::unix::fs::symlink(&procfile, rig.0.join("link")).unwrap();
        fs::remove_file(rig.0.join(&first)).unwrap();
        let _best = rig.listener(&first);
        assert_eq!(rig.found(|at| at.inputs.procfile = Some(rig.0.join("link"))).as_ref(), Ok(&first));
        assert_eq!(rig.found(|at| at.inputs.root = Some(rig.0.join("here"))).as_ref(), Ok(&first));
        let error = rig.found(|at| at.inputs.procfile = Some(rig.0.join("missing"))).unwrap_err();
        assert!(error.starts_with("missing: No such file"), "{error}");
    }

    #[test]
    fn without_a_procfile_the_only_one_that_lives_is_meant() {
        let rig = Rig::new("only");
        let error = rig.found(|_| {}).unwrap_err();
        assert!(error.contains("no Procfile here or above"), "{error}");
        hangs_up(&rig.listener("one/dead.sock"));
        let _two = rig.listener("two/b.sock");
        let _lock = rig.listener("two/b.sock.lock");
        assert_eq!(rig.found(|_| {}).as_deref(), Ok("two/b.sock"));
        let _one = rig.listener("one/a.sock");
        let error = rig.found(|_| {}).unwrap_err();
        for says in ["several supervisors", "--socket one/a.sock   (started in /", "--socket two/b.sock"] {
            assert!(error.contains(says), "{says}: {error}");
        }
        assert!(!error.contains("dead"), "{error}");
    }
}
