//! Deploys and one-off commands, in the books: what may be touched when, what holds when it is said that a release runs
//! everywhere, and what comes back where it does not.

use std::collections::{BTreeMap, BTreeSet};

use supervise::api::{ExitStatus, NotDeployed, Notice, Refusal, TypeName, Verb};
use supervise::app::{Policy, RELEASE, Restart};
use supervise::supervisor::{
    Action, Event, FoundBy, Member, Phase, Probes, Reread, SlotKey, Staged, Supervisor, Surge,
};

use super::{Course, Ledger, Rules, Says, Step};

/// A deploy under way.
#[derive(Clone, Debug)]
pub(super) struct Deploying {
    release: String,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Reading,
    /// The edition of its release phase, and how that ended by itself.
    Phase {
        edition: usize,
        ended: Option<ExitStatus>,
    },
    Rolling(Before),
    Recording,
}

/// What ran before, and what the deploy made of it.
#[derive(Clone, Debug)]
struct Before {
    release: String,
    counts: BTreeMap<usize, (u32, Says)>,
    planned: BTreeMap<usize, u32>,
    /// Types that the release does not have, and those of them that had to make room.
    removed: BTreeSet<usize>,
    /// Types whose count somebody has asked for since.
    scaled: BTreeSet<usize>,
    listed: BTreeSet<usize>,
}

/// What holds for a one-off command, with the rules of a type or the built-in ones.
pub(super) fn one_off(like: Option<&Member>) -> Member {
    let policy = like.map_or_else(Policy::default, |member| member.policy.clone());
    Member {
        name: TypeName::one_off(),
        release: String::new(),
        quantity: 0,
        max: None,
        policy: Policy { restart: Restart::Never, essential: false, ..policy },
        after: Vec::new(),
        first_port: None,
        surge: Surge::Possible,
        probes: Probes::default(),
        needs: Vec::new(),
        found_by: FoundBy::Us,
    }
}

impl Ledger {
    /// The command that is staged.
    pub(super) fn staged_member(&self, rules: &Rules, staged: Staged, event: &Event) -> Member {
        match staged {
            Staged::ReleasePhase => {
                let types = self.candidate.as_ref().expect("it was read");
                let phase = types.iter().find(|reread| reread.member.name.as_str() == RELEASE);
                let phase = &phase.expect("it has a release phase").member;
                Member { needs: phase.needs.clone(), ..one_off(Some(phase)) }
            }
            Staged::Asked(asked) => {
                let Event::Requested { id, request } = event else {
                    panic!("{asked:?} is staged when it is asked for")
                };
                assert_eq!(*id, asked);
                let Verb::Run { process_type } = &request.verb else {
                    panic!("only who asks for a command gets one")
                };
                let named =
                    |name: &TypeName| rules.editions.iter().find(|editions| editions[0].name == *name);
                let like = process_type.as_ref().and_then(named).and_then(|editions| editions.last());
                one_off(like)
            }
        }
    }

    /// What is ordered in the course of a deploy, in order, before anything else is looked at.
    pub(super) fn check_deploys(&mut self, step: &Step<'_>) {
        for action in step.actions {
            match action {
                Action::Prepare { release } => {
                    assert!(self.deploying.is_none(), "one deploy at once");
                    assert_eq!(self.course, Course::Up, "none begins once the end has begun");
                    self.deploying = Some(Deploying { release: release.clone(), stage: Stage::Reading });
                }
                Action::Reread => {
                    assert!(self.deploying.is_none(), "no file is read while a release is deployed");
                }
                Action::Reserve { type_index } => {
                    assert_eq!(self.one_offs.replace(*type_index), None, "one type is for commands");
                    self.known.insert(*type_index, BTreeSet::from([0]));
                }
                Action::Stage { type_index, edition, staged } => {
                    assert_eq!(Some(*type_index), self.one_offs);
                    assert_eq!(self.course, Course::Up, "no command begins once the end has begun");
                    self.known.entry(*type_index).or_default().insert(*edition);
                    self.staged.insert(*edition);
                    if *staged == Staged::ReleasePhase {
                        let deploying = self.deploying.as_mut().expect("a deploy has a release phase");
                        assert!(matches!(deploying.stage, Stage::Reading), "and one of it: {deploying:?}");
                        deploying.stage = Stage::Phase { edition: *edition, ended: None };
                    }
                }
                Action::Adopt { .. } => self.begin_rolling(step),
                Action::Discard => {
                    let was_read =
                        self.candidate.take().is_some() || matches!(step.event, Event::Reread { .. });
                    assert!(was_read || step.goes_back(), "what was read is discarded");
                }
                Action::Record { release } => {
                    let deploying = self.deploying.as_mut().expect("what is deployed is recorded");
                    assert_eq!(deploying.release, *release);
                    assert_eq!(self.course, Course::Up, "nothing is recorded once the end has begun");
                }
                _other => {}
            }
        }
    }

