//! The rules: what each step is held against.

use std::collections::BTreeSet;
use std::time::Duration;

use supervise::api::InstanceId;
use supervise::api::{Cause, Manner, Notice, Signal, Then, TypeName, Verb, Verdict};
use supervise::app::{Leftovers, Restart};
use supervise::supervisor::{
    Action, CLOSEST_STARTS, Event, FailFast, Farewell, FoundBy, Hangup, Init, Member, Phase, STARTS_PER_STEP,
    STUCK_AFTER, SlotKey, Supervisor, Surge, Time, Whom,
};

use super::{
    Begun, Course, Force, Haste, Ledger, Life, Pipes, Pulse, Rest, Rules, Says, Stage, Step, Told, Waits,
};

/// So often in a row the supervisor may ask to be woken at one moment without starting anybody: a rollout that is turned back
/// brings others back, whose gates open, and so on.
const MOST_LOOKS: u32 = 4;

impl Ledger {
    /// Each action, in order, against what is known.
    #[allow(clippy::too_many_lines, reason = "one action after the other")]
    pub(super) fn check_actions(&mut self, step: &Step<'_>) {
        let mut starts = 0;
        for (index, action) in step.actions.iter().enumerate() {
            match action {
                Action::Spawn { slot, instance, edition } => {
                    starts += 1;
                    let member = step.member_at(index, *slot, *edition);
                    self.check_spawn(step, *slot, *instance, *edition, member);
                }
                Action::Signal { slot, instance, .. } => {
                    assert_eq!(self.life(*slot, *instance).stage, Stage::Led, "a signal is for a leader");
                }
                Action::Reread => {
                    assert!(
                        !std::mem::replace(&mut self.reading, true),
                        "the files are read one time at once"
                    );
                }
                Action::Adopt { keep } => {
                    let types = self.candidate.clone().expect("adopted is what was read and not discarded");
                    self.forget_editions(&types, keep);
                }
                Action::Reply { id, .. } => {
                    assert!(self.asked.remove(id), "one answer, to who asked: {id:?}");
                }
                Action::Stop { slot, instance, target, signal } => {
                    self.check_target(*slot, *instance, *target);
                    let (drain, longest) = (self.drain, self.longest);
                    let life = self.life(*slot, *instance);
                    let policy = &step.member_at(index, *slot, life.edition).policy;
                    assert_eq!(*signal, policy.stop_signal, "the stop signal of its type");
                    assert_eq!(life.killed, None, "nobody is asked to end who was killed");
                    let drain = drain.unwrap_or(policy.drain);
                    life.deadline
                        .get_or_insert(step.now + longest.map_or(drain, |longest| drain.min(longest)));
                }
                Action::Kill { slot, instance, target } => {
                    self.check_target(*slot, *instance, *target);
                    let Life { edition, stage, .. } = *self.life(*slot, *instance);
                    // Who was not let be when the leader ended is not when the rules are others.
                    let leave = step.member_at(index, *slot, edition).policy.leftovers == Leftovers::Leave
                        && stage == Stage::Led;
                    assert!(!leave || *target != Whom::Everyone, "leftovers are let be: {action:?}");
                    let asked = self.haste == Haste::Asked;
                    let life = self.life(*slot, *instance);
                    let due = life.deadline.is_some_and(|deadline| deadline <= step.now);
                    assert!(asked || due || life.killed.is_some(), "SIGKILL before its deadline: {action:?}");
                    life.killed.get_or_insert(step.now);
                    if let Course::Ending { force, .. } = &mut self.course {
                        *force = Force::Used;
                    }
                }
                Action::Look { slot, instance } => {
                    let life = self.life(*slot, *instance);
                    assert!(life.killed.is_some(), "who was not killed need not be looked at");
                }
                Action::Announce { notice, .. } => {
                    if let Notice::NotDeployed { .. } = notice {
                        self.amend_back(step);
                    }
                    self.note_notice(step, notice);
                }
                Action::Suspend => assert_eq!(step.rules.habits.init, Init::No, "nobody would continue init"),
                Action::Probe { slot, instance, probe } => {
                    let life = self.life(*slot, *instance);
                    assert!(life.works(), "who ends is not asked how it is: {action:?}");
                    let probes = step.member_at(index, *slot, life.edition).probes;
                    life.pulse.ask(&probes, step.now, *probe);
                }
                Action::Ask { type_index, edition } => {
                    let newest = self.known[type_index].last();
                    let is_newest = Some(edition) == newest || self.staged.contains(edition);
                    assert!(is_newest, "what is asked is what the newest needs");
                    assert!(self.asking.insert(*type_index), "a type's services are asked one time at once");
                }
                Action::Revert { type_index, edition } => {
                    let known = self.known.entry(*type_index).or_default();
                    assert!(
                        known.contains(edition),
                        "{edition} of type {type_index} is forgotten: {known:?}"
                    );
                    let newest = known.last().map_or(0, |newest| newest + 1);
                    known.insert(newest);
                    // Whoever is there was there before.
                    self.rolled.insert(*type_index, self.newest);
                }
                Action::Pass { .. } | Action::Resume => {}
                Action::Prepare { .. } => {
                    assert!(
                        !std::mem::replace(&mut self.reading, true),
                        "the files are read one time at once"
                    );
                }
                // Looked at by themselves.
                Action::Discard | Action::Record { .. } | Action::Reserve { .. } | Action::Stage { .. } => {}
                Action::ReadOn => self.pipes = Pipes::ReadOn,
                Action::Exit { farewell, .. } => {
                    // Who asks us to end waits for that; after a drain that went on without our reader, nobody does.
                    let asked = matches!(self.course, Course::Ending { begun: Begun::Asked(_), .. });
                    let patient = !asked && self.pipes == Pipes::Held;
                    assert_eq!(*farewell == Farewell::Patient, patient, "{farewell:?}, {:?}", self.pipes);
                    assert_eq!(index + 1, step.actions.len(), "nothing follows the exit");
                }
            }
        }
        assert!(starts <= STARTS_PER_STEP, "{starts} starts in one step");
    }

