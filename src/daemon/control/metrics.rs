//! What there is to count, in the text format of Prometheus (version 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>), with names by its conventions: base units, `_total` for what only
//! grows.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Write};
use std::time::Duration;

use crate::api::{Ended, Histogram, ProcessStatus, Signal, SlotName, State, Status, Tally, Tried, TypeName};
use crate::stream::Said;

use super::Counts;
use super::ourselves::Ourselves;

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric.
pub(super) fn text(counts: &Counts, said: &Said, spent: &[(SlotName, u64)]) -> String {
    let Counts { status, tallies, ignored_notifications } = counts;
    let mut page = Page::default();
    formation(&mut page, status);
    history(&mut page, tallies);
    page.family(
        "supervise_ignored_notifications_total",
        Kind::Counter,
        "What strangers sent to the NOTIFY_SOCKET of an instance, and what was too long.",
    );
    page.sample("supervise_ignored_notifications_total", &[], ignored_notifications);
    stream(&mut page, said);
    usage(&mut page, &status.processes, spent);
    ourselves(&mut page, &Ourselves::look());
    page.0
}

fn formation(page: &mut Page, status: &Status) {
    let types = types(status);
    page.family("supervise_instances", Kind::Gauge, "Slots by where they are.");
    for (name, slots) in &types {
        for (state, count) in State::ALL.iter().zip(slots.by_state) {
            page.sample("supervise_instances", &[("type", name), ("state", state)], count);
        }
    }
    page.family("supervise_ready_instances", Kind::Gauge, "Instances that may be sent work.");
    for (name, slots) in &types {
        page.sample("supervise_ready_instances", &[("type", name)], slots.ready);
    }
    page.family("supervise_wanted_instances", Kind::Gauge, "Instances that there shall be.");
    for (name, count) in &status.formation.0 {
        page.sample("supervise_wanted_instances", &[("type", name)], count);
    }
}

/// The slots of one type.
#[derive(Clone, Copy, Default)]
struct Slots {
    /// As [`State::ALL`].
    by_state: [u64; State::ALL.len()],
    ready: u64,
}

/// Every type of the formation, and behind them those that are gone from it and not yet gone.
fn types(status: &Status) -> Vec<(&TypeName, Slots)> {
    let mut types: Vec<_> = status.formation.0.iter().map(|(name, _)| (name, Slots::default())).collect();
    let mut places: HashMap<&TypeName, usize> =
        types.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    for process in &status.processes {
        let at = *places.entry(&process.process_type).or_insert_with(|| {
            types.push((&process.process_type, Slots::default()));
            types.len() - 1
        });
        let slots = &mut types[at].1;
        slots.ready += u64::from(process.ready);
        for (state, count) in State::ALL.iter().zip(&mut slots.by_state) {
            *count += u64::from(*state == process.state);
        }
    }
    types
}

fn history(page: &mut Page, tallies: &[Tally]) {
    // A type that came back has one line for both of its lives.
    let mut by_type: BTreeMap<&TypeName, Vec<&Tally>> = BTreeMap::new();
    for tally in tallies {
        by_type.entry(&tally.process_type).or_default().push(tally);
    }
    page.family("supervise_restarts_total", Kind::Counter, "Restarts after an instance had ended by itself.");
    for (name, tallies) in &by_type {
        let restarts: u64 = tallies.iter().map(|tally| tally.restarts).sum();
        page.sample("supervise_restarts_total", &[("type", name)], restarts);
    }
    page.family("supervise_exits_total", Kind::Counter, "Leaders that ended, by exit code or by signal.");
    for (name, tallies) in &by_type {
        for (ended, count) in added(tallies, |tally| &tally.exits) {
            match ended {
                Ended::Code(code) => {
                    page.sample("supervise_exits_total", &[("type", name), ("code", &code)], count);
                }
                Ended::Signal(number) => {
                    let signal = Signal::new(number).map_or(number.to_string(), |signal| signal.to_string());
                    page.sample("supervise_exits_total", &[("type", name), ("signal", &signal)], count);
                }
            }
        }
    }
    page.family("supervise_probes_total", Kind::Counter, "Tries of probes, by what came of them.");
    for (name, tallies) in &by_type {
        for ((probe, tried), count) in added(tallies, |tally| &tally.probes) {
            let result = match tried {
                Tried::Passed => "passed",
                Tried::Failed => "failed",
                Tried::NotRun => "not_run",
            };
            let labels: [(&str, &dyn Display); 3] = [("type", name), ("probe", &probe), ("result", &result)];
            page.sample("supervise_probes_total", &labels, count);
        }
    }
    page.family(
        "supervise_start_seconds",
        Kind::Histogram,
        "From the start of an instance to its being ready.",
    );
    for (name, tallies) in &by_type {
        page.histogram("supervise_start_seconds", name, tallies.iter().map(|tally| &tally.starts));
    }
    page.family(
        "supervise_drain_seconds",
        Kind::Histogram,
        "From the stop signal to an instance's being gone.",
    );
    for (name, tallies) in &by_type {
        page.histogram("supervise_drain_seconds", name, tallies.iter().map(|tally| &tally.drains));
    }
}

