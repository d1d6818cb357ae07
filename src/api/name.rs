//! Names and numbers of the things that are supervised.

use std::fmt;
use std::num::NonZeroI32;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a process type: `web`.
///
/// `[A-Za-z0-9_][A-Za-z0-9_-]*`, at most [`TypeName::LONGEST`] characters, none of
/// [`TypeName::RESERVED`]; case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeName(Arc<str>);

impl TypeName {
    /// As long as a DNS label may be (RFC 1035 section 2.3.4): names end up in host and unit names.
    pub const LONGEST: usize = 63;
    /// Words that mean something else where a process type could stand.
    pub const RESERVED: [&str; 3] = ["all", "run", "supervise"];

    /// One-off commands run in slots of this name, `run.1`: a word that no process type can have.
    #[must_use]
    pub fn one_off() -> TypeName {
        TypeName(TypeName::ONE_OFF.into())
    }

    const ONE_OFF: &str = "run";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no name of a process type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidTypeName {
    /// Nothing at all.
    Empty,
    /// It begins with something other than a letter, a digit or `_`.
    Start(char),
    /// It contains something other than letters, digits, `_` and `-`; where (in characters, from 0) and what.
    Character(usize, char),
    /// It is longer than [`TypeName::LONGEST`]: its length in characters.
    TooLong(usize),
    /// It is one of [`TypeName::RESERVED`].
    Reserved,
}

impl fmt::Display for InvalidTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidTypeName::Empty => write!(f, "the name is empty"),
            InvalidTypeName::Start(c) => {
                write!(f, "a name begins with a letter, a digit or `_`, not with `{c}`")
            }
            InvalidTypeName::Character(_, c) => {
                write!(f, "a name has only letters A to Z, digits, `_` and `-`, no `{c}`")
            }
            InvalidTypeName::TooLong(length) => {
                write!(f, "a name has at most {} characters, this one has {length}", TypeName::LONGEST)
            }
            InvalidTypeName::Reserved => write!(f, "the name is reserved"),
        }
    }
}

impl std::error::Error for InvalidTypeName {}

impl FromStr for TypeName {
    type Err = InvalidTypeName;

    fn from_str(text: &str) -> Result<Self, InvalidTypeName> {
        let first = text.chars().next().ok_or(InvalidTypeName::Empty)?;
        if !(first.is_ascii_alphanumeric() || first == '_') {
            return Err(InvalidTypeName::Start(first));
        }
        let odd = |&(_, c): &(usize, char)| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if let Some((at, c)) = text.chars().enumerate().find(odd) {
            return Err(InvalidTypeName::Character(at, c));
        }
        if text.len() > TypeName::LONGEST {
            return Err(InvalidTypeName::TooLong(text.len()));
        }
        if TypeName::RESERVED.contains(&text) {
            return Err(InvalidTypeName::Reserved);
        }
        Ok(TypeName(text.into()))
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for TypeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A supervisor speaks of one-off commands, too.
        if text == TypeName::ONE_OFF {
            return Ok(TypeName::one_off());
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One numbered place in the formation: `web.1`, also in JSON. Numbers begin at 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlotName {
    /// Whose place it is.
    pub process_type: TypeName,
    /// Which place, from 1.
    pub number: u32,
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process_type, self.number)
    }
}

impl FromStr for SlotName {
    type Err = String;

    fn from_str(text: &str) -> Result<SlotName, String> {
        let type_name = |name: &str| match name {
            TypeName::ONE_OFF => Some(TypeName::one_off()),
            name => name.parse().ok(),
        };
        let parts =
            text.rsplit_once('.').and_then(|(name, number)| Some((type_name(name)?, number.parse().ok()?)));
        match parts {
            Some((process_type, number)) if number > 0 => Ok(SlotName { process_type, number }),
            Some(_) | None => Err(format!("`{text}` is no slot: one is TYPE.N, as in `web.1`")),
        }
    }
}

impl TryFrom<String> for SlotName {
    type Error = String;

    fn try_from(text: String) -> Result<SlotName, String> {
        text.parse()
    }
}

impl From<SlotName> for String {
    fn from(name: SlotName) -> String {
        name.to_string()
    }
}

/// One life of one process in a slot. Counted up within one run of the supervisor, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// A process that may be signalled: never 0, 1 or negative, which mean something else to kill(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Pid(NonZeroI32);

impl Pid {
    /// `None` for what kill(2) would take for a group, for everybody or for init.
    #[must_use]
    pub fn new(raw: i32) -> Option<Pid> {
        if raw > 1 { NonZeroI32::new(raw).map(Pid) } else { None }
    }

    /// The number as the kernel knows it.
    #[must_use]
    pub fn raw(self) -> i32 {
        self.0.get()
    }
}

impl TryFrom<i32> for Pid {
    type Error = String;

    fn try_from(raw: i32) -> Result<Pid, String> {
        Pid::new(raw).ok_or_else(|| format!("{raw} is no process that may be signalled"))
    }
}

impl From<Pid> for i32 {
    fn from(pid: Pid) -> i32 {
        pid.raw()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
