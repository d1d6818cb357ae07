//! The key of a store, and what is made with it: ids and seals.

use std::fmt;
use std::io;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Random bytes that nobody else has: a short secret cannot be guessed from a hash that is made with them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; Key::LENGTH]);

/// Shows nothing.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl Key {
    /// Bytes: as many as the hash has (RFC 2104 section 3).
    const LENGTH: usize = 32;

    /// A new one.
    ///
    /// # Errors
    /// getrandom(2) refuses.
    pub(super) fn random() -> io::Result<Key> {
        let mut bytes = [0; Key::LENGTH];
        // SAFETY: it writes at most so many bytes to where they have room.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), Key::LENGTH, 0) };
        // So few bytes come as a whole or not at all (getrandom(2)).
        if usize::try_from(got) == Ok(Key::LENGTH) { Ok(Key(bytes)) } else { Err(io::Error::last_os_error()) }
    }

    /// As it stands in `store.json`.
    pub(super) fn to_text(&self) -> String {
        hex(&self.0)
    }

    pub(super) fn of_text(text: &str) -> Option<Key> {
        let bytes = text.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let pairs: Option<Vec<u8>> = bytes.chunks(2).filter(|chunk| chunk.len() == 2).map(pair).collect();
        pairs?.try_into().ok().filter(|_| bytes.len() == 2 * Key::LENGTH).map(Key)
    }

    /// A keyed hash of all parts and of where each ends; `purpose` keeps hashes of one kind from being taken for another.
    pub(super) fn hash(&self, purpose: &str, parts: &[&[u8]]) -> String {
        // A key of any length is one (RFC 2104).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes())
    }
}

/// A hash without a key, of what is no secret.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_not_shown() {
        let key = Key::random().expect("the kernel has randomness");
        assert_eq!(Key::of_text(&key.to_text()).as_ref(), Some(&key));
        assert_ne!(Key::random().expect("as before"), key);
        assert!(!format!("{key:?}").contains(&key.to_text()));
        let text = key.to_text();
        for wrong in ["", "zz", &text[1..], &text[2..], &format!("{text}00")] {
            assert_eq!(Key::of_text(wrong), None);
        }
    }

    #[test]
    fn a_hash_tells_where_a_part_ends_and_what_it_is_for() {
        // RFC 4231 has no vectors with our lengths in it: what matters is that they differ.
        let key = Key([7; 32]);
        let hashes = [
            key.hash("id", &[b"ab", b"c"]),
            key.hash("id", &[b"a", b"bc"]),
            key.hash("id", &[b"abc"]),
            key.hash("seal", &[b"abc"]),
            Key([8; 32]).hash("id", &[b"abc"]),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{hashes:?}");
        }
    }
}
