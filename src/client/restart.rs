//! `restart`: a new life for every slot that is meant.

use std::io::Write;

use serde_json::json;

use super::connection::{Wait, Whereabouts};
use super::effects;
use crate::api::Target;

/// Restarts whoever is meant, everybody where nobody is named; the answer is the exit code.
pub fn restart(
    whereabouts: &Whereabouts,
    targets: &[Target],
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    effects::steer(whereabouts, "/v1/restart", &json!({ "targets": targets }), None, wait, out, err)
}
