//! What starting, restarting and stopping costs beside the least that it can cost.
//!
//! `cargo bench --bench lifecycle [-- --rounds N --only start,restart,stop,once,memory --program FILE]`
//!
//! Every measure is taken of `supervise` and of the floor (floor.c: `posix_spawn`, epoll and nothing else) in turn, in
//! one run on one machine; the ratio of their medians is what travels. It prints a table of Markdown and asserts
//! nothing: time depends on what else the machine does. It fails only where something did not run.

mod board;
#[path = "../tools/compile.rs"]
mod compile;
mod measures;
mod run;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use compile::compile;
use run::Place;
use table::Row;

#[derive(Parser)]
struct Arguments {
    /// How often each side is measured
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["start", "restart", "stop", "once", "memory"])]
    only: Vec<Chapter>,
    /// Another build of `supervise`, such as that of `.ci/build-static`
    #[arg(long, default_value = env!("CARGO_BIN_EXE_supervise"))]
    program: PathBuf,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chapter {
    Start,
    Restart,
    Stop,
    Once,
    Memory,
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --bench lifecycle`");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let place = match prepare(&arguments.program) {
        Ok(place) => place,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}; {} rounds\n\n{}", machine(), arguments.rounds, table::HEADING);
    let mut code = ExitCode::SUCCESS;
    for chapter in arguments.only {
        let measure: fn(&Place, u32) -> io::Result<Vec<Row>> = match chapter {
            Chapter::Start => measures::start,
            Chapter::Restart => measures::restart,
            Chapter::Stop => measures::stop,
            Chapter::Once => measures::once,
            Chapter::Memory => measures::memory,
        };
        match measure(&place, arguments.rounds) {
            Ok(rows) => rows.iter().for_each(|row| println!("{}", row.print())),
            Err(error) => {
                eprintln!("{chapter:?} did not run: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn prepare(program: &Path) -> io::Result<Place> {
    run::adopt_orphans()?;
    // Runs have directories of their own.
    let ours = program.canonicalize()?;
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (floor, child) = (compile("floor.c", &[], &scratch)?, compile("child.c", &[], &scratch)?);
    Ok(Place { ours, floor, child, runtime: Place::runtime(&scratch)?, scratch })
}

/// What the figures are of. A start looks at every process of the machine for what an earlier run left behind, so
/// their number matters too.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let is_pid = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter(|entry| is_pid(&entry.file_name())).count();
    format!("{processors} x {model}, Linux {}, {processes} processes, load {load}", kernel.trim())
}
