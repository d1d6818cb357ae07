//! What was written comes out: each line once, whole, in its order, from who wrote it; what is missing was said to be dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Complaints;

/// What has been heard of who tells lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearing {
    /// How many lines of stdout have been looked at.
    pub(crate) lines: usize,
    /// By who tells: his last number, and how many are missing before it.
    tellers: BTreeMap<String, Teller>,
    dropped: u64,
    pub(crate) complaints: Complaints,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Teller {
    last: u64,
    missing: u64,
}

impl Hearing {
    /// The next line of stdout, in JSON.
    pub(crate) fn hear(&mut self, line: &[u8]) {
        self.lines += 1;
        let Ok(json) = serde_json::from_slice::<Value>(line) else {
            return self.complaints.push(format!("no JSON: {}", line.escape_ascii()));
        };
        if json["event"] == "dropped" {
            self.dropped += json["lines"].as_u64().unwrap_or(0);
        }
        let message = json["message"].as_str().unwrap_or_default();
        if json["stream"] == "notice" || !message.starts_with("tell ") {
            let known = ["edition-", "usr1", "listening on ", "serving", "once "];
            if json["stream"] != "notice" && !known.iter().any(|known| message.starts_with(known)) {
                self.complaints.push(format!("a line that nobody wrote: {json}"));
            }
            return;
        }
        if let Err(what) = self.told(&json, message) {
            self.complaints.push(format!("{what}: {json}"));
        }
    }

    fn told(&mut self, json: &Value, message: &str) -> Result<(), &'static str> {
        let words: Vec<&str> = message.split(' ').collect();
        let [_, ps, teller, number, text] = words[..] else { return Err("a torn line") };
        let number: u64 = number.parse().map_err(|_| "a torn line")?;
        if json["process"] != ps {
            return Err("a line under another's name");
        }
        if text.bytes().any(|byte| byte != b'x') || json["partial"] == true {
            return Err("a torn line");
        }
        let known = self.tellers.entry(teller.to_owned()).or_default();
        if number <= known.last {
            return Err("a line twice, or out of order");
        }
        known.missing += number - known.last - 1;
        known.last = number;
        Ok(())
    }

    /// What is missing of what was counted there, by who counted.
    pub(crate) fn missing(&self, counted: &BTreeMap<String, u64>) -> Complaints {
        let behind = |teller: &str, count: u64| {
            let heard = self.tellers.get(teller).copied().unwrap_or_default();
            count.saturating_sub(heard.last)
        };
        let before: u64 = self.tellers.values().map(|teller| teller.missing).sum();
        let after: u64 = counted.iter().map(|(teller, count)| behind(teller, *count)).sum();
        if before + after <= self.dropped {
            return Complaints::new();
        }
        let whose: Vec<String> = counted
            .iter()
            .filter(|(teller, count)| {
                behind(teller, **count) > 0
                    || self.tellers.get(*teller).is_some_and(|heard| heard.missing > 0)
            })
            .map(|(teller, count)| format!("{teller} counts {count}, heard {:?}", self.tellers.get(teller)))
            .collect();
        vec![format!(
            "{} lines are missing, and {} were said to be dropped: {}",
            before + after,
            self.dropped,
            whose.join("; ")
        )]
    }
}

/// What everybody who tells lines has counted.
pub(crate) fn counted(directory: &Path) -> BTreeMap<String, u64> {
    let files = fs::read_dir(directory).expect("it is there").flatten();
    let count = |path: &Path| {
        let bytes = fs::read(path).ok()?;
        // Whoever has not written a line yet has counted nothing.
        Some(bytes.try_into().map_or(0, u64::from_ne_bytes))
    };
    files.filter_map(|file| Some((file.file_name().to_str()?.to_owned(), count(&file.path())?))).collect()
}
