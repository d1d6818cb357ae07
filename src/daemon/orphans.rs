//! The last duty of the init of a pid namespace: when everything that we started is gone, our end is the end of all who live
//! there, with SIGKILL (`pid_namespaces(7)`). Orphans that nobody owns, what was let be and what somebody started from outside
//! (`docker exec`) are asked first, and our own children among them are waited for: they have the drain for it, and we end the
//! instant the last of them is gone.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::api::{Notice, Signal};

use super::host::Host;
use super::proc::{self, Stat};
use super::{Fact, kill, reaper};

/// Reaps the dead, who are not to be left to somebody else; and if we are init ends whatever lives on. At the deadline the
/// kernel does.
pub(super) async fn end(host: &mut Host, queue: &mut mpsc::Receiver<Fact>, deadline: Instant) {
    if !anybody(host) || std::process::id() != 1 {
        return;
    }
    let living = proc::children().unwrap_or_default().into_iter().filter_map(Stat::of).filter(Stat::alive);
    host.announce(Notice::OrphansStopped { processes: living.filter_map(|stat| stat.process()).collect() });
    for signal in [Signal::TERM, Signal::CONT] {
        if let Err(errno) = kill::everybody(signal) {
            tracing::warn!(%signal, %errno, "what lives on was not signalled");
        }
    }
    while anybody(host) {
        match tokio::time::timeout_at(deadline.into(), queue.recv()).await {
            // Somebody does not want to wait.
            Ok(Some(Fact::Signal(Signal::INT | Signal::QUIT)) | None) | Err(_) => return,
            // SIGCHLD among others.
            Ok(Some(_)) => {}
        }
    }
}

/// Whether a child of ours lives; the dead are reaped.
fn anybody(host: &mut Host) -> bool {
    while let Some((pid, _)) = host.dead() {
        host.bury(pid);
    }
    reaper::any_child()
}
