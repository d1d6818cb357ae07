//! Who was killed for memory: leaders, by their way of ending; others, by a notice of ours.

use crate::api::{ExitStatus, InstanceId, Signal};

use super::super::Fact;
use super::super::cgroup;
use super::super::proc::Stat;
use super::{Host, say};

impl Host {
    /// Whether it was the kernel that killed a leader for memory: it sends the same signal as we do.
    pub(super) fn diagnosed(&mut self, instance: InstanceId, status: ExitStatus) -> ExitStatus {
        match status {
            ExitStatus::Signal { signal: Signal::KILL, .. } if !self.killed.contains(&instance) => {
                let why = self.family.cgroups.why_killed(instance);
                why.map_or(status, ExitStatus::OutOfMemory)
            }
            ExitStatus::Signal { .. } | ExitStatus::Code(_) | ExitStatus::OutOfMemory(_) => status,
        }
    }

    /// From now on it is counted whom the kernel kills for memory.
    pub(in super::super) fn watch_memory(&mut self) {
        self.family.cgroups.open_ledger(&self.facts);
    }

    /// Where nothing tells whom the kernel kills for memory: now that somebody has ended it may have been that.
    pub(in super::super) fn look_at_unwatched_memory(&mut self) {
        if self.family.cgroups.is_unwatched() {
            self.look_at_memory();
        }
    }

    /// Says who was killed for memory that leads nothing. It may be a leader of whose end we have not heard: then it is asked
    /// again when we must have.
    pub(in super::super) fn look_at_memory(&mut self) {
        let waits = self.family.cgroups.look();
        if !(waits && self.any_leader_killed()) {
            let losses = self.family.cgroups.losses();
            say(&self.stream, losses);
        }
        let is_awaited = self.next_look.as_ref().is_some_and(|look| !look.is_finished());
        if waits && !is_awaited {
            let facts = self.facts.clone();
            self.next_look = Some(tokio::spawn(async move {
                tokio::time::sleep(cgroup::PATIENCE).await;
                // An error means that the loop has ended and does not want to know.
                let _ = facts.send(Fact::Memory).await;
            }));
        }
    }

    /// Whether the kernel is taking a leader apart, or we have not looked after it yet: of one that had many gigabytes that takes
    /// seconds, and it may be the one that was killed.
    fn any_leader_killed(&self) -> bool {
        let leaders = self.family.led().into_iter().map(|kin| kin.leader.raw());
        leaders.filter_map(Stat::of).any(|stat| stat.killed())
    }
}