    /// Probes that hold again as they did before a deploy.
    fn amend_back(&mut self, step: &Step<'_>) {
        for (key, life) in self.lives.iter_mut().filter(|(_, life)| life.works()) {
            if let Some(until_now) = step.until_now(*key, life.edition) {
                let after = step.rules.member(*key, life.edition).probes;
                life.pulse.amend(&until_now.probes, &after, step.now);
                life.pulse.note_since(step.now);
            }
        }
    }

    fn check_spawn(
        &mut self,
        step: &Step<'_>,
        slot: SlotKey,
        instance: InstanceId,
        edition: usize,
        member: &Member,
    ) {
        let is_one_off = self.one_offs == Some(slot.type_index);
        if is_one_off {
            assert!(self.staged.contains(&edition), "{slot:?}: a command runs once");
            // What was stopped there was another one.
            if self.place(slot).edition != edition {
                self.place(slot).shortages = 0;
            }
            self.place(slot).held = false;
        } else {
            let newest = self.known[&slot.type_index].last();
            assert_eq!(Some(&edition), newest, "what is started is the newest");
        }
        let count = if is_one_off { u32::MAX } else { self.counts[&slot.type_index].0 };
        let stuck = if is_one_off { 0 } else { self.stuck_above(slot.type_index, count) };
        let surge = match member.surge {
            Surge::Possible if step.rolling.contains(&slot.type_index) => Ledger::surge(member, stuck, count),
            Surge::Possible | Surge::Forbidden => 0,
        };
        assert!(
            slot.number <= if surge == 0 { count } else { count + stuck + surge },
            "{slot:?} is started, and there shall be {count}"
        );
        assert!(
            member.needs.is_empty() || self.supplied.contains(&slot.type_index),
            "{slot:?} lacks a service"
        );
        assert!(slot.number > count || !self.place(slot).held, "{slot:?} is started, and was asked to stop");
        let waits = step.rules.editions[slot.type_index].iter().any(|member| !member.after.is_empty());
        assert!(!waits || self.open.contains(&slot.type_index), "{slot:?} is started before its turn");
        self.place(slot).edition = edition;
        assert_eq!(*step.event, Event::Woke, "starts are counted in one place");
        assert_eq!(self.course, Course::Up, "no start once the end began");
        assert!(instance.0 > self.newest, "an instance's number is never used again");
        let last = self.place(slot).last_start.replace(step.now);
        assert!(
            last.is_none_or(|last| step.now - last >= CLOSEST_STARTS),
            "two starts of {slot:?} too close together: {last:?} and {}",
            step.now
        );
        self.newest = instance.0;
        let stage = Stage::Ordered;
        let life = Life {
            instance,
            edition,
            since: step.now,
            stage,
            deadline: None,
            killed: None,
            stuck: None,
            waits: Waits::StillOn,
            pulse: Pulse::default(),
        };
        assert!(self.lives.insert(slot, life).is_none(), "at most one live instance in a slot: {slot:?}");
    }

