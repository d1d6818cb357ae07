//! Who belongs to which instance: leaders that we started, and descendants that became our children when their
//! parents died (we are their subreaper, prctl(2)).
//!
//! Whatever lives of an instance without its leader hangs below one of our adopted children: so where we have adopted
//! nobody, one read tells that an instance is gone, and the whole of /proc is read only where somebody was adopted. That one
//! read is as long as we have children; where many leaders have ended, one does for all of them ([`Family::adopt_from`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::api::{InstanceId, Pid};
use crate::supervisor::SlotKey;

use super::cgroup::Cgroups;
use super::proc::{self, Short, Stat};
use super::reaper;

/// Everybody that we look after.
#[derive(Debug)]
pub(super) struct Family {
    /// Marks our descendants: the value of `SUPERVISE_INSTANCE` is this, a dash, and the instance's number.
    mark: String,
    lives: BTreeMap<InstanceId, Kin>,
    leaders: HashMap<i32, InstanceId>,
    /// Unreaped commands of probes, which belong to no instance, by the number of the try.
    probes: HashMap<i32, u64>,
    /// Children that we did not start, and whose they are.
    adopted: HashMap<i32, Owner>,
    strangers: Strangers,
    adoption: Adoption,
    /// Where orphans are not ours: those of each leader's group that lived when we last looked, by pid and time of birth. As long
    /// as one of them lives the group's number is theirs, though nobody has reaped them but their new parent.
    groups: HashMap<InstanceId, Vec<Stat>>,
    /// Instances whose leader had ended, and is not reaped, when a look at all our children showed that it left nobody: nobody
    /// can have been born of them since.
    extinct: BTreeSet<InstanceId>,
    glance: Glance,
    /// Where an instance has a cell, whoever is in it is of the instance.
    pub(super) cgroups: Cgroups,
}

/// Whose child an orphan of our descendants becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adoption {
    /// Ours: we are init, or a subreaper.
    Ours,
    /// Somebody else's: this system does not let us be one. Only the groups of our leaders can be told.
    Elsewhere,
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

/// So many generations are looked at to find out whether a process descends from a leader; numbers that are given anew
/// meanwhile could make a circle.
const DEEPEST: usize = 64;

/// So often our children are looked at for whoever became one meanwhile. Who ends as fast as we look shall not hold us up.
const LOOKS: usize = 8;

/// So many living leaders more than dead ones are asked whether they have ended.
const FEW: usize = 8;

/// What a look at our children has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Everybody.
    Whole,
    /// There was a coming and going: it may have missed somebody.
    Blurred,
}

/// Whether our children were looked at in this step for those who are killed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Glance {
    Due,
    Done,
}

