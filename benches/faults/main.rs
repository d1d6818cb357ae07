//! Who survives what: the faults of CONTRIBUTING.md, told in the same way of `supervise` and of those that people use instead.
//!
//! `cargo bench --profile dev --bench faults [-- --only ROW.. --peer NAME..]`, as root; `.ci/install-peers` installs the others.
//! `--peer control` is one that is bad at everything: a row that nobody else fails is to be seen failing by it.
//!
//! Every cell is a story told of one peer in a pid namespace of its own, with the `chaos` child of tests/e2e below it, and judged
//! from outside. What failed while others ran is told once more, and only what fails twice has failed. It prints a table of Markdown
//! and fails where a cell could not be told, or `supervise` did not survive.

mod cell;
mod listener;
mod peers;
mod proc;
mod stories;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use clap::Parser;

use cell::{Cell, Objection, Place};
use peers::Peer;
use stories::{ROWS, Row, Weight};

#[derive(Parser)]
struct Arguments {
    /// These rows alone
    #[arg(long, num_args = 1.., value_name = "ROW")]
    only: Vec<String>,
    /// These peers alone
    #[arg(long, num_args = 1.., value_name = "NAME")]
    peer: Vec<String>,
    /// How many cells run beside each other
    #[arg(long, default_value_t = 10)]
    jobs: usize,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be told then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --profile dev --bench faults`");
        return ExitCode::SUCCESS;
    }
    match tell(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What came of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Survives,
    Fails(String),
    /// The peer cannot be asked for it.
    Unable,
    /// It could not be told.
    Broken(String),
}

/// By row and peer.
type Verdicts = BTreeMap<(usize, usize), Verdict>;

/// Whether every cell could be told and ours are good.
fn tell(arguments: &Arguments) -> io::Result<bool> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wants(&arguments.only, row.name)).collect();
    let is_wanted = |peer: &Peer| {
        wants(&arguments.peer, peer.name()) && (*peer != Peer::Control || !arguments.peer.is_empty())
    };
    let peers: Vec<Peer> = peers::ALL.into_iter().filter(is_wanted).collect();
    let versions: io::Result<Vec<String>> = peers.iter().map(|peer| peer.version()).collect();
    let versions = versions?;
    let place = place()?;
    let begun = Instant::now();
    let verdicts = tell_all(&place, &rows, &peers, arguments.jobs);
    print_table(&rows, &peers, &versions, &verdicts);
    eprintln!("\n{} cells in {:.0} s", verdicts.len(), begun.elapsed().as_secs_f64());
    let fails = |row: usize| {
        (0..peers.len()).any(|peer| matches!(verdicts.get(&(row, peer)), Some(Verdict::Fails(_))))
    };
    let without: Vec<&str> = (0..rows.len()).filter(|row| !fails(*row)).map(|row| rows[row].name).collect();
    if !without.is_empty() {
        eprintln!("nobody failed in {0}; `--peer control --only {0}` does", without.join(" "));
    }
    let is_good = |((_, peer), verdict): (&(usize, usize), &Verdict)| match verdict {
        Verdict::Survives | Verdict::Unable => true,
        Verdict::Fails(_) => peers[*peer] != Peer::Supervise,
        Verdict::Broken(_) => false,
    };
    Ok(verdicts.iter().all(is_good))
}

fn wants(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|wanted| wanted == name)
}

fn place() -> io::Result<Place> {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let clock = scratch.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/faults/clock.c");
    let status =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&clock).arg(source).status()?;
    if !status.success() {
        return Err(io::Error::other("`cc` could not compile `clock.c`"));
    }
    Ok(Place { scratch, chaos: chaos()?, clock })
}

/// The child of tests/e2e; cargo builds no examples for a bench.
fn chaos() -> io::Result<PathBuf> {
    let ours = Path::new(env!("CARGO_BIN_EXE_supervise"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "chaos", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if ours.parent().is_some_and(|profile| profile.ends_with("release")) {
        cargo.arg("--release");
    }
    if !cargo.status()?.success() {
        return Err(io::Error::other("the example `chaos` could not be built"));
    }
    Ok(ours.with_file_name("examples").join("chaos"))
}

fn tell_all(place: &Place, rows: &[&Row], peers: &[Peer], jobs: usize) -> Verdicts {
    let cells = |weight: Weight| -> Vec<(usize, usize)> {
        let of_row = |row| (0..peers.len()).map(move |peer| (row, peer));
        // Later rows take longer.
        let rows_of = (0..rows.len()).rev().filter(|row| rows[*row].weight == weight);
        rows_of.flat_map(of_row).collect()
    };
    let mut verdicts = Verdicts::new();
    tell_some(place, rows, peers, cells(Weight::Light), jobs, &mut verdicts);
    tell_some(place, rows, peers, cells(Weight::Heavy), jobs.min(2), &mut verdicts);
    let failed = |weight: Weight| -> Vec<(usize, usize)> {
        let is_failed = |cell: &(usize, usize)| matches!(verdicts.get(cell), Some(Verdict::Fails(_)));
        cells(weight).into_iter().filter(is_failed).collect()
    };
    let again = failed(Weight::Light);
    tell_some(place, rows, peers, again, jobs, &mut verdicts);
    verdicts
}

/// Tells these, so many beside each other; what was told before counts no more.
fn tell_some(
    place: &Place,
    rows: &[&Row],
    peers: &[Peer],
    cells: Vec<(usize, usize)>,
    jobs: usize,
    verdicts: &mut Verdicts,
) {
    let waiting = Mutex::new(cells.into_iter());
    let told = Mutex::new(verdicts);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((row, peer)) = next else { return };
                    let begun = Instant::now();
                    let verdict = tell_one(place, rows[row], peers[peer]);
                    let (name, time) = (peers[peer].name(), begun.elapsed().as_secs_f64());
                    eprintln!("{:>7} {name:<12} {time:5.1} s  {verdict:?}", rows[row].name);
                    told.lock().unwrap_or_else(PoisonError::into_inner).insert((row, peer), verdict);
                }
            });
        }
    });
}

fn tell_one(place: &Place, row: &Row, peer: Peer) -> Verdict {
    let cell = match Cell::new(place, peer, &format!("{}-{}", row.name, peer.name())) {
        Ok(cell) => cell,
        Err(error) => return Verdict::Broken(error.to_string()),
    };
    match (row.tell)(&cell) {
        Ok(()) => Verdict::Survives,
        Err(Objection::Fails(seen)) => Verdict::Fails(seen),
        Err(Objection::Unable) => Verdict::Unable,
        Err(Objection::Broken(error)) => Verdict::Broken(error.to_string()),
    }
}

fn print_table(rows: &[&Row], peers: &[Peer], versions: &[String], verdicts: &Verdicts) {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
    println!("| | fault | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (row, told) in rows.iter().enumerate() {
        let cells = (0..peers.len()).map(|peer| match verdicts.get(&(row, peer)) {
            Some(Verdict::Survives) => "✓",
            Some(Verdict::Fails(_)) => "✗",
            Some(Verdict::Unable) => "-",
            Some(Verdict::Broken(_)) | None => "?",
        });
        println!("| {} | {} | {} |", told.name, told.what, cells.collect::<Vec<_>>().join(" | "));
    }
    println!("\n-: it restarts nothing, or can change nothing while it runs.\n");
    for (peer, name) in names.iter().enumerate() {
        let note = |(row, told): (usize, &&Row)| match verdicts.get(&(row, peer))? {
            Verdict::Survives | Verdict::Unable => None,
            Verdict::Fails(seen) => Some(format!("{} {seen}", told.name)),
            Verdict::Broken(error) => Some(format!("{} could not be told: {error}", told.name)),
        };
        let notes: Vec<String> = rows.iter().enumerate().filter_map(note).collect();
        let notes = if notes.is_empty() { String::new() } else { format!(" Seen: {}.", notes.join("; ")) };
        println!("* **{name}** {}; {}.{notes}", versions[peer], peers[peer].settings());
    }
}
