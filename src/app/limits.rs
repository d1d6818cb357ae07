//! Resource limits by name (setrlimit(2)).

use super::Limit;

/// Each name with its number, as the C library has it.
#[rustfmt::skip]
const RESOURCES: [(&str, u32); 15] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// The number of a resource.
pub(super) fn resource(name: &str) -> Option<u32> {
    RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Every name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RESOURCES.iter().map(|(name, _)| *name)
}

/// Reads `4096`, `4k`, `512m`, `2g` (powers of 1024) or `unlimited`.
pub(super) fn parse(resource: u32, text: &str) -> Option<Limit> {
    let lower = text.to_ascii_lowercase();
    if lower == "unlimited" {
        return Some(Limit { resource, value: u64::MAX });
    }
    let (digits, unit) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if lower.ends_with('k') => (digits, 1 << 10),
        Some(digits) if lower.ends_with('m') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
        None => (lower.as_str(), 1),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    // The largest number is how the kernel writes "unlimited".
    let value = number.checked_mul(unit).filter(|value| *value < u64::MAX)?;
    Some(Limit { resource, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_suffix() {
        for (text, value) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4k", Some(4096)),
            ("1M", Some(1 << 20)),
            ("2g", Some(2 << 30)),
            ("unlimited", Some(u64::MAX)),
            ("", None),
            ("k", None),
            ("-1", None),
            ("+1", None),
            ("1t", None),
            ("1.5g", None),
            ("18446744073709551615", None),
            ("99999999999999g", None),
        ] {
            assert_eq!(parse(7, text).map(|limit| limit.value), value, "{text}");
        }
    }
}
