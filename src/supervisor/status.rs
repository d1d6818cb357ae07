//! How everything is, for whoever asks.

use crate::api::{Formation, ProcessStatus, Status};

use super::{Phase, Readiness, Slot, SlotKey, Supervisor, Time, millis};

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

    fn process_status(&self, key: SlotKey, slot: &Slot, now: Time) -> ProcessStatus {
        let name = self.name(key);
        let led = slot.phase.led();
        ProcessStatus {
            process_type: name.process_type.clone(),
            slot: key.number,
            name,
            state: slot.phase.state(),
            ready: matches!(slot.phase, Phase::Running { readiness: Readiness::Ready, .. }),
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
