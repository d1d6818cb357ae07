//! Everything changes to another release, or nothing does.
//!
//! ```text
//!   Reading --> Phase: its type `release` runs, and nothing else is touched --> Rolling: every type is replaced
//!      |          |                                                               |            | all work
//!      | unusable | it failed                          one does not work: all     |            v
//!      v          v                                    go back to what ran before |        Recording --> deployed
//!   not deployed                            <-------------------------------------+
//! ```
//!
//! A deploy is a reload whose files are a release's, and whose rollouts have one fate.

use crate::api::{ExitReason, InstanceId, LastExit, NotDeployed, Notice, Refusal, TypeName, Will};
use crate::app::RELEASE;

use super::course::Course;
use super::member::Count;
use super::reload::{Reading, Taking};
use super::request::Effects;
use super::rollout::{Back, Outdated, Purpose};
use super::scale::Range;
use super::turnover::Which;
use super::{Action, Goal, Member, Phase, Reread, Slot, SlotKey, Standing, Step, Supervisor, Time, millis};

/// A deploy under way.
#[derive(Clone, Debug)]
pub(super) struct Deploy {
    release: String,
    began: Time,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The release is being read.
    Reading,
    /// Its type `release` runs.
    Phase { types: Vec<Reread>, slot: SlotKey },
    /// Every type is being replaced.
    Rolling { before: Before, failed: Option<Failed> },
    /// That it runs is being written down.
    Recording,
}

/// Which type of the new release does not work, and why.
#[derive(Clone, Debug)]
struct Failed {
    process_type: TypeName,
    reason: String,
}

/// What ran before, to be gone back to.
#[derive(Clone, Debug)]
struct Before {
    release: String,
    order: Vec<usize>,
    types: Vec<Earlier>,
    /// Types that the new release does not have: they run on until it works, unless it needs their PORTs.
    removed: Vec<usize>,
}

/// A type as it was.
#[derive(Clone, Debug)]
struct Earlier {
    type_index: usize,
    edition: usize,
    member: Member,
    /// What to come back to: the same, unless that had not proved itself.
    good: usize,
    count: Count,
    /// What the deploy made of its count.
    deployed: Count,
    /// What the deploy made of its program.
    published: usize,
}

impl Supervisor {
    /// Somebody wants another release to run.
    pub(super) fn deploy(&mut self, step: &mut Step, release: String) -> Result<(), Refusal> {
        self.check_deploying()?;
        if self.reading != Reading::No {
            return Err(Refusal::Busy);
        }
        self.reserve_one_offs(step);
        self.reading = Reading::Once;
        step.order(Action::Prepare { release: release.clone() });
        self.deploy = Some(Deploy { release, began: step.now, stage: Stage::Reading });
        Ok(())
    }

    /// # Errors
    /// One is under way.
    pub(super) fn check_deploying(&self) -> Result<(), Refusal> {
        match &self.deploy {
            Some(Deploy { release, .. }) => Err(Refusal::Deploying { release: release.clone() }),
            None => Ok(()),
        }
    }

    /// Whether what is being read is a release to be deployed.
    pub(super) fn reads_release(&self) -> bool {
        matches!(&self.deploy, Some(Deploy { stage: Stage::Reading, .. }))
    }

    /// It was read.
    pub(super) fn release_read(&mut self, step: &mut Step, types: Vec<Reread>) {
        if let Err(refusal) = self.check_reread(&types) {
            step.order(Action::Discard);
            return self.release_unreadable(step, refusal.to_string());
        }
        let from = self.release().to_owned();
        let Some(deploy) = &self.deploy else { return };
        let release = deploy.release.clone();
        step.announce(Notice::DeployBegan { release: release.clone(), from });
        let up = |(key, slot): &(SlotKey, &Slot)| slot.goal == Goal::Up && !self.is_one_off(*key);
        let replaced: Effects = self.slots().filter(up).map(|(key, _)| (key, Will::Restart)).collect();
        self.deploy_accepted(step, &replaced);
        let phase = types.iter().find(|reread| reread.member.name.as_str() == RELEASE);
        let stage = match phase.map(|reread| reread.member.clone()) {
            Some(member) => {
                let slot = self.rehearse(step, &member);
                step.announce(Notice::ReleasePhase { release, slot: self.name(slot) });
                Stage::Phase { types, slot }
            }
            None => self.begin_rolling(step, types),
        };
        if let Some(deploy) = &mut self.deploy {
            deploy.stage = stage;
        }
    }

