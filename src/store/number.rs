//! The number of a release: `v1`, `v2` ...

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a release in its store, from 1. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(u32);

impl Number {
    /// That of the first one.
    pub(super) const FIRST: Number = Number(1);

    pub(super) fn next(self) -> Number {
        Number(self.0.saturating_add(1))
    }

    /// Only as we write it: `v07` is none of ours.
    pub(super) fn of_directory(name: &str) -> Option<Number> {
        name.parse().ok().filter(|number: &Number| number.to_string() == name)
    }
}

/// `v4`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the width that is asked for.
        f.pad(&format!("v{}", self.0))
    }
}

/// A text is no number of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNumber;

impl std::error::Error for NoNumber {}

impl fmt::Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a release is called v1, v2 and so on")
    }
}

/// `v4` or `4`.
impl FromStr for Number {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Number, NoNumber> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| plain && *number > 0).map(Number).ok_or(NoNumber)
    }
}

impl TryFrom<String> for Number {
    type Error = String;

    fn try_from(text: String) -> Result<Number, String> {
        Number::of_directory(&text).ok_or_else(|| NoNumber.to_string())
    }
}

impl From<Number> for String {
    fn from(number: Number) -> String {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_with_or_without_its_letter_and_written_with_it() {
        for text in ["v4", "4", "v04"] {
            assert_eq!(text.parse(), Ok(Number(4)), "{text}");
        }
        for text in ["", "v", "v0", "0", "-1", "+1", "V4", "v4 ", "v4294967296", "current"] {
            assert_eq!(text.parse::<Number>(), Err(NoNumber), "{text}");
        }
        assert_eq!(Number(4).to_string(), "v4");
        assert_eq!((Number::of_directory("v4"), Number::of_directory("v04")), (Some(Number(4)), None));
    }
}
