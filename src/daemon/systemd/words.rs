//! What is said to whoever started us, and when. No I/O: it looks at the supervisor and keeps what is not said yet.
//!
//! ```text
//!   starting --- READY=1 ---> up <--- RELOADING=1, READY=1 (each time the files are read again)
//!       |                     |
//!       '----- STOPPING=1 ----'-----> ending
//! ```
//!
//! `STATUS=` follows what changes, a few times a second at most; `WATCHDOG=1` comes from the loop itself: one that hangs
//! misses it. Nothing else wakes anybody.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::api::{Notice, brief};
use crate::supervisor::{Action, Census, Member, READY_AFTER, Supervisor};

/// See the module.
#[derive(Debug)]
pub(super) struct Words {
    stage: Stage,
    /// Readings of the files that were announced and are not over.
    reloads: usize,
    /// The last sentence.
    status: String,
    /// Whether anything may have changed since everything was looked at.
    change: Change,
    /// Not before this is everything looked at again; none: at once.
    look_at: Option<Instant>,
    watchdog: Option<Watchdog>,
    unsaid: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until every essential type was ready.
    Starting {
        /// How long the slowest instance may take.
        patience: Duration,
        /// The most that were ready or completed so far, all at once.
        most: u32,
    },
    Up,
    Ending {
        /// The longest drain of any instance.
        at_most: Duration,
    },
    /// Nothing is left.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Perhaps,
    None,
}

/// That we live, again and again.
#[derive(Clone, Copy, Debug)]
struct Watchdog {
    interval: Duration,
    due: Instant,
}

/// From one look at everything to the next: a person sees no more than that, and each look costs something for each slot.
const PAUSE: Duration = Duration::from_millis(250);

/// What is added to every time that we ask for: a busy machine, and at the end SIGKILL, who is stuck, the last lines and
/// the last answers.
const MARGIN: Duration = Duration::from_secs(10);

/// So many types are named in a sentence.
const NAMED: usize = 12;

/// More does not wait for a receiver that has no room: of so much the oldest is out of date.
const UNSAID: usize = 16;

impl Words {
    pub(super) fn new(now: Instant, members: &[Member], watchdog: Option<Duration>) -> Words {
        let wanted = members.iter().filter(|member| member.quantity > 0);
        let patience = wanted.map(patience).max().unwrap_or(Duration::ZERO) + MARGIN;
        let interval = watchdog.map(|watchdog| (watchdog / 2).max(Duration::from_millis(1)));
        Words {
            stage: Stage::Starting { patience, most: 0 },
            reloads: 0,
            status: String::new(),
            change: Change::Perhaps,
            look_at: None,
            watchdog: interval.map(|interval| Watchdog { interval, due: now + interval }),
            unsaid: VecDeque::from([format!("STATUS=starting\n{}", extend(patience))]),
        }
    }

    /// What an earlier run left behind is stopped first.
    pub(super) fn delayed(&mut self, members: &[Member]) {
        if let Stage::Starting { patience, .. } = self.stage {
            let at_most = members.iter().map(|member| member.policy.drain).max().unwrap_or(Duration::ZERO);
            let extension = extend(patience + at_most);
            self.say(format!("STATUS=stopping what an earlier run left behind\n{extension}"));
        }
    }

    /// An event is handled: how everything is may change.
    pub(super) fn stirred(&mut self) {
        self.change = Change::Perhaps;
    }

