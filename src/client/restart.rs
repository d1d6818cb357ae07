//! `restart`: a new life for every slot that is meant.

use std::io::Write;

use serde_json::json;

use super::connection::{Connection, Trouble, Wait, Whereabouts};
use super::{conclude, effects};
use crate::api::Target;

/// Restarts whoever is meant, everybody where nobody is named; the answer is the exit code.
pub fn restart(
    whereabouts: &Whereabouts,
    targets: &[Target],
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut ask = || -> Result<u8, Trouble> {
        let body = json!({ "targets": targets });
        let answer = Connection::open(whereabouts)?.post("/v1/restart", &body, wait)?;
        Ok(effects::tell(out, None, None, &answer)?)
    };
    conclude(ask(), err)
}
