//! `signal`: to the leaders of the slots that are meant.

use std::io::Write;

use serde_json::json;

use super::connection::{Wait, Whereabouts};
use super::effects;
use crate::api::{Signal, Target};

/// Sends a signal to whoever is meant, everybody where nobody is named; the answer is the exit code.
pub fn signal(
    whereabouts: &Whereabouts,
    signal: Signal,
    targets: &[Target],
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    // `HUP`, `RTMIN+3`: as `kill -l` has them.
    let name = signal.to_string();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let body = json!({ "signal": name, "targets": targets });
    effects::steer(whereabouts, "/v1/signal", &body, Some(signal), wait, out, err)
}
