//! The log file: appended to, and opened again under its name when it was moved away.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// For its owner and those of its group who look after logs; the umask takes away more. What processes write may be secret.
const MODE: u32 = 0o640;

/// Opens the file for appending; it is made where it is not there.
///
/// It does not wait for the reader of a FIFO, and a terminal does not become ours.
///
/// # Errors
/// open(2)'s.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    Ok(OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?.into())
}
