//! What is committed in `fuzz/seeds` through the functions that libfuzzer calls, on any machine: an input that was a fault once
//! is tested for good.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use targets::{TARGETS, check};

/// The seeds of a target, by their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).expect("it can be read"))).collect()
}

#[test]
fn every_seed_of_every_target_holds() {
    let mut failed = Vec::new();
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        failed.extend(
            seeds
                .iter()
                .filter(|(_, seed)| catch_unwind(|| check(target, seed)).is_err())
                .map(|(name, _)| name.clone()),
        );
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_large_input_takes_bounded_steps() {
    /// What libfuzzer makes up is shorter, and would be fast all the same.
    const LARGE: usize = 128 * 1024;
    /// A debug build on a busy machine needs a few seconds for the slowest; what looks at everything once for each line of it
    /// needs minutes.
    const PATIENCE: Duration = Duration::from_secs(60);
    for (target, _) in TARGETS {
        for (name, seed) in seeds(target).iter().filter(|(_, seed)| !seed.is_empty()) {
            let began = Instant::now();
            check(target, &seed.repeat(LARGE / seed.len() + 1));
            let took = began.elapsed();
            assert!(took < PATIENCE, "{name}, {LARGE} bytes of it: {took:?}");
        }
    }
}
