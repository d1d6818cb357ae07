//! AMQP 0-9-1 (section 4.2.2): the header is answered with Connection.Start.

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, Verdict};

const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    wire.send(HEADER).await?;
    // The head of a frame: its kind, a channel of two bytes and a length of four.
    let head = wire.take(7).await?;
    // Another version says which one, and the app's client may speak it.
    if head.starts_with(b"AMQP") {
        return ANSWERS;
    }
    let method = wire.take(4).await?;
    // A method (1) on channel 0: of class 10 the method 10.
    match (&head[..3], &method[..]) {
        ([1, 0, 0], [0, 10, 0, 10]) => ANSWERS,
        _ => Err("does not speak amqp".into()),
    }
}
