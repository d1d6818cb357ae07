//! How everything is, for whoever asks.

use crate::api::{Formation, ProcessStatus, Status, Tally, TypeVitals, Vitals};

use super::course::Course;
use super::{Slot, SlotKey, Supervisor, Time, Type, millis};

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
        let essential = self.order.iter().map(|type_index| &self.types[*type_index]);
        let essential = essential.filter(|kind| kind.newest().policy.essential && kind.wanted() > 0);
        let vitals = |kind: &Type| {
            let wanted = kind.wanted();
            let ready = kind.wanted_slots().filter(|slot| slot.is_ready()).count();
            TypeVitals {
                process_type: kind.newest().name.clone(),
                wanted,
                ready: u32::try_from(ready).unwrap_or(u32::MAX),
                enough: wanted.saturating_sub(kind.newest().policy.rollout.max_unavailable),
            }
        };
        Vitals {
            draining: !matches!(self.course, Course::Up { .. }),
            started: self.started,
            essential: essential.map(vitals).collect(),
        }
    }

    /// What has happened to the instances of each type so far, in Procfile order; last those that are not in it any more.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.every_type().map(|type_index| self.types[type_index].tally.clone()).collect()
    }

    fn process_status(&self, key: SlotKey, slot: &Slot, now: Time) -> ProcessStatus {
        let name = self.name(key);
        let led = slot.phase.led();
        ProcessStatus {
            process_type: name.process_type.clone(),
            slot: key.number,
            name,
            state: slot.phase.state(),
            ready: slot.is_ready(),
            reason: None,
            status_text: None,
            suspended: false,
            pid: led.map(|life| life.leader),
            port: self.port(key),
            release: self.member(key).release.clone(),
            restarts: slot.restarts,
            uptime_ms: led.map(|life| millis(now - life.since)),
            last_exit: slot.last_exit,
            rss_bytes: None,
            cpu_ms: None,
        }
    }
}
