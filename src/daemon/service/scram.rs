//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side: proves a password without showing it.

use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// One exchange.
pub(super) struct Scram {
    nonce: String,
}

/// Rounds that are counted: a server may ask for any number, and `PostgreSQL` asks for 4096.
const ROUNDS: u32 = 500_000;

type Key = [u8; 32];

impl Scram {
    /// How it is called.
    pub(super) const NAME: &[u8] = b"SCRAM-SHA-256";

    pub(super) fn new() -> Scram {
        // Its keys are the system's randomness; it keeps an old exchange from being played to us again.
        let random = RandomState::new();
        let [one, two] = [1, 2].map(|part| random.hash_one(part));
        Scram { nonce: format!("{one:016x}{two:016x}") }
    }

    /// The first message. Who we are was said before.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// The second one, to the server's first. None inside where we cannot know: too many rounds, or a password that would have
    /// to be normalised (RFC 4013).
    #[allow(clippy::option_option, reason = "None is a message that is none")]
    pub(super) fn proof(&self, challenge: &[u8], password: &[u8]) -> Option<Option<String>> {
        let challenge = std::str::from_utf8(challenge).ok()?;
        let field = |name: &str| challenge.split(',').find_map(|field| field.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce))?;
        let salt = STANDARD.decode(field("s=")?).ok()?;
        let rounds = field("i=")?.parse::<u32>().ok().filter(|rounds| *rounds > 0)?;
        if rounds > ROUNDS || !password.is_ascii() {
            return Some(None);
        }
        // No channel binding: the base64 of `n,,`.
        let unproved = format!("c=biws,r={nonce}");
        let salted = salted(password, &salt, rounds);
        let client_key = mac(&salted, &[b"Client Key"]);
        let first = self.first_bare();
        let message = [first.as_bytes(), b",", challenge.as_bytes(), b",", unproved.as_bytes()];
        let signature = mac(&Key::from(Sha256::digest(client_key)), &message);
        Some(Some(format!("{unproved},p={}", STANDARD.encode(xor(client_key, signature)))))
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }
}

/// `Hi` (RFC 5802 section 2.2): PBKDF2 with one block.
fn salted(password: &[u8], salt: &[u8], rounds: u32) -> Key {
    let keyed = keyed(password);
    let mac = |text: &[u8]| Key::from(keyed.clone().chain_update(text).finalize().into_bytes());
    let mut last = mac(&[salt, &1_u32.to_be_bytes()].concat());
    let mut all = last;
    for _ in 1..rounds {
        last = mac(&last);
        all = xor(all, last);
    }
    all
}

fn mac(key: &Key, parts: &[&[u8]]) -> Key {
    let mac = parts.iter().fold(keyed(key), Mac::chain_update);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A key of any length is one (RFC 2104).
    Hmac::new_from_slice(key).expect("HMAC takes any key")
}

fn xor(mut one: Key, other: Key) -> Key {
    one.iter_mut().zip(other).for_each(|(one, other)| *one ^= other);
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        // RFC 7677 section 3, whose user has a name: ours has none, so only what does not depend on it is held against it.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = salted(b"pencil", &salt, 4096);
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let key = mac(&salted, &[b"Client Key"]);
        let proof = xor(key, mac(&Key::from(Sha256::digest(key)), &[message]));
        assert_eq!(STANDARD.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    }

    #[test]
    fn a_challenge_that_is_none_or_too_hard_is_not_answered() {
        let scram = Scram { nonce: "abc".to_owned() };
        let proof = |challenge: &[u8], password: &str| scram.proof(challenge, password.as_bytes());
        assert!(proof(b"r=abcd,s=AAAA,i=1", "x").flatten().is_some());
        assert_eq!(proof(b"r=abcd,s=AAAA,i=4294967295", "x"), Some(None));
        assert_eq!(proof(b"r=abcd,s=AAAA,i=1", "\u{fb01}"), Some(None));
        for none in ["", "r=xbcd,s=AAAA,i=1", "r=abcd,s=*,i=1", "r=abcd,s=AAAA,i=0", "r=abcd,s=AAAA", "m=x"] {
            assert_eq!(proof(none.as_bytes(), "x"), None, "{none}");
        }
        assert_eq!(proof(b"\xff", "x"), None);
        assert_ne!(Scram::new().first(), Scram::new().first());
    }
}
