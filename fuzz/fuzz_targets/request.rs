//! See `supervise_fuzz::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("request", input));
