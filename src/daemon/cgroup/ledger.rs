//! Who was killed for memory: what a counter has risen by is claimed by the leader that is found dead of a SIGKILL that was not
//! ours; what nobody claims was somebody that leads nothing. Nothing is claimed twice.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::OutOfMemory;

use super::memory::Counter;

/// A counter, and what of it nobody has claimed.
#[derive(Debug)]
pub(super) struct Ledger {
    counter: Counter,
    unclaimed: VecDeque<Unclaimed>,
    /// So much of what the counter will rise by is known from the counters below.
    known: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unclaimed {
    since: Instant,
    count: u64,
    why: OutOfMemory,
}

/// So long a leader has to be found dead: the kernel counts first, and then takes a process apart that was at its limit.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(1);

impl Ledger {
    pub(super) fn new(counter: Counter) -> Ledger {
        Ledger { counter, unclaimed: VecDeque::new(), known: 0 }
    }

    /// Takes note of what has happened: how many it was.
    pub(super) fn look(&mut self) -> u64 {
        let rise = self.counter.rise();
        let known = self.known.min(rise);
        self.known -= known;
        if rise > known {
            let why = self.counter.why();
            self.unclaimed.push_back(Unclaimed { since: Instant::now(), count: rise - known, why });
        }
        rise
    }

    /// So many were counted below, too, and are claimed there.
    pub(super) fn is_known(&mut self, mut count: u64) {
        while count > 0 && claim(&mut self.unclaimed).is_some() {
            count -= 1;
        }
        self.known += count;
    }

    /// Whether anything waits to be claimed.
    pub(super) fn waits(&self) -> bool {
        !self.unclaimed.is_empty()
    }

    /// A leader was killed by somebody: why, if it was the kernel for memory. To be asked after a look.
    pub(super) fn claim(&mut self) -> Option<OutOfMemory> {
        claim(&mut self.unclaimed)
    }

    /// Those that no leader has claimed in time, or none will: how many each time, and why.
    pub(super) fn of_no_leader(&mut self, patience: Duration) -> Vec<(u64, OutOfMemory)> {
        let found = of_no_leader(&mut self.unclaimed, Instant::now(), patience);
        // The machine's counter counts anybody; nor can a leader claim that which dies another day.
        if self.counter.is_of_a_cgroup() { found } else { Vec::new() }
    }
}

fn claim(unclaimed: &mut VecDeque<Unclaimed>) -> Option<OutOfMemory> {
    let first = unclaimed.front_mut()?;
    let why = first.why;
    first.count -= 1;
    if first.count == 0 {
        unclaimed.pop_front();
    }
    Some(why)
}

fn of_no_leader(
    unclaimed: &mut VecDeque<Unclaimed>,
    now: Instant,
    patience: Duration,
) -> Vec<(u64, OutOfMemory)> {
    let mut found: Vec<(u64, OutOfMemory)> = Vec::new();
    while let Some(first) = unclaimed.front().copied()
        && now.duration_since(first.since) >= patience
    {
        unclaimed.pop_front();
        match found.last_mut() {
            Some((count, why)) if *why == first.why => *count += first.count,
            Some(_) | None => found.push((first.count, first.why)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rise_is_claimed_once_and_what_nobody_claims_in_time_was_of_no_leader() {
        let begin = Instant::now();
        let limit = OutOfMemory::Limit { bytes: 1 << 20 };
        let at = |seconds, count, why| Unclaimed { since: begin + Duration::from_secs(seconds), count, why };
        let mut unclaimed = VecDeque::from([
            at(0, 2, limit),
            at(1, 1, limit),
            at(2, 1, OutOfMemory::Machine),
            at(9, 1, limit),
        ]);
        assert_eq!(claim(&mut unclaimed), Some(limit));
        let found = of_no_leader(&mut unclaimed, begin + Duration::from_secs(3), PATIENCE);
        assert_eq!(found, [(2, limit), (1, OutOfMemory::Machine)]);
        assert_eq!(claim(&mut unclaimed), Some(limit));
        assert_eq!(claim(&mut unclaimed), None);
    }
}
