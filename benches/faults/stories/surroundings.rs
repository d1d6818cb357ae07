//! What a peer finds around it, hands on, and is asked to change.

use std::process::Command;
use std::time::Duration;

use memchr::memmem;

use super::super::cell::{Cell, ODD, Objection, Run, SLACK, Stage, Told, fails, within};
use super::super::peers::{Entry, Job, Restart};
use super::super::proc;

const DRAIN: u64 = 3;

pub(super) fn descriptors(cell: &Cell) -> Told {
    if !cell.peer.restarts() {
        return Err(Objection::Unable);
    }
    let web = cell.chaos("web", 1, "touch @web sleep 1h");
    let run = cell.keep(DRAIN, vec![web, cell.chaos("plain", 1, "touch @plain sleep 1h")])?;
    run.begun(&["web", "plain"])?;
    std::thread::sleep(Duration::from_millis(1500));
    let (plain, old) = (run.with("/plain"), run.with("/web"));
    let limits: Vec<(i32, u64)> =
        run.own().iter().map(|own| (own.pid, proc::limit_descriptors(own.pid, 4))).collect();
    for pid in &old {
        proc::send(*pid, libc::SIGKILL);
    }
    std::thread::sleep(Duration::from_secs(2));
    for (pid, limit) in limits {
        proc::limit_descriptors(pid, limit);
    }
    let is_back = || run.with("/web").iter().any(|pid| !old.contains(pid));
    // s6 tries again after a minute.
    let back = within(Duration::from_secs(70), is_back);
    if !run.is_alive() {
        return fails("it ended");
    }
    if back.is_none() {
        return fails("the child did not come back within 70 s");
    }
    if run.with("/plain") == plain { Ok(()) } else { fails("the other child was not left alone") }
}

pub(super) fn missing(cell: &Cell) -> Told {
    let web = Entry { name: "web", command: "/nowhere/server --port 80".to_owned(), count: 1 };
    let mut run = cell.start(DRAIN, vec![web])?;
    let said = || run.says("/nowhere/server");
    if within(2 * SLACK, said).is_none() {
        return fails("nothing names the program");
    }
    if cell.peer.stays_when_all_ended() {
        return if run.is_alive() { Ok(()) } else { fails("it ended") };
    }
    if run.ends_within(2 * SLACK).is_none() {
        return fails("still there with nothing to run");
    }
    match run.code() {
        Some(127) => Ok(()),
        Some(code) => fails(format!("code {code}, not 127")),
        None => fails("it did not end"),
    }
}

pub(super) fn clock(cell: &Cell) -> Told {
    forward(cell)?;
    for file in ["web", "plain"] {
        // Only whoever made it cares.
        let _ = std::fs::remove_file(cell.file(file));
    }
    back(cell)
}

const HOUR: i64 = 3600;

fn with_clock<'a>(cell: &'a Cell, verbs: &str, drain: u64) -> Result<Run<'a>, Objection> {
    let entries = vec![
        cell.chaos("web", 1, &format!("{verbs} touch @web sleep 1h")),
        cell.chaos("plain", 1, "touch @plain sleep 1h"),
    ];
    let job = Job { entries, restart: Restart::Never, drain: Duration::from_secs(drain) };
    let run = cell.start_as(Stage::OtherClock, &job)?;
    run.begun(&["web", "plain"])?;
    Ok(run)
}

fn forward(cell: &Cell) -> Told {
    let run = with_clock(cell, "on TERM sleep-then-say 2s bye", 5)?;
    run.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(700));
    run.set_clock(HOUR)?;
    run.ends_clean(Duration::from_secs(5) + SLACK)?;
    run.heard();
    if run.listener.contains(b"bye") { Ok(()) } else { fails("an hour forward: killed before its time") }
}

fn back(cell: &Cell) -> Told {
    let run = with_clock(cell, "ignore TERM", DRAIN)?;
    run.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(700));
    run.set_clock(-HOUR)?;
    match run.ends_clean(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK) {
        Err(Objection::Fails(seen)) => fails(format!("an hour back: {seen}")),
        told => told,
    }
}

pub(super) fn inheritance(cell: &Cell) -> Told {
    let run = cell.start(DRAIN, vec![cell.chaos("web", 1, "report sleep 1h")])?;
    if !run.hears("report=done", 2 * SLACK) {
        return fails("its lines did not come out");
    }
    let heard = String::from_utf8_lossy(&run.heard()).into_owned();
    let value = |key: &str| {
        let line = heard.lines().find_map(|line| line.split_once(key).map(|(_, value)| value));
        line.unwrap_or_default().trim().to_owned()
    };
    let signals = |key: &str| u64::from_str_radix(&value(key), 16).unwrap_or(u64::MAX);
    let mut faults = Vec::new();
    for (key, what) in [("SigIgn=", "ignores"), ("SigBlk=", "blocks")] {
        // 32 and 33 are the C library's own.
        let set = signals(key) & !(3 << 31);
        if set != 0 {
            let numbers = (1..=64).filter(|signal| set >> (signal - 1) & 1 == 1);
            let names: Vec<String> = numbers.take(4).map(name).collect();
            faults.push(format!("it {what} {}", names.join(" ")));
        }
    }
    let open = value("fds=");
    if open != "0,1,2" {
        faults.push(format!("descriptors {open}"));
    }
    if faults.is_empty() { Ok(()) } else { fails(faults.join("; ")) }
}

