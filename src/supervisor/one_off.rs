//! One-off commands: each runs once, beside the formation, in a slot of its own (`run.1`), by the rules that hold for
//! everybody: last words, drain, leftovers. It is never started again, and how it ends is no failure of the formation.
//!
//! Their slots belong to a type that no Procfile has; its index is reserved when the first of them comes. Each command is
//! an edition of that type.

use crate::api::{Refusal, RequestId, TypeName};
use crate::app::Policy;

use super::sequel::earliest;
use super::{
    Action, FoundBy, Goal, Member, Phase, Probes, Record, Slot, SlotKey, Staged, Standing, Step, Supervisor,
    Surge, Type,
};

impl Supervisor {
    /// A command that somebody has asked for, with the rules of a type or with the built-in ones.
    pub(super) fn run_one_off(
        &mut self,
        step: &mut Step,
        id: RequestId,
        process_type: Option<&TypeName>,
    ) -> Result<SlotKey, Refusal> {
        let policy = match process_type {
            None => Policy::default(),
            Some(name) => {
                let Some((type_index, _)) = self.listed().find(|(_, listed)| *listed == name) else {
                    let known = self.listed().map(|(_, name)| name.clone()).collect();
                    return Err(Refusal::UnknownProcessType { name: name.to_string(), known });
                };
                self.types[type_index].newest().policy.clone()
            }
        };
        let member = one_off(self.release().to_owned(), &policy);
        Ok(self.start_one_off(step, member, Staged::Asked(id)))
    }

    /// The command of a type of a release that was read and does not hold yet.
    pub(super) fn rehearse(&mut self, step: &mut Step, member: &Member) -> SlotKey {
        let needs = member.needs.clone();
        let member = Member { needs, ..one_off(member.release.clone(), &member.policy) };
        self.start_one_off(step, member, Staged::ReleasePhase)
    }

    /// The release that the formation runs.
    pub(super) fn release(&self) -> &str {
        // A Procfile without an entry is none.
        self.order.first().map_or("dev", |type_index| &self.types[*type_index].newest().release)
    }

    /// Reserves the index of their type, before anything is read that would be counted on from it.
    pub(super) fn reserve_one_offs(&mut self, step: &mut Step) -> usize {
        if let Some(type_index) = self.one_offs {
            return type_index;
        }
        let type_index = self.types.len();
        let nothing = one_off(self.release().to_owned(), &Policy::default());
        let mut kind = Type::new(nothing, Record::Ran, step.now);
        kind.standing = Standing::OneOffs;
        self.types.push(kind);
        self.one_offs = Some(type_index);
        step.order(Action::Reserve { type_index });
        type_index
    }

    /// The edition of a slot's next instance, and what is known of it: of a command its own, else the newest.
    pub(super) fn next_edition(&self, key: SlotKey) -> (usize, &Member) {
        let kind = &self.types[key.type_index];
        match kind.standing {
            Standing::Listed | Standing::Removed => (kind.newest_edition(), kind.newest()),
            Standing::OneOffs => {
                let slot = self.slot(key);
                (slot.edition, kind.edition(slot))
            }
        }
    }

    pub(super) fn is_one_off(&self, key: SlotKey) -> bool {
        self.one_offs == Some(key.type_index)
    }

    fn start_one_off(&mut self, step: &mut Step, member: Member, staged: Staged) -> SlotKey {
        let type_index = self.reserve_one_offs(step);
        let kind = &mut self.types[type_index];
        kind.publish(member);
        let edition = kind.newest_edition();
        step.order(Action::Stage { type_index, edition, staged });
        let free = kind.slots.iter().position(|slot| matches!(slot.phase, Phase::Stopped));
        let place = free.unwrap_or_else(|| {
            kind.slots.push(Slot::vacant(edition));
            kind.slots.len() - 1
        });
        let last_start = kind.slots[place].last_start;
        kind.slots[place] = Slot { goal: Goal::Up, last_start, ..Slot::vacant(edition) };
        // There are never so many: each is a process.
        let number = u32::try_from(place + 1).unwrap_or(u32::MAX);
        let key = SlotKey { type_index, number };
        self.enter(key, Phase::Pending { due: earliest(last_start, step.now) });
        key
    }
}

fn one_off(release: String, policy: &Policy) -> Member {
    Member {
        name: TypeName::one_off(),
        release,
        quantity: 0,
        max: None,
        policy: Policy { essential: false, ..policy.clone() },
        after: Vec::new(),
        first_port: None,
        surge: Surge::Possible,
        probes: Probes::default(),
        needs: Vec::new(),
        found_by: FoundBy::Us,
    }
}
