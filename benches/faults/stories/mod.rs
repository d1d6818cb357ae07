//! The rows: what is done to a peer, and what a user would expect of it.

mod ends;
mod restarts;
mod stream;
mod surroundings;

use super::cell::{Cell, Told};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its number among the faults of CONTRIBUTING.md, or a word where it is none of them.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) tell: fn(&Cell) -> Told,
    pub(crate) weight: Weight,
}

/// What it takes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Mostly waiting: others may run beside it.
    Light,
    /// Processors or memory: two at a time.
    Heavy,
}

use Weight::{Heavy, Light};

pub(crate) const ROWS: [Row; 31] = [
    Row { name: "0", what: "nothing is wrong, and TERM comes", tell: ends::well, weight: Light },
    Row { name: "1", what: "a child ignores TERM", tell: ends::deaf, weight: Light },
    Row { name: "2", what: "a child takes 6 of its 10 s to end", tell: ends::slow, weight: Light },
    Row {
        name: "3",
        what: "a child ends, a deaf member of its group does not",
        tell: ends::member,
        weight: Light,
    },
    Row {
        name: "4",
        what: "a child crashes, a grandchild holds its output",
        tell: restarts::holder,
        weight: Light,
    },
    Row {
        name: "5",
        what: "a daemon in a session of its own, and TERM comes",
        tell: ends::escapee,
        weight: Light,
    },
    Row { name: "7", what: "a child is suspended, and TERM comes", tell: ends::suspended, weight: Light },
    Row { name: "9", what: "a child closes its output and runs on", tell: stream::closes, weight: Light },
    Row { name: "10", what: "a line of 64 MiB", tell: stream::endless, weight: Heavy },
    Row { name: "11", what: "output that is no text", tell: stream::odd, weight: Light },
    Row { name: "12", what: "two write long lines at once", tell: stream::together, weight: Heavy },
    Row { name: "13", what: "a last line without its end", tell: stream::unfinished, weight: Light },
    Row { name: "14", what: "100,000 lines right before an exit", tell: stream::last_words, weight: Heavy },
    Row { name: "15", what: "nobody reads for a while, and TERM comes", tell: stream::unread, weight: Light },
    Row { name: "16", what: "the reader goes away", tell: stream::reader_gone, weight: Light },
    Row { name: "18", what: "a stdout that does not block", tell: stream::nonblocking, weight: Heavy },
    Row {
        name: "20",
        what: "no descriptors for 2 s while a child dies",
        tell: surroundings::descriptors,
        weight: Light,
    },
    Row { name: "23", what: "the program is not there", tell: surroundings::missing, weight: Light },
    Row { name: "27", what: "60 children die at once", tell: restarts::crowd, weight: Heavy },
    Row {
        name: "31",
        what: "the clock is set by an hour, both ways, while children end",
        tell: surroundings::clock,
        weight: Light,
    },
    Row { name: "33", what: "TERM comes twice", tell: ends::twice, weight: Light },
    Row { name: "34", what: "TERM comes while 40 are being started", tell: ends::half_born, weight: Heavy },
    Row {
        name: "35",
        what: "TERM comes between a crash and a restart",
        tell: restarts::between,
        weight: Light,
    },
    Row {
        name: "42",
        what: "what a child inherits: signals, descriptors",
        tell: surroundings::inheritance,
        weight: Light,
    },
    Row { name: "45", what: "a child crashes at once, 8 s long", tell: restarts::outage, weight: Light },
    Row { name: "46", what: "a child crashes every 1.5 s, for ever", tell: restarts::relapse, weight: Light },
    Row {
        name: "61",
        what: "the supervisor is killed and started again",
        tell: restarts::killed,
        weight: Light,
    },
    Row { name: "65", what: "as PID 1: 100 orphans", tell: surroundings::orphans, weight: Light },
    Row {
        name: "72",
        what: "an odd value in the environment",
        tell: surroundings::environment,
        weight: Light,
    },
    Row {
        name: "scale",
        what: "1 to 3 and back, the others untouched",
        tell: surroundings::scale,
        weight: Light,
    },
    Row {
        name: "reload",
        what: "one command changes, the other is untouched",
        tell: surroundings::reload,
        weight: Light,
    },
];
