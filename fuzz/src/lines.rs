//! Whatever one process writes, and however its pipe is read: without its tags the output is the input, line by line.
//!
//! The first two bytes of the input say how the rest is cut into reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use supervise::stream::{Format, dressed};

pub(crate) fn check(input: &[u8]) {
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
    let mut objects = json.lines();
    for line in expected.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]) {
        // RFC 8259 section 7: no control character stands in a string; the reader takes none.
        let object: Value = serde_json::from_str(objects.next().expect("one for each line")).expect("JSON");
        assert_eq!(object["message"], *String::from_utf8_lossy(line));
        let odd = object.get("message_base64").map(|odd| STANDARD.decode(odd.as_str().expect("a text")));
        assert_eq!(odd, std::str::from_utf8(line).is_err().then(|| Ok(line.to_vec())));
    }
    assert_eq!(objects.next(), None);
}
