//! See `supervise_fuzz::env`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("env", input));
