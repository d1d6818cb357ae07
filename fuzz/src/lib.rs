//! What must hold for any input, one file for each door that bytes of others come in by.
//!
//! `fuzz_targets/` has libfuzzer call these with what it makes up, and `tests/fuzz.rs` with what is committed in `seeds/`: an
//! input that was a fault once stays a test. None asks for a clock, a network or another process.

mod env;
mod formation;
mod lines;
mod notify;
mod procfile;
mod release;
mod request;
mod spec;
mod system;
mod words;

/// What is called with any bytes.
type Check = fn(&[u8]);

/// Each target by its name.
pub(crate) const TARGETS: [(&str, Check); 10] = [
    ("env", env::check),
    ("formation", formation::check),
    ("lines", lines::check),
    ("notify", notify::check),
    ("procfile", procfile::check),
    ("release", release::check),
    ("request", request::check),
    ("spec", spec::check),
    ("system", system::check),
    ("words", words::check),
];

/// Panics where something does not hold.
#[allow(unreachable_pub, reason = "tests/fuzz.rs has it as a module of its own")]
pub fn check(target: &str, input: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("it is a target");
    check(input);
}

/// Every error has a place that is in the input, begins with a small letter, and is said on lines of its own.
fn expect_good(errors: &supervise::app::Diagnostics, input: &[u8]) {
    use supervise::app::Place;

    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    assert!(!errors.is_empty());
    for error in errors.iter() {
        assert!(!error.reason.is_empty() && !error.reason.starts_with(char::is_uppercase), "{error}");
        assert!(!error.reason.contains(char::is_control), "{error:?}");
        match error.place {
            Place::Line(_, line) => assert!((1..=lines.len()).contains(&line), "{error}"),
            Place::Column(_, line, column) => {
                assert!((1..=lines.len()).contains(&line), "{error}");
                let length = String::from_utf8_lossy(lines[line - 1]).chars().count();
                assert!((1..=length + 1).contains(&column), "{error}");
            }
            Place::Arguments | Place::Environment | Place::File(_) => {}
        }
    }
    // It can be said.
    assert!(errors.to_string().starts_with("error: "));
}