/// The counts of several tallies as one.
fn added<K: Copy + Ord>(
    tallies: &[&Tally],
    counts: impl Fn(&Tally) -> &BTreeMap<K, u64>,
) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    for (key, count) in tallies.iter().flat_map(|tally| counts(tally)) {
        *sums.entry(*key).or_default() += count;
    }
    sums
}

fn stream(page: &mut Page, said: &Said) {
    page.family("supervise_lines_total", Kind::Counter, "Lines that the instances of a slot have written.");
    for (slot, lines, _) in &said.slots {
        let labels: [(&str, &dyn Display); 2] = [("type", &slot.process_type), ("slot", slot)];
        page.sample("supervise_lines_total", &labels, lines);
    }
    page.family("supervise_bytes_total", Kind::Counter, "Bytes that the instances of a slot have written.");
    for (slot, _, bytes) in &said.slots {
        let labels: [(&str, &dyn Display); 2] = [("type", &slot.process_type), ("slot", slot)];
        page.sample("supervise_bytes_total", &labels, bytes);
    }
    page.family(
        "supervise_dropped_lines_total",
        Kind::Counter,
        "Lines that did not reach the reader of our output.",
    );
    for (reason, lines) in &said.dropped {
        page.sample("supervise_dropped_lines_total", &[("reason", &reason.word())], lines);
    }
}

fn usage(page: &mut Page, processes: &[ProcessStatus], spent: &[(SlotName, u64)]) {
    page.family(
        "supervise_resident_memory_bytes",
        Kind::Gauge,
        "Memory that an instance has in RAM, with all its descendants.",
    );
    for process in processes {
        if let Some(bytes) = process.rss_bytes {
            let labels: [(&str, &dyn Display); 2] =
                [("type", &process.process_type), ("slot", &process.name)];
            page.sample("supervise_resident_memory_bytes", &labels, bytes);
        }
    }
    page.family(
        "supervise_cpu_seconds_total",
        Kind::Counter,
        "CPU time that the instances of a slot have used, with all their descendants, as seen whenever this is read.",
    );
    for (slot, millis) in spent {
        let labels: [(&str, &dyn Display); 2] = [("type", &slot.process_type), ("slot", slot)];
        page.sample("supervise_cpu_seconds_total", &labels, Seconds(Duration::from_millis(*millis)));
    }
}

fn ourselves(page: &mut Page, ourselves: &Ourselves) {
    page.family("supervise_build_info", Kind::Gauge, "Which supervisor this is.");
    page.sample("supervise_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Memory that the supervisor itself has in RAM.",
            ourselves.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Addresses that the supervisor itself has taken.",
            ourselves.virtual_bytes,
        ),
        ("process_open_fds", "Descriptors that the supervisor has open.", ourselves.descriptors),
        ("process_max_fds", "Descriptors that it may have open.", ourselves.most_descriptors),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            page.family(name, Kind::Gauge, help);
            page.sample(name, &[], value);
        }
    }
    if let Some(cpu) = ourselves.cpu {
        page.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "CPU time that the supervisor itself has used.",
        );
        page.sample("process_cpu_seconds_total", &[], Seconds(cpu));
    }
    if let Some(start) = ourselves.start {
        page.family("process_start_time_seconds", Kind::Gauge, "When the supervisor began, since 1970 UTC.");
        page.sample("process_start_time_seconds", &[], Seconds(start));
    }
}

/// The text as it grows.
#[derive(Default)]
struct Page(String);

