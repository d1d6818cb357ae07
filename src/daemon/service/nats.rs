//! NATS (its client protocol): INFO comes first; CONNECT with what the URL has, then PING.

use serde_json::{Value, json};

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, ANSWERS_FULL, ANSWERS_IN_TLS, Verdict, WRONG_PASSWORD, Why};

pub(super) async fn ask(url: &Url) -> Verdict {
    const NO_NATS: Why = Why::Borrowed("does not speak nats");
    let mut wire = Wire::connect(&url.places).await?;
    let info = wire.line().await?;
    let info = info.strip_prefix(b"INFO ").and_then(|info| serde_json::from_slice::<Value>(info).ok());
    let info = info.ok_or(NO_NATS)?;
    if info["tls_required"] == true {
        return ANSWERS_IN_TLS;
    }
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let who = match (&url.user, &url.password) {
        (Some(user), Some(password)) => json!({ "user": text(user), "pass": text(password) }),
        (Some(token), None) => json!({ "auth_token": text(token) }),
        (None, _) => json!({}),
    };
    let mut connect =
        json!({ "verbose": false, "pedantic": false, "lang": "supervise", "version": "1", "protocol": 1 });
    if let (Some(connect), Some(who)) = (connect.as_object_mut(), who.as_object()) {
        connect.extend(who.clone());
    }
    wire.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
    loop {
        let line = wire.line().await?;
        match line.as_slice() {
            b"PONG" => return ANSWERS,
            // It may say news of its cluster, or ask us the same.
            line if line.starts_with(b"INFO ") || line == b"PING" || line == b"+OK" => {}
            b"-ERR 'Authorization Violation'" => {
                return Err(if url.user.is_some() { WRONG_PASSWORD } else { "wants a password" }.into());
            }
            b"-ERR 'maximum connections exceeded'" => return ANSWERS_FULL,
            line if line.starts_with(b"-ERR") => return Err("answers with an error".into()),
            _ => return Err(NO_NATS),
        }
    }
}
