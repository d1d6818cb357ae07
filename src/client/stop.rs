//! `stop`: nothing runs in the slots that are meant until `restart`.

use std::io::Write;

use serde_json::json;

use super::connection::{Wait, Whereabouts};
use super::effects;
use crate::api::Target;

/// Stops whoever is meant, everybody where nobody is named; the slots stay; the answer is the exit code.
pub fn stop(
    whereabouts: &Whereabouts,
    targets: &[Target],
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    effects::steer(whereabouts, "/v1/stop", &json!({ "targets": targets }), None, wait, out, err)
}