    /// An action is about to be performed; what it means is said after it. `monotonic` is the time of `CLOCK_MONOTONIC`.
    pub(super) fn heed(&mut self, action: &Action, monotonic: impl Fn() -> Duration) {
        match action {
            Action::Reread => match self.stage {
                Stage::Up => {
                    self.reloads += 1;
                    self.say(format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic().as_micros()));
                }
                // The end of it would be taken for the end of the start.
                Stage::Starting { .. } | Stage::Ending { .. } | Stage::Over => {}
            },
            Action::Announce { notice: Notice::Reloaded { .. } | Notice::ReloadFailed { .. }, .. } => {
                let left = self.reloads.checked_sub(1);
                self.reloads = left.unwrap_or(0);
                if left == Some(0) {
                    self.say("READY=1".to_owned());
                }
            }
            Action::Announce { notice: Notice::Draining { deadline_ms, .. }, .. } => {
                let at_most = Duration::from_millis(*deadline_ms);
                self.stage = Stage::Ending { at_most };
                self.reloads = 0;
                self.say(format!("STOPPING=1\n{}", extend(at_most + MARGIN)));
                self.hurry();
            }
            Action::Announce { notice: Notice::Ended { code, because }, .. } => {
                match self.stage {
                    // Everything has completed.
                    Stage::Starting { .. } if *code == 0 => {
                        self.say("READY=1".to_owned());
                        self.say("STOPPING=1".to_owned());
                    }
                    Stage::Starting { .. } | Stage::Up => self.say("STOPPING=1".to_owned()),
                    Stage::Ending { .. } | Stage::Over => {}
                }
                self.stage = Stage::Over;
                let because = because.as_ref().map(|slot| format!(": {slot}")).unwrap_or_default();
                self.say(format!("STATUS=ended with code {code}{because}"));
            }
            Action::Announce { .. }
            | Action::Discard
            | Action::Reserve { .. }
            | Action::Stage { .. }
            | Action::Prepare { .. }
            | Action::Record { .. }
            | Action::Spawn { .. }
            | Action::Probe { .. }
            | Action::Ask { .. }
            | Action::Revert { .. }
            | Action::Stop { .. }
            | Action::Signal { .. }
            | Action::Kill { .. }
            | Action::Look { .. }
            | Action::Pass { .. }
            | Action::Suspend
            | Action::Resume
            | Action::Adopt { .. }
            | Action::Reply { .. }
            | Action::ReadOn
            | Action::Exit { .. } => {}
        }
    }

    /// Says that we live, when it is time to.
    pub(super) fn beat(&mut self, now: Instant) {
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.due <= now
        {
            watchdog.due = now + watchdog.interval;
            if !self.unsaid.iter().any(|word| word == ALIVE) {
                self.say(ALIVE.to_owned());
            }
        }
    }

    /// Looks at everything, where something may have changed and it is time to.
    pub(super) fn look(&mut self, now: Instant, supervisor: &Supervisor) {
        if self.change == Change::None {
            return;
        }
        if matches!(self.stage, Stage::Starting { .. }) && supervisor.has_started() {
            self.hurry();
        }
        if self.look_at.is_some_and(|look_at| now < look_at) {
            return;
        }
        (self.change, self.look_at) = (Change::None, Some(now + PAUSE));
        let census = supervisor.census();
        let mut words: Vec<String> = Vec::new();
        match &mut self.stage {
            Stage::Starting { patience, most } => {
                let well: u32 = census.iter().map(|census| census.ready + census.completed).sum();
                let is_done = |census: &Census| census.ready + census.completed >= census.wanted;
                if supervisor.has_started() || census.iter().filter(|census| census.essential).all(is_done) {
                    self.stage = Stage::Up;
                    words.push("READY=1".to_owned());
                } else if well > *most {
                    *most = well;
                    words.push(extend(*patience));
                }
            }
            Stage::Up | Stage::Ending { .. } | Stage::Over => {}
        }
        if let Some(status) = self.sentence(&census)
            && status != self.status
        {
            words.push(format!("STATUS={status}"));
            self.status = status;
        }
        if !words.is_empty() {
            self.say(words.join("\n"));
        }
    }

    /// When there is something to be said though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let look = match self.change {
            // Where it is none, this turn of the loop looks.
            Change::Perhaps => self.look_at,
            Change::None => None,
        };
        look.into_iter().chain(self.watchdog.map(|watchdog| watchdog.due)).min()
    }

    /// What is to be said next.
    pub(super) fn next(&self) -> Option<&str> {
        self.unsaid.front().map(String::as_str)
    }

    /// It was said.
    pub(super) fn was_said(&mut self) {
        self.unsaid.pop_front();
    }

    fn say(&mut self, word: String) {
        if self.unsaid.len() >= UNSAID {
            self.unsaid.pop_front();
        }
        self.unsaid.push_back(word);
    }

    /// Everything is looked at without waiting.
    fn hurry(&mut self) {
        (self.change, self.look_at) = (Change::Perhaps, None);
    }

    fn sentence(&self, census: &[Census]) -> Option<String> {
        match self.stage {
            Stage::Starting { .. } => Some(format!("starting: {}", counts(census))),
            Stage::Up => Some(counts(census)),
            Stage::Ending { at_most } => Some(alive(census, at_most)),
            // The last one stays.
            Stage::Over => None,
        }
    }
}

/// That we live.
const ALIVE: &str = "WATCHDOG=1";

/// How long an instance of a type may take until it is ready or has failed, by what its spec says.
fn patience(member: &Member) -> Duration {
    let wait = member.needs.iter().map(|need| need.wait).max().unwrap_or(Duration::ZERO);
    let startup = member.probes.startup.map(|probe| {
        let timing = probe.timing;
        timing.initial_delay + timing.patience() + timing.timeout
    });
    let readiness = member.probes.readiness.map(|probe| {
        let timing = probe.timing;
        timing.initial_delay + timing.timeout
    });
    wait + startup.unwrap_or(READY_AFTER) + readiness.unwrap_or(Duration::ZERO)
}

fn extend(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// `web 4/4 ready, worker 7/8 (1 failed), migrate completed`.
fn counts(census: &[Census]) -> String {
    let mut ready = " ready";
    let of_type = |census: &Census| {
        let Census { process_type, wanted, completed, failed, .. } = census;
        if completed == wanted {
            return format!("{process_type} completed");
        }
        let mut text = format!("{process_type} {}/{wanted}{}", census.ready, std::mem::take(&mut ready));
        let remarks = [(*completed, "completed"), (*failed, "failed")].into_iter();
        let remarks = remarks.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let remarks: Vec<String> =
            remarks.chain(census.rolling.then(|| "being replaced".to_owned())).collect();
        if !remarks.is_empty() {
            // A string takes everything.
            let _ = write!(text, " ({})", remarks.join(", "));
        }
        text
    };
    listed(census.iter().filter(|census| census.wanted > 0).map(of_type), "nothing is to run")
}

/// `draining: web 2, worker 1, at most 25s`.
fn alive(census: &[Census], at_most: Duration) -> String {
    let alive = census.iter().filter(|census| census.alive > 0);
    let alive = listed(alive.map(|census| format!("{} {}", census.process_type, census.alive)), "");
    if alive.is_empty() {
        "draining".to_owned()
    } else {
        format!("draining: {alive}, at most {}", brief(at_most))
    }
}

/// What there is, or `nothing`.
fn listed(parts: impl Iterator<Item = String>, nothing: &str) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.len().checked_sub(NAMED) {
        None | Some(0) if parts.is_empty() => nothing.to_owned(),
        None | Some(0) => parts.join(", "),
        Some(more) => format!("{} and {more} more types", parts[..NAMED].join(", ")),
    }
}
