//! What becomes of a broken rule: its history is found again by its seed, made shorter, and told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::fake_host::World;
use crate::history::{self, Plan};

/// How much is said of a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Whole,
    /// Only where it broke: for who looks for a shorter history.
    Brief,
}

/// So many of the last events are told.
const LAST: usize = 200;

thread_local! {
    /// The history that is being lived, where it is one of many.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    /// What happened last, where that is told.
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Only one of several threads has the word.
static WORD: Mutex<()> = Mutex::new(());

/// A history of many begins.
pub(crate) fn begin(seed: u64) {
    SEED.set(Some(seed));
}

/// Lives one history, and remembers what to tell of it.
pub(crate) fn watch(plan: &Plan, telling: Telling) -> u64 {
    history::live(plan, |world: &mut World| {
        if telling == Telling::Whole {
            println!("{}", world.told_first());
            world.listener = Some(|line| {
                LINES.with_borrow_mut(|lines| {
                    lines.push_back(line);
                    if lines.len() > LAST {
                        lines.pop_front();
                    }
                });
            });
        }
    })
}

/// From now on a panic says what has to be known.
pub(crate) fn install(telling: Telling) {
    panic::set_hook(Box::new(move |broken| {
        let has_word = WORD.lock();
        let place = broken.location().map(ToString::to_string).unwrap_or_default();
        match (SEED.get(), telling) {
            (None, Telling::Brief) => eprintln!("{place}"),
            (None, Telling::Whole) => {
                LINES.with_borrow(|lines| lines.iter().for_each(|line| println!("{line}")));
                eprintln!("\na rule was broken: {broken}");
            }
            (Some(seed), Telling::Brief | Telling::Whole) => {
                eprintln!("history {seed} broke a rule: {broken}");
                let only = shortest(seed);
                let only = only.map(|only| format!(" --only {}", listed(&only))).unwrap_or_default();
                eprintln!("cargo run --release --example simulate -- --replay {seed}{only}");
                tell(&format!("--replay {seed}{only}"));
            }
        }
        drop(has_word);
    }));
}

fn listed(wishes: &[u32]) -> String {
    if wishes.is_empty() {
        return ",".to_owned();
    }
    wishes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The wishes without which it is another history; nothing where it cannot be lived again.
fn shortest(seed: u64) -> Option<Vec<u32>> {
    let all: Vec<u32> = (0..history::wishes(seed)).collect();
    let place = broken_at(seed, &all)?;
    let mut kept = all;
    let mut chunk = kept.len();
    while chunk > 0 {
        let mut at = 0;
        while at < kept.len() {
            let fewer: Vec<u32> =
                kept[..at].iter().chain(&kept[kept.len().min(at + chunk)..]).copied().collect();
            if broken_at(seed, &fewer).as_ref() == Some(&place) {
                kept = fewer;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    Some(kept)
}

/// Where a rule breaks if only these wishes are made: lived by a process of its own, which a panic ends.
fn broken_at(seed: u64, only: &[u32]) -> Option<String> {
    let arguments = format!("--replay {seed} --only {} --briefly", listed(only));
    let output = Command::new(std::env::current_exe().ok()?)
        .args(arguments.split(' '))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .ok()?;
    let said = String::from_utf8(output.stderr).ok()?;
    (!output.status.success()).then(|| said.lines().next().unwrap_or_default().to_owned())
}

/// The history, told by a process of its own.
fn tell(arguments: &str) {
    let program = std::env::current_exe();
    let told = program.and_then(|program| Command::new(program).args(arguments.split(' ')).status());
    if let Err(error) = told {
        eprintln!("it cannot be told: {error}");
    }
}
