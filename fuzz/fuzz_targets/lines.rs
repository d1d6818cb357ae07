//! Whatever one process writes, and however its pipe is read: without its tags the output is the input, line by line.
//!
//! The first two bytes of the input say how the rest is cut into reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supervise::stream::{Format, dressed};

fuzz_target!(|input: &[u8]| {
    let [first, second, bytes @ ..] = input else { return };
    // Longer lines come in pieces.
    if bytes.split(|byte| *byte == b'\n').any(|line| line.len() > 65_536) {
        return;
    }
    let mut reads = Vec::new();
    let (mut rest, mut length) = (bytes, *first);
    while !rest.is_empty() {
        let (read, more) = rest.split_at(rest.len().min(usize::from(length % 97) + 1));
        reads.push(read);
        rest = more;
        length = length.wrapping_mul(31).wrapping_add(*second);
    }
    let mut expected = bytes.to_vec();
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        expected.push(b'\n');
    }
    let out = |format| dressed(format, &reads).expect("there is /dev/null");
    assert_eq!(out(Format::Raw), expected);
    let text = out(Format::Text);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let untagged = lines.flat_map(|line| line.strip_prefix(b"web.1     | ").expect("every line has its tag"));
    assert!(untagged.eq(&expected));
    let json = String::from_utf8(out(Format::Json)).expect("JSON is UTF-8");
    let objects = json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count();
    assert_eq!(objects, expected.iter().filter(|byte| **byte == b'\n').count());
    // RFC 8259 section 7: no control character stands in a string, and each line is ended once.
    assert_eq!(json.bytes().filter(|byte| *byte < 0x20).count(), objects);
});
