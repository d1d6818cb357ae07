//! Tells when the kernel may have killed somebody for memory: `memory.events` of version 2 can be waited for. Nobody looks
//! while nothing happens.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::super::Fact;
use super::super::room::{self, Purpose};

/// Who is at its limit and can still free something makes an event of each time: we look so often at most.
const PAUSE: Duration = Duration::from_secs(1);

/// Says so in the loop's queue for as long as that is there.
///
/// # Errors
/// There is nothing to wait for, or no descriptor.
pub(super) fn begin(directory: &Path, facts: mpsc::Sender<Fact>) -> io::Result<()> {
    let events = File::open(directory.join("memory.events"))?;
    room::left_beside(&events, Purpose::Watch)?;
    // The kernel tells of what has happened since the file was read last.
    read(&events)?;
    // SAFETY: the descriptor is owned by what is registered, and is never replaced in it.
    let events = unsafe { AsyncFd::register_with_interest(events, Interest::PRIORITY)? };
    tokio::spawn(async move {
        while let Ok(mut ready) = events.ready(Interest::PRIORITY).await {
            ready.clear_ready();
            // The cgroup is gone, or the loop has ended.
            if read(events.get_ref()).is_err() || facts.send(Fact::Memory).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Ok(())
}

fn read(mut events: &File) -> io::Result<()> {
    let mut text = [0; 512];
    events.rewind()?;
    events.read(&mut text).map(drop)
}
