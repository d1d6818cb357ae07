//! Choices that follow from a seed (`SplitMix64`, Steele, Lea and Flood 2014).

use std::time::Duration;

/// The same seed makes the same choices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Those of a seed and of what they are for: choices of one do not move those of another.
    pub(crate) fn new(seed: u64, what_for: u64) -> Dice {
        let mut dice = Dice(seed);
        Dice(dice.next() ^ what_for.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below another.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        let high = (u128::from(self.next()) * u128::from(end)) >> 64;
        u32::try_from(high).expect("below a u32")
    }

    /// Whether something happens that happens so often out of a hundred times.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Up to so many milliseconds, and often one of the same few: what falls together is where faults are.
    pub(crate) fn millis(&mut self, most: u32) -> Duration {
        let exact = self.below(most + 1);
        let rounded = if self.chance(50) { exact - exact % 250 } else { exact };
        Duration::from_millis(u64::from(rounded))
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let most = u32::try_from(of.len()).expect("a few");
        of[self.below(most) as usize].clone()
    }
}
