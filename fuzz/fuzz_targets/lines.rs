//! See `supervise_fuzz::lines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("lines", input));
