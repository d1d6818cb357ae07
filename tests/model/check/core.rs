//! The core, told the trace again, thinks what `ps` says.

use supervise::api::{ProcessStatus, Status};

use super::Complaints;

pub(crate) fn complaints(ps: &Status, core: &Status) -> Complaints {
    let mut complaints = Complaints::new();
    if ps.formation != core.formation {
        complaints.push(format!("`ps` has the formation {}, the trace {}", ps.formation, core.formation));
    }
    let names =
        |status: &Status| status.processes.iter().map(|process| process.name.clone()).collect::<Vec<_>>();
    if names(ps) != names(core) {
        complaints.push(format!("`ps` has {:?}, the trace {:?}", names(ps), names(core)));
    }
    for (shown, told) in ps.processes.iter().zip(&core.processes) {
        let (shown, told) = (known_to_core(shown), known_to_core(told));
        if shown != told {
            complaints.push(format!("`ps` has {shown:?}, the trace {told:?}"));
        }
    }
    complaints
}

/// Without what only the host sees, and without what goes on with time.
fn known_to_core(process: &ProcessStatus) -> ProcessStatus {
    let mut process = process.clone();
    process.suspended = false;
    (process.uptime_ms, process.rss_bytes, process.cpu_ms) = (None, None, None);
    process
}
