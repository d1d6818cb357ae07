//! Killed at every single system call, or refused it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rig::{Rig, cannot};

/// So many are tried at the same time.
const AT_ONCE: u32 = 4;

/// A system call of a run: its name, and which one with that name it is.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    count: u32,
}

/// Runs `release create` under strace; whether it came to its end.
fn create(rig: &Rig, strace: &[&str]) -> bool {
    let ours = rig.command(&rig.state(), &["release", "create"]);
    let status = Command::new("strace")
        .args(["-f", "-qq"])
        .args(strace)
        // Without git: what it does is its own, and it writes nothing.
        .args(["-E", "PATH=/nonexistent"])
        .arg(ours.get_program())
        .args(ours.get_args())
        .current_dir(rig.app())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it was found before");
    status.success()
}

/// What happens at a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kill,
    /// It fails with this error.
    Refusal(&'static str),
}

fn create_until(rig: &Rig, call: &Call, fate: Fate) -> bool {
    let fate = match fate {
        Fate::Kill => "signal=KILL".to_owned(),
        Fate::Refusal(error) => format!("error={error}"),
    };
    create(rig, &["-o", "/dev/null", &format!("--inject={}:{fate}:when={}", call.name, call.count)])
}

/// Every call of a whole run from the first on that has to do with the store.
fn calls(rig: &Rig) -> Vec<Call> {
    let trace = rig.directory.join("trace");
    assert!(create(rig, &["-o", trace.to_str().expect("it is UTF-8")]), "nobody kills it");
    let text = std::fs::read_to_string(trace).expect("strace wrote it");
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut calls = Vec::new();
    let state = rig.state().display().to_string();
    let mut begun = false;
    // `123 openat(AT_FDCWD, ...`; who else there is only looked for git.
    let pid = text.split(' ').next().expect("there is a line");
    for line in text.lines().filter_map(|line| Some(line.strip_prefix(pid)?.trim_start())) {
        let Some((name, arguments)) = line.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry(name).or_default();
        *count += 1;
        begun |= arguments.contains(&state) && name != "execve";
        if begun {
            calls.push(Call { name: name.to_owned(), count: *count });
        }
    }
    calls
}

fn can_trace() -> bool {
    let seen = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let can = seen.is_ok_and(|status| status.success());
    if !can {
        cannot("strace is not there, or may not trace (`.ci/install-apps` installs it)");
    }
    can
}

/// Kills it at every call, each time in a store of its own; `look` gets what is left.
fn every_call(prepare: impl Fn(&Rig) + Sync, look: impl Fn(&Rig, &Call, bool) + Sync) {
    let (calls, kills) = every_call_of(|_| true, Fate::Kill, prepare, look);
    assert!(kills > 100 && kills + 5 > calls, "{kills} kills at {calls} calls");
    eprintln!("killed at each of {kills} system calls");
}

/// The same with any fate and only some calls: how many there were, and after how many of them it did not come to its end.
fn every_call_of(
    is_meant: impl Fn(&Call) -> bool,
    fate: Fate,
    prepare: impl Fn(&Rig) + Sync,
    look: impl Fn(&Rig, &Call, bool) + Sync,
) -> (usize, usize) {
    let rig = Rig::new();
    prepare(&rig);
    let mut calls = calls(&rig);
    calls.retain(is_meant);
    let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let rig = Rig::new();
                    prepare(&rig);
                    let completed = create_until(&rig, call, fate);
                    kills.fetch_add(usize::from(!completed), Ordering::Relaxed);
                    look(&rig, call, completed);
                }
            });
        }
    });
    (calls.len(), kills.into_inner())
}

#[test]
fn whoever_is_killed_at_any_system_call_of_the_first_release_leaves_a_store_that_goes_on() {
    if !can_trace() {
        return;
    }
    every_call(
        |_| (),
        |rig, call, completed| {
            let before = rig.listing(&rig.state()).kept.len();
            assert!(before <= 1 && (before == 1 || !completed), "call {call:?}: {before}");
            rig.create();
            assert_eq!(rig.listing(&rig.state()).kept.len(), before + 1, "call {call:?}");
            nothing_unfinished(rig, call);
        },
    );
}

#[test]
fn whoever_is_killed_at_any_system_call_of_a_later_release_has_not_touched_the_earlier_one() {
    if !can_trace() {
        return;
    }
    every_call(
        |rig| {
            let first = rig.create().kept.number();
            rig.store().commit(first).expect("it is there");
            rig.file("lib/code", "2");
        },
        |rig, call, completed| {
            let kept = rig.listing(&rig.state()).kept;
            assert!((1..=2).contains(&kept.len()) && (kept.len() == 2 || !completed), "call {call:?}");
            let current = rig.store().deployed().expect("it is readable").current;
            assert_eq!(current, Some(kept[0].number()), "call {call:?}");
            assert_eq!(kept[0].number().to_string(), "v1", "call {call:?}");
            let next = rig.create().kept.number().to_string();
            assert_eq!(next, format!("v{}", kept.len() + 1), "call {call:?}");
            nothing_unfinished(rig, call);
        },
    );
}

/// Calls that change something on a disk, or make sure that it is there.
const WRITES: [&str; 17] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "ftruncate",
    "copy_file_range",
    "symlinkat",
    "flock",
];

#[test]
fn fault_19_whatever_of_a_release_cannot_be_written_no_half_of_it_is_kept() {
    if !can_trace() {
        return;
    }
    for error in ["ENOSPC", "EIO"] {
        let (calls, refused) = every_call_of(
            |call| WRITES.contains(&call.name.as_str()),
            Fate::Refusal(error),
            |rig| {
                rig.create();
                rig.file("lib/code", "2");
            },
            |rig, call, completed| {
                // Each that is there is whole.
                let kept = rig.listing(&rig.state()).kept.len();
                assert!(
                    (1..=2).contains(&kept) && (kept == 2 || !completed),
                    "{error}, call {call:?}: {kept}"
                );
                rig.file("lib/code", "3");
                rig.create();
                assert_eq!(rig.listing(&rig.state()).kept.len(), kept + 1, "{error}, call {call:?}");
                nothing_unfinished(rig, call);
            },
        );
        assert!(refused > 10, "{error}: {refused} of {calls}");
        eprintln!("{error}: not made after {refused} of {calls} refusals");
    }
}

fn nothing_unfinished(rig: &Rig, call: &Call) {
    for directory in ["", "releases", "builds"] {
        let names = rig.state().join(directory).read_dir().expect("it is there");
        let names: Vec<_> = names.map(|entry| entry.expect("readable").file_name()).collect();
        let left = names.iter().find(|name| name.to_string_lossy().starts_with('.'));
        assert_eq!(left, None, "call {call:?}: {names:?}");
    }
}
