//! A release that was started and runs is the current one from then on.

use tokio::sync::oneshot;

use super::detach::troubled;
use crate::api::Answer;
use crate::store::{Running, Trouble};

/// Makes the release the current one of its store as soon as everything runs; where something does not, another one may be
/// better, and nothing changes. A disk may take its time, and the loop does not wait for it.
pub(super) fn when_it_runs(running: Running, answer: oneshot::Receiver<Answer>) {
    tokio::spawn(async move {
        // Where there is no answer the formation has ended.
        let Ok(Ok(accepted)) = answer.await else { return };
        if !troubled(&accepted).is_empty() {
            return;
        }
        tokio::task::spawn_blocking(move || {
            if let Err(trouble) = commit(&running) {
                tracing::warn!("{} runs, and is not the current release: {trouble}", running.number);
            }
        });
    });
}

fn commit(running: &Running) -> Result<(), Trouble> {
    let deployed = running.store.deployed()?;
    if deployed.current == Some(running.number) && deployed.completed.contains(&running.number) {
        return Ok(());
    }
    running.store.commit(running.number)
}
