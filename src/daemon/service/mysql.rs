//! `MySQL` and `MariaDB` (the client/server protocol, version 10): a login, and `COM_QUIT`.
//!
//! Reading the greeting would do to see that it answers, but a server counts those who leave after it and, at a hundred
//! (`max_connect_errors`), shuts out their host: the app too. Whoever logs in, or is refused, is not counted.

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::url::Url;
use super::wire::Wire;
use super::{ANSWERS, ANSWERS_FULL, ANSWERS_IN_TLS, NO_DATABASE, NOT_ALLOWED, Verdict, WRONG_PASSWORD, Why};

const NO_MYSQL: Why = Why::Borrowed("does not speak mysql");

/// Capabilities (the protocol's "Capabilities Flags"): long passwords, protocol 4.1, its proofs, named plugins.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
/// ... and a database to begin with.
const WITH_DATABASE: u32 = 0x8;

pub(super) async fn ask(url: &Url) -> Verdict {
    let mut wire = Wire::connect(&url.places).await?;
    let (number, greeting) = packet(&mut wire).await?;
    if let [0xff, rest @ ..] = greeting.as_slice() {
        return refusal(rest, None);
    }
    let Challenge { salt, plugin } = Challenge::read(&greeting).ok_or(NO_MYSQL)?;
    // Where the app comes by TLS, what is made of its password is not to be seen by others.
    let password = url.password.as_deref().filter(|_| !wants_tls(url));
    send(&mut wire, number, &response(url, &proof(&plugin, &salt, password), &plugin)).await?;
    loop {
        let (number, answer) = packet(&mut wire).await?;
        match answer.as_slice() {
            [0x00, ..] => {
                // It has answered: whether it hears us leave is of no importance.
                let _ = send(&mut wire, u8::MAX, &[0x01]).await;
                return ANSWERS;
            }
            [0xff, rest @ ..] => return refusal(rest, password),
            // The user has another plugin than most.
            [0xfe, rest @ ..] => {
                let (plugin, salt) = text(rest).ok_or(NO_MYSQL)?;
                let salt = salt.strip_suffix(b"\0").unwrap_or(salt);
                send(&mut wire, number, &proof(plugin, salt, password)).await?;
                if !is_known(plugin) {
                    // It may well refuse that: then we know no more.
                    let _ = packet(&mut wire).await;
                    return ANSWERS;
                }
            }
            // caching_sha2_password knows the proof, and an OK follows ...
            [0x01, 0x03] => {}
            // ... or has not seen the password yet, and would now have it as it is.
            [0x01, 0x04] => return ANSWERS,
            _ => return Err(NO_MYSQL),
        }
    }
}

/// What a greeting asks.
struct Challenge {
    salt: Vec<u8>,
    plugin: Vec<u8>,
}

impl Challenge {
    /// `Protocol::HandshakeV10`.
    fn read(greeting: &[u8]) -> Option<Challenge> {
        let rest = greeting.strip_prefix(&[10])?;
        let (_version, rest) = text(rest)?;
        let (_thread, rest) = rest.split_at_checked(4)?;
        let (first, rest) = rest.split_at_checked(8)?;
        // A zero, capabilities, the character set, the status, more capabilities, a length, and ten zeros.
        let (_rest, rest) = rest.split_at_checked(1 + 2 + 1 + 2 + 2 + 1 + 10)?;
        let (second, rest) = rest.split_at_checked(12)?;
        let plugin = text(rest.strip_prefix(b"\0")?).map_or(NATIVE, |(plugin, _)| plugin);
        Some(Challenge { salt: [first, second].concat(), plugin: plugin.to_owned() })
    }
}

/// Whether it is one.
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    Challenge::read(bytes).is_some()
}

const NATIVE: &[u8] = b"mysql_native_password";
const CACHING: &[u8] = b"caching_sha2_password";

fn is_known(plugin: &[u8]) -> bool {
    plugin == NATIVE || plugin == CACHING
}

/// What shows that we know the password, in the way of a plugin; nothing where we do not.
fn proof(plugin: &[u8], salt: &[u8], password: Option<&[u8]>) -> Vec<u8> {
    let Some(password) = password.filter(|_| is_known(plugin)) else { return Vec::new() };
    let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(one, other)| one ^ other).collect();
    if plugin == NATIVE {
        let once = Sha1::digest(password);
        xor(&once, &Sha1::new_with_prefix(salt).chain_update(Sha1::digest(once)).finalize())
    } else {
        let once = Sha256::digest(password);
        xor(&once, &Sha256::new_with_prefix(Sha256::digest(once)).chain_update(salt).finalize())
    }
}

/// `Protocol::HandshakeResponse41`.
fn response(url: &Url, proof: &[u8], plugin: &[u8]) -> Vec<u8> {
    let database = url.database();
    let capabilities = CAPABILITIES | database.as_ref().map_or(0, |_| WITH_DATABASE);
    let mut response = capabilities.to_le_bytes().to_vec();
    // A packet's size, and UTF-8.
    response.extend([0, 0, 0, 1, 33]);
    response.extend([0; 23]);
    response.extend(url.user.iter().flatten().chain(b"\0"));
    response.push(u8::try_from(proof.len()).unwrap_or_default());
    response.extend(proof);
    if let Some(database) = database {
        response.extend(database.iter().chain(b"\0"));
    }
    response.extend(plugin.iter().chain(b"\0"));
    response
}

/// The ways of drivers to say it.
fn wants_tls(url: &Url) -> bool {
    let word =
        url.option(&["ssl", "ssl_mode", "ssl-mode", "sslmode", "ssl_ca", "sslca", "ssl-ca", "usessl", "tls"]);
    word.is_some_and(|word| {
        !matches!(&*word.to_ascii_lowercase(), b"false" | b"0" | b"disabled" | b"disable")
    })
}

/// What an error means (the manual, "Server Error Message Reference").
pub(super) fn refusal(rest: &[u8], password: Option<&[u8]>) -> Verdict {
    let (code, _) = rest.split_first_chunk::<2>().ok_or(NO_MYSQL)?;
    match u16::from_le_bytes(*code) {
        1045 | 1698 if password.is_some() => Err(WRONG_PASSWORD.into()),
        // We did not try.
        1045 | 1698 => ANSWERS,
        1040 | 1203 => ANSWERS_FULL,
        1044 | 1129 | 1130 => Err(NOT_ALLOWED.into()),
        1049 => Err(NO_DATABASE.into()),
        1053 => Err("shutting down".into()),
        3159 => ANSWERS_IN_TLS,
        code => Err(format!("refused with {code}").into()),
    }
}

/// Up to a zero, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

async fn packet(wire: &mut Wire) -> Result<(u8, Vec<u8>), Why> {
    let head = wire.take(4).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    // What is no packet gives a length of its own; no greeting or answer to a login is so long.
    let length = usize::try_from(length).ok().filter(|length| *length < 4096).ok_or(NO_MYSQL)?;
    Ok((head[3], wire.take(length).await?))
}

/// The answer to a packet with that number.
async fn send(wire: &mut Wire, number: u8, body: &[u8]) -> Result<(), Why> {
    let length = u32::try_from(body.len()).unwrap_or_default().to_le_bytes();
    wire.send(&[&length[..3], &[number.wrapping_add(1)], body].concat()).await
}
