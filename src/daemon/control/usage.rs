//! What whole instances use of the machine: a leader, its process group, what descends from them, and what of it became
//! our child because its parents died.
//!
//! Read from /proc in one pass over all processes, and kept for a moment: whoever asks a thousand times a second is told
//! the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use tokio::sync::Notify;

use crate::api::Status;

use super::super::proc;

/// What is known of the instances, and since when.
#[derive(Debug)]
pub(super) struct Usage {
    us: i32,
    page: u64,
    ticks_per_second: u64,
    seen: RefCell<HashMap<i32, Seen>>,
    look: Cell<Look>,
    /// Rung at the end of each look.
    seen_anew: Notify,
    /// The marks of leaders and adopted children; a process has the same for life.
    marks: RefCell<HashMap<Born, Option<Vec<u8>>>>,
}

/// When somebody looked.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// Not yet.
    Never,
    /// Now; whether anything was seen before.
    Now(Before),
    /// Then.
    At(Instant),
}

#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Something,
}

/// What one instance uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Whether its leader was there.
    met: bool,
    rss_pages: u64,
    cpu_ticks: u64,
    suspended: bool,
}

/// Which process for good: its pid, and its start in clock ticks since boot.
type Born = (i32, u64);

/// The part of `/proc/PID/stat` that matters here (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    state: u8,
    parent: i32,
    group: i32,
    /// Its own, and that of the children that it has waited for.
    cpu_ticks: u64,
    start: u64,
    rss_pages: u64,
}

/// For so long what was seen is told again.
const FRESH: Duration = Duration::from_millis(500);

/// ... and for so long where somebody was born since: while a thousand are started, /proc is not read a thousand times.
const FRESH_WITHOUT_SOME: Duration = Duration::from_millis(100);

/// Whoever asks first waits so long for an answer that has these numbers: a look at a thousand processes takes 15 ms.
const UNTIL_SEEN_FIRST: Duration = Duration::from_secs(1);

/// Whoever asks later waits so long for newer ones, and then gets the old ones.
const UNTIL_SEEN_ANEW: Duration = Duration::from_millis(4);

/// So many processes are looked at before others have their turn: half a millisecond.
const AT_A_TIME: usize = 32;

impl Usage {
    pub(super) fn new() -> Rc<Usage> {
        // Both are there on every Linux; the fallbacks are what nearly every Linux says.
        let ask = |what, usual| {
            let answer = sysconf(what).ok().flatten();
            answer.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(usual)
        };
        Rc::new(Usage {
            us: std::process::id().try_into().unwrap_or(0),
            page: ask(SysconfVar::PAGE_SIZE, 4096),
            ticks_per_second: ask(SysconfVar::CLK_TCK, 100),
            seen: RefCell::default(),
            look: Cell::new(Look::Never),
            seen_anew: Notify::new(),
            marks: RefCell::default(),
        })
    }

    /// Adds what is known to a status. Where there is no leader, nothing is.
    pub(super) async fn add_to(self: &Rc<Self>, status: &mut Status) {
        let leaders: Vec<i32> =
            status.processes.iter().filter_map(|process| Some(process.pid?.raw())).collect();
        let seen_anew = self.seen_anew.notified();
        if !self.is_fresh(&leaders) {
            let before = match self.look.get() {
                Look::Never => Some(Before::Nothing),
                Look::At(_) => Some(Before::Something),
                Look::Now(_) => None,
            };
            if let Some(before) = before {
                self.look.set(Look::Now(before));
                tokio::task::spawn_local(Rc::clone(self).look(leaders));
            }
        }
        let patience = match self.look.get() {
            Look::Now(Before::Nothing) => UNTIL_SEEN_FIRST,
            Look::Now(Before::Something) => UNTIL_SEEN_ANEW,
            Look::Never | Look::At(_) => Duration::ZERO,
        };
        if !patience.is_zero() {
            // Whoever will not wait for the new is told the old.
            let _ = tokio::time::timeout(patience, seen_anew).await;
        }
        let seen = self.seen.borrow();
        for process in &mut status.processes {
            let seen = process.pid.and_then(|pid| seen.get(&pid.raw())).filter(|seen| seen.met);
            let Some(seen) = seen else { continue };
            process.rss_bytes = Some(seen.rss_pages * self.page);
            process.cpu_ms = Some(seen.cpu_ticks * 1000 / self.ticks_per_second);
            process.suspended = seen.suspended;
        }
    }

    fn is_fresh(&self, leaders: &[i32]) -> bool {
        let seen = self.seen.borrow();
        let all_seen = leaders.iter().all(|leader| seen.contains_key(leader));
        let fresh = if all_seen { FRESH } else { FRESH_WITHOUT_SOME };
        match self.look.get() {
            Look::Never | Look::Now(_) => false,
            Look::At(when) => when.elapsed() < fresh,
        }
    }

