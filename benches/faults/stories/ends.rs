//! How a formation ends.

use std::time::Duration;

use super::super::cell::{Cell, SLACK, Told, fails, within};
use super::super::proc;

/// What is asked for between TERM and KILL where a story does not need more.
const DRAIN: u64 = 3;

pub(super) fn well(cell: &Cell) -> Told {
    let entry = cell.chaos("web", 2, "say hello touch @ready sleep 1h");
    let run = cell.start(DRAIN, vec![entry])?;
    run.begun(&["ready"])?;
    run.counted(2)?;
    if !run.hears("hello", SLACK) {
        return fails("its line did not come out");
    }
    run.signal(libc::SIGTERM);
    run.ends_clean(SLACK)
}

pub(super) fn deaf(cell: &Cell) -> Told {
    let deaf = cell.chaos("deaf", 1, "ignore TERM touch @deaf sleep 1h");
    let run = cell.start(DRAIN, vec![deaf, cell.chaos("plain", 1, "touch @plain sleep 1h")])?;
    run.begun(&["deaf", "plain"])?;
    run.signal(libc::SIGTERM);
    if within(SLACK, || run.with("@plain").is_empty()).is_none() {
        return fails("the other child was not stopped");
    }
    let drain = cell.peer.drain(Duration::from_secs(DRAIN));
    run.ends_clean(drain + SLACK)
}

pub(super) fn slow(cell: &Cell) -> Told {
    let slow = cell.chaos("slow", 1, "on TERM sleep-then-say 6s bye touch @slow sleep 1h");
    let run = cell.start(10, vec![slow, cell.chaos("plain", 1, "touch @plain sleep 1h")])?;
    run.begun(&["slow", "plain"])?;
    run.signal(libc::SIGTERM);
    let gone = within(Duration::from_secs(15), || run.with("/slow").is_empty());
    run.heard();
    match gone {
        None => return fails("it was not stopped"),
        Some(time) if !run.listener.contains(b"bye") => {
            return fails(format!("killed after {:.0} s though it had 10", time.as_secs_f64()));
        }
        Some(_) => {}
    }
    match run.ends_within(SLACK) {
        Some(_) => run.ends_clean(SLACK),
        None => fails("still there when everything had ended"),
    }
}

pub(super) fn member(cell: &Cell) -> Told {
    let verbs = "fork ignore TERM touch @member sleep 1h end touch @leader sleep 1h";
    let run = cell.start(DRAIN, vec![cell.chaos("web", 1, verbs)])?;
    run.begun(&["member", "leader"])?;
    run.signal(libc::SIGTERM);
    run.ends_clean(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK)
}

pub(super) fn escapee(cell: &Cell) -> Told {
    let verbs = "fork setsid fork touch @daemon sleep 1h end end reap touch @leader sleep 1h";
    let run = cell.start(DRAIN, vec![cell.chaos("web", 1, verbs)])?;
    run.begun(&["daemon", "leader"])?;
    run.signal(libc::SIGTERM);
    run.ends_clean(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK)
}

pub(super) fn suspended(cell: &Cell) -> Told {
    let web = cell.chaos("web", 1, "on TERM sleep-then-say 10ms bye touch @web stop-self sleep 1h");
    let run = cell.start(DRAIN, vec![web, cell.chaos("plain", 1, "touch @plain sleep 1h")])?;
    run.begun(&["web", "plain"])?;
    let stands = || run.with("/web").iter().any(|pid| proc::state(*pid) == Some('T'));
    if within(SLACK, stands).is_none() {
        return fails("it was woken before the end");
    }
    run.signal(libc::SIGTERM);
    let drain = cell.peer.drain(Duration::from_secs(DRAIN));
    let ended = run.ends_clean(drain + SLACK);
    run.heard();
    ended?;
    if run.listener.contains(b"bye") { Ok(()) } else { fails("killed without having heard TERM") }
}

pub(super) fn twice(cell: &Cell) -> Told {
    let web = cell.chaos("web", 1, "on TERM sleep-then-say 2s bye touch @ready sleep 1h");
    let run = cell.start(5, vec![web])?;
    run.begun(&["ready"])?;
    run.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(500));
    run.signal(libc::SIGTERM);
    run.ends_clean(Duration::from_secs(2) + SLACK)?;
    run.heard();
    if run.listener.contains(b"bye") { Ok(()) } else { fails("the second one killed the child") }
}

pub(super) fn half_born(cell: &Cell) -> Told {
    let run = cell.start(DRAIN, vec![cell.chaos("web", 40, "sleep 1h")])?;
    run.counted(5)?;
    run.signal(libc::SIGTERM);
    // Some end 40 processes one after the other.
    run.ends_clean(Duration::from_secs(25))
}