fn name(signal: i32) -> String {
    let signal = supervise::api::Signal::new(signal).map(|signal| signal.to_string()).unwrap_or_default();
    signal.trim_start_matches("SIG").to_owned()
}

pub(super) fn orphans(cell: &Cell) -> Told {
    // Each has a parent that does not wait for it.
    let verbs = "fork fork sleep 100ms end end reap ".repeat(100);
    let web = cell.chaos("web", 1, &format!("{verbs} touch @ready sleep 1h"));
    let run = cell.keep_as(Stage::First, DRAIN, vec![web])?;
    run.begun(&["ready"])?;
    let zombies = || run.all().iter().filter(|process| process.state == 'Z').count();
    let sleeping = || run.children().len() > 1;
    within(2 * SLACK, || !sleeping());
    if within(SLACK, || zombies() == 0).is_none() {
        return fails(format!("{} zombies", zombies()));
    }
    run.signal(libc::SIGTERM);
    run.ends_clean(SLACK)
}

pub(super) fn environment(cell: &Cell) -> Told {
    let web = cell.chaos("web", 1, "touch @ready sleep 1h");
    let run = cell.keep_as(Stage::Odd, DRAIN, vec![web])?;
    let begun = within(Duration::from_secs(15), || cell.file("ready").exists());
    if begun.is_none() {
        return fails(if run.is_alive() { "nothing was started" } else { "it does not start" });
    }
    let wanted = [b"ODD=", ODD, b"\0"].concat();
    let environments: Vec<Vec<u8>> = run.with("ready").iter().map(|pid| proc::environment(*pid)).collect();
    let has_it = |environment: &Vec<u8>| memmem::find(environment, &wanted).is_some();
    if environments.iter().any(has_it) { Ok(()) } else { fails("the value was changed") }
}

/// Makes a change while it runs.
fn change(cell: &Cell, from: &Job, to: &Job) -> Told {
    let commands = cell.peer.reconfigure(&cell.at, from, to)?;
    if commands.is_empty() {
        return Err(Objection::Unable);
    }
    for words in commands {
        let output = Command::new("timeout").arg("20").args(&words).current_dir(&cell.at).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            return fails(format!("`{}` said: {}", words.join(" "), said.trim()));
        }
    }
    Ok(())
}

pub(super) fn scale(cell: &Cell) -> Told {
    let job = |count| Job {
        entries: vec![
            cell.chaos("web", count, "touch @web sleep 1h"),
            cell.chaos("plain", 1, "touch @plain sleep 1h"),
        ],
        restart: Restart::Always,
        drain: Duration::from_secs(DRAIN),
    };
    let run = cell.start_as(Stage::Plain, &job(1))?;
    run.begun(&["web", "plain"])?;
    // Control may come up after the first process.
    std::thread::sleep(Duration::from_millis(1500));
    let (first, plain) = (run.with("/web"), run.with("/plain"));
    change(cell, &job(1), &job(3))?;
    if within(3 * SLACK, || run.with("/web").len() == 3).is_none() {
        return fails(format!("{} of 3", run.with("/web").len()));
    }
    if !first.iter().all(|pid| run.with("/web").contains(pid)) {
        return fails("the first one was replaced");
    }
    change(cell, &job(3), &job(1))?;
    if within(3 * SLACK, || run.with("/web").len() == 1).is_none() {
        return fails(format!("{} instead of 1", run.with("/web").len()));
    }
    if run.with("/web") != first {
        return fails("the first one was stopped, not the last ones");
    }
    if run.with("/plain") == plain { Ok(()) } else { fails("another type was touched") }
}

pub(super) fn reload(cell: &Cell) -> Told {
    let job = |name: &str| Job {
        entries: vec![
            cell.chaos("web", 2, &format!("touch @{name} sleep 1h")),
            cell.chaos("plain", 1, "touch @plain sleep 1h"),
        ],
        restart: Restart::Always,
        drain: Duration::from_secs(DRAIN),
    };
    let run = cell.start_as(Stage::Plain, &job("old"))?;
    run.begun(&["old", "plain"])?;
    run.counted(3)?;
    std::thread::sleep(Duration::from_millis(1500));
    let plain = run.with("/plain");
    change(cell, &job("old"), &job("new"))?;
    let is_new = || run.with("/new").len() == 2 && run.with("/old").is_empty();
    if within(4 * SLACK, is_new).is_none() {
        let (old, new) = (run.with("/old").len(), run.with("/new").len());
        return fails(format!("{old} old and {new} new after 10 s"));
    }
    if run.with("/plain") == plain { Ok(()) } else { fails("what did not change was restarted") }
}
