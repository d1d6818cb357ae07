//! `deploy`: everything that runs changes to another release.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use serde_json::json;

use super::connection::{Connection, Wait, Whereabouts};
use super::rollout::Change;
use super::{choose, conclude, effects, tell};
use crate::store::Number;

/// Deploys a release, `v4`; the answer is the exit code. Where its build is gone or another one by now, nobody is asked to.
pub fn deploy<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    state: Option<&Path>,
    release: Number,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    // Nobody who could do it: that comes first.
    if let Err(trouble) = Connection::open(whereabouts) {
        return conclude(Err(trouble), err);
    }
    order(whereabouts, state, release, wait, out, err)
}

/// The same, where it is known that there is a supervisor.
pub(super) fn order<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    state: Option<&Path>,
    release: Number,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    // It is held until the supervisor holds it.
    let _chosen = match choose(&release.to_string(), state, whereabouts.inputs.clone(), err) {
        Ok(chosen) => chosen,
        Err(trouble) => return tell(&trouble, err),
    };
    let (path, body) = ("/v1/deploy", json!({ "release": release.to_string() }));
    match wait {
        Wait::Accepted => effects::steer(whereabouts, path, &body, None, wait, out, err),
        Wait::Happened => effects::watch(whereabouts, &Change { path, body: &body, targets: &[] }, out, err),
    }
}
