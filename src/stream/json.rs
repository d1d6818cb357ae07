//! One JSON object a line (RFC 8259), written without building a tree.

use std::fmt::Write;

use serde_json::Value;

use super::Channel;
use super::clock::Stamp;
use super::line::Cut;
use super::prefix::Prefix;
use crate::api::{Notice, Pid, SlotName};

/// All of a line that stands before its message, made once for one pipe; only its time changes.
#[derive(Debug)]
pub(super) struct Head(Prefix);

const BEGIN: &str = r#"{"timestamp":""#;
const TIMESTAMP: usize = size_of::<Stamp>();

impl Head {
    /// That of the lines of this pipe, to be stamped before it is used.
    pub(super) fn new(slot: &SlotName, pid: Pid, channel: Channel) -> Head {
        let stream = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        };
        // Names of process types are ASCII without quotes or backslashes.
        let process_type = &slot.process_type;
        let fields = format!(
            r#"{BEGIN}{:TIMESTAMP$}","process":"{slot}","type":"{process_type}","pid":{pid},"stream":"{stream}","message":""#,
            ""
        );
        Head(Prefix::new(fields))
    }

    /// Sets the time.
    pub(super) fn stamp(&mut self, timestamp: &Stamp) {
        self.0.set(BEGIN.len(), timestamp);
    }

    /// Appends the object of one line. Where its bytes are not UTF-8, `message` has replacement characters and
    /// `message_base64` has the bytes.
    #[inline]
    pub(super) fn line(&self, buffer: &mut Vec<u8>, message: &[u8], cut: Cut) {
        self.0.begin(buffer, message.len() + 64);
        if is_plain(message) {
            buffer.extend_from_slice(message);
        } else if std::str::from_utf8(message).is_ok() {
            escape(buffer, message);
        } else {
            escape(buffer, String::from_utf8_lossy(message).as_bytes());
            buffer.extend_from_slice(br#"","message_base64":""#);
            base64(buffer, message);
        }
        buffer.extend_from_slice(match cut {
            Cut::Line => b"\"}\n",
            Cut::Piece => b"\",\"partial\":true}\n",
        });
    }
}

