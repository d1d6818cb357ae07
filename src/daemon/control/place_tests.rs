//! Where the socket ends up, whose it is, and who is told why not.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::socket::{Shutdown, shutdown};

use super::place::{NoPlace, Place, Wanted};
use super::testing::Scratch;
use crate::api::place::lock_of;

fn of(directories: &[PathBuf]) -> Result<(Place, UnixListener), NoPlace> {
    Place::take(Wanted::Of { project: "project", directories, elsewhere: &[] })
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn pid() -> Option<i32> {
    i32::try_from(std::process::id()).ok()
}

/// Listens no more. To close it is not enough: a process that another test has just begun has it too, until it execs.
fn hangs_up(listener: &UnixListener) {
    shutdown(listener.as_raw_fd(), Shutdown::Both).expect("it listens");
}

/// Where it went, given these directories of which only the last can be used.
#[track_caller]
fn ends_up_in_the_last(directories: &[PathBuf]) {
    let (place, _listener) = of(directories).expect("the last one is good");
    assert_eq!(place.socket().parent(), directories.last().map(PathBuf::as_path));
}

#[test]
fn the_directory_the_socket_and_the_lock_are_ours_alone_and_the_lock_has_our_pid() {
    let scratch = Scratch::new();
    let (place, _listener) = of(&[scratch.path("a")]).expect("a place");
    let socket = place.socket().to_owned();
    assert_eq!(socket, scratch.path("a/project.sock"));
    assert_eq!([mode(&scratch.path("a")), mode(&socket), mode(&lock_of(&socket))], [0o700, 0o600, 0o600]);
    let owner = fs::read_to_string(lock_of(&socket)).expect("a lock");
    assert_eq!(owner, format!("{}\n", std::process::id()));
    UnixStream::connect(&socket).expect("somebody listens");
    drop(place);
    assert!(!socket.exists());
    assert_eq!(fs::read(lock_of(&socket)).expect("the lock stays"), b"");
}

#[test]
fn who_runs_with_another_environment_runs_here_all_the_same() {
    let scratch = Scratch::new();
    let [login, shared, usual] = ["login", "shared", "usual"].map(|name| scratch.path(name));
    let cron = || {
        Place::take(Wanted::Of {
            project: "project",
            directories: std::slice::from_ref(&shared),
            elsewhere: std::slice::from_ref(&usual),
        })
    };
    let taken = |socket: &Path| NoPlace::Taken { socket: socket.to_owned(), pid: pid() };
    let login_has_it = || of(std::slice::from_ref(&usual));
    let login = || of(&[login.clone(), shared.clone()]);
    for (first, second) in
        [(&login_has_it as &dyn Fn() -> Result<_, _>, &cron as &dyn Fn() -> Result<_, _>), (&cron, &login)]
    {
        let (place, listener) = first().expect("it is the first");
        assert_eq!(second().expect_err("it is the second"), taken(place.socket()));
        // What was left of one that was killed is in nobody's way.
        hangs_up(&listener);
        second().expect("the first is gone");
    }
}

#[test]
fn a_socket_somewhere_else_is_ours_alone_from_the_beginning() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(""), Permissions::from_mode(0o777)).expect("it is ours");
    let socket = scratch.path("mine");
    let (_place, _listener) = Place::take(Wanted::At(&socket)).expect("a place");
    assert_eq!([mode(&socket), mode(&lock_of(&socket))], [0o600, 0o600]);
}

#[test]
fn a_directory_that_is_a_link_or_open_to_others_or_no_directory_is_passed_over() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("real")).expect("it is ours");
    fs::set_permissions(scratch.path("real"), Permissions::from_mode(0o700)).expect("it is ours");
    symlink(scratch.path("real"), scratch.path("link")).expect("links can be made");
    fs::create_dir(scratch.path("open")).expect("it is ours");
    fs::set_permissions(scratch.path("open"), Permissions::from_mode(0o710)).expect("it is ours");
    fs::write(scratch.path("file"), "").expect("it is ours");
    for bad in ["link", "open", "file", "missing/below"] {
        ends_up_in_the_last(&[scratch.path(bad), scratch.path("good")]);
    }
    ends_up_in_the_last(&[PathBuf::from("/proc/no"), scratch.path("good")]);
}

#[test]
fn root_leaves_nothing_in_the_directory_of_a_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a directory of somebody else's");
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("user")).expect("it is ours");
    std::os::unix::fs::chown(scratch.path("user"), Some(4242), None).expect("root may");
    ends_up_in_the_last(&[scratch.path("user/supervise"), scratch.path("good")]);
    assert!(!scratch.path("user/supervise").exists());
    // And one that somebody else has made in our place is not used either.
    ends_up_in_the_last(&[scratch.path("user"), scratch.path("good")]);
}

#[test]
fn where_no_place_can_be_used_each_is_named_with_its_reason() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), "").expect("it is ours");
    let reason = of(&[scratch.path("file"), scratch.path("missing/below")]).expect_err("none is good");
    let NoPlace::Nowhere { tried } = &reason else { panic!("{reason:?}") };
    assert_eq!(tried.len(), 2);
    let said = reason.to_string();
    assert!(said.starts_with("no control: no place for a socket: `"), "{said}");
    assert!(
        said.contains("/file` (Not a directory)") && said.contains("No such file or directory"),
        "{said}"
    );
}

