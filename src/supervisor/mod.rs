//! Decides. `handle(now, event) -> actions` and `deadline() -> Option<Time>`: synchronous, no I/O, no clock, seeded
//! randomness. It must never learn what a file, a socket or a thread is.
//!
//! The contract with the loop: one event in, all its actions out, all performed or answered by an event of their
//! own, before the next event. When `deadline()` has come, the loop says [`Event::Woke`]; while more is due at once than
//! one step starts, `deadline()` is not later than now, and the loop serves its queue between the steps.
//!
//! Inside: *record, then settle*. Recording ([`record`]) writes down a fact and what it means for the slot it speaks
//! of; settling ([`settle`]) holds each touched slot's goal against its phase, in one table, and orders what brings
//! them together. The end of everything is a course of its own ([`course`]).

mod action;
mod backoff;
mod course;
mod event;
mod record;
mod sequel;
mod settle;
mod slot;
mod time;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::{InstanceId, Notice, SlotName, TypeName};
use crate::app::{Form, Policy, ProcessType};

use backoff::Dice;
use course::{Course, Job};

pub use action::{Action, Farewell, Whom};
pub use event::{Event, SpawnError, SpawnErrorKind};
pub use slot::{Body, Ending, Goal, Life, Outcome, Phase, Slot, SlotKey};
pub use time::Time;

/// Never two starts of one slot closer together than this: a program that dies at once cannot keep a machine busy.
pub const CLOSEST_STARTS: Duration = Duration::from_millis(250);

/// So many instances are started in one step at most. A start costs up to a millisecond: more, and a signal would
/// wait for it noticeably.
pub const STARTS_PER_STEP: usize = 8;

/// From SIGKILL to being called stuck, and from there to the end of a shutdown that does not wait any more.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);

/// How the supervisor was started, as far as its decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Habits {
    /// `--fail-fast`: the first exit of anything drains everything.
    pub fail_fast: FailFast,
    /// What SIGHUP means.
    pub hangup: Hangup,
    /// Whether SIGQUIT comes from a controlling terminal.
    pub terminal: Terminal,
    /// Whether we are the init of a pid namespace: what SIGTSTP means.
    pub init: Init,
}

/// `--fail-fast`, foreman's habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailFast {
    /// The first exit of anything, whatever its code, drains everything.
    Yes,
    /// Exits are treated by policy.
    No,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hangup {
    /// The terminal is gone: drain.
    Drain,
    /// There never was a terminal: read the configuration again.
    Reload,
}

/// Whether there is a controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// SIGQUIT is somebody's Ctrl-backslash: kill now.
    Present,
    /// SIGQUIT is an image's stop signal: drain.
    Absent,
}

/// Whether we are the init of a pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// Nobody could continue us: never stop.
    Yes,
    /// SIGTSTP stops the whole job.
    No,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { fail_fast: FailFast::No, hangup: Hangup::Drain, terminal: Terminal::Present, init: Init::No }
    }
}

/// A process type as far as it is decided about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: TypeName,
    /// How many should run.
    pub quantity: u32,
    /// How they are kept.
    pub policy: Policy,
    /// The PORT of slot 1.
    pub first_port: Option<u16>,
    /// Who finds the program.
    pub found_by: FoundBy,
}

/// Who finds the program of a type, and so who says that it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundBy {
    /// We do: its own exit codes 126 and 127 mean what it wants.
    Us,
    /// A shell: exit codes 126 and 127 mean that it found or could execute nothing.
    Shell,
}

impl From<&ProcessType> for Member {
    fn from(process_type: &ProcessType) -> Member {
        Member {
            name: process_type.name.clone(),
            quantity: process_type.quantity,
            policy: process_type.policy.clone(),
            first_port: process_type.port,
            found_by: match process_type.command.form {
                Form::Direct(_) => FoundBy::Us,
                Form::Exec | Form::Shell => FoundBy::Shell,
            },
        }
    }
}

/// The decider. See the module for its contract.
#[derive(Clone, Debug)]
pub struct Supervisor {
    habits: Habits,
    types: Vec<Type>,
    course: Course,
    job: Job,
    /// When which slot needs attention: the earliest first, among equals in formation order.
    agenda: BTreeSet<(Time, SlotKey)>,
    /// How many slots are not final.
    unsettled: usize,
    next_instance: u64,
    dice: Dice,
}

