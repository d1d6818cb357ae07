//! Bytes as people read them, and processes that the kernel ended for want of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why the kernel ended a process for want of memory, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutOfMemory {
    /// A cgroup that it was in had used what it may (cgroups(7)).
    Limit {
        /// So much, in bytes.
        bytes: u64,
    },
    /// The whole machine had no more.
    Machine,
    /// It may have been that: it was SIGKILL, not from us, and no counter of the kernel's can be read here.
    Perhaps,
}

/// Completes a sentence that ends in how a process ended: `by the kernel for memory (limit 512 MiB)`.
impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfMemory::Limit { bytes } => {
                write!(f, "by the kernel for memory (limit {})", brief_bytes(*bytes))
            }
            OutOfMemory::Machine => write!(f, "by the kernel for memory (the machine had no more)"),
            OutOfMemory::Perhaps => write!(f, "by SIGKILL, perhaps for memory"),
        }
    }
}

/// Bytes for a sentence, in the largest unit that they fill: `512 MiB`, `1.5 GiB`, `100 B`.
#[must_use]
pub fn brief_bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, bits)| bytes >> bits > 0) {
        Some((unit, bits)) => {
            // Rounded down, as a limit is: who has used 1.99 has not used 2.
            let tenths = (u128::from(bytes) * 10) >> bits;
            match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                rest => format!("{}.{rest} {unit}", tenths / 10),
            }
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_in_the_largest_unit_that_they_fill() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            ((2 << 30) - 1, "1.9 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(brief_bytes(bytes), text);
        }
    }
}