    /// It cannot be read.
    pub(super) fn release_unreadable(&mut self, step: &mut Step, errors: String) {
        if let Some(Deploy { release, .. }) = self.deploy.take() {
            self.not_deployed(step, release, NotDeployed::Unusable { errors });
        }
    }

    fn not_deployed(&mut self, step: &mut Step, release: String, why: NotDeployed) {
        step.announce(Notice::NotDeployed { release: release.clone(), why: why.clone() });
        self.deploy_over(step, Err(&Refusal::NotDeployed { release, why }));
    }

    /// Instances of a type do not work: that is the deploy's affair where they are of the new release. Says whether it is.
    pub(super) fn note_turned_back(&mut self, type_index: usize, reason: &str) -> bool {
        let process_type = self.types[type_index].newest().name.clone();
        let Some(Deploy { stage: Stage::Rolling { before, failed }, .. }) = &mut self.deploy else {
            return false;
        };
        if before.removed.contains(&type_index) {
            return false;
        }
        failed.get_or_insert_with(|| Failed { process_type, reason: reason.to_owned() });
        true
    }

    /// An instance has failed for good that had been found to work, while others have yet to prove themselves: the whole
    /// goes back. Says whether it does.
    pub(super) fn note_late_failure(&mut self, key: SlotKey) -> bool {
        let told = format!("{} failed for good", self.name(key));
        let Some(Deploy { stage: Stage::Rolling { before, .. }, .. }) = &self.deploy else { return false };
        let newest = self.types[key.type_index].newest_edition();
        let is_same = |was: &Earlier| was.type_index == key.type_index && was.edition == newest;
        !before.types.iter().any(is_same) && self.note_turned_back(key.type_index, &told)
    }

    /// Whether the end has to wait for a word from outside.
    pub(super) fn is_recording(&self) -> bool {
        matches!(&self.deploy, Some(Deploy { stage: Stage::Recording, .. }))
    }

    /// Takes a deploy as far as it can go now.
    pub(super) fn deploy_on(&mut self, step: &mut Step) {
        if !matches!(self.course, Course::Up { .. }) {
            self.deploy = None;
            return;
        }
        let Some(Deploy { release, began, stage }) = self.deploy.take() else { return };
        let stage = match stage {
            Stage::Phase { types, slot } if self.has_come_to_rest(slot) => {
                // One that was asked to end has not done its work, whatever its code.
                let done = |exit: LastExit| exit.reason == ExitReason::Completed && exit.code == Some(0);
                if !self.slot(slot).last_exit.is_some_and(done) {
                    step.order(Action::Discard);
                    return self.not_deployed(step, release, NotDeployed::Phase { slot: self.name(slot) });
                }
                let stage = self.begin_rolling(step, types);
                self.deploy = Some(Deploy { release, began, stage });
                // Where nobody is to be replaced, nothing else would ever take it on; and where nobody shall be there any
                // more, what was under way before ends first.
                self.roll_on(step, Which::All);
                return self.deploy_on(step);
            }
            Stage::Rolling { before, failed: Some(Failed { process_type, reason }) } => {
                let back = before.release.clone();
                self.not_deployed(step, release, NotDeployed::TurnedBack { process_type, reason, back });
                self.go_back_to(step, before);
                // Nobody comes back to it.
                return step.order(Action::Discard);
            }
            Stage::Rolling { before, failed: None } if !self.any_forward(&before) => {
                if self.judge_again(step, &before) {
                    let stage = Stage::Rolling { before, failed: None };
                    self.deploy = Some(Deploy { release, began, stage });
                    self.roll_on(step, Which::Stirred);
                    // What they come to at once is known now.
                    return self.deploy_on(step);
                }
                self.drop_types(step, &before.removed, &mut Effects::new());
                step.order(Action::Record { release: release.clone() });
                Stage::Recording
            }
            stage @ (Stage::Reading | Stage::Phase { .. } | Stage::Rolling { .. } | Stage::Recording) => {
                stage
            }
        };
        self.deploy = Some(Deploy { release, began, stage });
    }

