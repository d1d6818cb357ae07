//! HTTP/1.1: GET of the URL's path; any status below 500 is an answer. What the URL has behind a question mark, and its
//! user and password, are not sent.

use super::url::{At, Url};
use super::wire::Wire;
use super::{ANSWERS, Verdict};

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    let path: String = url.path.bytes().map(written).collect();
    let host = url.places.first().map(At::to_string).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: supervise/{version}\r\nAccept: */*\r\n\
        Connection: close\r\n\r\n"
    );
    wire.send(request.as_bytes()).await?;
    match status(&wire.line().await?) {
        Some(100..500) => ANSWERS,
        Some(status) => Err(format!("answered {status}").into()),
        None => Err("does not speak http".into()),
    }
}

/// A byte of a path (RFC 3986 section 2.1); what is written with a `%` already stays.
fn written(byte: u8) -> String {
    if byte.is_ascii_graphic() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// `HTTP/1.1 204 No Content`.
pub(super) fn status(line: &[u8]) -> Option<u16> {
    let (version, rest) = line.split_at_checked(9)?;
    let code = rest.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit))?;
    let is_http = version.starts_with(b"HTTP/1.") && version.ends_with(b" ");
    is_http.then(|| std::str::from_utf8(code).ok()?.parse().ok()).flatten()
}
