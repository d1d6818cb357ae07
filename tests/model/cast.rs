//! What runs: process types of every temper, and the files that say so.

use std::fmt::Write;
use std::path::Path;

/// A process type.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What it does after `say` and its edition; `@` is the directory of the history.
    acts: &'static str,
    /// Its own keys in the spec, but for the quantity.
    keys: &'static str,
    /// How many a history may ask for.
    pub(crate) most: u32,
    pub(crate) ends: Ends,
    /// Whether an instance says `usr1` once for each SIGUSR1.
    pub(crate) answers_usr1: bool,
    /// Whether slots have PORTs.
    pub(crate) has_ports: bool,
    /// Whether a leader serves its PORT by itself.
    pub(crate) serves_port: bool,
}

/// What becomes of an instance that nobody touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Never,
    /// At once, and well: it is not started again.
    Well,
    /// The first lives after its file of lives was removed end badly.
    BadlyAtFirst,
}

const PLAIN: Kind = Kind {
    name: "",
    acts: "",
    keys: "",
    most: 3,
    ends: Ends::Never,
    answers_usr1: false,
    has_ports: true,
    serves_port: false,
};

/// All of them, in the order of the first Procfile; the last one is not in that.
pub(crate) const KINDS: [Kind; 13] = [
    Kind { name: "web", acts: "fork tell 200 50ms end listen", serves_port: true, ..PLAIN },
    Kind {
        name: "steady",
        acts: "on TERM exit 0 on USR1 say usr1 tell 400 15ms",
        most: 4,
        answers_usr1: true,
        ..PLAIN
    },
    Kind { name: "deaf", acts: "ignore TERM tell 300 40ms", keys: "drain: 300ms", ..PLAIN },
    // A child in a session of its own, a daemon that we adopt, and a member of the group that is silent.
    Kind {
        name: "tree",
        acts: "fork setsid fork tell 100 30ms end tell 100 40ms end fork sleep 1h end on TERM exit 0 sleep 1h",
        ..PLAIN
    },
    Kind {
        name: "grumpy",
        acts: "fork setsid ignore TERM tell 100 60ms end sleep 1h",
        keys: "drain: 300ms",
        ..PLAIN
    },
    Kind { name: "chatty", acts: "tell 3000 3ms", most: 2, ..PLAIN },
    Kind {
        name: "crash",
        acts: "crash-until @/lives 2 3 on TERM exit 0 tell 100 50ms",
        ends: Ends::BadlyAtFirst,
        ..PLAIN
    },
    Kind {
        name: "mute",
        acts: "close-stdout on TERM exit 0 sleep 1h",
        keys: "port: false",
        has_ports: false,
        ..PLAIN
    },
    Kind {
        name: "notify",
        acts: "on TERM exit 0 on USR1 say usr1 sleep 100ms notify READY=1 tell 100 50ms",
        keys: "health: { startup: { notify: true, period: 2s, failure_threshold: 5 } }",
        answers_usr1: true,
        ..PLAIN
    },
    // Clients that have hung up are none of its troubles.
    Kind { name: "sock", acts: "ignore PIPE serve", keys: "listen: \"unix://@/app.sock\"", ..PLAIN },
    Kind { name: "late", acts: "on TERM exit 0 tell 100 50ms", keys: "after: [notify, web]", ..PLAIN },
    Kind { name: "job", acts: "sleep 20ms", ends: Ends::Well, most: 2, ..PLAIN },
    Kind { name: "extra", acts: "on TERM exit 0 tell 100 50ms", ..PLAIN },
];

/// Ports of a type: more than any has instances, with those that come for a while.
pub(crate) const PORT_STEP: u16 = 8;

pub(crate) fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("there is no type `{name}`"))
}

/// What the files say of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) edition: u32,
    pub(crate) quantity: u32,
}

/// A word of the command of this edition.
pub(crate) fn word(edition: u32) -> String {
    format!("edition-{edition}")
}

/// For a history in that directory.
pub(crate) fn procfile(entries: &[Entry], directory: &Path) -> String {
    let line = |entry: &Entry| {
        let acts = kind(entry.name).acts.replace('@', &directory.display().to_string());
        format!("{}: chaos say {} {acts}\n", entry.name, word(entry.edition))
    };
    entries.iter().map(line).collect()
}

/// For a history in that directory.
pub(crate) fn spec(entries: &[Entry], directory: &Path) -> String {
    let mut spec =
        "defaults:\n  drain: 3s\n  backoff: { first: 200ms, max: 1s }\n  rollout: { min_ready: 100ms }\n\
                    formation:\n"
            .to_owned();
    for entry in entries {
        let keys = kind(entry.name).keys.replace('@', &directory.display().to_string());
        let comma = if keys.is_empty() { "" } else { ", " };
        writeln!(spec, "  {}: {{ quantity: {}{comma}{keys} }}", entry.name, entry.quantity)
            .expect("a string takes everything");
    }
    spec
}
