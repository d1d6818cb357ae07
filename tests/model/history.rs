//! A random history: a few steps at a time, then a quiet point, then everything is looked at.

mod quiet;
mod releases;
mod steps;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::book::Book;
use super::cast::{Entry, KINDS, PORT_STEP, procfile, spec};
use super::check::{Sight, stream};
use super::dice::Dice;
use super::harness::{Run, Supervise, eventually, free_ports};
use super::life::{Life, Promised};

/// The most rounds of one history. What is left of the time belongs to another one.
const ROUNDS: u32 = 40;

/// See the module.
pub(crate) struct History {
    dice: Dice,
    project: Supervise,
    base: u16,
    pub(crate) book: Book,
    pub(crate) life: Life,
    lives: u32,
    /// Supervisors that were killed: what they left must be gone when the next one is quiet.
    dead: Vec<Run>,
    /// How it was at the last quiet point.
    before: Option<Sight>,
    /// What the supervisor of this life held when so many instances lived.
    held: BTreeMap<BTreeMap<String, usize>, Held>,
    /// What was counted when all was quiet, until it has been heard.
    counted: Option<BTreeMap<String, u64>>,
    /// Changes whose answers come when they have happened.
    unanswered: Vec<(String, Promised)>,
    editions: u32,
    /// What each release says, where releases run.
    releases: BTreeMap<String, Vec<Entry>>,
    /// What ran before the last deploy.
    deployed_from: String,
    /// What was done, for whoever has to find out why it went wrong.
    log: Log,
}

/// Descriptors by what they are, and threads.
type Held = (BTreeMap<String, usize>, usize);

/// Printed where a history fails.
struct Log {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "history {} failed; `SUPERVISE_MODEL_SEED={0} cargo test --test model after_any` tells it again:\n{}",
                self.seed,
                self.lines.join("\n")
            );
        }
    }
}

/// Tells a history, for `ROUNDS` or until a moment, and sees its end.
pub(crate) fn tell(seed: u64, until: Instant) {
    let mut history = History::begin(seed);
    history.comes_to_rest();
    for _ in 0..ROUNDS {
        if Instant::now() >= until {
            break;
        }
        history.round();
    }
    history.returns_to_its_beginning();
    history.ends();
}

impl History {
    pub(crate) fn begin(seed: u64) -> History {
        let mut dice = Dice::new(seed);
        let entries = first_entries();
        let base = free_ports(u32::from(PORT_STEP) * u32::try_from(KINDS.len()).expect("a handful"));
        let project = Supervise::with("");
        let directory = project.directory().app("");
        let project = project
            .file("Procfile", procfile(&entries, &directory))
            .spec(&spec(&entries, &directory))
            .without_port_argument()
            .args(["-p", &base.to_string(), "--port-step", &PORT_STEP.to_string()]);
        let mut releases = BTreeMap::new();
        let mut release = "dev".to_owned();
        let mut first = project.clone();
        if dice.happens(35) {
            fs::create_dir(project.directory().top().join("build")).expect("the directory is ours");
            release = releases::create(project.directory());
            releases.insert(release.clone(), entries.clone());
            first = first.args(["--release", &release]);
        }
        let life = Life::begin(&first, 1);
        History {
            dice,
            project,
            base,
            book: Book::new(entries, base, &release),
            life,
            lives: 1,
            dead: Vec::new(),
            before: None,
            held: BTreeMap::new(),
            counted: None,
            releases,
            deployed_from: release.clone(),
            unanswered: Vec::new(),
            editions: 1,
            log: Log { seed, lines: Vec::new() },
        }
    }

    fn round(&mut self) {
        let steps = 1 + self.dice.below(5);
        let deaf = self.dice.happens(12);
        if deaf {
            self.note("our reader stops reading");
            self.life.run.be_deaf();
        }
        for _ in 0..steps {
            self.step();
            if self.dice.happens(40) {
                let millis = self.dice.below(120);
                std::thread::sleep(std::time::Duration::from_millis(millis));
            }
        }
        self.comes_to_rest();
        if deaf {
            self.note("our reader reads again");
            self.life.run.hear_again();
            self.comes_to_rest();
        }
    }

