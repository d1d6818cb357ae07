//! Each system call of a start, and of what goes before it, refused once: the machine is short of something at the worst
//! moment, whichever that is.
//!
//! A leader is killed, and while another comes in its place the n-th call of one kind fails with one error; then n + 1, until
//! there is no such call any more. So nobody has to know the calls, and a new one is tried by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Call, Caller, Cgroup, Judge, Run, Setup, Supervise, Verdict, can_judge, children_of, descriptors,
    eventually, is_alive, send, zombies_of,
};

/// One kind of call, and the errors that tell of a shortage.
#[derive(Clone, Copy, Debug)]
struct Kind {
    caller: Caller,
    name: &'static str,
    number: libc::c_long,
    /// Beside EMFILE, ENFILE, EAGAIN and ENOMEM.
    more: &'static [i32],
}

const fn kind(caller: Caller, name: &'static str, number: libc::c_long) -> Kind {
    Kind { caller, name, number, more: &[] }
}

/// What may be short at any call.
const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM];

/// Every kind of call that asks the system for something. Memory of our own (`mmap`, `brk`) is not among them: there is nobody
/// who could go on without.
const KINDS: [Kind; 28] = [
    kind(Caller::Loop, "openat", libc::SYS_openat),
    kind(Caller::Loop, "read", libc::SYS_read),
    kind(Caller::Loop, "pread64", libc::SYS_pread64),
    kind(Caller::Loop, "getdents64", libc::SYS_getdents64),
    kind(Caller::Loop, "readlink", libc::SYS_readlink),
    kind(Caller::Loop, "socket", libc::SYS_socket),
    kind(Caller::Loop, "setsockopt", libc::SYS_setsockopt),
    kind(Caller::Loop, "bind", libc::SYS_bind),
    Kind { more: &[libc::ENOSPC], ..kind(Caller::Loop, "epoll_ctl", libc::SYS_epoll_ctl) },
    kind(Caller::Loop, "pipe2", libc::SYS_pipe2),
    kind(Caller::Loop, "fcntl", libc::SYS_fcntl),
    kind(Caller::Loop, "clone", libc::SYS_clone),
    kind(Caller::Loop, "clone3", libc::SYS_clone3),
    kind(Caller::Loop, "pidfd_open", libc::SYS_pidfd_open),
    Kind { more: &[libc::ENOSPC], ..kind(Caller::Loop, "mkdir", libc::SYS_mkdir) },
    Kind { more: &[libc::ENOSPC], ..kind(Caller::Loop, "mkdirat", libc::SYS_mkdirat) },
    kind(Caller::Newborn, "openat", libc::SYS_openat),
    kind(Caller::Newborn, "write", libc::SYS_write),
    kind(Caller::Newborn, "setpgid", libc::SYS_setpgid),
    kind(Caller::Newborn, "prctl", libc::SYS_prctl),
    kind(Caller::Newborn, "dup2", libc::SYS_dup2),
    kind(Caller::Newborn, "prlimit64", libc::SYS_prlimit64),
    kind(Caller::Newborn, "chdir", libc::SYS_chdir),
    kind(Caller::Newborn, "rt_sigaction", libc::SYS_rt_sigaction),
    kind(Caller::Newborn, "rt_sigprocmask", libc::SYS_rt_sigprocmask),
    kind(Caller::Newborn, "execve", libc::SYS_execve),
    Kind { more: &[libc::ENOSPC], ..kind(Caller::Stream, "epoll_ctl", libc::SYS_epoll_ctl) },
    kind(Caller::Stream, "fcntl", libc::SYS_fcntl),
];

/// What is refused next, and whether it was.
#[derive(Clone, Copy, Debug)]
struct Shot {
    kind: Kind,
    errno: i32,
    /// So many calls of its kind are let through before.
    spared: usize,
    hit: Hit,
}

/// What was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    /// Nothing so far; where `always`, everything that comes.
    Never {
        always: bool,
    },
    Once,
}

/// Whether each life has a descendant that outlives it for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nobody,
    Somebody,
}

impl Shot {
    fn judge(&mut self, call: &Call) -> Verdict {
        let is_its_kind = call.number == self.kind.number && call.caller == self.kind.caller;
        if self.hit == Hit::Once || !is_its_kind || cannot_fail(call) {
            return Verdict::Go;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return Verdict::Go;
        }
        if self.hit == (Hit::Never { always: false }) {
            self.hit = Hit::Once;
        }
        Verdict::Fail(self.errno)
    }
}

/// Whether a call of ours asks the system for nothing: what is taken back, and what is read from our own counters.
fn cannot_fail(call: &Call) -> bool {
    match call.number {
        libc::SYS_epoll_ctl => call.int(1) == libc::EPOLL_CTL_DEL,
        libc::SYS_fcntl => ![libc::F_SETPIPE_SZ, libc::F_DUPFD_CLOEXEC].contains(&call.int(1)),
        libc::SYS_read => {
            let file = std::fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.int(0)));
            !file.is_ok_and(|file| file.starts_with("/proc") || file.starts_with("/sys"))
        }
        _ => false,
    }
}

