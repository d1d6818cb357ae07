//! `reload`: Procfile, env files and spec are read again by the supervisor; what did not change is not touched.

use std::io::Write;

use serde_json::json;

use super::connection::{Connection, Trouble, Wait, Whereabouts, read};
use super::{conclude, effects};
use crate::api::Formation;

/// Has everything read again; the answer is the exit code.
pub fn reload(whereabouts: &Whereabouts, wait: Wait, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut ask = || -> Result<u8, Trouble> {
        let mut connection = Connection::open(whereabouts)?;
        let before: Formation = read(&connection.get("/v1/formation")?)?;
        let answer = connection.post("/v1/reload", &json!({}), wait)?;
        Ok(effects::tell(out, Some(&before), None, &answer)?)
    };
    conclude(ask(), err)
}
