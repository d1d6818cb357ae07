//! See `supervise_fuzz::release`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("release", input));
