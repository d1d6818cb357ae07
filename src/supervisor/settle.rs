//! The table: goal and phase of a slot, held against each other, give what is to be done.
//!
//! | phase            | `Up`                   | `Down`                    | `Dead`            |
//! |------------------|------------------------|---------------------------|-------------------|
//! | Waiting          | waits for other types  | -> Stopped                | -> Stopped        |
//! | Pending, Backoff | due: spawn -> Starting, or later where its PORT is not free yet, or -> Needing | -> Stopped | -> Stopped |
//! | Needing          | due: asks again, or has failed -> Backoff, Failed; all answered: -> Pending | -> Stopped | -> Stopped |
//! | Starting         | waits for its answer   | waits for its answer      | waits             |
//! | Running          | due: probes, readiness; unwell: -> Draining | stop signal -> Draining   | kill -> Killing   |
//! | Draining         | deadline: -> Killing   | deadline: -> Killing      | kill -> Killing   |
//! | Killing          | late: look             | late: look                | late: look        |
//! | Stuck            | keeps its slot         | in a shutdown: -> Leaving | -> Leaving        |
//! | Leaving          | (never)                | late: -> Lost             | late: -> Lost     |
//! | Completed, Failed, Stopped, Lost | rests  | rests                     | rests             |

use std::time::Duration;

use crate::api::{KillReason, Notice};
use crate::app::{Leftovers, StopScope};

use super::course::Course;
use super::{
    Action, Body, CLOSEST_STARTS, Ending, Goal, Life, Phase, STARTS_PER_STEP, STUCK_AFTER, Slot, SlotKey,
    Step, Supervisor, Whom, millis,
};

impl Supervisor {
    /// Settles every slot whose time has come, as far as one step starts instances.
    pub(super) fn settle_due(&mut self, step: &mut Step) {
        while step.starts < STARTS_PER_STEP {
            match self.agenda.first() {
                Some((due, key)) if *due <= step.now => self.settle(step, *key),
                Some(_) | None => return,
            }
        }
    }

    /// Brings a slot one step nearer to its goal.
    pub(super) fn settle(&mut self, step: &mut Step, key: SlotKey) {
        let slot = self.slot(key);
        match (slot.goal, &slot.phase) {
            (Goal::Up, Phase::Pending { due } | Phase::Backoff { due }) => {
                if *due > step.now {
                    return;
                }
                if self.port_comes_free(key) {
                    self.enter(key, Phase::Pending { due: step.now + CLOSEST_STARTS });
                } else if !self.is_supplied(step.now, key) {
                    self.await_supply(step, key);
                } else {
                    self.spawn(step, key);
                }
            }
            (
                Goal::Down | Goal::Dead,
                Phase::Waiting | Phase::Needing { .. } | Phase::Pending { .. } | Phase::Backoff { .. },
            ) => self.enter(key, Phase::Stopped),
            (Goal::Up, Phase::Needing { since, look_at }) => {
                if *look_at <= step.now {
                    let since = *since;
                    self.still_awaits(step, key, since);
                }
            }
            // The gate of its type opens, or not.
            (Goal::Up, Phase::Waiting) => {}

            (Goal::Up | Goal::Down | Goal::Dead, Phase::Starting { .. }) => {}

            (Goal::Up, Phase::Running { life, condition }) => {
                if condition.deadline().is_some_and(|due| due <= step.now) {
                    let (life, condition) = (*life, condition.clone());
                    self.check(step, key, life, condition);
                }
            }
            (Goal::Down, Phase::Running { life, .. }) => {
                let life = *life;
                self.stop(step, key, life, Ending::Asked);
            }
            (Goal::Dead, Phase::Running { life, .. }) => {
                let life = *life;
                self.kill(step, key, life, Body::Leader, Ending::Asked);
            }

            (
                goal @ (Goal::Up | Goal::Down | Goal::Dead),
                Phase::Draining { life, body, deadline, ending },
            ) => {
                if goal == Goal::Dead || *deadline <= step.now {
                    let (life, body, ending) = (*life, body.clone(), *ending);
                    self.kill(step, key, life, body, ending);
                }
            }

            (
                Goal::Up | Goal::Down | Goal::Dead,
                Phase::Killing { life, body, look_at, patience, ending },
            ) => {
                if *look_at <= step.now {
                    let (life, body, patience, ending) = (*life, body.clone(), *patience, *ending);
                    step.order(Action::Look { slot: key, instance: life.instance });
                    let look_at = step.now + STUCK_AFTER;
                    self.enter(key, Phase::Killing { life, body, look_at, patience, ending });
                }
            }

            (Goal::Up, Phase::Stuck { .. } | Phase::Leaving { .. }) => {}
            (Goal::Down | Goal::Dead, Phase::Stuck { life, body, .. }) => match self.course {
                // One slot was asked to end: it keeps its place for as long as it takes.
                Course::Up { .. } => {}
                Course::Ending(_) | Course::Over => {
                    let (life, body, until) = (*life, body.clone(), step.now + STUCK_AFTER);
                    self.enter(key, Phase::Leaving { life, body, until });
                }
            },
            (Goal::Down | Goal::Dead, Phase::Leaving { until, .. }) => {
                if *until <= step.now {
                    self.enter(key, Phase::Lost);
                }
            }

            (
                Goal::Up | Goal::Down | Goal::Dead,
                Phase::Completed | Phase::Failed | Phase::Stopped | Phase::Lost,
            ) => {}
        }
    }

