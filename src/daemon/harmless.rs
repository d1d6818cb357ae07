//! What others say, made fit for one line of ours.

/// A text without control characters, which could move a terminal's cursor or end our line; cut to so many bytes, between
/// two characters.
pub(super) fn harmless(bytes: &[u8], at_most: usize) -> String {
    /// Of a character, which may be the one that is cut.
    const LONGEST: usize = 4;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(at_most + LONGEST)]);
    let mut fit = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        if fit.len() + letter.len_utf8() > at_most {
            break;
        }
        fit.push(letter);
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(harmless(b"a\x1b[31mb\x07\xffc", 99), "a\u{fffd}[31mb\u{fffd}\u{fffd}c");
        assert_eq!(harmless("größe".as_bytes(), 99), "größe");
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "üü\u{1}\u{1}€€";
        let whole = harmless(text.as_bytes(), 99);
        for at_most in 0..20 {
            let cut = harmless(text.as_bytes(), at_most);
            assert!(cut.len() <= at_most && whole.starts_with(&cut), "{cut}");
        }
    }
}
