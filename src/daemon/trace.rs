//! `--trace FILE`: what the supervisor was told and what it ordered, one JSON object a line, so that a run can be
//! replayed (`examples/replay.rs`). Names, numbers and times; no value of an environment variable is in an event.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::api::{Formation, Status, Tally, Vitals};
use crate::supervisor::{Action, Event, Habits, Member, Supervisor, Time};

/// The first line of a trace: everything a supervisor is made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// The types.
    pub members: Vec<Member>,
    /// How we were started.
    pub habits: Habits,
    /// The seed of its randomness.
    pub seed: u64,
    /// When.
    pub now: Time,
}

impl Beginning {
    /// The supervisor that began so.
    #[must_use]
    pub fn supervisor(&self) -> Supervisor {
        Supervisor::new(self.members.clone(), self.habits, self.seed, self.now)
    }
}

/// Every other line of a trace: one event and all that followed from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub now: Time,
    /// What happened.
    pub event: Event,
    /// What was ordered.
    pub actions: Vec<Action>,
}

/// The supervisor, with its trace where one is written. A line that cannot be written is said once; the run goes on.
#[derive(Debug)]
pub(super) struct Traced {
    supervisor: Supervisor,
    file: Option<File>,
}

impl Traced {
    /// A supervisor, and a trace of it in a new file, readable by nobody else; an old one is overwritten.
    ///
    /// # Errors
    /// The system's, where the file cannot be made.
    pub(super) fn new(beginning: &Beginning, path: Option<&Path>) -> io::Result<Traced> {
        let create = |path: &Path| {
            let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
            let hidden = open.and_then(|file| {
                // One that was there keeps the mode it had; a pipe or a device has its own reasons for its mode.
                if file.metadata()?.is_file() {
                    file.set_permissions(Permissions::from_mode(0o600))?;
                }
                Ok(file)
            });
            hidden.map_err(|error| {
                io::Error::new(error.kind(), format!("`--trace {}`: {error}", path.display()))
            })
        };
        let mut traced = Traced { supervisor: beginning.supervisor(), file: path.map(create).transpose()? };
        traced.write(beginning);
        Ok(traced)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.supervisor.deadline()
    }

    /// How everything is, for whoever only looks.
    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// As [`Supervisor::status`].
    pub(super) fn status(&self, now: Time) -> Status {
        self.supervisor.status(now)
    }

    /// As [`Supervisor::vitals`].
    pub(super) fn vitals(&self) -> Vitals {
        self.supervisor.vitals()
    }

    /// As [`Supervisor::formation`].
    pub(super) fn formation(&self) -> Formation {
        self.supervisor.formation()
    }

    /// As [`Supervisor::tallies`].
    pub(super) fn tallies(&self) -> Vec<Tally> {
        self.supervisor.tallies()
    }

    /// As [`Supervisor::handle`], and notes it.
    pub(super) fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        if self.file.is_none() {
            return self.supervisor.handle(now, event);
        }
        let actions = self.supervisor.handle(now, event.clone());
        let step = Step { now, event, actions };
        self.write(&step);
        step.actions
    }

    fn write(&mut self, line: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(line).map_err(io::Error::other).and_then(|mut text| {
            text.push(b'\n');
            file.write_all(&text)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the trace ends here");
            self.file = None;
        }
    }
}