    /// Nothing was touched until now: the release phase is over, and well.
    fn begin_rolling(&mut self, step: &Step<'_>) {
        let Some(Deploying { stage, .. }) = &mut self.deploying else { return };
        let types = self.candidate.as_ref().expect("it was read");
        let has_phase = types.iter().any(|reread| reread.member.name.as_str() == RELEASE);
        match stage {
            Stage::Reading => assert!(!has_phase, "its release phase comes first"),
            Stage::Phase { ended, .. } => {
                assert_eq!(*ended, Some(ExitStatus::Code(0)), "its release phase ends well");
            }
            Stage::Rolling(_) | Stage::Recording => panic!("adopted twice"),
        }
        let listed: BTreeSet<usize> = types.iter().map(|reread| reread.type_index).collect();
        let before: BTreeSet<usize> = self.counts.keys().copied().collect();
        let of_type = |type_index: &usize| {
            // What was adopted is the newest by now.
            let same = types.iter().any(|reread| {
                reread.type_index == *type_index && reread.program == supervise::supervisor::Program::Same
            });
            let editions = &step.rules.editions[*type_index];
            let before =
                if listed.contains(type_index) && !same { editions.len() - 2 } else { editions.len() - 1 };
            editions[before].release.clone()
        };
        *stage = Stage::Rolling(Before {
            release: before.iter().map(of_type).next().unwrap_or_default(),
            counts: self.counts.clone(),
            planned: self.planned.clone(),
            removed: before.difference(&listed).copied().collect(),
            scaled: BTreeSet::new(),
            listed,
        });
    }

    /// Whether a type that the release does not have runs on until it works: unless it is in the way.
    pub(super) fn runs_on(&mut self, type_index: usize, types: &[Reread], rules: &Rules) -> bool {
        let Some(Deploying { stage: Stage::Rolling(_), .. }) = &self.deploying else { return false };
        let highest = |of: usize, count: u32| {
            let alive = self.lives.keys().filter(|key| key.type_index == of).map(|key| key.number).max();
            count.max(alive.unwrap_or(0))
        };
        let range = |member: &Member, of: usize, count: u32| {
            let first = u32::from(member.first_port?);
            let count = highest(of, count);
            (count > 0).then(|| (first, first + count - 1))
        };
        let gone = rules.editions[type_index].last().expect("an edition");
        let count = self.counts[&type_index].0;
        let Some((low, high)) = range(gone, type_index, count) else { return true };
        !types.iter().any(|reread| {
            let wanted = self.wanted_after(reread);
            range(&reread.member, reread.type_index, wanted)
                .is_some_and(|(first, last)| first <= high && low <= last)
        })
    }

    /// Somebody asked for these counts.
    pub(super) fn note_scaled(&mut self, types: impl Iterator<Item = usize>) {
        if let Some(Deploying { stage: Stage::Rolling(before), .. }) = &mut self.deploying {
            before.scaled.extend(types);
        }
    }

    /// A command has begun: that was its one time.
    pub(super) fn has_run(&mut self, slot: SlotKey, edition: usize) {
        if self.one_offs == Some(slot.type_index) {
            assert!(self.staged.remove(&edition), "a command runs once");
        }
    }

    /// A leader has ended; by itself, where it says how.
    pub(super) fn note_phase_end(&mut self, slot: SlotKey, edition: usize, status: Option<ExitStatus>) {
        if let Some(Deploying { stage: Stage::Phase { edition: own, ended }, .. }) = &mut self.deploying
            && self.one_offs == Some(slot.type_index)
            && edition == *own
        {
            *ended = status;
        }
    }

    pub(super) fn is_recording(&self) -> bool {
        matches!(&self.deploying, Some(Deploying { stage: Stage::Recording, .. }))
    }

    /// Whether slots change places in this step, because their PORTs have: nobody can wait for the others then.
    pub(super) fn changes_places(step: &Step<'_>) -> bool {
        step.actions.iter().any(|action| match action {
            Action::Adopt { .. } => true,
            Action::Revert { type_index, .. } => Ledger::moves(step.rules, *type_index),
            _other => false,
        })
    }

    /// Whether the newest edition of a type has other PORTs than the one before it.
    pub(super) fn moves(rules: &Rules, type_index: usize) -> bool {
        let editions = &rules.editions[type_index];
        let port = |back: usize| editions[editions.len() - back].first_port;
        port(1).is_some() && port(2).is_some() && port(1) != port(2)
    }

