//! Numbers that whoever runs the tests may set.

/// The number in a variable of the environment, where it is set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}={text}` is no number")))
}
