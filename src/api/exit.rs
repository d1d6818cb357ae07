//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{OutOfMemory, Signal};

/// How a process ended, as wait(2) tells it; and why, where it was the kernel that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It called exit(2) with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether the kernel wrote a core file.
        core_dumped: bool,
    },
    /// The kernel ended it with SIGKILL, for want of memory or perhaps for that.
    OutOfMemory(OutOfMemory),
}

impl ExitStatus {
    /// Whether it ended with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == ExitStatus::Code(0)
    }

    /// The exit code that a shell reports: the code itself, or 128 + N for signal N.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            // Linux has 64 signals, so the sum is at most 192.
            ExitStatus::Signal { signal, .. } => 128 + u8::try_from(signal.number()).unwrap_or(127),
            ExitStatus::OutOfMemory(_) => 137,
        }
    }
}

/// Completes a sentence that begins with the slot's name: `exited with code 3`.
impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exited with code {code}"),
            ExitStatus::Signal { signal, core_dumped: false } => write!(f, "was killed by {signal}"),
            ExitStatus::Signal { signal, core_dumped: true } => {
                write!(f, "was killed by {signal} (core dumped)")
            }
            ExitStatus::OutOfMemory(why) => write!(f, "was killed {why}"),
        }
    }
}