    /// One pass over all processes, some at a time: whoever asks for something else meanwhile is answered.
    async fn look(self: Rc<Self>, leaders: Vec<i32>) {
        let mut everybody = BTreeMap::new();
        // Whoever only looks is told less where something is short.
        for some in proc::pids().unwrap_or_default().chunks(AT_A_TIME) {
            everybody.extend(some.iter().filter_map(|pid| Some((*pid, Stat::of(*pid)?))));
            tokio::task::yield_now().await;
        }
        let known = self.marks.take();
        let mut marks = HashMap::new();
        let seen = measure(&everybody, &leaders, self.us, |stat| {
            let born = (stat.pid, stat.start);
            let mark = known
                .get(&born)
                .cloned()
                .unwrap_or_else(|| proc::variable(stat.pid, MARK).unwrap_or_default());
            // Between fork and exec a process has our environment, and another one in a moment.
            if mark.is_some() {
                marks.insert(born, mark.clone());
            }
            mark
        });
        self.seen.replace(seen);
        self.marks.replace(marks);
        self.look.set(Look::At(Instant::now()));
        self.seen_anew.notify_waiters();
    }
}

/// Marks the descendants of an instance.
const MARK: &str = "SUPERVISE_INSTANCE";

/// What each leader's instance uses.
fn measure(
    everybody: &BTreeMap<i32, Stat>,
    leaders: &[i32],
    us: i32,
    mut mark: impl FnMut(&Stat) -> Option<Vec<u8>>,
) -> HashMap<i32, Seen> {
    let mut seen: HashMap<i32, Seen> = leaders.iter().map(|leader| (*leader, Seen::default())).collect();
    let mut owners: HashMap<i32, Option<i32>> =
        leaders.iter().map(|leader| (*leader, Some(*leader))).collect();
    // Children of ours that are no leaders: theirs whose mark they have. Mostly there are none, and nobody's mark is read.
    let is_adopted = |stat: &&Stat| stat.parent == us && !seen.contains_key(&stat.pid);
    let adopted: Vec<&Stat> = everybody.values().filter(is_adopted).collect();
    if adopted.iter().any(|stat| !seen.contains_key(&stat.group)) {
        let of_leaders = leaders.iter().filter_map(|leader| Some((mark(everybody.get(leader)?)?, *leader)));
        let by_mark: HashMap<Vec<u8>, i32> = of_leaders.collect();
        for stat in adopted.into_iter().filter(|stat| !seen.contains_key(&stat.group)) {
            let owner = mark(stat).and_then(|mark| by_mark.get(&mark).copied());
            owners.insert(stat.pid, owner);
        }
    }
    for stat in everybody.values() {
        let Some(leader) = owner(stat, everybody, &mut owners, &seen) else { continue };
        let Some(instance) = seen.get_mut(&leader) else { continue };
        instance.rss_pages += stat.rss_pages;
        instance.cpu_ticks += stat.cpu_ticks;
        if stat.pid == leader {
            instance.met = true;
            instance.suspended = stat.state == b'T';
        }
    }
    seen
}

/// Whose a process is: its group's leader's, or whose its parent is, however far up.
fn owner(
    stat: &Stat,
    everybody: &BTreeMap<i32, Stat>,
    owners: &mut HashMap<i32, Option<i32>>,
    leaders: &HashMap<i32, Seen>,
) -> Option<i32> {
    let mut line = Vec::new();
    let mut at = Some(stat);
    let found = loop {
        // Above the first process there is none, and /proc may show a circle that never was.
        let Some(stat) = at.filter(|stat| !line.contains(&stat.pid)) else { break None };
        if let Some(owner) = owners.get(&stat.pid) {
            break *owner;
        }
        if leaders.contains_key(&stat.group) {
            line.push(stat.pid);
            break Some(stat.group);
        }
        line.push(stat.pid);
        at = everybody.get(&stat.parent);
    };
    owners.extend(line.into_iter().map(|pid| (pid, found)));
    found
}

impl Stat {
    fn of(pid: i32) -> Option<Stat> {
        let mut line = [0; 1024];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        // The kernel makes it up at once; it is shorter than this.
        let length = file.read(&mut line).ok()?;
        Stat::parse(pid, &line[..length])
    }

