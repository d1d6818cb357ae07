//! Who waits for what, and what they are told: each request is answered exactly once.

use crate::api::{Accepted, Effect, Refusal, RequestId, TypeName, When, Will};

use super::request::Effects;
use super::rollout::{Purpose, Rollout};
use super::{Action, Phase, Readiness, SlotKey, Step, Supervisor};

/// Somebody who is answered later.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) id: RequestId,
    pub(super) until: Until,
}

/// What somebody waits for.
#[derive(Clone, Debug)]
pub(super) enum Until {
    /// The files have been read again; then perhaps for what follows from that.
    Reread(When),
    /// These slots have come to what they were asked to.
    Settled(Effects, Rollouts),
    /// A release has been read, or has come to run everywhere, or not: what becomes of which slot is known once it was read.
    Deployed(When, Option<Effects>),
    /// We end.
    Over,
}

/// Whether who asked waits for the rollouts of the types that it concerns, and learns what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins {
    Rollouts,
    Nothing,
}

/// Rollouts under way: the type of each, and its number.
pub(super) type Rollouts = Vec<(usize, u64)>;

impl Supervisor {
    pub(super) fn answer(
        &mut self,
        step: &mut Step,
        id: RequestId,
        when: When,
        effects: Effects,
        joins: Joins,
    ) {
        match when {
            When::Accepted => self.reply(step, id, &effects),
            When::Happened => {
                let under_way = |type_index: &usize| {
                    let Rollout { id, purpose, .. } = self.types[*type_index].rollout.as_ref()?;
                    match (joins, purpose) {
                        (Joins::Rollouts, Purpose::Forward { .. }) => Some((*type_index, *id)),
                        // Somebody else has asked for that, and knows what came of it.
                        (Joins::Rollouts, Purpose::Back) | (Joins::Nothing, _) => None,
                    }
                };
                let meant =
                    |(type_index, _): &(usize, u64)| effects.keys().any(|key| key.type_index == *type_index);
                let rollouts = self.rolling.iter().filter_map(under_way).filter(meant).collect();
                self.waiters.push(Waiter { id, until: Until::Settled(effects, rollouts) });
            }
        }
    }

    pub(super) fn reply(&self, step: &mut Step, id: RequestId, effects: &Effects) {
        let effect = |(key, will): (&SlotKey, &Will)| Effect {
            name: self.name(*key),
            will: *will,
            state: self.slot(*key).phase.state(),
        };
        let processes = effects.iter().map(effect).collect();
        step.order(Action::Reply { id, answer: Ok(Accepted { formation: self.formation(), processes }) });
    }

    /// A rollout comes to nothing: so are those answered who wait for it.
    pub(super) fn refuse_rollout(
        &mut self,
        step: &mut Step,
        type_index: usize,
        id: u64,
        refusal: impl Fn(TypeName) -> Refusal,
    ) {
        let process_type = self.types[type_index].newest().name.clone();
        let waits = |waiter: &mut Waiter| match &waiter.until {
            Until::Settled(_, rollouts) => rollouts.contains(&(type_index, id)),
            Until::Reread(_) | Until::Deployed(..) | Until::Over => false,
        };
        for waiter in self.waiters.extract_if(.., waits) {
            let answer = Err(refusal(process_type.clone()));
            step.order(Action::Reply { id: waiter.id, answer });
        }
    }

    /// Whether a slot has come to what it was asked to, or will not by itself.
    pub(super) fn is_settled(&self, key: SlotKey, will: Will) -> bool {
        match (will, &self.slot(key).phase) {
            (Will::Signal | Will::Stay, _) => true,
            (
                Will::Start | Will::Restart | Will::Stop,
                Phase::Stuck { .. }
                | Phase::Leaving { .. }
                | Phase::Lost
                | Phase::Completed
                | Phase::Failed
                | Phase::Stopped,
            ) => true,
            (Will::Start | Will::Restart, Phase::Running { condition, .. }) => match condition.readiness {
                Readiness::Ready { .. } | Readiness::Lapsed { .. } | Readiness::Stopping => true,
                Readiness::Expected { .. } | Readiness::Starting { .. } => false,
            },
            (Will::Start | Will::Restart, Phase::Backoff { .. }) => true,
            (Will::Start | Will::Restart, Phase::Waiting | Phase::Needing { .. } | Phase::Pending { .. }) => {
                false
            }
            // Somebody else may have asked for the contrary meanwhile, and got it.
            (
                Will::Stop,
                Phase::Waiting
                | Phase::Needing { .. }
                | Phase::Pending { .. }
                | Phase::Running { .. }
                | Phase::Backoff { .. },
            ) => true,
            (
                Will::Start | Will::Restart | Will::Stop,
                Phase::Starting { .. } | Phase::Draining { .. } | Phase::Killing { .. },
            ) => false,
        }
    }

