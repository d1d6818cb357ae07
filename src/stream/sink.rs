//! Our stdout, written without ever waiting for its reader.
//!
//! `O_NONBLOCK` belongs to the open file description, which our stdout shares with whoever gave it to us (open(2)): setting it
//! would break them. So each kind of file has its own way not to block, and the flag is never changed.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::write;

use super::allowance::widen_ours;

/// What a poll(2) for writing guarantees a pipe to take without waiting (`PIPE_BUF`, pipe(7)).
const SURE: usize = 4096;

/// An output with the way to write it that does not wait.
#[derive(Debug)]
pub(super) struct Sink {
    fd: OwnedFd,
    way: Way,
    /// Whether it was never full.
    untried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A pipe or terminal, opened again: an open file description of our own, with `O_NONBLOCK`.
    Own,
    /// A socket: each send says for itself that it does not wait.
    Socket,
    /// A pipe or terminal that may not be opened again (another user's, or there is no /proc): asked first, then given no
    /// more than it takes for sure.
    Asked,
    /// A file, or a device like /dev/null: writing it does not wait for any reader. The description stays the
    /// inherited one, with its offset and `O_APPEND`.
    Direct,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// So many bytes were taken, at least one.
    Bytes(usize),
    /// None for now.
    Nothing,
    /// There is no reader, and none will come.
    Gone,
    /// The system's reason: the disk is full, say.
    Failed(Errno),
}

impl Sink {
    /// An output on a duplicate of an inherited descriptor.
    ///
    /// # Errors
    /// fstat(2)'s: the descriptor is not open.
    pub(super) fn new(fd: OwnedFd) -> nix::Result<Sink> {
        let kind = SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT;
        let way = if kind == SFlag::S_IFSOCK {
            Way::Socket
        } else if kind == SFlag::S_IFIFO || fd.is_terminal() {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            match open(path.as_str(), flags, Mode::empty()) {
                Ok(fd) => return Ok(Sink { fd, way: Way::Own, untried: true }),
                // ENXIO: the reader is gone already, which the first write will say.
                Err(_) => Way::Asked,
            }
        } else {
            Way::Direct
        };
        Ok(Sink { fd, way, untried: true })
    }

    /// Writes what can be written at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Wrote {
        let wrote = self.try_write(bytes);
        if wrote != Wrote::Nothing || !self.untried || self.way != Way::Own {
            return wrote;
        }
        self.untried = false;
        widen_ours(&self.fd);
        self.try_write(bytes)
    }

    fn try_write(&self, bytes: &[u8]) -> Wrote {
        loop {
            let written = match self.way {
                Way::Own | Way::Direct => write(&self.fd, bytes),
                Way::Socket => {
                    send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
                }
                Way::Asked => {
                    let mut asked = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut asked, PollTimeout::ZERO) {
                        Ok(0) => return Wrote::Nothing,
                        Ok(_) => write(&self.fd, &bytes[..bytes.len().min(SURE)]),
                        Err(errno) => Err(errno),
                    }
                }
            };
            return match written {
                Ok(0) | Err(Errno::EAGAIN) if self.waits_for_reader() => Wrote::Nothing,
                Ok(0) => Wrote::Failed(Errno::EIO),
                Ok(count) => Wrote::Bytes(count),
                Err(Errno::EINTR) => continue,
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => Wrote::Gone,
                // A terminal that was hung up; on a file it is a bad disk.
                Err(Errno::EIO) if self.waits_for_reader() => Wrote::Gone,
                Err(errno) => Wrote::Failed(errno),
            };
        }
    }

    /// Whether somebody reads it, who may be slow or go away; poll(2) and epoll(7) work on these.
    pub(super) fn waits_for_reader(&self) -> bool {
        self.way != Way::Direct
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write, pipe};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    fn fill(sink: &mut Sink) -> usize {
        let mut total = 0;
        loop {
            match sink.write(&vec![b'x'; 65_536]) {
                Wrote::Bytes(count) => total += count,
                Wrote::Nothing => return total,
                other @ (Wrote::Gone | Wrote::Failed(_)) => panic!("{other:?} after {total} bytes"),
            }
        }
    }

    fn flags(fd: impl AsFd) -> OFlag {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap())
    }

    #[test]
    fn a_pipe_is_filled_without_waiting_and_its_flag_stays() {
        let (mut reader, writer) = pipe().unwrap();
        let mut sink = Sink::new(writer.try_clone().unwrap().into()).unwrap();
        assert_eq!(sink.way, Way::Own);
        // It is made larger where our user has not taken all that there is.
        let size = fill(&mut sink);
        assert_eq!(fcntl(&writer, FcntlArg::F_GETPIPE_SZ), Ok(size.try_into().unwrap()));
        assert!(!flags(&writer).contains(OFlag::O_NONBLOCK));
        reader.read_exact(&mut vec![0; size]).unwrap();
        assert_eq!(fill(&mut sink), size);
        drop(reader);
        assert_eq!(sink.write(b"x"), Wrote::Gone);
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_again_is_asked_first() {
        let (mut reader, writer) = pipe().unwrap();
        let mut sink = Sink { fd: writer.into(), way: Way::Asked, untried: true };
        assert_eq!(fill(&mut sink), 65_536);
        assert!(!flags(&sink).contains(OFlag::O_NONBLOCK));
        reader.read_exact(&mut [0; 8192]).unwrap();
        assert_eq!(fill(&mut sink), 8192);
        drop(reader);
        assert_eq!(sink.write(b"x"), Wrote::Gone);
    }

    #[test]
    fn a_pipe_that_lost_its_reader_before_we_came_is_gone() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(Sink::new(writer.into()).unwrap().write(b"x"), Wrote::Gone);
    }

    #[test]
    fn a_socket_is_filled_without_waiting_and_without_a_signal() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut sink = Sink::new(writer.try_clone().unwrap().into()).unwrap();
        assert!(fill(&mut sink) > 0);
        assert!(!flags(&writer).contains(OFlag::O_NONBLOCK));
        drop(reader);
        assert_eq!(sink.write(b"x"), Wrote::Gone);
    }

    #[test]
    fn a_file_is_appended_to_where_it_was_opened_so() {
        let path = std::env::temp_dir().join(format!("supervise-sink-{}", std::process::id()));
        std::fs::write(&path, "old\n").unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        let mut sink = Sink::new(other.try_clone().unwrap().into()).unwrap();
        assert_eq!(sink.write(b"ours\n"), Wrote::Bytes(5));
        other.write_all(b"theirs\n").unwrap();
        assert_eq!(sink.write(b"ours\n"), Wrote::Bytes(5));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nours\ntheirs\nours\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_full_disk_is_a_failure_and_not_an_absent_reader() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(Sink::new(full.into()).unwrap().write(b"x"), Wrote::Failed(Errno::ENOSPC));
    }
}
