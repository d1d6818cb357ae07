//! Answers one request: reads it, asks the loop or the history, and writes what they say.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::api::{Answer as Decision, Refusal, Services, SlotName, Status, Target, When};
use crate::stream::{Reader, What};

use super::super::Fact;
use super::follow::Lines;
use super::hall::{Manner, Seat, Standing};
use super::routes::{self, Fault, Follow, Wanted};
use super::server::Server;
use super::{Asked, Look, health, metrics};

/// An answer: all of it at once, or lines as they come.
pub(super) type Answer = Response<Either<Full<Bytes>, Lines>>;

/// What may be asked, for programs.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// A body's size in bytes.
pub(super) const BODY_BYTES: usize = 64 * 1024;

/// A body must be there so long after its headers.
pub(super) const BODY_TIME: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";

/// One JSON value a line.
const NDJSON: &str = "application/x-ndjson";

/// Answers a request.
pub(super) async fn answer(server: &Server, seat: &Rc<Seat>, request: Request<Incoming>) -> Answer {
    let answer = try_answer(server, seat, request).await.unwrap_or_else(|fault| refuse(&fault));
    match answer.body() {
        Either::Left(_) => seat.sits(Manner::Idle),
        // Its body stands for as long as it takes.
        Either::Right(_) => {}
    }
    answer
}

async fn try_answer(server: &Server, seat: &Rc<Seat>, request: Request<Incoming>) -> Result<Answer, Fault> {
    let (request, body) = request.into_parts();
    // Read in any case: what follows on the connection may be the next request.
    let body = read_body(body).await;
    let resource = routes::resource(&request.method, request.uri.path())?;
    server.gate(seat.entrance()).map_or(Ok(()), |gate| gate.check(&request))?;
    let wanted = routes::read(resource, request.uri.query().unwrap_or_default(), &body?)?;
    // From now on somebody waits for us.
    seat.sits(Manner::Busy);
    match wanted {
        Wanted::OpenApi => Ok(written(StatusCode::OK, OPENAPI)),
        Wanted::Version => Ok(json(StatusCode::OK, &Ourselves::new())),
        Wanted::Processes => {
            let mut status = status(server).await?;
            server.usage.add_to(&mut status).await;
            Ok(json(StatusCode::OK, &status))
        }
        Wanted::Services => {
            let services = ask(server, |reply| Asked::Services { reply }).await?;
            Ok(json(StatusCode::OK, &Services { schema: Services::SCHEMA, services }))
        }
        Wanted::Health(question) => {
            let health = health::health(server, question).await;
            let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok(json(status, &health))
        }
        Wanted::Metrics => {
            let mut counts = ask(server, |reply| Asked::Look(Look::Counts(reply))).await?;
            server.usage.add_to(&mut counts.status).await;
            let spent = server.spent.add(&counts.status.processes);
            let said = server.history.said();
            let mut answer = written(StatusCode::OK, metrics::text(&counts, &said, &spent));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            Ok(answer)
        }
        Wanted::Formation => Ok(json(StatusCode::OK, &status(server).await?.formation)),
        Wanted::Request(request) => {
            change(server, seat, request.answer, |reply| Asked::Request { request, reply }).await
        }
        Wanted::Run { command, answer } => {
            change(server, seat, answer, |reply| Asked::Run { command, answer, reply }).await
        }
        Wanted::Logs { targets, last, follow } => {
            let standing = stand(server, seat)?;
            known(&targets, server).await?;
            Ok(lines(server, What::Logs, targets, last, follow, standing))
        }
        Wanted::Events { last, follow } => {
            Ok(lines(server, What::Events, Vec::new(), last, follow, stand(server, seat)?))
        }
    }
}

/// Asks the loop for a change; who waits until it has happened has a standing place meanwhile.
async fn change(
    server: &Server,
    seat: &Rc<Seat>,
    answer: When,
    asked: impl FnOnce(oneshot::Sender<Decision>) -> Asked,
) -> Result<Answer, Fault> {
    let (ok, _standing) = match answer {
        When::Accepted => (StatusCode::ACCEPTED, None),
        When::Happened => (StatusCode::OK, Some(stand(server, seat)?)),
    };
    let answer = ask(server, asked).await?;
    answer.map(|accepted| json(ok, &accepted)).map_err(|refusal| Fault::from(&refusal))
}

