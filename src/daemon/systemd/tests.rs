//! Which words are said when, in virtual time, with the supervisor that decides and children that are played.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::api::{ExitStatus, InstanceId, Pid, Signal, Word};
use crate::app::{Policy, Restart, Timing};
use crate::supervisor::{
    Action, Event, FoundBy, Habits, Hangup, Member, Probes, Probing, Program, Reread, SlotKey, Source,
    Supervisor, Surge, Terminal, Time,
};

use super::{Superior, Words};

const SECOND: Duration = Duration::from_secs(1);

/// A formation whose children start at once and end at once when they are asked to, and its words.
struct Play {
    supervisor: Supervisor,
    words: Words,
    begun: Instant,
    now: Time,
    spawned: Vec<(SlotKey, InstanceId)>,
    /// Whether a stop signal ends a child.
    obedient: bool,
    said: Vec<(Duration, String)>,
}

fn member(name: &str, quantity: u32) -> Member {
    Member {
        name: name.parse().expect("a type's name"),
        release: "dev".to_owned(),
        quantity,
        max: None,
        policy: Policy { restart: Restart::OnFailure, ..Policy::default() },
        after: Vec::new(),
        first_port: None,
        surge: Surge::Forbidden,
        probes: Probes::default(),
        needs: Vec::new(),
        found_by: FoundBy::Us,
    }
}

/// The same, ready when it says so, within this time.
fn telling(mut member: Member, within: Duration) -> Member {
    let timing =
        Timing { period: within, failure_threshold: 1, timeout: Duration::ZERO, ..Timing::default() };
    member.probes.startup = Some(Probing { source: Source::Told, timing });
    member
}

impl Play {
    fn of(members: Vec<Member>, watchdog: Option<Duration>) -> Play {
        let begun = Instant::now();
        let words = Words::new(begun, &members, watchdog);
        let habits = Habits { hangup: Hangup::Reload, terminal: Terminal::Absent, ..Habits::default() };
        let supervisor = Supervisor::new(members, habits, 1, Time::ZERO);
        let (now, spawned, said) = (Time::ZERO, Vec::new(), Vec::new());
        let mut play = Play { supervisor, words, begun, now, spawned, obedient: true, said };
        play.speak();
        play.pass(Duration::ZERO);
        play
    }

    fn hears(&mut self, event: Event) {
        let mut inbox = VecDeque::from([event]);
        while let Some(event) = inbox.pop_front() {
            self.words.stirred();
            for action in self.supervisor.handle(self.now, event) {
                self.words.heed(&action, || Duration::from_micros(77));
                match action {
                    Action::Spawn { slot, instance, .. } => {
                        self.spawned.push((slot, instance));
                        let pid = Pid::new(1000 + i32::try_from(instance.0).expect("few")).expect("above 1");
                        inbox.push_back(Event::Spawned { slot, instance, pid });
                    }
                    Action::Stop { slot, instance, .. } if self.obedient => {
                        let status = ExitStatus::Code(0);
                        inbox.push_back(Event::LeaderExited { slot, instance, status, living: Vec::new() });
                    }
                    _ => {}
                }
            }
        }
        let now = self.instant();
        self.words.look(now, &self.supervisor);
        self.speak();
    }

    /// Lets so much time pass, as the loop does: nothing is done but what is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let told =
                self.words.deadline().map(|due| Time::ZERO + (due.saturating_duration_since(self.begun)));
            let due = self.supervisor.deadline().into_iter().chain(told).min().filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            let now = self.instant();
            self.words.beat(now);
            self.words.look(now, &self.supervisor);
            self.speak();
            if self.supervisor.deadline().is_some_and(|due| due <= self.now) {
                self.hears(Event::Woke);
            }
        }
        self.now = end;
    }

    fn ends(&mut self, which: usize, code: u8) {
        let (slot, instance) = self.spawned[which];
        let status = ExitStatus::Code(code);
        self.hears(Event::LeaderExited { slot, instance, status, living: Vec::new() });
    }

    fn instant(&self) -> Instant {
        self.begun + (self.now - Time::ZERO)
    }

    fn speak(&mut self) {
        while let Some(word) = self.words.next() {
            self.said.push((self.now - Time::ZERO, word.to_owned()));
            self.words.was_said();
        }
    }

    /// What was said since this was asked last.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said).into_iter().map(|(_, word)| word).collect()
    }
}

