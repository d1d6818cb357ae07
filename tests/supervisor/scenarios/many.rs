//! Thousands of instances: what they cost, without the books, which look at everybody.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use supervise::api::{
    Answer, ExitStatus, Manner, Pid, ProbeKind, ProbeResult, Request, RequestId, Verb, When,
};
use supervise::app::Timing;
use supervise::supervisor::{Action, Event, Habits, Member, Supervisor, Time};

use crate::fake_host::{member, ms, probed, with};

const MANY: u32 = 4_000;

/// A host that does at once whatever is ordered, and hears a few hundred facts between two looks at what is due, as the loop
/// does.
struct Host {
    core: Supervisor,
    now: Time,
    facts: VecDeque<Event>,
    answers: Vec<Answer>,
    events: usize,
}

/// So many facts are heard one after the other.
const QUEUE: usize = 256;

impl Host {
    fn new(member: Member) -> Host {
        let core = Supervisor::new(vec![member], Habits::default(), 1, Time::ZERO);
        let (facts, answers) = (VecDeque::new(), Vec::new());
        Host { core, now: Time::ZERO, facts, answers, events: 0 }
    }

    fn tell(&mut self, event: Event) {
        self.events += 1;
        for action in self.core.handle(self.now, event) {
            match action {
                Action::Spawn { slot, instance, .. } => {
                    let pid = Pid::new(i32::try_from(100 + instance.0).expect("small")).expect("above 1");
                    self.facts.push_back(Event::Spawned { slot, instance, pid });
                }
                Action::Stop { slot, instance, .. } => {
                    let status = ExitStatus::Code(0);
                    self.facts.push_back(Event::LeaderExited { slot, instance, status, living: Vec::new() });
                }
                Action::Probe { slot, instance, probe } => {
                    let result = ProbeResult::Passed;
                    self.facts.push_back(Event::Probed { slot, instance, probe, result });
                }
                Action::Reply { answer, .. } => self.answers.push(answer),
                _ => {}
            }
        }
    }

    /// Whatever happens in so much time.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            for _ in 0..QUEUE {
                let Some(fact) = self.facts.pop_front() else { break };
                self.tell(fact);
            }
            match self.core.deadline() {
                Some(due) if due <= end => {
                    if self.facts.is_empty() || due <= self.now {
                        self.now = self.now.max(due);
                        self.tell(Event::Woke);
                    }
                }
                Some(_) | None if self.facts.is_empty() => break,
                Some(_) | None => {}
            }
        }
        self.now = end;
    }
}

fn asked(quantity: u32, at_a_time: u32) -> Member {
    let kind = probed(member("web", quantity), ProbeKind::Readiness, Timing::default());
    with(kind, |policy| {
        policy.rollout.max_unavailable = at_a_time;
        policy.rollout.max_surge = 0;
    })
}

/// The processor's time that this thread has used (`utime` and `stime` of `proc_pid_stat(5)`, in hundredths of a second): what
/// else the machine does has no part in it.
fn worked() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("every thread has one");
    // A name may have spaces and brackets in it; nothing after it has.
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[test]
fn thousands_are_replaced_and_every_fact_stays_cheap() {
    let mut host = Host::new(asked(MANY, MANY / 20));
    host.pass(ms(5_000));
    let (begins, before) = (worked(), host.events);
    let verb = Verb::Restart { targets: Vec::new(), manner: Manner::Rolling };
    host.tell(Event::Requested { id: RequestId(1), request: Request { verb, answer: When::Happened } });
    host.pass(ms(60_000));
    assert!(matches!(&host.answers[..], [Ok(_)]), "{} answers", host.answers.len());
    let (events, work) = (host.events - before, worked().saturating_sub(begins));
    eprintln!("{MANY} replaced: {events} events, {work:?} of a processor in all");
    // A build without optimisation needs less than two seconds; looking at everybody for every fact, a minute.
    assert!(work < Duration::from_secs(20), "{events} events took {work:?} of a processor");
}
