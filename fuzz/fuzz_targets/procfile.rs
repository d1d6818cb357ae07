//! See `supervise_fuzz::procfile`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| supervise_fuzz::check("procfile", input));
