//! Random histories of the deciding core, in virtual time, as many as there is time for. Every step is held against the books
//! that the tests keep (`tests/supervisor/ledger`), in the world that they have (`tests/supervisor/fake_host.rs`).
//!
//! ```text
//! cargo run --release --example simulate -- [--steps N] [--seconds N] [--threads N] [--seed N] [--every N]
//! cargo run --release --example simulate -- --replay N [--only WISHES]
//! ```
//!
//! Histories are numbered by their seeds, from `--seed` on, and lived on as many threads as there are processors. What breaks a
//! rule prints its seed, is made shorter by leaving wishes out for as long as the same rule breaks, and is told; `--replay`
//! lives it once more. Ends with 0 where no rule was broken, with 101 or a SIGABRT where one was, with 2 where the arguments are
//! wrong.

#[allow(dead_code, reason = "the stories of the tests need more of it")]
#[path = "../../tests/supervisor/fake_host.rs"]
mod fake_host;
#[allow(dead_code, reason = "the stories of the tests need more of it")]
#[path = "../../tests/supervisor/ledger/mod.rs"]
mod ledger;
#[path = "../../tests/supervisor/transcript.rs"]
mod transcript;

mod dice;
mod history;
mod verdict;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fake_host::Memory;
use history::Plan;
use ledger::Scrutiny;
use verdict::Telling;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
struct Arguments {
    steps: u64,
    seconds: Option<u64>,
    threads: u64,
    seed: u64,
    /// Every so many histories, everything is looked at after each step.
    every: u64,
    replay: Option<u64>,
    only: Option<Vec<u32>>,
    telling: Telling,
}

const USAGE: &str = "usage: simulate [--steps N] [--seconds N] [--threads N] [--seed N] [--every N]
       simulate --replay SEED [--only WISH,WISH..]";

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    verdict::install(arguments.telling);
    if let Some(seed) = arguments.replay {
        let plan = Plan { seed, only: arguments.only, scrutiny: Scrutiny::Whole, memory: Memory::Everything };
        let steps = verdict::watch(&plan, arguments.telling);
        println!("history {seed}: {steps} steps, and no rule was broken");
    } else {
        run(&arguments);
    }
    ExitCode::SUCCESS
}

/// Lives histories until there were enough.
fn run(arguments: &Arguments) {
    let began = Instant::now();
    let (next, steps) = (AtomicU64::new(arguments.seed), AtomicU64::new(0));
    let is_over = || {
        let late = |seconds| began.elapsed() >= Duration::from_secs(seconds);
        steps.load(Ordering::Relaxed) >= arguments.steps || arguments.seconds.is_some_and(late)
    };
    let live = || {
        while !is_over() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let whole = seed.is_multiple_of(arguments.every);
            let scrutiny = if whole { Scrutiny::Whole } else { Scrutiny::Sampled };
            let plan = Plan { seed, only: None, scrutiny, memory: Memory::Nothing };
            verdict::begin(seed);
            steps.fetch_add(history::live(&plan, |_| {}), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 1..arguments.threads {
            scope.spawn(live);
        }
        live();
    });
    let (steps, histories) = (steps.into_inner(), next.into_inner() - arguments.seed);
    let seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
    let pace = steps as f64 / seconds / 1e6;
    println!(
        "{histories} histories from seed {}, {steps} steps in {seconds:.1} s: {pace:.2} million a second with {} threads; \
         no rule was broken",
        arguments.seed, arguments.threads
    );
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        steps: 10_000_000,
        seconds: None,
        threads: thread::available_parallelism().map_or(1, |count| count.get() as u64),
        seed: 1,
        every: 64,
        replay: None,
        only: None,
        telling: Telling::Whole,
    };
    while let Some(name) = arguments.next() {
        if name == "--briefly" {
            parsed.telling = Telling::Brief;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is not a number"));
        match name.as_str() {
            "--steps" => parsed.steps = number()?,
            "--seconds" => (parsed.seconds, parsed.steps) = (Some(number()?), u64::MAX),
            "--threads" => parsed.threads = number()?.max(1),
            "--seed" => parsed.seed = number()?,
            "--every" => parsed.every = number()?.max(1),
            "--replay" => parsed.replay = Some(number()?),
            "--only" => {
                let wishes = value.split(',').filter(|wish| !wish.is_empty()).map(str::parse);
                let wishes: Result<_, _> = wishes.collect();
                parsed.only = Some(wishes.map_err(|_| format!("`{value}` is no list of numbers"))?);
            }
            _other => return Err(format!("there is no `{name}`")),
        }
    }
    Ok(parsed)
}
