//! The probes as a spec gives them, each of which may be silent, and the [`Health`] that they make.

use std::ops::RangeInclusive;

use crate::api::{ProbeKind, TypeName};

use super::{Check, Command, Health, Listen, Probe, Timing};

/// The key `health`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    /// Whether it has started.
    pub startup: Option<Draft>,
    /// Whether it may be sent work.
    pub readiness: Option<Draft>,
    /// Whether it still lives.
    pub liveness: Option<Draft>,
}

/// One probe, as a spec gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    /// `false`: there is none, whatever `defaults` say.
    Off,
    /// There is one.
    On {
        /// What is asked.
        question: Question,
        /// When.
        timing: Timing,
    },
}

/// What is asked; the port is not known before those of all types are.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// `http`.
    Http {
        /// The path, with its query.
        path: String,
        /// For slot 1; silent: the type's PORT.
        port: Option<u16>,
    },
    /// `tcp`.
    Tcp {
        /// For slot 1; silent: the type's PORT.
        port: Option<u16>,
    },
    /// `exec`.
    Exec {
        /// What is executed.
        command: Command,
    },
    /// `notify`.
    Notify,
}

impl Probes {
    /// These where they speak, `weaker` where they are silent.
    #[must_use]
    pub fn or(&self, weaker: &Probes) -> Probes {
        let or = |own: &Option<Draft>, weaker: &Option<Draft>| own.clone().or_else(|| weaker.clone());
        Probes {
            startup: or(&self.startup, &weaker.startup),
            readiness: or(&self.readiness, &weaker.readiness),
            liveness: or(&self.liveness, &weaker.liveness),
        }
    }

    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        [&self.startup, &self.readiness, &self.liveness]
            .into_iter()
            .flatten()
            .any(|draft| matches!(draft, Draft::On { .. }))
    }
}

/// What the ports of a type's probes follow from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    /// The type.
    pub(super) name: &'a TypeName,
    /// The PORT of slot 1.
    pub(super) port: Option<u16>,
    /// The socket that all of its instances share.
    pub(super) listen: Option<&'a Listen>,
    /// How many slots there may be, those that are there only during a rollout included.
    pub(super) slots: u32,
}

/// A probe that cannot be: why, and the way out.
#[derive(Debug)]
pub(super) struct Impossible {
    pub(super) probe: ProbeKind,
    pub(super) reason: String,
    pub(super) help: String,
}

/// The probes of a type, without those that cannot be.
pub(super) fn resolve(probes: &Probes, ground: Ground<'_>) -> (Health, Vec<Impossible>) {
    let mut impossible = Vec::new();
    let mut resolve = |probe, draft: &Option<Draft>| {
        let Some(Draft::On { question, timing }) = draft else { return None };
        match question.check(ground) {
            Ok(check) => Some(Probe { check, timing: *timing }),
            Err((reason, help)) => {
                impossible.push(Impossible { probe, reason, help });
                None
            }
        }
    };
    let health = Health {
        startup: resolve(ProbeKind::Startup, &probes.startup),
        readiness: resolve(ProbeKind::Readiness, &probes.readiness),
        liveness: resolve(ProbeKind::Liveness, &probes.liveness),
    };
    (health, impossible)
}

impl Question {
    fn check(&self, ground: Ground<'_>) -> Result<Check, (String, String)> {
        Ok(match self {
            Question::Http { path, port } => {
                Check::Http { path: path.clone(), first_port: ground.first_port("http", *port)? }
            }
            Question::Tcp { port } => Check::Tcp { first_port: ground.first_port("tcp", *port)? },
            Question::Exec { command } => Check::Exec { command: command.clone() },
            Question::Notify => Check::Notify,
        })
    }
}

impl Ground<'_> {
    fn first_port(&self, word: &str, own: Option<u16>) -> Result<u16, (String, String)> {
        let name = self.name;
        let first = match (own, self.listen, self.port) {
            (Some(port), _, _) => port,
            (None, Some(listen), _) => {
                return Err((
                    format!(
                        "`{word}` would be asked of {listen}, which all of `{name}` share: any of them would answer"
                    ),
                    "give the probe a `port` on which each instance answers for itself, or ask with `exec`"
                        .to_owned(),
                ));
            }
            (None, None, Some(port)) => port,
            (None, None, None) => {
                return Err((
                    format!("`{word}` needs a port, and `{name}` has no PORT"),
                    "give the probe a `port`: that of slot 1, slot N has N - 1 more".to_owned(),
                ));
            }
        };
        let ports = self.ports(first);
        if *ports.end() > u32::from(u16::MAX) {
            let reason = format!("slot {} would be asked on port {}, above 65535", self.slots, ports.end());
            return Err((reason, "begin lower: slot N has N - 1 more than slot 1".to_owned()));
        }
        match self.listen.and_then(Listen::port) {
            Some(shared) if ports.contains(&u32::from(shared)) => Err((
                format!("the {}, and {shared} is the socket that all of `{name}` share", told(&ports)),
                "begin elsewhere: slot N has N - 1 more than slot 1, and a rollout may add slots".to_owned(),
            )),
            Some(_) | None => Ok(first),
        }
    }

    fn ports(&self, first: u16) -> RangeInclusive<u32> {
        u32::from(first)..=u32::from(first).saturating_add(self.slots.max(1) - 1)
    }
}

fn told(ports: &RangeInclusive<u32>) -> String {
    if ports.start() == ports.end() {
        format!("port is {}", ports.start())
    } else {
        format!("ports are {} to {}", ports.start(), ports.end())
    }
}
