//! What may be asked of a running formation, and what is answered.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Formation, Refusal, Signal, SlotName, State, TypeName};

/// Which request. Counted up within one run of the supervisor; each is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// One wish, and when it is to be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is wanted.
    pub verb: Verb,
    /// When the answer comes.
    pub answer: When,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Other counts. `all` stands for every type but `release`, and is taken first wherever it stands.
    Scale {
        /// By the name of a type.
        changes: Vec<(String, Change)>,
    },
    /// A new life for every slot meant; all of them where nobody is named.
    Restart {
        /// Whom.
        targets: Vec<Target>,
        /// In which way.
        manner: Manner,
    },
    /// Nothing runs in the slots meant until they are restarted; all of them where nobody is named.
    Stop {
        /// Whom.
        targets: Vec<Target>,
    },
    /// A signal to the leaders of the slots meant; all of them where nobody is named.
    Signal {
        /// Which.
        signal: Signal,
        /// Whom.
        targets: Vec<Target>,
    },
    /// The Procfile, the env files and the spec are read again; what did not change is not touched.
    Reload,
    /// Everything changes to another release: its type `release` runs first, then every type is replaced, and where one of
    /// them does not work, all come back to what ran before.
    Deploy {
        /// Which: `v4`.
        release: String,
    },
    /// One command, once, beside the formation. What it is only the host knows.
    Run {
        /// The type whose rules and environment it has, where it has one's.
        process_type: Option<TypeName>,
    },
    /// Everything ends.
    Shutdown {
        /// Instead of the drain of each type.
        drain: Option<Duration>,
    },
    /// Nothing but an answer, when every slot runs or has failed: what `start --detach` waits for.
    Settle,
}

/// How instances are replaced by new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// All at once: each is stopped, and started again when it is gone.
    AtOnce,
    /// A few at a time, so that enough of them are ready all the while: `--rolling`.
    Rolling,
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// As soon as it is accepted.
    Accepted,
    /// When it has happened: what shall run is ready or has failed, what shall not is gone.
    Happened,
}

/// Another count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// So many in all.
    To(u32),
    /// So many more; fewer where it is negative.
    By(i64),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::To(count) => write!(f, "={count}"),
            Change::By(count) => write!(f, "{count:+}"),
        }
    }
}

/// Who is meant: a type (`web`), a slot (`web.1`), or a pattern of either with `*`, `?` and `[..]` as in a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    text: String,
    pattern: glob::Pattern,
}

impl Target {
    /// A longer one means nobody: the name of a slot has at most 74 bytes, and a pattern should be looked at quickly.
    const LONGEST: usize = 256;

    /// Whether it means this slot.
    #[must_use]
    pub fn means(&self, slot: &SlotName) -> bool {
        // `*` in a type's place does not run over the dot by accident: `web*` is for types, `web.*` for slots.
        self.means_type(slot.process_type.as_str()) || self.pattern.matches(&slot.to_string())
    }

    /// Whether it means every slot of this type.
    #[must_use]
    pub fn means_type(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if text.is_empty() {
            return Err("a target is a type (`web`), a slot (`web.1`) or a pattern (`w*`)".to_owned());
        }
        if text.len() > Target::LONGEST {
            return Err(format!(
                "a target has at most {} bytes, and one has {}",
                Target::LONGEST,
                text.len()
            ));
        }
        let pattern = glob::Pattern::new(text).map_err(|error| format!("`{text}` is no pattern: {error}"))?;
        Ok(Target { text: text.to_owned(), pattern })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Target, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.text
    }
}

/// The answer to a request.
pub type Answer = Result<Accepted, Refusal>;

/// A request that was accepted, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// What the formation is now meant to be.
    pub formation: Formation,
    /// The slots that the request concerns, in formation order.
    pub processes: Vec<Effect>,
}

/// What a request does to one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Which slot.
    pub name: SlotName,
    /// What becomes of it.
    pub will: Will,
    /// Where it is when the answer is given. A slot that is gone from the formation is `stopped`.
    pub state: State,
}

/// What becomes of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Will {
    /// It is started, as soon as what lived there is gone.
    Start,
    /// What lives there is stopped.
    Stop,
    /// What lives there is stopped, and then it is started.
    Restart,
    /// Its leader gets the signal.
    Signal,
    /// Nothing: it is as it was asked to be.
    Stay,
}

impl fmt::Display for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Will::Start => "start",
            Will::Stop => "stop",
            Will::Restart => "restart",
            Will::Signal => "signal",
            Will::Stay => "stay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_type_a_slot_or_a_pattern() {
        let slot = |name: &str, number| SlotName { process_type: name.parse().expect("a name"), number };
        for (target, name, number, means) in [
            ("web", "web", 1, true),
            ("web", "web2", 1, false),
            ("web.1", "web", 1, true),
            ("web.1", "web", 11, false),
            ("web.*", "web", 11, true),
            ("web.[12]", "web", 2, true),
            ("web.[12]", "web", 3, false),
            ("w*", "worker", 3, true),
            ("*", "anything", 1, true),
            ("*.1", "web", 1, true),
            ("*.1", "web", 2, false),
            ("we?", "web", 7, true),
        ] {
            let target: Target = target.parse().expect("a target");
            assert_eq!(target.means(&slot(name, number)), means, "{target} {name}.{number}");
        }
        assert!("".parse::<Target>().is_err());
        assert!("[".parse::<Target>().is_err());
        assert!("w".repeat(256).parse::<Target>().is_ok());
        let refused = "w".repeat(257).parse::<Target>().expect_err("it is too long");
        assert!(refused.len() < 60, "{refused}");
    }
}
