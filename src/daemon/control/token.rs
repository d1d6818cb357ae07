//! The token of `--token-file`: who knows it may change what runs.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A secret that is shown to nobody.
#[derive(Clone)]
pub struct Token(Vec<u8>);

/// The shortest, in bytes: 16 hexadecimal digits are 64 bits, which nobody tries through a port.
const SHORTEST: usize = 16;

/// The longest: it has to fit into a header.
const LONGEST: usize = 4096;

/// What others may not do with the file. A group may read it: that is how Kubernetes mounts a secret (`fsGroup`).
const TOO_OPEN: u32 = 0o027;

impl Token {
    /// Reads it from a file; white space around it does not belong to it.
    ///
    /// # Errors
    /// Why it cannot be used, with what to do. What the file says is not in it.
    pub fn read(path: &Path) -> Result<Token, String> {
        let explain = |why: &dyn fmt::Display| format!("`--token-file {}`: {why}", path.display());
        let file = File::open(path).map_err(|error| explain(&error))?;
        let mode = file.metadata().map_err(|error| explain(&error))?.permissions().mode() & 0o777;
        if mode & TOO_OPEN != 0 {
            let why = format!(
                "others may read or change it (mode {mode:04o})\n  help: `chmod 600 {}`",
                path.display()
            );
            return Err(explain(&why));
        }
        let mut text = Vec::new();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 1;
        file.take(most).read_to_end(&mut text).map_err(|error| explain(&error))?;
        Token::new(&text).map_err(|why| explain(&why))
    }

    /// # Errors
    /// It cannot be used.
    pub(super) fn new(text: &[u8]) -> Result<Token, String> {
        let token = text.trim_ascii();
        let help = "`openssl rand -hex 32` makes a good one";
        if token.is_empty() {
            return Err(format!("there is no token in it\n  help: {help}"));
        }
        if token.len() < SHORTEST {
            return Err(format!("a token has at least {SHORTEST} bytes\n  help: {help}"));
        }
        if text.len() > LONGEST {
            return Err(format!("a token has at most {LONGEST} bytes\n  help: {help}"));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "a token is letters, digits and signs, without a space or a line break\n  help: {help}"
            ));
        }
        Ok(Token(token.to_vec()))
    }

    /// Whether somebody knows it. How long that takes tells nothing of how much of it was right.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        if given.len() != self.0.len() {
            return false;
        }
        let different = self
            .0
            .iter()
            .zip(given)
            .fold(0, |different, (ours, theirs)| black_box(different | (ours ^ theirs)));
        different == 0
    }
}

/// Without the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::super::testing::Scratch;
    use super::*;

    fn read(text: &str, mode: u32) -> Result<Token, String> {
        let scratch = Scratch::new();
        let path = scratch.path("token");
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        Token::read(&path)
    }

    #[test]
    fn white_space_around_a_token_does_not_belong_to_it() {
        let token = read("\n 0123456789abcdef\r\n", 0o600).expect("a token");
        assert!(token.is(b"0123456789abcdef"));
        for wrong in
            [&b""[..], b"0123456789abcde", b"0123456789abcdeF", b"0123456789abcdef ", b"1123456789abcdef"]
        {
            assert!(!token.is(wrong));
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_file_that_others_can_read_is_no_secret() {
        for (mode, fine) in
            [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o604, false), (0o660, false)]
        {
            match read("0123456789abcdef", mode) {
                Ok(_) => assert!(fine, "{mode:o}"),
                Err(error) => {
                    assert!(
                        !fine && error.contains(&format!("{mode:04o}")) && error.contains("chmod 600"),
                        "{error}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_shown() {
        let long = "x".repeat(5000);
        for (text, says) in [
            ("", "there is no token"),
            (" \n", "there is no token"),
            ("0123456789abcde", "at least 16 bytes"),
            ("hunter2hunter2 hunter2", "without a space"),
            ("hunter2hunter2hunter2\nhunter2", "without a space"),
            ("hunter2hunter2hunter2é", "letters, digits"),
            (&long, "at most 4096"),
        ] {
            let error = read(text, 0o600).expect_err(text);
            assert!(error.contains(says) && error.contains("openssl"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Token::read(Path::new("/nowhere/token")).expect_err("it is not there");
        assert!(error.contains("`--token-file /nowhere/token`: No such file"), "{error}");
    }
}
