//! A process type as far as it is decided about: its name, its rules, its count, its slots.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::{ProbeKind, Tally, TypeName};
use crate::app::{Check, Form, Policy, Probe, ProcessType, Release, Timing};

use super::needs::Supply;
use super::rollout::Rollout;
use super::{Phase, Slot, SlotKey, Time};

/// What is known of a process type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: TypeName,
    /// The release that its instances run.
    pub release: String,
    /// How many should run.
    pub quantity: u32,
    /// How many may run at most, where there is a limit.
    pub max: Option<u32>,
    /// How they are kept.
    pub policy: Policy,
    /// Types that must be ready, or completed, before it is started.
    pub after: Vec<TypeName>,
    /// The PORT of slot 1.
    pub first_port: Option<u16>,
    /// Whether one more than there shall be can do its work for a while.
    pub surge: Surge,
    /// How it is found out how its instances are.
    pub probes: Probes,
    /// The backing services that must answer before one is started, and how long a start waits for each.
    pub needs: Vec<Need>,
    /// Who finds the program.
    pub found_by: FoundBy,
}

/// Whether one instance more than there shall be can do the work of the others for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Surge {
    /// They share a socket, or have no PORT.
    Possible,
    /// Each has a PORT of its own, where its clients look for it.
    Forbidden,
}

/// The probes of a type, as far as they are decided about: what they ask is the host's affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Whether it has started.
    pub startup: Option<Probing>,
    /// Whether it may be sent work.
    pub readiness: Option<Probing>,
    /// Whether it lives.
    pub liveness: Option<Probing>,
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// Who speaks first.
    pub source: Source,
    /// When, and how often before it counts.
    pub timing: Timing,
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// It is asked.
    Asked,
    /// It says so by itself.
    Told,
}

/// A backing service that a type needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its variable.
    pub service: String,
    /// How long a start waits for it.
    pub wait: Duration,
}

impl Probes {
    /// The rule of one of them, where there is one.
    pub(super) fn of(&self, probe: ProbeKind) -> Option<Probing> {
        match probe {
            ProbeKind::Startup => self.startup,
            ProbeKind::Readiness => self.readiness,
            ProbeKind::Liveness => self.liveness,
        }
    }
}

impl From<&Probe> for Probing {
    fn from(probe: &Probe) -> Probing {
        let source = match probe.check {
            Check::Http { .. } | Check::Tcp { .. } | Check::Exec { .. } => Source::Asked,
            Check::Notify => Source::Told,
        };
        Probing { source, timing: probe.timing }
    }
}

/// Who finds the program of a type, and so who says that it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundBy {
    /// We do: its own exit codes 126 and 127 mean what it wants.
    Us,
    /// A shell: exit codes 126 and 127 mean that it found or could execute nothing.
    Shell,
}

impl Member {
    /// What is to be known of a type of a release.
    #[must_use]
    pub fn new(release: &Release, process_type: &ProcessType) -> Member {
        Member {
            name: process_type.name.clone(),
            release: release.id.clone(),
            quantity: process_type.quantity,
            max: process_type.max,
            policy: process_type.policy.clone(),
            after: process_type.after.clone(),
            first_port: process_type.port,
            surge: match (&process_type.listen, process_type.port) {
                (Some(_), _) | (None, None) => Surge::Possible,
                (None, Some(_)) => Surge::Forbidden,
            },
            probes: Probes {
                startup: process_type.health.startup.as_ref().map(Probing::from),
                readiness: process_type.health.readiness.as_ref().map(Probing::from),
                liveness: process_type.health.liveness.as_ref().map(Probing::from),
            },
            needs: process_type
                .needs
                .iter()
                .map(|service| Need { service: service.name.clone(), wait: service.wait })
                .collect(),
            found_by: match process_type.command.form {
                Form::Direct(_) => FoundBy::Us,
                Form::Exec | Form::Shell => FoundBy::Shell,
            },
        }
    }

    /// The members of a release, in Procfile order.
    #[must_use]
    pub fn all(release: &Release) -> Vec<Member> {
        release.types.iter().map(|process_type| Member::new(release, process_type)).collect()
    }

    /// The PORT of a slot.
    pub(super) fn port(&self, number: u32) -> Option<u16> {
        u16::try_from(u32::from(self.first_port?) + number - 1).ok()
    }
}

/// A type, what it was and is, and its slots.
#[derive(Clone, Debug)]
pub(super) struct Type {
    /// What is known of it, counted up from 0: an instance keeps the rules that it was started with. Those that no slot
    /// knows any more are forgotten.
    editions: BTreeMap<usize, Member>,
    pub(super) count: Count,
    pub(super) standing: Standing,
    pub(super) gate: Gate,
    /// Every slot there ever was, from number 1: a slot keeps its history when it is vacant.
    pub(super) slots: Vec<Slot>,
    pub(super) record: Record,
    pub(super) tally: Tally,
    pub(super) supply: Supply,
    pub(super) rollout: Option<Rollout>,
    /// The editions between these two were turned back last: what runs of them is to be replaced, whatever else comes.
    pub(super) rejected: Option<(usize, usize)>,
}

/// How many of a type there shall be, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// The files and arguments of the start or of the last reload.
    Planned(u32),
    /// A request.
    Asked(u32),
}