#[test]
fn the_start_is_told_from_the_first_word_to_everybody_being_ready() {
    let mut play = Play::of(vec![member("web", 2), member("job", 1)], None);
    assert_eq!(
        play.said(),
        ["STATUS=starting\nEXTEND_TIMEOUT_USEC=11000000", "STATUS=starting: web 0/2 ready, job 0/1"]
    );
    play.pass(SECOND / 2);
    play.ends(2, 0);
    assert_eq!(play.said(), ["EXTEND_TIMEOUT_USEC=11000000\nSTATUS=starting: web 0/2 ready, job completed"]);
    play.pass(SECOND);
    assert_eq!(play.said(), ["READY=1\nSTATUS=web 2/2 ready, job completed"]);
    play.pass(3600 * SECOND);
    assert!(play.said().is_empty());
    assert_eq!(play.words.deadline(), None, "nothing wakes anybody");
}

#[test]
fn more_time_to_start_is_asked_for_as_long_as_more_become_ready_and_then_no_more() {
    let mut play = Play::of(vec![telling(member("web", 2), 60 * SECOND)], None);
    assert_eq!(play.said()[0], "STATUS=starting\nEXTEND_TIMEOUT_USEC=70000000");
    play.pass(50 * SECOND);
    assert!(play.said().is_empty());
    let (slot, instance) = play.spawned[0];
    play.hears(Event::Told { slot, instance, word: Word::Ready });
    assert_eq!(play.said(), ["EXTEND_TIMEOUT_USEC=70000000\nSTATUS=starting: web 1/2 ready"]);
    // The other one fails its startup again and again.
    play.pass(600 * SECOND);
    let said = play.said();
    assert!(!said.iter().any(|word| word.contains("EXTEND") || word.contains("READY")), "{said:?}");
    let (slot, instance) = *play.spawned.last().expect("it was started again");
    play.hears(Event::Told { slot, instance, word: Word::Ready });
    play.pass(SECOND);
    assert_eq!(play.said(), ["READY=1\nSTATUS=web 2/2 ready"]);
}

#[test]
fn who_comes_and_goes_is_told_four_times_a_second_at_most() {
    let mut play = Play::of(vec![member("web", 100)], None);
    play.pass(5 * SECOND);
    assert_eq!(play.said().pop().as_deref(), Some("READY=1\nSTATUS=web 100/100 ready"));
    play.ends(0, 1);
    assert_eq!(play.said.len(), 1, "the first change is told at once: {:?}", play.said);
    for number in 1..100 {
        play.pass(SECOND / 50);
        play.ends(number, 1);
    }
    assert!(play.said.len() >= 5, "{:?}", play.said);
    let mut told: Vec<Duration> = play.said.iter().map(|(at, _)| *at).collect();
    told.dedup();
    assert!(told.windows(2).all(|pair| pair[0] + SECOND / 4 <= pair[1]), "{told:?}");
}

#[test]
fn the_end_is_told_at_once_with_the_longest_drain() {
    let mut slow = member("web", 2);
    slow.policy.drain = 300 * SECOND;
    let mut play = Play::of(vec![slow, member("beat", 1)], None);
    play.pass(2 * SECOND);
    play.said();
    play.obedient = false;
    play.hears(Event::Received(Signal::TERM));
    assert_eq!(
        play.said(),
        ["STOPPING=1\nEXTEND_TIMEOUT_USEC=310000000", "STATUS=draining: web 2, beat 1, at most 5m"]
    );
    play.pass(SECOND);
    play.ends(2, 0);
    assert_eq!(play.said(), ["STATUS=draining: web 2, at most 5m"]);
    play.pass(SECOND);
    play.ends(0, 0);
    play.ends(1, 0);
    assert_eq!(play.said().last().map(String::as_str), Some("STATUS=ended with code 0"));
}

#[test]
fn the_failure_that_ends_everything_is_the_last_word() {
    let mut fragile = member("job", 1);
    fragile.policy.restart = Restart::Never;
    let mut play = Play::of(vec![member("web", 1), fragile], None);
    play.ends(1, 7);
    let said = play.said();
    assert!(!said.iter().any(|word| word.contains("READY")), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("STATUS=ended with code 7: job.1"), "{said:?}");
    assert_eq!(said.iter().filter(|word| word.starts_with("STOPPING=1")).count(), 1, "{said:?}");
}

#[test]
fn a_formation_that_completes_before_it_was_ready_was_ready_all_the_same() {
    let mut play = Play::of(vec![member("job", 1)], None);
    play.said();
    play.ends(0, 0);
    assert_eq!(play.said(), ["READY=1", "STOPPING=1", "STATUS=ended with code 0"]);
}

