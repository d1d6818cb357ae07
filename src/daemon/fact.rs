//! What the loop hears: everything that happens outside of it comes as one of these, through one queue.

use crate::api::{Answer, InstanceId, Missing, Signal};
use crate::app::{Diagnostics, Release};
use crate::stream::Report;

use super::control::Asked;
use super::probe::Finding;
use super::releases::{Prepared, Recorded};

/// Something that the loop hears of.
#[derive(Debug)]
pub(super) enum Fact {
    /// A signal to us; SIGCHLD among them.
    Signal(Signal),
    /// One of the processes that an instance left behind has ended.
    Left(InstanceId),
    /// A probe has found something out.
    Probed(Finding),
    /// The kernel may have killed somebody for memory.
    Memory,
    /// What could not be seen for want of something may be seen by now.
    LookAgain,
    /// Something lies in the `NOTIFY_SOCKET` of an instance.
    Notified(InstanceId),
    /// The stream has something to say.
    Stream(Report),
    /// A client wants something.
    Asked(Asked),
    /// The services that a type needs have been asked: who does not answer.
    Services {
        /// Which type.
        type_index: usize,
        /// Nobody, where all do.
        missing: Vec<Missing>,
    },
    /// The files have been read again.
    Planned(Box<Result<Release, Diagnostics>>),
    /// A release has been read, to be deployed; or why not.
    Prepared(Box<Result<Prepared, String>>),
    /// A release was written down as the one that runs.
    Recorded(Recorded),
    /// What we were started with runs, or has failed to.
    Settled(Answer),
}

impl Fact {
    /// Whether it asks us to end.
    pub(super) fn ends_us(&self) -> bool {
        match self {
            Fact::Signal(
                Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT | Signal::PWR | Signal::RTMIN_3,
            )
            | Fact::Stream(Report::ReaderGone) => true,
            Fact::Signal(_)
            | Fact::Left(_)
            | Fact::Memory
            | Fact::LookAgain
            | Fact::Probed(_)
            | Fact::Notified(_)
            | Fact::Stream(Report::Over)
            | Fact::Asked(_)
            | Fact::Services { .. }
            | Fact::Planned(_)
            | Fact::Prepared(_)
            | Fact::Recorded(_)
            | Fact::Settled(_) => false,
        }
    }
}