/// A run in which one slot is hit again and again.
struct Range {
    run: Run,
    shot: Arc<Mutex<Option<Shot>>>,
    /// Lives of `web.1` so far.
    lives: usize,
    leaves: Leaves,
    descriptors: usize,
}

/// The slot that is hit, and one that has nothing to do with it.
fn supervise(web: &str) -> Supervise {
    // A shortage that counted as a failure would be the last straw; the kill before it is one already.
    let patience = "backoff: { first: 10ms, max: 10ms, reset_after: 1ms, give_up_after: 2 }";
    Supervise::with(format!("calm: chaos pid calm loop tick 50ms\nweb: {web} pid up sleep 1h\n"))
        .spec(&format!("defaults:\n  {patience}\n"))
}

impl Range {
    fn open(supervise: Supervise, leaves: Leaves) -> Range {
        let shot: Arc<Mutex<Option<Shot>>> = Arc::default();
        let judge = Judge::new(&KINDS.map(|kind| kind.number), {
            let shot = Arc::clone(&shot);
            move |call| {
                let mut shot = shot.lock().unwrap_or_else(PoisonError::into_inner);
                shot.as_mut().map_or(Verdict::Go, |shot| shot.judge(call))
            }
        });
        let run = supervise.judged(judge).start();
        run.pid_said("calm.1", "calm");
        let mut range = Range { run, shot, lives: 0, leaves, descriptors: 0 };
        // The second life has everything that the later ones have.
        for _ in 0..2 {
            let leader = range.next_life("the first lives");
            range.descriptors = descriptors(range.run.pid());
            send(leader, libc::SIGKILL);
        }
        range.next_life("the first lives");
        range.descriptors = descriptors(range.run.pid());
        range
    }

    /// The leader of the next life, when it is up.
    fn next_life(&mut self, what: &str) -> i32 {
        let lives = self.lives;
        let next = self.run.wait_for(what, |seen| seen.rests("web.1", "up ").into_iter().nth(lives));
        self.lives += 1;
        if self.leaves == Leaves::Somebody {
            self.run.wait_for(what, |seen| seen.rests("web.1", "left ").into_iter().nth(lives));
        }
        next.parse().expect("a pid")
    }

    fn last(&self, text: &str) -> Option<i32> {
        self.run.so_far().rests("web.1", text).last().map(|pid| pid.parse().expect("a pid"))
    }

    /// Whether there was such a call to be refused.
    fn fire(&mut self, kind: Kind, errno: i32, spared: usize) -> bool {
        let error = std::io::Error::from_raw_os_error(errno);
        let what = format!("{error} at call {} of {} by {:?}", spared + 1, kind.name, kind.caller);
        let pid = self.run.pid();
        let leader = self.last("up ").expect("it is up");
        let left = self.last("left ");
        let refusals = |run: &Run| run.so_far().events("not_started", "").len();
        let before = refusals(&self.run);
        *self.shot.lock().expect("nobody panics with it") =
            Some(Shot { kind, errno, spared, hit: Hit::Never { always: false } });
        send(leader, libc::SIGKILL);
        let next = self.next_life(&what);
        let shot = self.shot.lock().expect("nobody panics with it").take().expect("it was there");
        assert!(refusals(&self.run) <= before + 1, "{what}: said more than once: {}", self.run.so_far());
        if let Some(left) = left {
            assert!(!is_alive(left), "{what}: {left} of the life before lives on: {}", self.run.so_far());
        }
        let mut here = children_of(pid);
        here.sort_unstable();
        let calm = self.run.pid_said("calm.1", "calm");
        let as_before = || {
            let children = children_of(pid).into_iter().all(|child| [calm, next].contains(&child));
            // Without the socket that an instance may talk to, and need not, there is one less.
            (children && zombies_of(pid).is_empty() && descriptors(pid) <= self.descriptors).then_some(())
        };
        eventually(&what, as_before, || {
            format!("{:?} and {} descriptors, not {}", children_of(pid), descriptors(pid), self.descriptors)
        });
        shot.hit == Hit::Once
    }

    fn close(mut self) {
        let seen = self.run.is_stopped();
        assert!(seen.events("failed", "").is_empty(), "{seen}");
        assert_eq!(seen.events("started", "calm.1").len(), 1, "{seen}");
        assert_eq!(seen.events("started", "web.1").len(), self.lives, "{seen}");
        assert!(!seen.err_text().contains("panicked"), "{seen}");
        for notice in seen.events("not_started", "") {
            assert!(notice.number("delay_ms") >= 1000, "{}", notice.json);
        }
    }
}

/// How many runs there are at a time: most of a round is the second that a shortage makes a start wait.
const RANGES: usize = 12;

/// So many calls of a kind are refused one after the other.
const NEAR: usize = 8;

