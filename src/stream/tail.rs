//! What a slot wrote last, for the notice that it has failed for good.

use std::collections::HashMap;

use memchr::memrchr;

use super::Channel;
use crate::api::{InstanceId, SlotName};

/// So many bytes of each pipe are kept.
const KEPT: usize = 2048;

/// So many lines are shown.
const SHOWN: usize = 10;

/// The slots that were seen, each with a number and with what its instance wrote last.
#[derive(Debug, Default)]
pub(super) struct Slots {
    numbers: HashMap<SlotName, usize>,
    all: Vec<(SlotName, Tail)>,
}

/// The end of what the last instance of a slot wrote, by pipe. Empty until it writes something.
#[derive(Debug, Default)]
pub(super) struct Tail {
    of: Option<InstanceId>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Slots {
    /// The number of a slot: how many were seen before it.
    pub(super) fn place(&mut self, slot: &SlotName) -> usize {
        if let Some(place) = self.numbers.get(slot) {
            return *place;
        }
        let place = self.all.len();
        self.numbers.insert(slot.clone(), place);
        self.all.push((slot.clone(), Tail::default()));
        place
    }

    /// The name of the slot with this number.
    pub(super) fn name(&self, place: usize) -> &SlotName {
        &self.all[place].0
    }

    /// The tail of the slot with this number.
    pub(super) fn tail(&mut self, place: usize) -> &mut Tail {
        &mut self.all[place].1
    }

    /// What a slot wrote last; nothing where it was never seen.
    pub(super) fn last_lines(&self, slot: &SlotName) -> Vec<Vec<u8>> {
        self.numbers.get(slot).map_or_else(Vec::new, |place| self.all[*place].1.lines())
    }
}

impl Tail {
    /// Keeps the end of what an instance wrote; what an earlier instance wrote is forgotten.
    pub(super) fn keep(&mut self, instance: InstanceId, channel: Channel, chunk: &[u8]) {
        if self.of != Some(instance) {
            *self = Tail { of: Some(instance), ..Tail::default() };
        }
        let kept = match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        };
        let chunk = &chunk[chunk.len().saturating_sub(KEPT)..];
        // Cut only now and then, so that a byte is moved about once.
        if kept.len() + chunk.len() > 2 * KEPT {
            kept.drain(..kept.len().saturating_sub(KEPT.saturating_sub(chunk.len())));
        }
        kept.extend_from_slice(chunk);
    }

    /// The last lines, oldest first; of two pipes first the lines of stdout, then those of stderr.
    pub(super) fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = last_lines(&self.stderr, SHOWN);
        let mut all = last_lines(&self.stdout, SHOWN - lines.len());
        all.append(&mut lines);
        all
    }
}

fn last_lines(bytes: &[u8], most: usize) -> Vec<Vec<u8>> {
    let mut rest = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if most == 0 || bytes.is_empty() {
        return Vec::new();
    }
    rest = &rest[rest.len().saturating_sub(KEPT)..];
    let mut lines = Vec::new();
    while lines.len() < most {
        let Some(newline) = memrchr(b'\n', rest) else {
            // The first line may have lost its beginning; it is better than none.
            lines.push(rest.to_vec());
            break;
        };
        lines.push(rest[newline + 1..].to_vec());
        rest = &rest[..newline];
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tail: &Tail) -> Vec<String> {
        tail.lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn the_last_ten_lines_are_shown_with_the_one_that_was_never_ended() {
        let mut tail = Tail::default();
        assert!(tail.lines().is_empty());
        for n in 0..10_000 {
            tail.keep(InstanceId(1), Channel::Stdout, format!("line {n}\n").as_bytes());
        }
        tail.keep(InstanceId(1), Channel::Stdout, b"prompt");
        let mut expected: Vec<String> = (9991..10_000).map(|n| format!("line {n}")).collect();
        expected.push("prompt".into());
        assert_eq!(texts(&tail), expected);
        assert!(tail.stdout.len() <= 2 * KEPT);
    }

    #[test]
    fn the_lines_of_stderr_come_last_and_first_if_there_is_no_place() {
        let mut tail = Tail::default();
        tail.keep(InstanceId(1), Channel::Stderr, b"Traceback\nboom\n");
        tail.keep(InstanceId(1), Channel::Stdout, b"\n1\n2\n3\n4\n5\n6\n7\n8\n");
        assert_eq!(texts(&tail), ["1", "2", "3", "4", "5", "6", "7", "8", "Traceback", "boom"]);
    }

    #[test]
    fn the_next_instance_begins_with_nothing() {
        let mut tail = Tail::default();
        tail.keep(InstanceId(1), Channel::Stderr, b"old\n");
        tail.keep(InstanceId(2), Channel::Stdout, b"new\n");
        assert_eq!(texts(&tail), ["new"]);
    }

    #[test]
    fn one_endless_line_is_shown_by_its_end() {
        let mut tail = Tail::default();
        tail.keep(InstanceId(1), Channel::Stdout, &vec![b'x'; 70_000]);
        tail.keep(InstanceId(1), Channel::Stdout, b"end");
        assert_eq!(texts(&tail), [format!("{}end", "x".repeat(KEPT - 3))]);
    }
}
