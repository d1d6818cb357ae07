//! What runs becomes something else: the files read again, another release, commands that run once.

use std::collections::VecDeque;
use std::thread;

use tokio::sync::oneshot;

use crate::api::{Answer, Notice, Request, RequestId, Verb, When};
use crate::app::{self, Diagnostics, Release};
use crate::supervisor::{Event, Staged};

use super::super::Fact;
use super::super::edition::{Candidate, OneOff};
use super::super::releases::{Prepared, Recorded, Why};
use super::Host;

impl Host {
    /// The event of somebody's wish to run a command once.
    pub(in super::super) fn run_requested(
        &mut self,
        command: &OneOff,
        answer: When,
        reply: oneshot::Sender<Answer>,
    ) -> Event {
        let process_type = match command {
            OneOff::Words(_) => None,
            OneOff::Of(name) => Some(name.clone()),
        };
        let id = RequestId(self.next_request);
        self.one_offs.extend(self.editions.one_off(command).map(|edition| (id, edition)));
        self.requested(Request { verb: Verb::Run { process_type }, answer }, reply)
    }

    /// The event of the files having been read again.
    pub(in super::super) fn planned(&mut self, planned: Result<Release, Diagnostics>) -> Event {
        self.candidate = None;
        let compared = match planned {
            Ok(release) => {
                let release = Release { control: self.socket.clone(), ..release };
                self.survey.propose(&release);
                self.editions.compare(release, &self.sockets).map_err(|error| error.to_string())
            }
            Err(errors) => Err(errors.to_string()),
        };
        match compared {
            Ok((types, candidate)) => {
                self.candidate = Some(candidate);
                Event::Reread { types }
            }
            Err(errors) => Event::Unreadable { errors },
        }
    }

    /// The event of a release having been read.
    pub(in super::super) fn prepared(&mut self, prepared: Result<Prepared, String>) -> Event {
        match prepared {
            Ok(prepared) => {
                let release = self.releases.prepared(prepared);
                self.let_go_of_releases();
                self.planned(Ok(release))
            }
            Err(errors) => Event::Unreadable { errors },
        }
    }

    /// The event of a release having been written down, where somebody waits for it.
    pub(in super::super) fn recorded(&mut self, Recorded { number, why, error }: Recorded) -> Option<Event> {
        match why {
            Why::Deployed => Some(Event::Recorded { error }),
            Why::Started => {
                let release = number.to_string();
                if let Some(error) = error {
                    self.stream.notice(Notice::NotRecorded { release, error });
                }
                None
            }
        }
    }

    /// What we were started with runs, or has failed to.
    pub(in super::super) fn settled(&mut self, answer: &Answer) {
        if let Err(error) = self.releases.settled(answer) {
            tracing::warn!(error, "the release that runs is not the current one of its store");
        }
    }

    /// On a thread of its own: a disk may take its time.
    pub(super) fn reread(&mut self, inbox: &mut VecDeque<Event>) {
        let inputs = match self.releases.inputs() {
            Ok(inputs) => inputs,
            Err(errors) => return inbox.push_back(Event::Unreadable { errors }),
        };
        let facts = self.facts.clone();
        let read = move || {
            let planned = app::plan(&inputs);
            // An error means that the loop has ended and does not want to know.
            let _ = facts.blocking_send(Fact::Planned(Box::new(planned)));
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(read) {
            inbox.push_back(Event::Unreadable { errors: format!("no thread to read the files: {error}") });
        }
    }

    /// A command that is to run once becomes an edition like any other.
    pub(super) fn stage(&mut self, type_index: usize, edition: usize, staged: Staged) {
        let command = match staged {
            Staged::Asked(id) => self.one_offs.remove(&id),
            Staged::ReleasePhase => self.candidate.as_ref().and_then(Candidate::release_phase),
        };
        // Who decides stages only what was asked for, and what was read and not discarded.
        let command = command.expect("what is staged is there");
        self.editions.stage(type_index, edition, command, &self.family.editions());
    }
}
