//! What /proc tells of other processes (proc(5)). Every answer may be out of date when it arrives.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use memchr::memmem;
use nix::errno::Errno;

use crate::api::{Pid, Process};

/// The part of `/proc/PID/stat` that says who belongs to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) name: String,
    state: u8,
    /// A process whose first thread has ended while others live is shown as a zombie, too.
    threads: u32,
    pub(super) parent: i32,
    pub(super) group: i32,
    session: i32,
    /// As the kernel has them (sched.h).
    flags: u32,
    /// In clock ticks since boot: with the pid it names a process for good.
    pub(super) start: u64,
}

impl Stat {
    /// The process, `None` where there is none or nothing is to be seen of it, now.
    pub(super) fn of(pid: i32) -> Option<Stat> {
        Stat::look(pid).unwrap_or_default()
    }

    /// The same, for whoever must not take a process for gone that cannot be seen for now.
    ///
    /// # Errors
    /// The system is [short](Short) of something.
    pub(super) fn look(pid: i32) -> Result<Option<Stat>, Short> {
        Ok(read(&format!("/proc/{pid}/stat"))?.and_then(|text| Stat::parse(&text)))
    }

    pub(super) fn parse(text: &[u8]) -> Option<Stat> {
        // The name may contain anything, blanks and parentheses too; nothing after it does.
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(&text[..open]).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(&text[open + 1..close]).into_owned();
        let mut fields = std::str::from_utf8(&text[close + 1..]).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // Fields 9, 20 and 22 of the line, and the session was the sixth.
        let flags = fields.nth(2)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        Some(Stat { pid, name, state, threads, parent, group, session, flags, start })
    }

    /// Whether it is more than a zombie.
    pub(super) fn alive(&self) -> bool {
        match self.state {
            b'X' | b'x' => false,
            b'Z' => self.threads > 1,
            _ => true,
        }
    }

    /// Whether a signal is its end: the kernel takes it apart, or has.
    pub(super) fn killed(&self) -> bool {
        /// `PF_SIGNALED`: killed by a signal.
        const SIGNALED: u32 = 0x400;
        self.flags & SIGNALED != 0
    }

    /// Whether both are the same process, not only the same number.
    pub(super) fn is(&self, other: &Stat) -> bool {
        self.pid == other.pid && self.start == other.start
    }

    /// Whether it leads a group in a session of somebody else's and none of these is its parent: a process that a
    /// supervisor started.
    pub(super) fn led_a_group(&self, others: &[i32]) -> bool {
        self.group == self.pid && self.session != self.pid && !others.contains(&self.parent)
    }

    pub(super) fn process(&self) -> Option<Process> {
        Some(Process { pid: Pid::new(self.pid)?, name: self.name.clone() })
    }
}

/// The system has no descriptor or memory for us to look into /proc: nothing is known, and it may be otherwise in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(pub(super) Errno);

impl Short {
    /// The shortage that an error tells of, if it does.
    pub(super) fn of(errno: Errno) -> Option<Short> {
        let short = matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN);
        short.then_some(Short(errno))
    }

    /// What there is to be seen: nothing, where an error says anything but a shortage.
    pub(super) fn or_nothing<T>(result: io::Result<T>) -> Result<Option<T>, Short> {
        match result {
            Ok(seen) => Ok(Some(seen)),
            Err(error) => {
                let errno = error.raw_os_error().map(Errno::from_raw);
                errno.and_then(Short::of).map_or(Ok(None), Err)
            }
        }
    }
}

/// Every process there is.
///
/// # Errors
/// The system is short of something.
pub(super) fn everybody() -> Result<Vec<Stat>, Short> {
    pids()?.into_iter().map(Stat::look).filter_map(Result::transpose).collect()
}