/// Every call of these kinds with every error; says which were there.
fn every_call(
    kinds: &[Kind],
    shortages: &[i32],
    leaves: Leaves,
    supervise: impl Fn() -> Supervise + Sync,
) -> BTreeSet<String> {
    let errors = |kind: &Kind| shortages.iter().chain(kind.more).copied().collect::<Vec<_>>();
    let all: Vec<(Kind, i32)> =
        kinds.iter().flat_map(|kind| errors(kind).into_iter().map(|errno| (*kind, errno))).collect();
    let todo = Mutex::new(all.into_iter());
    let hits = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..RANGES {
            scope.spawn(|| {
                let mut range = Range::open(supervise(), leaves);
                loop {
                    let next = todo.lock().expect("nobody panics with it").next();
                    let Some((kind, errno)) = next else { break };
                    let mut spared = 0;
                    while range.fire(kind, errno, spared) {
                        // Every one of the first; of those that look at everybody on this machine some.
                        spared = if spared < NEAR { spared + 1 } else { spared * 2 };
                    }
                    if spared > 0 {
                        let hit = format!("{:?} {}", kind.caller, kind.name);
                        hits.lock().expect("nobody panics with it").insert(hit);
                    }
                }
                range.close();
            });
        }
    });
    hits.into_inner().expect("nobody panics with it")
}

#[test]
fn fault_20_21_22_any_call_of_a_start_may_fail_once_and_it_is_tried_again() {
    if !can_judge() {
        return;
    }
    let hits = every_call(&KINDS, &SHORTAGES, Leaves::Nobody, || supervise("chaos"));
    let of_start = [
        "Loop bind",
        "Loop clone",
        "Loop epoll_ctl",
        "Loop pipe2",
        "Loop socket",
        "Newborn chdir",
        "Newborn dup2",
        "Newborn execve",
        "Newborn openat",
        "Newborn prctl",
        "Newborn rt_sigaction",
        "Newborn setpgid",
        "Newborn write",
        "Stream epoll_ctl",
    ];
    assert!(of_start.iter().all(|call| hits.contains(*call)), "{hits:#?}");
}

#[test]
fn fault_20_22_any_look_for_descendants_may_fail_once_and_none_is_forgotten() {
    if !can_judge() {
        return;
    }
    let looks = KINDS.into_iter().filter(|kind| {
        let is_look = ["openat", "read", "getdents64", "readlink", "pidfd_open"].contains(&kind.name);
        is_look && kind.caller == Caller::Loop
    });
    let looks: Vec<Kind> = looks.collect();
    let hits = every_call(&looks, &[libc::ENFILE, libc::ENOMEM], Leaves::Somebody, || {
        supervise("chaos fork setsid on TERM sleep-then-exit 50ms 0 pid left sleep 1h end")
    });
    let of_looks = ["Loop openat", "Loop read", "Loop getdents64", "Loop pidfd_open"];
    assert!(of_looks.iter().all(|call| hits.contains(*call)), "{hits:#?}");
}

#[test]
fn fault_20_21_22_any_call_for_a_cell_may_fail_once_and_the_instance_runs() {
    if !can_judge() {
        return;
    }
    let Some(cgroup) = Cgroup::delegated() else { return };
    let of_cells = ["openat", "clone3", "mkdir", "mkdirat"];
    let of_cells: Vec<Kind> = KINDS
        .into_iter()
        .filter(|kind| of_cells.contains(&kind.name) && kind.caller == Caller::Loop)
        .collect();
    let hits = every_call(&of_cells, &[libc::EMFILE, libc::ENOMEM], Leaves::Nobody, || {
        supervise("chaos").setup(Setup::Join(cgroup.members_fd()))
    });
    assert!(["Loop clone3", "Loop openat"].iter().all(|call| hits.contains(*call)), "{hits:#?}");
}

/// How long the machine is short of something.
const SHORT: Duration = Duration::from_secs(4);

#[test]
fn fault_20_21_22_a_shortage_that_lasts_is_tried_less_and_less_often_and_passes_by_itself() {
    if !can_judge() {
        return;
    }
    let kinds = ["pipe2", "clone", "execve", "openat"];
    let kinds: Vec<Kind> = KINDS
        .into_iter()
        .filter(|kind| {
            kinds.contains(&kind.name) && (kind.caller != Caller::Newborn || kind.name == "execve")
        })
        .collect();
    thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || {
                let mut range = Range::open(supervise("chaos"), Leaves::Nobody);
                let leader = range.last("up ").expect("it is up");
                let shot = Shot { kind, errno: libc::ENFILE, spared: 0, hit: Hit::Never { always: true } };
                *range.shot.lock().expect("nobody panics with it") = Some(shot);
                send(leader, libc::SIGKILL);
                // The input: so long nothing works.
                thread::sleep(SHORT);
                *range.shot.lock().expect("nobody panics with it") = None;
                range.next_life(kind.name);
                // The second, and the pauses that follow it, each longer than the one before.
                let said = range.run.so_far().events("not_started", "web.1");
                assert!(said.len() <= 4, "{}: {}", kind.name, range.run.so_far());
                range.close();
            });
        }
    });
}
