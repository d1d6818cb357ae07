//! One numbered place in the formation and the phases of what lives there.
//!
//! ```text
//!   Waiting: other types come first
//!      | they are ready
//!      v
//!   Pending <---> Needing: backing services come first ---> Backoff / Failed: they did not answer in time
//!
//!              due                answered            asked to end, or the leader
//!   Pending ---------> Starting ----------> Running   died and descendants live
//!      ^                  |                    | \----------------------> Draining
//!      |   Backoff <------+--------------------+                             | deadline
//!      |      | due       |  ended, and is to  |                             v
//!      +------+           |  run again         |          gone            Killing
//!                         |                    |  <---------------------/    | 1 s
//!   Completed / Failed <--+--------------------+                             v
//!   Running: asked how it is, and ready or not; who is found unwell by a probe drains as if its leader had died
//!   Stopped <------- wherever nothing is alive and nothing shall be       Stuck -> Lost
//! ```

use serde::{Deserialize, Serialize};

use crate::api::{ExitStatus, InstanceId, LastExit, Pid, Process, State};

use super::backoff::Streak;
use super::{Condition, Readiness, Time};

/// Which slot: the index of its type in the Procfile, and its number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotKey {
    /// The index of the type, from 0, in Procfile order.
    pub type_index: usize,
    /// The slot's number, from 1.
    pub number: u32,
}

/// What a slot shall come to, whatever its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// An instance runs, as far as its restart policy wants one.
    Up,
    /// Nothing runs; what runs is asked to end and has its drain.
    Down,
    /// Nothing runs; what runs is killed now, because somebody asked for that.
    Dead,
}

/// Where a slot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// To be started when the types that come first are ready.
    Waiting,
    /// To be started when the backing services answer that it needs.
    Needing {
        /// Since when.
        since: Time,
        /// When they are asked again.
        look_at: Time,
    },
    /// To be started when its time has come.
    Pending {
        /// When.
        due: Time,
    },
    /// Waits after a failure.
    Backoff {
        /// Until when.
        due: Time,
    },
    /// A spawn is ordered and not yet answered.
    Starting {
        /// Which life.
        instance: InstanceId,
        /// Since when.
        since: Time,
    },
    /// The leader runs.
    Running {
        /// Which life.
        life: Life,
        /// How it is.
        condition: Condition,
    },
    /// Asked to end, until a deadline.
    Draining {
        /// Which life.
        life: Life,
        /// Who of it lives.
        body: Body,
        /// When SIGKILL comes.
        deadline: Time,
        /// What follows when it is gone.
        ending: Ending,
    },
    /// Got SIGKILL.
    Killing {
        /// Which life.
        life: Life,
        /// Who of it lives.
        body: Body,
        /// When it should long be gone, and the host is asked who is not.
        look_at: Time,
        /// Until then nothing is called stuck.
        patience: Time,
        /// What follows when it is gone.
        ending: Ending,
    },
    /// Survived SIGKILL; keeps its slot.
    Stuck {
        /// Which life.
        life: Life,
        /// Who of it lives.
        body: Body,
        /// What follows should it ever be gone.
        ending: Ending,
    },
    /// Stuck, and the shutdown waits for it only so long.
    Leaving {
        /// Which life.
        life: Life,
        /// Who of it lives.
        body: Body,
        /// Until when.
        until: Time,
    },
    /// Stuck, and the shutdown does not wait for it any more.
    Lost,
    /// Ended well and is not started again.
    Completed,
    /// Ended badly and is not started again.
    Failed,
    /// Nothing runs, as asked.
    Stopped,
}

/// A life that began: its leader and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub instance: InstanceId,
    /// Its leader.
    pub leader: Pid,
    /// When it was started.
    pub since: Time,
}

/// Who of an instance lives while it is being ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The leader, and whoever else.
    Leader,
    /// The leader is gone; these live, when last looked at.
    Rest(Vec<Process>),
}

/// What follows when an instance that is being ended is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It was asked to end: how it ended does not count.
    Asked,
    /// Its leader had ended by itself, or was unwell: that counts.
    Own(Outcome),
}

/// How a life ended that nobody asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The leader ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// From its start to its end, in milliseconds.
        uptime_ms: u64,
    },
    /// There never was one.
    NotStarted {
        /// The exit code that a shell would report.
        code: u8,
    },
    /// A probe found it unwell, so it was ended.
    Unwell {
        /// From its start to that, in milliseconds.
        uptime_ms: u64,
    },
    /// There never was one: a backing service did not answer.
    Unsupplied,
}