#[test]
fn each_reading_of_the_files_begins_and_all_of_them_end_once() {
    let mut play = Play::of(vec![member("web", 1)], None);
    let same = || Reread { type_index: 0, member: member("web", 1), program: Program::Same };
    let reloading = "RELOADING=1\nMONOTONIC_USEC=77";
    // Before it is ready its end would be taken for that of the start.
    play.hears(Event::Received(Signal::HUP));
    play.hears(Event::Reread { types: vec![same()] });
    assert!(!play.said().iter().any(|word| word.contains("RELOADING") || word.contains("READY")));
    play.pass(2 * SECOND);
    assert_eq!(play.said(), ["READY=1\nSTATUS=web 1/1 ready"]);

    play.hears(Event::Received(Signal::HUP));
    assert_eq!(play.said(), [reloading]);
    play.hears(Event::Reread { types: vec![same()] });
    assert_eq!(play.said(), ["READY=1"]);
    // Again while they are read: whoever asked waits for a word about that.
    play.hears(Event::Received(Signal::HUP));
    play.hears(Event::Received(Signal::HUP));
    play.hears(Event::Reread { types: vec![same()] });
    assert_eq!(play.said(), [reloading, reloading]);
    play.hears(Event::Unreadable { errors: "not a Procfile".to_owned() });
    assert_eq!(play.said(), ["READY=1"]);
    // The end comes in between.
    play.hears(Event::Received(Signal::HUP));
    play.obedient = false;
    play.hears(Event::Received(Signal::TERM));
    play.hears(Event::Reread { types: vec![same()] });
    assert!(!play.said().iter().any(|word| word.contains("READY=1")));
}

#[test]
fn the_watchdog_is_fed_at_half_of_its_time() {
    let mut play = Play::of(vec![member("web", 1)], Some(10 * SECOND));
    play.pass(60 * SECOND);
    let fed = play.said.iter().filter(|(_, word)| word == "WATCHDOG=1").map(|(at, _)| at.as_secs());
    assert_eq!(fed.collect::<Vec<_>>(), (1..=12).map(|number| number * 5).collect::<Vec<_>>());
}

#[test]
fn a_watchdog_that_nobody_listened_to_is_said_once() {
    let mut words = Words::new(Instant::now(), &[member("web", 1)], Some(SECOND));
    words.was_said();
    for _ in 0..10 {
        words.beat(Instant::now() + 3600 * SECOND);
        words.beat(Instant::now() + 7200 * SECOND);
    }
    assert_eq!(words.next(), Some("WATCHDOG=1"));
    words.was_said();
    assert_eq!(words.next(), None);
}

#[test]
fn many_types_are_named_in_part() {
    let many: Vec<Member> = (0..20).map(|number| member(&format!("t{number}"), 1)).collect();
    let mut play = Play::of(many, None);
    play.pass(3 * SECOND);
    let said = play.said();
    assert!(said.iter().any(|word| word.ends_with("t11 1/1 and 8 more types")), "{said:?}");
}

#[test]
fn the_environment_says_who_wants_to_hear_and_how_often() {
    let superior = |variables: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        let environment: Vec<_> = variables.iter().map(pair).collect();
        Superior::of(&environment, 42)
    };
    let watchdog = |variables: &[(&str, &str)]| superior(variables).and_then(|superior| superior.watchdog);
    let socket = ("NOTIFY_SOCKET", "/run/systemd/notify");
    assert!(superior(&[]).is_none());
    assert!(superior(&[("NOTIFY_SOCKET", "")]).is_none());
    assert!(superior(&[("NOTIFY_SOCKET", "relative")]).is_none());
    assert!(superior(&[("NOTIFY_SOCKET", "@name")]).is_some());
    assert!(superior(&[socket]).is_some());
    let long = "x".repeat(200);
    assert!(superior(&[("NOTIFY_SOCKET", &format!("/{long}"))]).is_none());
    assert_eq!(watchdog(&[socket]), None);
    assert_eq!(watchdog(&[socket, ("WATCHDOG_USEC", "3000000")]), Some(3 * SECOND));
    assert_eq!(watchdog(&[socket, ("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "42")]), Some(3 * SECOND));
    assert_eq!(watchdog(&[socket, ("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "41")]), None);
    assert_eq!(watchdog(&[socket, ("WATCHDOG_USEC", "0")]), None);
    assert_eq!(watchdog(&[socket, ("WATCHDOG_USEC", "soon")]), None);
}