    /// So many slots above the count are not to be had.
    fn stuck_above(&self, type_index: usize, count: u32) -> u32 {
        let above =
            SlotKey { type_index, number: count + 1 }..SlotKey { type_index: type_index + 1, number: 0 };
        let stuck = self.lives.range(above).filter(|(_, life)| life.stuck.is_some());
        u32::try_from(stuck.count()).expect("a few")
    }

    /// So many more there may be for a while.
    fn surge(member: &Member, stuck: u32, count: u32) -> u32 {
        let room = member.max.map_or(u32::MAX, |max| max.saturating_sub(count + stuck));
        member.policy.rollout.max_surge.min(room)
    }

    fn check_target(&mut self, slot: SlotKey, instance: InstanceId, target: Whom) {
        match self.life(slot, instance).stage {
            Stage::Ordered => panic!("{instance:?} is not born yet"),
            Stage::Led => assert_ne!(target, Whom::Strays, "the leader first"),
            Stage::Orphaned { .. } => {
                assert!(matches!(target, Whom::Everyone | Whom::Strays), "{target:?}: there is no leader");
            }
        }
    }

    fn note_notice(&mut self, step: &Step<'_>, notice: &Notice) {
        self.note_verdict(step, notice);
        match notice {
            Notice::Stuck { slot, pids } => {
                assert!(!pids.is_empty(), "stuck is named by pid");
                let life = self.lives.get_mut(&step.names[slot]).expect("stuck and not alive");
                assert!(life.killed.is_some_and(|killed| killed + STUCK_AFTER <= step.now), "stuck too soon");
                assert_eq!(life.stuck.replace(step.now), None, "stuck is said once");
            }
            Notice::Draining { cause, .. } => {
                assert_eq!(self.course, Course::Up, "the end begins once");
                // What somebody comes to may bring everything back, and that may end another type.
                let is_of = |slot: SlotKey| match cause {
                    Cause::Essential(name) => step.rules.editions[slot.type_index][0].name == *name,
                    Cause::FailFast(_) | Cause::Signal(_) | Cause::ReaderGone | Cause::Asked => true,
                };
                let own_code = |ledger: &mut Ledger| match step.event {
                    Event::LeaderExited { slot, .. }
                    | Event::SpawnFailed { slot, .. }
                    | Event::Remaining { slot, .. }
                        if is_of(*slot) =>
                    {
                        ledger.place(*slot).last_code
                    }
                    // Who lacks a service, or is blocked, fails without an event of its own.
                    _other => ledger.failures.last().map_or(1, |(_, code)| *code),
                };
                let begun = match cause {
                    Cause::Signal(Signal::INT) => Begun::Asked(130),
                    Cause::Signal(_) | Cause::ReaderGone | Cause::Asked => Begun::Asked(0),
                    Cause::Essential(_) | Cause::FailFast(_) => Begun::Failure(own_code(self)),
                };
                self.course = Course::Ending { since: step.now, begun, force: Force::Unused };
            }
            Notice::RolloutBegan { process_type, .. } => {
                let named = |editions: &Vec<Member>| editions[0].name == *process_type;
                let type_index = step.rules.editions.iter().position(named).expect("a known type");
                self.rolled.insert(type_index, self.newest);
            }
            Notice::Unwell { slot, probe, .. } => {
                let life = self.lives.get_mut(&step.names[slot]).expect("unwell and not alive");
                life.pulse.condemn(step.now, *probe);
            }
            Notice::NotStarted { slot, .. } if *step.event == Event::Woke => {
                // A service did not answer in time.
                let key = step.names[slot];
                let newest = step.rules.editions[key.type_index].last().expect("an edition");
                let streak_ends = newest.policy.backoff.reset_after.is_zero();
                let place = self.place(key);
                (place.last_code, place.shortages) = (1, 0);
                place.failures = if streak_ends { 1 } else { place.failures + 1 };
            }
            Notice::Completed { slot } => self.place(step.names[slot]).verdict = Some(Rest::Completed),
            Notice::Failed { slot, reason } => {
                if let Verdict::Blocked { by } = reason {
                    let named = |editions: &Vec<Member>| editions[0].name == *by;
                    let first = step.rules.editions.iter().position(named).expect("a known type");
                    // Who is taken away in the same step keeps nobody out any more.
                    let scaled = step.notices().find_map(|notice| match notice {
                        Notice::Scaled { process_type, to, .. } if process_type == by => Some(*to),
                        _other => None,
                    });
                    let count = scaled.or(self.counts.get(&first).map(|(count, _)| *count)).unwrap_or(0);
                    let of_first = |(key, _): &&(SlotKey, u8)| key.type_index == first && key.number <= count;
                    let (_, code) = *self.failures.iter().find(of_first).expect("it has failed");
                    self.place(step.names[slot]).last_code = code;
                }
                self.place(step.names[slot]).verdict = Some(Rest::Failed);
                let place = *self.place(step.names[slot]);
                self.failures.push((step.names[slot], place.last_code));
            }
            _ => {}
        }
    }

