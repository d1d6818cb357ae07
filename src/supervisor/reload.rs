//! The files read again: what did not change is not touched.
//!
//! A type whose program is the same keeps its instances, under its new rules; one with another program restarts; a new
//! one starts; one that is not there any more ends. A count changes only where the files now say another one than
//! before: what was scaled by request stays as it was asked for.

use crate::api::{Notice, Refusal, TypeName, Will};

use super::course::Course;
use super::member::Count;
use super::request::Effects;
use super::rollout::Back;
use super::scale::Range;
use super::turnover::Which;
use super::{
    Action, Condition, Goal, Phase, Probes, Program, Readiness, Record, Reread, SlotKey, Standing, Step,
    Supervisor, Type,
};

/// What a new set of types is taken over for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// A reload: each type for itself.
    Reload,
    /// A deploy: they have one fate, and a type that is not there any more runs until that is known.
    Deploy,
}

/// Whether the files are being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    Once,
    /// Somebody asked since they began to be.
    AndAgain,
}

impl Supervisor {
    /// Has the files read again; once more, where they are being read: they may have changed since.
    pub(super) fn order_reread(&mut self, step: &mut Step) {
        if let Err(refusal) = self.check_deploying() {
            return step.announce(Notice::ReloadFailed { errors: refusal.to_string() });
        }
        match (&self.course, self.reading) {
            (Course::Ending(_) | Course::Over, _) => {}
            (Course::Up { .. }, Reading::No) => {
                self.reading = Reading::Once;
                step.order(Action::Reread);
            }
            (Course::Up { .. }, Reading::Once | Reading::AndAgain) => self.reading = Reading::AndAgain,
        }
    }

    /// They have been read: whether anybody still wants to know.
    fn was_read(&mut self, step: &mut Step) -> bool {
        let reading = std::mem::replace(&mut self.reading, Reading::No);
        if reading == Reading::AndAgain {
            self.order_reread(step);
        }
        reading != Reading::No && matches!(self.course, Course::Up { .. })
    }

    pub(super) fn unreadable(&mut self, step: &mut Step, errors: String) {
        if self.reads_release() {
            self.reading = Reading::No;
            return self.release_unreadable(step, errors);
        }
        if self.was_read(step) {
            step.announce(Notice::ReloadFailed { errors: errors.clone() });
            self.answer_reread(step, &Err(Refusal::Invalid { errors }));
        }
    }

    pub(super) fn reread(&mut self, step: &mut Step, types: Vec<Reread>) {
        if self.reads_release() {
            self.reading = Reading::No;
            return self.release_read(step, types);
        }
        if !self.was_read(step) {
            return step.order(Action::Discard);
        }
        step.rolls = Which::All;
        let result = self.check_reread(&types).map(|()| self.take_over(step, types, Taking::Reload));
        if let Err(refusal) = &result {
            step.order(Action::Discard);
            step.announce(Notice::ReloadFailed { errors: refusal.to_string() });
        }
        self.answer_reread(step, &result);
    }

    /// Whether what was scaled by request still has its ports.
    pub(super) fn check_reread(&self, types: &[Reread]) -> Result<(), Refusal> {
        let ranges: Vec<Range<'_>> =
            types.iter().filter_map(|reread| Range::new(&reread.member, self.planned(reread))).collect();
        for (index, range) in ranges.iter().enumerate() {
            range.check_height()?;
            for earlier in &ranges[..index] {
                range.check_beside(earlier)?;
            }
        }
        Ok(())
    }

    /// How many of a type there shall be: as many as there are, unless the files now say another number.
    fn planned(&self, reread: &Reread) -> u32 {
        let asked = match self.types.get(reread.type_index) {
            Some(kind)
                if kind.standing == Standing::Listed && kind.newest().quantity == reread.member.quantity =>
            {
                kind.wanted()
            }
            Some(_) | None => reread.member.quantity,
        };
        asked.min(reread.member.max.unwrap_or(u32::MAX))
    }

