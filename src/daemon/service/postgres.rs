//! `PostgreSQL` (its manual, chapter "Frontend/Backend Protocol"): a login, as far as it goes without TLS.
//!
//! TLS can only be asked for: a server that has it says `S`, and is then asked once more in plain text whether it is up. What
//! is made of the password goes only where the app itself would send it: not over a network to a server that has TLS.
//! Whoever leaves while a password is awaited is not logged by the server; later we say goodbye.

use super::scram::Scram;
use super::url::Url;
use super::wire::{Reach, Wire, Work, off_the_loop};
use super::{
    ANSWERS, ANSWERS_FULL, ANSWERS_IN_TLS, NO_DATABASE, NOT_ALLOWED, STARTING_UP, Verdict, WRONG_PASSWORD,
    Why,
};

const NO_POSTGRES: Why = Why::Borrowed("does not speak postgres");

/// Asks whether TLS is spoken: a length and a number that is no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Version 3.0.
const VERSION: [u8; 4] = [0, 3, 0, 0];

const GOODBYE: &[u8] = b"X\x00\x00\x00\x04";

/// Whether the password may be proved on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Given,
    Withheld,
}

pub(super) async fn ask(url: &Url) -> Verdict {
    let (mut wire, proof) = open(url).await?;
    wire.send(&startup(url)).await?;
    let credentials = match (&url.user, &url.password, proof) {
        (Some(user), Some(password), Proof::Given) => Some((user.as_slice(), password.as_slice())),
        _ => None,
    };
    let mut scram = None;
    loop {
        let (kind, body) = message(&mut wire).await?;
        match kind {
            b'R' => {
                let (code, body) = body.split_first_chunk::<4>().ok_or(NO_POSTGRES)?;
                let code = u32::from_be_bytes(*code);
                if code == 0 || code == 12 {
                    // Who we are is settled. That the server knows the password as well is the app's to verify.
                    continue;
                }
                // Elsewhere the app may have a password of its own (PGPASSWORD, .pgpass).
                let Some((user, password)) = credentials else { return ANSWERS };
                let answer = match (code, scram.take()) {
                    (3, _) => [password, b"\0"].concat(),
                    (5, _) => md5(user, password, body),
                    (10, _) if body.split(|byte| *byte == 0).any(|name| name == Scram::NAME) => {
                        let begun = Scram::new();
                        let first = begun.first();
                        scram = Some(begun);
                        let length = u32::try_from(first.len()).unwrap_or_default().to_be_bytes();
                        [Scram::NAME, b"\0", &length, first.as_bytes()].concat()
                    }
                    (11, Some(begun)) => {
                        let (body, password) = (body.to_owned(), password.to_owned());
                        // Thousands of rounds.
                        match off_the_loop(Work::Sum, move || begun.proof(&body, &password))
                            .await?
                            .ok_or(NO_POSTGRES)?
                        {
                            Some(proof) => proof.into_bytes(),
                            None => return ANSWERS,
                        }
                    }
                    // Kerberos and the like.
                    _ => return ANSWERS,
                };
                wire.send(&framed(b"p", &answer)).await?;
            }
            b'E' => return refusal(&body, url, proof),
            b'Z' => {
                // It has answered: whether it hears us leave is of no importance.
                let _ = wire.send(GOODBYE).await;
                return ANSWERS;
            }
            // Settings, a key to cancel by, notices, versions.
            _ => {}
        }
    }
}

/// A connection on which a login may begin. libpq's words for how TLS is wanted, and its rule that a socket needs none.
async fn open(url: &Url) -> Result<(Wire, Proof), Why> {
    let mut wire = Wire::connect(&url.places).await?;
    let word = url.option(&["sslmode", "ssl"]).unwrap_or_default();
    let wanted = matches!(&*word, b"require" | b"verify-ca" | b"verify-full" | b"true" | b"1");
    let asks = match wire.reach() {
        Reach::Socket => false,
        Reach::Loopback => wanted,
        Reach::Network => word != b"disable",
    };
    if !asks {
        return Ok((wire, Proof::Given));
    }
    wire.send(&SSL_REQUEST).await?;
    match wire.take(1).await?[0] {
        // It cannot even say so: it will say why.
        b'S' | b'E' => Ok((Wire::connect(&url.places).await?, Proof::Withheld)),
        b'N' if wanted => Err("has no TLS, and the URL wants it".into()),
        b'N' => Ok((wire, Proof::Given)),
        _ => Err(NO_POSTGRES),
    }
}

fn startup(url: &Url) -> Vec<u8> {
    let user = url.user.as_deref().unwrap_or(b"postgres");
    let mut words = [VERSION.as_slice(), b"user\0", user, b"\0application_name\0supervise\0"].concat();
    if let Some(database) = url.database() {
        words.extend([b"database\0", &*database, b"\0"].concat());
    }
    words.push(0);
    framed(b"", &words)
}

/// A kind, and a length that counts itself.
fn framed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes();
    [kind, &length, body].concat()
}

async fn message(wire: &mut Wire) -> Result<(u8, Vec<u8>), Why> {
    let head = wire.take(5).await?;
    let kind = head[0];
    if !b"REZSKNv".contains(&kind) {
        return Err(NO_POSTGRES);
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = usize::try_from(length).ok().and_then(|length| length.checked_sub(4)).ok_or(NO_POSTGRES)?;
    Ok((kind, wire.take(length).await?))
}

/// What an error means (the manual, appendix A).
fn refusal(body: &[u8], url: &Url, proof: Proof) -> Verdict {
    let field = |kind: u8| {
        let found = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[kind]));
        found.unwrap_or_default()
    };
    let code = field(b'C');
    match code {
        b"57P03" if field(b'M').ends_with(b"shutting down") => Err("shutting down".into()),
        b"57P03" => Err(STARTING_UP.into()),
        // The app is somebody else than us (PGUSER, its own name), or comes by TLS.
        b"28P01" | b"28000" if url.user.is_none() => ANSWERS,
        b"28P01" | b"28000" if proof == Proof::Withheld => ANSWERS_IN_TLS,
        b"28P01" => Err(WRONG_PASSWORD.into()),
        b"28000" => Err(NOT_ALLOWED.into()),
        b"3D000" if url.database().is_none() => ANSWERS,
        b"3D000" => Err(NO_DATABASE.into()),
        b"53300" => ANSWERS_FULL,
        [..] if code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric) => {
            Err(format!("refused with {}", String::from_utf8_lossy(code)).into())
        }
        [..] => Err(NO_POSTGRES),
    }
}

/// `AuthenticationMD5Password`: the digest of a digest and the salt.
fn md5(user: &[u8], password: &[u8], salt: &[u8]) -> Vec<u8> {
    use md5::{Digest, Md5};
    let hex = |parts: [&[u8]; 2]| {
        let digest = Md5::new_with_prefix(parts[0]).chain_update(parts[1]).finalize();
        digest
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|half| b"0123456789abcdef"[usize::from(half)])
            .collect::<Vec<u8>>()
    };
    [b"md5", &*hex([&hex([password, user]), salt]), b"\0"].concat()
}
