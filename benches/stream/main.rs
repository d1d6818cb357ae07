//! What the stream costs beside the least that it can cost, and beside other runners of Procfiles.
//!
//! `cargo bench --bench stream [-- --rounds N --only rush,dress,time,whisper --lines N --without-peers]`
//!
//! Every measure is taken of `supervise`, of the floor (floor.c) and of every peer that is on PATH in turn, in one run on one
//! machine; the ratio of medians is what travels. The reader looks at every line: what is lost, torn, twice or out of order is
//! counted. It prints tables of Markdown and asserts nothing of time; it fails where one of ours lost a line or did not run.

mod board;
#[path = "../tools/compile.rs"]
mod compile;
mod reader;
mod run;
mod side;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use compile::compile;
use run::{HERTZ, Job, Outcome, Work};
use side::{Place, Side};

#[derive(Parser)]
struct Arguments {
    /// How often each side is measured
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// How many lines are written in a run where the rate is measured; peers get a hundredth
    #[arg(long, default_value_t = 4_000_000)]
    lines: u64,
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["rush", "dress", "time", "whisper"])]
    only: Vec<Chapter>,
    /// Only ours and the floor
    #[arg(long)]
    without_peers: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chapter {
    /// Lines a second, of plain text
    Rush,
    /// The same of other formats, and with little history
    Dress,
    /// From write to read, of few lines
    Time,
    /// The same beside a flood, among a thousand
    Whisper,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --bench stream`");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    match prepare().and_then(|place| measure(&place, &arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(place: &Place, arguments: &Arguments) -> io::Result<()> {
    let peers = if arguments.without_peers { Vec::new() } else { side::peers() };
    let (floor, ours) = (Side::Floor, Side::Ours(Vec::new()));
    println!("{}; {} rounds", machine(), arguments.rounds);
    for chapter in &arguments.only {
        match chapter {
            Chapter::Rush => {
                let sides = [vec![floor.clone(), ours.clone()], peers.clone()].concat();
                for chunk in [65_536, 0] {
                    for writers in [1, 8, 64] {
                        // A write a line is work of the writers above all.
                        let lines = if chunk == 0 { arguments.lines / 4 } else { arguments.lines };
                        rates(
                            place,
                            arguments.rounds,
                            &sides,
                            Job { writers, work: Work::Rush { lines, chunk } },
                        )?;
                    }
                }
            }
            Chapter::Dress => {
                let dressed = [
                    &["--timestamps", "always", "--color", "always"][..],
                    &["--format", "json"],
                    &["--format", "raw"],
                    &["--log-buffer", "1k"],
                ];
                let dressed = dressed.map(|flags| Side::Ours(flags.to_vec()));
                let sides = [vec![floor.clone(), ours.clone()], dressed.to_vec()].concat();
                for writers in [1, 8, 64] {
                    let work = Work::Rush { lines: arguments.lines, chunk: 65_536 };
                    rates(place, arguments.rounds, &sides, Job { writers, work })?;
                }
            }
            Chapter::Time => {
                let sides = [vec![floor.clone(), ours.clone()], peers.clone()].concat();
                delays(place, arguments.rounds, &sides, Job { writers: 1, work: Work::Pace { lines: 600 } })?;
            }
            Chapter::Whisper => {
                let sides = [floor.clone(), ours.clone()];
                let job = Job { writers: 1000, work: Work::Whisper { lines: 600 } };
                delays(place, arguments.rounds, &sides, job)?;
            }
        }
    }
    Ok(())
}

/// One table: lines a second, and what they cost.
fn rates(place: &Place, rounds: u32, sides: &[Side], job: Job) -> io::Result<()> {
    let Work::Rush { chunk, .. } = job.work else { return Ok(()) };
    let how =
        if chunk == 0 { "one write a line".to_owned() } else { format!("writes of {} KiB", chunk / 1024) };
    println!("\n{} writers, {how}\n", job.writers);
    println!("| | million lines/s | of the floor | CPU ns/line | of the floor | peak MiB | lines |");
    println!("|---|---|---|---|---|---|---|");
    let outcomes = in_turn(place, rounds, sides, job)?;
    #[allow(clippy::cast_precision_loss)] // Not so many lines.
    let rate = |outcome: &Outcome| outcome.whole as f64 / outcome.seconds / 1e6;
    #[allow(clippy::cast_precision_loss)]
    let cpu = |outcome: &Outcome| outcome.cpu_nanos / outcome.whole as f64;
    let of = |outcomes: &[Outcome], value: &dyn Fn(&Outcome) -> f64| {
        let mut values: Vec<_> = outcomes.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let mut floor = None;
    for (side, outcomes) in sides.iter().zip(&outcomes).filter(|(_, outcomes)| !outcomes.is_empty()) {
        let (rate, cpu, peak) = (of(outcomes, &rate), of(outcomes, &cpu), of(outcomes, &|one| one.peak_kib));
        let floor = *floor.get_or_insert((rate.0, cpu.0));
        println!(
            "| {} | {:.2} ({:.2}-{:.2}) | {:.2} | {:.0} ({:.0}-{:.0}) | {:.2} | {:.1} | {} |",
            side.name(),
            rate.0,
            rate.1,
            rate.2,
            rate.0 / floor.0,
            cpu.0,
            cpu.1,
            cpu.2,
            cpu.0 / floor.1,
            peak.2 / 1024.0,
            integrity(outcomes),
        );
    }
    check(sides, &outcomes)
}

/// One table: from write to read.
fn delays(place: &Place, rounds: u32, sides: &[Side], job: Job) -> io::Result<()> {
    match job.work {
        Work::Rush { .. } => return Ok(()),
        Work::Pace { .. } => println!("\n{HERTZ} lines a second, from write to read\n"),
        Work::Whisper { .. } => {
            println!(
                "\n{HERTZ} lines a second, from write to read, beside one that floods, of {}\n",
                job.writers
            );
        }
    }
    println!("| | p50 us | p99 us | most us | peak MiB | lines |");
    println!("|---|---|---|---|---|---|");
    let outcomes = in_turn(place, rounds, sides, job)?;
    for (side, outcomes) in sides.iter().zip(&outcomes).filter(|(_, outcomes)| !outcomes.is_empty()) {
        // The median of the rounds.
        let part = |nth: usize, of: usize| {
            let mut values: Vec<_> = outcomes
                .iter()
                .filter_map(|outcome| {
                    let mut delays = outcome.delays.clone();
                    delays.sort_unstable();
                    delays.get((delays.len() * nth / of).min(delays.len().saturating_sub(1))).copied()
                })
                .collect();
            values.sort_unstable();
            values.get(values.len() / 2).map_or(0, |nanos| nanos / 1000)
        };
        let peak = outcomes.iter().map(|outcome| outcome.peak_kib).fold(0.0, f64::max) / 1024.0;
        let (p50, p99, most) = (part(1, 2), part(99, 100), part(1, 1));
        println!("| {} | {p50} | {p99} | {most} | {peak:.1} | {} |", side.name(), integrity(outcomes));
    }
    check(sides, &outcomes)
}

/// Every side, one after the other, so many times. A peer that does not run is said and left out.
fn in_turn(place: &Place, rounds: u32, sides: &[Side], job: Job) -> io::Result<Vec<Vec<Outcome>>> {
    let mut outcomes: Vec<Vec<Outcome>> = sides.iter().map(|_| Vec::new()).collect();
    let mut absent = vec![false; sides.len()];
    for _ in 0..rounds {
        for (nth, side) in sides.iter().enumerate().filter(|(nth, _)| !absent[*nth]).collect::<Vec<_>>() {
            let work = match (side, job.work) {
                (Side::Peer(_), Work::Rush { lines, chunk }) => Work::Rush { lines: lines / 100, chunk },
                (_, work) => work,
            };
            match run::run(place, side, Job { work, ..job }) {
                Ok(outcome) => outcomes[nth].push(outcome),
                Err(error) => {
                    absent[nth] = true;
                    if !matches!(side, Side::Peer(_)) {
                        return Err(io::Error::other(format!("{}: {error}", side.name())));
                    }
                    eprintln!("{} did not run: {error}", side.name());
                }
            }
        }
    }
    Ok(outcomes)
}

/// What became of the lines, over all rounds.
fn integrity(outcomes: &[Outcome]) -> String {
    let sum = |value: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(value).sum::<u64>();
    let lost = sum(&|outcome| outcome.lines.saturating_sub(outcome.whole));
    let (torn, twice) = (sum(&|one| one.faults.torn), sum(&|one| one.faults.repeated));
    let out_of_order = sum(&|one| one.faults.missing);
    if lost + torn + twice + out_of_order == 0 {
        return "all".to_owned();
    }
    format!("{lost} missing, {torn} torn, {twice} twice or late, {out_of_order} skipped")
}

fn check(sides: &[Side], outcomes: &[Vec<Outcome>]) -> io::Result<()> {
    for (side, outcomes) in sides.iter().zip(outcomes) {
        let said = integrity(outcomes);
        if matches!(side, Side::Ours(_)) && said != "all" {
            return Err(io::Error::other(format!("{}: {said}", side.name())));
        }
    }
    Ok(())
}

fn prepare() -> io::Result<Place> {
    // So that none of a peer's escapes.
    nix::sys::prctl::set_child_subreaper(true)?;
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    Ok(Place {
        floor: compile("stream/floor.c", &[], &scratch)?,
        writer: compile("stream/writer.c", &[], &scratch)?,
        scratch,
    })
}

/// What the figures are of.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{processors} x {model}, Linux {}, load {load}", kernel.trim())
}
