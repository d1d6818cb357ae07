//! `ps`: every slot and how it is, as a table or as JSON.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::conclude;
use super::connection::{Connection, Trouble, Whereabouts, read};
use super::effects::list;
use super::table::{GREEN, Paint, RED, Row, YELLOW, tabulate};
use super::terminal::{columns, one_line};
use crate::api::{Formation, LastExit, ProcessStatus, SlotName, State, Status, brief};
use crate::stream::Choice;

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As the supervisor gives it.
    Json,
    /// Columns, with or without colour.
    Table(Choice),
}

/// Shows every slot; the answer is the exit code.
pub fn ps<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    shape: Shape,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    conclude(show(whereabouts, shape, out), err)
}

fn show<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    shape: Shape,
    out: &mut W,
) -> Result<u8, Trouble> {
    let answer = Connection::open(whereabouts)?.get("/v1/processes")?;
    match shape {
        Shape::Json => {
            out.write_all(answer.trim_ascii_end())?;
            out.write_all(b"\n")?;
        }
        Shape::Table(color) => {
            let paint = if color.holds_for(out) { Paint::Coloured } else { Paint::Plain };
            let status = read(&answer)?;
            out.write_all(table(&status, paint).as_bytes())?;
            out.write_all(remarks(&status, columns(out)).as_bytes())?;
        }
    }
    Ok(0)
}

const HEADINGS: [&str; COLUMNS] =
    ["NAME", "STATE", "READY", "PID", "PORT", "RESTARTS", "UPTIME", "RSS", "CPU"];
const COLUMNS: usize = 9;
/// Which column is painted.
const STATE: usize = 1;

fn in_order(status: &Status) -> Vec<&ProcessStatus> {
    let mut processes: Vec<&ProcessStatus> = status.processes.iter().collect();
    processes.sort_by_key(|process| (place(&status.formation, process), process.slot));
    processes
}

/// Why who is not ready is not, and what instances say of themselves: below the table, where there is room for it. Slots of one
/// type with the same to say have one line, cut where it would not fit.
fn remarks(status: &Status, columns: Option<usize>) -> String {
    let mut remarks: Vec<(String, Vec<&SlotName>)> = Vec::new();
    for process in in_order(status) {
        let reason = process.reason.as_deref().filter(|_| !process.ready);
        let remark = match (reason, &process.status_text) {
            (Some(reason), Some(says)) => format!("not ready: {reason}; says: {says}"),
            (Some(reason), None) => format!("not ready: {reason}"),
            (None, Some(says)) => format!("says: {says}"),
            (None, None) => continue,
        };
        let same = |(known, slots): &&mut (String, Vec<&SlotName>)| {
            *known == remark && slots.iter().all(|slot| slot.process_type == process.process_type)
        };
        match remarks.iter_mut().find(same) {
            Some((_, slots)) => slots.push(&process.name),
            None => remarks.push((remark, vec![&process.name])),
        }
    }
    let lines = remarks.iter().map(|(remark, slots)| {
        let line = format!("{} {remark}", list(slots));
        format!("{}\n", one_line(&line, columns))
    });
    let gap = if remarks.is_empty() { "" } else { "\n" };
    [gap.to_owned()].into_iter().chain(lines).collect()
}

fn table(status: &Status, paint: Paint) -> String {
    let processes = in_order(status);
    if processes.iter().all(|process| process.release == DIRECTORY) {
        let rows = processes.into_iter().map(|process| Row { cells: row(process), color: color(process) });
        return tabulate(HEADINGS, STATE, rows.collect(), paint);
    }
    let rows = processes.into_iter().map(|process| Row {
        cells: beside_release(process.release.clone(), &row(process)),
        color: color(process),
    });
    let headings = beside_release("RELEASE", &HEADINGS);
    tabulate(headings, STATE + 1, rows.collect(), paint)
}

/// The release of what runs in a directory as it is: where there is no other one, nobody needs to be told.
const DIRECTORY: &str = "dev";

/// The release stands behind the name.
fn beside_release<T: Clone>(release: T, cells: &[T; COLUMNS]) -> [T; COLUMNS + 1] {
    std::array::from_fn(|column| match column {
        0 => cells[0].clone(),
        1 => release.clone(),
        _ => cells[column - 1].clone(),
    })
}

/// Where a type stands in the formation; one that is gone from it stands last.
fn place(formation: &Formation, process: &ProcessStatus) -> usize {
    let found = formation.0.iter().position(|(name, _)| *name == process.process_type);
    found.unwrap_or(formation.0.len())
}

fn row(process: &ProcessStatus) -> [String; COLUMNS] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let time = |millis: u64| brief(Duration::from_millis(millis));
    [
        process.name.to_string(),
        state(process),
        (if process.ready { "yes" } else { "no" }).to_owned(),
        or_none(process.pid.map(|pid| pid.to_string())),
        or_none(process.port.map(|port| port.to_string())),
        process.restarts.to_string(),
        or_none(process.uptime_ms.map(time)),
        or_none(process.rss_bytes.map(size)),
        or_none(process.cpu_ms.map(time)),
    ]
}

/// The state, with how the last instance ended where that is why there is none: `backoff (3)`, `failed (SIGSEGV)`.
fn state(process: &ProcessStatus) -> String {
    let state = process.state;
    match state {
        State::Running if process.suspended => "suspended".to_owned(),
        State::Backoff | State::Failed => match &process.last_exit {
            Some(LastExit { signal: Some(signal), .. }) => format!("{state} ({signal})"),
            Some(LastExit { code: Some(code), .. }) => format!("{state} ({code})"),
            Some(LastExit { code: None, signal: None, .. }) | None => state.to_string(),
        },
        State::Pending
        | State::Starting
        | State::Running
        | State::Draining
        | State::Killing
        | State::Stuck
        | State::Completed
        | State::Stopped => state.to_string(),
    }
}