    /// It was written down that it runs, or could not be.
    pub(super) fn recorded(&mut self, step: &mut Step, error: Option<String>) {
        if !self.is_recording() {
            return;
        }
        let Some(Deploy { release, began, .. }) = self.deploy.take() else { return };
        // First, for who listens until the last word.
        if let Some(error) = error {
            step.announce(Notice::NotRecorded { release: release.clone(), error });
        }
        step.announce(Notice::Deployed { release, took_ms: millis(step.now - began) });
        self.deploy_over(step, Ok(()));
    }

    fn begin_rolling(&mut self, step: &mut Step, types: Vec<Reread>) -> Stage {
        step.rolls = Which::All;
        let release = self.release().to_owned();
        let listed: Vec<usize> = types.iter().map(|reread| reread.type_index).collect();
        let order = self.order.clone();
        let mut removed: Vec<usize> =
            order.iter().copied().filter(|type_index| !listed.contains(type_index)).collect();
        let earlier = |type_index: &usize| {
            let kind = &self.types[*type_index];
            Earlier {
                type_index: *type_index,
                edition: kind.newest_edition(),
                member: kind.newest().clone(),
                good: kind.worked().unwrap_or(kind.newest_edition()),
                count: kind.count,
                deployed: kind.count,
                published: kind.newest_edition(),
            }
        };
        let mut earlier: Vec<Earlier> = order.iter().map(earlier).collect();
        self.take_over(step, types, Taking::Deploy);
        let displaced: Vec<usize> =
            removed.extract_if(.., |gone| self.is_in_the_way(*gone, &listed)).collect();
        self.drop_types(step, &displaced, &mut Effects::new());
        for was in &mut earlier {
            let kind = &self.types[was.type_index];
            (was.deployed, was.published) = (kind.count, kind.newest_edition());
        }
        let before = Before { release, order, types: earlier, removed };
        for type_index in listed {
            match before.way_back(type_index) {
                Some(Back::Nowhere) => {}
                back @ (Some(Back::To(_) | Back::Away) | None) => {
                    let outdated = Outdated::Before(InstanceId(self.next_instance), None);
                    self.judge(step, type_index, back.unwrap_or(Back::Away), outdated);
                }
            }
        }
        Stage::Rolling { before, failed: None }
    }

    /// Whether slots that the new release wants have the PORT of one of a type that it does not have.
    fn is_in_the_way(&self, removed: usize, listed: &[usize]) -> bool {
        let range = |type_index: usize| {
            let kind = &self.types[type_index];
            Range::new(kind.newest(), kind.wanted().max(kind.highest()))
        };
        let Some(held) = range(removed) else { return false };
        listed
            .iter()
            .filter_map(|type_index| range(*type_index))
            .any(|wanted| wanted.check_beside(&held).is_err())
    }

    /// Has the new instances of a type judged though there are no old ones to be replaced.
    fn judge(&mut self, step: &mut Step, type_index: usize, back: Back, outdated: Outdated) {
        let kind = &self.types[type_index];
        if kind.wanted() == 0 || kind.rollout.is_some() {
            return;
        }
        let deadline = step.now + kind.newest().policy.rollout.progress_deadline;
        let purpose = Purpose::Forward { back, failures: 0, last: None, hopeless: false, deadline };
        let instances = kind.wanted();
        self.begin_rollout(step, type_index, outdated, purpose, instances);
    }

