//! Backing services: asks one whether it answers, in its own protocol.
//!
//! A file a protocol, each as much of it as shows that a client would be served, and no client library. An asking ends
//! within [`LIMIT`], reads little, and never keeps the loop waiting. What it says is in our own words: a server may repeat
//! what it was sent, and so nothing of what it says is passed on but numbers. User, password and query of a URL are in no
//! answer, and nothing that holds them can be printed.
//!
//! ```text
//!   Service --> url --> wire --> postgres redis ... --> Finding --> Missing        before a start
//!               where    a connection     whether        |    '---> ServiceStatus  for who looks
//!                                                        '-- kept a second by survey
//! ```
//!
//! TLS is not spoken: where a scheme wants it from the first byte (`rediss`, `amqps`, `https`, `smtps`), a service answers
//! when it takes a connection; `PostgreSQL`, where TLS is begun later, is asked as far as that goes.

mod amqp;
mod http;
mod memcached;
mod mysql;
mod nats;
mod postgres;
mod redis;
mod scram;
mod smtp;
mod sqlite;
mod survey;
mod tcp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod url;
mod wire;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use url::{Protocol, Url};

pub(super) use survey::Survey;

/// How long one asking takes at most, the look-up of the host's name and everything else together.
const LIMIT: Duration = Duration::from_secs(5);

/// Where it took longer.
const SILENCE: &str = "no answer within 5s";

/// That a service answers, in a word or two, or why it does not.
type Verdict = Result<Why, Why>;

/// A few words, none of them a secret and none of them a server's.
type Why = Cow<'static, str>;

/// What was found out about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// `redis`.
    kind: &'static str,
    /// `localhost:6379`, or a directory; nothing where its URL is none.
    host: String,
    verdict: Verdict,
    took: Duration,
}

impl Finding {
    /// `redis at localhost:6379`.
    fn place(&self) -> String {
        if self.host.is_empty() { self.kind.to_owned() } else { format!("{} at {}", self.kind, self.host) }
    }
}

/// Asks the service of that URL; the path of a file begins at `root`.
async fn ask(url: &str, root: &Path) -> Finding {
    let begin = Instant::now();
    let finding = |kind, host, verdict| Finding { kind, host, verdict, took: begin.elapsed() };
    let url = match Url::parse(url) {
        Ok(url) => url,
        Err(why) => return finding("somewhere", String::new(), Err(why)),
    };
    let host = match url.protocol {
        Protocol::Sqlite => sqlite::host(&url, root),
        _ => url.host(),
    };
    let verdict = timeout(LIMIT, ask_in_protocol(&url, root)).await.unwrap_or_else(|_| Err(SILENCE.into()));
    finding(url.kind, host, verdict)
}

async fn ask_in_protocol(url: &Url, root: &Path) -> Verdict {
    match url.protocol {
        Protocol::Postgres => postgres::ask(url).await,
        Protocol::Redis => redis::ask(url).await,
        Protocol::Mysql => mysql::ask(url).await,
        Protocol::Amqp => amqp::ask(url).await,
        Protocol::Nats => nats::ask(url).await,
        Protocol::Memcached => memcached::ask(url).await,
        Protocol::Smtp => smtp::ask(url).await,
        Protocol::Http => http::ask(url).await,
        Protocol::Sqlite => sqlite::ask(url, root).await,
        Protocol::Tcp => tcp::ask(url).await,
    }
}

/// It serves.
const ANSWERS: Verdict = Ok(Cow::Borrowed("answers"));

/// It is there, and speaks only inside TLS.
const ANSWERS_IN_TLS: Verdict = Ok(Cow::Borrowed("answers, and wants TLS"));

/// It is there, and has no place at the moment: those who have one are served.
const ANSWERS_FULL: Verdict = Ok(Cow::Borrowed("answers, with too many connections"));

const WRONG_PASSWORD: &str = "wrong password";
const STARTING_UP: &str = "starting up";
const NOT_ALLOWED: &str = "not allowed in";
const NO_DATABASE: &str = "no such database";

/// What [`super::bare`] reads of a URL: its hosts, as people are told.
pub(super) fn host_of(text: &str) -> Result<String, String> {
    Url::parse(text).map(|url| url.host()).map_err(Why::into_owned)
}

/// What [`super::bare`] reads of an answer, in each protocol that has a reader of its own.
pub(super) fn conclusions(answer: &[u8]) -> Vec<String> {
    let verdict = |verdict: Verdict| verdict.unwrap_or_else(|why| why).into_owned();
    let mut said = vec![verdict(redis::read(answer)), verdict(mysql::refusal(answer, Some(b"x")))];
    said.extend(mysql::is_greeting(answer).then(|| "speaks mysql".to_owned()));
    said.extend(http::status(answer).map(|status| format!("answered {status}")));
    said
}