    /// What is said of how a deploy has ended: what follows in the same step is held against that.
    pub(super) fn note_verdict(&mut self, step: &Step<'_>, notice: &Notice) {
        match notice {
            Notice::NotDeployed { why, release } => {
                let deploying = self.deploying.take().expect("what was not deployed was to be");
                assert_eq!(deploying.release, *release);
                match (why, deploying.stage) {
                    (NotDeployed::Unusable { .. }, Stage::Reading) => {}
                    (NotDeployed::Phase { .. }, Stage::Phase { ended, .. }) => {
                        assert_ne!(ended, Some(ExitStatus::Code(0)), "its release phase ended well");
                    }
                    (NotDeployed::TurnedBack { .. }, Stage::Rolling(before)) => self.bring_back(before),
                    (why, stage) => panic!("{why:?} in {stage:?}"),
                }
            }
            Notice::Deployed { .. } => {
                let over = self.deploying.take();
                let is_recorded = matches!(over, Some(Deploying { stage: Stage::Recording, .. }));
                assert!(is_recorded, "it is recorded first: {over:?}");
                assert!(matches!(step.event, Event::Recorded { .. }));
            }
            _ => {}
        }
    }

    /// What comes of a deploy.
    pub(super) fn note_deploy(&mut self, step: &Step<'_>) {
        if let Event::Requested { id, request } = step.event
            && matches!(request.verb, Verb::Deploy { .. })
        {
            let began = step.actions.iter().any(|action| matches!(action, Action::Prepare { .. }));
            let refused = step.actions.iter().any(|action| {
                matches!(action, Action::Reply { id: other, answer: Err(Refusal::Deploying { .. } | Refusal::Busy | Refusal::ShuttingDown) } if other == id)
            });
            assert!(
                began != refused || step.course == Course::Over,
                "it begins or is refused: {:?}",
                step.actions
            );
        }
        if let Some(deploying) = &mut self.deploying
            && step.actions.iter().any(|action| matches!(action, Action::Record { .. }))
        {
            let recording = std::mem::replace(&mut deploying.stage, Stage::Recording);
            let Stage::Rolling(before) = recording else { panic!("recorded in {recording:?}") };
            for type_index in before.removed {
                self.take_away(type_index);
            }
        }
        if self.course != Course::Up {
            self.deploying = None;
        }
    }

    fn take_away(&mut self, type_index: usize) {
        if self.counts.contains_key(&type_index) {
            self.set_count(type_index, 0, Says::Plan);
            self.counts.remove(&type_index);
        }
    }

    /// Counts as they were, unless somebody has asked for others since; types as they were.
    fn bring_back(&mut self, before: Before) {
        let added: Vec<usize> =
            before.listed.iter().filter(|index| !before.counts.contains_key(index)).copied().collect();
        for type_index in added {
            self.take_away(type_index);
        }
        for (type_index, (count, says)) in before.counts {
            let now = self.counts.get(&type_index).copied();
            if now.is_none() {
                self.counts.insert(type_index, (0, Says::Plan));
            }
            self.grown.insert(type_index, now.map_or(0, |(count, _)| count));
            if now.is_none() || !before.scaled.contains(&type_index) {
                self.set_count(type_index, count, says);
            }
        }
        for (type_index, quantity) in before.planned {
            self.planned.insert(type_index, quantity);
        }
        self.back_to = Some(before.release);
    }

    /// What holds when it is said that a release runs everywhere, and when everything goes back.
    pub(super) fn check_deployed(&mut self, step: &Step<'_>, supervisor: &Supervisor) {
        if let Some(release) = self.back_to.take() {
            for type_index in self.counts.keys() {
                let newest = step.rules.editions[*type_index].last().expect("an edition");
                assert_eq!(newest.release, release, "type {type_index} goes back");
            }
        }
        for action in step.actions {
            let Action::Record { release } = action else { continue };
            for (key, slot) in supervisor.slots() {
                let Some((count, _)) = self.counts.get(&key.type_index) else { continue };
                if key.number > *count || self.place(key).held {
                    continue;
                }
                let same = matches!(slot.phase(), Phase::Completed | Phase::Stuck { .. } | Phase::Failed);
                // Who was found unwell in the same step was not when that was decided.
                let unwell = self.lives.get(&key).and_then(|life| life.pulse.condemned);
                let same = same || unwell == Some(step.now);
                assert!(same || slot.is_ready(), "{key:?} does not work: {:?}", slot.phase());
                if let Some(life) = self.lives.get(&key).filter(|life| life.stuck.is_none()) {
                    let runs = &step.rules.member(key, life.edition).release;
                    assert_eq!(runs, release, "{key:?} runs another release");
                }
            }
        }
    }
}
