//! Whatever an instance sends, each word is heard once, in the order in which they were said last, and is fit for a line.

use std::mem::discriminant;

use supervise::api::Word;
use supervise::daemon::bare::notification;

/// As many bytes of a status are kept.
const STATUS: usize = 256;

pub(crate) fn check(input: &[u8]) {
    let words = notification(input);
    let kinds: Vec<_> = words.iter().map(discriminant).collect();
    assert!(kinds.iter().enumerate().all(|(at, kind)| !kinds[..at].contains(kind)), "{words:?}");
    // Each line as a reader of its own would take it, the last of each kind.
    let mut expected: Vec<(usize, Word)> = Vec::new();
    for (at, line) in input.split(|byte| *byte == b'\n').enumerate() {
        let word = match line {
            b"READY=1" => Word::Ready,
            b"STOPPING=1" => Word::Stopping,
            b"WATCHDOG=1" => Word::Alive,
            b"WATCHDOG=trigger" => Word::Failing,
            _ if line.starts_with(b"STATUS=") => Word::Status(String::new()),
            _ => continue,
        };
        expected.retain(|(_, known)| discriminant(known) != discriminant(&word));
        expected.push((at, word));
    }
    assert_eq!(kinds, expected.iter().map(|(_, word)| discriminant(word)).collect::<Vec<_>>());
    for word in &words {
        if let Word::Status(status) = word {
            assert!(status.len() <= STATUS && !status.contains(char::is_control), "{status:?}");
            // Said again, it is the same.
            let again = notification(format!("STATUS={status}").as_bytes());
            assert_eq!(again, [Word::Status(status.trim_ascii().to_owned())]);
        }
    }
}
