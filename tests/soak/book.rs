//! What the children say that they have written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::reader::Heard;

/// Every life with the lines that it wrote for sure, and those that it may have written.
pub(crate) struct Book(BTreeMap<u64, (u64, u64)>);

impl Book {
    pub(crate) fn read(path: &Path) -> Book {
        let bytes = fs::read(path).expect("the book is ours");
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let pages = bytes.chunks_exact(24);
        assert!(pages.remainder().is_empty(), "a page is whole");
        Book(pages.map(|page| (number(&page[..8]), (number(&page[8..16]), number(&page[16..])))).collect())
    }

    pub(crate) fn lives(&self) -> usize {
        self.0.len()
    }

    /// What was lost, and what was heard though nobody wrote it.
    pub(crate) fn compare(&self, heard: &Heard) -> Vec<String> {
        let mut complaints = heard.complaints().to_vec();
        for (id, (written, perhaps)) in &self.0 {
            let last = heard.last(*id);
            if !(*written..=*perhaps).contains(&last) {
                complaints.push(format!(
                    "of life {id:016x} {last} lines came out, and it wrote {written} to {perhaps}"
                ));
            }
        }
        let strangers = heard.lives().filter(|id| !self.0.contains_key(id));
        complaints.extend(strangers.map(|id| format!("nobody has a life {id:016x}")));
        complaints
    }
}

#[test]
fn a_line_that_is_lost_or_torn_or_made_up_is_seen() {
    let book = Book([(1, (2, 2)), (2, (1, 3)), (3, (1, 1))].into());
    let line = |id: u64, n: u64| format!("web.1 | L {id:016x} {n} xx.");
    let mut good = Heard::default();
    for line in
        [line(1, 1), line(2, 1), line(1, 2), line(3, 1), line(2, 2), "supervise | web.1 started".to_owned()]
    {
        good.hear(&line);
    }
    assert_eq!(book.compare(&good), [""; 0]);
    for (what, lines) in [
        ("lost at the end", vec![line(1, 1), line(2, 1), line(3, 1)]),
        ("lost in the middle", vec![line(1, 2), line(2, 1), line(3, 1)]),
        ("twice", vec![line(1, 1), line(1, 1), line(1, 2), line(2, 1), line(3, 1)]),
        ("a whole life", vec![line(1, 1), line(1, 2), line(2, 1)]),
        ("torn", vec![line(1, 1), line(1, 2).replace("xx.", ""), line(2, 1), line(3, 1)]),
        ("mixed", vec![line(1, 1), line(1, 2) + &line(2, 1), line(3, 1)]),
        ("without a tag", vec![line(1, 1), line(1, 2), line(2, 1), line(3, 1), "xxx.".to_owned()]),
        ("nobody's", vec![line(1, 1), line(1, 2), line(2, 1), line(3, 1), line(4, 1)]),
    ] {
        let mut heard = Heard::default();
        for line in &lines {
            heard.hear(line);
        }
        assert!(!book.compare(&heard).is_empty(), "{what}");
    }
}
