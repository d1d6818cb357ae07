//! What stands before every line of one pipe.

/// It is copied in steps of so many bytes, which the compiler makes a move or two of registers instead of a call.
const STRIDE: usize = 32;

/// Bytes that are made once and copied often.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The bytes, and zeros up to a whole number of strides.
    bytes: Box<[u8]>,
    length: usize,
}

impl Prefix {
    pub(super) fn new(text: String) -> Prefix {
        let mut bytes = text.into_bytes();
        let length = bytes.len();
        bytes.resize(length.next_multiple_of(STRIDE), 0);
        Prefix { bytes: bytes.into(), length }
    }

    /// Writes over a part of it.
    pub(super) fn set(&mut self, at: usize, part: &[u8]) {
        self.bytes[at..at + part.len()].copy_from_slice(part);
    }

    /// Appends it to a buffer, in which there is room for so many more bytes then.
    #[inline]
    pub(super) fn begin(&self, buffer: &mut Vec<u8>, more: usize) {
        let begin = buffer.len();
        buffer.reserve(self.bytes.len() + more);
        for stride in self.bytes.as_chunks::<STRIDE>().0 {
            buffer.extend_from_slice(stride);
        }
        buffer.truncate(begin + self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_any_length_is_appended_as_it_is() {
        for length in 0..100 {
            let text: String = ('!'..='~').cycle().take(length).collect();
            let mut prefix = Prefix::new(text.clone());
            let mut buffer = b"before ".to_vec();
            prefix.begin(&mut buffer, 0);
            assert_eq!(buffer, format!("before {text}").into_bytes());
            prefix.set(length / 2, &text.as_bytes()[length / 2..]);
            buffer.clear();
            prefix.begin(&mut buffer, 0);
            assert_eq!(buffer, text.into_bytes());
        }
    }
}
