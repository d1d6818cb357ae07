//! `deploy`: everything that runs changes to another release.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::json;

use super::connection::{Wait, Whereabouts};
use super::effects;
use super::rollout::Change;
use crate::store::Number;

/// Deploys a release, `v4`; the answer is the exit code.
pub fn deploy<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    release: Number,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    let (path, body) = ("/v1/deploy", json!({ "release": release.to_string() }));
    match wait {
        Wait::Accepted => effects::steer(whereabouts, path, &body, None, wait, out, err),
        Wait::Happened => effects::watch(whereabouts, &Change { path, body: &body, targets: &[] }, out, err),
    }
}
