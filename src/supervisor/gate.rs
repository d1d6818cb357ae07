//! Who comes first: a type with `after` is started when the types named there are ready or completed.
//!
//! A type that comes first and has failed for good keeps the gate closed: who waits for it has failed, too, until somebody
//! restarts both. A type of which nothing shall run keeps nobody waiting.

use crate::api::{Notice, TypeName, Verdict};

use super::course::Course;
use super::member::Gate;
use super::{Phase, Slot, SlotKey, Step, Supervisor};

/// What somebody at a gate has to expect.
enum Outlook {
    /// Everybody who comes first is there.
    Clear,
    /// These are not yet.
    Waits(Vec<TypeName>),
    /// This one never will: it has failed, with this code.
    Blocked(TypeName, u8),
}

impl Supervisor {
    /// Opens the gates that may be opened, and says what keeps the others closed.
    pub(super) fn open_gates(&mut self, step: &mut Step) {
        // One that opens or is blocked may decide the next; nothing is decided where nothing has changed.
        while std::mem::take(&mut self.moved) && matches!(self.course, Course::Up { .. }) {
            let closed = |type_index: &usize| self.types[*type_index].gate != Gate::Open;
            let closed: Vec<usize> = self.order.iter().copied().filter(closed).collect();
            for type_index in closed {
                self.try_gate(step, type_index);
            }
        }
    }

    fn try_gate(&mut self, step: &mut Step, type_index: usize) {
        let waiting = |(number, slot): (u32, &Slot)| {
            matches!(slot.phase, Phase::Waiting).then_some(SlotKey { type_index, number })
        };
        let waiting: Vec<SlotKey> = self.types[type_index].present().filter_map(waiting).collect();
        if waiting.is_empty() {
            return;
        }
        match self.outlook(type_index) {
            Outlook::Clear => {
                self.types[type_index].gate = Gate::Open;
                for key in waiting {
                    self.enter(key, Phase::Pending { due: step.now });
                }
            }
            Outlook::Waits(on) => {
                if self.types[type_index].gate == Gate::Closed {
                    self.types[type_index].gate = Gate::Awaited;
                    let process_type = self.types[type_index].newest().name.clone();
                    step.announce(Notice::Waiting { process_type, on });
                }
            }
            Outlook::Blocked(by, code) => {
                for key in waiting {
                    let reason = Verdict::Blocked { by: by.clone() };
                    step.announce(Notice::Failed { slot: self.name(key), reason });
                    self.enter(key, Phase::Failed);
                    self.failed(step, key, code);
                }
            }
        }
    }

    fn outlook(&self, type_index: usize) -> Outlook {
        let mut awaited = Vec::new();
        for name in &self.types[type_index].newest().after {
            let Some((first_index, _)) = self.listed().find(|(_, listed)| *listed == name) else { continue };
            let first = &self.types[first_index];
            if let Some(code) = self.failure_of(first_index) {
                return Outlook::Blocked(name.clone(), code);
            }
            let there = |slot: &Slot| slot.is_ready() || matches!(slot.phase, Phase::Completed);
            if !first.wanted_slots().all(there) {
                awaited.push(name.clone());
            }
        }
        if awaited.is_empty() { Outlook::Clear } else { Outlook::Waits(awaited) }
    }
}
