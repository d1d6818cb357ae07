//! What has happened: facts in the past, told by the host.

use serde::{Deserialize, Serialize};

use crate::api::{
    ExitStatus, InstanceId, Missing, ProbeKind, ProbeResult, Process, Request, RequestId, Signal, Word,
};

use super::{Member, SlotKey};

/// A fact. It never says what should follow from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The supervisor's deadline has come, or it is about to begin.
    Woke,
    /// The answer to [`Action::Probe`](super::Action::Probe), in its own time.
    Probed {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Which probe.
        probe: ProbeKind,
        /// What came of it.
        result: ProbeResult,
    },
    /// An instance has said something of itself.
    Told {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// What.
        word: Word,
    },
    /// The answer to [`Action::Ask`](super::Action::Ask), in its own time.
    Asked {
        /// Which type.
        type_index: usize,
        /// The services that do not answer; empty where all do.
        missing: Vec<Missing>,
    },
    /// Before a spawn: somebody already listens on the slot's port.
    PortTaken {
        /// Where.
        slot: SlotKey,
        /// Which life is about to begin.
        instance: InstanceId,
        /// Who listens, where /proc lets us see.
        holder: Option<Process>,
    },
    /// The answer to [`Action::Spawn`](super::Action::Spawn): the program runs.
    Spawned {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// The leader.
        pid: crate::api::Pid,
    },
    /// The other answer to [`Action::Spawn`](super::Action::Spawn): there is no process.
    SpawnFailed {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// At which step and why.
        error: SpawnError,
    },
    /// A leader has ended. It is still a zombie: its number is safe to signal until this event is handled.
    LeaderExited {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// How.
        status: ExitStatus,
        /// Its descendants that live on.
        living: Vec<Process>,
    },
    /// What is alive of an instance: after its leader's end whenever that changes, and as the answer to
    /// [`Action::Look`](super::Action::Look). Nobody: the instance is gone.
    Remaining {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Who lives.
        living: Vec<Process>,
    },
    /// A stop or kill was refused by the system (not because the process had already ended).
    SignalRefused {
        /// Where.
        slot: SlotKey,
        /// Which life.
        instance: InstanceId,
        /// Which signal.
        signal: Signal,
        /// The system's reason.
        error: String,
    },
    /// The answer to [`Action::Pass`](super::Action::Pass), where some leader has no handler for the signal.
    Withheld {
        /// Which signal.
        signal: Signal,
        /// Who did not get it.
        slots: Vec<SlotKey>,
    },
    /// A signal to us.
    Received(Signal),
    /// Whoever read our stdout is gone, and the formation should not outlive it.
    ReaderGone,
    /// Somebody asks for something.
    Requested {
        /// To be answered by exactly one [`Action::Reply`](super::Action::Reply) with this number, unless it is withdrawn.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Those who asked have gone and want no answer any more. What they asked for happens all the same.
    Withdrawn {
        /// Their requests.
        ids: Vec<RequestId>,
    },
    /// The answer to [`Action::Reread`](super::Action::Reread) and [`Action::Prepare`](super::Action::Prepare): the files make
    /// this formation.
    Reread {
        /// Every type, in the new Procfile's order.
        types: Vec<Reread>,
    },
    /// The answer to [`Action::Record`](super::Action::Record).
    Recorded {
        /// Why it could not be written down, where it could not.
        error: Option<String>,
    },
    /// The other answer to [`Action::Reread`](super::Action::Reread): the files cannot be used.
    Unreadable {
        /// All that is wrong, as a person reads it; no value of a variable is in it.
        errors: String,
    },
}

/// A type as the files have it when they are read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reread {
    /// Its index: a type that there was before, listed or not, keeps it; new ones follow after all of those, in order.
    pub type_index: usize,
    /// What is known of it now.
    pub member: Member,
    /// Whether what its instances execute is another thing than before.
    pub program: Program,
}

/// What became of the command, the environment, the limits, the port and the directory of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// They are what they were: an instance need not be restarted.
    Same,
    /// They are not, or there was no such type.
    Changed,
}

/// Why there is no process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnError {
    /// What follows from it.
    pub kind: SpawnErrorKind,
    /// The step and the reason, as a person reads it: "not found: `celery`".
    pub message: String,
}

/// The kinds of failure that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnErrorKind {
    /// There is no such program, or no such directory to run it in: code 127.
    NotFound,
    /// It is there and cannot be executed: code 126.
    NotExecutable,
    /// The system is short of something (EAGAIN, EMFILE, ENFILE, ENOMEM): not the program's fault.
    Shortage,
}

impl SpawnErrorKind {
    /// The exit code that a shell would report; `None` where nothing was even tried.
    #[must_use]
    pub fn code(self) -> Option<u8> {
        match self {
            SpawnErrorKind::NotFound => Some(127),
            SpawnErrorKind::NotExecutable => Some(126),
            SpawnErrorKind::Shortage => None,
        }
    }
}