    /// The exit code, where there is one. What a request changes in the same step counts already.
    pub(super) fn check_exit(&mut self, step: &Step<'_>) {
        let Some(Action::Exit { code, .. }) = step.actions.last() else { return };
        let fail_fast = step.rules.habits.fail_fast == FailFast::Yes;
        let wanted = match self.course {
            Course::Over => panic!("one exit"),
            Course::Up => {
                assert!(self.lives.is_empty(), "exit while something is alive: {:?}", self.lives);
                assert!(!fail_fast, "the first exit would have ended everything");
                let kept = self.counts.values().any(|(count, says)| (*count, *says) == (0, Says::Request));
                assert!(!kept, "what was scaled to 0 by request keeps everything up");
                self.failures.first().map_or(0, |(_, code)| *code)
            }
            Course::Ending { since, begun, force } => {
                for life in self.lives.values() {
                    let waited = life.stuck.is_some_and(|stuck| stuck.max(since) + STUCK_AFTER <= step.now);
                    assert!(waited, "exit while something is alive: {life:?}");
                }
                match (self.lives.is_empty(), begun, force) {
                    (false, _, _) => 1,
                    (true, Begun::Failure(code), _) | (true, Begun::Asked(code), Force::Unused) => code,
                    (true, Begun::Asked(_), Force::Used) => 137,
                }
            }
        };
        assert_eq!(*code, wanted, "the exit code");
        assert!(self.asked.is_empty(), "everybody has an answer: {:?}", self.asked);
        self.course = Course::Over;
    }

