//! See `supervise_fuzz::spec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("spec", input));
