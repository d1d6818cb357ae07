//! `reload`: Procfile, env files and spec are read again by the supervisor; what did not change is not touched.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::json;

use super::connection::{Connection, Trouble, Wait, Whereabouts, read};
use super::rollout::Change;
use super::{conclude, effects};
use crate::api::Formation;

/// Has everything read again; the answer is the exit code.
pub fn reload<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    let (path, body) = ("/v1/reload", json!({}));
    if wait == Wait::Happened {
        return effects::watch(whereabouts, &Change { path, body: &body, targets: &[] }, out, err);
    }
    let mut ask = || -> Result<u8, Trouble> {
        let mut connection = Connection::open(whereabouts)?;
        let before: Formation = read(&connection.get("/v1/formation")?)?;
        let answer = connection.post(path, &body, wait)?;
        Ok(effects::tell(out, Some(&before), None, &answer)?)
    };
    conclude(ask(), err)
}
