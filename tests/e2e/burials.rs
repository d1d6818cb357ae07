//! Many ends at once, and ends at the worst moment: how often it is looked for orphans, and that none is missed.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::harness::{Caller, Judge, Run, Supervise, Verdict, can_judge, eventually, is_alive, send};

/// Counts how often we look at the list of all our children.
fn counting(looks: &Arc<AtomicUsize>) -> Judge {
    let looks = Arc::clone(looks);
    Judge::new(&[libc::SYS_openat], move |call| {
        if call.caller == Caller::Loop && call.path().ends_with("/children") {
            looks.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Go
    })
}

const MANY: usize = 40;

/// Kills the leader of every instance while we stand still, so that we find all of them dead.
fn kill_all(run: &Run, leaders: &[i32]) {
    run.signal(libc::SIGSTOP);
    for leader in leaders {
        send(*leader, libc::SIGKILL);
    }
    let is_dead = |leader: &i32| !is_alive(*leader);
    eventually("all dead", || leaders.iter().all(is_dead).then_some(()), || run.so_far().to_string());
    run.signal(libc::SIGCONT);
}

#[test]
fn fault_28_one_look_for_orphans_does_for_all_leaders_that_have_ended() {
    if !can_judge() {
        return;
    }
    let looks = Arc::default();
    let mut run = Supervise::with("web: chaos pid up sleep 1h\n")
        .args([format!("web={MANY}")])
        .judged(counting(&looks))
        .start();
    let up = |n: usize| (1..=MANY).map(move |slot| (format!("web.{slot}"), n));
    let leaders: Vec<i32> = up(0).map(|(slot, _)| run.pid_said(&slot, "up")).collect();
    let before = looks.load(Ordering::Relaxed);
    kill_all(&run, &leaders);
    run.wait_for("everybody's second life", |seen| {
        up(1).all(|(slot, n)| seen.rests(&slot, "up ").len() > n).then_some(())
    });
    let took = looks.load(Ordering::Relaxed) - before;
    assert!((1..=4).contains(&took), "{took} looks for {MANY} ends: {}", run.so_far());
    run.is_stopped();
}

#[test]
fn fault_05_28_whoever_leaves_an_escapee_among_many_that_end_begins_again_when_it_is_gone() {
    let mut run = Supervise::with(
        "web: chaos pid up sleep 1h\n\
         job: chaos fork setsid fork on TERM sleep-then-exit 200ms 0 pid left sleep 1h end end pid up sleep 1h\n",
    )
    .args([format!("web={MANY}"), "job=5".to_owned()])
    .start();
    let slots = |name: &'static str, count: usize| (1..=count).map(move |slot| format!("{name}.{slot}"));
    let leaders: Vec<i32> =
        slots("web", MANY).chain(slots("job", 5)).map(|slot| run.pid_said(&slot, "up")).collect();
    let escapees: Vec<(String, i32)> =
        slots("job", 5).map(|slot| (slot.clone(), run.pid_said(&slot, "left"))).collect();
    kill_all(&run, &leaders);
    for (slot, escapee) in escapees {
        run.wait_for("its second life", |seen| (seen.rests(&slot, "up ").len() > 1).then_some(()));
        assert!(!is_alive(escapee), "{slot}: {}", run.so_far());
    }
    run.is_stopped();
}

#[test]
fn fault_05_who_becomes_ours_while_we_look_is_not_missed() {
    if !can_judge() {
        return;
    }
    // At each look at its parent, which is ours by then: the parent ends before we see it, and leaves it to us.
    for nth in 1..=3 {
        let (parent, child) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let judge = Judge::new(&[libc::SYS_openat], {
            let (parent, child) = (Arc::clone(&parent), Arc::clone(&child));
            let mut looks = 0;
            move |call| {
                let of = |pid: &Mutex<i32>| *pid.lock().unwrap_or_else(PoisonError::into_inner);
                let (parent, child) = (of(&parent), of(&child));
                if parent == 0 || call.caller != Caller::Loop || call.path() != format!("/proc/{parent}/stat")
                {
                    return Verdict::Go;
                }
                looks += 1;
                if looks == nth {
                    send(parent, libc::SIGKILL);
                    let status = || fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
                    let left = || (!status().contains(&format!("PPid:\t{parent}\n"))).then_some(());
                    eventually("an orphan", left, status);
                }
                Verdict::Go
            }
        });
        let mut run = Supervise::with(
            "web: chaos fork setsid fork setsid pid child sleep 1h end pid parent sleep 1h end pid up sleep 1h\n\
             calm: chaos sleep 1h\n",
        )
        .judged(judge)
        .start();
        let leader = run.pid_said("web.1", "up");
        let escapee = run.pid_said("web.1", "child");
        *child.lock().expect("nobody panics with it") = escapee;
        *parent.lock().expect("nobody panics with it") = run.pid_said("web.1", "parent");
        send(leader, libc::SIGKILL);
        run.wait_for("its second life", |seen| (seen.rests("web.1", "up ").len() > 1).then_some(()));
        assert!(!is_alive(escapee), "look {nth}: {}", run.so_far());
        *parent.lock().expect("nobody panics with it") = 0;
        run.is_stopped();
    }
}
