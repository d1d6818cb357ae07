//! CPU time by slot as something that only grows, which is what a counter of Prometheus has to do. What is read from /proc
//! does not: it begins anew with each instance, and falls when a descendant is gone that nobody of its instance has waited for.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::api::{Pid, ProcessStatus, SlotName};

/// What the instances of each slot have used, as far as somebody looked.
#[derive(Debug, Default)]
pub(super) struct Spent(RefCell<BTreeMap<SlotName, Account>>);

#[derive(Clone, Copy, Debug)]
struct Account {
    /// The instance that was seen last.
    leader: Pid,
    /// What it had used then, in milliseconds.
    seen: u64,
    /// What was used before, and is no more in that.
    before: u64,
}

impl Spent {
    /// Adds what is seen now; the answer is each slot's milliseconds.
    pub(super) fn add(&self, processes: &[ProcessStatus]) -> Vec<(SlotName, u64)> {
        let mut accounts = self.0.borrow_mut();
        for process in processes {
            let (Some(leader), Some(seen)) = (process.pid, process.cpu_ms) else { continue };
            let account =
                accounts.entry(process.name.clone()).or_insert(Account { leader, seen: 0, before: 0 });
            account.before +=
                if account.leader == leader { account.seen.saturating_sub(seen) } else { account.seen };
            (account.leader, account.seen) = (leader, seen);
        }
        accounts.iter().map(|(slot, account)| (slot.clone(), account.before + account.seen)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::State;

    fn process(pid: Option<i32>, cpu_ms: Option<u64>) -> ProcessStatus {
        let name: SlotName = "web.1".parse().expect("a slot");
        ProcessStatus {
            process_type: name.process_type.clone(),
            slot: name.number,
            name,
            state: State::Running,
            ready: true,
            reason: None,
            status_text: None,
            suspended: false,
            pid: pid.and_then(Pid::new),
            port: None,
            release: "dev".to_owned(),
            restarts: 0,
            uptime_ms: None,
            last_exit: None,
            rss_bytes: None,
            cpu_ms,
        }
    }

    #[test]
    fn cpu_time_never_falls_whoever_comes_and_goes() {
        let spent = Spent::default();
        let mut told = Vec::new();
        for (pid, cpu_ms) in [
            (None, None),
            (Some(10), Some(100)),
            // A descendant is gone with 40 of them.
            (Some(10), Some(60)),
            (Some(10), Some(70)),
            // Nobody is there.
            (None, None),
            // The next one.
            (Some(11), Some(5)),
            (Some(11), Some(200)),
        ] {
            told.push(spent.add(&[process(pid, cpu_ms)]).first().map(|(_, millis)| *millis));
        }
        assert_eq!(told, [None, Some(100), Some(100), Some(110), Some(110), Some(115), Some(310)]);
        assert_eq!(spent.add(&[]).len(), 1, "a slot that is gone keeps its count");
    }
}
