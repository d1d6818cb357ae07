//! What can be seen from outside at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use supervise::api::{ProcessStatus, Status};

use crate::life::Life;

/// What `ps` says and what `/proc` says.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) ps: Status,
    /// Everybody who has our mark or descends from the supervisor, itself left out.
    pub(crate) family: BTreeMap<i32, Seen>,
    pub(crate) supervisor: i32,
    /// Whose session it is, and its leaders'.
    session: i32,
    /// Descriptors of the supervisor, by what they are: `pipe`, `socket`.
    pub(crate) descriptors: BTreeMap<String, usize>,
    pub(crate) threads: usize,
    /// Whoever listens on a TCP port of this machine: the inodes of the sockets.
    pub(crate) listeners: BTreeMap<u16, Vec<u64>>,
}

/// A process as `/proc` has it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) parent: i32,
    /// `R`, `S`, `T`, `Z`.
    pub(crate) state: char,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it was started, in ticks since boot.
    pub(crate) born: u64,
    pub(crate) command: String,
    pub(crate) environment: BTreeMap<String, String>,
    /// The inodes of the sockets that it has.
    pub(crate) sockets: Vec<u64>,
}

impl Seen {
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }
}

impl Sight {
    pub(crate) fn new(life: &Life) -> Sight {
        let supervisor = life.run.pid();
        let ps = life.ps();
        let everybody = everybody();
        let mut family: BTreeMap<i32, Seen> = BTreeMap::new();
        let marked = life.run.alive().into_iter().map(|(pid, _)| pid);
        for pid in marked.chain(below(supervisor, &everybody)) {
            if let Some(seen) = look(pid) {
                family.insert(pid, seen);
            }
        }
        let links = fs::read_dir(format!("/proc/{supervisor}/fd")).into_iter().flatten().flatten();
        let mut descriptors: BTreeMap<String, usize> = BTreeMap::new();
        for target in links.filter_map(|link| fs::read_link(link.path()).ok()) {
            let target = target.to_string_lossy();
            let what = target.split_once(":[").map_or(&*target, |(what, _)| what);
            // One release is held as another is.
            let what = what.trim_end_matches(|c: char| c.is_ascii_digit());
            *descriptors.entry(what.to_owned()).or_default() += 1;
        }
        let threads = fs::read_dir(format!("/proc/{supervisor}/task")).map_or(0, Iterator::count);
        let session = look(supervisor).map_or(0, |seen| seen.session);
        Sight { ps, family, supervisor, session, descriptors, threads, listeners: listeners() }
    }

    /// The processes of the formation, without the commands that run once.
    pub(crate) fn formation(&self) -> impl Iterator<Item = &ProcessStatus> {
        self.ps.processes.iter().filter(|process| process.process_type.as_str() != "run")
    }

    /// Whether somebody leads an instance. An orphan has the same parent, and may lead a group; but never one of the
    /// supervisor's session.
    pub(crate) fn leads(&self, pid: i32, seen: &Seen) -> bool {
        (seen.parent, seen.group, seen.session) == (self.supervisor, pid, self.session)
    }

    pub(crate) fn leader(&self, process: &ProcessStatus) -> Option<(i32, &Seen)> {
        let pid = process.pid?.raw();
        Some((pid, self.family.get(&pid)?))
    }

    /// Living instances of each type: what descriptors go by.
    pub(crate) fn living(&self) -> BTreeMap<String, usize> {
        let mut living: BTreeMap<String, usize> = BTreeMap::new();
        for process in self.ps.processes.iter().filter(|process| process.pid.is_some()) {
            *living.entry(process.process_type.to_string()).or_default() += 1;
        }
        living
    }
}

/// For the message of a failed history: `ps`, in short.
impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.ps.processes {
            let suspended = if process.suspended { " suspended" } else { "" };
            let ready = if process.ready { " ready" } else { "" };
            writeln!(
                f,
                "    {:10} {}{ready}{suspended} pid {} port {} restarts {} {}",
                process.name.to_string(),
                process.state,
                process.pid.map_or(0, supervise::api::Pid::raw),
                process.port.unwrap_or(0),
                process.restarts,
                process.reason.as_deref().unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

/// Every process and its parent.
fn everybody() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").expect("proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.1[0]))).collect()
}

/// The descendants of a process.
fn below(parent: i32, everybody: &[(i32, i32)]) -> Vec<i32> {
    let children = everybody.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid);
    children.flat_map(|child| [vec![child], below(child, everybody)].concat()).collect()
}

/// Its state, its parent, group and session, and when it was started (`proc_pid_stat(5)`, fields 3 to 6 and 22).
fn stat(pid: i32) -> Option<(char, [i32; 3], u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold blanks, ends with the last bracket.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let number = |at: usize| fields[at].parse().ok();
    Some((fields[0].chars().next()?, [number(1)?, number(2)?, number(3)?], fields[19].parse().ok()?))
}

/// `None` where it is gone meanwhile.
pub(crate) fn look(pid: i32) -> Option<Seen> {
    let (state, [parent, group, session], born) = stat(pid)?;
    let text = |name| {
        fs::read(format!("/proc/{pid}/{name}")).map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let environment = text("environ").unwrap_or_default();
    let pairs = environment.split('\0').filter_map(|pair| pair.split_once('='));
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let inode = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Some(Seen {
        parent,
        group,
        session,
        state,
        born,
        command: text("cmdline").unwrap_or_default().replace('\0', " "),
        environment: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        sockets: targets.filter_map(inode).collect(),
    })
}

/// /proc/net/tcp: the second field ends with the port in hex, the fourth is 0A for who listens, the tenth is the inode.
fn listeners() -> BTreeMap<u16, Vec<u64>> {
    let mut listeners: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for line in fs::read_to_string("/proc/net/tcp").expect("proc is mounted").lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields[1].split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        if let (Some(port), "0A", Ok(inode)) = (port, fields[3], fields[9].parse()) {
            listeners.entry(port).or_default().push(inode);
        }
    }
    listeners
}
