//! What becomes of those that end by themselves.

use std::fs;
use std::time::Duration;

use super::super::cell::{Cell, Objection, SLACK, Stage, Told, fails, lives, watch, within};
use super::super::peers::Entry;
use super::super::proc;

const DRAIN: u64 = 3;

pub(super) fn holder(cell: &Cell) -> Told {
    if cell.peer.restarts() {
        let verbs = "fork setsid touch @holder sleep 1h end crash-until @lives 1 1 touch @second sleep 1h";
        let run = cell.keep(DRAIN, vec![cell.chaos("web", 1, verbs)])?;
        run.begun(&["holder"])?;
        let back = within(Duration::from_secs(8), || cell.file("second").exists());
        return if back.is_some() { Ok(()) } else { fails("not restarted within 8 s") };
    }
    let web = cell.chaos("web", 1, "fork setsid touch @holder sleep 1h end sleep 500ms exit 1");
    let run = cell.start(DRAIN, vec![web])?;
    run.begun(&["holder"])?;
    let ended = run.ends_within(cell.peer.drain(Duration::from_secs(DRAIN)) + SLACK);
    if ended.is_some() { Ok(()) } else { fails("the exit was not noticed while the grandchild lived") }
}

pub(super) fn crowd(cell: &Cell) -> Told {
    const CROWD: usize = 60;
    let entry = || vec![cell.chaos("web", CROWD, "sleep 1h")];
    let run = if cell.peer.restarts() { cell.keep(DRAIN, entry())? } else { cell.start(DRAIN, entry())? };
    run.counted(CROWD)?;
    // Whoever has been running for a second has started well for everybody.
    std::thread::sleep(Duration::from_millis(1500));
    let old: Vec<i32> = run.children().iter().map(|child| child.pid).collect();
    for pid in &old {
        proc::send(*pid, libc::SIGKILL);
    }
    if !cell.peer.restarts() {
        return run.ends_clean(cell.peer.drain(Duration::from_secs(DRAIN)) + 2 * SLACK);
    }
    let new = || run.children().iter().filter(|child| !old.contains(&child.pid)).count();
    if within(Duration::from_secs(20), || new() == CROWD).is_none() {
        return fails(format!("{} of {CROWD} came back", new()));
    }
    let zombies = || run.all().iter().filter(|process| process.state == 'Z').count();
    if within(SLACK, || zombies() == 0).is_none() {
        return fails(format!("{} zombies", zombies()));
    }
    Ok(())
}

pub(super) fn between(cell: &Cell) -> Told {
    if !cell.peer.restarts() {
        return Err(Objection::Unable);
    }
    let file = cell.file("lives");
    let run = cell.keep(DRAIN, vec![cell.chaos("web", 1, "crash-until @lives 1000 1")])?;
    let crashed = || lives(&file) >= 3 && run.children().is_empty();
    if within(Duration::from_secs(15), crashed).is_none() {
        return fails(format!("started {} times in 15 s", lives(&file)));
    }
    // At the beginning of a pause.
    let before = lives(&file);
    within(Duration::from_secs(8), || lives(&file) > before && run.children().is_empty());
    let before = lives(&file);
    run.signal(libc::SIGTERM);
    run.ends_clean(SLACK)?;
    if lives(&file) > before { fails("started once more") } else { Ok(()) }
}

pub(super) fn outage(cell: &Cell) -> Told {
    if !cell.peer.restarts() {
        return Err(Objection::Unable);
    }
    let (file, script) = (cell.file("lives"), cell.file("flaky.sh"));
    let up = cell.chaos("web", 1, "touch @up sleep 1h").command;
    let (lives_file, there) = (file.display(), cell.file("there"));
    let text = format!("printf . >>{lives_file}\n[ -e {} ] && exec {up}\nexit 1\n", there.display());
    fs::write(&script, text)?;
    let command = format!("/bin/sh {}", script.display());
    let flaky = Entry { name: "flaky", command, count: 1 };
    let run = cell.keep(DRAIN, vec![flaky, cell.chaos("plain", 1, "touch @plain sleep 1h")])?;
    run.begun(&["plain"])?;
    let plain = run.with("/plain");
    let before = run.cpu();
    std::thread::sleep(Duration::from_secs(8));
    let (starts, spent) = (lives(&file), run.cpu().saturating_sub(before));
    fs::write(there, [])?;
    if within(Duration::from_secs(20), || cell.file("up").exists()).is_none() {
        return fails(format!("given up for good after {starts} starts"));
    }
    if starts > 30 || spent > Duration::from_secs(4) {
        return fails(format!("{starts} starts in 8 s"));
    }
    if run.with("/plain") == plain { Ok(()) } else { fails("the other child was not left alone") }
}

pub(super) fn relapse(cell: &Cell) -> Told {
    if !cell.peer.restarts() {
        return Err(Objection::Unable);
    }
    let run = cell.keep(DRAIN, vec![cell.chaos("web", 1, "touch @web sleep 1500ms exit 1")])?;
    run.begun(&["web"])?;
    let (mut pauses, mut absent_since) = (Vec::new(), None);
    watch(Duration::from_secs(20), |now| match (run.children().is_empty(), absent_since) {
        (true, None) => absent_since = Some(now),
        (false, Some(since)) => {
            pauses.push(now.saturating_sub(since));
            absent_since = None;
        }
        (true, Some(_)) | (false, None) => {}
    });
    // A pause that had not ended counts as far as it went.
    pauses.extend(absent_since.map(|since| Duration::from_secs(20).saturating_sub(since)));
    let longest = pauses.iter().max().copied().unwrap_or_default();
    if longest >= Duration::from_millis(2500) {
        return Ok(());
    }
    fails(format!("never waits longer: at most {:.1} s", longest.as_secs_f64()))
}

pub(super) fn killed(cell: &Cell) -> Told {
    let run = cell.keep_as(Stage::Twice, DRAIN, vec![cell.chaos("web", 1, "touch @web sleep 1h")])?;
    run.begun(&["web"])?;
    run.signal(libc::SIGKILL);
    if run.ends_within(SLACK).is_none() {
        return fails("it outlived SIGKILL");
    }
    let left = run.children().len();
    fs::remove_file(cell.file("web"))?;
    run.start_again()?;
    // Until it is one for a while.
    let mut since = None;
    let mut is_one = false;
    watch(Duration::from_secs(10), |now| {
        if run.children().len() == 1 && !run.own().is_empty() {
            is_one |= now.saturating_sub(*since.get_or_insert(now)) > Duration::from_secs(3);
        } else {
            since = None;
        }
    });
    if is_one {
        return Ok(());
    }
    fails(format!("{left} left behind, {} run after the next start", run.children().len()))
}