    /// The probes of the newest edition of a type may be others now: they hold for what runs, too.
    pub(super) fn amend_conditions(&mut self, step: &mut Step, type_index: usize, old: Probes) {
        let kind = &self.types[type_index];
        let (new, newest) = (kind.newest().probes, kind.newest_edition());
        if old == new {
            return;
        }
        let numbers: Vec<u32> = kind.present().map(|(number, _)| number).collect();
        for key in numbers.into_iter().map(|number| SlotKey { type_index, number }) {
            let slot = self.slot(key);
            if let Phase::Running { life, condition } = &slot.phase
                && slot.edition == newest
            {
                let (life, before) = (*life, condition.readiness.clone());
                let condition = condition.clone().amended(&old, &new, step.now);
                let is_ready = matches!(condition.readiness, Readiness::Ready { .. });
                if is_ready && matches!(before, Readiness::Starting { .. } | Readiness::Lapsed { .. }) {
                    // Nobody asks any more what it did not answer.
                    self.now_ready(step, key, life, Condition { readiness: before, ..condition });
                } else {
                    self.enter(key, Phase::Running { life, condition });
                }
            }
        }
    }

    /// An earlier edition of a type holds again.
    pub(super) fn revert(&mut self, step: &mut Step, type_index: usize, edition: usize) {
        step.order(Action::Revert { type_index, edition });
        self.types[type_index].republish(edition);
    }

    pub(super) fn take_over(&mut self, step: &mut Step, types: Vec<Reread>, taking: Taking) -> Effects {
        let back = |(type_index, kind): (usize, &Type)| Some((type_index, kind.worked()?));
        step.order(Action::Adopt { keep: self.types.iter().enumerate().filter_map(back).collect() });
        let mut effects = Effects::new();
        let order: Vec<usize> = types.iter().map(|reread| reread.type_index).collect();
        let removed: Vec<usize> =
            self.order.iter().copied().filter(|type_index| !order.contains(type_index)).collect();
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        self.order = order;
        match taking {
            Taking::Reload => {}
            Taking::Deploy => self.order.extend(&removed),
        }
        let mut counts: Vec<(usize, u32, u32)> = Vec::new();
        let mut restarts: Vec<(usize, usize)> = Vec::new();
        for reread in types {
            let count = self.planned(&reread);
            let Reread { type_index, member, program } = reread;
            let name = member.name.clone();
            if type_index == self.types.len() {
                let quantity = 0;
                let mut kind = Type::new(super::Member { quantity, ..member.clone() }, Record::Ran, step.now);
                kind.amend(member);
                self.types.push(kind);
                added.push(name);
            } else {
                let kind = &mut self.types[type_index];
                let standing = std::mem::replace(&mut kind.standing, Standing::Listed);
                let before = kind.newest_edition();
                match program {
                    Program::Same => {
                        let old = kind.newest().probes;
                        kind.amend(member);
                        self.amend_conditions(step, type_index, old);
                    }
                    Program::Changed => kind.publish(member),
                }
                match (standing, program) {
                    (Standing::Removed | Standing::OneOffs, Program::Same | Program::Changed) => {
                        added.push(name);
                    }
                    (Standing::Listed, Program::Same) => {}
                    (Standing::Listed, Program::Changed) => {
                        restarts.push((type_index, before));
                        changed.push(name);
                    }
                }
            }
            let kind = &mut self.types[type_index];
            // A mistake in what was read must not end everybody else.
            kind.record = Record::Ran;
            counts.push((type_index, kind.wanted(), count));
        }
        let gone: Vec<TypeName> =
            removed.iter().map(|type_index| self.types[*type_index].newest().name.clone()).collect();
        match taking {
            Taking::Reload => {
                step.announce(Notice::Reloaded { added, changed, removed: gone });
                self.drop_types(step, &removed, &mut effects);
            }
            // That is said otherwise.
            Taking::Deploy => {}
        }
        for (type_index, before, after) in counts {
            if before != after {
                let process_type = self.types[type_index].newest().name.clone();
                step.announce(Notice::Scaled { process_type, from: before, to: after });
                self.set_count(step, type_index, Count::Planned(after), &mut effects);
            }
        }
        for (type_index, before) in restarts {
            let numbers = 1..=self.types[type_index].wanted();
            let keys: Vec<SlotKey> = numbers
                .map(|number| SlotKey { type_index, number })
                // What was stopped by request stays stopped, and what is new is new.
                .filter(|key| self.slot(*key).goal == Goal::Up && !effects.contains_key(key))
                .collect();
            if self.types[type_index].moved_ports(before) {
                // Somebody else's instances may have the new PORTs until they end: all change places at once.
                self.supersede(step, type_index);
                self.vacate_above(step, type_index, self.types[type_index].wanted());
                self.say_asked(step, &keys, Will::Restart);
                effects
                    .extend(keys.into_iter().map(|key| (key, self.restart(step, key))).collect::<Vec<_>>());
            } else {
                effects.extend(self.roll(step, type_index, &keys, Back::To(before)));
            }
        }
        effects
    }
}
