//! What an init owes a container, seen side by side: `supervise` and Debian's tini, dumb-init and catatonit.
//!
//! `cargo bench --bench init [-- --rounds N --static FILE]`, as root; `.ci/install-inits` installs the others.
//!
//! Every fact is seen by running it, in one run on one machine: each program is PID 1 of a namespace of its own (unshare(1)), with
//! the same child below it (child.c). It prints a table of Markdown and fails only where something did not run.

#[path = "../tools/compile.rs"]
mod compile;
mod run;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use compile::compile;
use run::{Init, Place, median};

#[derive(Parser)]
struct Arguments {
    /// How often each start is measured
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// A static build of supervise, to stand beside the other one
    #[arg(long = "static", value_name = "FILE", env = "SUPERVISE_STATIC")]
    static_build: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --bench init`");
        return ExitCode::SUCCESS;
    }
    match table(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the table: what is looked at, and how it is told of one program.
type Row = (&'static str, fn(&Place, &Init, usize) -> io::Result<String>);

const ROWS: [Row; 9] = [
    ("signals that reach the child as they are, of 60", signals_passed),
    ("... that mean something to the init itself", signals_meant),
    ("... of which nothing comes", signals_lost),
    ("exit codes passed on, of 256", codes),
    ("orphans reaped, of 100", orphans),
    ("an orphan at the end", orphan_at_the_end),
    ("from exec to the child's main", start),
    ("memory: RSS, PSS", memory),
    ("size of the program", size),
];

fn table(arguments: &Arguments) -> io::Result<()> {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("init");
    std::fs::create_dir_all(&scratch)?;
    let place = Place { child: compile("init/child.c", &["-static"], &scratch)?, scratch };
    let inits = inits(arguments)?;
    let names: Vec<&str> = inits.iter().map(|init| init.name.as_str()).collect();
    println!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (what, look) in ROWS {
        let cells: io::Result<Vec<String>> =
            inits.iter().map(|init| look(&place, init, arguments.rounds)).collect();
        println!("| {what} | {} |", cells?.join(" | "));
    }
    Ok(())
}

/// Who stands in the table.
fn inits(arguments: &Arguments) -> io::Result<Vec<Init>> {
    let mut inits = vec![Init::supervise("supervise", Path::new(env!("CARGO_BIN_EXE_supervise")))];
    if let Some(file) = &arguments.static_build {
        inits.push(Init::supervise("supervise (static)", file));
    }
    for (name, words) in [("tini", &["--"][..]), ("dumb-init", &["--"]), ("catatonit", &["--"])] {
        inits.push(Init::other(name, words)?);
    }
    Ok(inits)
}

/// What came of one signal that was sent to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Meant,
    Lost,
}

/// All but KILL and STOP, which are the kernel's, and the two that the C library keeps for itself.
fn fates(place: &Place, init: &Init) -> io::Result<Vec<(i32, Fate)>> {
    let signals = (1..=31).chain(34..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal));
    // One of `supervise` and 60 starts: what is known is not asked again.
    let mut known = init.fates.borrow_mut();
    if known.is_empty() {
        for signal in signals {
            known.push((signal, fate(place, init, signal)?));
        }
    }
    Ok(known.clone())
}

/// Sends a signal, and behind it twice one that everybody passes on: when the second of these has arrived, so has the signal, or
/// it never will.
fn fate(place: &Place, init: &Init, signal: i32) -> io::Result<Fate> {
    let run = place.start(init, &["signals"])?;
    run.wait_for_notes(1)?;
    let follower = if signal == libc::SIGUSR1 { libc::SIGUSR2 } else { libc::SIGUSR1 };
    // The first of all finds out that everything runs and everything has been said that a start says.
    run.signal(follower);
    run.wait_for_notes(2)?;
    let said = run.output_length();
    run.signal(signal);
    for nth in 2..=3 {
        run.signal(follower);
        run.wait_for_note_or_end(follower, nth);
    }
    let heard = run.notes();
    let others =
        heard.iter().map(|number| i32::from(*number)).filter(|number| ![0, follower].contains(number));
    let others: Vec<i32> = others.collect();
    Ok(if others.contains(&signal) {
        Fate::Passed
    } else if !others.is_empty() || !run.is_alive() || run.output_length() > said {
        Fate::Meant
    } else {
        Fate::Lost
    })
}

fn tell(fates: &[(i32, Fate)], wanted: Fate) -> String {
    let named: Vec<String> =
        fates.iter().filter(|(_, fate)| *fate == wanted).map(|(signal, _)| name(*signal)).collect();
    match (wanted, named.len()) {
        (Fate::Passed, count) => count.to_string(),
        (Fate::Meant | Fate::Lost, 0) => "none".to_owned(),
        (Fate::Meant | Fate::Lost, _) => named.join(" "),
    }
}

fn name(signal: i32) -> String {
    let signal = supervise::api::Signal::new(signal).map(|signal| signal.to_string()).unwrap_or_default();
    signal.trim_start_matches("SIG").to_owned()
}

fn signals_passed(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    Ok(tell(&fates(place, init)?, Fate::Passed))
}

fn signals_meant(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    Ok(tell(&fates(place, init)?, Fate::Meant))
}

fn signals_lost(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    Ok(tell(&fates(place, init)?, Fate::Lost))
}

fn codes(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    let mut same = 0;
    for code in 0..256 {
        same += u32::from(place.exit_code(init, code)? == Some(code));
    }
    Ok(same.to_string())
}

fn orphans(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    const ORPHANS: usize = 100;
    let run = place.start(init, &["orphans", &ORPHANS.to_string()])?;
    run.wait_for_notes(1)?;
    // They live for 50 ms at most.
    Ok((ORPHANS - run.zombies_left(Duration::from_secs(2))).to_string())
}

fn orphan_at_the_end(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    let mut run = place.start(init, &["leave"])?;
    run.wait_for_notes(1)?;
    run.signal(libc::SIGTERM);
    run.wait_for_end()?;
    let asked = run.notes_within(2, Duration::ZERO).get(1).is_some();
    Ok(if asked { "TERM, and waited for" } else { "SIGKILL at once" }.to_owned())
}

fn start(place: &Place, init: &Init, rounds: usize) -> io::Result<String> {
    let times: io::Result<Vec<Duration>> = (0..rounds).map(|_| place.time_to_main(init)).collect();
    Ok(format!("{:.1} ms", median(times?).as_secs_f64() * 1000.0))
}

fn memory(place: &Place, init: &Init, _: usize) -> io::Result<String> {
    let run = place.start(init, &["signals"])?;
    run.wait_for_notes(1)?;
    let (rss, pss) = run.memory_kib()?;
    Ok(format!("{}, {}", kib(rss), kib(pss)))
}

fn size(_: &Place, init: &Init, _: usize) -> io::Result<String> {
    Ok(kib(std::fs::metadata(&init.program)?.len() / 1024))
}

fn kib(kib: u64) -> String {
    if kib < 1024 { format!("{kib} KiB") } else { format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024) }
}
