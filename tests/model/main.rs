//! The real program against a small model of it: random histories of everything that may be asked of it and done to it, and
//! after each quiet point a look whether `/proc`, `ps`, what was asked for, what was written and the deciding core agree.
//!
//! [`cast`] says what runs, [`book`] what was asked for, [`life`] is one run of the supervisor, [`history`] rolls the dice, and each
//! room of [`check`] has one question. `controls` shows for each of them that it sees what it looks for.
//!
//! `cargo test --test model` takes about 40 s. `SUPERVISE_PROOF_SECONDS=600` takes longer, `SUPERVISE_MODEL_SEED=7` tells one
//! history again: the dice fall as before, though the machine's own timing does not.

mod book;
mod cast;
mod check;
mod controls;
mod dice;
#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the end-to-end tests use all of it")]
mod harness;
mod history;
mod life;

use std::time::{Duration, Instant, SystemTime};

use dice::Dice;
use harness::number;

/// Histories side by side: more than there are processors on a small machine, so that nobody has one for himself.
const AT_ONCE: u64 = 3;

#[test]
fn after_any_history_proc_and_ps_and_the_core_agree_with_what_was_asked_for() {
    if let Some(seed) = number("SUPERVISE_MODEL_SEED") {
        return history::tell(
            seed,
            Instant::now() + Duration::from_secs(number("SUPERVISE_PROOF_SECONDS").unwrap_or(60)),
        );
    }
    let until = Instant::now() + Duration::from_secs(number("SUPERVISE_PROOF_SECONDS").unwrap_or(28));
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970");
    let mut seeds = Dice::new(since_epoch.as_secs() ^ u64::from(std::process::id()) << 32);
    let first = seeds.below(1_000_000);
    std::thread::scope(|scope| {
        let tell = |place: u64| {
            let mut seed = first + place;
            while Instant::now() < until {
                println!("history {seed}");
                history::tell(seed, until);
                seed += AT_ONCE;
            }
        };
        let tellers: Vec<_> = (0..AT_ONCE).map(|place| scope.spawn(move || tell(place))).collect();
        let failed = tellers.into_iter().filter_map(|teller| teller.join().err()).count();
        assert_eq!(
            failed, 0,
            "histories that failed; above stands what was seen, and the seed to tell it again"
        );
    });
}