/// A member and its slots.
#[derive(Clone, Debug)]
struct Type {
    member: Member,
    slots: Vec<Slot>,
    record: Record,
}

/// Whether a type's program was ever seen to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// Not yet: a program that cannot be found or executed is a mistake.
    Blank,
    /// Yes: a program that cannot be found is being replaced, say.
    Ran,
}

/// One step: what it was told and what it orders.
struct Step {
    now: Time,
    actions: Vec<Action>,
    starts: usize,
}

impl Step {
    fn order(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn announce(&mut self, notice: Notice) {
        self.order(Action::Announce { notice, after: None });
    }
}

impl Supervisor {
    /// A supervisor for these types, every slot due now. The same seed and events give the same actions.
    #[must_use]
    pub fn new(members: Vec<Member>, habits: Habits, seed: u64, now: Time) -> Supervisor {
        let types: Vec<Type> = members
            .into_iter()
            .map(|member| Type {
                slots: (0..member.quantity).map(|_| Slot::new(now)).collect(),
                member,
                record: Record::Blank,
            })
            .collect();
        let mut supervisor = Supervisor {
            habits,
            types,
            course: Course::Up { first_failure: None },
            job: Job::Going,
            agenda: BTreeSet::new(),
            unsettled: 0,
            next_instance: 1,
            dice: Dice(seed),
        };
        let keys: Vec<SlotKey> = supervisor.slots().map(|(key, _)| key).collect();
        supervisor.unsettled = keys.len();
        supervisor.agenda.extend(keys.into_iter().map(|key| (now, key)));
        supervisor
    }

    /// Takes in one fact and says what is to be done.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut step = Step { now, actions: Vec::new(), starts: 0 };
        if !matches!(self.course, Course::Over) {
            self.record(&mut step, event);
            self.finish(&mut step);
        }
        step.actions
    }

    /// When [`Event::Woke`] is to be said, unless something happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.course {
            Course::Over => None,
            Course::Up { .. } | Course::Ending(_) => self.agenda.first().map(|(due, _)| *due),
        }
    }

    /// Every slot in formation order.
    pub fn slots(&self) -> impl Iterator<Item = (SlotKey, &Slot)> {
        self.types.iter().enumerate().flat_map(|(type_index, kind)| {
            (1..).zip(&kind.slots).map(move |(number, slot)| (SlotKey { type_index, number }, slot))
        })
    }

    /// The name of a slot: `web.1`.
    #[must_use]
    pub fn name(&self, key: SlotKey) -> SlotName {
        SlotName { process_type: self.types[key.type_index].member.name.clone(), number: key.number }
    }

    fn port(&self, key: SlotKey) -> Option<u16> {
        let first = u32::from(self.types[key.type_index].member.first_port?);
        u16::try_from(first + key.number - 1).ok()
    }

    fn slot(&self, key: SlotKey) -> &Slot {
        &self.types[key.type_index].slots[index(key)]
    }

    fn slot_mut(&mut self, key: SlotKey) -> &mut Slot {
        &mut self.types[key.type_index].slots[index(key)]
    }

    fn policy(&self, key: SlotKey) -> &Policy {
        &self.types[key.type_index].member.policy
    }

    /// The only place where a phase changes: the agenda and the count of unsettled slots follow it.
    fn enter(&mut self, key: SlotKey, phase: Phase) {
        let (due, unsettled) = (phase.deadline(), !phase.is_final());
        let old = std::mem::replace(&mut self.slot_mut(key).phase, phase);
        if let Some(due) = old.deadline() {
            self.agenda.remove(&(due, key));
        }
        if let Some(due) = due {
            self.agenda.insert((due, key));
        }
        self.unsettled = self.unsettled + usize::from(unsettled) - usize::from(!old.is_final());
    }

    fn new_instance(&mut self) -> InstanceId {
        let instance = InstanceId(self.next_instance);
        self.next_instance += 1;
        instance
    }
}

fn index(key: SlotKey) -> usize {
    // Slot numbers begin at 1; a key is only ever made from an existing slot.
    key.number as usize - 1
}

/// A duration as notices carry it.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