/// A slot: its goal, its phase and its history, which outlive processes.
#[derive(Clone, Debug)]
pub struct Slot {
    pub(super) goal: Goal,
    pub(super) phase: Phase,
    pub(super) streak: Streak,
    pub(super) last_start: Option<Time>,
    /// Which edition of its type the instance was started with, or is to be.
    pub(super) edition: usize,
    /// So often it was started again after it had ended by itself.
    pub(super) restarts: u64,
    pub(super) last_exit: Option<LastExit>,
    /// Since when its instance has been on its way out.
    pub(super) ends_since: Option<Time>,
    /// What its present or last instance said of itself.
    pub(super) status_text: Option<String>,
}

impl Slot {
    pub(super) fn new(phase: Phase, edition: usize) -> Slot {
        Slot {
            goal: Goal::Up,
            phase,
            streak: Streak::default(),
            last_start: None,
            edition,
            restarts: 0,
            last_exit: None,
            ends_since: None,
            status_text: None,
        }
    }

    /// One that nothing shall run in.
    pub(super) fn vacant(edition: usize) -> Slot {
        Slot { goal: Goal::Down, ..Slot::new(Phase::Stopped, edition) }
    }

    /// What it failed by before does not count for what comes.
    pub(super) fn renew_streak(&mut self) {
        self.streak = Streak::default();
    }

    /// It comes back into the formation: what it failed by before is forgotten.
    pub(super) fn renew(&mut self) {
        (self.streak, self.restarts) = (Streak::default(), 0);
    }

    /// Whether what lives there may be sent work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running { condition: Condition { readiness: Readiness::Ready { .. }, .. }, .. }
        )
    }

    /// What it shall come to.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }
}

impl Phase {
    /// When the slot needs attention though nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self {
            Phase::Pending { due } | Phase::Backoff { due } => Some(*due),
            Phase::Draining { deadline, .. } => Some(*deadline),
            Phase::Killing { look_at, .. } => Some(*look_at),
            Phase::Leaving { until, .. } => Some(*until),
            Phase::Running { condition, .. } => condition.deadline(),
            Phase::Needing { look_at, .. } => Some(*look_at),
            Phase::Waiting
            | Phase::Starting { .. }
            | Phase::Stuck { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => None,
        }
    }

    /// The life that is, or may be, alive in it.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Phase::Starting { instance, .. } => Some(*instance),
            Phase::Running { life, .. }
            | Phase::Draining { life, .. }
            | Phase::Killing { life, .. }
            | Phase::Stuck { life, .. }
            | Phase::Leaving { life, .. } => Some(life.instance),
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => None,
        }
    }

    /// Whether nothing more will happen here by itself.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Phase::Lost | Phase::Completed | Phase::Failed | Phase::Stopped => true,
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Draining { .. }
            | Phase::Killing { .. }
            | Phase::Stuck { .. }
            | Phase::Leaving { .. } => false,
        }
    }

    /// The life in it whose leader lives as far as we know.
    #[must_use]
    pub fn led(&self) -> Option<Life> {
        match self {
            Phase::Running { life, .. }
            | Phase::Draining { life, body: Body::Leader, .. }
            | Phase::Killing { life, body: Body::Leader, .. }
            | Phase::Stuck { life, body: Body::Leader, .. }
            | Phase::Leaving { life, body: Body::Leader, .. } => Some(*life),
            Phase::Draining { body: Body::Rest(_), .. }
            | Phase::Killing { body: Body::Rest(_), .. }
            | Phase::Stuck { body: Body::Rest(_), .. }
            | Phase::Leaving { body: Body::Rest(_), .. }
            | Phase::Starting { .. }
            | Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => None,
        }
    }

    /// The state as listings have it.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Phase::Waiting | Phase::Needing { .. } | Phase::Pending { .. } => State::Pending,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Draining { .. } => State::Draining,
            Phase::Killing { .. } => State::Killing,
            Phase::Stuck { .. } | Phase::Leaving { .. } | Phase::Lost => State::Stuck,
            Phase::Completed => State::Completed,
            Phase::Failed => State::Failed,
            Phase::Stopped => State::Stopped,
        }
    }
}
