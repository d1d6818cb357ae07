//! HTTP letter by letter, for tests: what no client library would send can be sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A client who speaks HTTP letter by letter.
pub(crate) struct Client {
    /// Read and written as a file: a connection of either kind.
    pub(crate) stream: BufReader<File>,
    lines: VecDeque<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Client {
        let stream = UnixStream::connect(socket).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is possible");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout is possible");
        Client::on(stream.into())
    }

    /// One that comes by the port of `--http`.
    pub(crate) fn by_port(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is possible");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout is possible");
        Client::on(stream.into())
    }

    fn on(connection: OwnedFd) -> Client {
        Client { stream: BufReader::new(connection.into()), lines: VecDeque::new() }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        self.write(request(method, path, body)).expect("it is heard");
        self.reply().expect("it is answered")
    }

    /// The next answer, in pieces or at once.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.head()?;
        if reply.header("transfer-encoding").is_some() {
            loop {
                let piece = self.piece()?;
                if piece.is_empty() {
                    return Ok(reply);
                }
                reply.body.extend_from_slice(&piece);
            }
        }
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reply.body = vec![0; length];
        self.stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    /// The next answer without its body.
    pub(crate) fn head(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status =
            lines[0].split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Ok(Reply { status, headers, body: Vec::new() })
    }

    /// The next piece of a body in pieces; empty at its end.
    pub(crate) fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut size = String::new();
        self.stream.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
        let mut piece = vec![0; size + 2];
        self.stream.read_exact(&mut piece)?;
        piece.truncate(size);
        Ok(piece)
    }

    /// The next message of a body of lines.
    pub(crate) fn message(&mut self) -> String {
        while self.lines.is_empty() {
            let piece = self.piece().expect("it goes on");
            assert!(!piece.is_empty(), "it has ended");
            let lines = piece.split_inclusive(|byte| *byte == b'\n').map(|line| {
                let line: Value = serde_json::from_slice(line).expect("a line is JSON");
                line["message"].as_str().expect("it says something").to_owned()
            });
            self.lines.extend(lines);
        }
        self.lines.pop_front().expect("there are some")
    }

    /// Everything until the other side closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // That it was closed with something unread is as good as closed.
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The word of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("an error").to_owned()
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    request_with(method, path, "", body)
}

/// With further headers, each with its end of line.
pub(crate) fn request_with(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{length}\r\n{body}")
}