    /// Back to what it was like in the beginning, where everything has to be as it was.
    fn returns_to_its_beginning(&mut self) {
        self.note("back to the beginning");
        let entries = first_entries_of(self.editions);
        if self.releases.is_empty() {
            self.files_become(entries);
        } else {
            assert!(self.deploy(entries), "nothing else goes on");
        }
        self.comes_to_rest();
        for Entry { name, quantity, .. } in self.book.entries.clone() {
            self.life.change("/v1/formation", &format!("{{\"{name}\":{quantity}}}"));
            self.book.scaled(name, quantity);
        }
        self.life.change("/v1/restart", "{}");
        let places = self.book.places();
        self.book.asked_to_restart(&places);
        self.comes_to_rest();
    }

    fn ends(mut self) {
        let deaf = self.dice.happens(25);
        if deaf {
            self.life.run.be_deaf();
        }
        let way = self.dice.below(4);
        self.note(format!("the end, way {way}, deaf: {deaf}"));
        match way {
            0 => self.life.run.signal(libc::SIGTERM),
            1 => self.life.run.signal(libc::SIGINT),
            2 => drop(self.life.change("/v1/shutdown", "{}")),
            _ => {
                // In the middle of something.
                self.life.change("/v1/restart", "{}");
                self.life.run.signal(libc::SIGTERM);
            }
        }
        let (status, left) = self.life.run.wait_for_exit();
        let seen = &self.life;
        assert!(left.is_empty(), "the supervisor has ended, but these live on: {left:?}\n{seen}");
        // Two types are deaf to the stop signal.
        assert_eq!(status.code(), Some(137), "{seen}");
        self.hear();
        let seen = &self.life;
        let counted = stream::counted(&self.life.told);
        let complaints = [self.life.hearing.complaints.clone(), self.life.hearing.missing(&counted)].concat();
        assert!(complaints.is_empty(), "{complaints:#?}\n{seen}");
        self.life.core.catch_up().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.life.core.code.map(i32::from), status.code(), "{}", self.life);
    }

    /// A change that must be accepted; now and then its answer comes only when it has happened.
    fn change(&mut self, path: &str, body: &str) {
        if self.dice.happens(30) {
            let answer = self.life.change_later(path, body);
            self.unanswered.push((format!("{path} {body}"), answer));
        } else {
            self.life.change(path, body);
        }
    }

    /// Other files, and a reload that takes them.
    fn files_become(&mut self, entries: Vec<Entry>) {
        let directory = self.life.app("");
        self.write(&procfile(&entries, &directory), &spec(&entries, &directory));
        // Whoever asks while they are being read is refused, and asks again.
        eventually(
            "a reload that is accepted",
            || {
                let (status, answer) = self.life.ask("POST", "/v1/reload", "{}");
                assert!([200, 202, 409].contains(&status), "reload: {status} {answer}");
                (status != 409).then_some(())
            },
            || self.life.to_string(),
        );
        self.book.reread(entries);
    }

    fn write(&self, procfile: &str, spec: &str) {
        let directory = self.project.directory();
        fs::write(directory.app("Procfile"), procfile).expect("the directory is ours");
        fs::write(directory.app("supervise.yml"), spec).expect("the directory is ours");
    }

    /// Takes in what was written since.
    fn hear(&mut self) {
        let from = self.life.hearing.lines;
        let lines = self.life.run.look_at(|seen| seen.out[from..].to_vec());
        for line in &lines {
            self.life.hearing.hear(line);
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.log.lines.push(format!("{}  {}", jiff::Timestamp::now().strftime("%H:%M:%S%.3f"), what.into()));
    }
}

fn first_entries() -> Vec<Entry> {
    first_entries_of(1)
}

fn first_entries_of(edition: u32) -> Vec<Entry> {
    let kinds = KINDS.iter().filter(|kind| kind.name != "extra");
    let quantity = |name| if name == "steady" { 2 } else { 1 };
    kinds.map(|kind| Entry { name: kind.name, edition, quantity: quantity(kind.name) }).collect()
}

/// Where a killed supervisor's files of lives are.
fn remove(path: &Path) {
    // It is not there before somebody has lived.
    if let Err(error) = fs::remove_file(path) {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
