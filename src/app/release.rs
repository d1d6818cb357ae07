//! A release: everything that is needed to run a formation, resolved and immutable.

use std::path::PathBuf;

use crate::api::{Notice, SlotName, TypeName};

use super::diagnostic::{Diagnostic, Place, did_you_mean};
use super::{Command, Confinement, Environment, Health, Limit, Listen, Origin, Policy, Service, Stderr};

/// What runs: every entry of the Procfile with its count, policy, ports and environment.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its number, `v4`; `dev` for a directory that is run as it is.
    pub id: String,
    /// The keyed hash of its build and config, which two numbers may share; `dev` for a directory that is run as it is.
    pub fingerprint: String,
    /// The Procfile's real path: it names the project. For a release of a store, that of the project it was made from.
    pub procfile: PathBuf,
    /// Where the children run.
    pub root: PathBuf,
    /// Every entry of the Procfile in file order; those not selected have quantity 0.
    pub types: Vec<ProcessType>,
    /// The variables that every process of the app gets, whatever its type.
    pub environment: Environment,
    /// Every backing service that the spec names under `services` or `needs`, with its URL as the app has it.
    pub services: Vec<Service>,
    /// The control socket, where there is one.
    pub control: Option<PathBuf>,
    /// What the user should know before anything starts, in order: the formation, the ports, overridden variables ...
    pub remarks: Vec<Notice>,
}

/// Which release of a store it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number: `v4`.
    pub id: String,
    /// The keyed hash of its build and config.
    pub fingerprint: String,
    /// The real path of the Procfile that the project has.
    pub project: PathBuf,
}

impl Identity {
    /// That of a directory which is run as it is.
    pub(super) fn of_directory(procfile: PathBuf) -> Identity {
        Identity { id: DEV.to_owned(), fingerprint: DEV.to_owned(), project: procfile }
    }
}

/// What is no release of a store.
const DEV: &str = "dev";

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
    /// Types that must be ready, or completed, before they are started.
    pub after: Vec<TypeName>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// What each instance may use as a whole.
    pub confinement: Confinement,
    /// How standard error reaches the stream; `None` where the spec is silent and the format decides.
    pub stderr: Option<Stderr>,
    /// The PORT of slot 1; slot N has N - 1 more. `None` where the type gets none.
    pub port: Option<u16>,
    /// How it is found out how its instances are.
    pub health: Health,
    /// The socket that is handed to each of them.
    pub listen: Option<Listen>,
    /// The backing services that must answer before one is started.
    pub needs: Vec<Service>,
    /// The variables of its instances without the injected ones.
    pub environment: Environment,
}

impl Release {
    /// Everything that an instance in a slot of one of its types gets, the injected variables included; `instance` is
    /// the text that marks this one life.
    #[must_use]
    pub fn environment_of(&self, process_type: &ProcessType, slot: u32, instance: &str) -> Environment {
        let mut environment = self.common_environment(process_type);
        for (name, value) in process_type.own_variables(slot, instance) {
            environment.set(name, value, Origin::Injected);
        }
        environment
    }

    /// What every instance of a type gets alike. [`ProcessType::own_variables`] are stronger.
    #[must_use]
    pub fn common_environment(&self, process_type: &ProcessType) -> Environment {
        let mut environment = self.at_root(process_type.environment.clone());
        environment.set("SUPERVISE_TYPE", process_type.name.as_str(), Origin::Injected);
        environment.set("SUPERVISE_RELEASE_ID", &self.fingerprint, Origin::Injected);
        if process_type.listen.is_some() {
            // LISTEN_PID is the instance's own (sd_listen_fds(3)): only whoever starts it can say that.
            environment.set("LISTEN_FDS", "1", Origin::Injected);
            environment.set("LISTEN_FDNAMES", process_type.name.as_str(), Origin::Injected);
        }
        if let Some(control) = &self.control {
            environment.set("SUPERVISE_CONTROL", control, Origin::Injected);
        }
        environment
    }

    /// What a one-off command gets: that of the app and which release it is; with a type, that type's variables and the PORT
    /// of its first slot.
    #[must_use]
    pub fn one_off_environment(&self, process_type: Option<&ProcessType>) -> Environment {
        let environment = process_type.map_or(&self.environment, |process_type| &process_type.environment);
        let mut environment = self.at_root(environment.clone());
        environment.set("SUPERVISE_RELEASE_ID", &self.fingerprint, Origin::Injected);
        if let Some(port) = process_type.and_then(|process_type| process_type.port) {
            environment.set("PORT", port.to_string(), Origin::Injected);
        }
        environment
    }

    /// Sets PWD, where there is one, to the root, as a shell would (POSIX, `sh`, PWD).
    fn at_root(&self, mut environment: Environment) -> Environment {
        if environment.get("PWD").is_some() {
            environment.set("PWD", &self.root, Origin::Injected);
        }
        environment
    }

    /// The entry that a user names.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn named(&self, name: &str) -> Result<&ProcessType, Diagnostic> {
        let known = self.types.iter().map(|process_type| process_type.name.as_str());
        self.process_type(name).ok_or_else(|| {
            Diagnostic::new(Place::Arguments, format!("there is no process type `{name}`"))
                .with_help(did_you_mean(name, "the Procfile has", known))
        })
    }

    /// The entry of that name.
    #[must_use]
    pub fn process_type(&self, name: &str) -> Option<&ProcessType> {
        self.types.iter().find(|process_type| process_type.name.as_str() == name)
    }
}

impl ProcessType {
    /// What a command that runs once is, beside the formation: it has no PORT, and is asked nothing.
    #[must_use]
    pub fn once(command: Command, environment: Environment) -> ProcessType {
        ProcessType {
            name: TypeName::one_off(),
            command,
            quantity: 0,
            max: None,
            policy: Policy::default(),
            after: Vec::new(),
            limits: Vec::new(),
            confinement: Confinement::default(),
            stderr: None,
            port: None,
            health: Health::default(),
            listen: None,
            needs: Vec::new(),
            environment,
        }
    }

    /// The PORT of a slot, where the type has ports.
    #[must_use]
    pub fn port_of(&self, slot: u32) -> Option<u16> {
        let port = u32::from(self.port?) + slot.checked_sub(1)?;
        u16::try_from(port).ok()
    }

    /// What one instance gets and its sisters do not; `instance` is the text that marks this one life.
    #[must_use]
    pub fn own_variables(&self, slot: u32, instance: &str) -> Vec<(&'static str, String)> {
        let name = SlotName { process_type: self.name.clone(), number: slot };
        let mut own = vec![
            ("PS", name.to_string()),
            ("SUPERVISE_SLOT", slot.to_string()),
            ("SUPERVISE_INSTANCE", instance.to_owned()),
        ];
        own.extend(self.port_of(slot).map(|port| ("PORT", port.to_string())));
        own
    }
}
