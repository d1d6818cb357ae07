//! The key `limits`: resource limits of each process by name (setrlimit(2)), and those of an instance as a whole, in docker
//! compose's words, which only a cgroup can hold.

use super::Limit;
use super::reader::Reader;
use super::settings::Settings;
use super::trail::Entry;
use super::yaml::Kind;

/// What one instance may use with all its descendants, as a cgroup holds it (Linux, cgroup-v2.rst). `u64::MAX` is no limit,
/// and stronger than a weaker one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Memory in bytes: whoever wants more is killed by the kernel.
    pub memory: Option<u64>,
    /// Processor time in microseconds of each [`CPU_PERIOD`]: whoever wants more waits.
    pub cpus: Option<u64>,
    /// Processes and threads: fork(2) says EAGAIN to whoever wants more.
    pub pids: Option<u64>,
}

/// A tenth of a second in microseconds, the kernel's own default.
pub const CPU_PERIOD: u64 = 100_000;

/// The kernel takes no quota below a millisecond.
const LEAST_QUOTA: u64 = 1000;

/// More processors than there are in any machine.
const MOST_CPUS: u64 = 100_000;

/// In less, not even what is to be executed is loaded.
const LEAST_MEMORY: u64 = 1 << 20;

/// What [`Confinement`] has.
const CONFINED: [&str; 3] = ["memory", "cpus", "pids"];

impl Confinement {
    /// Whether it limits anything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        [self.memory, self.cpus, self.pids].into_iter().flatten().any(|most| most < u64::MAX)
    }

    /// This one where it speaks, `weaker` where it is silent.
    #[must_use]
    pub fn or(&self, weaker: &Confinement) -> Confinement {
        Confinement {
            memory: self.memory.or(weaker.memory),
            cpus: self.cpus.or(weaker.cpus),
            pids: self.pids.or(weaker.pids),
        }
    }
}

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

impl<'a> Reader<'a> {
    /// The key `limits`.
    pub(super) fn limits(&mut self, owner: &Entry<'a>, settings: &mut Settings) {
        for entry in self.mapping(&owner.trail, owner.value) {
            let text = match &entry.value.kind {
                Kind::Text(text) => text.clone(),
                Kind::Number(number) => number.to_string(),
                Kind::OtherNumber => entry.value.scalar_text(),
                Kind::Null | Kind::Bool(_) | Kind::Sequence(_) | Kind::Mapping(_) | Kind::Tagged => {
                    String::new()
                }
            };
            let confinement = &mut settings.confinement;
            let (read, is) = match entry.trail.name() {
                "memory" => (set(&mut confinement.memory, memory(&text)), A_SIZE),
                "cpus" => (set(&mut confinement.cpus, cpus(&text)), PROCESSORS),
                "pids" => (set(&mut confinement.pids, pids(&text)), PROCESSES),
                name => {
                    let Some(resource) = resource(name) else {
                        let known: Vec<&str> = CONFINED.into_iter().chain(names()).collect();
                        self.unknown_key(&entry, &known);
                        continue;
                    };
                    let limit = parse(resource, &text);
                    settings.limits.extend(limit);
                    (limit.is_some(), A_NUMBER)
                }
            };
            if !read {
                self.wrong(&entry, is);
            }
        }
    }
}

const A_SIZE: &str = "is an amount from `1m` up, as in `512m` or `2g`, or `unlimited`";
const PROCESSORS: &str = "is a number of processors from 0.01 up, as in `1.5`, or `unlimited`";
const PROCESSES: &str = "is a number of processes, 1 or more, or `unlimited`";
const A_NUMBER: &str = "is a whole number, with k, m or g behind it or not, or `unlimited`";

/// Whether there was something to set.
fn set(setting: &mut Option<u64>, value: Option<u64>) -> bool {
    *setting = value;
    value.is_some()
}

/// Reads `512m`, `512M`, `512mb`, `2g`, bytes without a unit (docker compose), or `unlimited`.
fn memory(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    // `512mb` and `512b`, but neither `b` nor `unlimitedb`.
    let plain = lower.strip_suffix('b').filter(|plain| *plain != "unlimited").unwrap_or(&lower);
    let Limit { value, .. } = parse(0, plain)?;
    (value >= LEAST_MEMORY).then_some(value)
}

/// Reads `1`, `1.5`, `0.05` as a quota.
fn cpus(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Some(u64::MAX);
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(whole) || !is_plain(part) {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= MOST_CPUS)?;
    // As many digits as a microsecond of the period has.
    let part: u64 = format!("{part:0<5}").get(..5)?.parse().ok()?;
    let quota = whole * CPU_PERIOD + part;
    (quota >= LEAST_QUOTA).then_some(quota)
}

fn pids(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Some(u64::MAX);
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| plain && (1..u64::MAX).contains(count))
}

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

/// What [`super::bare`] reads: as a resource limit, memory, processors and processes.
pub(super) fn read(text: &str) -> [Option<u64>; 4] {
    [parse(0, text).map(|limit| limit.value), memory(text), cpus(text), pids(text)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_a_whole_instance_are_read_as_docker_compose_reads_them() {
        for (text, bytes) in [
            ("512M", Some(512 << 20)),
            ("512mb", Some(512 << 20)),
            ("unlimitedb", None),
            ("2g", Some(2 << 30)),
            ("1048576", Some(1 << 20)),
            ("1048576b", Some(1 << 20)),
            ("unlimited", Some(u64::MAX)),
            ("1048575", None),
            ("0", None),
            ("b", None),
            ("10 bytes", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(memory(text), bytes, "{text}");
        }
        for (text, quota) in [
            ("1", Some(100_000)),
            ("1.5", Some(150_000)),
            ("0.01", Some(1000)),
            ("0.123456789", Some(12_345)),
            ("16", Some(1_600_000)),
            ("unlimited", Some(u64::MAX)),
            ("0.009", None),
            ("0", None),
            ("-1", None),
            (".5", None),
            ("1.", None),
            ("1e3", None),
            ("1.5.1", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(cpus(text), quota, "{text}");
        }
        let counts = ["1", "100", "unlimited", "0", "-1", "+1", "1k", ""].map(pids);
        assert_eq!(counts, [Some(1), Some(100), Some(u64::MAX), None, None, None, None, None]);
    }

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
