//! memcached (its protocol.txt): `version`.

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, ANSWERS_FULL, Verdict};

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    wire.send(b"version\r\n").await?;
    let reply = wire.line().await?;
    // It has answered: whether it hears us leave is of no importance.
    let _ = wire.send(b"quit\r\n").await;
    match reply.split(|byte| *byte == b' ').next().unwrap_or_default() {
        b"VERSION" => ANSWERS,
        b"ERROR" if reply.starts_with(b"ERROR Too many open connections") => ANSWERS_FULL,
        b"CLIENT_ERROR" => Err("wants a password".into()),
        b"ERROR" | b"SERVER_ERROR" => Err("answers with an error".into()),
        _ => Err("does not speak memcached".into()),
    }
}
