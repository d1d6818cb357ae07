//! What /proc says about processes.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// The processes whose environment has this mark, zombies left out (theirs is empty), with their command lines.
pub(crate) fn marked(mark: &str) -> Vec<(i32, String)> {
    let entry = format!("E2E_MARK={mark}").into_bytes();
    let environment = |pid| fs::read(proc(pid, "environ")).unwrap_or_default();
    let has_mark = |pid: &i32| environment(*pid).split(|byte| *byte == 0).any(|variable| variable == entry);
    everybody().filter(has_mark).map(|pid| (pid, command_line(pid))).collect()
}

/// The children of this process.
pub(crate) fn children_of(parent: i32) -> Vec<i32> {
    let parent = parent.to_string();
    let is_child = |pid: &i32| field(&status(*pid), "PPid") == Some(parent.as_str());
    everybody().filter(is_child).collect()
}

/// The children of this process that are dead and not yet waited for.
pub(crate) fn zombies_of(parent: i32) -> Vec<i32> {
    let is_one = |pid: &i32| {
        let status = status(*pid);
        field(&status, "State").is_some_and(|state| state.starts_with('Z'))
            && field(&status, "PPid") == Some(parent.to_string().as_str())
    };
    everybody().filter(is_one).collect()
}

/// `R`, `S`, `T`, `Z` ...; `None` where there is no such process.
pub(crate) fn state(pid: i32) -> Option<char> {
    field(&status(pid), "State")?.chars().next()
}

/// Whether the process is there and no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The memory of a process that is in RAM, in KiB.
pub(crate) fn resident_kib(pid: i32) -> u64 {
    let status = status(pid);
    let text = field(&status, "VmRSS").and_then(|text| text.strip_suffix(" kB"));
    text.expect("the process lives").trim().parse().expect("VmRSS is a number")
}

/// The most memory of a process that ever was in RAM, in KiB.
pub(crate) fn peak_kib(pid: i32) -> u64 {
    let status = status(pid);
    let text = field(&status, "VmHWM").and_then(|text| text.strip_suffix(" kB"));
    text.expect("the process lives").trim().parse().expect("VmHWM is a number")
}

/// What a process has used of the processors so far, its children not counted.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(proc(pid, "stat")).expect("the process lives");
    // proc_pid_stat(5): the name is in brackets and may hold anything; utime and stime are fields 14 and 15, in ticks.
    let (_, after_name) = stat.rsplit_once(") ").expect("stat has a name");
    let ticks =
        after_name.split(' ').skip(11).take(2).map(|text| text.parse::<u64>().expect("ticks are numbers"));
    // Linux reports in hundredths of a second whatever its own clock.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(proc(pid, "fd")).expect("the process lives and is ours").count()
}

/// Sends a signal to one process; that it may be gone already is part of the game.
pub(crate) fn send(pid: i32, signal: i32) {
    assert!(pid > 1, "{pid} is no process to be signalled");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

/// Whether this user and machine let us make a PID namespace, in which a test can be PID 1; says so where not.
pub(crate) fn can_make_pid_namespaces() -> bool {
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(pid_namespace_flags()).arg("true");
    let possible = unshare.output().is_ok_and(|output| output.status.success());
    if !possible {
        eprintln!("skipped: this user cannot make a PID namespace here");
    }
    possible
}

/// For unshare(1); a user other than root needs a user namespace around it.
pub(super) fn pid_namespace_flags() -> Vec<&'static str> {
    let mut flags = vec!["--pid", "--fork", "--mount-proc", "--kill-child"];
    if !nix::unistd::geteuid().is_root() {
        flags.extend(["--user", "--map-root-user"]);
    }
    flags
}

/// Looks until it finds: for facts of which nobody tells us. At the deadline `seen` says what there is instead.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>, seen: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "within {PATIENCE:?} not seen: {what}\n{}", seen());
        thread::sleep(Duration::from_millis(5));
    }
}

fn everybody() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn proc(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Empty where there is no such process (any more).
fn status(pid: i32) -> String {
    fs::read_to_string(proc(pid, "status")).unwrap_or_default()
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

/// The words of a process's command, with blanks between them.
pub(super) fn command_line(pid: i32) -> String {
    let words = fs::read(proc(pid, "cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
}
