//! How long a slot waits before its next start.

use std::time::Duration;

use crate::app::Backoff;

/// The failures of a slot that followed each other closely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Streak {
    failures: u32,
    shortages: u32,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another start after so long.
    Wait(Duration),
    /// No other start after so many failures in a row.
    GiveUp(u32),
}

/// The first wait after the system was short of something; it doubles up to [`LONGEST_SHORTAGE`]. A second is long
/// for a process to end and give back what it held, and short for a person.
const FIRST_SHORTAGE: Duration = Duration::from_secs(1);
/// See [`FIRST_SHORTAGE`].
const LONGEST_SHORTAGE: Duration = Duration::from_secs(30);

impl Streak {
    /// Counts an instance that failed after having run for `uptime`.
    pub(super) fn failed(&mut self, backoff: &Backoff, uptime: Duration, dice: &mut Dice) -> Next {
        self.shortages = 0;
        if uptime >= backoff.reset_after {
            self.failures = 0;
        }
        self.failures += 1;
        if backoff.give_up_after > 0 && self.failures >= backoff.give_up_after {
            return Next::GiveUp(self.failures);
        }
        Next::Wait(match self.failures.checked_sub(2) {
            None => Duration::ZERO,
            // +-20 %, so that what failed together does not come back together.
            Some(doublings) => dice.spread(doubled(backoff.first, doublings, backoff.max), 0.8, 1.2),
        })
    }

    /// The system was short of something; this is not counted as a failure.
    pub(super) fn short(&mut self, dice: &mut Dice) -> Duration {
        let wait = doubled(FIRST_SHORTAGE, self.shortages, LONGEST_SHORTAGE);
        self.shortages += 1;
        dice.spread(wait, 1.0, 1.2)
    }
}

fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    // 2^31 times anything worth waiting for is past every longest wait.
    first.saturating_mul(1 << doublings.min(31)).min(longest)
}

/// Seeded randomness: the same seed gives the same run (`SplitMix64`, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn spread(&mut self, duration: Duration, least: f64, most: f64) -> Duration {
        // 32 bits are exact in an f64.
        let fraction = f64::from(u32::try_from(self.roll() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        duration.mul_f64(least + (most - least) * fraction)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: Backoff, uptimes: &[Duration]) -> Vec<Next> {
        let (mut streak, mut dice) = (Streak::default(), Dice(7));
        uptimes.iter().map(|uptime| streak.failed(&backoff, *uptime, &mut dice)).collect()
    }

    #[test]
    fn the_first_failure_restarts_at_once_and_the_next_ones_double_up_to_the_longest() {
        let backoff =
            Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4), ..Backoff::default() };
        let waits = waits(backoff, &[Duration::ZERO; 8]);
        assert_eq!(waits[0], Next::Wait(Duration::ZERO));
        for (wait, base) in waits[1..].iter().zip([500, 1000, 2000, 4000, 4000, 4000, 4000]) {
            let Next::Wait(wait) = wait else { panic!("gave up") };
            let base = Duration::from_millis(base);
            assert!((base.mul_f64(0.79)..=base.mul_f64(1.21)).contains(wait), "{wait:?} for {base:?}");
        }
        assert_ne!(waits[6], waits[7], "the waits are spread");
    }

    #[test]
    fn a_good_life_ends_the_streak() {
        let good = Backoff::default().reset_after;
        let waits = waits(Backoff::default(), &[Duration::ZERO, Duration::ZERO, good, good, Duration::ZERO]);
        assert_eq!((waits[2], waits[3]), (Next::Wait(Duration::ZERO), Next::Wait(Duration::ZERO)));
        assert_ne!(waits[4], Next::Wait(Duration::ZERO));
    }

    #[test]
    fn so_many_failures_in_a_row_are_the_end() {
        let backoff = Backoff { give_up_after: 3, ..Backoff::default() };
        assert_eq!(waits(backoff, &[Duration::ZERO; 3])[2], Next::GiveUp(3));
        let once = Backoff { give_up_after: 1, ..Backoff::default() };
        assert_eq!(waits(once, &[Duration::ZERO]), [Next::GiveUp(1)]);
    }

    #[test]
    fn a_shortage_waits_a_second_and_more_and_is_no_failure() {
        let (mut streak, mut dice) = (Streak::default(), Dice(7));
        for base in [1, 2, 4, 8, 16, 30, 30] {
            let wait = streak.short(&mut dice);
            let base = Duration::from_secs(base);
            assert!((base..=base.mul_f64(1.21)).contains(&wait), "{wait:?} for {base:?}");
        }
        let backoff = Backoff { give_up_after: 2, ..Backoff::default() };
        assert_eq!(streak.failed(&backoff, Duration::ZERO, &mut dice), Next::Wait(Duration::ZERO));
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let backoff = Backoff { max: Duration::from_secs(u64::from(u32::MAX)), ..Backoff::default() };
        assert!(matches!(waits(backoff, &[Duration::ZERO; 1000])[999], Next::Wait(_)));
    }

    #[test]
    fn the_dice_are_those_of_the_paper() {
        let mut dice = Dice(1_234_567);
        let rolled: Vec<u64> = (0..3).map(|_| dice.roll()).collect();
        // As the reference implementation gives them for this seed.
        assert_eq!(rolled, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