    /// Answers those whose wish has come true.
    pub(super) fn answer_waiters(&mut self, step: &mut Step) {
        if self.waiters.is_empty() {
            return;
        }
        let (waiting, done): (Vec<Waiter>, Vec<Waiter>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|waiter| match &waiter.until {
                Until::Settled(effects, rollouts) => {
                    rollouts.iter().any(|(type_index, id)| self.types[*type_index].rolls(*id))
                        || !effects.iter().all(|(key, will)| self.is_settled(*key, *will))
                }
                Until::Reread(_) | Until::Deployed(..) | Until::Over => true,
            });
        self.waiters = waiting;
        for waiter in done {
            if let Until::Settled(effects, _) = &waiter.until {
                self.reply(step, waiter.id, effects);
            }
        }
    }

    /// Nobody wants these answers any more.
    pub(super) fn forget_waiters(&mut self, ids: &[RequestId]) {
        self.waiters.retain(|waiter| !ids.contains(&waiter.id));
    }

    /// The files have been read again: answers those who wait for that.
    pub(super) fn answer_reread(&mut self, step: &mut Step, result: &Result<Effects, Refusal>) {
        for waiter in std::mem::take(&mut self.waiters) {
            match (waiter.until, result) {
                (Until::Reread(when), Ok(effects)) => {
                    self.answer(step, waiter.id, when, effects.clone(), Joins::Rollouts);
                }
                (Until::Reread(_), Err(refusal)) => {
                    step.order(Action::Reply { id: waiter.id, answer: Err(refusal.clone()) });
                }
                (until @ (Until::Settled(..) | Until::Deployed(..) | Until::Over), _) => {
                    self.waiters.push(Waiter { until, ..waiter });
                }
            }
        }
    }

    /// A release was read, and is being deployed: answers those who wait for no more than that.
    pub(super) fn deploy_accepted(&mut self, step: &mut Step, effects: &Effects) {
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter.until {
                Until::Deployed(When::Accepted, _) => self.reply(step, waiter.id, effects),
                Until::Deployed(When::Happened, _) => {
                    let until = Until::Deployed(When::Happened, Some(effects.clone()));
                    self.waiters.push(Waiter { until, ..waiter });
                }
                Until::Reread(_) | Until::Settled(..) | Until::Over => self.waiters.push(waiter),
            }
        }
    }

    /// A release runs everywhere: answers those who wait for that; or it does not.
    pub(super) fn deploy_over(&mut self, step: &mut Step, result: Result<(), &Refusal>) {
        for waiter in std::mem::take(&mut self.waiters) {
            match (waiter.until, result) {
                (Until::Deployed(_, effects), Ok(())) => {
                    self.reply(step, waiter.id, &effects.unwrap_or_default());
                }
                (Until::Deployed(..), Err(refusal)) => {
                    step.order(Action::Reply { id: waiter.id, answer: Err(refusal.clone()) });
                }
                (until @ (Until::Reread(_) | Until::Settled(..) | Until::Over), _) => {
                    self.waiters.push(Waiter { until, ..waiter });
                }
            }
        }
    }

    /// The end has begun: what anybody waited for will not be.
    pub(super) fn refuse_waiters(&mut self, step: &mut Step) {
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter.until {
                Until::Reread(_) | Until::Settled(..) | Until::Deployed(..) => {
                    step.order(Action::Reply { id: waiter.id, answer: Err(Refusal::ShuttingDown) });
                }
                Until::Over => self.waiters.push(waiter),
            }
        }
    }

    /// Everything has ended.
    pub(super) fn dismiss_waiters(&mut self, step: &mut Step) {
        self.refuse_waiters(step);
        for waiter in std::mem::take(&mut self.waiters) {
            self.reply(step, waiter.id, &Effects::new());
        }
    }
}
