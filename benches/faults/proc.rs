//! Processes as /proc shows them.

use std::fs;
use std::process::Child;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// `proc_pid_stat(5)`: `R`, `S`, `Z` ...
    pub(crate) state: char,
    pub(crate) program: String,
    /// Its words, with blanks between.
    pub(crate) command: String,
}

pub(crate) fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(0)
}

/// All below this one that are not reaped yet.
pub(crate) fn below(pid: i32) -> Vec<Process> {
    let (mut found, mut next) = (Vec::new(), children(pid));
    while let Some(pid) = next.pop() {
        next.extend(children(pid));
        if let Some(state) = state(pid) {
            found.push(Process { pid, state, program: program(pid), command: command_line(pid) });
        }
    }
    found
}

pub(crate) fn children(pid: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}

pub(crate) fn program(pid: i32) -> String {
    fs::read_link(format!("/proc/{pid}/exe"))
        .map_or_else(|_| String::new(), |path| path.display().to_string())
}

pub(crate) fn command_line(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

pub(crate) fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

pub(crate) fn state(pid: i32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// User and system time.
pub(crate) fn cpu(pid: i32) -> Duration {
    let fields = stat(pid).unwrap_or_default();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    // Fields 14 and 15; a tick is 10 ms on every Linux that people run.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// The most memory that it ever had.
pub(crate) fn peak_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How many bytes it has written, ever.
pub(crate) fn written(pid: i32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let count = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

pub(crate) fn send(pid: i32, signal: i32) {
    if pid > 1 {
        // SAFETY: no memory is involved.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sets how many descriptors it may have, and gives what it was.
pub(crate) fn limit_descriptors(pid: i32, soft: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both are live structures of ours.
    unsafe {
        libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before);
        let new = libc::rlimit { rlim_cur: soft, rlim_max: before.rlim_max };
        libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut());
    }
    before.rlim_cur
}

/// From field 3 on: the name before, which may hold blanks, ends with the last bracket.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}
