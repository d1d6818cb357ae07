//! Who belongs to which instance: leaders that we started, and descendants that became our children when their
//! parents died (we are their subreaper, prctl(2)).
//!
//! Whatever lives of an instance without its leader hangs below one of our adopted children: so where we have adopted
//! nobody, one read tells that an instance is gone, and the whole of /proc is read only where somebody was adopted.

use std::collections::{BTreeSet, HashMap};

use crate::api::{InstanceId, Pid};
use crate::supervisor::SlotKey;

use super::proc::{self, Stat};

/// Everybody that we look after.
#[derive(Debug)]
pub(super) struct Family {
    /// Marks our descendants: the value of `SUPERVISE_INSTANCE` is this, a dash, and the instance's number.
    mark: String,
    lives: HashMap<InstanceId, Kin>,
    leaders: HashMap<i32, InstanceId>,
    /// Children that we did not start, and whose they are, where that can be told.
    adopted: HashMap<i32, Option<InstanceId>>,
    strangers: Strangers,
}

/// What becomes of an adopted child of which cannot be told whose it is: it has a session of its own and has wiped or
/// hidden its environment, as programs do that write their status into their title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// It counts as the last living instance's: all that we adopt are descendants of what we started. While there are
    /// others it could be theirs, and is not to be stopped with this one.
    OfTheLast,
    /// It counts as the first one's that looks: everything ends, and it must hear of that as early as all others.
    OfTheFirst,
    /// It is nobody's until everything ends: we are init, which also adopts what others left behind.
    OfNobody,
    /// It is nobody's: a type lets its descendants be, and it could be one of them.
    LetBe,
}

/// What is known of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kin {
    pub(super) slot: SlotKey,
    /// Which edition of its type it was started with.
    pub(super) edition: usize,
    pub(super) leader: Pid,
    pub(super) leader_state: LeaderState,
}

/// Whether the leader's pid is still its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaderState {
    /// It lives, or is a zombie: its number and its group's cannot be anybody else's.
    Unreaped,
    /// The number may be anybody's; the group's as well, unless it has a living member.
    Reaped,
}

impl Family {
    pub(super) fn new(mark: String, strangers: Strangers) -> Family {
        Family { mark, lives: HashMap::new(), leaders: HashMap::new(), adopted: HashMap::new(), strangers }
    }

    /// The value that marks an instance's processes.
    pub(super) fn mark(&self, instance: InstanceId) -> String {
        format!("{}-{}", self.mark, instance.0)
    }

    pub(super) fn born(&mut self, slot: SlotKey, instance: InstanceId, edition: usize, leader: Pid) {
        self.lives.insert(instance, Kin { slot, edition, leader, leader_state: LeaderState::Unreaped });
        self.leaders.insert(leader.raw(), instance);
    }

    /// The instance whose unreaped leader this is.
    pub(super) fn led_by(&self, pid: i32) -> Option<(InstanceId, SlotKey)> {
        let instance = *self.leaders.get(&pid)?;
        Some((instance, self.lives.get(&instance)?.slot))
    }

    pub(super) fn kin(&self, instance: InstanceId) -> Option<Kin> {
        self.lives.get(&instance).copied()
    }

    /// The types and editions that instances were started with.
    pub(super) fn editions(&self) -> BTreeSet<(usize, usize)> {
        self.lives.values().map(|kin| (kin.slot.type_index, kin.edition)).collect()
    }

    /// Every instance with an unreaped leader, the oldest first.
    pub(super) fn led(&self) -> Vec<Kin> {
        let mut led: Vec<(&InstanceId, &Kin)> =
            self.lives.iter().filter(|(_, kin)| kin.leader_state == LeaderState::Unreaped).collect();
        led.sort_by_key(|(instance, _)| **instance);
        led.into_iter().map(|(_, kin)| *kin).collect()
    }

    /// A child of ours was reaped.
    pub(super) fn reaped(&mut self, pid: i32) {
        self.adopted.remove(&pid);
        if let Some(instance) = self.leaders.remove(&pid)
            && let Some(kin) = self.lives.get_mut(&instance)
        {
            kin.leader_state = LeaderState::Reaped;
        }
    }

    /// There is an instance now whose descendants are let be: any stranger could be one of them.
    pub(super) fn let_strangers_be(&mut self) {
        self.strangers = Strangers::LetBe;
    }

