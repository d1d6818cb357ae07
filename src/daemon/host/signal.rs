//! A signal to an instance, or to a part of it.

use std::collections::VecDeque;

use crate::api::{InstanceId, Signal};
use crate::supervisor::{Event, SlotKey, Whom};

use super::super::family::LeaderState;
use super::super::kill;
use super::super::proc::Stat;
use super::super::program;
use super::Host;

/// A signal to somebody who could not be seen.
#[derive(Debug)]
pub(super) struct Unsent {
    slot: SlotKey,
    instance: InstanceId,
    target: Whom,
    signal: Signal,
}

impl Host {
    /// Looks again after those who could not be seen and have to be signalled.
    pub(in super::super) fn signal_again(&mut self) -> VecDeque<Event> {
        self.kill_what_probes_left();
        let mut inbox = VecDeque::new();
        for Unsent { slot, instance, target, signal } in std::mem::take(&mut self.unsent) {
            self.signal(slot, instance, target, signal, &mut inbox);
        }
        inbox
    }

    pub(super) fn signal(
        &mut self,
        slot: SlotKey,
        instance: InstanceId,
        target: Whom,
        signal: Signal,
        inbox: &mut VecDeque<Event>,
    ) {
        let Some(kin) = self.family.kin(instance) else { return };
        let unreaped = kin.leader_state == LeaderState::Unreaped;
        if signal == Signal::KILL {
            self.killed.insert(instance);
        }
        let result = match target {
            Whom::Leader if unreaped => kill::process(kin.leader, signal),
            Whom::Group if unreaped => kill::group(kin.leader, signal),
            // Its number may be anybody's by now.
            Whom::Leader | Whom::Group => Ok(()),
            Whom::Everyone | Whom::Strays => {
                let everyone = target == Whom::Everyone;
                // In one go, those included who are just being born; who has left the cell is killed as ever.
                let by_cell = everyone && signal == Signal::KILL && self.family.cgroups.kill(instance);
                let by_group = if everyone && unreaped { kill::group(kin.leader, signal) } else { Ok(()) };
                let looked = if by_cell {
                    self.family.doomed_outside_of_cell(instance)
                } else if signal == Signal::KILL {
                    self.family.doomed(instance)
                } else {
                    self.family.descendants(instance)
                };
                let descendants = looked.unwrap_or_else(|short| {
                    // The group has heard it, and shall not hear it twice.
                    let target = if unreaped { Whom::Strays } else { target };
                    self.unsent.push(Unsent { slot, instance, target, signal });
                    self.look_again(short);
                    Vec::new()
                });
                let in_group = |stat: &&Stat| stat.group == kin.leader.raw();
                // A living member that is ours keeps the group's number ours.
                let by_member = if everyone && !unreaped && descendants.iter().any(|stat| in_group(&stat)) {
                    kill::group(kin.leader, signal)
                } else {
                    Ok(())
                };
                let strays = descendants.iter().filter(|stat| !in_group(stat));
                let one_by_one = strays.map(|stat| kill::exactly(stat, signal));
                [by_group, by_member].into_iter().chain(one_by_one).find(Result::is_err).unwrap_or(Ok(()))
            }
        };
        if let Err(errno) = result {
            let error = program::reason(errno).to_owned();
            inbox.push_back(Event::SignalRefused { slot, instance, signal, error });
        }
    }

    /// Commands of probes are killed with their group; this is whoever has left it, again and again until there is nobody.
    pub(super) fn kill_what_probes_left(&mut self) {
        let left = match self.family.left_by_probes() {
            Ok(left) => left,
            Err(short) => return self.look_again(short),
        };
        for stat in left {
            if let Err(errno) = kill::exactly(&stat, Signal::KILL) {
                tracing::warn!(pid = stat.pid, %errno, "what a probe left behind was not killed");
            }
        }
    }
}
