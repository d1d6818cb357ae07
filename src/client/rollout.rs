//! How the replacing of instances goes on, while somebody waits for its end: what the supervisor says of it, as it says it.
//!
//! On a terminal each type has one line, which is rewritten; elsewhere each step is a line.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Deserialize;
use serde_json::Value;

use super::connection::{Connection, Expect, Progress, Trouble};
use super::terminal::{columns, one_line, printable};
use crate::api::{Accepted, Target, TypeName};

/// A change that somebody waits for.
pub(super) struct Change<'c> {
    /// Where it is asked for.
    pub(super) path: &'c str,
    pub(super) body: &'c Value,
    /// Whose progress is shown; everybody's where nobody is named.
    pub(super) targets: &'c [Target],
}

/// What came of it, and where it was turned back, what was written last by whoever did not work.
pub(super) type Outcome = (Result<(Progress, Accepted), Trouble>, Option<LastWords>);

/// What an instance wrote last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LastWords {
    process: String,
    lines: Vec<String>,
}

/// Asks for a change and shows how it goes on until it has happened.
pub(super) fn wait<W: Write + IsTerminal + AsFd>(
    connection: &mut Connection,
    change: &Change<'_>,
    out: &mut W,
) -> Outcome {
    let look = if out.is_terminal() { Look::Rewritten(columns(out)) } else { Look::Lines };
    let mut board = Board { look, targets: change.targets, rows: Vec::new(), last_words: None };
    let result = connection.watch(EVENTS, change.path, change.body, |line| {
        board.hear(line, out)?;
        out.flush()?;
        Ok(board.expects())
    });
    (result, board.last_words)
}

/// Every notice from now on.
const EVENTS: &str = "/v1/events?follow=true&n=0";

impl LastWords {
    /// Says them.
    ///
    /// # Errors
    /// What prevents writing.
    pub(super) fn tell(&self, err: &mut dyn Write) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        writeln!(err, "  {} wrote last:", one_line(&self.process, None))?;
        self.lines.iter().try_for_each(|line| writeln!(err, "    {}", printable(line)))
    }
}

/// What is shown.
struct Board<'t> {
    look: Look,
    targets: &'t [Target],
    /// A type each, or a release, in the order in which they began.
    rows: Vec<Row>,
    last_words: Option<LastWords>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Each step is a line.
    Lines,
    /// Each row has a line, of so many columns.
    Rewritten(Option<usize>),
}

struct Row {
    /// `web`, or `v4`.
    name: String,
    /// `2 of 4 replaced`; nothing for a release.
    count: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Over,
}

/// What matters of a notice; there is more in it.
#[derive(Deserialize)]
struct Said {
    event: Option<String>,
    process: String,
    #[serde(rename = "type")]
    process_type: Option<TypeName>,
    message: String,
    rollout: Option<TypeName>,
    waiting: Option<TypeName>,
    replaced: Option<u32>,
    instances: Option<u32>,
    delay_ms: Option<u64>,
    release: Option<String>,
    slot: Option<String>,
    #[serde(default)]
    last_lines: Vec<String>,
}

