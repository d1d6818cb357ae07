//! Who has ended, and who is left of an instance.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::InstanceId;
use crate::app::Leftovers;
use crate::supervisor::{Event, SlotKey};

use super::super::Fact;
use super::super::family::LeaderState;
use super::super::notify::Reading;
use super::super::proc::{Short, Stat};
use super::super::reaper;
use super::{Host, say};

/// So long nothing is looked at, where the system was short of something to look with.
const BLINK: Duration = Duration::from_millis(50);

impl Host {
    /// A child of ours that has ended, if there is one, and the events it makes. It stays a zombie until
    /// [`Host::bury`] is called with its pid. None for now where we cannot see who is left of its instance: another must not
    /// be started beside somebody who is.
    pub(in super::super) fn dead(&mut self) -> Option<(i32, Vec<Event>)> {
        let dead = reaper::peek()?;
        if self.probes.dead(dead) {
            return Some((dead.pid, Vec::new()));
        }
        let Some((instance, slot)) = self.family.led_by(dead.pid) else {
            return Some((dead.pid, Vec::new()));
        };
        let living = match self.family.descendants(instance) {
            Ok(living) => living,
            Err(short) => {
                self.look_again(short);
                return None;
            }
        };
        // What it has said before it ended comes before its end.
        let mut events = self.heard(instance, Reading::All);
        self.mailboxes.close(instance);
        self.probes.give_up(instance);
        events.push({
            match self.family.kin(instance).map(|kin| self.leftovers(kin)) {
                Some(Leftovers::Stop) => self.watch.over(instance, &living),
                // Nobody waits for them.
                Some(Leftovers::Leave) | None => {}
            }
            let living = living.iter().filter_map(Stat::process).collect();
            let status = self.diagnosed(instance, dead.status);
            Event::LeaderExited { slot, instance, status, living }
        });
        Some((dead.pid, events))
    }

    /// Reaps a dead child. Where it led an instance of which nothing is left to wait for, the instance is forgotten.
    pub(in super::super) fn bury(&mut self, pid: i32) {
        let led = self.family.led_by(pid);
        let of_a_probe = self.family.is_of_a_probe(pid);
        reaper::reap(pid);
        self.family.reaped(pid);
        if of_a_probe {
            self.kill_what_probes_left();
        }
        if let Some((instance, _)) = led
            && !self.watch.watches(instance)
        {
            self.forget(instance);
        }
    }

    /// Somebody of an instance without a leader has ended, or may have: who is left?
    pub(in super::super) fn left(&mut self, instance: InstanceId, inbox: &mut VecDeque<Event>) {
        self.watch.done(instance);
        let Some(kin) = self.family.kin(instance) else { return };
        let living = match self.family.descendants(instance) {
            Ok(living) => living,
            Err(short) => {
                self.watch.over_somebody(instance);
                return self.look_again(short);
            }
        };
        self.watch.over(instance, &living);
        tell_remaining(kin.slot, instance, &living, inbox);
        if living.is_empty() && kin.leader_state == LeaderState::Reaped {
            self.forget(instance);
        }
    }

    /// Nothing is left of an instance.
    fn forget(&mut self, instance: InstanceId) {
        let losses = self.family.cgroups.forget(instance);
        say(&self.stream, losses);
        self.killed.remove(&instance);
        self.family.forget(instance);
        self.close_unused_sockets();
        self.let_go_of_releases();
    }

    /// Instances that could not be watched, to be looked at when any child has ended.
    pub(in super::super) fn unwatched(&mut self) -> Vec<InstanceId> {
        self.watch.unwatched()
    }

    /// Who of an instance is alive, its leader included.
    pub(super) fn look(&mut self, slot: SlotKey, instance: InstanceId, inbox: &mut VecDeque<Event>) {
        let leader = self.family.kin(instance).filter(|kin| kin.leader_state == LeaderState::Unreaped);
        let looked = self.family.descendants_of_the_living(instance).and_then(|mut living| {
            let leader = leader.map_or(Ok(None), |kin| Stat::look(kin.leader.raw()))?;
            living.extend(leader.filter(Stat::alive));
            Ok(living)
        });
        match looked {
            Ok(living) => tell_remaining(slot, instance, &living, inbox),
            // The supervisor asks again before long.
            Err(short) => self.look_again(short),
        }
    }

    /// Has us look again in a moment, after those who could not be seen.
    pub(super) fn look_again(&mut self, Short(errno): Short) {
        if self.next_sight.as_ref().is_some_and(|sight| !sight.is_finished()) {
            return;
        }
        tracing::debug!(%errno, "nothing is to be seen in /proc for now");
        let facts = self.facts.clone();
        self.next_sight = Some(tokio::spawn(async move {
            tokio::time::sleep(BLINK).await;
            // An error means that the loop has ended and does not want to know.
            let _ = facts.send(Fact::LookAgain).await;
        }));
    }
}

fn tell_remaining(slot: SlotKey, instance: InstanceId, living: &[Stat], inbox: &mut VecDeque<Event>) {
    let living = living.iter().filter_map(Stat::process).collect();
    inbox.push_back(Event::Remaining { slot, instance, living });
}
