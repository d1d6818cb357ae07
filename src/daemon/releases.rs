//! The releases of the app, as far as the loop has to do with them: reading one that is to be deployed, holding what runs, and
//! writing down that it does. A disk may take its time: each of these has a thread of its own, and its answer is a fact.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use tokio::sync::mpsc;

use crate::api::Answer;
use crate::app::{self, Inputs, Release};
use crate::store::{Number, Running, Store, Trouble};

use super::Fact;
use super::detach::troubled;

/// See the module.
pub(super) struct Releases {
    /// What leads to what runs: with a release, to that.
    inputs: Inputs,
    /// `--state`.
    state: Option<PathBuf>,
    /// What runs, where it is no directory as it is.
    running: Option<Running>,
    /// What was read, and does not run everywhere yet.
    next: Option<Running>,
    start: Start,
    /// What is neither of the two any more, as long as somebody may still live by it.
    earlier: Vec<Running>,
    facts: mpsc::Sender<Fact>,
}

/// Whether it was heard of that what we were started with runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Not yet; or it was, and is done with.
    Told,
    /// It was, while something else was being deployed.
    PutOff,
}

/// A release that was read, held from now on.
pub(super) struct Prepared {
    pub(super) release: Release,
    running: Running,
}

/// A release was written down as the one that runs, or could not be.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) number: Number,
    pub(super) why: Why,
    /// The system's reason, where it could not.
    pub(super) error: Option<String>,
}

/// Why it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// We were started with it, and it runs.
    Started,
    /// It was deployed.
    Deployed,
}

impl Releases {
    pub(super) fn new(
        inputs: Inputs,
        state: Option<PathBuf>,
        running: Option<Running>,
        facts: mpsc::Sender<Fact>,
    ) -> Releases {
        Releases { inputs, state, running, next: None, start: Start::Told, earlier: Vec::new(), facts }
    }

    /// What a reload reads again; not the files of a release, which nothing changes.
    ///
    /// # Errors
    /// What to do instead.
    pub(super) fn inputs(&self) -> Result<Inputs, String> {
        match &self.running {
            None => Ok(self.inputs.clone()),
            Some(Running { number, .. }) => {
                Err(format!("{number} runs, which nothing changes; `supervise deploy` runs another release"))
            }
        }
    }

    /// Reads a release; the answer is [`Fact::Prepared`].
    ///
    /// # Errors
    /// There is no thread to do it.
    pub(super) fn prepare(&self, name: &str) -> Result<(), String> {
        let (name, inputs, facts) = (name.to_owned(), self.inputs.clone(), self.facts.clone());
        let (state, store) = (self.state.clone(), self.running.as_ref().map(|running| running.store.clone()));
        let read = move || {
            let store = store.map_or_else(|| Store::open(&Store::place(&inputs, state.as_deref())?), Ok);
            let prepared = store.and_then(|store| prepare(store, &name, inputs));
            let prepared = prepared.map_err(|trouble| trouble.to_string());
            // An error means that the loop has ended and does not want to know.
            let _ = facts.blocking_send(Fact::Prepared(Box::new(prepared)));
        };
        let thread = thread::Builder::new().name("deploy".to_owned()).spawn(read);
        thread.map(drop).map_err(|error| format!("no thread to read the release: {error}"))
    }

    /// It was read, and what was read before it is held only where somebody lives by that.
    pub(super) fn prepared(&mut self, prepared: Prepared) -> Release {
        self.earlier.extend(self.next.replace(prepared.running));
        prepared.release
    }

    /// Whether what was read is a release to be deployed.
    pub(super) fn is_deploying(&self) -> bool {
        self.next.is_some()
    }

    /// What was read does not come to run. What ran before is written down now, where that was put off.
    pub(super) fn discard(&mut self) -> Result<(), String> {
        self.earlier.extend(self.next.take());
        match std::mem::replace(&mut self.start, Start::Told) {
            Start::Told => Ok(()),
            Start::PutOff => self.write_down(Why::Started),
        }
    }

    /// Lets go of what nobody lives by any more, where these are the releases that somebody lives by.
    pub(super) fn let_go(&mut self, lived_by: impl FnOnce() -> BTreeSet<String>) {
        if !self.earlier.is_empty() {
            let lived_by = lived_by();
            self.earlier.retain(|running| lived_by.contains(&running.number.to_string()));
        }
    }

    /// Writes down that what was read runs everywhere; the answer is [`Fact::Recorded`].
    ///
    /// # Errors
    /// There is no thread to do it.
    pub(super) fn record(&mut self) -> Result<(), String> {
        self.start = Start::Told;
        if let Some(next) = self.next.take() {
            self.earlier.extend(self.running.replace(next));
        }
        self.write_down(Why::Deployed)
    }

    /// Everything runs, or has failed to, that we were started with: where it is a release, and still the one that runs, it is
    /// written down. What does not run leaves that to another one. While another one is being deployed nothing is known of it:
    /// what comes of that decides.
    pub(super) fn settled(&mut self, answer: &Answer) -> Result<(), String> {
        match answer {
            Ok(_) if self.is_deploying() => {
                self.start = Start::PutOff;
                Ok(())
            }
            Ok(accepted) if troubled(accepted).is_empty() => self.write_down(Why::Started),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn write_down(&self, why: Why) -> Result<(), String> {
        let Some(running) = self.running.clone() else { return Ok(()) };
        let facts = self.facts.clone();
        let write = move || {
            let error = commit(&running).err().map(|trouble| trouble.to_string());
            // As above.
            let _ = facts.blocking_send(Fact::Recorded(Recorded { number: running.number, why, error }));
        };
        let thread = thread::Builder::new().name("deploy".to_owned()).spawn(write);
        thread.map(drop).map_err(|error| format!("no thread to write it down: {error}"))
    }
}

fn prepare(store: Store, name: &str, inputs: Inputs) -> Result<Prepared, Trouble> {
    let (kept, running) = store.take(name)?;
    // Whether its build is what it was is found out by who asks for it: that may start git, and every child here is ours.
    running.store.standing_build(&kept)?;
    let release = app::plan(&running.store.inputs(&kept, inputs))?;
    Ok(Prepared { release, running })
}

fn commit(running: &Running) -> Result<(), Trouble> {
    let deployed = running.store.deployed()?;
    if deployed.current == Some(running.number) && deployed.completed.contains(&running.number) {
        return Ok(());
    }
    running.store.commit(running.number)
}

/// The environment that is in it is nobody's business.
impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({})", self.running.number)
    }
}
