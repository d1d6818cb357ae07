//! Whether somebody listens on a port already, and who.

use std::fs;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use std::os::fd::AsRawFd;

use crate::api::Process;

use super::proc::{self, Stat};

/// Whether somebody listens on a TCP port of this machine. On doubt nobody does.
///
/// With `SO_REUSEADDR` only a listening socket makes bind(2) fail (ip(7)); ours never listens, so nobody can reach it,
/// and it is closed at once.
pub(super) fn taken(port: u16) -> bool {
    let Ok(probe) = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) else {
        return false;
    };
    setsockopt(&probe, sockopt::ReuseAddr, &true).is_ok()
        && bind(probe.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port)) == Err(Errno::EADDRINUSE)
}

/// Who listens on a port, where /proc lets us see: of those that share the socket the one that has run longest, who
/// made it and not a worker.
pub(super) fn holder(port: u16) -> Option<Process> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| table.lines().skip(1).find_map(|line| listener(line, port)))?;
    let holders = proc::pids().ok()?.into_iter().filter(|pid| proc::has_socket(*pid, inode));
    holders.filter_map(Stat::of).min_by_key(|stat| stat.start)?.process()
}

/// The inode of a line of `/proc/net/tcp` that listens on a port.
pub(super) fn listener(line: &str, port: u16) -> Option<u64> {
    /// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let (_, its_port) = local.rsplit_once(':')?;
    (state == LISTEN && u16::from_str_radix(its_port, 16) == Ok(port)).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
    use std::time::{Duration, Instant};

    #[test]
    fn a_listener_of_either_family_is_seen_and_named() {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a free port");
        for listener in [v4, v6] {
            let port = listener.local_addr().expect("an address").port();
            assert!(taken(port));
            assert_eq!(holder(port).map(|process| process.pid.raw()), i32::try_from(std::process::id()).ok());
            drop(listener);
            // A child that another test is just starting may hold a copy of the socket until it executes.
            let deadline = Instant::now() + Duration::from_secs(10);
            while taken(port) {
                assert!(Instant::now() < deadline, "{:?} still listens on {port}", holder(port));
                std::thread::yield_now();
            }
            assert_eq!(holder(port), None);
        }
    }
}