    fn parse(pid: i32, line: &[u8]) -> Option<Stat> {
        // The name may contain anything, blanks and parentheses too; nothing after it does.
        let close = memchr::memrchr(b')', line)?;
        let mut fields = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
        // As numbered in proc(5).
        let state = *fields.next()?.as_bytes().first()?; // 3
        let parent = fields.next()?.parse().ok()?; // 4
        let group = fields.next()?.parse().ok()?; // 5
        let mut cpu_ticks = 0;
        for time in [fields.nth(8)?, fields.next()?, fields.next()?, fields.next()?] {
            // 14 to 17; of children the kernel may say less than nothing.
            cpu_ticks += time.parse().unwrap_or(0);
        }
        let start = fields.nth(4)?.parse().ok()?; // 22
        let rss_pages = fields.nth(1)?.parse().unwrap_or(0); // 24
        Some(Stat { pid, state, parent, group, cpu_ticks, start, rss_pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes: pid, parent, group. Each uses its own number of pages and ticks.
    fn machine(processes: &[(i32, i32, i32)]) -> BTreeMap<i32, Stat> {
        let stat = |&(pid, parent, group): &(i32, i32, i32)| {
            let used = u64::try_from(pid).expect("pids are positive");
            Stat { pid, state: b'S', parent, group, cpu_ticks: used, start: used, rss_pages: used }
        };
        processes.iter().map(stat).map(|stat| (stat.pid, stat)).collect()
    }

    fn look_at(leader: i32) -> Seen {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let usage = Usage::new();
        runtime.block_on(Rc::clone(&usage).look(vec![leader]));
        usage.seen.borrow()[&leader]
    }

    const US: i32 = 2;

    fn pages(processes: &[(i32, i32, i32)], leaders: &[i32], marks: &[(i32, &str)]) -> Vec<u64> {
        let mark = |stat: &Stat| {
            marks.iter().find(|(pid, _)| *pid == stat.pid).map(|(_, mark)| mark.as_bytes().to_vec())
        };
        let seen = measure(&machine(processes), leaders, US, mark);
        leaders.iter().map(|leader| seen[leader].rss_pages).collect()
    }

    #[test]
    fn an_instance_is_its_leader_its_group_and_whatever_descends_from_them() {
        let processes = [
            (1, 0, 1),
            (US, 1, US),
            (10, US, 10),
            (20, US, 20),
            // A child, a grandchild in a session of its own, and its child.
            (100, 10, 10),
            (1_000, 100, 1_000),
            (10_000, 1_000, 1_000),
            // Somebody else's.
            (7, 1, 7),
        ];
        assert_eq!(pages(&processes, &[10, 20], &[]), [11_110, 20]);
    }

    #[test]
    fn what_became_our_child_belongs_to_whom_its_group_or_its_mark_says() {
        let processes = [
            (1, 0, 1),
            (US, 1, US),
            (10, US, 10),
            (20, US, 20),
            // Of the first by its group; of the second by its mark, with a child; of nobody; of one that is gone.
            (100, US, 10),
            (200, US, 200),
            (2_000, 200, 200),
            (5, US, 5),
            (6, US, 6),
        ];
        let marks = [(10, "run-1"), (20, "run-2"), (200, "run-2"), (6, "run-3")];
        assert_eq!(pages(&processes, &[10, 20], &marks), [110, 2_220]);
    }

    #[test]
    fn parents_in_a_circle_belong_to_nobody() {
        assert_eq!(pages(&[(10, US, 10), (30, 31, 30), (31, 30, 30)], &[10], &[]), [10]);
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let mut line =
            b"42 (a) b (c) T 1 40 39 0 -1 4194560 0 0 0 0 3 4 5 -6 20 0 2 0 987654 1000 77 9\n".to_vec();
        let stat =
            Stat { pid: 42, state: b'T', parent: 1, group: 40, cpu_ticks: 12, start: 987_654, rss_pages: 77 };
        assert_eq!(Stat::parse(42, &line), Some(stat));
        line.truncate(40);
        assert_eq!(Stat::parse(42, &line), None);
    }

    #[test]
    fn we_ourselves_use_memory() {
        let us = i32::try_from(std::process::id()).expect("a pid fits");
        let seen = look_at(us);
        assert!(seen.rss_pages > 0 && seen.met, "{seen:?}");
        assert!(!seen.suspended);
    }

    #[test]
    fn a_child_in_a_session_of_its_own_counts_and_a_stopped_leader_is_suspended() {
        use std::os::unix::process::CommandExt;
        use std::process::Command;
        let mut leader = Command::new("sh");
        leader.args(["-c", "setsid sleep 1000 & echo $!; exec sleep 1000"]).process_group(0);
        let mut leader = leader.stdout(std::process::Stdio::piped()).spawn().expect("there is a shell");
        let mut said = String::new();
        let out = leader.stdout.as_mut().expect("it was piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).expect("it says its child");
        let child: i32 = said.trim().parse().expect("a pid");
        let pid = i32::try_from(leader.id()).expect("a pid fits");
        let look = || (look_at(pid), Stat::of(pid).map_or(0, |stat| stat.rss_pages));
        let until = |what: &str, so: &dyn Fn((Seen, u64)) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !so(look()) {
                assert!(Instant::now() < deadline, "{what}: {:?}", look());
                std::thread::yield_now();
            }
        };
        until("both count", &|(seen, alone)| alone > 0 && seen.rss_pages > alone && !seen.suspended);
        let send = |pid, signal| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it is ours");
        };
        send(pid, nix::sys::signal::SIGSTOP);
        until("it is suspended", &|(seen, _)| seen.suspended);
        send(child, nix::sys::signal::SIGKILL);
        leader.kill().expect("it is ours");
        leader.wait().expect("it is ours");
        assert!(!look().0.met);
    }
}
