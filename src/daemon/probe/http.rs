//! GET of a path on 127.0.0.1. Only the status counts; a redirect is not followed, it is an answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use crate::api::ProbeResult;

use super::{in_time, refused, tcp};

/// As much of an answer is read as Kubernetes reads (`maxRespBodyLength`); what does not fit is not waited for.
const READ_AT_MOST: usize = 10 * 1024;

/// How we call ourselves.
const USER_AGENT: &str = concat!("supervise/", env!("CARGO_PKG_VERSION"));

/// What is behind the status: read so that the server does not find its connection broken, and then forgotten.
pub(super) struct Rest {
    body: Incoming,
    /// So long, as the answer itself.
    timeout: Duration,
    _connection: Connection,
}

/// The task that moves the bytes of a connection; it ends with this.
struct Connection(AbortHandle);

pub(super) async fn ask(port: u16, path: &str, timeout: Duration) -> (ProbeResult, Option<Rest>) {
    let what = format!("GET {path} on port {port}");
    match in_time(timeout, &what, get(port, path, timeout, &what)).await {
        Ok((status, rest)) if (200..400).contains(&status.as_u16()) => (ProbeResult::Passed, Some(rest)),
        Ok((status, rest)) => {
            let why = format!("GET {path} answered {}", status.as_u16());
            (ProbeResult::Failed { why }, Some(rest))
        }
        Err(result) => (result, None),
    }
}

async fn get(
    port: u16,
    path: &str,
    timeout: Duration,
    what: &str,
) -> Result<(StatusCode, Rest), ProbeResult> {
    let failed = |why: &str| ProbeResult::Failed { why: format!("{what}: {why}") };
    let request = Request::get(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| failed("that is no path of a URL"))?;
    let stream = tcp::connect(port, what).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(READ_AT_MOST)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unanswered(what, &error))?;
    // What becomes of the connection is told with the answer.
    let connection = Connection(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(|error| unanswered(what, &error))?;
    Ok((response.status(), Rest { body: response.into_body(), timeout, _connection: connection }))
}

fn unanswered(what: &str, error: &hyper::Error) -> ProbeResult {
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return refused(what, error);
    }
    let why = if error.is_parse_too_large() {
        "more than 10 KiB of headers".to_owned()
    } else if error.is_parse() {
        "the answer is not HTTP".to_owned()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the connection was closed without an answer".to_owned()
    } else {
        error.to_string()
    };
    ProbeResult::Failed { why: format!("{what}: {why}") }
}

impl Rest {
    /// Reads on, as far as an answer is read.
    pub(super) async fn read(mut self) {
        let mut read = 0;
        let reading = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > READ_AT_MOST {
                    return;
                }
            }
        };
        // In time or not, nobody asked for it.
        let _ = tokio::time::timeout(self.timeout, reading).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