    /// What begins the end, and that everybody is asked to end at the same moment.
    pub(super) fn check_course(&mut self, step: &Step<'_>) {
        let habits = step.rules.habits;
        let ends = match step.event {
            Event::ReaderGone => true,
            Event::Requested { request, .. } => matches!(request.verb, Verb::Shutdown { .. }),
            Event::Received(signal) => match *signal {
                Signal::INT | Signal::TERM | Signal::PWR | Signal::RTMIN_3 | Signal::QUIT => true,
                Signal::HUP => habits.hangup == Hangup::Drain,
                _ => false,
            },
            _ => false,
        };
        assert!(!ends || self.course != Course::Up, "{:?} drains everything", step.event);
        if self.course == Course::Up || !self.looks_at_all() {
            return;
        }
        for (slot, life) in &self.lives {
            if life.stage != Stage::Ordered {
                let asked = life.deadline.is_some() || life.killed.is_some();
                assert!(asked, "{slot:?} is not asked to end: {life:?}");
                assert!(self.haste == Haste::NotAsked || life.killed.is_some(), "{slot:?} is not killed");
            }
        }
    }

    /// What follows a life that ended by itself: the right verdict, or a wait of the right length.
    #[allow(clippy::too_many_lines, reason = "one rule after the other")]
    pub(super) fn check_sequel(&mut self, step: &Step<'_>, told: Told, supervisor: &Supervisor) {
        let (key, uptime) = match told {
            Told::Late | Told::Other => return,
            Told::OwnEnd(key, uptime) => (key, Some(uptime)),
            Told::Shortage(key) => (key, None),
        };
        if self.one_offs == Some(key.type_index) && uptime.is_some() {
            let verdict = step.notices().find_map(|notice| match notice {
                Notice::Failed { slot, .. } | Notice::Completed { slot } => Some(step.names[slot]),
                _ => None,
            });
            assert_ne!(verdict, Some(key), "what becomes of a command is nobody's failure");
            let phase = phase_of(supervisor, key);
            assert!(matches!(phase, Phase::Stopped), "{key:?} is {phase:?}, and a command runs once");
            return;
        }
        // It comes into the formation when everything goes back: what it failed by before is forgotten.
        let count = self.counts.get(&key.type_index).map_or(0, |(count, _)| *count);
        if self.grown.get(&key.type_index).is_some_and(|before| key.number > *before && key.number <= count) {
            return;
        }
        let edition = self.place(key).edition;
        let member = step.until_now(key, edition).unwrap_or_else(|| step.rules.member(key, edition));
        let policy = &member.policy;
        let goes_back = step.notices().any(|notice| matches!(notice, Notice::NotDeployed { .. }));
        let is_replaced = goes_back || step.rolling.contains(&key.type_index);
        let of_slot = |notice: &&Notice| notice.slot().is_some_and(|name| step.names[name] == key);
        let phase = phase_of(supervisor, key);
        let place = self.places.get_mut(&key).expect("a slot of the formation");
        let verdict = step.notices().filter(of_slot).find_map(|notice| match notice {
            Notice::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let (least, most) = if let Some(uptime) = uptime {
            if step.rules.habits.fail_fast == FailFast::Yes {
                assert_ne!(self.course, Course::Up, "--fail-fast");
                return;
            }
            let code = place.last_code;
            let unusable = matches!(step.event, Event::SpawnFailed { .. })
                || (member.found_by == FoundBy::Shell && matches!(code, 126 | 127));
            let second = Duration::from_secs(1);
            let sisters = self.lives.iter().filter(|(slot, _)| slot.type_index == key.type_index);
            let well = |life: &Life| life.stage == Stage::Led && life.since + second <= step.now;
            if !unusable || uptime >= second || sisters.map(|(_, life)| life).any(well) {
                self.ran.insert(key.type_index);
            }
            if unusable && !self.ran.contains(&key.type_index) {
                let turned_back = is_replaced && verdict.is_none();
                assert!(
                    turned_back || verdict == Some(Verdict::NeverRan),
                    "at the first start that is final"
                );
                return;
            }
            match (policy.restart, code, verdict.clone()) {
                (Restart::OnFailure | Restart::Never, 0, verdict) => {
                    // What was there for a rollout may be what it waited for, and leaves with that.
                    let (count, _) = self.counts.get(&key.type_index).copied().unwrap_or((0, Says::Plan));
                    let leaves = key.number > count && *phase == Phase::Stopped;
                    assert!(leaves || *phase == Phase::Completed, "{key:?} {phase:?} of {count}");
                    assert_eq!(verdict, None);
                    return;
                }
                (Restart::Never, _, None) if is_replaced => return,
                (Restart::Never, _, verdict) => {
                    assert_eq!(verdict, Some(Verdict::Never));
                    return;
                }
                (Restart::Always | Restart::OnFailure, _, _) => {}
            }
            if is_replaced && !matches!(phase, Phase::Backoff { .. }) {
                place.failures += 1;
                return;
            }
            place.shortages = 0;
            place.failures = if uptime >= policy.backoff.reset_after { 1 } else { place.failures + 1 };
            let failures = place.failures;
            if policy.backoff.give_up_after > 0 && failures >= policy.backoff.give_up_after {
                if is_replaced && verdict.is_none() {
                    return;
                }
                assert_eq!(verdict, Some(Verdict::GaveUp { failures }));
                return;
            }
            let base = match failures {
                1 => Duration::ZERO,
                n => (policy.backoff.first * 2_u32.saturating_pow(n - 2)).min(policy.backoff.max),
            };
            (base.mul_f64(0.8), base.mul_f64(1.2))
        } else {
            let base = Duration::from_secs(2_u64.saturating_pow(place.shortages).min(30));
            place.shortages += 1;
            (base, base.mul_f64(1.2))
        };
        let Phase::Backoff { due } = *phase else { panic!("{phase:?} after {told:?}, {verdict:?}") };
        let closest = place.last_start.map_or(Time::ZERO, |last| last + CLOSEST_STARTS);
        // A nanosecond for the rounding of fractions.
        let least = (step.now + least.saturating_sub(Duration::from_nanos(1))).max(closest);
        let most = (step.now + most + Duration::from_nanos(1)).max(closest);
        assert!((least..=most).contains(&due), "{due} is not within {least} and {most}: {place:?}");
        let said = step.notices().filter(of_slot).find_map(|notice| match notice {
            Notice::Exited { then: Then::Restart { delay_ms }, .. }
            | Notice::NotStarted { then: Then::Restart { delay_ms }, .. }
            | Notice::Restarting { delay_ms, .. } => Some(u128::from(*delay_ms)),
            _ => None,
        });
        assert_eq!(said, Some((due - step.now).as_millis()), "the wait is said");
    }

    /// Whose turn has come: everybody that comes first is there.
    pub(super) fn note_gates(&mut self, rules: &Rules, now: Time) {
        if self.course != Course::Up {
            return;
        }
        let there = |ledger: &Ledger, key: SlotKey| {
            let place = ledger.places.get(&key).copied().unwrap_or_default();
            match ledger.lives.get(&key) {
                Some(life) => life.works() && life.pulse.is_ready(now),
                None => place.verdict == Some(Rest::Completed),
            }
        };
        for (type_index, editions) in rules.editions.iter().enumerate() {
            if self.open.contains(&type_index) {
                continue;
            }
            let after = editions.last().map(|member| member.after.as_slice()).unwrap_or_default();
            let ready = |name: &TypeName| {
                let first = rules.editions.iter().position(|editions| editions[0].name == *name);
                let Some(first) = first else { return true };
                let (count, _) = self.counts.get(&first).copied().unwrap_or((0, Says::Plan));
                (1..=count).all(|number| there(self, SlotKey { type_index: first, number }))
            };
            if after.iter().all(ready) {
                self.open.insert(type_index);
            }
        }
    }

    /// Nobody at work is replaced where fewer would be left than were promised.
    fn check_rollouts(&self, step: &Step<'_>) {
        let by_itself = match step.event {
            Event::Received(_) | Event::ReaderGone | Event::Reread { .. } => false,
            // Some were replaced by the rules of what came, and others by those of what comes back.
            _any if step.notices().any(|notice| matches!(notice, Notice::NotDeployed { .. })) => false,
            Event::Requested { request, .. } => {
                matches!(request.verb, Verb::Restart { manner: Manner::Rolling, .. })
                    && self.course == Course::Up
            }
            _other => self.course == Course::Up && !Ledger::changes_places(step),
        };
        let replaced = |action: &Action| match action {
            Action::Stop { slot, target: Whom::Leader | Whom::Group, .. } => {
                let life = self.lives.get(slot).filter(|life| life.stage == Stage::Led)?;
                let (count, _) = *self.counts.get(&slot.type_index)?;
                // Who is one too many ends when all others are ready.
                let at_work = life.pulse.condemned.is_none() && life.pulse.is_ready(self.woken_before);
                (at_work && slot.number <= count).then_some(slot.type_index)
            }
            _other => None,
        };
        let types: BTreeSet<usize> = step.actions.iter().filter_map(replaced).filter(|_| by_itself).collect();
        for type_index in types {
            assert!(step.rolling.contains(&type_index), "nobody asked for that: {:?}", step.actions);
            let member = step.rules.editions[type_index].last().expect("an edition");
            let (count, _) = self.counts[&type_index];
            // What was promised was promised of so many as there were to be until now.
            let count = self.grown.get(&type_index).map_or(count, |before| count.min(*before));
            let stuck_above = self.stuck_above(type_index, count);
            let surges = member.surge == Surge::Possible && Ledger::surge(member, stuck_above, count) > 0;
            let away = member.policy.rollout.max_unavailable;
            let away = if surges { away } else { away.max(1) };
            let own = |key: SlotKey| self.places.get(&key).copied().unwrap_or_default();
            let keys = (1..=count).map(|number| SlotKey { type_index, number });
            let stuck = |key: &SlotKey| self.lives.get(key).is_some_and(|life| life.stuck.is_some());
            let desired =
                keys.filter(|key| !own(*key).held && own(*key).verdict.is_none() && !stuck(key)).count();
            // Who is new counts when it has been ready for a while.
            let rolled = self.rolled.get(&type_index).copied().unwrap_or(0);
            let patience = member.policy.rollout.min_ready;
            let counts = |life: &Life| {
                let since = life.pulse.ready_since(step.now);
                // Who was found unwell in the same step was not when that was decided.
                (life.works() || life.pulse.condemned == Some(step.now))
                    && since.is_some_and(|since| life.instance.0 <= rolled || since + patience <= step.now)
            };
            let of_type =
                self.lives.range(SlotKey { type_index, number: 1 }..).map(|(key, life)| (*key, life));
            let of_type = of_type.take_while(|(key, _)| key.type_index == type_index);
            let at_work = of_type.filter(|(_, life)| counts(life)).count();
            let completed = |(key, place): &(&SlotKey, &super::Place)| {
                key.type_index == type_index
                    && key.number > count
                    && !place.held
                    && place.verdict == Some(Rest::Completed)
            };
            let ready = at_work + self.places.iter().filter(completed).count();
            assert!(ready + away as usize >= desired, "{ready} of {desired} ready, {away} may be away");
        }
    }

    /// The supervisor's own view against this one.
    #[allow(clippy::too_many_lines, reason = "one rule after the other")]
    pub(super) fn check_state(&mut self, step: &Step<'_>, supervisor: &Supervisor) {
        for action in step.actions {
            if let Action::Revert { type_index, edition } = action {
                self.begin_anew(step, *type_index, *edition);
            }
        }
        self.fail_again(step);
        self.check_rollouts(step);
        if !step.rolling.is_empty() {
            self.note_surge(supervisor);
        }
        let deadline = supervisor.deadline();
        if self.course == Course::Over {
            assert_eq!(deadline, None, "nothing follows the exit");
            return;
        }
        if *step.event == Event::Woke {
            let spawned = step.actions.iter().any(|action| matches!(action, Action::Spawn { .. }));
            let later = deadline.is_none_or(|deadline| deadline > step.now);
            // What came of it may have to be looked at once more.
            let goes_on = !step.actions.is_empty() && self.looks < MOST_LOOKS;
            assert!(later || spawned || goes_on, "woken at {} for nothing: {deadline:?}", step.now);
            if spawned {
                self.looks = 0;
            }
        }
        if !self.looks_at_all() {
            return;
        }
        let mut running = 0;
        let mut resting = 0;
        for (key, slot) in supervisor.slots() {
            let phase = slot.phase();
            match (self.lives.get_mut(&key), phase) {
                (Some(life), Phase::Lost) => {
                    let Course::Ending { since, .. } = self.course else { panic!("lost, and nothing ends") };
                    let waited = life.stuck.is_some_and(|stuck| stuck.max(since) + STUCK_AFTER <= step.now);
                    assert!(waited, "lost too soon: {life:?}");
                    life.waits = Waits::NoMore;
                }
                (live, phase) => assert_eq!(live.map(|life| life.instance), phase.instance(), "{phase:?}"),
            }
            let verdict = match phase {
                Phase::Completed => Some(Rest::Completed),
                Phase::Failed => Some(Rest::Failed),
                _ => None,
            };
            let place = *self.place(key);
            assert_eq!(place.verdict, verdict, "what a slot came to is said: {phase:?}");
            match (self.course, phase) {
                (Course::Up, Phase::Stopped) if place.held => resting += 1,
                (Course::Up, Phase::Stopped | Phase::Lost | Phase::Leaving { .. })
                | (
                    Course::Ending { .. },
                    Phase::Waiting
                    | Phase::Needing { .. }
                    | Phase::Pending { .. }
                    | Phase::Backoff { .. }
                    | Phase::Running { .. },
                ) => {
                    panic!("{phase:?} while {:?}", self.course)
                }
                (Course::Up, Phase::Running { .. }) => {
                    running += 1;
                    let life = self.lives.get(&key).expect("it runs");
                    let (count, _) = self.counts.get(&key.type_index).copied().unwrap_or((0, Says::Plan));
                    let is_wanted = key.number <= count
                        || step.rolling.contains(&key.type_index)
                        || self.one_offs == Some(key.type_index);
                    assert!(is_wanted, "{key:?} runs, and there shall be {count}");
                    assert!(!slot.is_ready() || life.pulse.is_ready(step.now), "{key:?} {phase:?}: {life:?}");
                    assert!(slot.is_ready() || !life.pulse.said_ready(), "{key:?} {phase:?}: {life:?}");
                    assert!(!life.pulse.is_unwell(), "{key:?} is to be ended: {life:?}");
                }
                (
                    Course::Up,
                    Phase::Waiting
                    | Phase::Completed
                    | Phase::Failed
                    | Phase::Stuck { .. }
                    | Phase::Starting { .. },
                ) => {
                    resting += 1;
                }
                (Course::Up | Course::Ending { .. } | Course::Over, _) => {}
            }
        }
        let phases = supervisor.slots().map(|(_, slot)| slot.phase().deadline());
        let next = phases.flatten().min();
        let rolls = !step.rolling.is_empty() && deadline.is_some_and(|at| next.is_none_or(|next| at <= next));
        assert!(deadline == next || rolls, "the agenda knows every deadline: {deadline:?} and {next:?}");
        if self.course == Course::Up && deadline.is_none() {
            let wanted: u32 = self.counts.values().map(|(count, _)| *count).sum();
            let surplus = supervisor.slots().filter(|(key, _)| {
                self.counts.get(&key.type_index).is_none_or(|(count, _)| key.number > *count)
            });
            let wanted = wanted as usize + surplus.count();
            assert_eq!(running + resting, wanted, "when quiet, what should run runs");
        }
    }
}

fn phase_of(supervisor: &Supervisor, key: SlotKey) -> &Phase {
    let mut slots = supervisor.slots();
    // One that was there for a while only may be gone.
    slots.find(|(other, _)| *other == key).map_or(&Phase::Stopped, |(_, slot)| slot.phase())
}