/// Whether a type is in the Procfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Yes.
    Listed,
    /// It was; what is left of it ends.
    Removed,
    /// It never was: its slots are those of one-off commands.
    OneOffs,
}

/// Whether a type may be started. Once open a gate stays open: who came first may fail and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Not before other types are ready.
    Closed,
    /// The same, and that was said.
    Awaited,
    /// Yes.
    Open,
}

impl Gate {
    pub(super) fn of(member: &Member) -> Gate {
        if member.after.is_empty() { Gate::Open } else { Gate::Closed }
    }

    /// As it is before anything was said of it.
    pub(super) fn unsaid(self) -> Gate {
        match self {
            Gate::Closed | Gate::Awaited => Gate::Closed,
            Gate::Open => Gate::Open,
        }
    }

    /// The phase of a slot that is to be started then, or as soon as it may be.
    pub(super) fn phase(self, due: Time) -> Phase {
        match self {
            Gate::Open => Phase::Pending { due },
            Gate::Closed | Gate::Awaited => Phase::Waiting,
        }
    }
}

/// Whether a type's program was ever seen to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Not yet: a program that cannot be found or executed is a mistake.
    Blank,
    /// Yes, or it came to run by a request: a program that cannot be found is being replaced, say.
    Ran,
}

impl Type {
    pub(super) fn new(member: Member, record: Record, now: Time) -> Type {
        let gate = Gate::of(&member);
        let phase = gate.phase(now);
        Type {
            count: Count::Planned(member.quantity),
            standing: Standing::Listed,
            gate,
            slots: (0..member.quantity).map(|_| Slot::new(phase.clone(), 0)).collect(),
            record,
            tally: Tally::new(member.name.clone()),
            supply: Supply::default(),
            rollout: None,
            rejected: None,
            editions: BTreeMap::from([(0, member)]),
        }
    }

    /// What holds for new instances.
    pub(super) fn newest(&self) -> &Member {
        &self.editions[&self.newest_edition()]
    }

    pub(super) fn newest_edition(&self) -> usize {
        // There is one from the beginning, and the newest is never forgotten.
        self.editions.last_key_value().map_or(0, |(edition, _)| *edition)
    }

    /// What holds for the instance in a slot, or the one that was there last.
    pub(super) fn edition(&self, slot: &Slot) -> &Member {
        &self.editions[&slot.edition]
    }

    /// New rules for the same program: they hold for what runs, too.
    pub(super) fn amend(&mut self, member: Member) {
        if member.needs != self.newest().needs {
            self.supply.forget();
        }
        self.editions.insert(self.newest_edition(), member);
    }

    /// Another program.
    pub(super) fn publish(&mut self, member: Member) {
        let newest = self.newest_edition();
        let mut known: BTreeSet<usize> = self.slots.iter().map(|slot| slot.edition).collect();
        // The newest may have to come back, or what works for certain.
        known.extend(self.worked().into_iter().chain([newest]));
        self.editions.retain(|edition, _| known.contains(edition));
        self.supply.forget();
        self.editions.insert(newest + 1, member);
    }

    /// What held for new instances, and is to hold for them again.
    pub(super) fn republish(&mut self, edition: usize) {
        if let Some(earlier) = self.editions.get(&edition).cloned() {
            // How many the files say is not a matter of what runs.
            self.publish(Member { quantity: self.newest().quantity, ..earlier.clone() });
            // While others are on their way back, it is what they go back to.
            self.editions.insert(edition, earlier);
        }
    }

    /// Whether new instances get other PORTs than those of an earlier edition.
    pub(super) fn moved_ports(&self, edition: usize) -> bool {
        let before = self.editions.get(&edition).and_then(|member| member.first_port);
        before.is_some_and(|before| self.newest().first_port.is_some_and(|after| after != before))
    }

    /// The slots whose present or last instance has, or had, this PORT: one for each edition at most.
    pub(super) fn on_port(&self, port: u16) -> impl Iterator<Item = &Slot> {
        self.editions.iter().filter_map(move |(edition, member)| {
            let place = port.checked_sub(member.first_port?)?;
            self.slots.get(usize::from(place)).filter(|slot| slot.edition == *edition)
        })
    }

    /// How many slots there shall be.
    pub(super) fn wanted(&self) -> u32 {
        match self.count {
            Count::Planned(count) | Count::Asked(count) => count,
        }
    }

    /// The slots there shall be.
    pub(super) fn wanted_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().take(self.wanted() as usize)
    }

    /// The slots that are there: those that shall be, and those that have not ended yet.
    pub(super) fn present(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let wanted = self.wanted();
        let vacant = |slot: &Slot| matches!(slot.phase, Phase::Stopped);
        (1..).zip(&self.slots).filter(move |(number, slot)| *number <= wanted || !vacant(slot))
    }

    /// The highest number of a slot that is there; 0 where none is.
    pub(super) fn highest(&self) -> u32 {
        let is_there = |slot: &Slot| !matches!(slot.phase, Phase::Stopped);
        // From above: there are seldom vacant ones.
        let above = self.slots.iter().skip(self.wanted() as usize).rposition(is_there);
        self.wanted() + above.map_or(0, |above| u32::try_from(above).unwrap_or(u32::MAX) + 1)
    }
}

/// The place of a slot in its type.
pub(super) fn index(key: SlotKey) -> usize {
    // Slot numbers begin at 1; a key is only ever made from an existing slot.
    key.number as usize - 1
}
