//! One engine for all stories, containers that go with their story, and waiting with a deadline.

mod container;
mod engine;

use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) use container::{Container, Recipe};
pub(crate) use engine::{Answer, Engine, IMAGE, engine, repository, static_build};

/// How long anything may take that takes a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition: each is a client of the engine.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks at something until it is as it should be, and returns what was seen then.
pub(crate) fn eventually<T: Debug>(what: &str, look: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}, and saw: {seen:#?}");
        sleep(PAUSE);
    }
}
