//! What was asked for, in the books: whom it concerned, and what the formation shall be since.

use std::collections::{BTreeMap, BTreeSet};

use supervise::api::{Change, Notice, Refusal, Request, RequestId, Verb, When};
use supervise::supervisor::{Action, Event, Goal, Program, Reread, SlotKey, Supervisor, Time, Whom};

use super::{Course, Ledger, Rest, Says, Stage, Step};

impl Ledger {
    /// Somebody asks for something, before it is known what comes of it.
    pub(super) fn note_asked(&mut self, now: Time, id: RequestId, request: &Request) {
        self.asked.insert(id);
        if let Verb::Shutdown { drain: Some(drain) } = &request.verb {
            match self.course {
                Course::Up => self.drain = Some(*drain),
                Course::Ending { .. } | Course::Over => {
                    self.longest = Some(self.longest.map_or(*drain, |longest| longest.min(*drain)));
                }
            }
            for life in self.lives.values_mut() {
                life.deadline = life.deadline.map(|deadline| deadline.min(now + *drain));
            }
        }
    }

    /// What comes of a request or of a reload.
    pub(super) fn note_request(&mut self, step: &Step<'_>, supervisor: &Supervisor) {
        if let Event::Requested { id, request } = step.event {
            // What it led to may have begun the end, and then nobody is told that it was done.
            let refused = |action: &Action| match action {
                Action::Reply { id: other, answer: Err(refusal) } => {
                    other == id && *refusal != Refusal::ShuttingDown
                }
                _other => false,
            };
            if !step.actions.iter().any(refused) && step.course == Course::Up {
                self.accept(step, &request.verb, supervisor);
            }
            let at_once = request.answer == When::Accepted
                && !matches!(request.verb, Verb::Reload | Verb::Deploy { .. });
            assert!(!at_once || !self.asked.contains(id), "{request:?} is answered at once");
        }
        if step.actions.iter().any(|action| matches!(action, Action::Adopt { .. })) {
            let types = self.candidate.take().expect("adopted is what was read and not discarded");
            self.adopt(step, &types);
        }
        self.note_deploy(step);
        self.fail_again(step);
        if self.looks_at_all() {
            for (name, count) in &supervisor.formation().0 {
                let found = step.rules.editions.iter().position(|editions| editions[0].name == *name);
                let type_index = found.expect("a type of the formation");
                assert_eq!(Some(*count), self.counts.get(&type_index).map(|(count, _)| *count), "{name}");
            }
        }
    }

    fn accept(&mut self, step: &Step<'_>, verb: &Verb, supervisor: &Supervisor) {
        let meant = |targets: &[supervise::api::Target]| -> Vec<SlotKey> {
            let means = |key: SlotKey| {
                targets.is_empty() || targets.iter().any(|target| target.means(&supervisor.name(key)))
            };
            supervisor.slots().map(|(key, _)| key).filter(|key| means(*key)).collect()
        };
        match verb {
            Verb::Restart { targets, .. } => {
                for key in meant(targets) {
                    if self.counts.get(&key.type_index).is_some_and(|(count, _)| key.number <= *count) {
                        self.raise(key);
                    }
                }
            }
            Verb::Stop { targets } => {
                for key in meant(targets) {
                    self.place(key).held = true;
                }
            }
            Verb::Scale { changes } => {
                let all = |(name, _): &&(String, Change)| name == "all";
                let last = changes.iter().filter(|change| !all(change));
                // Only what it comes to in the end is done.
                let mut counts = BTreeMap::new();
                for (name, change) in changes.iter().filter(all).chain(last) {
                    for (type_index, editions) in step.rules.editions.iter().enumerate() {
                        let own = editions[0].name.as_str();
                        let Some((present, _)) = self.counts.get(&type_index) else { continue };
                        if own == name || (name == "all" && own != "release") {
                            let before = *counts.get(&type_index).unwrap_or(present);
                            counts.insert(type_index, changed(before, *change));
                        }
                    }
                }
                self.note_scaled(counts.keys().copied());
                for (type_index, after) in counts {
                    if after > self.counts[&type_index].0 {
                        self.ran.insert(type_index);
                    }
                    self.set_count(type_index, after, Says::Request);
                }
            }
            Verb::Signal { .. }
            | Verb::Reload
            | Verb::Deploy { .. }
            | Verb::Run { .. }
            | Verb::Shutdown { .. }
            | Verb::Settle => {}
        }
    }

    pub(super) fn set_count(&mut self, type_index: usize, after: u32, says: Says) {
        let before = self.counts.get(&type_index).map_or(0, |(count, _)| *count);
        for number in after + 1..=before {
            let key = SlotKey { type_index, number };
            let place = self.place(key);
            (place.held, place.verdict) = (true, None);
            self.failures.retain(|(failed, _)| *failed != key);
        }
        for number in before + 1..=after {
            self.raise(SlotKey { type_index, number });
        }
        self.counts.insert(type_index, (after, says));
    }

