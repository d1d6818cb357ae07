//! See `supervise_fuzz::formation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("formation", input));
