//! A client of the control socket that costs little itself.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// One request and its whole answer, head and body; the connection may be used again.
///
/// # Errors
/// It hangs up, or answers with an error.
pub(crate) fn ask(mut connection: &UnixStream, method: &str, path: &str, body: &str) -> io::Result<String> {
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: supervise\r\ncontent-length: {length}\r\n\r\n{body}");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = connection.read(&mut piece)?;
        if count == 0 {
            return Err(io::Error::other("the supervisor has hung up"));
        }
        answer.extend_from_slice(&piece[..count]);
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..head]);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| answer.len() >= head + 4 + length) {
            if !text.starts_with("HTTP/1.1 20") {
                return Err(io::Error::other(format!(
                    "{method} {path}: {}",
                    String::from_utf8_lossy(&answer)
                )));
            }
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}
