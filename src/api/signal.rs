//! Signals by name and number, real-time ones included.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// The ordinary signals of Linux on x86 and ARM (signal(7)).
const NAMES: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The first real-time signal that the C library leaves to programs (signal(7): it keeps two for itself).
const RTMIN: i32 = 34;
/// The last signal there is.
const RTMAX: i32 = 64;

impl Signal {
    /// Continue.
    pub const CONT: Signal = Signal(libc::SIGCONT);
    /// Terminal hung up.
    pub const HUP: Signal = Signal(libc::SIGHUP);
    /// Ctrl-C.
    pub const INT: Signal = Signal(libc::SIGINT);
    /// End at once.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// Power fails.
    pub const PWR: Signal = Signal(libc::SIGPWR);
    /// Ctrl-backslash.
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// What systemd sends an init in a container to halt it.
    pub const RTMIN_3: Signal = Signal(RTMIN + 3);
    /// Please end.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// Ctrl-Z.
    pub const TSTP: Signal = Signal(libc::SIGTSTP);
    /// The terminal's size changed.
    pub const WINCH: Signal = Signal(libc::SIGWINCH);

    /// `None` where there is no such signal.
    #[must_use]
    pub fn new(number: i32) -> Option<Signal> {
        (1..=RTMAX).contains(&number).then_some(Signal(number))
    }

    /// The number as kill(2) takes it.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

/// `SIGTERM`, `SIGRTMIN+3`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => write!(f, "SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSignal(pub String);

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no signal; name one as in `kill -l`: TERM, INT, QUIT, USR1, RTMIN+3", self.0)
    }
}

impl std::error::Error for UnknownSignal {}

/// `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`, `RTMAX-1`.
impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Signal, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Signal(*number));
        }
        // The two that the C library keeps for itself have no name, but may end a process all the same.
        let bare = upper.strip_prefix("SIGNAL ").unwrap_or(name);
        let number = if let Ok(number) = bare.parse::<i32>() {
            number
        } else if name == "RTMIN" {
            RTMIN
        } else if name == "RTMAX" {
            RTMAX
        } else if let Some(above) = name.strip_prefix("RTMIN+") {
            RTMIN + above.parse::<u8>().map(i32::from).map_err(|_| unknown())?
        } else if let Some(below) = name.strip_prefix("RTMAX-") {
            let number = RTMAX - below.parse::<u8>().map(i32::from).map_err(|_| unknown())?;
            if number < RTMIN { 0 } else { number }
        } else {
            0
        };
        Signal::new(number).ok_or_else(unknown)
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl TryFrom<String> for Signal {
    type Error = UnknownSignal;

    fn try_from(text: String) -> Result<Signal, UnknownSignal> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_read_back_from_its_own_name() {
        for number in 1..=64 {
            let signal = Signal::new(number).expect("1 to 64 are signals");
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn a_signal_is_named_as_kill_names_it() {
        for (text, number) in [("TERM", 15), ("sigterm", 15), ("15", 15), ("RTMIN+3", 37), ("RTMAX-1", 63)] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-9", "TREM", "RTMIN+31", "RTMAX-40", "RTMIN-1"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
