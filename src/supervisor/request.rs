//! What somebody asks for: whom it means, what it changes, and when it is answered.
//!
//! Requests only change goals, or end a life whose goal stays up; the table does the rest. What cannot be is refused
//! with its reason before anything changes. Once the end has begun nothing can be asked for but the end.

use std::collections::BTreeMap;

use crate::api::{
    Manner, Notice, Refusal, Request, RequestId, Signal, SlotName, Target, TypeName, Verb, When, Will,
};

use super::course::Course;
use super::reload::Reading;
use super::rollout::Back;
use super::sequel::earliest;
use super::waiting::{Joins, Until, Waiter};
use super::{Action, Ending, Goal, Phase, SlotKey, Standing, Step, Supervisor, backoff::Streak};

/// What becomes of which slot.
pub(super) type Effects = BTreeMap<SlotKey, Will>;

impl Supervisor {
    pub(super) fn requested(&mut self, step: &mut Step, id: RequestId, request: Request) {
        let Request { verb, answer } = request;
        let joins = match &verb {
            Verb::Restart { manner: Manner::Rolling, .. } => Joins::Rollouts,
            Verb::Restart { manner: Manner::AtOnce, .. }
            | Verb::Scale { .. }
            | Verb::Stop { .. }
            | Verb::Signal { .. }
            | Verb::Reload
            | Verb::Deploy { .. }
            | Verb::Run { .. }
            | Verb::Shutdown { .. }
            | Verb::Settle => Joins::Nothing,
        };
        let done = match (&self.course, verb) {
            (Course::Up { .. } | Course::Ending(_) | Course::Over, Verb::Shutdown { drain }) => {
                let effects = self.alive().map(|key| (key, Will::Stop)).collect();
                self.shut_down(step, drain);
                match answer {
                    When::Accepted => self.reply(step, id, &effects),
                    When::Happened => self.waiters.push(Waiter { id, until: Until::Over }),
                }
                return;
            }
            (Course::Ending(_) | Course::Over, _) => Err(Refusal::ShuttingDown),
            (Course::Up { .. }, Verb::Deploy { release }) => match self.deploy(step, release) {
                Ok(()) => return self.waiters.push(Waiter { id, until: Until::Deployed(answer, None) }),
                Err(refusal) => Err(refusal),
            },
            (Course::Up { .. }, Verb::Run { process_type }) => self
                .run_one_off(step, id, process_type.as_ref())
                .map(|key| Effects::from([(key, Will::Start)])),
            (Course::Up { .. }, Verb::Reload) if self.deploy.is_some() => {
                self.check_deploying().map(|()| Effects::new())
            }
            (Course::Up { .. }, Verb::Reload) if self.reading != Reading::No => Err(Refusal::Busy),
            (Course::Up { .. }, Verb::Reload) => {
                self.waiters.push(Waiter { id, until: Until::Reread(answer) });
                return self.order_reread(step);
            }
            (Course::Up { .. }, Verb::Scale { changes }) => self.scale(step, &changes, answer),
            (Course::Up { .. }, Verb::Restart { targets, manner }) => {
                self.meant(&targets).map(|keys| self.restart_all(step, &keys, manner))
            }
            (Course::Up { .. }, Verb::Stop { targets }) => {
                self.meant(&targets).map(|keys| self.stop_all(step, &keys))
            }
            (Course::Up { .. }, Verb::Signal { signal, targets }) => {
                self.meant(&targets).and_then(|keys| self.signal_all(step, &keys, signal))
            }
            (Course::Up { .. }, Verb::Settle) => {
                Ok(self.slots().map(|(key, _)| (key, Will::Start)).collect())
            }
        };
        match done {
            Ok(effects) => self.answer(step, id, answer, effects, joins),
            Err(refusal) => step.order(Action::Reply { id, answer: Err(refusal) }),
        }
    }

    /// The slots that targets mean, all where there are none.
    fn meant(&self, targets: &[Target]) -> Result<Vec<SlotKey>, Refusal> {
        let mut present: Vec<(SlotKey, SlotName, bool)> =
            self.slots().map(|(key, _)| (key, self.name(key), targets.is_empty())).collect();
        for target in targets {
            let mut means_somebody = self.listed().any(|(_, name)| target.means_type(name.as_str()));
            for (_, name, is_meant) in &mut present {
                if target.means(name) {
                    (*is_meant, means_somebody) = (true, true);
                }
            }
            if !means_somebody {
                let known = self.listed().map(|(_, name)| name.clone()).collect();
                return Err(Refusal::UnknownTarget { target: target.to_string(), known });
            }
        }
        Ok(present.into_iter().filter(|(_, _, is_meant)| *is_meant).map(|(key, ..)| key).collect())
    }

    /// Every type of the Procfile, in its order.
    pub(super) fn listed(&self) -> impl Iterator<Item = (usize, &TypeName)> {
        self.order.iter().map(|type_index| (*type_index, &self.types[*type_index].newest().name))
    }