/// Red for what is broken, yellow for what is on its way, green for what is well; nothing for what rests.
fn color(process: &ProcessStatus) -> Option<&'static str> {
    match process.state {
        State::Backoff | State::Failed | State::Stuck => Some(RED),
        State::Pending | State::Starting | State::Draining | State::Killing => Some(YELLOW),
        State::Running if process.ready => Some(GREEN),
        State::Running => Some(YELLOW),
        State::Completed | State::Stopped => None,
    }
}

/// `640K`, `12.3M`, `1.2G`: powers of 1024, as in `ls -h`.
fn size(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P", "E"];
    // In tenths of a unit, rounded up as `ls` does: what takes something does not show as nothing.
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_ceil(1024);
        unit = next;
    }
    match (unit, tenths) {
        ("B", _) => format!("{bytes}B"),
        (_, 1000..) => format!("{}{unit}", tenths.div_ceil(10)),
        (_, _) => format!("{}.{}{unit}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::TERMINAL;
    use super::*;
    use crate::api::{ExitReason, ExitStatus};

    fn process(name: &str, state: State) -> ProcessStatus {
        let name: SlotName = name.parse().unwrap();
        ProcessStatus {
            process_type: name.process_type.clone(),
            slot: name.number,
            name,
            state,
            ready: state == State::Running,
            reason: None,
            status_text: None,
            suspended: false,
            pid: None,
            port: None,
            release: "dev".to_owned(),
            restarts: 0,
            uptime_ms: None,
            last_exit: None,
            rss_bytes: None,
            cpu_ms: None,
        }
    }

    fn status(formation: &[(&str, u32)], processes: Vec<ProcessStatus>) -> Status {
        let counts = formation.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect();
        Status { schema: Status::SCHEMA, formation: Formation(counts), processes }
    }

    #[test]
    fn the_widest_row_of_ordinary_names_fits_a_terminal() {
        let mut crowded = process("scheduler.1", State::Failed);
        crowded.last_exit = Some(LastExit::new(
            ExitStatus::Signal { signal: "TERM".parse().unwrap(), core_dumped: false },
            ExitReason::Failed,
        ));
        let mut running = process("web.100", State::Running);
        running.pid = crate::api::Pid::new(4_194_304);
        running.port = Some(65_535);
        running.restarts = 12_345;
        running.uptime_ms = Some(273_600_000);
        running.rss_bytes = Some(1023 << 30);
        running.cpu_ms = Some(273_600_000);
        let table = table(&status(&[("web", 100), ("scheduler", 1)], vec![crowded, running]), Paint::Plain);
        for line in table.lines() {
            assert!(line.len() <= TERMINAL, "{} columns:\n{table}", line.len());
        }
    }

    #[test]
    fn releases_are_shown_where_there_is_one() {
        let directory = process("web.1", State::Running);
        let released = ProcessStatus { release: "v12".to_owned(), ..process("web.2", State::Running) };
        let plain = table(&status(&[("web", 1)], vec![directory.clone()]), Paint::Plain);
        assert!(plain.starts_with("NAME   STATE    READY"), "{plain}");
        let both = table(&status(&[("web", 2)], vec![directory, released]), Paint::Plain);
        assert!(both.starts_with("NAME   RELEASE  STATE    READY"), "{both}");
        assert!(both.contains("\nweb.1  dev      running  yes"), "{both}");
        assert!(both.contains("\nweb.2  v12      running  yes"), "{both}");
    }

    #[test]
    fn a_colour_changes_no_width() {
        let both =
            status(&[("web", 2)], vec![process("web.1", State::Running), process("web.2", State::Backoff)]);
        let coloured = table(&both, Paint::Coloured);
        assert!(coloured.contains("web.1  \x1b[32mrunning\x1b[0m  yes"), "{coloured:?}");
        assert!(coloured.contains("web.2  \x1b[31mbackoff\x1b[0m  no"), "{coloured:?}");
        let plain = coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(plain, table(&both, Paint::Plain));
    }

    #[test]
    fn why_who_is_not_ready_is_not_stands_below_the_table_on_a_line_that_fits() {
        let unready = |name: &str, reason: &str| {
            let mut process = process(name, State::Running);
            (process.ready, process.reason) = (false, Some(reason.to_owned()));
            process
        };
        let mut talks = process("worker.1", State::Running);
        // It has become ready since.
        talks.reason = Some("exec answered 1".to_owned());
        talks.status_text = Some("12 jobs\x1b[2J\nleft".to_owned());
        let mut both = unready("worker.2", "WATCHDOG");
        both.status_text = Some("stuck".to_owned());
        let same = "readiness: GET /health answered 503";
        let all = vec![talks, both, unready("web.3", same), unready("web.1", same), unready("web.2", same)];
        let five = status(&[("web", 3), ("worker", 2)], all);
        assert_eq!(
            remarks(&five, None),
            "\nweb.1 to web.3 not ready: readiness: GET /health answered 503\n\
             worker.1 says: 12 jobs\u{fffd}[2J left\nworker.2 not ready: WATCHDOG; says: stuck\n"
        );
        let narrow = remarks(&five, Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30), "{narrow}");
        assert!(narrow.contains("web.1 to web.3 not ready: r...\n"), "{narrow}");
        assert_eq!(remarks(&status(&[], vec![process("a.1", State::Running)]), None), "");
    }

    #[test]
    fn a_size_is_short() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (12_900_000, "12.4M"),
            (104_857_600, "100M"),
            (1 << 30, "1.0G"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
