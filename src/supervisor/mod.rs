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
mod condition;
mod course;
mod deploy;
mod event;
mod gate;
mod habits;
mod health;
mod member;
mod needs;
mod one_off;
mod record;
mod reload;
mod request;
mod rollout;
mod scale;
mod sequel;
mod setback;
mod settle;
mod slot;
mod status;
mod time;
mod turnover;
mod waiting;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{InstanceId, Notice, SlotName};
use crate::app::Policy;

use backoff::Dice;
use course::{Course, Job};
use deploy::Deploy;
use member::{Record, Standing, Type, index};
use reload::Reading;
use turnover::Which;
use waiting::Waiter;

pub use action::{Action, Farewell, Staged, Whom};
pub use condition::{Condition, Misses, Next, Readiness, Run, Watch};
pub use event::{Event, Program, Reread, SpawnError, SpawnErrorKind};
pub use habits::{FailFast, Habits, Hangup, Init, Terminal};
pub use member::{FoundBy, Member, Need, Probes, Probing, Source, Surge};
pub use slot::{Body, Ending, Goal, Life, Outcome, Phase, Slot, SlotKey};
pub use status::Census;
pub use time::Time;

/// Never two starts of one slot closer together than this: a program that dies at once cannot keep a machine busy.
pub const CLOSEST_STARTS: Duration = Duration::from_millis(250);

/// So many instances are started in one step at most. A start costs up to a millisecond: more, and a signal would
/// wait for it noticeably.
pub const STARTS_PER_STEP: usize = 8;

/// From SIGKILL to being called stuck, and from there to the end of a shutdown that does not wait any more.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);

/// An instance is ready when it has run so long: most programs that cannot work say so and end sooner.
pub const READY_AFTER: Duration = Duration::from_secs(1);

/// The decider. See the module for its contract.
#[derive(Clone, Debug)]
pub struct Supervisor {
    habits: Habits,
    /// Every type there ever was; none is ever taken away, so that a key stays true.
    types: Vec<Type>,
    /// The listed ones, as the Procfile has them.
    order: Vec<usize>,
    course: Course,
    job: Job,
    /// When which slot needs attention: the earliest first, among equals in formation order.
    agenda: BTreeSet<(Time, SlotKey)>,
    /// How many slots are not final.
    unsettled: usize,
    next_instance: u64,
    dice: Dice,
    /// Requests that are answered when something has happened.
    waiters: Vec<Waiter>,
    reading: Reading,
    deploy: Option<Deploy>,
    /// The type whose slots one-off commands run in, once there was one.
    one_offs: Option<usize>,
    /// Whether a phase or a count has changed since the gates were last looked at.
    moved: bool,
    /// The types whose instances are being replaced.
    rolling: Vec<usize>,
    next_rollout: u64,
    /// Whether every essential type has had enough ready instances, all at once.
    started: bool,
}

/// One step: what it was told and what it orders.
struct Step {
    now: Time,
    actions: Vec<Action>,
    starts: usize,
    /// Which rollouts go on in it.
    rolls: Which,
}

impl Step {
    fn new(now: Time) -> Step {
        Step { now, actions: Vec::new(), starts: 0, rolls: Which::Urgent }
    }

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
        let types: Vec<Type> =
            members.into_iter().map(|member| Type::new(member, Record::Blank, now)).collect();
        let mut supervisor = Supervisor {
            habits,
            order: (0..types.len()).collect(),
            types,
            course: Course::Up { failures: Vec::new() },
            job: Job::Going,
            agenda: BTreeSet::new(),
            unsettled: 0,
            next_instance: 1,
            dice: Dice(seed),
            waiters: Vec::new(),
            reading: Reading::No,
            deploy: None,
            one_offs: None,
            moved: true,
            rolling: Vec::new(),
            next_rollout: 1,
            started: false,
        };
        // Types of which nothing shall run keep nobody waiting; there is nobody yet to whom the rest could be said.
        supervisor.open_gates(&mut Step::new(now));
        for kind in &mut supervisor.types {
            kind.gate = kind.gate.unsaid();
        }
        supervisor.moved = false;
        supervisor.note_started();
        supervisor.unsettled = supervisor.slots().count();
        supervisor.agenda =
            supervisor.slots().filter_map(|(key, slot)| Some((slot.phase.deadline()?, key))).collect();
        supervisor
    }

    /// Takes in one fact and says what is to be done.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut step = Step::new(now);
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
            Course::Up { .. } | Course::Ending(_) => {
                let due = self.agenda.first().map(|(due, _)| *due);
                due.into_iter().chain(self.rollout_deadline()).min()
            }
        }
    }

    /// Every slot that is there, in formation order; last those of types that are not in the Procfile: any more, or ever.
    pub fn slots(&self) -> impl Iterator<Item = (SlotKey, &Slot)> {
        self.every_type().flat_map(|type_index| {
            let present = self.types[type_index].present();
            present.map(move |(number, slot)| (SlotKey { type_index, number }, slot))
        })
    }

    /// Every type there ever was: those of the Procfile in its order, then those that are not in it.
    fn every_type(&self) -> impl Iterator<Item = usize> {
        let unlisted = |type_index: &usize| self.types[*type_index].standing != Standing::Listed;
        self.order.iter().copied().chain((0..self.types.len()).filter(unlisted))
    }

    /// The name of a slot: `web.1`.
    #[must_use]
    pub fn name(&self, key: SlotKey) -> SlotName {
        let process_type = self.types[key.type_index].newest().name.clone();
        SlotName { process_type, number: key.number }
    }

    /// What holds for the instance in a slot, or the one that was there last.
    fn member(&self, key: SlotKey) -> &Member {
        let kind = &self.types[key.type_index];
        kind.edition(&kind.slots[index(key)])
    }

    fn port(&self, key: SlotKey) -> Option<u16> {
        self.member(key).port(key.number)
    }

    fn slot(&self, key: SlotKey) -> &Slot {
        &self.types[key.type_index].slots[index(key)]
    }

    fn slot_mut(&mut self, key: SlotKey) -> &mut Slot {
        &mut self.types[key.type_index].slots[index(key)]
    }

    fn policy(&self, key: SlotKey) -> &Policy {
        &self.member(key).policy
    }

    /// The only place where a phase changes: the agenda, the count of unsettled slots and the list of failed ones follow it.
    fn enter(&mut self, key: SlotKey, phase: Phase) {
        self.moved = true;
        let (due, unsettled) = (phase.deadline(), !phase.is_final());
        let old = std::mem::replace(&mut self.slot_mut(key).phase, phase);
        self.types[key.type_index].stir(&old, key.number);
        if let Some(due) = old.deadline() {
            self.agenda.remove(&(due, key));
        }
        if let Some(due) = due {
            self.agenda.insert((due, key));
        }
        self.unsettled = self.unsettled + usize::from(unsettled) - usize::from(!old.is_final());
        if let (Phase::Failed, Course::Up { failures }) = (&old, &mut self.course) {
            failures.retain(|(other, _)| *other != key);
        }
    }

    fn new_instance(&mut self) -> InstanceId {
        let instance = InstanceId(self.next_instance);
        self.next_instance += 1;
        instance
    }
}

/// A duration as notices carry it.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
