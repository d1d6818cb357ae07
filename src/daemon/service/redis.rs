//! Redis, Valkey and Sentinel (the Redis serialization protocol, RESP2): AUTH where the URL has a password, then PING.

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, ANSWERS_FULL, NOT_ALLOWED, Verdict, WRONG_PASSWORD};

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    if let Some(password) = &url.password {
        let words = [Some(&b"AUTH"[..]), url.user.as_deref(), Some(password)];
        wire.send(&command(&words.into_iter().flatten().collect::<Vec<_>>())).await?;
        let reply = wire.line().await?;
        // A server without passwords refuses one as well, and many clients pass over that.
        if !reply.starts_with(b"-ERR") || reply.starts_with(b"-ERR invalid password") {
            read(&reply)?;
        }
    }
    wire.send(&command(&[b"PING"])).await?;
    read(&wire.line().await?)
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The first word of an error is its kind; the rest may repeat what was sent.
pub(super) fn read(reply: &[u8]) -> Verdict {
    let word = reply.split(|byte| *byte == b' ').next().unwrap_or_default();
    match word {
        b"+PONG" | b"+OK" => ANSWERS,
        b"-LOADING" => Err("loading its data".into()),
        b"-NOAUTH" => Err("wants a password".into()),
        b"-WRONGPASS" => Err(WRONG_PASSWORD.into()),
        b"-MASTERDOWN" => Err("its master is down".into()),
        b"-MISCONF" => Err("cannot save its data".into()),
        b"-BUSY" => Err("busy with a script".into()),
        b"-DENIED" => Err(NOT_ALLOWED.into()),
        // A user who may not PING may do other things.
        b"-NOPERM" => ANSWERS,
        b"-ERR" if reply.starts_with(b"-ERR invalid password") => Err(WRONG_PASSWORD.into()),
        b"-ERR" if reply.starts_with(b"-ERR max number of clients") => ANSWERS_FULL,
        [b'-', ..] => Err("answers with an error".into()),
        _ => Err("does not speak redis".into()),
    }
}
