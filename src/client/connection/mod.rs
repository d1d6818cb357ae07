//! A conversation with the supervisor: HTTP/1.1 and JSON over its socket.
//!
//! It is found by [`search`], trusted by [`link`], and what can go wrong is a [`Trouble`].

mod link;
mod search;
mod trouble;

use std::future::Future;
use std::io;
use std::num::NonZeroI32;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use self::link::Link;
use crate::api::Health;

pub use self::search::Whereabouts;
pub(super) use self::trouble::Trouble;

/// For how long a supervisor may think about what it can answer at once: one that is stopped by SIGSTOP, or on a machine
/// that is out of memory, is better named than waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a line that belongs to an answer may come after it: they take different ways.
const LATE_LINES: Duration = Duration::from_secs(1);

/// A conversation with one supervisor.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    /// Where its socket is.
    pub(super) socket: PathBuf,
    /// Whose process it is.
    user: u32,
    /// Its pid, where it can be seen from here.
    pub(super) pid: Option<NonZeroI32>,
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When it has been accepted.
    Accepted,
    /// When it has happened.
    Happened,
}

/// Whether what was asked for has happened, by the word of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It will.
    Accepted,
    /// It has.
    Happened,
}

/// Whether a line is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Yes.
    More,
    /// Not that we know.
    Nothing,
}

impl Connection {
    /// Finds the supervisor and connects to it.
    ///
    /// # Errors
    /// Nobody is there, or not one alone.
    pub(super) fn open(whereabouts: &Whereabouts) -> Result<Connection, Trouble> {
        let Link { stream, socket, user, pid } = search::find(whereabouts)?;
        // A supervisor or a reader that goes away is an error to be told or passed over, not our end.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.map_err(io::Error::from)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(begin(stream))?;
        Ok(Connection { runtime, sender, socket, user, pid })
    }

    /// Asks for something that is known at once; the answer as it is.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub(super) fn get(&mut self, path: &str) -> Result<Vec<u8>, Trouble> {
        let response = self.send(Method::GET, path, Bytes::new(), Some(PATIENCE))?;
        let (status, body) = self.runtime.block_on(whole(response))?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    /// Asks how well everything is; the answer, and as it is.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub(super) fn health(&mut self, path: &str) -> Result<(Health, Vec<u8>), Trouble> {
        let response = self.send(Method::GET, path, Bytes::new(), Some(PATIENCE))?;
        let (status, body) = self.runtime.block_on(whole(response))?;
        match serde_json::from_slice(&body) {
            Ok(health) => Ok((health, body)),
            Err(_) if status.is_success() => read(&body),
            // One that is not well has the status of one that does not answer.
            Err(_) => Err(refusal(status, &body)),
        }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub(super) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &Value,
        wait: Wait,
    ) -> Result<(Progress, T), Trouble> {
        let body = Bytes::from(body.to_string());
        let response = match wait {
            Wait::Accepted => self.send(Method::POST, path, body, Some(PATIENCE))?,
            Wait::Happened => self.send(Method::POST, &format!("{path}?wait=true"), body, None)?,
        };
        self.runtime.block_on(done(response))
    }

    /// Asks for something to be done, and waits until it has happened. Meanwhile each line of `lines`, which goes on and on, is
    /// handed over as it comes: on a connection of its own, which begins before. Where there is none, nothing is handed over.
    ///
    /// # Errors
    /// A refusal, or no answer, or what `hear` says.
    pub(super) fn watch<T: DeserializeOwned>(
        &mut self,
        lines: &str,
        path: &str,
        body: &Value,
        mut hear: impl FnMut(&[u8]) -> io::Result<Expect>,
    ) -> Result<(Progress, T), Trouble> {
        let Connection { runtime, sender, socket, user, .. } = self;
        let beside = Link::new(socket, &[*user]);
        let body = Bytes::from(body.to_string());
        let path = format!("{path}?wait=true");
        runtime.block_on(async {
            let mut lines = match beside {
                Ok(link) => LineByLine::begin(link, lines).await,
                Err(_) => None,
            };
            let mut answer = pin!(async {
                let response = send(sender, Method::POST, &path, body).await?;
                done(response).await
            });
            let mut expect = Expect::Nothing;
            let answer = loop {
                tokio::select! {
                    answer = &mut answer => break answer,
                    line = next(&mut lines), if lines.is_some() => match line {
                        Some(line) => expect = hear(&line)?,
                        None => lines = None,
                    },
                }
            };
            let late = async {
                while expect == Expect::More {
                    let Some(line) = next(&mut lines).await else { break };
                    expect = hear(&line)?;
                }
                Ok::<_, Trouble>(())
            };
            // Whoever has the answer waits no longer for what does not come.
            timeout(LATE_LINES, late).await.unwrap_or(Ok(()))?;
            answer
        })
    }

    /// Hands over an answer of many lines as it comes, until its end.
    ///
    /// # Errors
    /// A refusal, no answer, an answer that breaks off, or what `piece` says.
    pub(super) fn follow(
        &mut self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let response = self.send(Method::GET, path, Bytes::new(), Some(PATIENCE))?;
        if !response.status().is_success() {
            let (status, body) = self.runtime.block_on(whole(response))?;
            return Err(refusal(status, &body));
        }
        let mut body = response.into_body();
        while let Some(frame) = self.runtime.block_on(body.frame()) {
            let frame = frame.map_err(|_| Trouble::Broken("is gone, without having ended".to_owned()))?;
            if let Ok(bytes) = frame.into_data() {
                piece(&bytes)?;
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Option<Duration>,
    ) -> Result<Response<Incoming>, Trouble> {
        let Connection { runtime, sender, .. } = self;
        runtime.block_on(in_time(patience, send(sender, method, path, body)))
    }
}

/// Begins to speak HTTP.
async fn begin(stream: UnixStream) -> Result<SendRequest<Full<Bytes>>, Trouble> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream)?);
    let (sender, connection) = handshake(stream).await.map_err(|error| broken(&error))?;
    // What breaks it is told by the request that it breaks.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, Trouble> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        // RFC 9112 section 3.2 wants one; whose it is has no meaning on a Unix socket.
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| Trouble::Broken(error.to_string()))?;
    sender.ready().await.map_err(|error| broken(&error))?;
    sender.send_request(request).await.map_err(|error| broken(&error))
}

