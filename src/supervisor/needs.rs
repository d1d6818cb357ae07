//! Backing services first: an instance of a type that needs some is started when all of them have just answered.
//!
//! They are asked for the whole type at once, however many of its slots wait, and again every second while one does. Who
//! has waited as long as the spec says has failed, by its policy like any other failure.

use std::time::Duration;

use crate::api::{ExitReason, ExitStatus, LastExit, Missing, Notice, brief};

use super::{Action, Outcome, Phase, SlotKey, Standing, Step, Supervisor, Time};

/// What is known of the backing services of a type.
#[derive(Clone, Debug, Default)]
pub(super) struct Supply {
    asking: Asking,
    /// All of them answered, and that holds until then.
    answered_until: Option<Time>,
    /// Those that did not answer when they were asked last.
    missing: Vec<Missing>,
    /// What was said of them last, and when.
    said: Option<(Time, Vec<Missing>)>,
}

/// Whether they are being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    No,
    /// Those of this edition.
    Of(usize),
    /// Those that were needed before.
    InVain,
}

/// From one asking to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An answer is good for so long: for all slots that wait for it, as a step starts only some of them.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// So often it is said who is awaited, and as soon as that changes.
const SAY_EVERY: Duration = Duration::from_secs(5);

impl Supply {
    /// Why nothing can be started, as far as is known.
    pub(super) fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Something else is needed from now on, or in another place: what was answered says nothing about that.
    pub(super) fn forget(&mut self) {
        let asking = match self.asking {
            Asking::No => Asking::No,
            // Its answer is on its way.
            Asking::Of(_) | Asking::InVain => Asking::InVain,
        };
        *self = Supply { asking, ..Supply::default() };
    }
}

impl Supervisor {
    /// Whether all services that a slot's next instance needs have just answered.
    pub(super) fn is_supplied(&self, now: Time, key: SlotKey) -> bool {
        let (_, member) = self.next_edition(key);
        let answered_until = self.types[key.type_index].supply.answered_until;
        member.needs.is_empty() || answered_until.is_some_and(|until| now < until)
    }

    /// A slot begins to wait for what its type needs.
    pub(super) fn await_supply(&mut self, step: &mut Step, key: SlotKey) {
        self.ask(step, key);
        self.enter(key, Phase::Needing { since: step.now, look_at: step.now + ASK_EVERY });
    }

    /// A slot has waited for a while: asks again, or has had enough.
    pub(super) fn still_awaits(&mut self, step: &mut Step, key: SlotKey, since: Time) {
        let kind = &self.types[key.type_index];
        let (_, member) = self.next_edition(key);
        let wait = |missing: &Missing| {
            let need = member.needs.iter().find(|need| need.service == missing.service);
            need.map(|need| need.wait)
        };
        let waited = step.now - since;
        let overdue = kind
            .supply
            .missing
            .iter()
            .filter_map(|missing| Some((missing, wait(missing)?)))
            .find(|(_, wait)| *wait <= waited);
        if let Some((Missing { service, place, why }, wait)) = overdue {
            let error = format!("{service} ({place}) did not answer within {}: {why}", brief(wait));
            self.slot_mut(key).last_exit = Some(LastExit::new(ExitStatus::Code(1), ExitReason::NotStarted));
            let sequel = self.sequel(key, Outcome::Unsupplied, step.now);
            let slot = self.name(key);
            step.announce(Notice::NotStarted { slot, error, then: sequel.then() });
            return self.follow(step, key, sequel);
        }
        let next_wait = kind.supply.missing.iter().filter_map(wait).min();
        let patience = next_wait.map_or(ASK_EVERY, |wait| wait.saturating_sub(waited).min(ASK_EVERY));
        self.ask(step, key);
        self.enter(key, Phase::Needing { since, look_at: step.now + patience });
    }

    fn ask(&mut self, step: &mut Step, key: SlotKey) {
        let (edition, _) = self.next_edition(key);
        let type_index = key.type_index;
        let kind = &mut self.types[type_index];
        match kind.supply.asking {
            Asking::No => {
                kind.supply.asking = Asking::Of(edition);
                step.order(Action::Ask { type_index, edition });
            }
            Asking::Of(_) | Asking::InVain => {}
        }
    }

    /// They were asked.
    pub(super) fn asked(&mut self, step: &mut Step, type_index: usize, missing: Vec<Missing>) {
        let kind = &mut self.types[type_index];
        let newest = kind.newest_edition();
        match (std::mem::take(&mut kind.supply.asking), kind.standing) {
            (Asking::Of(edition), Standing::Listed | Standing::Removed) if edition == newest => {}
            // The one that needs something is seldom the newest of them.
            (Asking::Of(_), Standing::OneOffs) => {}
            // What was asked is not what is needed any more. Who waits asks again.
            (Asking::Of(_) | Asking::InVain | Asking::No, _) => return,
        }
        let waits = |(number, slot): (u32, &super::Slot)| {
            matches!(slot.phase, Phase::Needing { .. }).then_some(SlotKey { type_index, number })
        };
        let waiting: Vec<SlotKey> = kind.present().filter_map(waits).collect();
        kind.supply.missing.clone_from(&missing);
        if missing.is_empty() {
            kind.supply.answered_until = Some(step.now + GOOD_FOR);
            kind.supply.said = None;
            for key in waiting {
                self.enter(key, Phase::Pending { due: step.now });
            }
            return;
        }
        kind.supply.answered_until = None;
        let same = |said: &[Missing]| said == missing.as_slice();
        let known = kind.supply.said.as_ref();
        let was_said = known.is_some_and(|(when, said)| step.now - *when < SAY_EVERY && same(said));
        if !waiting.is_empty() && !was_said {
            kind.supply.said = Some((step.now, missing.clone()));
            let process_type = kind.newest().name.clone();
            step.announce(Notice::Awaiting { process_type, missing });
        }
    }
}
