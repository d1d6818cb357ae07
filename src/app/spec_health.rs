//! The key `health` of the spec.

use std::time::Duration;

use crate::api::ProbeKind;

use super::probes::{Draft, Probes, Question};
use super::reader::Reader;
use super::spot::Spot;
use super::trail::Entry;
use super::yaml::Kind;
use super::{Command, Timing};

const PROBES: [&str; 3] = ["startup", "readiness", "liveness"];

/// What can be asked.
const QUESTIONS: [&str; 4] = ["http", "tcp", "exec", "notify"];

const KEYS: [&str; 10] = [
    "http",
    "tcp",
    "exec",
    "notify",
    "port",
    "initial_delay",
    "period",
    "timeout",
    "success_threshold",
    "failure_threshold",
];

impl<'a> Reader<'a> {
    /// The probes, and where each of them stands.
    pub(super) fn health(&mut self, owner: &Entry<'a>) -> (Probes, Vec<(ProbeKind, Spot)>) {
        let mut probes = Probes::default();
        let mut spots = Vec::new();
        for entry in self.mapping(&owner.trail, owner.value) {
            let (kind, probe) = match entry.trail.name() {
                "startup" => (ProbeKind::Startup, &mut probes.startup),
                "readiness" => (ProbeKind::Readiness, &mut probes.readiness),
                "liveness" => (ProbeKind::Liveness, &mut probes.liveness),
                _ => {
                    self.unknown_key(&entry, &PROBES);
                    continue;
                }
            };
            *probe = self.probe(kind, &entry);
            spots.push((kind, self.spot(&entry)));
        }
        (probes, spots)
    }

    fn probe(&mut self, kind: ProbeKind, owner: &Entry<'a>) -> Option<Draft> {
        match owner.value.kind {
            Kind::Bool(false) => return Some(Draft::Off),
            Kind::Null
            | Kind::Bool(true)
            | Kind::Number(_)
            | Kind::OtherNumber
            | Kind::Text(_)
            | Kind::Sequence(_)
            | Kind::Tagged => {
                self.wrong(owner, "is a map, as in `{ http: /health }`, or `false` for none");
                return None;
            }
            Kind::Mapping(_) => {}
        }
        let found_before = self.errors.len();
        let entries = self.mapping(&owner.trail, owner.value);
        let mut asked: Option<&Entry<'_>> = None;
        let mut port = None;
        let mut timing = Timing::default();
        for entry in &entries {
            let set = |field: &mut Duration, value: Option<Duration>| *field = value.unwrap_or(*field);
            match entry.trail.name() {
                name if QUESTIONS.contains(&name) => match asked {
                    None => asked = Some(entry),
                    Some(first) => {
                        let reason =
                            format!("a probe asks one thing, and here is `{}` too", first.trail.name());
                        self.fault(entry, entry.key, reason);
                    }
                },
                "port" => port = self.number_of_port(entry).map(|port| (port, entry)),
                "initial_delay" => set(&mut timing.initial_delay, self.duration(entry)),
                "period" => set(&mut timing.period, self.some_time(entry)),
                "timeout" => set(&mut timing.timeout, self.some_time(entry)),
                "success_threshold" => {
                    timing.success_threshold =
                        self.successes(kind, entry).unwrap_or(timing.success_threshold);
                }
                "failure_threshold" => {
                    let count = self.positive(entry);
                    timing.failure_threshold = count.unwrap_or(timing.failure_threshold);
                }
                _ => self.unknown_key(entry, &KEYS),
            }
        }
        let Some(asked) = asked else {
            if self.errors.len() > found_before {
                // What is wrong may be what should be asked.
                return None;
            }
            let reason =
                "asks nothing: `http: /path`, `tcp: true`, `exec: command` or `notify: true` is missing";
            self.fault(owner, owner.value, reason);
            return None;
        };
        let question = self.question(kind, asked, port)?;
        if let Some(timeout) = entries.iter().find(|entry| entry.trail.name() == "timeout")
            && question == Question::Notify
        {
            let reason = "with `notify` nobody is asked who could be late: `period` x `failure_threshold` is how long it \
                          may keep silent";
            self.fault(timeout, timeout.key, reason);
        }
        Some(Draft::On { question, timing })
    }

