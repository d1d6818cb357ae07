//! Who steers: looks, scales, restarts, signals, listens for a while and hangs up.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::run::PATIENCE;

pub(crate) struct Client {
    socket: PathBuf,
    asked: u64,
    latencies: Vec<Duration>,
    dice: Dice,
}

impl Client {
    /// Does the same things in the same order for the same seed.
    pub(crate) fn new(socket: PathBuf, seed: u64) -> Client {
        Client { socket, asked: 0, latencies: Vec::new(), dice: Dice::new(seed) }
    }

    /// How many requests were answered so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Those of `ps` since they were asked for last.
    pub(crate) fn latencies(&mut self) -> Latencies {
        let mut taken = std::mem::take(&mut self.latencies);
        taken.sort_unstable();
        Latencies(taken)
    }

    /// The processes, as JSON.
    pub(crate) fn ps(&mut self) -> String {
        let asked = Instant::now();
        let answer = self.expect("GET", "/v1/processes", "");
        self.latencies.push(asked.elapsed());
        answer
    }

    pub(crate) fn scale(&mut self, types: &[(&str, u64)]) {
        let counts: Vec<String> = types.iter().map(|(name, count)| format!("\"{name}\":{count}")).collect();
        self.expect("POST", "/v1/formation", &format!("{{{}}}", counts.join(",")));
    }

    /// One thing of many, and then nothing for a moment: ten a second.
    pub(crate) fn does_something(&mut self, types: &[(&str, u64)]) {
        let (name, count) = *self.dice.pick(types).expect("there are types");
        let slot = self.dice.below(60) + 1;
        match self.dice.below(8) {
            0 => {
                let fewer = self.dice.below(10);
                self.scale(&[(name, count - fewer)]);
            }
            // Whoever is meant may not be there: an error is an answer, too.
            1 => self.ask("POST", "/v1/restart", &format!("{{\"targets\":[\"{name}.{slot}\"]}}")),
            2 => self.ask("POST", "/v1/signal", &format!("{{\"signal\":\"USR1\",\"targets\":[\"{name}\"]}}")),
            3 => self.hang_up_early("/v1/events?follow=true"),
            4 => self.hang_up_early("/v1/logs?follow=true"),
            5 => {
                self.expect("GET", "/metrics", "");
            }
            _ => {
                self.ps();
            }
        }
        self.ps();
        sleep(Duration::from_millis(100));
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) {
        self.answer(method, path, body).unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"));
    }

    fn expect(&mut self, method: &str, path: &str, body: &str) -> String {
        let answer = self.answer(method, path, body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path} {body}: {answer}");
        answer
    }

    fn answer(&mut self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut connection = self.connect()?;
        let length = body.len();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nhost: supervise\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        if answer.is_empty() {
            return Err(io::Error::other("no answer"));
        }
        self.asked += 1;
        Ok(answer)
    }

    /// Asks for what has no end, reads a little of it and goes.
    fn hang_up_early(&mut self, path: &str) {
        let mut connection = self.connect().expect("somebody listens");
        write!(connection, "GET {path} HTTP/1.1\r\nhost: supervise\r\n\r\n").expect("it reads");
        let mut head = [0; 12];
        connection.read_exact(&mut head).expect("it answers");
        assert_eq!(&head, b"HTTP/1.1 200", "{path}");
        self.asked += 1;
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let connection = UnixStream::connect(&self.socket)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }
}

/// In order.
pub(crate) struct Latencies(Vec<Duration>);

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |hundredths: usize| {
            self.0.get((self.0.len() * hundredths / 100).min(self.0.len().saturating_sub(1)))
        };
        let millis =
            |latency: Option<&Duration>| latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0);
        write!(f, "{:.1}, {:.1}, {:.1} ms", millis(at(50)), millis(at(99)), millis(self.0.last()))
    }
}
