//! What comes out of the supervisor, judged line by line while it comes.

use std::collections::BTreeMap;

/// How far each life was heard, and what was wrong.
#[derive(Default)]
pub(crate) struct Heard {
    last: BTreeMap<u64, u64>,
    lines: u64,
    complaints: Vec<String>,
}

impl Heard {
    pub(crate) fn hear(&mut self, line: &str) {
        self.lines += 1;
        let Some((tag, text)) = line.split_once("| ") else {
            return self.complain(format!("no tag: {line}"));
        };
        if tag.trim_end() == "supervise" {
            return;
        }
        let Some((id, number)) = numbers(text) else {
            return self.complain(format!("no whole line of one life: {line}"));
        };
        let last = self.last.entry(id).or_default();
        let expected = *last + 1;
        *last = number;
        if number != expected {
            self.complain(format!("life {id:016x} said {number} instead of {expected}"));
        }
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The number of the last line of a life.
    pub(crate) fn last(&self, id: u64) -> u64 {
        self.last.get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = u64> {
        self.last.keys().copied()
    }

    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn complain(&mut self, complaint: String) {
        // The first ones say enough.
        if self.complaints.len() < 100 {
            self.complaints.push(complaint);
        }
    }
}

/// `L ID NUMBER xxx.`, and nothing else.
fn numbers(text: &str) -> Option<(u64, u64)> {
    let mut words = text.strip_prefix("L ")?.split(' ');
    let (id, number, padding) = (words.next()?, words.next()?, words.next()?);
    let whole = words.next().is_none() && padding.strip_suffix('.')?.bytes().all(|byte| byte == b'x');
    whole.then_some((u64::from_str_radix(id, 16).ok()?, number.parse().ok()?))
}