    fn alive(&self) -> impl Iterator<Item = SlotKey> {
        self.slots().filter(|(_, slot)| slot.phase.instance().is_some()).map(|(key, _)| key)
    }

    fn restart_all(&mut self, step: &mut Step, keys: &[SlotKey], manner: Manner) -> Effects {
        // What is on its way out of the formation stays on it.
        let wanted = |key: &&SlotKey| {
            let kind = &self.types[key.type_index];
            kind.standing == Standing::Listed && key.number <= kind.wanted()
        };
        let keys: Vec<SlotKey> = keys.iter().filter(wanted).copied().collect();
        match manner {
            Manner::AtOnce => {
                self.say_asked(step, &keys, Will::Restart);
                keys.into_iter().map(|key| (key, self.restart(step, key))).collect()
            }
            Manner::Rolling => {
                let of_one_type = |one: &SlotKey, other: &SlotKey| one.type_index == other.type_index;
                let types = keys.chunk_by(of_one_type);
                types.flat_map(|keys| self.roll(step, keys[0].type_index, keys, Back::Nowhere)).collect()
            }
        }
    }

    /// A new life for a slot, whatever it is at, and a new streak.
    pub(super) fn restart(&mut self, step: &mut Step, key: SlotKey) -> Will {
        let slot = self.slot_mut(key);
        slot.streak = Streak::default();
        self.raise(step, key)
    }

    /// A new life for a slot, whatever it is at.
    pub(super) fn raise(&mut self, step: &mut Step, key: SlotKey) -> Will {
        let gate = self.types[key.type_index].gate;
        let slot = self.slot_mut(key);
        slot.goal = Goal::Up;
        let pending = gate.phase(earliest(slot.last_start, step.now));
        match slot.phase.clone() {
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => {
                self.enter(key, pending);
                Will::Start
            }
            // It is as new as can be.
            Phase::Starting { .. } => Will::Start,
            Phase::Running { life, .. } => {
                self.stop(step, key, life, Ending::Asked);
                Will::Restart
            }
            // What it ended by does not count any more.
            Phase::Draining { life, body, deadline, .. } => {
                self.enter(key, Phase::Draining { life, body, deadline, ending: Ending::Asked });
                Will::Restart
            }
            Phase::Killing { life, body, look_at, patience, .. } => {
                let ending = Ending::Asked;
                self.enter(key, Phase::Killing { life, body, look_at, patience, ending });
                Will::Restart
            }
            Phase::Stuck { life, body, .. } => {
                self.enter(key, Phase::Stuck { life, body, ending: Ending::Asked });
                Will::Restart
            }
            // Only a shutdown leaves anybody behind, and then nothing is raised.
            Phase::Leaving { .. } | Phase::Lost => Will::Stay,
        }
    }

    fn stop_all(&mut self, step: &mut Step, keys: &[SlotKey]) -> Effects {
        let up: Vec<SlotKey> = keys.iter().filter(|key| self.slot(**key).goal == Goal::Up).copied().collect();
        self.say_asked(step, &up, Will::Stop);
        // Who waits for what somebody else has asked for waits for its end.
        let mut effects = self.under_way(keys.iter().copied(), Will::Stop);
        effects.extend(up.into_iter().map(|key| (key, self.lower(step, key))));
        effects
    }

    /// Those that have not come to this yet, though they were asked to.
    pub(super) fn under_way(&self, keys: impl Iterator<Item = SlotKey>, will: Will) -> Effects {
        keys.filter(|key| !self.is_settled(*key, will)).map(|key| (key, will)).collect()
    }

    /// Nothing shall run in a slot.
    pub(super) fn lower(&mut self, step: &mut Step, key: SlotKey) -> Will {
        let rests = matches!(self.slot(key).phase, Phase::Completed | Phase::Failed | Phase::Stopped);
        self.slot_mut(key).goal = Goal::Down;
        self.settle(step, key);
        if rests { Will::Stay } else { Will::Stop }
    }

    fn signal_all(&mut self, step: &mut Step, keys: &[SlotKey], signal: Signal) -> Result<Effects, Refusal> {
        let led: Vec<_> = keys
            .iter()
            .filter_map(|key| self.slot(*key).phase.led().map(|life| (*key, life.instance)))
            .collect();
        if led.is_empty() {
            let slots = keys.iter().map(|key| self.name(*key)).collect();
            return Err(Refusal::NotRunning { slots });
        }
        let slots = led.iter().map(|(key, _)| self.name(*key)).collect();
        step.announce(Notice::Signalled { signal, slots });
        let signalled = led.into_iter().map(|(slot, instance)| {
            step.order(Action::Signal { slot, instance, signal });
            (slot, Will::Signal)
        });
        Ok(signalled.collect())
    }

    pub(super) fn say_asked(&self, step: &mut Step, keys: &[SlotKey], will: Will) {
        if !keys.is_empty() {
            let slots = keys.iter().map(|key| self.name(*key)).collect();
            step.announce(Notice::Asked { slots, will });
        }
    }
}
