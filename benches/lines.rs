//! From the bytes of one pipe to dressed lines, without any pipe: what the splitter, the tag and JSON's escapes cost.
//!
//! `cargo bench --bench lines`

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use supervise::stream::{Format, dressed};

/// As much as a pipe of the usual size holds.
const READ: usize = 64 * 1024;

fn main() {
    divan::main();
}

/// Lines of 100 bytes that need no escape.
#[divan::bench(args = [Format::Text, Format::Json, Format::Raw])]
fn plain(bencher: Bencher, format: Format) {
    dress(bencher, format, &format!("{}\n", "x".repeat(99)));
}

/// Every third byte needs an escape in JSON.
#[divan::bench(args = [Format::Text, Format::Json])]
fn quoted(bencher: Bencher, format: Format) {
    dress(bencher, format, &format!("{}\n", "a\"b".repeat(33)));
}

/// Lines of ten bytes: the head weighs most.
#[divan::bench(args = [Format::Text, Format::Json, Format::Raw])]
fn short(bencher: Bencher, format: Format) {
    dress(bencher, format, "012345678\n");
}

/// One line longer than any that comes out whole.
#[divan::bench(args = [Format::Text, Format::Json])]
fn endless(bencher: Bencher, format: Format) {
    dress(bencher, format, &"x".repeat(READ));
}

/// 16 reads full of the same.
fn dress(bencher: Bencher, format: Format, line: &str) {
    let read = line.repeat(READ / line.len());
    let reads = [read.as_bytes(); 16];
    let lines = reads.len() * read.bytes().filter(|byte| *byte == b'\n').count();
    bencher
        .counter(BytesCount::new(reads.len() * read.len()))
        .counter(ItemsCount::new(lines))
        .bench(|| dressed(format, &reads).expect("/dev/null can be opened"));
}
