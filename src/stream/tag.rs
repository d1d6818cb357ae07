//! The tag of a line in text: `12:34:56 web.1     | `.

use memchr::memchr;

use super::clock::Clock;
use super::prefix::Prefix;
use crate::api::Notice;

/// The width of `supervise`, the tag of the notices.
const NARROWEST: usize = "supervise".len();

/// What ends every colour and attribute (ECMA-48, SGR 0).
const RESET: &[u8] = b"\x1b[0m";

/// The colours of the slots in turn: no red, which people read as an error, and neither black nor white. All have the
/// same length, so that the time stands at the same place.
const COLOURS: [&str; 10] = [
    "\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[93m", "\x1b[92m",
    "\x1b[95m", "\x1b[94m",
];

/// The supervisor's own: bold.
const OWN: &str = "\x1b[1m";

/// Whether tags are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// No.
    Plain,
    /// Each slot in its colour.
    Coloured,
}

/// How tags look.
#[derive(Debug)]
pub(super) struct Style {
    width: usize,
    paint: Paint,
    clock: Option<Clock>,
}

/// The tag of one pipe. It is made once; only its time changes, once a second.
#[derive(Debug)]
pub(super) struct Tag {
    prefix: Prefix,
    second: i64,
}

impl Style {
    /// Tags for names up to `widest` characters, with the time where there is a clock.
    pub(super) fn new(widest: usize, paint: Paint, clock: Option<Clock>) -> Style {
        Style { width: widest.max(NARROWEST), paint, clock }
    }

    /// Makes the column wide enough for a name; it never shrinks. Returns whether tags made before are now too narrow.
    pub(super) fn fit(&mut self, name: &str) -> bool {
        let grows = name.len() > self.width;
        self.width = self.width.max(name.len());
        grows
    }

    /// The tag of the slot that was seen as the `nth`.
    pub(super) fn tag(&self, name: &str, nth: usize) -> Tag {
        let time = if self.clock.is_some() { "00:00:00 " } else { "" };
        let head = self.head(name, COLOURS[nth % COLOURS.len()], time);
        Tag::new(head)
    }

    fn head(&self, name: &str, colour: &str, time: &str) -> String {
        let width = self.width;
        match self.paint {
            Paint::Plain => format!("{time}{name:<width$} | "),
            Paint::Coloured => format!("{colour}{time}{name:<width$} |\x1b[0m "),
        }
    }

    /// Appends a line that was said at some earlier time, which is empty or ends with a space; the supervisor's own where it
    /// is nobody's.
    pub(super) fn past_line(
        &self,
        buffer: &mut Vec<u8>,
        time: &str,
        whose: Option<(&str, usize)>,
        line: &[u8],
    ) {
        let head = match whose {
            Some((name, nth)) => self.head(name, COLOURS[nth % COLOURS.len()], time),
            None => self.head("supervise", OWN, time),
        };
        let tag = Tag::new(head);
        match self.paint {
            Paint::Plain => tag.line(buffer, line),
            Paint::Coloured => tag.closed_line(buffer, line),
        }
    }

    /// Brings the time in a tag up to date.
    pub(super) fn stamp(&mut self, tag: &mut Tag) {
        let Some(clock) = &mut self.clock else { return };
        let (second, time) = clock.time();
        if tag.second != second {
            tag.second = second;
            let at = match self.paint {
                Paint::Plain => 0,
                Paint::Coloured => COLOURS[0].len(),
            };
            tag.prefix.set(at, time);
        }
    }

    /// Whether a chunk has anything that could colour what comes after it.
    pub(super) fn may_bleed(&self, chunk: &[u8]) -> bool {
        self.paint == Paint::Coloured && memchr(0x1b, chunk).is_some()
    }

    /// Appends a notice, and under it what its slot wrote last.
    pub(super) fn notice(&mut self, buffer: &mut Vec<u8>, notice: &Notice, last_lines: &[Vec<u8>]) {
        let time = match &mut self.clock {
            Some(clock) => format!("{} ", String::from_utf8_lossy(clock.time().1)),
            None => String::new(),
        };
        let head = self.head("supervise", OWN, &time);
        let tag = Tag::new(head);
        tag.line(buffer, one_line(&notice.to_string()).as_bytes());
        for line in last_lines {
            let mut indented = b"  ".to_vec();
            indented.extend_from_slice(line);
            match self.paint {
                Paint::Plain => tag.line(buffer, &indented),
                Paint::Coloured => tag.closed_line(buffer, &indented),
            }
        }
    }
}

