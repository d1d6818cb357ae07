//! `restart`: a new life for every slot that is meant.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::json;

use super::connection::{Wait, Whereabouts};
use super::effects;
use super::rollout::Change;
use crate::api::{Manner, Target};

/// Restarts whoever is meant, everybody where nobody is named; the answer is the exit code.
pub fn restart<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    targets: &[Target],
    manner: Manner,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    let path = "/v1/restart";
    match (manner, wait) {
        (Manner::AtOnce, _) => {
            effects::steer(whereabouts, path, &json!({ "targets": targets }), None, wait, out, err)
        }
        (Manner::Rolling, Wait::Accepted) => {
            let body = json!({ "targets": targets, "rolling": true });
            effects::steer(whereabouts, path, &body, None, wait, out, err)
        }
        (Manner::Rolling, Wait::Happened) => {
            let body = json!({ "targets": targets, "rolling": true });
            effects::watch(whereabouts, &Change { path, body: &body, targets }, out, err)
        }
    }
}
