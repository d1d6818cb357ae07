//! Ports that nobody uses.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which the kernel gives ports to clients (`ip_local_port_range` begins at 32768), above what
/// well-known services use.
const FIRST: u32 = 10_000;
/// Room for this many runs side by side.
const PLACES: u32 = 200;
/// Ports of one run.
const ROOM: u32 = 110;

/// The first of `count` consecutive ports that can be bound at this moment and that no other test of this process
/// gets; tests of other processes begin elsewhere.
pub(crate) fn free_ports(count: u32) -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    assert!(count <= ROOM, "a run has room for {ROOM} ports");
    for _ in 0..PLACES {
        let place = (std::process::id().wrapping_mul(37) + GIVEN.fetch_add(1, Ordering::Relaxed)) % PLACES;
        let first = u16::try_from(FIRST + place * ROOM).expect("FIRST + PLACES x ROOM are ports");
        let last = first + u16::try_from(count).expect("ROOM is small");
        if (first..last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports from {FIRST} on");
}
