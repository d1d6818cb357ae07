//! The control socket: HTTP and JSON for whoever may run commands as our user.
//!
//! It has a thread and a runtime of its own. What it wants to know or to have done it puts into the loop's queue and waits
//! for; the loop never waits for it.

use tokio::sync::oneshot;

use crate::api::{Answer, Request, Status};

/// What a client wants from the loop. Where the answer finds nobody, the client has gone; what it asked for happens all
/// the same.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something to be done.
    Request {
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// How everything is; memory and CPU are not known to the loop and left out.
    Status {
        /// Where the answer goes.
        reply: oneshot::Sender<Status>,
    },
}
