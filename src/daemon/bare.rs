//! The readers of this room on texts instead of sockets and files, for tests that try to break them (`fuzz/`).

use std::ffi::OsStr;

use crate::api::Word;

use super::{cgroup, notify, port, proc, service, systemd};

/// What a datagram to a `NOTIFY_SOCKET` says.
#[must_use]
pub fn notification(datagram: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    notify::understand(datagram, &mut words);
    words
}

/// The process, its name, its parent and its start of a line of `/proc/PID/stat`.
#[must_use]
pub fn stat(line: &[u8]) -> Option<(i32, String, i32, u64)> {
    let stat = proc::Stat::parse(line)?;
    Some((stat.pid, stat.name.clone(), stat.parent, stat.start))
}

/// The value of a variable in `/proc/PID/environ`.
#[must_use]
pub fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    proc::value(environment, name)
}

/// The socket of a line of `/proc/net/tcp` that listens on a port.
#[must_use]
pub fn listener(line: &str, port: u16) -> Option<u64> {
    port::listener(line, port)
}

/// Our cgroups by `/proc/self/cgroup` and `/proc/self/mountinfo`, as the debugger shows them.
#[must_use]
pub fn cgroups(cgroup: &[u8], mountinfo: &[u8]) -> String {
    cgroup::place(cgroup, mountinfo)
}

/// A number of `memory.events`, by its word.
#[must_use]
pub fn memory_event(events: &str, word: &str) -> Option<u64> {
    cgroup::memory_event(events, word)
}

/// Whether a text is the address of somebody who wants to hear of us.
#[must_use]
pub fn is_address(text: &OsStr) -> bool {
    systemd::address(text).is_ok()
}

/// Where a backing service is, by its URL, as people are told.
///
/// # Errors
/// It is none that can be asked.
pub fn service_url(text: &str) -> Result<String, String> {
    service::host_of(text)
}

/// What we conclude from the bytes that a backing service answers with, in each protocol.
#[must_use]
pub fn conclusions(answer: &[u8]) -> Vec<String> {
    service::conclusions(answer)
}