impl Board<'_> {
    /// Shows a notice, where it is about what is waited for.
    fn hear(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        // What cannot be read is of a later version, and shows nothing.
        let Ok(said) = serde_json::from_slice::<Said>(line) else { return Ok(()) };
        match (said.event.as_deref().unwrap_or_default(), &said.rollout) {
            ("rollout_began", Some(process_type)) if self.means(process_type) => {
                let count = format!("0 of {} replaced", said.instances.unwrap_or_default());
                self.begins(process_type.as_str(), count, out)?;
                self.show(process_type.as_str(), &said.message, out)
            }
            ("rollout_step", Some(process_type)) => {
                if let (Some(row), Some(replaced), Some(instances)) =
                    (self.row(process_type.as_str()), said.replaced, said.instances)
                {
                    row.count = format!("{replaced} of {instances} replaced");
                }
                self.show(process_type.as_str(), &said.message, out)
            }
            ("rollout_done", Some(process_type)) => {
                self.ends(process_type.as_str());
                self.show(process_type.as_str(), &said.message, out)
            }
            ("turned_back", Some(process_type)) => {
                if self.row(process_type.as_str()).is_some() {
                    self.last_words = Some(LastWords { process: said.process, lines: said.last_lines });
                }
                self.ends(process_type.as_str());
                self.show(process_type.as_str(), &said.message, out)
            }
            ("deploy_began", _) => match &said.release {
                Some(release) => {
                    self.begins(release, String::new(), out)?;
                    self.show(release, &said.message, out)
                }
                None => Ok(()),
            },
            ("release_phase" | "not_recorded", _) => match &said.release {
                Some(release) => self.show(release, &said.message, out),
                None => Ok(()),
            },
            ("deployed" | "not_deployed", _) => match said.release {
                Some(release) => {
                    if let Some(process) = said.slot {
                        self.last_words = Some(LastWords { process, lines: said.last_lines });
                    }
                    self.ends(&release);
                    self.show(&release, &said.message, out)
                }
                None => Ok(()),
            },
            ("ready" | "unready" | "unwell" | "not_started" | "failed", _) => self.of_slot(&said, out),
            // One that ended by itself: it will be tried again.
            ("exited", _) if said.delay_ms.is_some() => self.of_slot(&said, out),
            ("waiting", _) => match &said.waiting {
                Some(process_type) => self.show(process_type.as_str(), &said.message, out),
                None => Ok(()),
            },
            (_, _) => Ok(()),
        }
    }

    fn of_slot(&mut self, said: &Said, out: &mut dyn Write) -> io::Result<()> {
        match &said.process_type {
            Some(process_type) => self.show(process_type.as_str(), &said.message, out),
            None => Ok(()),
        }
    }

    /// Whether a notice is still to come: the answer may be faster than the notice that says the same.
    fn expects(&self) -> Expect {
        if self.rows.iter().any(|row| row.state == State::Going) { Expect::More } else { Expect::Nothing }
    }

    fn means(&self, process_type: &TypeName) -> bool {
        let name = process_type.as_str();
        self.targets.is_empty()
            || self.targets.iter().any(|target| {
                let text = target.to_string();
                let of_type = text.rsplit_once('.').and_then(|(name, _)| name.parse::<Target>().ok());
                target.means_type(name) || of_type.is_some_and(|target| target.means_type(name))
            })
    }

    fn row(&mut self, name: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.name == name)
    }

    fn begins(&mut self, name: &str, count: String, out: &mut dyn Write) -> io::Result<()> {
        if let Some(row) = self.row(name) {
            (row.count, row.state) = (count, State::Going);
            return Ok(());
        }
        self.rows.push(Row { name: name.to_owned(), count, state: State::Going });
        match self.look {
            Look::Lines => Ok(()),
            Look::Rewritten(_) => writeln!(out),
        }
    }

    fn ends(&mut self, name: &str) {
        if let Some(row) = self.row(name) {
            row.state = State::Over;
        }
    }

    /// Shows what was said of a type that is being replaced, or of a release that is deployed.
    fn show(&self, name: &str, message: &str, out: &mut dyn Write) -> io::Result<()> {
        let Some(at) = self.rows.iter().position(|row| row.name == name) else {
            return Ok(());
        };
        let Row { count, state, .. } = &self.rows[at];
        match (self.look, state) {
            (Look::Lines, _) => writeln!(out, "{}", one_line(message, None)),
            (Look::Rewritten(columns), state) => {
                let beginning = format!("{name}: ");
                let message = message.strip_prefix(&beginning).unwrap_or(message);
                let text = match state {
                    State::Going if message == count => format!("{beginning}{count}"),
                    State::Going if count.is_empty() => format!("{beginning}{message}"),
                    State::Going => format!("{beginning}{count}; {message}"),
                    State::Over => format!("{beginning}{message}"),
                };
                let up = self.rows.len() - at;
                // Up to its line, over what stood there, and back.
                write!(out, "\x1b[{up}A\r\x1b[K{}\x1b[{up}B\r", one_line(&text, columns))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(look: Look, targets: &[Target]) -> Board<'_> {
        Board { look, targets, rows: Vec::new(), last_words: None }
    }

    fn shown(board: &mut Board<'_>, lines: &[&str]) -> String {
        let mut out = Vec::new();
        for line in lines {
            board.hear(line.as_bytes(), &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    const BEGAN: &str = r#"{"process":"supervise","stream":"notice","event":"rollout_began","message":"web: replacing 2 one after the other","rollout":"web","instances":2}"#;
    const STEP: &str = r#"{"process":"supervise","event":"rollout_step","message":"web: 1 of 2 replaced","rollout":"web","replaced":1,"instances":2}"#;
    const READY: &str =
        r#"{"process":"web.3","type":"web","event":"ready","message":"web.3 is ready after 2s"}"#;
    const DRAINED: &str =
        r#"{"process":"web.1","type":"web","event":"exited","message":"web.1 exited with code 0 after 3h"}"#;
    const OTHER: &str = r#"{"process":"x.1","type":"x","event":"ready","message":"x.1 is ready"}"#;
    const DONE: &str = r#"{"process":"supervise","event":"rollout_done","message":"web: all replaced after 3s","rollout":"web"}"#;

    #[test]
    fn on_a_terminal_each_type_has_a_line_that_is_rewritten() {
        let mut board = board(Look::Rewritten(Some(40)), &[]);
        let other = BEGAN.replace("web", "worker");
        let text = shown(&mut board, &[BEGAN, OTHER, &other, DRAINED, READY, STEP, DONE]);
        let line = |up: u32, text: &str| format!("\x1b[{up}A\r\x1b[K{text}\x1b[{up}B\r");
        let expected = [
            "\n".to_owned(),
            line(1, "web: 0 of 2 replaced; replacing 2 one..."),
            "\n".to_owned(),
            line(1, "worker: 0 of 2 replaced; replacing 2 ..."),
            line(2, "web: 0 of 2 replaced; web.3 is ready ..."),
            line(2, "web: 1 of 2 replaced"),
            line(2, "web: all replaced after 3s"),
        ];
        assert_eq!(text, expected.concat());
        assert_eq!(board.expects(), Expect::More, "the worker is still at it");
    }

    #[test]
    fn only_the_types_that_are_meant_are_shown() {
        let targets: Vec<Target> = ["worker", "web.2"].map(|target| target.parse().unwrap()).into();
        let mut meant = board(Look::Lines, &targets);
        assert_eq!(
            shown(&mut meant, &[BEGAN, STEP]),
            "web: replacing 2 one after the other\nweb: 1 of 2 replaced\n"
        );
        let targets: Vec<Target> = vec!["worker".parse().unwrap()];
        let mut others = board(Look::Lines, &targets);
        assert_eq!(shown(&mut others, &[BEGAN, STEP, READY, DONE]), "");
        assert_eq!(others.expects(), Expect::Nothing);
    }
}