    /// Who does not work now though it did, or runs the same as before and never was looked at, is judged before it is said
    /// that everything works. Whether there is such a type.
    fn judge_again(&mut self, step: &mut Step, before: &Before) -> bool {
        let works = |slot: &Slot| {
            slot.goal != Goal::Up
                || slot.is_ready()
                || matches!(slot.phase, Phase::Completed | Phase::Failed | Phase::Stuck { .. })
        };
        let fails = |type_index: &usize| {
            let kind = &self.types[*type_index];
            !before.removed.contains(type_index)
                && (kind.rollout.is_some() || !kind.wanted_slots().all(works))
        };
        let failing: Vec<usize> = self.order.iter().copied().filter(fails).collect();
        for type_index in failing.iter().copied() {
            let outdated = match self.types[type_index].rollout.take() {
                // What is on its way back already goes on to be.
                Some(rollout) => rollout.outdated,
                // Nobody is to be replaced, and everybody is waited for.
                None => Outdated::Before(InstanceId(0), None),
            };
            let back = before.way_back(type_index).unwrap_or(Back::Away);
            self.judge(step, type_index, back, outdated);
        }
        !failing.is_empty()
    }

    /// Whether the new instances of any type have yet to prove themselves.
    fn any_forward(&self, before: &Before) -> bool {
        self.order.iter().any(|type_index| {
            let rollout = self.types[*type_index].rollout.as_ref();
            !before.removed.contains(type_index)
                && rollout.is_some_and(|rollout| matches!(rollout.purpose, Purpose::Forward { .. }))
        })
    }

    /// Whether nothing more becomes of a slot: what survives SIGKILL is not waited for.
    fn has_come_to_rest(&self, key: SlotKey) -> bool {
        let phase = &self.slot(key).phase;
        phase.is_final() || matches!(phase, Phase::Stuck { .. })
    }

    /// What ran before comes back, in every type.
    fn go_back_to(&mut self, step: &mut Step, before: Before) {
        let added: Vec<usize> =
            self.order.iter().copied().filter(|type_index| !before.order.contains(type_index)).collect();
        self.drop_types(step, &added, &mut Effects::new());
        self.order = before.order;
        for was in before.types {
            self.restore(step, was);
        }
        // With the counts of before, fewer may be raised beside them.
        self.roll_on(step, Which::All);
    }

    fn restore(&mut self, step: &mut Step, was: Earlier) {
        let Earlier { type_index, edition, member, good, count, deployed, published } = was;
        let kind = &mut self.types[type_index];
        // It may have been in the way.
        kind.standing = Standing::Listed;
        let quantity = member.quantity;
        if kind.newest_edition() == edition {
            let old = kind.newest().probes;
            kind.amend(member);
            self.amend_conditions(step, type_index, old);
        } else if kind.newest_edition() == published {
            self.supersede(step, type_index);
            self.go_back(step, type_index, good);
        }
        // Where it is another one by now, it was that which did not work, and is on its way back. The files say what they
        // said before.
        let kind = &mut self.types[type_index];
        kind.amend(Member { quantity, ..kind.newest().clone() });
        // What was asked for since then stays as it was asked for.
        if self.types[type_index].count == deployed && count != deployed {
            self.set_count(step, type_index, count, &mut Effects::new());
        }
    }

    /// There are no such types any more.
    pub(super) fn drop_types(&mut self, step: &mut Step, types: &[usize], effects: &mut Effects) {
        for type_index in types.iter().copied() {
            self.order.retain(|listed| *listed != type_index);
            self.types[type_index].standing = Standing::Removed;
            self.supersede(step, type_index);
            self.set_count(step, type_index, Count::Planned(0), effects);
            self.vacate_above(step, type_index, 0);
        }
    }
}

impl Before {
    /// What there is to go back to in a type of the new release; nothing where it is a new one.
    fn way_back(&self, type_index: usize) -> Option<Back> {
        let was = self.types.iter().find(|was| was.type_index == type_index)?;
        Some(if was.published == was.edition { Back::Nowhere } else { Back::To(was.good) })
    }
}
