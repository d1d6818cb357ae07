//! Everything a run has said so far.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

/// The lines of stdout and stderr, and, in JSON, the notices and what each process said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    /// Every line of stdout without its newline.
    pub(crate) out: Vec<Vec<u8>>,
    /// Every line of stderr without its newline.
    pub(crate) err: Vec<Vec<u8>>,
    /// The notices in order.
    pub(crate) notices: Vec<Notice>,
    /// The messages of each process in order.
    said: BTreeMap<String, Vec<String>>,
    /// Whose stdout has reached its end.
    pub(crate) out_ended: bool,
}

/// A notice as JSON has it.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// How many lines of stdout came before it.
    pub(crate) place: usize,
    /// The whole object.
    pub(crate) json: Value,
}

impl Transcript {
    pub(crate) fn add_out(&mut self, line: &[u8]) {
        if let Ok(json) = serde_json::from_slice::<Value>(line) {
            let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
            if json["stream"] == "notice" {
                self.notices.push(Notice { place: self.out.len(), json });
            } else {
                self.said.entry(text("process")).or_default().push(text("message"));
            }
        }
        self.out.push(line.to_vec());
    }

    /// What a process said, line by line.
    pub(crate) fn said(&self, process: &str) -> &[String] {
        self.said.get(process).map_or(&[], Vec::as_slice)
    }

    /// The rest of every line of a process that begins so.
    pub(crate) fn rests(&self, process: &str, beginning: &str) -> Vec<String> {
        let rests = self.said(process).iter().filter_map(|line| line.strip_prefix(beginning));
        rests.map(str::to_owned).collect()
    }

    /// Every notice of this kind; of this process, where one is given.
    pub(crate) fn events(&self, event: &str, process: &str) -> Vec<Notice> {
        let of = |notice: &&Notice| {
            notice.json["event"] == event && (process.is_empty() || notice.json["process"] == process)
        };
        self.notices.iter().filter(of).cloned().collect()
    }

    /// The lines of stdout as text.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.out.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    pub(crate) fn err_text(&self) -> String {
        String::from_utf8_lossy(&self.err.join(b"\n".as_slice())).into_owned()
    }
}

impl Notice {
    /// How long after a moment it was said, in milliseconds.
    ///
    /// A notice is dated when it is written, a moment after the fact: so measured from a moment before the cause, this
    /// is never less than the truth. Two notices do not tell the time between their facts.
    pub(crate) fn millis_after(&self, moment: Timestamp) -> i64 {
        self.timestamp().as_millisecond() - moment.as_millisecond()
    }

    /// When it was written.
    pub(crate) fn timestamp(&self) -> Timestamp {
        let text = self.json["timestamp"].as_str().expect("a notice has its time");
        text.parse().expect("the time is RFC 3339")
    }

    pub(crate) fn pid(&self) -> i32 {
        let pid = self.json["pid"].as_i64().unwrap_or_else(|| panic!("no pid in {}", self.json));
        i32::try_from(pid).expect("a pid is small")
    }

    pub(crate) fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_else(|| panic!("no message in {}", self.json))
    }

    /// A fact that is a number.
    pub(crate) fn number(&self, fact: &str) -> i64 {
        self.json[fact].as_i64().unwrap_or_else(|| panic!("no number `{fact}` in {}", self.json))
    }
}

/// For the message of a failed test: the last lines of both.
impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 150;
        for (name, lines) in [("stdout", &self.out), ("stderr", &self.err)] {
            writeln!(f, "--- {name}, {} lines", lines.len())?;
            if lines.len() > SHOWN {
                writeln!(f, "    ...")?;
            }
            for line in &lines[lines.len().saturating_sub(SHOWN)..] {
                let shown = &line[..line.len().min(500)];
                writeln!(f, "    {}", shown.escape_ascii())?;
            }
        }
        Ok(())
    }
}
