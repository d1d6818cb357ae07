//! What may be asked by HTTP, and how: from method, path, query and body to something typed, or to an error with its
//! status. Nothing here does anything.

use std::fmt;

use hyper::{Method, StatusCode};
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::super::edition::OneOff;
use crate::api::{
    Change, HealthQuestion, Manner, Refusal, Request, Signal, Target, TypeName, Verb, When, parse_duration,
};

/// Every path, and what it can be asked.
const ROUTES: [(&str, &[(Method, Resource)]); 19] = [
    ("/v1/processes", &[(Method::GET, Resource::Processes)]),
    ("/v1/services", &[(Method::GET, Resource::Services)]),
    ("/v1/formation", &[(Method::GET, Resource::Formation), (Method::POST, Resource::Scale)]),
    ("/v1/restart", &[(Method::POST, Resource::Restart)]),
    ("/v1/stop", &[(Method::POST, Resource::Stop)]),
    ("/v1/signal", &[(Method::POST, Resource::Signal)]),
    ("/v1/reload", &[(Method::POST, Resource::Reload)]),
    ("/v1/deploy", &[(Method::POST, Resource::Deploy)]),
    ("/v1/run", &[(Method::POST, Resource::Run)]),
    ("/v1/shutdown", &[(Method::POST, Resource::Shutdown)]),
    ("/v1/logs", &[(Method::GET, Resource::Logs)]),
    ("/v1/events", &[(Method::GET, Resource::Events)]),
    ("/v1/health", &[(Method::GET, Resource::Health)]),
    ("/health/live", &[(Method::GET, Resource::HealthOf(HealthQuestion::Live))]),
    ("/health/ready", &[(Method::GET, Resource::HealthOf(HealthQuestion::Ready))]),
    ("/health/startup", &[(Method::GET, Resource::HealthOf(HealthQuestion::Startup))]),
    ("/metrics", &[(Method::GET, Resource::Metrics)]),
    ("/v1/openapi.json", &[(Method::GET, Resource::OpenApi)]),
    ("/v1/version", &[(Method::GET, Resource::Version)]),
];

/// More releases than this nobody makes.
const RELEASE_DIGITS: usize = 9;

/// Targets in one request.
const TARGETS: usize = 100;

/// Something that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Processes,
    Services,
    Formation,
    Scale,
    Restart,
    Stop,
    Signal,
    Reload,
    Deploy,
    Run,
    Shutdown,
    Logs,
    Events,
    Health,
    HealthOf(HealthQuestion),
    Metrics,
    OpenApi,
    Version,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// How everything is.
    Processes,
    /// Whether the backing services answer.
    Services,
    /// What the formation is meant to be.
    Formation,
    /// Something to be done.
    Request(Request),
    /// A command to be run once.
    Run { command: OneOff, answer: When },
    /// Lines of these targets; of all where nobody is named.
    Logs { targets: Vec<Target>, last: Option<usize>, follow: Follow },
    /// Notices.
    Events { last: Option<usize>, follow: Follow },
    /// How well everything is.
    Health(HealthQuestion),
    /// What there is to count, for Prometheus.
    Metrics,
    /// What may be asked.
    OpenApi,
    /// Who answers.
    Version,
}

/// Whether what comes later is wanted as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Yes,
    No,
}

/// Why there is no better answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// One word for programs.
    pub(super) code: &'static str,
    /// The sentence.
    pub(super) message: String,
    /// What may be done instead, where the method was wrong.
    pub(super) allow: Option<String>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Fault {
        Fault { status, code, message: message.into(), allow: None }
    }

    fn bad_request(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Whoever asks has to say that it may.
    pub(super) fn unauthorized(message: &str) -> Fault {
        Fault::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The body of the answer.
    pub(super) fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Outer<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'a str,
            message: &'a str,
        }
        let error = Outer { error: Inner { code: self.code, message: &self.message } };
        // Two strings can always be written.
        serde_json::to_vec(&error).expect("text is JSON")
    }
}

