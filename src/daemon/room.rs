//! Descriptors that are kept free. At the limit of open files we must still be able to look into /proc, or descendants
//! would be taken for gone, and to signal by descriptor: so a start, which can wait, fails a little before the limit.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// What a descriptor is for, and with it how many must stay free beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A pipe of a child. A start that fails for want of it is tried again.
    Start,
    /// One of the first clients of the control socket: starts, which come again and again, take what they can get, and somebody has
    /// to be able to look and to stop them.
    FirstClient,
    /// A further client of the control socket, who can try again; or a backing service, which is asked again.
    Client,
    /// A client of the port of `--http`: the control socket has to have room for its own.
    Visitor,
    /// To ask an instance how it is, which can be done another time.
    Probe,
    /// A socket on which an instance may say how it is, and need not.
    Notify,
    /// To watch over an instance without a leader. Without it we look whenever a child ends.
    Watch,
}

impl Purpose {
    fn spare(self) -> u64 {
        match self {
            // As many clients of the socket, and what they leave.
            Purpose::Visitor => 32,
            // A start, its watches and what they leave.
            Purpose::Client | Purpose::Notify => 16,
            // The watches of some instances, and what they leave.
            Purpose::Start | Purpose::Probe => 8,
            // A directory and a file of /proc, a process to be signalled, one more.
            Purpose::FirstClient | Purpose::Watch => 4,
        }
    }
}

/// Whether a new descriptor leaves enough of them free.
///
/// The kernel gives the lowest number that is free (open(2)): whatever is free lies between this one and the limit.
///
/// # Errors
/// EMFILE, as if there were no more.
pub(super) fn left_beside(fd: &impl AsRawFd, purpose: Purpose) -> Result<(), Errno> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let number = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
    if number + purpose.spare() < limit { Ok(()) } else { Err(Errno::EMFILE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::OwnedFd;

    #[test]
    fn the_last_numbers_below_the_limit_are_kept_free() {
        let fd = OwnedFd::from(File::open("/dev/null").expect("it is there"));
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits are readable");
        assert_eq!(left_beside(&fd, Purpose::Start), Ok(()));
        let high = |below: u64| {
            let number = i32::try_from(limit - below).expect("limits are small");
            // SAFETY: a copy with a number that nobody else uses; the owner is the only one.
            unsafe {
                let copy = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number);
                <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(copy)
            }
        };
        assert_eq!(left_beside(&high(9), Purpose::Start), Ok(()));
        assert_eq!(left_beside(&high(8), Purpose::Start), Err(Errno::EMFILE));
        assert_eq!(left_beside(&high(5), Purpose::Watch), Ok(()));
        assert_eq!(left_beside(&high(4), Purpose::Watch), Err(Errno::EMFILE));
    }
}
