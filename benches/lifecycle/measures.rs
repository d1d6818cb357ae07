//! What is measured, and its bounds. Both sides in turn, every round.

use std::fs;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::board::now;
use super::run::{End, Form, Job, Place, Run, Side};
use super::table::{Bound, Row, Unit};

/// From the supervisor's exec to the last child's `main()`.
///
/// # Errors
/// A run that did not come about.
pub(crate) fn start(place: &Place, rounds: u32) -> io::Result<Vec<Row>> {
    let measure = |count: u32, command: Form, what: &str| {
        let (ours, floor) = in_turn(rounds, |side| {
            let mut run = Run::begin(place, side, Job { count, command, end: End::Restart })?;
            let lives = run.wait_for(count as usize)?;
            let last = lives.iter().map(|life| life.began).max().unwrap_or(0);
            // A good end, as most are: the next start need not search for what was left.
            run.signal(Signal::SIGTERM)?;
            run.wait()?;
            Ok(vec![nanos(run.board.executed(), last)])
        })?;
        let measure = format!("start: {count} {what}");
        Ok(Row { measure, unit: Unit::Millis, ours, floor, bound: Bound::Ratio(1.3) })
    };
    let words = [1, 10, 100, 500].map(|count| measure(count, Form::Words, "of plain words"));
    let shell = [10, 100].map(|count| measure(count, Form::Shell, "by a shell"));
    words.into_iter().chain(shell).collect()
}

/// How many children are killed in one run, each in a slot of its own: only the first failure of a slot is followed
/// by a start at once.
const KILLS: u16 = 20;
/// A life this long is no crash at the start.
const GOOD_LIFE: Duration = Duration::from_millis(1100);

/// From the SIGKILL of a child to its successor's `main()`.
///
/// # Errors
/// A run that did not come about.
pub(crate) fn restart(place: &Place, rounds: u32) -> io::Result<Vec<Row>> {
    let (ours, floor) = in_turn(rounds, |side| {
        let job = Job { count: KILLS.into(), command: Form::Words, end: End::Restart };
        let mut run = Run::begin(place, side, job)?;
        let kills = usize::from(KILLS);
        let first = run.wait_for(kills)?;
        sleep(GOOD_LIFE);
        let mut times = Vec::new();
        for (before, life) in (kills..).zip(&first[..kills]) {
            let killed = now();
            // The child is not reaped before this, so the number is its own.
            kill(Pid::from_raw(life.pid), Signal::SIGKILL)?;
            let lives = run.wait_for(before + 1)?;
            times.push(nanos(killed, lives[before].began));
            sleep(Duration::from_millis(20));
        }
        Ok(times)
    })?;
    let measure = "restart: SIGKILL to the successor".to_owned();
    Ok(vec![Row { measure, unit: Unit::Millis, ours, floor, bound: Bound::Ratio(1.4) }])
}

/// From SIGTERM to the end of every child and of the supervisor.
///
/// # Errors
/// A run that did not come about, or that left somebody.
pub(crate) fn stop(place: &Place, rounds: u32) -> io::Result<Vec<Row>> {
    let count = 100;
    let (ours, floor) = in_turn(rounds, |side| {
        let mut run = Run::begin(place, side, Job { count, command: Form::Words, end: End::Restart })?;
        run.wait_for(count as usize)?;
        sleep(Duration::from_millis(300));
        let asked = now();
        run.signal(Signal::SIGTERM)?;
        run.wait()?;
        let ended = now();
        run.check_empty()?;
        Ok(vec![nanos(asked, ended)])
    })?;
    let measure = format!("stop: SIGTERM to all of {count} gone, and the supervisor");
    Ok(vec![Row { measure, unit: Unit::Millis, ours, floor, bound: Bound::Ratio(2.0) }])
}

/// One child that ends at once: from the supervisor's exec to its end.
///
/// # Errors
/// A run that did not come about.
pub(crate) fn once(place: &Place, rounds: u32) -> io::Result<Vec<Row>> {
    let (ours, floor) = in_turn(rounds * 5, |side| {
        let mut run = Run::begin(place, side, Job { count: 1, command: Form::Words, end: End::Once })?;
        run.wait()?;
        Ok(vec![nanos(run.board.executed(), now())])
    })?;
    let measure = "once: one child that ends at once, start to exit".to_owned();
    Ok(vec![Row { measure, unit: Unit::Millis, ours, floor, bound: Bound::Ratio(2.5) }])
}

/// How long nothing may happen.
const IDLE: Duration = Duration::from_secs(5);

/// Memory and wake-ups beside silent children. One round: they hardly vary.
///
/// # Errors
/// A run that did not come about.
pub(crate) fn memory(place: &Place, _rounds: u32) -> io::Result<Vec<Row>> {
    let (few, many) = (100, 1000);
    let measure = |count: u32| {
        in_turn(1, |side| {
            let mut run = Run::begin(place, side, Job { count, command: Form::Words, end: End::Restart })?;
            run.wait_for(count as usize)?;
            sleep(Duration::from_millis(1500));
            let before = context_switches(run.pid())?;
            let memory = [
                field(run.pid(), "status", "VmRSS:")?,
                field(run.pid(), "smaps_rollup", "Pss:")?,
                field(run.pid(), "smaps_rollup", "Private_Dirty:")?,
            ];
            sleep(IDLE);
            let wakes = context_switches(run.pid())? - before;
            Ok([memory.as_slice(), &[wakes]].concat())
        })
    };
    let (few_values, many_values) = (measure(few)?, measure(many)?);
    let row = |measure: String, unit, value: &dyn Fn(&[f64], &[f64]) -> f64, bound| Row {
        measure,
        unit,
        ours: vec![value(&few_values.0, &many_values.0)],
        floor: vec![value(&few_values.1, &many_values.1)],
        bound,
    };
    let further = f64::from(many - few);
    Ok(vec![
        row(format!("memory: resident, {few} silent"), Unit::Mib, &|few, _| few[0], Bound::Value(6.0)),
        row(format!("memory: Pss, {few} silent"), Unit::Mib, &|few, _| few[1], Bound::None),
        row(format!("memory: private dirty, {few} silent"), Unit::Mib, &|few, _| few[2], Bound::None),
        row(
            format!("memory: resident, each further one to {many}"),
            Unit::Kib,
            &|few, many| (many[0] - few[0]) / further,
            Bound::Value(12.0),
        ),
        row(
            format!("idle: context switches in {} s, {few} silent", IDLE.as_secs()),
            Unit::Count,
            &|few, _| few[3],
            Bound::Value(0.0),
        ),
        row(
            format!("idle: context switches in {} s, {many} silent", IDLE.as_secs()),
            Unit::Count,
            &|_, many| many[3],
            Bound::Value(0.0),
        ),
    ])
}

/// Both sides, one after the other, so many times: ours and the floor's values.
fn in_turn(
    rounds: u32,
    mut measure: impl FnMut(Side) -> io::Result<Vec<f64>>,
) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.extend(measure(Side::Ours)?);
        floor.extend(measure(Side::Floor)?);
    }
    Ok((ours, floor))
}

/// From one time to another; nothing that is measured loses precision so.
#[allow(clippy::cast_precision_loss)]
fn nanos(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64
}

/// How often the threads of a process were given the processor, for whatever reason.
fn context_switches(pid: u32) -> io::Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.file_name().into_string().unwrap_or_default();
        for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum += field(pid, &format!("task/{task}/status"), name)?;
        }
    }
    Ok(sum)
}

/// A number of `/proc/PID/FILE`.
fn field(pid: u32, file: &str, name: &str) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no `{name}` in /proc/{pid}/{file}")))
}