impl From<&Refusal> for Fault {
    fn from(refusal: &Refusal) -> Fault {
        let status = match refusal {
            Refusal::UnknownProcessType { .. } | Refusal::UnknownTarget { .. } => StatusCode::NOT_FOUND,
            Refusal::ShuttingDown
            | Refusal::Busy
            | Refusal::Deploying { .. }
            | Refusal::NotDeployed { .. }
            | Refusal::NotRunning { .. }
            | Refusal::TurnedBack { .. }
            | Refusal::Superseded { .. } => StatusCode::CONFLICT,
            Refusal::OverMax { .. }
            | Refusal::BelowZero { .. }
            | Refusal::PortClash { .. }
            | Refusal::PortTooHigh { .. }
            | Refusal::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Fault::new(status, refusal.code(), refusal.to_string())
    }
}

/// What is asked.
///
/// # Errors
/// 404 and 405.
pub(super) fn resource(method: &Method, path: &str) -> Result<Resource, Fault> {
    let Some((_, methods)) = ROUTES.iter().find(|(known, _)| *known == path) else {
        let message = "there is nothing of that path; GET /v1/openapi.json tells what there is";
        return Err(Fault::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    // RFC 9110 section 9.3.2: as GET, without the body, which is not sent.
    let meant = if *method == Method::HEAD { &Method::GET } else { method };
    if let Some((_, resource)) = methods.iter().find(|(known, _)| known == meant) {
        return Ok(*resource);
    }
    let by_get = methods.iter().any(|(method, _)| *method == Method::GET);
    let head = by_get.then_some(&Method::HEAD);
    let allow = methods.iter().map(|(method, _)| method).chain(head);
    let allow = allow.map(Method::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("`{path}` takes {allow}");
    Err(Fault {
        allow: Some(allow),
        ..Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    })
}

/// Every method of every path.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (Method, &'static str)> {
    ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |(method, _)| (method.clone(), *path)))
}

/// How it is asked.
///
/// # Errors
/// 400.
pub(super) fn read(resource: Resource, query: &str, body: &[u8]) -> Result<Wanted, Fault> {
    let mut query = Query::parse(query)?;
    let wanted = match resource {
        Resource::Processes => {
            nothing(body)?;
            Wanted::Processes
        }
        Resource::Services => {
            nothing(body)?;
            Wanted::Services
        }
        Resource::Formation => {
            nothing(body)?;
            Wanted::Formation
        }
        Resource::OpenApi => {
            nothing(body)?;
            Wanted::OpenApi
        }
        Resource::Version => {
            nothing(body)?;
            Wanted::Version
        }
        Resource::Health => {
            nothing(body)?;
            Wanted::Health(query.health()?)
        }
        Resource::HealthOf(question) => {
            nothing(body)?;
            Wanted::Health(question)
        }
        Resource::Metrics => {
            nothing(body)?;
            Wanted::Metrics
        }
        Resource::Logs => {
            nothing(body)?;
            let targets = query.all("target").iter().map(|text| text.parse()).collect::<Result<_, String>>();
            let targets = few(targets.map_err(Fault::bad_request)?)?;
            Wanted::Logs { targets, last: query.number("n")?, follow: query.follow()? }
        }
        Resource::Events => {
            nothing(body)?;
            Wanted::Events { last: query.number("n")?, follow: query.follow()? }
        }
        Resource::Scale => {
            let Counts(changes) = json(body)?;
            if changes.is_empty() {
                return Err(Fault::bad_request("name at least one type: {\"web\":6,\"worker\":\"+2\"}"));
            }
            Wanted::Request(Request { verb: Verb::Scale { changes }, answer: query.answer()? })
        }
        Resource::Restart => {
            let RestartBody { targets, rolling, wait } = json_or_nothing(body)?;
            let manner = if rolling { Manner::Rolling } else { Manner::AtOnce };
            request(Verb::Restart { targets: few(targets)?, manner }, wait, &mut query)?
        }
        Resource::Stop => {
            let StopBody { targets, wait } = json_or_nothing(body)?;
            request(Verb::Stop { targets: few(targets)? }, wait, &mut query)?
        }
        Resource::Signal => {
            let SignalBody { signal, targets, wait } = json(body)?;
            request(Verb::Signal { signal, targets: few(targets)? }, wait, &mut query)?
        }
        Resource::Reload => {
            let ReloadBody { wait } = json_or_nothing(body)?;
            request(Verb::Reload, wait, &mut query)?
        }
        Resource::Deploy => {
            let DeployBody { release, wait } = json(body)?;
            let number = release.strip_prefix('v').filter(|number| is_digits(number));
            if number.is_none_or(|number| number.len() > RELEASE_DIGITS || number.starts_with('0')) {
                return Err(Fault::bad_request("`release`: a release is called v1, v2 and so on"));
            }
            request(Verb::Deploy { release }, wait, &mut query)?
        }
        Resource::Run => {
            let RunBody { command, process_type, wait } = run_body(body)?;
            let command = one_off(command, process_type)?;
            Wanted::Run { command, answer: when(wait, &mut query)? }
        }
        Resource::Shutdown => {
            let ShutdownBody { drain, wait } = json_or_nothing(body)?;
            let drain = drain.map(|text| parse_duration(&text)).transpose();
            let drain = drain.map_err(|reason| Fault::bad_request(format!("`drain`: {reason}")))?;
            request(Verb::Shutdown { drain }, wait, &mut query)?
        }
    };
    query.nothing_else()?;
    Ok(wanted)
}

/// # Errors
/// More than [`TARGETS`]: each is held against every slot, by the loop, which has other things to do.
fn few(targets: Vec<Target>) -> Result<Vec<Target>, Fault> {
    if targets.len() <= TARGETS {
        return Ok(targets);
    }
    let message = format!("{} targets are too many: name at most {TARGETS}, or a pattern", targets.len());
    Err(Fault::bad_request(message))
}

fn request(verb: Verb, wait: bool, query: &mut Query) -> Result<Wanted, Fault> {
    Ok(Wanted::Request(Request { verb, answer: when(wait, query)? }))
}

fn when(wait: bool, query: &mut Query) -> Result<When, Fault> {
    let answer = if wait { When::Happened } else { When::Accepted };
    Ok(match query.answer()? {
        When::Happened => When::Happened,
        When::Accepted => answer,
    })
}

/// New counts in the order in which they were written.
struct Counts(Vec<(String, Change)>);

/// A count (`6`), or a difference (`"+2"`, `"-1"`).
struct Count(Change);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RestartBody {
    targets: Vec<Target>,
    rolling: bool,
    wait: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StopBody {
    targets: Vec<Target>,
    wait: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalBody {
    signal: Signal,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    wait: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReloadBody {
    wait: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployBody {
    release: String,
    #[serde(default)]
    wait: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunBody {
    #[serde(deserialize_with = "given")]
    command: Option<Vec<String>>,
    #[serde(rename = "type", deserialize_with = "given")]
    process_type: Option<TypeName>,
    wait: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ShutdownBody {
    #[serde(deserialize_with = "given")]
    drain: Option<String>,
    wait: bool,
}

/// Something, and not `null`: what may be left out is left out.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counts, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counts by type")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
                let mut changes: Vec<(String, Change)> = Vec::new();
                while let Some((name, Count(change))) = map.next_entry::<String, Count>()? {
                    if changes.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format!("`{name}` is there twice")));
                    }
                    changes.push((name, change));
                }
                Ok(Counts(changes))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count like 6, or a difference like \"+2\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Count, E> {
                let count = u32::try_from(count).map_err(|_| E::custom("a count is at most 4294967295"))?;
                Ok(Count(Change::To(count)))
            }

            // `6.0` is as good a whole number as `6` (JSON Schema, validation section 6.1.1).
            fn visit_f64<E: de::Error>(self, count: f64) -> Result<Count, E> {
                let whole = count.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&count);
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it was looked at"
                )]
                let to = whole.then_some(Count(Change::To(count as u32)));
                to.ok_or_else(|| E::invalid_value(de::Unexpected::Float(count), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                let digits = text.strip_prefix(['+', '-']).filter(|digits| is_digits(digits));
                let by = digits.and_then(|_| text.parse().ok());
                by.map(|by| Count(Change::By(by)))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What serde says would quote a word, which may be a secret.
fn run_body(body: &[u8]) -> Result<RunBody, Fault> {
    let shape = "the body: `command`, a list of texts, or `type`, a process type; and `wait`";
    json(body).map_err(|_| Fault::bad_request(shape))
}

fn one_off(command: Option<Vec<String>>, process_type: Option<TypeName>) -> Result<OneOff, Fault> {
    match (command, process_type) {
        (Some(words), None) if words.is_empty() => {
            Err(Fault::bad_request("`command`: the words of a command; there are none"))
        }
        (Some(words), None) if words.iter().any(|word| word.contains('\0')) => {
            Err(Fault::bad_request("`command`: no word can have a NUL"))
        }
        (Some(words), None) => Ok(OneOff::Words(words.into_iter().map(String::into_bytes).collect())),
        (None, Some(process_type)) => Ok(OneOff::Of(process_type)),
        (Some(_), Some(_)) | (None, None) => {
            let message = "name a `command`, as a list of words, or a `type`, whose command runs";
            Err(Fault::bad_request(message))
        }
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    if body.trim_ascii().is_empty() {
        return Err(Fault::bad_request("a JSON object is missing in the body"));
    }
    // An object is wanted everywhere, but serde would take a list of its fields as well.
    if body.trim_ascii().first() != Some(&b'{') {
        return Err(Fault::bad_request("the body is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Fault::bad_request(format!("the body: {error}")))
}

fn json_or_nothing<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Fault> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { json(body) }
}

fn nothing(body: &[u8]) -> Result<(), Fault> {
    if body.is_empty() { Ok(()) } else { Err(Fault::bad_request("a GET takes no body")) }
}

/// What stands behind the question mark, decoded; what is read is taken out.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Query, Fault> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Query)
    }

    fn all(&mut self, wanted: &str) -> Vec<String> {
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name == wanted);
        self.0 = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    fn one(&mut self, wanted: &str) -> Result<Option<String>, Fault> {
        let mut found = self.all(wanted);
        if found.len() > 1 {
            return Err(Fault::bad_request(format!("`{wanted}` is there {} times", found.len())));
        }
        Ok(found.pop())
    }

    fn flag(&mut self, name: &str) -> Result<bool, Fault> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Fault::bad_request(format!("`{name}` is true or false, not `{other}`"))),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<usize>, Fault> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        // More than can be counted is more than there is.
        let number = is_digits(&text).then(|| text.parse().unwrap_or(usize::MAX));
        number.map(Some).ok_or_else(|| Fault::bad_request(format!("`{name}` is a number, not `{text}`")))
    }

    fn follow(&mut self) -> Result<Follow, Fault> {
        Ok(if self.flag("follow")? { Follow::Yes } else { Follow::No })
    }

    fn answer(&mut self) -> Result<When, Fault> {
        Ok(if self.flag("wait")? { When::Happened } else { When::Accepted })
    }

    fn health(&mut self) -> Result<HealthQuestion, Fault> {
        match self.one("check")?.as_deref() {
            None | Some("ready") => Ok(HealthQuestion::Ready),
            Some("live") => Ok(HealthQuestion::Live),
            Some("startup") => Ok(HealthQuestion::Startup),
            Some(other) => {
                Err(Fault::bad_request(format!("`check` is live, ready or startup, not `{other}`")))
            }
        }
    }

    fn nothing_else(self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Fault::bad_request(format!("there is no parameter `{name}` here"))),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `%41+b` is `A b` (the URL standard, application/x-www-form-urlencoded).
fn decode(text: &str) -> Result<String, Fault> {
    let bad = || Fault::bad_request("the query is not encoded as it should be: `%` and two digits, UTF-8");
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
                u8::try_from(high * 16 + low).map_err(|_| bad())?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| bad())
}