    fn question(
        &mut self,
        kind: ProbeKind,
        asked: &Entry<'a>,
        port: Option<(u16, &Entry<'a>)>,
    ) -> Option<Question> {
        let number = port.map(|(number, _)| number);
        let question = match asked.trail.name() {
            "http" => Question::Http { path: self.http_path(asked)?, port: number },
            "tcp" => self.is_true(asked, Question::Tcp { port: number })?,
            "exec" => Question::Exec { command: self.probe_command(asked)? },
            _ => self.is_true(asked, Question::Notify)?,
        };
        let portless = match &question {
            Question::Http { .. } | Question::Tcp { .. } => false,
            Question::Exec { .. } | Question::Notify => true,
        };
        if let Some((_, port)) = port
            && portless
        {
            let reason =
                format!("only `http` and `tcp` have a port, and this asks with `{}`", asked.trail.name());
            self.fault(port, port.key, reason);
        }
        if question == Question::Notify && kind == ProbeKind::Readiness {
            let reason = "an instance says once that it is ready, which is `startup: { notify: true }`; for readiness it is \
                          asked again and again";
            self.fault(asked, asked.key, reason);
            return None;
        }
        Some(question)
    }

    fn is_true(&mut self, entry: &Entry<'a>, question: Question) -> Option<Question> {
        if entry.value.kind == Kind::Bool(true) {
            return Some(question);
        }
        let is = match entry.value.kind {
            Kind::Number(_) => "is `true`, and the port stands beside it, as in `{ tcp: true, port: 8080 }`",
            Kind::Null
            | Kind::Bool(_)
            | Kind::OtherNumber
            | Kind::Text(_)
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => {
                "is `true`; leave the key out, or the whole probe, where it should not be asked"
            }
        };
        self.wrong(entry, is);
        None
    }

    fn http_path(&mut self, entry: &Entry<'a>) -> Option<String> {
        let Kind::Text(path) = &entry.value.kind else {
            self.wrong(
                entry,
                "is a path, and the port stands beside it, as in `{ http: /health, port: 8080 }`",
            );
            return None;
        };
        if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.wrong(entry, "is a path without blanks and control characters: write `%20` for a blank");
            return None;
        }
        if !path.starts_with('/') {
            self.wrong(
                entry,
                "is a path that begins with `/`: 127.0.0.1 is asked, on the `port` of the probe or PORT",
            );
            return None;
        }
        Some(path.clone())
    }

    fn probe_command(&mut self, entry: &Entry<'a>) -> Option<Command> {
        let Kind::Text(text) = &entry.value.kind else {
            self.wrong(entry, "is a command in one text, as in a Procfile");
            return None;
        };
        let text = text.trim();
        if text.is_empty() || text.contains('\0') {
            let reason = if text.is_empty() { "the command is empty" } else { "a NUL byte is in no command" };
            self.fault(entry, entry.value, reason);
            return None;
        }
        Some(Command::new(text.as_bytes().to_vec()))
    }

    fn number_of_port(&mut self, entry: &Entry<'a>) -> Option<u16> {
        let port = Self::port_number(entry.value);
        if port.is_none() {
            self.wrong(entry, "is a number from 1 to 65535: the port of slot 1, slot N has N - 1 more");
        }
        port
    }

    fn successes(&mut self, kind: ProbeKind, entry: &Entry<'a>) -> Option<u32> {
        let count = self.positive(entry)?;
        match kind {
            ProbeKind::Startup | ProbeKind::Liveness if count != 1 => {
                let reason = format!("is 1 for {kind}: only readiness is lost and won again");
                self.fault(entry, entry.value, reason);
                None
            }
            ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness => Some(count),
        }
    }

    fn positive(&mut self, entry: &Entry<'a>) -> Option<u32> {
        let count = self.count(entry)?;
        if count == 0 {
            self.fault(entry, entry.value, "is 1 or more");
            return None;
        }
        Some(count)
    }
}