/// What kind of metric.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Page {
    /// Begins a metric; its samples follow.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.write(format_args!("{name}"));
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", escaped(&value.to_string())));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{after} {value}\n"));
    }

    /// Buckets hold what is shorter, too; ours do not.
    fn histogram<'h>(
        &mut self,
        name: &str,
        process_type: &TypeName,
        histograms: impl Iterator<Item = &'h Histogram>,
    ) {
        let mut sum = Histogram::default();
        for histogram in histograms {
            for (bucket, more) in sum.buckets.iter_mut().zip(histogram.buckets) {
                *bucket += more;
            }
            sum.count += histogram.count;
            sum.sum += histogram.sum;
        }
        let mut so_far = 0;
        let bucket = format!("{name}_bucket");
        for (bound, count) in Histogram::BOUNDS.iter().zip(sum.buckets) {
            so_far += count;
            let bound = Seconds(Duration::from_millis(*bound));
            self.sample(&bucket, &[("type", process_type), ("le", &bound)], so_far);
        }
        self.sample(&bucket, &[("type", process_type), ("le", &"+Inf")], sum.count);
        self.sample(&format!("{name}_sum"), &[("type", process_type)], Seconds(sum.sum));
        self.sample(&format!("{name}_count"), &[("type", process_type)], sum.count);
    }

    fn write(&mut self, text: fmt::Arguments) {
        // Writing into a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

/// In seconds, as short as it is exact.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

/// The value of a label as it stands between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DropReason, Formation, ProbeKind};

    fn name(name: &str) -> TypeName {
        name.parse().expect("a name")
    }

    fn page(tallies: &[Tally], said: &Said) -> String {
        let formation = Formation(vec![(name("web"), 2), (name("beat"), 0)]);
        let status = Status { schema: Status::SCHEMA, formation, processes: Vec::new() };
        text(&Counts { status, tallies: tallies.to_vec(), ignored_notifications: 6 }, said, &[])
    }

    const NOTHING: Said = Said {
        slots: Vec::new(),
        dropped: [(DropReason::SlowReader, 0), (DropReason::ReaderGone, 0), (DropReason::WriteFailed, 7)],
    };

    #[track_caller]
    fn says(page: &str, lines: &[&str]) {
        for line in lines {
            assert!(page.lines().any(|said| said == *line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_has_happened_is_counted_by_type() {
        let mut web = Tally::new(name("web"));
        web.restarts = 3;
        web.exits =
            [(Ended::Code(0), 1), (Ended::Code(3), 2), (Ended::Signal(9), 1), (Ended::Signal(64), 5)].into();
        web.probes =
            [((ProbeKind::Liveness, Tried::Failed), 4), ((ProbeKind::Startup, Tried::NotRun), 1)].into();
        let mut again = Tally::new(name("web"));
        again.exits = [(Ended::Code(3), 5)].into();
        let page = page(&[web, Tally::new(name("beat")), again], &NOTHING);
        says(
            &page,
            &[
                "# TYPE supervise_restarts_total counter",
                "supervise_restarts_total{type=\"web\"} 3",
                "supervise_restarts_total{type=\"beat\"} 0",
                "supervise_exits_total{type=\"web\",code=\"0\"} 1",
                "supervise_exits_total{type=\"web\",code=\"3\"} 7",
                "supervise_exits_total{type=\"web\",signal=\"SIGKILL\"} 1",
                "supervise_exits_total{type=\"web\",signal=\"SIGRTMIN+30\"} 5",
                "supervise_probes_total{type=\"web\",probe=\"liveness\",result=\"failed\"} 4",
                "supervise_probes_total{type=\"web\",probe=\"startup\",result=\"not_run\"} 1",
                "supervise_ignored_notifications_total 6",
                "supervise_dropped_lines_total{reason=\"write_failed\"} 7",
                "supervise_instances{type=\"web\",state=\"running\"} 0",
                "supervise_wanted_instances{type=\"web\"} 2",
                "supervise_wanted_instances{type=\"beat\"} 0",
            ],
        );
    }

    #[test]
    fn a_bucket_holds_what_is_shorter_too() {
        let mut web = Tally::new(name("web"));
        for millis in [5, 10, 11, 700, 40_000] {
            web.starts.note(Duration::from_millis(millis));
        }
        let page = page(&[web], &NOTHING);
        says(
            &page,
            &[
                "# TYPE supervise_start_seconds histogram",
                "supervise_start_seconds_bucket{type=\"web\",le=\"0.01\"} 2",
                "supervise_start_seconds_bucket{type=\"web\",le=\"0.05\"} 3",
                "supervise_start_seconds_bucket{type=\"web\",le=\"0.5\"} 3",
                "supervise_start_seconds_bucket{type=\"web\",le=\"1\"} 4",
                "supervise_start_seconds_bucket{type=\"web\",le=\"30\"} 4",
                "supervise_start_seconds_bucket{type=\"web\",le=\"+Inf\"} 5",
                "supervise_start_seconds_sum{type=\"web\"} 40.726",
                "supervise_start_seconds_count{type=\"web\"} 5",
                "supervise_drain_seconds_count{type=\"web\"} 0",
            ],
        );
    }

    #[test]
    fn what_a_slot_wrote_is_counted_and_each_metric_is_explained_once() {
        let slot = |text: &str| text.parse().expect("a slot");
        let said = Said { slots: vec![(slot("web.1"), 2, 30), (slot("web.2"), 0, 1)], ..NOTHING };
        let page = page(&[], &said);
        says(
            &page,
            &[
                "supervise_lines_total{type=\"web\",slot=\"web.1\"} 2",
                "supervise_bytes_total{type=\"web\",slot=\"web.2\"} 1",
            ],
        );
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        for sample in samples {
            let name = sample.split(['{', ' ']).next().expect("a name");
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            for what in ["HELP", "TYPE"] {
                let found =
                    page.lines().filter(|line| line.starts_with(&format!("# {what} {family} "))).count();
                assert_eq!(found, 1, "{what} of {family}");
            }
        }
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