    /// What ran before runs again: who is not alive begins with a new streak.
    pub(super) fn begin_anew(&mut self, step: &Step<'_>, type_index: usize, good: usize) {
        let moved = Ledger::moves(step.rules, type_index);
        let (count, _) = self.counts.get(&type_index).copied().unwrap_or((0, Says::Plan));
        for number in 1..=count {
            let key = SlotKey { type_index, number };
            let place = *self.place(key);
            // Who is started in the same step is so after it.
            let is_this = |action: &&Action| matches!(action, Action::Revert { type_index: of, .. } if *of == type_index);
            let after = step.actions.iter().skip_while(|action| !is_this(action));
            let is_started = |action: &Action| matches!(action, Action::Spawn { slot, .. } if *slot == key);
            // Who has the PORT of another one makes room at once, and begins anew, too.
            let is_stopped = |action: &Action| matches!(action, Action::Stop { slot, target: Whom::Leader | Whom::Group, .. } if *slot == key);
            let is_new = self.lives.get(&key).is_some_and(|life| life.edition > good);
            let makes_room = moved && is_new && after.clone().any(is_stopped);
            let lives = self.lives.contains_key(&key) && !makes_room && !after.clone().any(is_started);
            if !place.held && place.verdict != Some(Rest::Completed) && !lives {
                self.raise(key);
            }
        }
    }

    /// Slots above the count are there as long as a rollout wants them.
    pub(super) fn note_surge(&mut self, supervisor: &Supervisor) {
        let above = |key: &SlotKey| {
            let count = self.counts.get(&key.type_index);
            count.is_none_or(|(count, _)| key.number > *count) && self.one_offs != Some(key.type_index)
        };
        let known: Vec<SlotKey> = self.places.keys().copied().filter(above).collect();
        if known.is_empty() {
            return;
        }
        let wanted: BTreeSet<SlotKey> =
            supervisor.slots().filter(|(_, slot)| slot.goal() == Goal::Up).map(|(key, _)| key).collect();
        let there: BTreeSet<SlotKey> = supervisor.slots().map(|(key, _)| key).collect();
        let failed: BTreeSet<SlotKey> = supervisor
            .slots()
            .filter(|(_, slot)| matches!(slot.phase(), supervise::supervisor::Phase::Failed))
            .map(|(key, _)| key)
            .collect();
        let comes_back = |key: SlotKey, place: &mut super::Place| {
            place.verdict == Some(Rest::Failed) && !failed.contains(&key)
        };
        for key in known {
            if !wanted.contains(&key) {
                self.place(key).held = true;
                if !there.contains(&key) {
                    self.place(key).verdict = None;
                    self.failures.retain(|(failed, _)| *failed != key);
                }
            } else if self.place(key).held || comes_back(key, self.place(key)) {
                self.raise(key);
            }
        }
    }

    fn raise(&mut self, key: SlotKey) {
        let place = self.place(key);
        (place.held, place.failures, place.shortages, place.verdict) = (false, 0, 0, None);
        self.failures.retain(|(failed, _)| *failed != key);
        if let Some(life) = self.lives.get_mut(&key) {
            life.pulse.condemned = None;
            if let Stage::Orphaned { own, .. } = &mut life.stage {
                *own = false;
            }
        }
    }

    /// Who was raised may have failed again in the same step.
    pub(super) fn fail_again(&mut self, step: &Step<'_>) {
        for (index, action) in step.actions.iter().enumerate() {
            if let Action::Announce { notice: Notice::Failed { slot, .. }, .. } = action {
                let key = step.names[slot];
                let raises = |action: &Action| match action {
                    Action::Revert { type_index, .. } => *type_index == key.type_index,
                    Action::Announce { notice: Notice::NotDeployed { .. }, .. } => true,
                    _other => false,
                };
                if step.actions[index..].iter().any(raises) {
                    continue;
                }
                let place = self.place(key);
                place.verdict = Some(Rest::Failed);
                let code = place.last_code;
                if !self.failures.iter().any(|(failed, _)| *failed == key) {
                    self.failures.push((key, code));
                }
            }
        }
    }

    /// How many of a type there shall be once what was read holds.
    pub(super) fn wanted_after(&self, reread: &Reread) -> u32 {
        let Reread { type_index, member, .. } = reread;
        let wanted = match (self.counts.get(type_index), self.planned.get(type_index)) {
            (Some((count, _)), Some(planned)) if *planned == member.quantity => *count,
            (Some(_) | None, _) => member.quantity,
        };
        wanted.min(member.max.unwrap_or(u32::MAX))
    }

    fn adopt(&mut self, step: &Step<'_>, types: &[Reread]) {
        let listed: Vec<usize> = types.iter().map(|reread| reread.type_index).collect();
        let gone: Vec<usize> = self.counts.keys().copied().filter(|index| !listed.contains(index)).collect();
        let gone: Vec<usize> =
            gone.into_iter().filter(|type_index| !self.runs_on(*type_index, types, step.rules)).collect();
        for type_index in gone {
            self.set_count(type_index, 0, Says::Plan);
            self.counts.remove(&type_index);
        }
        for reread in types {
            let Reread { type_index, member, program } = reread;
            let before = self.counts.get(type_index).copied();
            let wanted = self.wanted_after(reread);
            self.planned.insert(*type_index, member.quantity);
            let (count, says) = before.unwrap_or((0, Says::Plan));
            self.ran.insert(*type_index);
            if *program == Program::Changed && before.is_some() {
                let kept = 1..=count.min(wanted);
                let kept = kept.map(|number| SlotKey { type_index: *type_index, number });
                let kept: Vec<SlotKey> = kept.filter(|key| !self.place(*key).held).collect();
                for key in kept {
                    self.raise(key);
                }
            }
            if before.is_none() || wanted != count {
                self.counts.entry(*type_index).or_insert((0, Says::Plan));
                self.set_count(*type_index, wanted, Says::Plan);
            } else {
                self.counts.insert(*type_index, (count, says));
            }
        }
    }
}

fn changed(before: u32, change: Change) -> u32 {
    match change {
        Change::To(count) => count,
        Change::By(by) => u32::try_from(i64::from(before) + by).expect("it was accepted"),
    }
}