async fn read_body(body: Incoming) -> Result<Bytes, Fault> {
    let too_large = || {
        let message = format!("a body has at most {BODY_BYTES} bytes");
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(Fault::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body: {error}")))
        }
        Err(_) => {
            let message = format!("the body was not there within {} s", BODY_TIME.as_secs());
            Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
        }
    }
}

async fn status(server: &Server) -> Result<Status, Fault> {
    ask(server, |reply| Asked::Look(Look::Status(reply))).await
}

/// Asks the loop. It always answers, unless it has ended.
pub(super) fn ask<T>(
    server: &Server,
    asked: impl FnOnce(oneshot::Sender<T>) -> Asked,
) -> impl Future<Output = Result<T, Fault>> {
    let (reply, answer) = oneshot::channel();
    let asked = Fact::Asked(asked(reply));
    async {
        let sent = server.facts.send(asked).await;
        let answer = if sent.is_ok() { answer.await.ok() } else { None };
        answer.ok_or_else(|| Fault::from(&Refusal::ShuttingDown))
    }
}

/// # Errors
/// A target that means nobody. Slots that are gone, or may come, are meant: what they said is kept, or will be.
async fn known(targets: &[Target], server: &Server) -> Result<(), Fault> {
    if targets.is_empty() {
        return Ok(());
    }
    let status = status(server).await?;
    let types = || status.formation.0.iter().map(|(name, _)| name);
    let slots: Vec<&SlotName> = status.processes.iter().map(|process| &process.name).collect();
    let means_somebody = |target: &Target| {
        let text = target.to_string();
        let of_type = text.rsplit_once('.').and_then(|(name, _)| name.parse::<Target>().ok());
        types().any(|name| {
            let name = name.as_str();
            target.means_type(name) || of_type.as_ref().is_some_and(|target| target.means_type(name))
        }) || slots.iter().any(|slot| target.means(slot))
            || target.means_type(OURSELVES)
    };
    match targets.iter().find(|target| !means_somebody(target)) {
        None => Ok(()),
        Some(target) => {
            let known = types().cloned().collect();
            Err(Fault::from(&Refusal::UnknownTarget { target: target.to_string(), known }))
        }
    }
}

/// The supervisor's own tag in the stream.
const OURSELVES: &str = "supervise";

fn stand(server: &Server, seat: &Rc<Seat>) -> Result<Standing, Fault> {
    server.standing(seat).ok_or_else(crowded)
}

fn lines(
    server: &Server,
    what: What,
    targets: Vec<Target>,
    last: Option<usize>,
    follow: Follow,
    standing: Standing,
) -> Answer {
    let reader = Reader::new(Arc::clone(&server.history), what, targets, last);
    let reader = match follow {
        Follow::Yes => reader,
        Follow::No => reader.until_now(),
    };
    let mut answer =
        Response::new(Either::Right(Lines::new(reader, Arc::clone(&server.bell), follow, standing)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // The values of our own answers have text for keys, and so can be written.
    let mut text = serde_json::to_vec(value).expect("our answers are JSON");
    // For whoever reads it on a terminal.
    text.push(b'\n');
    written(status, text)
}

fn written(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(text.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    answer
}

fn refuse(fault: &Fault) -> Answer {
    let mut text = fault.json();
    text.push(b'\n');
    let mut answer = written(fault.status, text);
    if let Some(allow) = fault.allow.as_ref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    match fault.status {
        // What is left of the body is not read.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // RFC 9110 section 11.6.1.
        StatusCode::UNAUTHORIZED => {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    answer
}

/// The answer to somebody whom we do not hear out.
pub(super) fn turning_away(fault: &Fault) -> Vec<u8> {
    let body = fault.json();
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        fault.status,
        body.len() + 1
    );
    [head.as_bytes(), &body, b"\n"].concat()
}

/// Whoever may use the socket may run commands as our user: nobody else may.
pub(super) fn stranger() -> Fault {
    let message = "only the supervisor's own user and root may ask it";
    Fault::new(StatusCode::FORBIDDEN, "forbidden", message)
}

/// Too many ask at once.
pub(super) fn crowded() -> Fault {
    let message = "too many clients at once; ask again in a moment";
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_clients", message)
}

/// Who answers.
#[derive(Serialize)]
struct Ourselves {
    version: &'static str,
    pid: u32,
    schema: u32,
}

impl Ourselves {
    fn new() -> Ourselves {
        Ourselves { version: env!("CARGO_PKG_VERSION"), pid: std::process::id(), schema: Status::SCHEMA }
    }
}
