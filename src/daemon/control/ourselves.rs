//! What the supervisor itself uses of the machine, in the words that Prometheus' own clients have for it
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). What cannot be read is left out.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// What is known of it now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ourselves {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) most_descriptors: Option<u64>,
    /// Time of a CPU, without that of children.
    pub(super) cpu: Option<Duration>,
    /// Since 1970 UTC.
    pub(super) start: Option<Duration>,
}

impl Ourselves {
    pub(super) fn look() -> Ourselves {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may have blanks in it, the fields of proc(5) begin with the third.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = |ticks: u64| {
            let per_second = system(SysconfVar::CLK_TCK).filter(|ticks| *ticks > 0)?;
            // Both are small: no machine runs for half a million years.
            Some(Duration::from_millis(ticks * 1000 / per_second))
        };
        Ourselves {
            resident_bytes: field(24).and_then(|pages| Some(pages * system(SysconfVar::PAGE_SIZE)?)),
            virtual_bytes: field(23),
            descriptors: fs::read_dir("/proc/self/fd").ok().and_then(|entries| {
                // One of them is for reading this.
                u64::try_from(entries.count()).ok()?.checked_sub(1)
            }),
            most_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            cpu: field(14).zip(field(15)).and_then(|(user, system)| ticks(user + system)),
            start: field(22).and_then(ticks).zip(boot()).map(|(since_boot, boot)| boot + since_boot),
        }
    }
}

fn system(what: SysconfVar) -> Option<u64> {
    sysconf(what).ok().flatten()?.try_into().ok()
}

/// When the machine began, since 1970 UTC (proc(5), `/proc/stat`).
fn boot() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn we_use_something_and_began_a_while_ago() {
        let ourselves = Ourselves::look();
        assert!(ourselves.resident_bytes > Some(500_000), "{ourselves:?}");
        assert!(ourselves.virtual_bytes > ourselves.resident_bytes, "{ourselves:?}");
        assert!(
            ourselves.descriptors >= Some(3) && ourselves.most_descriptors >= ourselves.descriptors,
            "{ourselves:?}"
        );
        assert!(ourselves.cpu < Some(Duration::from_secs(3600)), "{ourselves:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that");
        let age = now.as_secs_f64() - ourselves.start.expect("it is known").as_secs_f64();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
