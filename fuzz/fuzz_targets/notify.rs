//! See `supervise_fuzz::notify`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("notify", input));
