//! What the supervisor itself says: in the stream, in JSON, and later on the socket.
//!
//! A notice is a fact with its numbers. Its sentence is made in one place, here, so that the text a person reads
//! and the JSON a program reads never disagree. No value of an environment variable is ever in one.

mod facts;
mod reasons;
mod sentence;

use serde::{Deserialize, Serialize};

use super::{ExitStatus, Missing, OutOfMemory, Pid, ProbeKind, Signal, SlotName, TypeName, Will};

pub use facts::Fact;
pub use reasons::{
    Cause, DropReason, KillReason, LeftoversFate, NotDeployed, Process, RolloutWay, Setback, Then, Verdict,
};

/// One thing that the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// How many of each process type should run.
    Formation {
        /// Every selected type in Procfile order.
        counts: Vec<(TypeName, u32)>,
    },
    /// Which ports were given out.
    Ports {
        /// Each type with its first and last port.
        ranges: Vec<(TypeName, u16, u16)>,
    },
    /// The type `release` is there and was not asked for.
    ReleaseNotStarted,
    /// The formation was read from Heroku's file.
    SpecFound {
        /// Its name as the user would type it.
        file: String,
    },
    /// Variables that an env file sets and the real environment overrides.
    Overridden {
        /// Their names, never their values.
        names: Vec<String>,
    },
    /// Somebody already listens on the port that a slot is about to get.
    PortTaken {
        /// Who will get it.
        slot: SlotName,
        /// The port.
        port: u16,
        /// Who has it, where /proc lets us see.
        holder: Option<Process>,
    },
    /// Processes of an earlier run, whose supervisor was killed, are still there.
    LeftoversFound {
        /// Them.
        processes: Vec<Process>,
        /// What becomes of them.
        fate: LeftoversFate,
    },
    /// Descendants that leave the group of their leader are out of sight.
    EscapeesUnseen {
        /// What this system does not give us.
        reason: String,
    },
    /// Everything that we started is gone, and our pid namespace ends with us: whoever else lives in it is asked to end first.
    OrphansStopped {
        /// Those of them that are our children, where /proc tells.
        processes: Vec<Process>,
    },
    /// A type is not started before others are ready.
    Waiting {
        /// Which type.
        process_type: TypeName,
        /// The others.
        on: Vec<TypeName>,
    },
    /// An instance runs.
    Started {
        /// Where.
        slot: SlotName,
        /// Its leader.
        pid: Pid,
        /// The port it was given.
        port: Option<u16>,
    },
    /// A type is not started before its backing services answer.
    Awaiting {
        /// Which type.
        process_type: TypeName,
        /// Those that do not.
        missing: Vec<Missing>,
    },
    /// An instance may be sent work; said where a probe or the instance itself says so.
    Ready {
        /// Where.
        slot: SlotName,
        /// From its start, in milliseconds.
        after_ms: u64,
    },
    /// An instance may not be sent work any more.
    Unready {
        /// Where.
        slot: SlotName,
        /// Why.
        why: String,
    },
    /// A probe has found an instance unwell: it is stopped, and that counts as a failure.
    Unwell {
        /// Where.
        slot: SlotName,
        /// Which probe.
        probe: ProbeKind,
        /// Why it failed last.
        why: String,
    },
    /// The instances of a type are about to be replaced by new ones.
    RolloutBegan {
        /// Which type.
        process_type: TypeName,
        /// How many.
        instances: u32,
        /// How.
        way: RolloutWay,
    },
    /// Some of them have been.
    RolloutStep {
        /// Of which type.
        process_type: TypeName,
        /// So many have been replaced, and are ready.
        replaced: u32,
        /// Of so many.
        instances: u32,
    },
    /// All of them have been.
    RolloutDone {
        /// Of which type.
        process_type: TypeName,
        /// From its beginning, in milliseconds.
        took_ms: u64,
    },
    /// The new instances do not work: the old ones stay, or come back.
    TurnedBack {
        /// Of which type.
        process_type: TypeName,
        /// Where the last one of the new ones failed, where one did.
        slot: Option<SlotName>,
        /// What is wrong with them.
        reason: Setback,
    },
    /// Everything is about to change to another release.
    DeployBegan {
        /// Which: `v4`.
        release: String,
        /// From which.
        from: String,
    },
    /// Its type `release` runs first; nothing else is touched before that has ended well.
    ReleasePhase {
        /// Which release.
        release: String,
        /// Where the command runs.
        slot: SlotName,
    },
    /// A release runs, in every slot.
    Deployed {
        /// Which.
        release: String,
        /// From the beginning, in milliseconds.
        took_ms: u64,
    },
    /// A release does not run: what ran before does, or comes back.
    NotDeployed {
        /// Which.
        release: String,
        /// Why.
        why: NotDeployed,
    },
    /// A release runs, and that could not be written down.
    NotRecorded {
        /// Which.
        release: String,
        /// The system's reason.
        error: String,
    },
    /// A socket was bound for the instances of a type.
    Listening {
        /// Which type.
        process_type: TypeName,
        /// Where, as the spec has it.
        address: String,
    },
    /// An instance could not be made.
    NotStarted {
        /// Where.
        slot: SlotName,
        /// At which step and why: `not found: celery`.
        error: String,
        /// What the slot does now.
        then: Then,
    },
    /// A leader has ended.
    Exited {
        /// Where.
        slot: SlotName,
        /// Who.
        pid: Pid,
        /// How.
        status: ExitStatus,
        /// From its start, in milliseconds.
        uptime_ms: u64,
        /// What the slot does now.
        then: Then,
    },
    /// The kernel has killed processes for want of memory that lead no instance: a worker of some web server, say.
    OutOfMemory {
        /// Whose, where that can be told.
        slot: Option<SlotName>,
        /// How many.
        processes: u64,
        /// What there was too little of.
        why: OutOfMemory,
    },
    /// Limits that only a cgroup can hold, of types that get none.
    NotConfined {
        /// Which types.
        types: Vec<TypeName>,
        /// Why there is none, and what would help.
        reason: String,
    },
    /// A slot will be started again, said where it was not said with the exit.
    Restarting {
        /// Where.
        slot: SlotName,
        /// From now, in milliseconds.
        delay_ms: u64,
    },
    /// A slot is done: exit 0 under `on-failure` or `never`.
    Completed {
        /// Where.
        slot: SlotName,
    },
    /// A slot has failed for good.
    Failed {
        /// Where.
        slot: SlotName,
        /// Why there is no other try.
        reason: Verdict,
    },
    /// Everything has been asked to end.
    Draining {
        /// What began it.
        cause: Cause,
        /// The longest drain of any instance, in milliseconds: after it comes SIGKILL.
        deadline_ms: u64,
        /// How many instances of each type are alive.
        alive: Vec<(TypeName, u32)>,
    },
    /// What was left of an instance got SIGKILL.
    Killed {
        /// Where.
        slot: SlotName,
        /// Why.
        reason: KillReason,
    },
    /// Processes that survived SIGKILL.
    Stuck {
        /// Whose.
        slot: SlotName,
        /// Who, as far as is known.
        pids: Vec<Pid>,
    },
    /// A process refused a signal.
    SignalRefused {
        /// Where.
        slot: SlotName,
        /// Which signal.
        signal: Signal,
        /// The system's reason.
        error: String,
    },
    /// A signal that is passed to every leader was withheld from some, whom it would have ended.
    SignalWithheld {
        /// Which.
        signal: Signal,
        /// Who has no handler for it.
        slots: Vec<SlotName>,
    },
    /// Somebody asked for other counts.
    Scaled {
        /// Of which type.
        process_type: TypeName,
        /// How many there were to be.
        from: u32,
        /// How many there are to be now.
        to: u32,
    },
    /// Somebody asked for something to become of slots.
    Asked {
        /// Of which.
        slots: Vec<SlotName>,
        /// What.
        will: Will,
    },
    /// Somebody asked for a signal to leaders.
    Signalled {
        /// Which.
        signal: Signal,
        /// Whose.
        slots: Vec<SlotName>,
    },
    /// The files were read again.
    Reloaded {
        /// Types that are new.
        added: Vec<TypeName>,
        /// Types whose program is another one.
        changed: Vec<TypeName>,
        /// Types that are not there any more.
        removed: Vec<TypeName>,
    },
    /// The files were read again and cannot be used.
    ReloadFailed {
        /// All that is wrong.
        errors: String,
    },
    /// Health, metrics and what may be looked at are served on a port (`--http`).
    Serving {
        /// Where: `127.0.0.1:9000`.
        address: String,
    },
    /// There is no control socket.
    NoControl {
        /// Why.
        reason: String,
    },
    /// Ctrl-Z: the whole job stops.
    Suspended,
    /// The whole job goes on.
    Resumed,
    /// Whoever read our stdout is gone.
    ReaderGone,
    /// Lines that could not be written.
    Dropped {
        /// How many.
        lines: u64,
        /// Why.
        reason: DropReason,
    },
    /// Our output cannot be written for now, said once until it works again.
    WriteFailed {
        /// The system's reason.
        error: String,
    },
    /// The log file could not be opened again; the old one is written on.
    LogFileKept {
        /// Its name as the user gave it.
        file: String,
        /// The system's reason.
        error: String,
    },
    /// The supervisor ends.
    Ended {
        /// Its exit code.
        code: u8,
        /// The slot whose failure decides the code, where one does.
        because: Option<SlotName>,
    },
}

