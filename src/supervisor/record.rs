//! Facts, written down: what an event means for the slot it speaks of.
//!
//! An event of a life that is not the slot's present one changes nothing.

use crate::api::{Cause, ExitReason, ExitStatus, InstanceId, LastExit, Notice, Pid, Process, Then};
use crate::app::{Leftovers, StopScope};

use super::turnover::Which;
use super::{
    Action, Body, Condition, Ending, Event, FailFast, FoundBy, Goal, Life, Outcome, Phase, Readiness, Record,
    SlotKey, SpawnError, Step, Supervisor, Whom, millis,
};

impl Supervisor {
    pub(super) fn record(&mut self, step: &mut Step, event: Event) {
        match event {
            Event::Woke => {
                step.rolls = Which::Due;
                // What does not work is turned back before it is started once more.
                self.roll_on(step, Which::Stirred);
                // In one type: in all of them.
                self.deploy_on(step);
                self.settle_due(step);
                // Whoever has become ready lets others in, or go.
                self.open_gates(step);
                self.roll_on(step, Which::Due);
                self.deploy_on(step);
                self.settle_due(step);
            }
            Event::Received(signal) => self.received(step, signal),
            Event::ReaderGone => self.end(step, Cause::ReaderGone, None),
            Event::Requested { id, request } => {
                step.rolls = Which::All;
                self.requested(step, id, request);
            }
            Event::Withdrawn { ids } => self.forget_waiters(&ids),
            Event::Reread { types } => self.reread(step, types),
            Event::Unreadable { errors } => self.unreadable(step, errors),
            Event::Recorded { error } => self.recorded(step, error),
            Event::Withheld { signal, slots } => {
                let slots = slots.into_iter().map(|key| self.name(key)).collect();
                step.announce(Notice::SignalWithheld { signal, slots });
            }
            Event::Asked { type_index, missing } => self.asked(step, type_index, missing),
            Event::Probed { slot, instance, .. }
            | Event::Told { slot, instance, .. }
            | Event::PortTaken { slot, instance, .. }
            | Event::Spawned { slot, instance, .. }
            | Event::SpawnFailed { slot, instance, .. }
            | Event::LeaderExited { slot, instance, .. }
            | Event::Remaining { slot, instance, .. }
            | Event::SignalRefused { slot, instance, .. }
                if self.slot(slot).phase.instance() != Some(instance) => {}
            Event::Probed { slot, probe, result, .. } => self.probed(step, slot, probe, result),
            Event::Told { slot, word, .. } => self.told(step, slot, word),
            Event::PortTaken { slot, holder, .. } => {
                if let Some(port) = self.port(slot) {
                    step.announce(Notice::PortTaken { slot: self.name(slot), port, holder });
                }
            }
            Event::Spawned { slot, instance, pid } => self.spawned(step, slot, instance, pid),
            Event::SpawnFailed { slot, error, .. } => self.spawn_failed(step, slot, error),
            Event::LeaderExited { slot, status, living, .. } => {
                self.leader_exited(step, slot, status, living);
            }
            Event::Remaining { slot, living, .. } => self.remaining(step, slot, living),
            Event::SignalRefused { slot, signal, error, .. } => {
                step.announce(Notice::SignalRefused { slot: self.name(slot), signal, error });
            }
        }
    }

    fn spawned(&mut self, step: &mut Step, key: SlotKey, instance: InstanceId, pid: Pid) {
        if let Phase::Starting { since, .. } = self.slot(key).phase {
            step.announce(Notice::Started { slot: self.name(key), pid, port: self.port(key) });
            let condition = Condition::newborn(&self.member(key).probes, step.now);
            self.enter(key, Phase::Running { life: Life { instance, leader: pid, since }, condition });
            // Ordered a moment ago, but born only now: the next birth keeps its distance from this one.
            self.slot_mut(key).last_start = Some(step.now);
            let found_by = self.member(key).found_by;
            let kind = &mut self.types[key.type_index];
            match found_by {
                FoundBy::Us => kind.record = Record::Ran,
                // Only time will tell.
                FoundBy::Shell => {}
            }
            self.settle(step, key);
        }
    }

