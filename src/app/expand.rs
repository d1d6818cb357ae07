//! `--env-expand`: what stands in the place of `$NAME`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Why a text cannot be expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// There is a `${` that is not `${NAME}`.
    NoName,
    /// There is no room for what it would become.
    TooMuch,
}

/// `$NAME` and `${NAME}`; a variable that is not set is empty, and a `$` before anything else is itself. `room` is how many
/// bytes variables may still come to.
///
/// # Errors
/// See [`Unfit`].
pub(super) fn expand_into(
    value: &mut Vec<u8>,
    mut text: &[u8],
    lookup: &dyn Fn(&str) -> Option<OsString>,
    room: &mut usize,
) -> Result<(), Unfit> {
    while let Some(dollar) = memchr::memchr(b'$', text) {
        value.extend_from_slice(&text[..dollar]);
        text = &text[dollar + 1..];
        let braced = text.first() == Some(&b'{');
        let name = &text[usize::from(braced)..];
        let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let named = length > 0 && !name[0].is_ascii_digit();
        match (braced, named) {
            (true, true) if name.get(length) == Some(&b'}') => text = &text[length + 2..],
            (true, _) => return Err(Unfit::NoName),
            (false, true) => text = &text[length..],
            (false, false) => {
                value.push(b'$');
                continue;
            }
        }
        let name = std::str::from_utf8(&name[..length]).map_err(|_| Unfit::NoName)?;
        let found = lookup(name).unwrap_or_default().into_vec();
        *room = room.checked_sub(found.len()).ok_or(Unfit::TooMuch)?;
        value.extend(found);
    }
    value.extend_from_slice(text);
    Ok(())
}
