//! Why, and what follows: the parts that notices are made of.

use serde::{Deserialize, Serialize};

use crate::api::{Pid, Signal, SlotName, TypeName};

/// A process as a person wants it named: `4321 (python3)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its short name (proc(5), `comm`); empty where it cannot be read.
    pub name: String,
}

/// What becomes of the processes of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftoversFate {
    /// They are stopped first.
    Stopped,
    /// They are left alone.
    Ignored,
    /// They are left alone, and nothing is started.
    Refused,
}

/// What a slot does after an instance has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Starts again after so many milliseconds.
    Restart {
        /// 0 is at once.
        delay_ms: u64,
    },
    /// Waits for descendants that outlived the leader; they are being stopped.
    StopLeftovers {
        /// Them.
        processes: Vec<Process>,
    },
    /// Does the same as it would have, and lets descendants be that outlived the leader.
    LetBe {
        /// Them.
        processes: Vec<Process>,
    },
    /// Nothing, or nothing that is not said by the next notice.
    Rest,
}

/// Why a slot is not started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// `restart: never`.
    Never,
    /// `give_up_after` failures in a row.
    GaveUp {
        /// So many.
        failures: u32,
    },
    /// The program was not found or could not be executed, and no instance of the type ever ran.
    NeverRan,
    /// A type that comes first has failed.
    Blocked {
        /// Which.
        by: TypeName,
    },
}

/// How the instances of a type are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutWay {
    /// A new one is ready before an old one ends.
    Surge {
        /// So many more than the formation has, for a while.
        extra: u32,
    },
    /// Each has a PORT of its own, or there may be no more: an old one ends before its new one starts.
    InPlace {
        /// So many at a time.
        at_a_time: u32,
    },
    /// The same, and there is only one: nobody is there meanwhile.
    Away,
}

/// Why new instances do not replace the old ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setback {
    /// So many of them failed in a row.
    Failures {
        /// How many.
        failures: u32,
    },
    /// None became ready within the progress deadline.
    Deadline {
        /// The deadline, in milliseconds.
        deadline_ms: u64,
        /// Why the last one is not ready, where that is known.
        why: Option<String>,
    },
}

/// Why a release was not deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotDeployed {
    /// It cannot be used.
    Unusable {
        /// All that is wrong with it.
        errors: String,
    },
    /// Its type `release` did not end well: nothing else was touched.
    Phase {
        /// Where it ran.
        slot: SlotName,
    },
    /// The new instances of a type do not work: all types come back to what they ran before.
    TurnedBack {
        /// Which type.
        process_type: TypeName,
        /// What is wrong.
        reason: String,
        /// To which release.
        back: String,
    },
}

/// What began a drain of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A signal to us.
    Signal(Signal),
    /// Whoever read our stdout is gone.
    ReaderGone,
    /// Every instance of an essential type has failed.
    Essential(TypeName),
    /// `--fail-fast` and the first exit.
    FailFast(SlotName),
    /// `shutdown`.
    Asked,
}

/// Why something got SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillReason {
    /// It was still there at its drain deadline, so many milliseconds after the stop signal.
    DrainTimeout {
        /// Its drain.
        drain_ms: u64,
    },
    /// A second INT, or QUIT from a terminal.
    Asked,
}

/// Why lines were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropReason {
    /// `--when-slow drop`, or a drain with a reader that has stopped.
    SlowReader,
    /// Nobody reads.
    ReaderGone,
    /// The output could not be written (a full disk).
    WriteFailed,
}

impl DropReason {
    /// One word for JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DropReason::SlowReader => "slow_reader",
            DropReason::ReaderGone => "reader_gone",
            DropReason::WriteFailed => "write_failed",
        }
    }
}