/// Appends the object of a notice; `last_lines` is what the slot wrote last, where the notice is about its end.
///
/// `process` is `supervise` where it speaks of no slot, as the tag is in text.
pub(super) fn notice(buffer: &mut Vec<u8>, timestamp: &[u8], notice: &Notice, last_lines: &[Vec<u8>]) {
    let mut text = format!(r#"{{"timestamp":"{}""#, String::from_utf8_lossy(timestamp));
    let mut add = |name: &str, value: Value| {
        // Writing to a String cannot fail; a Value displays as JSON.
        let _ = write!(text, r#","{name}":{value}"#);
    };
    match notice.slot() {
        Some(slot) => {
            add("process", slot.to_string().into());
            add("type", slot.process_type.to_string().into());
        }
        None => add("process", "supervise".into()),
    }
    if let Some(pid) = notice.pid() {
        add("pid", pid.raw().into());
    }
    add("stream", "notice".into());
    add("event", notice.event().into());
    add("message", notice.to_string().into());
    for (name, value) in notice.facts() {
        add(name, value);
    }
    if !last_lines.is_empty() {
        add("last_lines", last_lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect());
    }
    buffer.extend_from_slice(text.as_bytes());
    buffer.extend_from_slice(b"}\n");
}

/// Appends what a reader of the history is told of lines, or notices where there is no slot, that were overwritten before
/// it came to read them.
pub(super) fn missed(buffer: &mut Vec<u8>, timestamp: &[u8], slot: Option<&SlotName>, lines: u64) {
    buffer.extend_from_slice(br#"{"timestamp":""#);
    buffer.extend_from_slice(timestamp);
    let (who, what) = match slot {
        Some(slot) => (format!(r#""process":"{slot}","type":"{}""#, slot.process_type), "lines"),
        None => (r#""process":"supervise""#.to_owned(), "notices"),
    };
    let message = format!("{lines} {what} missed: read too slowly");
    let text =
        format!(r#"",{who},"stream":"notice","event":"missed","message":"{message}","lines":{lines}}}"#);
    buffer.extend_from_slice(text.as_bytes());
    buffer.push(b'\n');
}

/// Whether text is the inside of a JSON string as it is, and ASCII: most lines of most logs are.
///
/// Thirty-two bytes at a time, without a branch among them, so that the compiler takes them in registers; the last ones
/// are looked at twice rather than one by one.
fn is_plain(text: &[u8]) -> bool {
    const BLOCK: usize = 32;
    let plain = |block: &[u8; BLOCK]| {
        // As a signed number a byte beyond ASCII is below zero.
        let low = block.iter().fold(0, |odd, byte| odd | u8::from(byte.cast_signed() < 0x20));
        let quote = block.iter().fold(0, |odd, byte| odd | u8::from(*byte == b'"'));
        let backslash = block.iter().fold(0, |odd, byte| odd | u8::from(*byte == b'\\'));
        low | quote | backslash == 0
    };
    match text.last_chunk::<BLOCK>() {
        Some(last) => text.as_chunks::<BLOCK>().0.iter().all(plain) && plain(last),
        None => text.is_ascii() && special(text).is_none(),
    }
}

/// Appends text as the inside of a JSON string (RFC 8259 section 7).
fn escape(buffer: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = special(text) {
        buffer.extend_from_slice(&text[..at]);
        match text[at] {
            b'"' => buffer.extend_from_slice(br#"\""#),
            b'\\' => buffer.extend_from_slice(br"\\"),
            b'\n' => buffer.extend_from_slice(br"\n"),
            b'\r' => buffer.extend_from_slice(br"\r"),
            b'\t' => buffer.extend_from_slice(br"\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]);
                buffer.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        text = &text[at + 1..];
    }
    buffer.extend_from_slice(text);
}

/// Where the first byte stands that cannot stand in a JSON string: a quote, a backslash, a control character.
///
/// Eight bytes at a time (Hacker's Delight section 6-1): a borrow can only reach a byte above one that is found anyway, so the
/// lowest is exact.
fn special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & TOPS;
    let (words, rest) = text.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return Some(nth * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let odd = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    rest.iter().position(odd).map(|at| words.len() * 8 + at)
}

/// Appends bytes in base64 with padding (RFC 4648 section 4).
fn base64(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |shift: u32| DIGITS[(bits >> shift & 63) as usize];
        let third = if three.len() > 1 { digit(6) } else { b'=' };
        let fourth = if three.len() > 2 { digit(0) } else { b'=' };
        buffer.extend_from_slice(&[digit(18), digit(12), third, fourth]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::Verdict;

    const TIME: &Stamp = b"2026-01-31T12:34:56.123456Z";

    fn object(message: &[u8], cut: Cut) -> Value {
        let mut head = Head::new(&slot(), Pid::new(4321).unwrap(), Channel::Stderr);
        head.stamp(TIME);
        let mut buffer = Vec::new();
        head.line(&mut buffer, message, cut);
        assert_eq!(buffer.pop(), Some(b'\n'));
        assert!(!buffer.contains(&b'\n'), "one line: {}", String::from_utf8_lossy(&buffer));
        serde_json::from_slice(&buffer).unwrap()
    }

    fn slot() -> SlotName {
        SlotName { process_type: "web".parse().unwrap(), number: 1 }
    }

    #[test]
    fn a_line_says_when_who_which_stream_and_what() {
        let expected = serde_json::json!({
            "timestamp": "2026-01-31T12:34:56.123456Z", "process": "web.1", "type": "web", "pid": 4321,
            "stream": "stderr", "message": "a \"b\" \\ \u{1b}[0m\t\u{0}é😀\r",
        });
        assert_eq!(object("a \"b\" \\ \u{1b}[0m\t\u{0}é😀\r".as_bytes(), Cut::Line), expected);
    }

    #[test]
    fn a_piece_is_marked_and_bytes_that_are_not_utf_8_are_there_in_base64() {
        assert_eq!(object(b"x", Cut::Piece)["partial"], true);
        let odd = object(b"\xff\xfex", Cut::Line);
        assert_eq!(odd["message"], "\u{fffd}\u{fffd}x");
        assert_eq!(odd["message_base64"], "//54");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in vectors.iter().enumerate() {
            let mut buffer = Vec::new();
            base64(&mut buffer, &b"foobar"[..length]);
            assert_eq!(buffer, expected.as_bytes());
        }
    }

    #[test]
    fn a_notice_has_its_event_its_sentence_and_its_facts() {
        let mut buffer = Vec::new();
        let failed = Notice::Failed { slot: slot(), reason: Verdict::GaveUp { failures: 3 } };
        notice(&mut buffer, TIME, &failed, &[b"Traceback".to_vec(), b"\xff".to_vec()]);
        let object: Value = serde_json::from_slice(&buffer).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2026-01-31T12:34:56.123456Z", "process": "web.1", "type": "web", "stream": "notice",
            "event": "failed", "message": failed.to_string(), "reason": "gave_up", "failures": 3,
            "last_lines": ["Traceback", "\u{fffd}"],
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn a_notice_of_no_slot_is_the_supervisors() {
        let mut buffer = Vec::new();
        notice(&mut buffer, TIME, &Notice::Ended { code: 0, because: None }, &[]);
        let object: Value = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(object["process"], "supervise");
        assert_eq!(object.get("type"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_object_with_their_text(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[ -~\\PC\\x00-\\x1f\"]{0,40}".prop_map(String::into_bytes),
            "[ -~]{0,80}[ -~\"\x7fé]{0,2}[ -!#-Z]{0,40}".prop_map(String::into_bytes),
        ]) {
            let object = object(&bytes, Cut::Line);
            let message = object["message"].as_str().unwrap();
            prop_assert_eq!(message, String::from_utf8_lossy(&bytes));
            prop_assert_eq!(object.get("message_base64").is_none(), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn the_first_special_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let slow = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
            prop_assert_eq!(special(&bytes), slow);
            prop_assert_eq!(is_plain(&bytes), slow.is_none() && bytes.is_ascii());
        }
    }
}