/// The number of every process there is.
///
/// # Errors
/// The system is short of something.
pub(super) fn pids() -> Result<Vec<i32>, Short> {
    let mut pids = Vec::new();
    if !shows_us() {
        return Ok(pids);
    }
    for entry in Short::or_nothing(fs::read_dir("/proc"))?.into_iter().flatten() {
        let entry = Short::or_nothing(entry)?;
        pids.extend(entry.and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// The pid namespace that we live in: numbers of processes mean something only there. 0 where /proc does not tell.
pub(super) fn pid_namespace() -> u64 {
    // `pid:[4026531836]` (namespaces(7)).
    let target = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits: String = target.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Our own children, dead and adopted ones included.
///
/// # Errors
/// The system is short of something.
pub(super) fn children() -> Result<Vec<i32>, Short> {
    let us = std::process::id();
    // Whoever is adopted becomes the child of our first thread that lives: the main one (exit.c, find_new_reaper).
    if let Some(list) = read(&format!("/proc/self/task/{us}/children"))? {
        let list = String::from_utf8_lossy(&list);
        return Ok(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect());
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let ours = everybody()?.into_iter().filter(|stat| u32::try_from(stat.parent) == Ok(us));
    Ok(ours.map(|stat| stat.pid).collect())
}

/// The value of a variable in the environment that a process was started with, where it is to be seen.
///
/// # Errors
/// The system is short of something.
pub(super) fn variable(pid: i32, name: &str) -> Result<Option<Vec<u8>>, Short> {
    let environment = read(&format!("/proc/{pid}/environ"))?;
    Ok(environment.and_then(|environment| value(&environment, name).map(<[u8]>::to_vec)))
}

/// The value of a variable among `NAME=value` pairs, each with a NUL behind it.
pub(super) fn value<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // Every process of the machine is asked at a start, and hardly any has it: to search for the name is faster than to
    // look for the end of each pair.
    let begins = |at: &usize| *at == 0 || environment[*at - 1] == 0;
    memmem::find_iter(environment, name).filter(begins).find_map(|at| {
        let rest = environment[at..].strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        rest.split(|byte| *byte == 0).next()
    })
}

/// The signals that a process has handlers for, signal N in bit N - 1.
pub(super) fn caught_signals(pid: Pid) -> Option<u64> {
    let status = read(&format!("/proc/{pid}/status")).ok()??;
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Whether a process has this socket open.
pub(super) fn has_socket(pid: i32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str().as_bytes() == wanted.as_bytes())
}

/// Whether /proc is there and is that of our own pid namespace. After `unshare --pid` without `--mount-proc` it is another's,
/// and every number in it means somebody else.
pub(super) fn shows_us() -> bool {
    static SHOWS_US: OnceLock<()> = OnceLock::new();
    if SHOWS_US.get().is_some() {
        return true;
    }
    // It names the reader by its number in the namespace of the mount (proc(5)).
    let us = fs::read_link("/proc/self").ok();
    let shows_us = us.and_then(|us| us.to_str()?.parse().ok()) == Some(std::process::id());
    if shows_us {
        // Kept only then: a link that could not be read for now shall not make us blind for good.
        SHOWS_US.get_or_init(|| ());
    }
    shows_us
}

/// A whole file of a process, where /proc is ours.
fn read(path: &str) -> Result<Option<Vec<u8>>, Short> {
    if shows_us() { Short::or_nothing(file(path)) } else { Ok(None) }
}

/// A whole file of /proc. They say that they are empty, so std would ask for a few bytes at a time; each of them
/// fits a page but for large environments, many children and many mounts.
///
/// # Errors
/// The system's.
pub(super) fn file(path: &str) -> io::Result<Vec<u8>> {
    /// A page, as the kernel makes these files up.
    const PAGE: usize = 4096;
    let mut file = File::open(path)?;
    let mut text = vec![0; PAGE];
    let mut filled = 0;
    loop {
        match file.read(&mut text[filled..])? {
            0 => break,
            count => filled += count,
        }
        if filled == text.len() {
            text.extend_from_slice(&[0; PAGE]);
        }
    }
    text.truncate(filled);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_read_whole() {
        let mut line = b"42 (a) b (c) S 1 40 39 0 -1 4194560".to_vec();
        line.extend_from_slice(b" 1 2 3 4 5 6 7 8 20 0 2 0 987654 1 2 3\n");
        let stat = Stat::parse(&line).expect("a stat line");
        assert_eq!(
            (stat.name.as_str(), stat.state, stat.threads, stat.parent, stat.group, stat.start),
            ("a) b (c", b'S', 2, 1, 40, 987_654)
        );
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"MY_A=1\0AB=2\0B=A=3\0A=4=5\0C=\0A=6\0";
        assert_eq!(value(environment, "A"), Some(&b"4=5"[..]));
        assert_eq!(value(environment, "C"), Some(&b""[..]));
        assert_eq!(value(environment, "MY_A"), Some(&b"1"[..]));
        assert_eq!(value(environment, "Y_A"), None);
        assert_eq!(value(b"A", "A"), None);
    }

    #[test]
    fn a_zombie_is_dead_unless_other_threads_of_it_live() {
        let line = |state: &str, threads: u32| {
            let text = format!("42 (a) {state} 1 40 39 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 9 1\n");
            Stat::parse(text.as_bytes()).expect("a stat line").alive()
        };
        assert_eq!([line("S", 1), line("Z", 1), line("Z", 2), line("X", 0)], [true, false, true, false]);
    }

    #[test]
    fn who_is_being_killed_is_told_by_its_flags() {
        // One of each from a machine: asleep, killed with SIGKILL, ended by itself.
        let killed = |flags: u32| {
            let text = format!("42 (a) S 1 40 39 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 1 0 9 1\n");
            Stat::parse(text.as_bytes()).expect("a stat line").killed()
        };
        assert_eq!([killed(4_194_304), killed(4_195_588), killed(4_194_316)], [false, true, false]);
    }

    #[test]
    fn we_find_ourselves() {
        let us = Stat::of(std::process::id().try_into().expect("a pid fits")).expect("we are there");
        assert!(us.alive() && us.start > 0);
        assert!(everybody().expect("nothing is short").iter().any(|stat| *stat == us || stat.pid == us.pid));
    }
}
