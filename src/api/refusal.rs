//! Why a request is refused: typed, with one word for programs and a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NotDeployed, SlotName, TypeName};

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no type of that name.
    UnknownProcessType {
        /// What was asked for.
        name: String,
        /// Which there are.
        known: Vec<TypeName>,
    },
    /// A target that means nobody.
    UnknownTarget {
        /// What was asked for.
        target: String,
        /// Which types there are.
        known: Vec<TypeName>,
    },
    /// The supervisor is ending.
    ShuttingDown,
    /// The files are being read again already.
    Busy,
    /// A release is being deployed.
    Deploying {
        /// Which: `v4`.
        release: String,
    },
    /// A release was not deployed: what ran before runs.
    NotDeployed {
        /// Which: `v4`.
        release: String,
        /// Why.
        why: NotDeployed,
    },
    /// None of the slots meant has a process that could get a signal.
    NotRunning {
        /// Them.
        slots: Vec<SlotName>,
    },
    /// More instances than the type's `max`.
    OverMax {
        /// Which type.
        process_type: TypeName,
        /// How many it would have.
        count: i64,
        /// How many it may have.
        max: u32,
    },
    /// Fewer than none.
    BelowZero {
        /// Which type.
        process_type: TypeName,
        /// How many it has.
        count: u32,
        /// How many more were asked for, which is negative.
        by: i64,
    },
    /// Two slots would get the same PORT.
    PortClash {
        /// The slot that would be new.
        slot: SlotName,
        /// The slot that has the PORT.
        holder: SlotName,
        /// The PORT.
        port: u32,
    },
    /// A slot would get a PORT above 65535.
    PortTooHigh {
        /// Which.
        slot: SlotName,
        /// The number.
        port: u32,
    },
    /// What was to replace the instances of a type does not work: the old ones stay, or come back.
    TurnedBack {
        /// Which type.
        process_type: TypeName,
        /// What is wrong, and where.
        reason: String,
    },
    /// A newer request replaces the same instances.
    Superseded {
        /// Of which type.
        process_type: TypeName,
    },
    /// The files cannot be used; what runs goes on as it was.
    Invalid {
        /// All that is wrong, as `check` says it.
        errors: String,
    },
}

impl Refusal {
    /// One word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownProcessType { .. } => "unknown_process_type",
            Refusal::UnknownTarget { .. } => "unknown_target",
            Refusal::ShuttingDown => "shutting_down",
            Refusal::Busy => "busy",
            Refusal::Deploying { .. } => "deploying",
            Refusal::NotDeployed { .. } => "not_deployed",
            Refusal::NotRunning { .. } => "not_running",
            Refusal::OverMax { .. } => "over_max",
            Refusal::BelowZero { .. } => "below_zero",
            Refusal::PortClash { .. } => "port_clash",
            Refusal::PortTooHigh { .. } => "port_too_high",
            Refusal::TurnedBack { .. } => "turned_back",
            Refusal::Superseded { .. } => "superseded",
            Refusal::Invalid { .. } => "invalid_configuration",
        }
    }
}

/// The sentence, with what to do next.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownProcessType { name, known } => {
                write!(f, "there is no process type `{name}`; there is {}", list(known))
            }
            Refusal::UnknownTarget { target, known } => {
                write!(f, "`{target}` means nobody; the types are {}, a slot is TYPE.N", list(known))
            }
            Refusal::ShuttingDown => write!(f, "the supervisor is shutting down"),
            Refusal::Busy => write!(f, "the files are being read again already; try again in a moment"),
            Refusal::Deploying { release } => {
                write!(f, "{release} is being deployed; `supervise events -f` tells how far it is")
            }
            Refusal::NotDeployed { release, why } => write!(f, "{release} was not deployed: {why}"),
            Refusal::NotRunning { slots } => {
                let slots: Vec<String> = slots.iter().map(SlotName::to_string).collect();
                write!(f, "not running: {}", slots.join(", "))
            }
            Refusal::OverMax { process_type, count, max } => {
                write!(f, "{process_type}={count} is more than its `max` of {max}")
            }
            Refusal::BelowZero { process_type, count, by } => {
                write!(f, "{process_type}{by:+} is less than none: there are {count}")
            }
            Refusal::PortClash { slot, holder, port } => {
                write!(f, "{slot} would get PORT {port}, which {holder} has; start with a larger --port-step")
            }
            Refusal::PortTooHigh { slot, port } => {
                write!(f, "{slot} would get PORT {port}, above 65535; start with a lower --port")
            }
            Refusal::TurnedBack { process_type, reason } => {
                write!(f, "the new {process_type} was turned back: {reason}")
            }
            Refusal::Superseded { process_type } => {
                write!(f, "a newer request replaces the instances of {process_type} now")
            }
            Refusal::Invalid { errors } => write!(f, "nothing was changed\n{}", errors.trim_end()),
        }
    }
}

fn list(known: &[TypeName]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