impl Notice {
    /// The kind of notice in one word, as `event` in JSON.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Notice::Formation { .. } => "formation",
            Notice::Ports { .. } => "ports",
            Notice::ReleaseNotStarted => "release_not_started",
            Notice::SpecFound { .. } => "spec_found",
            Notice::Overridden { .. } => "overridden",
            Notice::PortTaken { .. } => "port_taken",
            Notice::LeftoversFound { .. } => "leftovers_found",
            Notice::EscapeesUnseen { .. } => "escapees_unseen",
            Notice::OrphansStopped { .. } => "orphans_stopped",
            Notice::Waiting { .. } | Notice::Awaiting { .. } => "waiting",
            Notice::Ready { .. } => "ready",
            Notice::Unready { .. } => "unready",
            Notice::Unwell { .. } => "unwell",
            Notice::RolloutBegan { .. } => "rollout_began",
            Notice::RolloutStep { .. } => "rollout_step",
            Notice::RolloutDone { .. } => "rollout_done",
            Notice::TurnedBack { .. } => "turned_back",
            Notice::DeployBegan { .. } => "deploy_began",
            Notice::ReleasePhase { .. } => "release_phase",
            Notice::Deployed { .. } => "deployed",
            Notice::NotDeployed { .. } => "not_deployed",
            Notice::NotRecorded { .. } => "not_recorded",
            Notice::Listening { .. } => "listening",
            Notice::Started { .. } => "started",
            Notice::NotStarted { .. } => "not_started",
            Notice::Exited { .. } => "exited",
            Notice::OutOfMemory { .. } => "oom",
            Notice::NotConfined { .. } => "not_confined",
            Notice::Restarting { .. } => "restarting",
            Notice::Completed { .. } => "completed",
            Notice::Failed { .. } => "failed",
            Notice::Draining { .. } => "draining",
            Notice::Killed { .. } => "killed",
            Notice::Stuck { .. } => "stuck",
            Notice::SignalRefused { .. } => "signal_refused",
            Notice::SignalWithheld { .. } => "signal_withheld",
            Notice::Scaled { .. } => "scaled",
            Notice::Asked { .. } => "asked",
            Notice::Signalled { .. } => "signalled",
            Notice::Reloaded { .. } => "reloaded",
            Notice::ReloadFailed { .. } => "reload_failed",
            Notice::Serving { .. } => "serving",
            Notice::NoControl { .. } => "no_control",
            Notice::Suspended => "suspended",
            Notice::Resumed => "resumed",
            Notice::ReaderGone => "reader_gone",
            Notice::Dropped { .. } => "dropped",
            Notice::WriteFailed { .. } => "write_failed",
            Notice::LogFileKept { .. } => "log_file_kept",
            Notice::Ended { .. } => "ended",
        }
    }

    /// The slot it speaks of, where it speaks of one.
    #[must_use]
    pub fn slot(&self) -> Option<&SlotName> {
        match self {
            Notice::PortTaken { slot, .. }
            | Notice::Started { slot, .. }
            | Notice::NotStarted { slot, .. }
            | Notice::Exited { slot, .. }
            | Notice::Restarting { slot, .. }
            | Notice::Completed { slot }
            | Notice::Ready { slot, .. }
            | Notice::Unready { slot, .. }
            | Notice::Unwell { slot, .. }
            | Notice::Failed { slot, .. }
            | Notice::Killed { slot, .. }
            | Notice::Stuck { slot, .. }
            | Notice::SignalRefused { slot, .. } => Some(slot),
            Notice::TurnedBack { slot, .. } | Notice::OutOfMemory { slot, .. } => slot.as_ref(),
            Notice::Formation { .. }
            | Notice::Ports { .. }
            | Notice::Awaiting { .. }
            | Notice::RolloutBegan { .. }
            | Notice::RolloutStep { .. }
            | Notice::RolloutDone { .. }
            | Notice::DeployBegan { .. }
            | Notice::ReleasePhase { .. }
            | Notice::Deployed { .. }
            | Notice::NotDeployed { .. }
            | Notice::NotRecorded { .. }
            | Notice::Listening { .. }
            | Notice::NotConfined { .. }
            | Notice::ReleaseNotStarted
            | Notice::SpecFound { .. }
            | Notice::Overridden { .. }
            | Notice::LeftoversFound { .. }
            | Notice::EscapeesUnseen { .. }
            | Notice::OrphansStopped { .. }
            | Notice::Waiting { .. }
            | Notice::Draining { .. }
            | Notice::SignalWithheld { .. }
            | Notice::Scaled { .. }
            | Notice::Asked { .. }
            | Notice::Signalled { .. }
            | Notice::Reloaded { .. }
            | Notice::ReloadFailed { .. }
            | Notice::Serving { .. }
            | Notice::NoControl { .. }
            | Notice::Suspended
            | Notice::Resumed
            | Notice::ReaderGone
            | Notice::Dropped { .. }
            | Notice::WriteFailed { .. }
            | Notice::LogFileKept { .. }
            | Notice::Ended { .. } => None,
        }
    }

    /// The pid it speaks of, as `pid` in JSON.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        if let Notice::Started { pid, .. } | Notice::Exited { pid, .. } = self { Some(*pid) } else { None }
    }
}
