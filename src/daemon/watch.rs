//! Tells when an instance without a leader may be gone: watches one of its living processes at a time, and when that
//! one has ended, the host looks again. However large a tree is, it costs one descriptor.

use std::collections::HashMap;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::api::InstanceId;

use super::Fact;
use super::kill;
use super::proc::Stat;
use super::room::{self, Purpose};

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    facts: mpsc::Sender<Fact>,
    watched: HashMap<InstanceId, How>,
}

/// How we learn that a process of an instance has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A task waits for it.
    ByDescriptor,
    /// No descriptor was to be had: whenever any child of ours ends, we look.
    ByLooking,
}

impl Watch {
    pub(super) fn new(facts: mpsc::Sender<Fact>) -> Watch {
        Watch { facts, watched: HashMap::new() }
    }

    /// Watches over an instance of which these are alive; over nobody, if nobody is.
    pub(super) fn over(&mut self, instance: InstanceId, living: &[Stat]) {
        let Some(one) = living.first() else { return };
        let how = match self.begin(instance, one) {
            Ok(()) => How::ByDescriptor,
            Err(error) => {
                tracing::debug!(pid = one.pid, %error, "not watched by descriptor");
                How::ByLooking
            }
        };
        self.watched.insert(instance, how);
    }

    /// Watches over an instance of which is not known who is alive: it is to be looked at again.
    pub(super) fn over_somebody(&mut self, instance: InstanceId) {
        self.watched.insert(instance, How::ByLooking);
    }

    pub(super) fn watches(&self, instance: InstanceId) -> bool {
        self.watched.contains_key(&instance)
    }

    pub(super) fn done(&mut self, instance: InstanceId) {
        self.watched.remove(&instance);
    }

    pub(super) fn unwatched(&self) -> Vec<InstanceId> {
        let by_looking = self.watched.iter().filter(|(_, how)| **how == How::ByLooking);
        by_looking.map(|(instance, _)| *instance).collect()
    }

    fn begin(&self, instance: InstanceId, stat: &Stat) -> std::io::Result<()> {
        let pid = stat.pid;
        let process = kill::open(pid)?;
        if !Stat::of(pid).is_some_and(|now| now.is(stat)) {
            return Err(Errno::ESRCH.into());
        }
        room::left_beside(&process, Purpose::Watch)?;
        // SAFETY: the descriptor is owned by what is registered, and is never replaced in it.
        let handle = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE)? };
        let facts = self.facts.clone();
        // The task ends with the process, or with the loop.
        tokio::spawn(async move {
            if let Err(error) = handle.readable().await {
                tracing::warn!(pid, %error, "a watched process is out of sight");
            }
            // An error means that the loop has ended: nobody needs to know any more.
            let _ = facts.send(Fact::Left(instance)).await;
        });
        Ok(())
    }
}