    fn spawn_failed(&mut self, step: &mut Step, key: SlotKey, error: SpawnError) {
        if !matches!(self.slot(key).phase, Phase::Starting { .. }) {
            return;
        }
        let name = self.name(key);
        let said = |then| Notice::NotStarted { slot: name, error: error.message, then };
        match (self.slot(key).goal, error.kind.code()) {
            (Goal::Down | Goal::Dead, Some(_) | None) => {
                step.announce(said(Then::Rest));
                self.enter(key, Phase::Stopped);
            }
            // The system was short of something.
            (Goal::Up, None) => {
                let wait = self.types[key.type_index].slots[super::index(key)].streak.short(&mut self.dice);
                step.announce(said(Then::Restart { delay_ms: millis(wait) }));
                self.enter(key, Phase::Backoff { due: step.now + wait });
            }
            (Goal::Up, Some(code)) => {
                let exit = LastExit::new(ExitStatus::Code(code), ExitReason::NotStarted);
                self.slot_mut(key).last_exit = Some(exit);
                let sequel = self.sequel(key, Outcome::NotStarted { code }, step.now);
                step.announce(said(sequel.then()));
                self.follow(step, key, sequel);
            }
        }
    }

    fn leader_exited(&mut self, step: &mut Step, key: SlotKey, status: ExitStatus, living: Vec<Process>) {
        match self.slot(key).phase.clone() {
            Phase::Running { life, condition } => {
                let reason = match (status.success(), condition.readiness) {
                    (true, _) => ExitReason::Completed,
                    (false, Readiness::Starting { .. }) => ExitReason::ExitedBeforeReady,
                    (
                        false,
                        Readiness::Expected { .. }
                        | Readiness::Ready { .. }
                        | Readiness::Lapsed { .. }
                        | Readiness::Stopping,
                    ) => ExitReason::Failed,
                };
                self.note_exit(key, status, reason);
                self.left_alone(step, key, life, status, living);
            }
            Phase::Draining { life, body: Body::Leader, deadline, ending } => {
                self.note_exit(key, status, ended_for(ending, ExitReason::Stopped));
                if !self.say_exit(step, key, life, status, &living) {
                    return self.gone(step, key, ending);
                }
                let policy = self.policy(key);
                let (signal, target) = match policy.stop_scope {
                    StopScope::Leader => (policy.stop_signal, Whom::Everyone),
                    // The group has had it.
                    StopScope::Group => (policy.stop_signal, Whom::Strays),
                };
                step.order(Action::Stop { slot: key, instance: life.instance, target, signal });
                self.enter(key, Phase::Draining { life, body: Body::Rest(living), deadline, ending });
            }
            Phase::Killing { life, body: Body::Leader, look_at, patience, ending } => {
                self.note_exit(key, status, ended_for(ending, ExitReason::Killed));
                if !self.say_exit(step, key, life, status, &living) {
                    return self.gone(step, key, ending);
                }
                let body = Body::Rest(living);
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Killing { life, body, look_at, patience, ending });
            }
            Phase::Stuck { life, body: Body::Leader, ending } => {
                self.note_exit(key, status, ExitReason::Killed);
                if !self.say_exit(step, key, life, status, &living) {
                    return self.gone(step, key, ending);
                }
                let body = Body::Rest(living);
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Stuck { life, body, ending });
            }
            Phase::Leaving { life, body: Body::Leader, until } => {
                self.note_exit(key, status, ExitReason::Killed);
                if !self.say_exit(step, key, life, status, &living) {
                    return self.gone(step, key, Ending::Asked);
                }
                let body = Body::Rest(living);
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Leaving { life, body, until });
            }
            // It has no leader, or its leader's end was told already.
            Phase::Draining { body: Body::Rest(_), .. }
            | Phase::Killing { body: Body::Rest(_), .. }
            | Phase::Stuck { body: Body::Rest(_), .. }
            | Phase::Leaving { body: Body::Rest(_), .. }
            | Phase::Starting { .. }
            | Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => {}
        }
    }

    /// Remembers how a leader ended, and why.
    fn note_exit(&mut self, key: SlotKey, status: ExitStatus, reason: ExitReason) {
        self.slot_mut(key).last_exit = Some(LastExit::new(status, reason));
        *self.types[key.type_index].tally.exits.entry(status.into()).or_default() += 1;
    }

    /// A leader has ended that nobody asked to: what follows waits until nothing is left of its instance.
    fn left_alone(
        &mut self,
        step: &mut Step,
        key: SlotKey,
        life: Life,
        status: ExitStatus,
        living: Vec<Process>,
    ) {
        let uptime_ms = millis(step.now - life.since);
        let outcome = Outcome::Exited { status, uptime_ms };
        if living.is_empty() {
            let sequel = self.sequel(key, outcome, step.now);
            let notice = Notice::Exited {
                slot: self.name(key),
                pid: life.leader,
                status,
                uptime_ms,
                then: sequel.then(),
            };
            step.order(Action::Announce { notice, after: Some(life.instance) });
            self.follow(step, key, sequel);
        } else if self.say_exit(step, key, life, status, &living) {
            let policy = self.policy(key);
            let (signal, deadline) = (policy.stop_signal, step.now + policy.drain);
            step.order(Action::Stop { slot: key, instance: life.instance, target: Whom::Everyone, signal });
            self.slot_mut(key).ends_since = Some(step.now);
            let (body, ending) = (Body::Rest(living), Ending::Own(outcome));
            self.enter(key, Phase::Draining { life, body, deadline, ending });
            if self.habits.fail_fast == FailFast::Yes && !self.is_one_off(key) {
                self.end_fast(step, key, status.shell_code());
            }
        } else {
            self.gone(step, key, Ending::Own(outcome));
        }
    }

    /// Says how a leader ended, after its last words; whether something is left of its instance that concerns us.
    fn say_exit(
        &mut self,
        step: &mut Step,
        key: SlotKey,
        life: Life,
        status: ExitStatus,
        living: &[Process],
    ) -> bool {
        let (then, remains) = match self.policy(key).leftovers {
            Leftovers::Stop | Leftovers::Leave if living.is_empty() => (Then::Rest, false),
            Leftovers::Stop => (Then::StopLeftovers { processes: living.to_vec() }, true),
            Leftovers::Leave => (Then::LetBe { processes: living.to_vec() }, false),
        };
        let uptime_ms = millis(step.now - life.since);
        let notice = Notice::Exited { slot: self.name(key), pid: life.leader, status, uptime_ms, then };
        step.order(Action::Announce { notice, after: Some(life.instance) });
        remains
    }

    fn remaining(&mut self, step: &mut Step, key: SlotKey, mut living: Vec<Process>) {
        if let (Phase::Killing { life, body: Body::Leader, .. }, Leftovers::Leave) =
            (&self.slot(key).phase, self.policy(key).leftovers)
        {
            // Only the leader was killed; nobody else has survived anything.
            let leader = life.leader;
            living.retain(|process| process.pid == leader);
        }
        match (self.slot(key).phase.clone(), living.is_empty()) {
            // The leader lives, or is a zombie whose end is about to be told with all that it leaves behind.
            (
                Phase::Running { .. }
                | Phase::Starting { .. }
                | Phase::Draining { body: Body::Leader, .. }
                | Phase::Stuck { body: Body::Leader, .. }
                | Phase::Leaving { body: Body::Leader, .. },
                _,
            )
            | (Phase::Killing { body: Body::Leader, .. }, true) => {}
            (
                Phase::Draining { body: Body::Rest(_), ending, .. }
                | Phase::Killing { body: Body::Rest(_), ending, .. }
                | Phase::Stuck { body: Body::Rest(_), ending, .. },
                true,
            ) => self.gone(step, key, ending),
            (Phase::Leaving { body: Body::Rest(_), .. }, true) => self.gone(step, key, Ending::Asked),
            (Phase::Draining { life, body: Body::Rest(_), deadline, ending }, false) => {
                self.enter(key, Phase::Draining { life, body: Body::Rest(living), deadline, ending });
            }
            (Phase::Killing { life, body, patience, ending, .. }, false) if patience <= step.now => {
                let pids = living.iter().map(|process| process.pid).collect();
                step.announce(Notice::Stuck { slot: self.name(key), pids });
                self.enter(key, Phase::Stuck { life, body, ending });
                self.settle(step, key);
            }
            // Somebody was born while we killed.
            (Phase::Killing { life, body, look_at, patience, ending }, false) => {
                let body = match body {
                    Body::Leader => Body::Leader,
                    Body::Rest(_) => Body::Rest(living),
                };
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Killing { life, body, look_at, patience, ending });
            }
            (Phase::Stuck { life, body: Body::Rest(_), ending }, false) => {
                let body = Body::Rest(living);
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Stuck { life, body, ending });
            }
            (Phase::Leaving { life, body: Body::Rest(_), until }, false) => {
                let body = Body::Rest(living);
                self.order_kill(step, key, life, &body);
                self.enter(key, Phase::Leaving { life, body, until });
            }
            (
                Phase::Waiting
                | Phase::Needing { .. }
                | Phase::Pending { .. }
                | Phase::Backoff { .. }
                | Phase::Lost
                | Phase::Completed
                | Phase::Failed
                | Phase::Stopped,
                _,
            ) => {}
        }
    }
}

/// Why somebody ended who was asked to: a probe, or `reason`.
fn ended_for(ending: Ending, reason: ExitReason) -> ExitReason {
    match ending {
        Ending::Own(Outcome::Unwell { .. }) => ExitReason::Unwell,
        Ending::Asked
        | Ending::Own(Outcome::Exited { .. } | Outcome::NotStarted { .. } | Outcome::Unsupplied) => reason,
    }
}