/// The whole of an answer, with its status.
async fn whole(response: Response<Incoming>) -> Result<(StatusCode, Vec<u8>), Trouble> {
    let status = response.status();
    let body = async { response.into_body().collect().await.map_err(|error| broken(&error)) };
    Ok((status, in_time(Some(PATIENCE), body).await?.to_bytes().to_vec()))
}

/// The answer to a request for something to be done; a refusal is an error.
async fn done<T: DeserializeOwned>(response: Response<Incoming>) -> Result<(Progress, T), Trouble> {
    match whole(response).await? {
        (StatusCode::ACCEPTED, body) => Ok((Progress::Accepted, read(&body)?)),
        (status, body) if status.is_success() => Ok((Progress::Happened, read(&body)?)),
        (status, body) => Err(refusal(status, &body)),
    }
}

/// An answer of many lines, line by line.
struct LineByLine {
    body: Incoming,
    /// What was read and not handed over.
    read: Vec<u8>,
    /// The connection lives as long as this does.
    _sender: SendRequest<Full<Bytes>>,
}

impl LineByLine {
    /// Asks for them; `None` where there are none to be had.
    async fn begin(link: Link, path: &str) -> Option<LineByLine> {
        let mut sender = begin(link.stream).await.ok()?;
        let asked = in_time(Some(PATIENCE), send(&mut sender, Method::GET, path, Bytes::new()));
        let response = asked.await.ok().filter(|response| response.status().is_success())?;
        Some(LineByLine { body: response.into_body(), read: Vec::new(), _sender: sender })
    }

    /// The next one; `None` at the end, however it comes. What was read of one is kept where this is given up.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let rest = self.read.split_off(end + 1);
                return Some(std::mem::replace(&mut self.read, rest));
            }
            if let Ok(bytes) = self.body.frame().await?.ok()?.into_data() {
                self.read.extend_from_slice(&bytes);
            }
        }
    }
}

async fn next(lines: &mut Option<LineByLine>) -> Option<Vec<u8>> {
    lines.as_mut()?.next().await
}

/// Reads an answer.
///
/// # Errors
/// It is not what we know: the supervisor is of another version.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| {
        let help = "`supervise --version` has to be the same for both";
        Trouble::Broken(format!("gave an answer that cannot be read: {error}\n  help: {help}"))
    })
}

/// A text as part of a query (RFC 3986 section 2.1).
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

async fn in_time<T>(
    patience: Option<Duration>,
    answer: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    match patience {
        None => answer.await,
        Some(patience) => timeout(patience, answer).await.unwrap_or_else(|_| {
            Err(Trouble::Broken(format!("has not answered for {} seconds", patience.as_secs())))
        }),
    }
}

fn broken(error: &hyper::Error) -> Trouble {
    Trouble::Broken(if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "closed the connection before it had answered".to_owned()
    } else {
        format!("broke the rules of HTTP: {error}")
    })
}

fn refusal(status: StatusCode, body: &[u8]) -> Trouble {
    #[derive(Deserialize)]
    struct Body {
        error: Reason,
    }
    #[derive(Deserialize)]
    struct Reason {
        code: String,
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Body { error: Reason { code, message } }) => Trouble::Refused { code, message },
        Err(_) => Trouble::Broken(format!("answered {status}")),
    }
}
