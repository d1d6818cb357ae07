//! What was said before, in the look of text: for whoever reads it later, from JSON.

use std::io::IsTerminal;

use jiff::Timestamp;

use super::Choice;
use super::clock::Clock;
use super::tag::{Paint, Style, one_line};

/// Dresses lines of the past as the stream dresses those of the present.
#[derive(Debug)]
pub struct Replay {
    style: Style,
    clock: Option<Clock>,
    /// Every slot in the order in which it was seen, which decides its colour.
    slots: Vec<String>,
}

impl Replay {
    /// For an output, with the slots that are known to begin with.
    #[must_use]
    pub fn new(out: &impl IsTerminal, color: Choice, timestamps: Choice, slots: Vec<String>) -> Replay {
        let paint = if color.holds_for(out) { Paint::Coloured } else { Paint::Plain };
        let widest = slots.iter().map(String::len).max().unwrap_or(0);
        // The style's own clock shows only the present.
        let style = Style::new(widest, paint, None);
        Replay { style, clock: timestamps.holds_for(out).then(Clock::local), slots }
    }

    /// Appends a line of a slot; the time is as in JSON (RFC 3339).
    pub fn line(&mut self, buffer: &mut Vec<u8>, timestamp: &str, slot: &str, line: &[u8]) {
        let time = self.time(timestamp);
        self.style.fit(slot);
        let nth = self.slots.iter().position(|known| known == slot).unwrap_or_else(|| {
            self.slots.push(slot.to_owned());
            self.slots.len() - 1
        });
        self.style.past_line(buffer, &time, Some((slot, nth)), line);
    }

    /// Appends a notice, and under it what its slot wrote last.
    pub fn notice(&mut self, buffer: &mut Vec<u8>, timestamp: &str, sentence: &str, last_lines: &[String]) {
        let time = self.time(timestamp);
        self.style.past_line(buffer, &time, None, one_line(sentence).as_bytes());
        for line in last_lines {
            self.style.past_line(buffer, &time, None, format!("  {line}").as_bytes());
        }
    }

    /// `12:34:56 `, or nothing where no time is shown.
    fn time(&mut self, timestamp: &str) -> String {
        let Some(clock) = &mut self.clock else { return String::new() };
        let second = timestamp.parse().map_or(0, Timestamp::as_second);
        format!("{} ", String::from_utf8_lossy(clock.time_at(second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_looks_like_the_present_with_its_own_time() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut plain = Replay::new(&null, Choice::Auto, Choice::Never, vec!["scheduler.1".to_owned()]);
        let mut buffer = Vec::new();
        plain.line(&mut buffer, "2026-01-31T12:34:56.123456Z", "web.1", b"\xff\x1b[31m");
        plain.notice(&mut buffer, "", "web.1 failed\n", &["boom".to_owned()]);
        assert_eq!(
            buffer,
            b"web.1       | \xff\x1b[31m\nsupervise   | web.1 failed\\n\nsupervise   |   boom\n"
        );
        let mut coloured = Replay::new(&null, Choice::Always, Choice::Always, vec!["web.1".to_owned()]);
        coloured.clock = Some(Clock::utc());
        let mut buffer = Vec::new();
        coloured.line(&mut buffer, "2026-01-31T12:34:56.123456Z", "web.2", b"\x1b[31mred");
        let expected = "\x1b[33m12:34:56 web.2     |\x1b[0m \x1b[31mred\x1b[0m\n";
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
    }
}