/// Whose an adopted child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// An instance's.
    Instance(InstanceId),
    /// The command's of the probe with this number.
    Probe(u64),
    /// That cannot be told.
    Unknown,
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
    pub(super) fn new(mark: String, strangers: Strangers, adoption: Adoption, cgroups: Cgroups) -> Family {
        Family {
            mark,
            lives: BTreeMap::new(),
            leaders: HashMap::new(),
            probes: HashMap::new(),
            adopted: HashMap::new(),
            strangers,
            adoption,
            groups: HashMap::new(),
            extinct: BTreeSet::new(),
            glance: Glance::Due,
            cgroups,
        }
    }

    /// The value that marks an instance's processes.
    pub(super) fn mark(&self, instance: InstanceId) -> String {
        format!("{}-{}", self.mark, instance.0)
    }

    /// The value that marks the processes of a try of a probe.
    pub(super) fn mark_of_probe(&self, instance: InstanceId, number: u64) -> String {
        format!("{}.{number}", self.mark(instance))
    }

    pub(super) fn born(&mut self, slot: SlotKey, instance: InstanceId, edition: usize, leader: Pid) {
        self.lives.insert(instance, Kin { slot, edition, leader, leader_state: LeaderState::Unreaped });
        self.leaders.insert(leader.raw(), instance);
    }

    /// A command of a probe was started.
    pub(super) fn probe_born(&mut self, pid: Pid, number: u64) {
        self.probes.insert(pid.raw(), number);
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
        self.lives.values().filter(|kin| kin.leader_state == LeaderState::Unreaped).copied().collect()
    }

    /// A child of ours was reaped.
    pub(super) fn reaped(&mut self, pid: i32) {
        self.adopted.remove(&pid);
        self.probes.remove(&pid);
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
        self.groups.remove(&instance);
        self.extinct.remove(&instance);
    }

    /// Who of an instance is alive, its leader aside.
    ///
    /// # Errors
    /// The system is short of something: that cannot be told for now, and nobody is to be taken for gone.
    pub(super) fn descendants(&mut self, instance: InstanceId) -> Result<Vec<Stat>, Short> {
        self.adopt_from(instance)?;
        self.known_descendants(instance)
    }

    /// The same, for whoever kills all of them: of all that are killed in a step it is looked once who is ours. Who becomes ours
    /// meanwhile shows when the leader, or the last that was seen, has ended.
    ///
    /// # Errors
    /// As [`Family::descendants`].
    pub(super) fn doomed(&mut self, instance: InstanceId) -> Result<Vec<Stat>, Short> {
        if self.glance == Glance::Due {
            self.adopt()?;
            self.glance = Glance::Done;
        }
        self.known_descendants(instance)
    }

    /// What happens from now on is another step.
    pub(super) fn step_ends(&mut self) {
        self.glance = Glance::Due;
    }

    fn known_descendants(&mut self, instance: InstanceId) -> Result<Vec<Stat>, Short> {
        let Some(kin) = self.kin(instance) else { return Ok(Vec::new()) };
        if self.strangers == Strangers::OfTheFirst {
            let lives = &self.lives;
            for owner in self.adopted.values_mut() {
                *owner = match *owner {
                    Owner::Instance(owner) if lives.contains_key(&owner) => Owner::Instance(owner),
                    Owner::Instance(_) | Owner::Unknown => Owner::Instance(instance),
                    Owner::Probe(number) => Owner::Probe(number),
                };
            }
        }
        match self.adoption {
            Adoption::Ours => self.descendants_of_ours(instance, kin),
            Adoption::Elsewhere => {
                let mut below = self.below(instance, kin)?;
                let group = below.iter().filter(|stat| stat.group == kin.leader.raw()).cloned().collect();
                self.groups.insert(instance, group);
                let known = |pid: &i32| *pid == kin.leader.raw() || below.iter().any(|stat| stat.pid == *pid);
                let in_cell = self.cgroups.members(instance)?.into_iter().flatten();
                let more: Vec<i32> = in_cell.filter(|pid| !known(pid)).collect();
                below.append(&mut living(more)?);
                Ok(below)
            }
        }
    }

    fn descendants_of_ours(&mut self, instance: InstanceId, kin: Kin) -> Result<Vec<Stat>, Short> {
        for _ in 0..LOOKS {
            let known = self.adopted_of(instance);
            let found = self.below_known(instance, kin, &known)?;
            if !found.is_empty() || known.is_empty() {
                return Ok(found);
            }
            // They were alive when we looked who is ours, and have left us their own children since.
            self.adopt()?;
            if self.adopted_of(instance) == known {
                break;
            }
        }
        Ok(Vec::new())
    }

    fn below_known(
        &self,
        instance: InstanceId,
        kin: Kin,
        adopted: &BTreeSet<i32>,
    ) -> Result<Vec<Stat>, Short> {
        let in_cell = self.cgroups.members(instance)?;
        let by_ancestry = match &in_cell {
            None => !adopted.is_empty(),
            // Who may arrange cgroups may have left its cell; the dead are in none.
            Some(members) => {
                let strays = adopted.iter().copied().filter(|pid| !members.contains(pid));
                !living(strays)?.is_empty()
            }
        };
        if by_ancestry {
            return self.below(instance, kin);
        }
        let members = in_cell.into_iter().flatten().filter(|pid| *pid != kin.leader.raw());
        living(members)
    }

    /// Adopted children that belong to an instance.
    fn adopted_of(&self, instance: InstanceId) -> BTreeSet<i32> {
        let of_it = self.adopted.iter().filter(|(_, owner)| self.is_of(**owner, instance));
        of_it.map(|(pid, _)| *pid).collect()
    }

    /// As [`Family::doomed`], of those who are not in the instance's cell.
    ///
    /// # Errors
    /// As [`Family::descendants`].
    pub(super) fn doomed_outside_of_cell(&mut self, instance: InstanceId) -> Result<Vec<Stat>, Short> {
        let in_cell = self.cgroups.members(instance)?.unwrap_or_default();
        let mut outside = self.doomed(instance)?;
        outside.retain(|stat| !in_cell.contains(&stat.pid));
        Ok(outside)
    }

    /// Who of an instance whose leader lives is alive, its leader aside: the whole of /proc is read.
    ///
    /// # Errors
    /// As [`Family::descendants`].
    pub(super) fn descendants_of_the_living(&mut self, instance: InstanceId) -> Result<Vec<Stat>, Short> {
        let Some(kin) = self.kin(instance) else { return Ok(Vec::new()) };
        self.adopt()?;
        self.below(instance, kin)
    }

    fn below(&self, instance: InstanceId, kin: Kin) -> Result<Vec<Stat>, Short> {
        let everybody = proc::everybody()?;
        let leader = kin.leader.raw();
        let mut members = self.adopted_of(instance);
        let known = self.groups.get(&instance).map(Vec::as_slice).unwrap_or_default();
        let is_known =
            |stat: &Stat| stat.alive() && stat.group == leader && known.iter().any(|one| one.is(stat));
        if kin.leader_state == LeaderState::Unreaped || everybody.iter().any(is_known) {
            // Only now is the group's number surely not a stranger's.
            members.extend(everybody.iter().filter(|stat| stat.group == leader).map(|stat| stat.pid));
            members.insert(leader);
        }
        members.extend(self.cgroups.members(instance)?.into_iter().flatten());
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
        let is_one = |stat: &Stat| stat.pid != leader && stat.alive() && members.contains(&stat.pid);
        Ok(everybody.into_iter().filter(is_one).collect())
    }

    /// Whether a process is of an instance whose leader is not reaped: the leader, one of its group, one that descends from
    /// it, or one that has the instance's mark.
    pub(super) fn includes(&self, instance: InstanceId, pid: i32) -> bool {
        let Some(kin) = self.kin(instance).filter(|kin| kin.leader_state == LeaderState::Unreaped) else {
            return false;
        };
        let leader = kin.leader.raw();
        if pid == leader {
            return true;
        }
        let Some(stat) = Stat::of(pid) else { return false };
        if stat.group == leader {
            return true;
        }
        let us = i32::try_from(std::process::id()).unwrap_or(0);
        let parent = |stat: &Stat| Stat::of(stat.parent).filter(|parent| parent.pid > 1 && parent.pid != us);
        let descends = std::iter::successors(Some(stat), parent).take(DEEPEST).any(|stat| {
            stat.pid == leader || self.adopted.get(&stat.pid) == Some(&Owner::Instance(instance))
        });
        descends
            || self.owner_by_mark(pid) == Ok(Some(Owner::Instance(instance)))
            || self.cgroups.instance_of(pid) == Ok(Some(instance))
    }

    /// What commands of probes have left behind that have ended: none of it is of any use to anybody.
    ///
    /// # Errors
    /// As [`Family::descendants`].
    pub(super) fn left_by_probes(&mut self) -> Result<Vec<Stat>, Short> {
        self.adopt()?;
        let running: BTreeSet<u64> = self.probes.values().copied().collect();
        let left = self.adopted.iter().filter(|(_, owner)| match owner {
            Owner::Probe(number) => !running.contains(number),
            Owner::Instance(_) | Owner::Unknown => false,
        });
        living(left.map(|(pid, _)| *pid))
    }

    /// Whether a child of ours is a probe's command, or was left behind by one.
    pub(super) fn is_of_a_probe(&self, pid: i32) -> bool {
        self.probes.contains_key(&pid) || matches!(self.adopted.get(&pid), Some(Owner::Probe(_)))
    }

    /// Whether an adopted child with this owner belongs to this instance.
    fn is_of(&self, owner: Owner, instance: InstanceId) -> bool {
        match owner {
            Owner::Instance(owner) if self.lives.contains_key(&owner) => owner == instance,
            Owner::Probe(_) => false,
            // What an instance left that is forgotten is as much a stranger as what never had a mark.
            Owner::Instance(_) | Owner::Unknown => match self.strangers {
                Strangers::OfTheLast => self.lives.len() == 1 && self.lives.contains_key(&instance),
                Strangers::OfTheFirst | Strangers::OfNobody | Strangers::LetBe => false,
            },
        }
    }

    /// As [`Family::adopt`], but for nothing where an instance is known to have left nobody; and where its leader has ended, the
    /// look is for all of which that is true by now.
    ///
    /// The kernel gives us the children of a process before it shows us its end (exit.c, `exit_notify`). So whatever lives of an
    /// instance whose leader has ended hangs below a child of ours that a later look shows; and where there is none, there is
    /// nobody who could bear another.
    fn adopt_from(&mut self, instance: InstanceId) -> Result<(), Short> {
        if self.extinct.contains(&instance) {
            return Ok(());
        }
        let ended = self.ended_from(instance);
        if self.adopt()? == Sight::Blurred {
            return Ok(());
        }
        let mut survived = BTreeSet::new();
        for owner in self.adopted.values() {
            match owner {
                Owner::Instance(owner) if self.lives.contains_key(owner) => {
                    survived.insert(*owner);
                }
                Owner::Probe(_) => {}
                // Of a stranger cannot be told who bore it.
                Owner::Instance(_) | Owner::Unknown => return Ok(()),
            }
        }
        self.extinct.extend(ended.into_iter().filter(|instance| !survived.contains(instance)));
        Ok(())
    }

    /// This instance, if its leader has ended, and the next ones of which that is true. The dead are shown to us in about the
    /// order of their birth: so who is looked at here is who is buried next, and where hardly anybody has ended it is left at a
    /// few.
    fn ended_from(&self, instance: InstanceId) -> Vec<InstanceId> {
        let mut ended = Vec::new();
        let mut living = 0;
        for (instance, kin) in self.lives.range(instance..) {
            if kin.leader_state == LeaderState::Unreaped && reaper::has_ended(kin.leader) {
                ended.push(*instance);
            } else {
                living += 1;
            }
            if living > FEW + ended.len() {
                break;
            }
        }
        ended
    }

    /// Takes note of children that became ours, and whose they are.
    fn adopt(&mut self) -> Result<Sight, Short> {
        let mut dead = BTreeSet::new();
        for _ in 0..LOOKS {
            let known_dead = dead.len();
            for pid in proc::children()? {
                let known = self.leaders.contains_key(&pid) || self.probes.contains_key(&pid);
                if known || self.adopted.contains_key(&pid) || dead.contains(&pid) {
                    continue;
                }
                let Some(stat) = Stat::look(pid)?.filter(Stat::alive) else {
                    dead.insert(pid);
                    continue;
                };
                let owner = self.owner(&stat)?;
                tracing::debug!(pid, name = stat.name, ?owner, "adopted");
                self.adopted.insert(pid, owner);
            }
            // Who has ended behind our back may have left us its own children after we had read who is ours.
            if dead.len() == known_dead {
                return Ok(Sight::Whole);
            }
        }
        Ok(Sight::Blurred)
    }

    fn owner(&self, stat: &Stat) -> Result<Owner, Short> {
        // A group keeps its number while it has a member; should the number have two claimants, the later has it.
        let claimants = self.lives.iter().filter(|(_, kin)| kin.leader.raw() == stat.group);
        let claimant = claimants.map(|(instance, _)| *instance).max();
        let by_cell = self.cgroups.instance_of(stat.pid)?.map(Owner::Instance);
        let by_group = by_cell
            .or(claimant.map(Owner::Instance))
            .or_else(|| self.probes.get(&stat.group).map(|number| Owner::Probe(*number)));
        Ok(match by_group {
            Some(owner) => owner,
            None => self.owner_by_mark(stat.pid)?.unwrap_or(Owner::Unknown),
        })
    }

    fn owner_by_mark(&self, pid: i32) -> Result<Option<Owner>, Short> {
        let value = proc::variable(pid, "SUPERVISE_INSTANCE")?;
        Ok(value.and_then(|value| self.marked(value)))
    }

    /// Whose mark this is.
    fn marked(&self, value: Vec<u8>) -> Option<Owner> {
        let value = String::from_utf8(value).ok()?;
        let rest = value.strip_prefix(&self.mark)?.strip_prefix('-')?;
        match rest.split_once('.') {
            Some((_, number)) => number.parse().ok().map(Owner::Probe),
            None => rest.parse().ok().map(|number| Owner::Instance(InstanceId(number))),
        }
    }
}

/// Those of them that live.
fn living(pids: impl IntoIterator<Item = i32>) -> Result<Vec<Stat>, Short> {
    let looks = pids.into_iter().map(Stat::look);
    looks.filter_map(|look| look.map(|stat| stat.filter(Stat::alive)).transpose()).collect()
}

/// Whether what stands behind the beginning of a mark (see [`Family::mark_of_probe`]) is a probe's.
pub(super) fn marks_a_probe(rest: &str) -> bool {
    rest.contains('.')
}
