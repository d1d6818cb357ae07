//! How everything is, for whoever asks.

use crate::api::{Formation, Missing, ProbeKind, ProcessStatus, Status, Tally, TypeName, TypeVitals, Vitals};

use super::course::Course;
use super::{Condition, Phase, Readiness, Slot, SlotKey, Supervisor, Time, Type, millis};

/// How many of a type are how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// Which type.
    pub process_type: TypeName,
    /// Whether its final failure ends everything.
    pub essential: bool,
    /// How many shall run.
    pub wanted: u32,
    /// How many are ready; at most as many as are wanted.
    pub ready: u32,
    /// How many have completed.
    pub completed: u32,
    /// How many have failed for good.
    pub failed: u32,
    /// How many have an instance, however it is.
    pub alive: u32,
    /// Whether they are being replaced.
    pub rolling: bool,
}

impl Supervisor {
    /// What the formation is meant to be: every type of the Procfile with its count.
    #[must_use]
    pub fn formation(&self) -> Formation {
        let listed = self.listed().map(|(type_index, name)| (name.clone(), self.types[type_index].wanted()));
        Formation(listed.collect())
    }

    /// How everything is. Memory and CPU are not known here.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let processes = self.slots().map(|(key, slot)| self.process_status(key, slot, now)).collect();
        Status { schema: Status::SCHEMA, formation: self.formation(), processes }
    }

    /// How well everything is.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        let vitals = |type_index: usize| {
            let kind = &self.types[type_index];
            let wanted = kind.wanted();
            let ready = kind.present().filter(|(_, slot)| slot.is_ready()).count();
            let enough = wanted.saturating_sub(kind.newest().policy.rollout.max_unavailable);
            // One after the other in their places: nobody is missed but the last one.
            let in_place = kind.rollout.is_some() && self.surge(type_index) == 0;
            TypeVitals {
                process_type: kind.newest().name.clone(),
                wanted,
                ready: u32::try_from(ready).unwrap_or(u32::MAX).min(wanted),
                enough: if in_place { enough.min(wanted.saturating_sub(1).max(1)) } else { enough },
            }
        };
        Vitals {
            draining: !matches!(self.course, Course::Up { .. }),
            started: self.started,
            essential: self.essential().map(vitals).collect(),
        }
    }

    /// Whether every essential type has had enough ready instances, all at once.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// How many of each type are how: those of the Procfile in its order, then those that are not in it any more. A type of
    /// which nothing shall run and nothing lives is left out.
    #[must_use]
    pub fn census(&self) -> Vec<Census> {
        let of_type = |type_index: usize| {
            let kind = &self.types[type_index];
            let count = |is: fn(&Slot) -> bool| {
                u32::try_from(kind.present().filter(|(_, slot)| is(slot)).count()).unwrap_or(u32::MAX)
            };
            let wanted = kind.wanted();
            Census {
                process_type: kind.newest().name.clone(),
                essential: kind.newest().policy.essential,
                wanted,
                ready: count(Slot::is_ready).min(wanted),
                completed: count(|slot| matches!(slot.phase, Phase::Completed)).min(wanted),
                failed: count(|slot| matches!(slot.phase, Phase::Failed)).min(wanted),
                alive: count(|slot| slot.phase.instance().is_some()),
                rolling: kind.rollout.is_some(),
            }
        };
        let there = |census: &Census| census.wanted > 0 || census.alive > 0;
        self.every_type().map(of_type).filter(there).collect()
    }

    /// Remembers that every essential type has enough ready instances, once that is so.
    pub(super) fn note_started(&mut self) {
        if self.started || !matches!(self.course, Course::Up { .. }) {
            return;
        }
        let enough = |type_index: usize| {
            let kind = &self.types[type_index];
            let spare = kind.newest().policy.rollout.max_unavailable as usize;
            // One more than can be spared is enough to know.
            kind.wanted_slots().filter(|slot| !slot.is_ready()).nth(spare).is_none()
        };
        let started = self.essential().all(enough);
        self.started = started;
    }

    /// The essential types of which something shall run.
    fn essential(&self) -> impl Iterator<Item = usize> {
        let is_meant = |kind: &Type| kind.newest().policy.essential && kind.wanted() > 0;
        self.order.iter().copied().filter(move |type_index| is_meant(&self.types[*type_index]))
    }

    /// Whether the instances of a type are being replaced.
    #[must_use]
    pub fn is_rolling(&self, type_index: usize) -> bool {
        self.rolling.contains(&type_index)
    }

    /// What has happened to the instances of each type so far, in Procfile order; last those that are not in it any more.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.every_type().map(|type_index| self.types[type_index].tally.clone()).collect()
    }

    fn process_status(&self, key: SlotKey, slot: &Slot, now: Time) -> ProcessStatus {
        let name = self.name(key);
        let led = slot.phase.led();
        // Where nothing lives it is that of the next instance: another slot may have the old one by now.
        let port = match slot.phase.instance() {
            Some(_) => self.port(key),
            None => self.next_edition(key).1.port(key.number),
        };
        ProcessStatus {
            process_type: name.process_type.clone(),
            slot: key.number,
            name,
            state: slot.phase.state(),
            ready: slot.is_ready(),
            reason: self.reason(key, slot),
            status_text: slot.status_text.clone(),
            suspended: false,
            pid: led.map(|life| life.leader),
            port,
            release: self.member(key).release.clone(),
            restarts: slot.restarts,
            uptime_ms: led.map(|life| millis(now - life.since)),
            last_exit: slot.last_exit,
            rss_bytes: None,
            cpu_ms: None,
        }
    }

    /// Why a slot is not ready, where something is known of that.
    pub(super) fn reason(&self, key: SlotKey, slot: &Slot) -> Option<String> {
        let kind = &self.types[key.type_index];
        match &slot.phase {
            Phase::Waiting => {
                let first: Vec<&str> = kind.newest().after.iter().map(TypeName::as_str).collect();
                Some(format!("waits for {}", first.join(", ")))
            }
            Phase::Needing { .. } => {
                let missing = kind.supply.missing().first();
                let said =
                    missing.map(|Missing { service, place, why }| format!("{service} ({place}): {why}"));
                Some(said.unwrap_or_else(|| "asks for what it needs".to_owned()))
            }
            Phase::Running { condition: Condition { readiness, watches }, .. } => match readiness {
                Readiness::Expected { .. } | Readiness::Ready { .. } => None,
                Readiness::Starting { why } => {
                    let probe = watches.first().map_or(ProbeKind::Readiness, |watch| watch.probe);
                    Some(match why {
                        Some(why) => format!("{probe}: {why}"),
                        None => format!("{probe}: not yet"),
                    })
                }
                Readiness::Lapsed { why } => Some(format!("{}: {why}", ProbeKind::Readiness)),
                Readiness::Stopping => Some("it says that it is stopping".to_owned()),
            },
            Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Starting { .. }
            | Phase::Draining { .. }
            | Phase::Killing { .. }
            | Phase::Stuck { .. }
            | Phase::Leaving { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => None,
        }
    }
}
