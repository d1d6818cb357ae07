//! SMTP (RFC 5321): its greeting, and a polite QUIT.

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, Verdict};

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    let code = loop {
        let line = wire.line().await?;
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        let code = code.ok_or("does not speak smtp")?;
        // `220-` is to be continued.
        if line.get(3) != Some(&b'-') {
            break code;
        }
    };
    // It has answered: whether it hears us leave is of no importance.
    let _ = wire.send(b"QUIT\r\n").await;
    let _ = wire.line().await;
    match code {
        220 => ANSWERS,
        421 => Err("not available at the moment".into()),
        code => Err(format!("refused with {code}").into()),
    }
}