impl Tag {
    fn new(head: String) -> Tag {
        Tag { prefix: Prefix::new(head), second: i64::MIN }
    }

    /// Appends a line under this tag.
    #[inline]
    pub(super) fn line(&self, buffer: &mut Vec<u8>, line: &[u8]) {
        self.prefix.begin(buffer, line.len() + 1);
        buffer.extend_from_slice(line);
        buffer.push(b'\n');
    }

    /// The same, ending any colour that the line began.
    pub(super) fn closed_line(&self, buffer: &mut Vec<u8>, line: &[u8]) {
        self.prefix.begin(buffer, line.len() + RESET.len() + 1);
        buffer.extend_from_slice(line);
        if memchr(0x1b, line).is_some() {
            buffer.extend_from_slice(RESET);
        }
        buffer.push(b'\n');
    }
}

/// A sentence without control characters: the name of a foreign process or file in it may have anything.
pub(super) fn one_line(sentence: &str) -> String {
    let mut line = String::with_capacity(sentence.len());
    for c in sentence.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Verdict;

    fn tagged(style: &mut Style, name: &str, line: &str) -> String {
        let mut tag = style.tag(name, 0);
        style.stamp(&mut tag);
        let mut buffer = Vec::new();
        if style.may_bleed(line.as_bytes()) {
            tag.closed_line(&mut buffer, line.as_bytes());
        } else {
            tag.line(&mut buffer, line.as_bytes());
        }
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn the_column_is_as_wide_as_the_longest_name_and_never_shrinks() {
        let mut style = Style::new(3, Paint::Plain, None);
        assert_eq!(tagged(&mut style, "web.1", "a"), "web.1     | a\n");
        assert!(!style.fit("123456789"));
        assert!(style.fit("scheduler.1"));
        assert_eq!(tagged(&mut style, "web.1", "a"), "web.1       | a\n");
        assert!(!style.fit("web.1"));
        assert_eq!(tagged(&mut style, "web.1", ""), "web.1       | \n");
    }

    #[test]
    fn the_time_stands_first_inside_the_colour() {
        let mut style = Style::new(0, Paint::Coloured, Some(Clock::utc()));
        let line = tagged(&mut style, "web.1", "a");
        let (time, rest) = line.strip_prefix("\x1b[36m").unwrap().split_at(8);
        assert!(time.bytes().filter(u8::is_ascii_digit).count() == 6, "{time}");
        assert_eq!(rest, " web.1     |\x1b[0m a\n");
    }

    #[test]
    fn a_colour_that_a_line_begins_ends_with_it_where_there_is_colour() {
        let line = "\x1b[31mred";
        let coloured = tagged(&mut Style::new(0, Paint::Coloured, None), "web.1", line);
        assert_eq!(coloured, "\x1b[36mweb.1     |\x1b[0m \x1b[31mred\x1b[0m\n");
        let plain = tagged(&mut Style::new(0, Paint::Plain, None), "web.1", line);
        assert_eq!(plain, "web.1     | \x1b[31mred\n");
    }

    #[test]
    fn a_notice_is_one_line_and_the_last_words_stand_under_it() {
        let mut buffer = Vec::new();
        let slot = crate::api::SlotName { process_type: "web".parse().unwrap(), number: 1 };
        let mut style = Style::new(0, Paint::Plain, None);
        let failed = Notice::Failed { slot, reason: Verdict::Never };
        style.notice(&mut buffer, &failed, &[b"Traceback:".to_vec(), b"  boom".to_vec()]);
        style.notice(&mut buffer, &Notice::SpecFound { file: "a\nb".into() }, &[]);
        assert_eq!(
            String::from_utf8(buffer).unwrap(),
            format!(
                "supervise | {failed}\nsupervise |   Traceback:\nsupervise |     boom\n\
                 supervise | the formation is read from a\\nb\n"
            )
        );
    }
}
