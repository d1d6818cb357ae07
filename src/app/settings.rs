//! The settings of a process type as somebody gave them: each may be silent, and then the next weaker one speaks.

use std::time::Duration;

use crate::api::{Signal, TypeName};

use super::probes::Probes;
use super::{Backoff, Confinement, Leftovers, Limit, Listen, Policy, Restart, Rollout, Stderr, StopScope};

/// One type's own settings, the `defaults` of the spec, or what flags say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How many.
    pub quantity: Option<u32>,
    /// How many at most.
    pub max: Option<u32>,
    /// When an instance that ended is started again.
    pub restart: Option<Restart>,
    /// Before the restart after the second failure of a streak.
    pub backoff_first: Option<Duration>,
    /// The longest wait.
    pub backoff_max: Option<Duration>,
    /// An instance that ran so long ends the streak.
    pub backoff_reset_after: Option<Duration>,
    /// After so many failures in a row the slot has failed.
    pub backoff_give_up_after: Option<u32>,
    /// Whether its final failure ends the formation.
    pub essential: Option<bool>,
    /// From the stop signal to SIGKILL.
    pub drain: Option<Duration>,
    /// What asks an instance to end.
    pub stop_signal: Option<Signal>,
    /// Who gets it first.
    pub stop_scope: Option<StopScope>,
    /// What becomes of descendants that outlive the leader.
    pub leftovers: Option<Leftovers>,
    /// Variables, in file order.
    pub env: Vec<(String, String)>,
    /// The PORT.
    pub port: Option<Port>,
    /// Resource limits, one for each resource.
    pub limits: Vec<Limit>,
    /// Limits of an instance as a whole.
    pub confinement: Confinement,
    /// How standard error reaches the stream.
    pub stderr: Option<Stderr>,
    /// How it is found out how its instances are.
    pub health: Probes,
    /// The socket that is handed to each of them; a relative path begins at the root.
    pub listen: Option<Listen>,
    /// So many more than wanted, while they are replaced.
    pub rollout_max_surge: Option<u32>,
    /// So many fewer ready ones.
    pub rollout_max_unavailable: Option<u32>,
    /// A new one counts when it has been ready for so long.
    pub rollout_min_ready: Option<Duration>,
    /// So long without progress, and it is turned back.
    pub rollout_progress_deadline: Option<Duration>,
    /// The variables of the backing services that must answer first.
    pub needs: Option<Vec<String>>,
    /// Types that must be ready, or completed, first.
    pub after: Option<Vec<TypeName>>,
}

/// The key `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// `false`: none.
    None,
    /// A number: the base.
    Base(u16),
}

impl Settings {
    /// These where they speak, `weaker` where they are silent. Variables are not settings: `env` stays this one's own.
    #[must_use]
    pub fn or(&self, weaker: &Settings) -> Settings {
        let mut limits = self.limits.clone();
        let silent = |limit: &&Limit| self.limits.iter().all(|own| own.resource != limit.resource);
        limits.extend(weaker.limits.iter().filter(silent));
        Settings {
            quantity: self.quantity.or(weaker.quantity),
            max: self.max.or(weaker.max),
            restart: self.restart.or(weaker.restart),
            backoff_first: self.backoff_first.or(weaker.backoff_first),
            backoff_max: self.backoff_max.or(weaker.backoff_max),
            backoff_reset_after: self.backoff_reset_after.or(weaker.backoff_reset_after),
            backoff_give_up_after: self.backoff_give_up_after.or(weaker.backoff_give_up_after),
            essential: self.essential.or(weaker.essential),
            drain: self.drain.or(weaker.drain),
            stop_signal: self.stop_signal.or(weaker.stop_signal),
            stop_scope: self.stop_scope.or(weaker.stop_scope),
            leftovers: self.leftovers.or(weaker.leftovers),
            env: self.env.clone(),
            port: self.port.or(weaker.port),
            limits,
            confinement: self.confinement.or(&weaker.confinement),
            stderr: self.stderr.or(weaker.stderr),
            health: self.health.or(&weaker.health),
            listen: self.listen.clone().or_else(|| weaker.listen.clone()),
            rollout_max_surge: self.rollout_max_surge.or(weaker.rollout_max_surge),
            rollout_max_unavailable: self.rollout_max_unavailable.or(weaker.rollout_max_unavailable),
            rollout_min_ready: self.rollout_min_ready.or(weaker.rollout_min_ready),
            rollout_progress_deadline: self.rollout_progress_deadline.or(weaker.rollout_progress_deadline),
            needs: self.needs.clone().or_else(|| weaker.needs.clone()),
            after: self.after.clone().or_else(|| weaker.after.clone()),
        }
    }

    /// What holds for a type of this name where nobody said anything.
    #[must_use]
    pub fn built_in(name: &TypeName) -> Settings {
        Settings {
            quantity: Some(1),
            // Two of these would do every job twice.
            max: matches!(name.as_str(), "beat" | "clock" | "scheduler").then_some(1),
            // A web process that exits has not completed anything.
            restart: (name.as_str() == "web").then_some(Restart::Always),
            ..Settings::default()
        }
    }

    /// The policy they make, with the built-in default for what is silent.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let default = Policy::default();
        Policy {
            restart: self.restart.unwrap_or(if self.serves() { Restart::Always } else { default.restart }),
            backoff: Backoff {
                first: self.backoff_first.unwrap_or(default.backoff.first),
                max: self.backoff_max.unwrap_or(default.backoff.max),
                reset_after: self.backoff_reset_after.unwrap_or(default.backoff.reset_after),
                give_up_after: self.backoff_give_up_after.unwrap_or(default.backoff.give_up_after),
            },
            essential: self.essential.unwrap_or(default.essential),
            drain: self.drain.unwrap_or(default.drain),
            stop_signal: self.stop_signal.unwrap_or(default.stop_signal),
            stop_scope: self.stop_scope.unwrap_or(default.stop_scope),
            leftovers: self.leftovers.unwrap_or(default.leftovers),
            rollout: Rollout {
                max_surge: self.rollout_max_surge.unwrap_or(default.rollout.max_surge),
                max_unavailable: self.rollout_max_unavailable.unwrap_or(default.rollout.max_unavailable),
                min_ready: self.rollout_min_ready.unwrap_or(default.rollout.min_ready),
                progress_deadline: self
                    .rollout_progress_deadline
                    .unwrap_or(default.rollout.progress_deadline),
            },
        }
    }

    /// Whether somebody expects an instance to be there: then it has not completed anything when it exits.
    fn serves(&self) -> bool {
        self.listen.is_some() || self.health.any()
    }
}
