//! `logs`: what the processes wrote, from the supervisor's memory, in the stream's own look.

use std::io::{IsTerminal, Write};

use serde::Deserialize;

use super::connection::{Connection, Trouble, Whereabouts, read};
use super::{Extent, conclude};
use crate::api::{Status, Target};
use crate::stream::{Choice, Replay};

/// What the lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As the supervisor gives them: one JSON object a line.
    Json,
    /// As the stream shows them, with or without colour and time.
    Text {
        /// `--color`.
        color: Choice,
        /// `--timestamps`.
        timestamps: Choice,
    },
}

/// Shows the lines of whoever is meant, of everybody where nobody is named; the answer is the exit code.
pub fn logs<W: Write + IsTerminal>(
    whereabouts: &Whereabouts,
    extent: Extent,
    targets: &[Target],
    look: Look,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    conclude(show(whereabouts, extent, targets, look, out), err)
}

fn show<W: Write + IsTerminal>(
    whereabouts: &Whereabouts,
    extent: Extent,
    targets: &[Target],
    look: Look,
    out: &mut W,
) -> Result<u8, Trouble> {
    let mut connection = Connection::open(whereabouts)?;
    let path = extent.path("/v1/logs", targets);
    match look {
        Look::Json => connection.follow(&path, |piece| {
            out.write_all(piece)?;
            Ok(out.flush()?)
        })?,
        Look::Text { color, timestamps } => {
            let status: Status = read(&connection.get("/v1/processes")?)?;
            let slots = status.processes.iter().map(|process| process.name.to_string()).collect();
            let mut dress = Dress { replay: Replay::new(out, color, timestamps, slots), begun: Vec::new() };
            connection.follow(&path, |piece| {
                let text = dress.piece(piece)?;
                out.write_all(&text)?;
                Ok(out.flush()?)
            })?;
        }
    }
    Ok(0)
}

/// Makes text of JSON that comes in pieces.
struct Dress {
    replay: Replay,
    /// A line whose end has not come.
    begun: Vec<u8>,
}

impl Dress {
    fn piece(&mut self, piece: &[u8]) -> Result<Vec<u8>, Trouble> {
        let mut text = Vec::with_capacity(piece.len());
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if self.begun.ends_with(b"\n") {
                self.line(&mut text)?;
                self.begun.clear();
            }
        }
        Ok(text)
    }

    fn line(&mut self, text: &mut Vec<u8>) -> Result<(), Trouble> {
        let Said { timestamp, process, stream, message, message_base64, last_lines } = read(&self.begun)?;
        if stream == "notice" {
            self.replay.notice(text, &timestamp, &message, &last_lines);
        } else {
            let bytes = message_base64.as_deref().and_then(from_base64);
            let line = bytes.as_deref().unwrap_or(message.as_bytes());
            self.replay.line(text, &timestamp, &process, line);
        }
        Ok(())
    }
}

/// What is shown of a line; there may be more in it.
#[derive(Deserialize)]
struct Said {
    timestamp: String,
    process: String,
    stream: String,
    message: String,
    message_base64: Option<String>,
    #[serde(default)]
    last_lines: Vec<String>,
}

/// The bytes that a text in base64 stands for (RFC 4648 section 4); `None` where it is none.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_back_every_byte() {
        assert_eq!(from_base64("AP+A").as_deref(), Some(&[0, 255, 128][..]));
        assert_eq!(from_base64("/w==").as_deref(), Some(&[255][..]));
        assert_eq!(from_base64("YWI=").as_deref(), Some(&b"ab"[..]));
        assert_eq!(from_base64("").as_deref(), Some(&[][..]));
        assert_eq!(from_base64("a b"), None);
    }
}
