//! Whether the backing services answer, for whoever asks whether we are ready and has no time: a service that keeps silent is
//! given seconds, an orchestrator gives us one. So they are asked behind the scenes, and whoever cannot wait is told what was
//! found the last time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::api::ServiceStatus;

use super::super::Fact;
use super::Asked;

/// What is known of the services.
#[derive(Debug, Default)]
pub(super) struct Checkup {
    found: RefCell<Option<Vec<ServiceStatus>>>,
    asking: Cell<Asking>,
    /// Rung at the end of each asking.
    done: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    Nobody,
    Now,
}

/// So long somebody waits for news: what answers at all answers in less, and it leaves a good part of the second that a probe of
/// Kubernetes has by default.
const PATIENCE: Duration = Duration::from_millis(500);

impl Checkup {
    /// How each service is, as far as is known; `None` where nothing is known yet.
    pub(super) async fn statuses(self: &Rc<Self>, facts: &mpsc::Sender<Fact>) -> Option<Vec<ServiceStatus>> {
        let done = self.done.notified();
        if self.asking.replace(Asking::Now) == Asking::Nobody {
            tokio::task::spawn_local(Rc::clone(self).ask(facts.clone()));
        }
        // Whoever will not wait for the new is told the old.
        let _ = tokio::time::timeout(PATIENCE, done).await;
        self.found.borrow().clone()
    }

    async fn ask(self: Rc<Self>, facts: mpsc::Sender<Fact>) {
        let (reply, answer) = oneshot::channel();
        if facts.send(Fact::Asked(Asked::Services { reply })).await.is_ok()
            && let Ok(found) = answer.await
        {
            self.found.replace(Some(found));
        }
        self.asking.set(Asking::Nobody);
        self.done.notify_waiters();
    }
}