    /// From now on everything ends.
    pub(super) fn end(&mut self) {
        self.strangers = match self.strangers {
            Strangers::OfTheLast | Strangers::OfTheFirst | Strangers::OfNobody => Strangers::OfTheFirst,
            Strangers::LetBe => Strangers::LetBe,
        };
    }

    /// Nothing is left of an instance that concerns us.
    pub(super) fn forget(&mut self, instance: InstanceId) {
        self.lives.remove(&instance);
    }

    /// Who of an instance is alive, its leader aside.
    pub(super) fn descendants(&mut self, instance: InstanceId) -> Vec<Stat> {
        let Some(kin) = self.kin(instance) else { return Vec::new() };
        self.adopt();
        if self.strangers == Strangers::OfTheFirst {
            let lives = &self.lives;
            for owner in self.adopted.values_mut() {
                *owner = owner.filter(|owner| lives.contains_key(owner)).or(Some(instance));
            }
        }
        if !self.adopted.values().any(|owner| self.is_of(*owner, instance)) {
            return Vec::new();
        }
        self.below(instance, kin)
    }

    /// Who of an instance whose leader lives is alive, its leader aside: the whole of /proc is read.
    pub(super) fn descendants_of_the_living(&mut self, instance: InstanceId) -> Vec<Stat> {
        let Some(kin) = self.kin(instance) else { return Vec::new() };
        self.adopt();
        self.below(instance, kin)
    }

    fn below(&self, instance: InstanceId, kin: Kin) -> Vec<Stat> {
        let everybody = proc::everybody();
        let leader = kin.leader.raw();
        let mut members: BTreeSet<i32> = self
            .adopted
            .iter()
            .filter(|(_, owner)| self.is_of(**owner, instance))
            .map(|(pid, _)| *pid)
            .collect();
        if kin.leader_state == LeaderState::Unreaped {
            // Only now is the group's number surely not a stranger's.
            members.extend(everybody.iter().filter(|stat| stat.group == leader).map(|stat| stat.pid));
            members.insert(leader);
        }
        // Children of members are members, however deep.
        loop {
            let before = members.len();
            for stat in &everybody {
                if members.contains(&stat.parent) {
                    members.insert(stat.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        everybody
            .into_iter()
            .filter(|stat| stat.pid != leader && stat.alive() && members.contains(&stat.pid))
            .collect()
    }

    /// Whether an adopted child with this owner belongs to this instance.
    fn is_of(&self, owner: Option<InstanceId>, instance: InstanceId) -> bool {
        // What an instance left that is forgotten is as much a stranger as what never had a mark.
        match (owner.filter(|owner| self.lives.contains_key(owner)), self.strangers) {
            (
                Some(owner),
                Strangers::OfTheLast | Strangers::OfTheFirst | Strangers::OfNobody | Strangers::LetBe,
            ) => owner == instance,
            (None, Strangers::OfTheLast) => self.lives.len() == 1 && self.lives.contains_key(&instance),
            (None, Strangers::OfTheFirst | Strangers::OfNobody | Strangers::LetBe) => false,
        }
    }

    /// Takes note of children that became ours, and whose they are.
    fn adopt(&mut self) {
        for pid in proc::children() {
            if self.leaders.contains_key(&pid) || self.adopted.contains_key(&pid) {
                continue;
            }
            let Some(stat) = Stat::of(pid).filter(Stat::alive) else { continue };
            let owner = self.owner(&stat);
            tracing::debug!(pid, name = stat.name, ?owner, "adopted");
            self.adopted.insert(pid, owner);
        }
    }

    fn owner(&self, stat: &Stat) -> Option<InstanceId> {
        // A group keeps its number while it has a member; should the number have two claimants, the later has it.
        let claimants = self.lives.iter().filter(|(_, kin)| kin.leader.raw() == stat.group);
        claimants.map(|(instance, _)| *instance).max().or_else(|| {
            let value = String::from_utf8(proc::variable(stat.pid, "SUPERVISE_INSTANCE")?).ok()?;
            let number = value.strip_prefix(&self.mark)?.strip_prefix('-')?.parse().ok()?;
            Some(InstanceId(number))
        })
    }
}
