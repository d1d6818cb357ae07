//! A release: everything that is needed to run a formation, resolved and immutable.

use std::path::PathBuf;

use crate::api::{Notice, TypeName};

use super::{Command, Environment, Limit, Policy, Stderr};

/// What runs: every entry of the Procfile with its count, policy, ports and environment.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its number; `dev` for a directory that is run as it is.
    pub id: String,
    /// The Procfile's real path: it names the project.
    pub procfile: PathBuf,
    /// Where the children run.
    pub root: PathBuf,
    /// Every entry of the Procfile in file order; those not selected have quantity 0.
    pub types: Vec<ProcessType>,
    /// What the user should know before anything starts, in order: the formation, the ports, overridden variables ...
    pub remarks: Vec<Notice>,
}

/// One entry of the Procfile, resolved.
#[derive(Clone, Debug)]
pub struct ProcessType {
    /// Its name.
    pub name: TypeName,
    /// What its instances execute.
    pub command: Command,
    /// How many should run.
    pub quantity: u32,
    /// How many may run at most, where there is a limit.
    pub max: Option<u32>,
    /// How they are kept and stopped.
    pub policy: Policy,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// How standard error reaches the stream; `None` where the spec is silent and the format decides.
    pub stderr: Option<Stderr>,
    /// The PORT of slot 1; slot N has N - 1 more. `None` where the type gets none.
    pub port: Option<u16>,
    /// The variables of its instances without the injected ones.
    pub environment: Environment,
}

impl ProcessType {
    /// The PORT of a slot, where the type has ports.
    #[must_use]
    pub fn port_of(&self, slot: u32) -> Option<u16> {
        let port = u32::from(self.port?) + slot.checked_sub(1)?;
        u16::try_from(port).ok()
    }
}
