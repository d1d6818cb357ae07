//! Long life: 200 children that chat, crash, fork and hang at random while somebody steers, and what it costs in the end.
//!
//! `SUPERVISE_PROOF_SECONDS` says how long, 30 by default: `SUPERVISE_PROOF_SECONDS=1800 cargo test --test soak -- --nocapture`.
//! `SUPERVISE_SOAK_SEED=7` asks for the same things in the same order again. After each of four quarters everything is scaled
//! to nothing; then the supervisor has to have no more descriptors and threads than the time before, no process and no zombie
//! may be left, and every line that was written has to have come out.

mod book;
#[path = "../e2e/harness/built.rs"]
mod built;
mod client;
#[path = "../model/dice.rs"]
#[allow(dead_code, reason = "the histories use all of it")]
mod dice;
#[path = "../e2e/harness/knob.rs"]
mod knob;
mod reader;
mod run;

use std::time::{Duration, Instant};

use client::Client;
use knob::number;
use run::{Cost, Run};

const QUARTERS: u32 = 4;

/// What memory may grow by from the first quiet moment to the last: what an allocator keeps and rings that fill. In half an
/// hour, with its 60,000 lives, that is less than 70 bytes a life.
const MEMORY_SLACK_KIB: u64 = 4096;

/// 200 of them.
const TYPES: [(&str, u64); 4] = [("chatter", 60), ("crasher", 60), ("forker", 50), ("hanger", 30)];

#[test]
fn two_hundred_restless_children_leave_nothing_behind_and_cost_the_same_for_ever() {
    let quarter = Duration::from_secs(number("SUPERVISE_PROOF_SECONDS").unwrap_or(30)) / QUARTERS;
    let seed = number("SUPERVISE_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let run = Run::start(&TYPES);
    let mut client = Client::new(run.socket(), seed);
    run.is_quiet(&mut client);
    eprintln!("seed {seed}");
    eprintln!(
        "| quarter | requests | `ps` p50, p99, most | memory, most | descriptors, most | quiet again: memory, descriptors, threads |"
    );
    eprintln!("|---|---|---|---|---|---|");
    let mut quiet: Vec<Cost> = Vec::new();
    for nth in 1..=QUARTERS {
        client.scale(&TYPES);
        let end = Instant::now() + quarter;
        let mut most = Cost::default();
        while Instant::now() < end {
            client.does_something(&TYPES);
            most = most.max(run.cost());
        }
        let latencies = client.latencies();
        client.scale(&TYPES.map(|(name, _)| (name, 0)));
        run.is_quiet(&mut client);
        let now = run.settled_cost(quiet.first());
        eprintln!(
            "| {nth} | {} | {latencies} | {} KiB | {} | {} KiB, {}, {} |",
            client.asked(),
            most.memory_kib,
            most.descriptors,
            now.memory_kib,
            now.descriptors,
            now.threads
        );
        quiet.push(now);
    }
    // The first quarter is when everything is used for the first time.
    let (first, last) = (quiet[0], quiet[quiet.len() - 1]);
    assert!(last.descriptors <= first.descriptors && last.threads <= first.threads, "{quiet:?}");
    assert!(last.memory_kib <= first.memory_kib + MEMORY_SLACK_KIB, "{quiet:?}");
    let (book, heard) = run.ends();
    eprintln!("{} lives, {} lines", book.lives(), heard.lines());
    assert!(book.lives() > 200 && heard.lines() > 1000, "nothing has happened");
    let complaints = book.compare(&heard);
    assert!(
        complaints.is_empty(),
        "{} complaints, the first: {:#?}",
        complaints.len(),
        &complaints[..complaints.len().min(10)]
    );
}
