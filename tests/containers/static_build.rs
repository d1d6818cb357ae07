//! The static build itself, looked at as a file.

use std::fs;

use crate::harness::{engine, static_build};

/// What is promised, in bytes.
const MOST: usize = 6_000_000;

#[test]
fn it_is_one_small_static_file_that_names_no_place_of_this_machine() {
    // It takes minutes where it was not built: for those who also run it.
    if engine().is_none() {
        return;
    }
    let program = fs::read(static_build()).expect("it was built");
    assert!(program.len() < MOST, "{} bytes", program.len());
    assert_eq!(interpreters(&program), 0, "it wants a dynamic loader");
    let own = fs::read(std::env::current_exe().expect("we run")).expect("we can be read");
    assert_eq!(interpreters(&own), 1, "the look at headers does not see that a test is dynamic");
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    for place in [env!("CARGO_MANIFEST_DIR"), &cargo, &format!("{home}/.rustup")] {
        let found = program.windows(place.len()).any(|bytes| bytes == place.as_bytes());
        assert!(!found, "it names `{place}`, so another place makes another file");
    }
}

/// The program headers of type `PT_INTERP` (elf(5); 64 bits, little-endian).
fn interpreters(elf: &[u8]) -> usize {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).filter(|index| number(table + index * size, 4) == 3).count()
}
