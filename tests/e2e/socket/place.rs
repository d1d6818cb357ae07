//! Where the socket of a run is, and what happens where it cannot be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{ask, socket_of, sockets};
use crate::harness::{Run, Supervise, eventually};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn formation(socket: &Path) -> String {
    String::from_utf8(ask(socket, "GET", "/v1/formation", "").body).expect("text")
}

#[test]
fn the_socket_is_ours_alone_and_gone_at_the_end() {
    for umask in [0, 0o777] {
        let mut run = Supervise::with("a: sleep 1000\n").setup(crate::harness::Setup::Umask(umask)).start();
        run.event("started", "a.1");
        let socket = socket_of(&run);
        assert_eq!([mode(socket.parent().expect("it is in one")), mode(&socket)], [0o700, 0o600]);
        let (lock, record) = (socket.with_extension("sock.lock"), socket.with_extension("run"));
        // Whoever starts next has to read them.
        assert_eq!([mode(&lock), mode(&record)], [0o600, 0o600], "umask {umask:o}");
        assert_eq!(fs::read_to_string(&lock).expect("a lock"), format!("{}\n", run.pid()));
        run.is_stopped();
        assert!(!socket.exists());
    }
}

#[test]
fn two_procfiles_in_one_directory_run_side_by_side() {
    let supervise = Supervise::with("a: sleep 1000\n").file("Procfile.dev", "b: sleep 1000\n");
    let mut one = supervise.start();
    one.event("started", "a.1");
    let first = socket_of(&one);
    let mut other = supervise.clone().args(["-f", "Procfile.dev"]).start();
    other.event("started", "b.1");
    let directory = first.parent().expect("it is in one");
    let second = sockets(directory).into_iter().find(|socket| *socket != first).expect("a second socket");
    assert_eq!([formation(&first), formation(&second)], ["{\"a\":1}\n", "{\"b\":1}\n"]);
    one.is_stopped();
    assert_eq!(formation(&second), "{\"b\":1}\n");
    other.is_stopped();
}

#[test]
fn the_same_procfile_by_another_name_is_the_same_project() {
    let supervise = Supervise::with("a: sleep 1000\n");
    std::os::unix::fs::symlink("Procfile", supervise.directory().app("Other")).expect("links can be made");
    let mut run = supervise.start();
    run.event("started", "a.1");
    let mut second = supervise.clone().args(["-f", "Other"]).start();
    let seen = second.ends_with(1);
    let says = format!("already running here (pid {})", run.pid());
    assert!(seen.err_text().contains(&says), "{seen}");
    run.is_stopped();
}

#[test]
fn a_project_and_a_socket_with_paths_of_two_hundred_characters_work() {
    let supervise = Supervise::with("a: sleep 1000\n");
    let deep = supervise.directory().app(&format!("{}/{}", "d".repeat(100), "e".repeat(100)));
    fs::create_dir_all(&deep).expect("it is ours");
    fs::write(deep.join("Procfile"), "a: sleep 1000\n").expect("it is ours");
    let mut run = supervise.clone().args(["-f".as_ref(), deep.join("Procfile").as_os_str()]).start();
    run.event("started", "a.1");
    assert_eq!(formation(&socket_of(&run)), "{\"a\":1}\n");
    run.is_stopped();

    let socket = deep.join("control.sock");
    let mut run = supervise.args(["--socket".as_ref(), socket.as_os_str()]).start();
    run.event("started", "a.1");
    // Too long for an address; by its directory it is reached.
    std::os::unix::fs::symlink(&deep, run.directory().top().join("short")).expect("links can be made");
    assert_eq!(formation(&run.directory().top().join("short/control.sock")), "{\"a\":1}\n");
    run.is_stopped();
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_was_asked_for_and_cannot_be_made_starts_nothing() {
    for socket in ["/proc/nowhere/a.sock", "missing/a.sock", "Procfile"] {
        let mut run = Supervise::with("a: sleep 1000\n").args(["--socket", socket]).start();
        let seen = run.ends_with(1);
        assert!(seen.events("started", "").is_empty(), "{seen}");
        assert!(seen.err_text().contains("error: no control socket `"), "{seen}");
    }
}

#[test]
fn where_no_socket_is_wanted_there_is_none_and_no_lock_either() {
    let supervise = Supervise::with("a: sleep 1000\n").args(["--socket", "none"]);
    let (mut one, mut other) = (supervise.start(), supervise.start());
    one.event("started", "a.1");
    other.event("started", "a.1");
    assert_eq!(sockets(&one.directory().top().join("runtime/supervise")).len(), 0);
    one.is_stopped();
    other.is_stopped();
}

#[test]
fn without_a_runtime_directory_or_with_one_that_cannot_be_used_tmp_is_used() {
    let uid = nix::unistd::geteuid();
    let directory = std::path::PathBuf::from(format!("/tmp/supervise-{uid}"));
    let supervise = Supervise::with("a: sleep 1000\n");
    let missing = supervise.directory().top().join("missing");
    for runtime in ["", "relative", missing.to_str().expect("text"), "/proc"] {
        let mut run = supervise.clone().env("XDG_RUNTIME_DIR", runtime).start();
        run.event("started", "a.1");
        let of_run = |run: &Run| {
            let pid = format!("{}\n", run.pid());
            let is_ours = |socket: &std::path::PathBuf| {
                fs::read_to_string(socket.with_extension("sock.lock")).is_ok_and(|owner| owner == pid)
            };
            sockets(&directory).into_iter().find(is_ours)
        };
        let socket = eventually("a socket in /tmp", || of_run(&run), || run.so_far().to_string());
        assert_eq!((mode(&directory), formation(&socket).as_str()), (0o700, "{\"a\":1}\n"));
        run.is_stopped();
        // Nothing of a test is to stay there.
        for file in ["sock.lock", "run"] {
            let _ = fs::remove_file(socket.with_extension(file));
        }
    }
}

#[test]
fn where_no_place_is_to_be_had_it_runs_without_control_and_says_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can take away /tmp");
        return;
    }
    // In a mount namespace of its own: directories that are open to others.
    let script = "for d in /tmp /dev/shm; do mkdir -p -m 700 $d/supervise-0 && \
                  mount -t tmpfs -o mode=755 none $d/supervise-0 || exit 99; done; exec \"$@\"";
    let possible = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return;
    }
    let supervise = Supervise::with("a: sleep 1000\n").under(["unshare", "-m", "sh", "-c", script, "sh"]);
    let mut run = supervise.env("XDG_RUNTIME_DIR", "").start();
    run.event("started", "a.1");
    let seen = run.is_stopped();
    let said = format!("{}\n{}", seen.lines().join("\n"), seen.err_text());
    assert!(
        said.contains("no control: no place for a socket: `/tmp/supervise-0` (it is open to others"),
        "{seen}"
    );
}