#[test]
fn a_second_one_is_told_the_first_ones_pid() {
    let scratch = Scratch::new();
    let directories = [scratch.path("a"), scratch.path("b")];
    let (place, _listener) = of(&directories).expect("a place");
    let socket = place.socket().to_owned();
    let reason = of(&directories).expect_err("it is taken, and the next directory does not help");
    assert_eq!(reason, NoPlace::Taken { socket, pid: pid() });
    assert!(reason.to_string().starts_with(&format!("already running here (pid {})", std::process::id())));
}

#[test]
fn of_many_at_once_one_wins_and_all_others_know_whose_it_is() {
    for _ in 0..20 {
        let scratch = Scratch::new();
        let directory = scratch.path("a");
        let race = || {
            thread::spawn({
                let directory = directory.clone();
                move || of(&[directory])
            })
        };
        let results: Vec<_> = (0..20).map(|_| race()).collect();
        // Those who have won hold on to it until all have tried.
        let results: Vec<_> = results.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let lost: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert_eq!(lost.len(), 19, "{lost:?}");
        for reason in lost {
            assert!(matches!(reason, NoPlace::Taken { pid: owner, .. } if *owner == pid()), "{reason}");
        }
    }
}

#[test]
fn fault_52_a_stale_socket_is_replaced_and_what_is_none_is_left_alone() {
    let scratch = Scratch::new();
    let socket = scratch.path("mine");
    hangs_up(&UnixListener::bind(&socket).expect("it can be bound"));
    assert!(socket.exists(), "nobody listens there any more");
    let (place, _listener) = Place::take(Wanted::At(&socket)).expect("a place");
    UnixStream::connect(&socket).expect("somebody listens");
    drop(place);
    fs::write(&socket, "precious").expect("it is ours");
    let reason = Place::take(Wanted::At(&socket)).expect_err("there is a file");
    assert!(
        matches!(&reason, NoPlace::Impossible { reason, .. } if reason.contains("something else")),
        "{reason}"
    );
    assert_eq!(fs::read(&socket).expect("it is still there"), b"precious");
}

#[test]
fn whoever_lost_its_lock_is_still_found_by_its_socket() {
    let scratch = Scratch::new();
    let socket = scratch.path("mine");
    let (_place, _listener) = Place::take(Wanted::At(&socket)).expect("a place");
    fs::remove_file(lock_of(&socket)).expect("it is ours");
    let reason = Place::take(Wanted::At(&socket)).expect_err("somebody listens");
    assert_eq!(reason, NoPlace::Taken { socket, pid: pid() });
}

#[test]
fn a_socket_that_cannot_be_made_says_why() {
    for (socket, says) in [
        ("/proc/nowhere/a.sock", "its directory cannot be opened"),
        ("/", "no file name"),
        ("/proc/self/a.sock", "its lock: "),
    ] {
        let reason = Place::take(Wanted::At(Path::new(socket))).expect_err("it cannot be");
        let NoPlace::Impossible { reason, .. } = &reason else { panic!("{reason:?}") };
        assert!(reason.contains(says), "{socket}: {reason}");
    }
}

#[test]
fn a_path_longer_than_an_address_is_bound_all_the_same_but_not_a_name() {
    let scratch = Scratch::new();
    let deep = scratch.path("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).expect("it is ours");
    let (place, _listener) = of(&[deep.join("supervise")]).expect("a place");
    assert!(place.socket().as_os_str().len() > 200 && place.socket().exists());
    let other = of(&[deep.join("supervise")]).expect_err("it is found to be taken");
    assert!(matches!(other, NoPlace::Taken { .. }), "{other}");
    let reason = Place::take(Wanted::At(&deep.join("n".repeat(120)))).expect_err("no address for that");
    assert!(reason.to_string().contains("its name has 120 bytes"), "{reason}");
}

#[test]
fn what_somebody_else_has_put_in_its_place_is_not_removed() {
    let scratch = Scratch::new();
    let socket = scratch.path("mine");
    let (place, _listener) = Place::take(Wanted::At(&socket)).expect("a place");
    fs::remove_file(&socket).expect("it is ours");
    fs::write(&socket, "theirs").expect("it is ours");
    drop(place);
    assert_eq!(fs::read(&socket).expect("it is still there"), b"theirs");
}

#[test]
fn fault_54_what_was_removed_is_made_anew_and_what_is_there_is_not_touched() {
    let scratch = Scratch::new();
    let (mut place, _old) = of(&[scratch.path("a")]).expect("a place");
    let socket = place.socket().to_owned();
    assert!(place.remake().expect("all is well").is_none());

    fs::remove_file(&socket).expect("it is ours");
    let _new = place.remake().expect("it can be made").expect("a new listener");
    UnixStream::connect(&socket).expect("somebody listens");

    fs::remove_dir_all(scratch.path("a")).expect("it is ours");
    let _newer = place.remake().expect("it can be made").expect("a new listener");
    UnixStream::connect(&socket).expect("somebody listens");
    let reason = of(&[scratch.path("a")]).expect_err("the lock is new too");
    assert!(matches!(reason, NoPlace::Taken { .. }), "{reason}");

    fs::remove_file(lock_of(&socket)).expect("it is ours");
    assert!(place.remake().expect("it can be made").is_none(), "the socket itself was there");
    let owner = fs::read_to_string(lock_of(&socket)).expect("a lock");
    assert_eq!(owner, format!("{}\n", std::process::id()));
    drop(place);
    assert!(!socket.exists());
}