    /// Whether somebody who is on its way out still has the PORT that a new instance gets: a reload may give the ports of one
    /// slot to another. What is stuck is not waited for.
    fn port_comes_free(&self, key: SlotKey) -> bool {
        let Some(port) = self.types[key.type_index].newest().port(key.number) else { return false };
        let leaves = |slot: &Slot| matches!(slot.phase, Phase::Draining { .. } | Phase::Killing { .. });
        self.types.iter().flat_map(|kind| kind.on_port(port)).any(leaves)
    }

    fn spawn(&mut self, step: &mut Step, key: SlotKey) {
        let instance = self.new_instance();
        let (edition, _) = self.next_edition(key);
        step.starts += 1;
        step.order(Action::Spawn { slot: key, instance, edition });
        let slot = self.slot_mut(key);
        (slot.last_start, slot.edition, slot.status_text) = (Some(step.now), edition, None);
        self.enter(key, Phase::Starting { instance, since: step.now });
    }

    /// The stop signal to the leader or its group, and the drain begins.
    pub(super) fn stop(&mut self, step: &mut Step, key: SlotKey, life: Life, ending: Ending) {
        let policy = self.policy(key);
        let target = match policy.stop_scope {
            StopScope::Leader => Whom::Leader,
            StopScope::Group => Whom::Group,
        };
        let (signal, deadline) = (policy.stop_signal, step.now + self.drain(key));
        step.order(Action::Stop { slot: key, instance: life.instance, target, signal });
        self.slot_mut(key).ends_since = Some(step.now);
        self.enter(key, Phase::Draining { life, body: Body::Leader, deadline, ending });
    }

    fn kill(&mut self, step: &mut Step, key: SlotKey, life: Life, body: Body, ending: Ending) {
        let reason = match self.slot(key).goal {
            Goal::Dead => KillReason::Asked,
            Goal::Up | Goal::Down => KillReason::DrainTimeout { drain_ms: millis(self.drain(key)) },
        };
        step.announce(Notice::Killed { slot: self.name(key), reason });
        self.order_kill(step, key, life, &body);
        let patience = step.now + STUCK_AFTER;
        self.enter(key, Phase::Killing { life, body, look_at: patience, patience, ending });
    }

    /// From the stop signal to SIGKILL.
    pub(super) fn drain(&self, key: SlotKey) -> Duration {
        let own = self.policy(key).drain;
        match &self.course {
            Course::Ending(end) => end.drain().of(own),
            Course::Up { .. } | Course::Over => own,
        }
    }

    /// SIGKILL to whoever of an instance concerns us.
    pub(super) fn order_kill(&mut self, step: &mut Step, key: SlotKey, life: Life, body: &Body) {
        let policy = self.policy(key);
        let target = match (body, policy.leftovers, policy.stop_scope) {
            // They were not to be let be when their leader ended, whatever holds since.
            (Body::Rest(_), Leftovers::Stop | Leftovers::Leave, StopScope::Leader | StopScope::Group)
            | (Body::Leader, Leftovers::Stop, StopScope::Leader | StopScope::Group) => Whom::Everyone,
            (Body::Leader, Leftovers::Leave, StopScope::Leader) => Whom::Leader,
            (Body::Leader, Leftovers::Leave, StopScope::Group) => Whom::Group,
        };
        step.order(Action::Kill { slot: key, instance: life.instance, target });
        if let Course::Ending(end) = &mut self.course {
            end.note_kill();
        }
    }
}
