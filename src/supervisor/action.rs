//! What shall be done: orders to the host.

use serde::{Deserialize, Serialize};

use crate::api::{Answer, InstanceId, Notice, ProbeKind, RequestId, Signal};

use super::SlotKey;

/// An order. The host performs it before the next event; what the supervisor must know of it comes back as an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Begin a life. Answered by `Spawned` or `SpawnFailed`, perhaps after `PortTaken`.
    Spawn {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Which edition of the type, from 0: another one for each [`Program::Changed`](super::Program::Changed).
        edition: usize,
    },
    /// Ask an instance how it is. Answered by `Probed`, in its own time and always; so long the same is not ordered again.
    /// One whose instance ends is given up.
    Probe {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Which probe.
        probe: ProbeKind,
    },
    /// Ask the backing services that this edition of a type needs. Answered by `Asked`, in its own time and always; so long
    /// the same is not ordered again.
    Ask {
        /// Which type.
        type_index: usize,
        /// Which edition.
        edition: usize,
    },
    /// From now on an earlier edition of a type holds again: it gets the next number.
    Revert {
        /// Which type.
        type_index: usize,
        /// Which edition.
        edition: usize,
    },
    /// Ask to end: this signal, then SIGCONT (a stopped process would keep it pending, signal(7)).
    Stop {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Whom.
        target: Whom,
        /// With what.
        signal: Signal,
    },
    /// A signal to a leader, and nothing more.
    Signal {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Which.
        signal: Signal,
    },
    /// SIGKILL.
    Kill {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Whom.
        target: Whom,
    },
    /// Say who of an instance is alive: answered by `Remaining`.
    Look {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
    },
    /// Pass a signal to every leader that has a handler for it; answered by `Withheld` where some have none.
    Pass {
        /// Which.
        signal: Signal,
    },
    /// Stop every process group with SIGTSTP, then ourselves; time stands still until SIGCONT.
    Suspend,
    /// SIGCONT to every process group.
    Resume,
    /// Read the Procfile, the env files and the spec again. Answered by `Reread` or `Unreadable`, in its own time; so long no
    /// other is ordered.
    Reread,
    /// From now on what was read again holds. Of the earlier editions those are forgotten that nobody lives by; not the newest
    /// until now, and not these.
    Adopt {
        /// What may be come back to: types, and an edition of each.
        keep: Vec<(usize, usize)>,
    },
    /// What was read again does not hold, or does not any more: it is forgotten.
    Discard,
    /// From now on this is the index of one-off commands: types that are new follow after it.
    Reserve {
        /// Which: so many types there are.
        type_index: usize,
    },
    /// This command is the newest edition of the one-off commands.
    Stage {
        /// Their index.
        type_index: usize,
        /// Its number.
        edition: usize,
        /// Which command.
        staged: Staged,
    },
    /// Read a release, to be deployed. Answered by `Reread` or `Unreadable`, in its own time; so long no `Reread` is ordered.
    Prepare {
        /// Which: `v4`.
        release: String,
    },
    /// Write down that a release runs everywhere. Answered by `Recorded`, in its own time.
    Record {
        /// Which.
        release: String,
    },
    /// The answer to a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// What.
        answer: Answer,
    },
    /// Say it in the stream.
    Announce {
        /// What.
        notice: Notice,
        /// Whose last words come first.
        after: Option<InstanceId>,
    },
    /// Everything ends from now: read the pipes on, whatever the reader of our stdout does, and let nobody outlive us.
    ReadOn,
    /// End with this code. Nothing follows.
    Exit {
        /// The supervisor's exit code.
        code: u8,
        /// How long the last lines may take.
        farewell: Farewell,
    },
}

/// A one-off command, which only the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Staged {
    /// The one that came with a request.
    Asked(RequestId),
    /// That of the type `release`, of what was read.
    ReleasePhase,
}

/// How long the last lines may take where the reader of our stdout has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Farewell {
    /// As long as it takes: nobody asked us to end, and nobody waits for that.
    Patient,
    /// A moment.
    Brief,
}

/// Who of an instance is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The process that we started.
    Leader,
    /// Its process group.
    Group,
    /// Every living process of the instance: the group, and descendants that left it.
    Everyone,
    /// Only the descendants that left the group.
    Strays,
}
