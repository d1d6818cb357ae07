//! What instances say of themselves: each has a `NOTIFY_SOCKET` of its own (`sd_notify(3)`).
//!
//! A task waits for each socket and tells the loop that something lies in it; the loop reads, a few datagrams at a time,
//! and the task waits a moment before it looks again. So an instance that never stops talking costs little, and what has
//! not been read fills its own socket alone. Descriptors that are sent along never reach us: there is no room for them in
//! what we read, and the kernel closes them, which is what `BARRIER=1` waits for.

use std::collections::HashMap;
use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::api::{InstanceId, Word};
use crate::app::{Check, Health, Probe};
use crate::supervisor::{SpawnError, SpawnErrorKind};

use super::Fact;
use super::harmless::harmless;
use super::room::{self, Purpose};

/// The sockets of all instances.
#[derive(Debug)]
pub(super) struct Mailboxes {
    facts: mpsc::Sender<Fact>,
    /// Makes names that nobody guesses.
    secret: RandomState,
    open: HashMap<InstanceId, Mailbox>,
    /// Datagrams of strangers, and too long ones.
    ignored: u64,
}

/// A socket whose instance is not born yet.
#[derive(Debug)]
pub(super) struct Unopened {
    socket: AsyncFd<OwnedFd>,
    name: String,
}

/// The socket of an instance.
#[derive(Debug)]
struct Mailbox {
    socket: Arc<AsyncFd<OwnedFd>>,
    read: Arc<Read>,
    attendant: AbortHandle,
}

/// What the loop tells whoever waits for a socket.
#[derive(Debug, Default)]
struct Read {
    /// It has been read.
    done: Notify,
    /// Something may still lie in it.
    more: AtomicBool,
}

/// How much of what lies in a socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A few: there are others.
    Some,
    /// Everything: its instance has ended, and says nothing more.
    All,
}

/// Longer ones say nothing that we want to hear.
const LONGEST: usize = 4096;

/// So many datagrams are read at once: fewer than lie in a socket (`net.unix.max_dgram_qlen`, 10 where nobody has set it).
const FEW: usize = 8;

/// More than lie in any socket, whoever has set that.
const MANY: usize = 4096;

/// So long a socket is left alone after it was read.
const PAUSE: Duration = Duration::from_millis(5);

/// So many bytes of a `STATUS=` are kept.
const STATUS: usize = 256;

/// How many instances can be without a socket while others need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It is the only way to find out how an instance is.
    Must,
    /// An instance may use it or not.
    May,
}

impl Need {
    fn of(health: &Health) -> Need {
        let told = |probe: &Option<Probe>| probe.as_ref().is_some_and(|probe| probe.check == Check::Notify);
        if [&health.startup, &health.readiness, &health.liveness].into_iter().any(told) {
            Need::Must
        } else {
            Need::May
        }
    }
}

impl Mailboxes {
    pub(super) fn new(facts: mpsc::Sender<Fact>) -> Mailboxes {
        Mailboxes { facts, secret: RandomState::new(), open: HashMap::new(), ignored: 0 }
    }

    /// A socket for an instance that is about to be started; none where the system is short of something, and the instance
    /// can do without.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn prepare(
        &self,
        instance: InstanceId,
        health: &Health,
    ) -> Result<Option<Unopened>, SpawnError> {
        let need = Need::of(health);
        match (self.bind(instance, need), need) {
            (Ok(unopened), Need::Must | Need::May) => Ok(Some(unopened)),
            (Err(error), Need::Must) => {
                let message = format!("no NOTIFY_SOCKET: {error}");
                Err(SpawnError { kind: SpawnErrorKind::Shortage, message })
            }
            (Err(error), Need::May) => {
                tracing::debug!(?instance, %error, "started without NOTIFY_SOCKET");
                Ok(None)
            }
        }
    }

    /// # Errors
    /// The system is short of something.
    fn bind(&self, instance: InstanceId, need: Need) -> io::Result<Unopened> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        room::left_beside(
            &socket,
            match need {
                Need::Must => Purpose::Start,
                Need::May => Purpose::Notify,
            },
        )?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        let secret = self.secret.hash_one(instance);
        let name = format!("supervise/{}/{}/{secret:016x}", std::process::id(), instance.0);
        bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        // SAFETY: the descriptor is owned by what is registered, and is never replaced in it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Unopened { socket, name })
    }

    /// The instance is born: its socket is listened to.
    pub(super) fn open(&mut self, instance: InstanceId, Unopened { socket, .. }: Unopened) {
        let (socket, read) = (Arc::new(socket), Arc::new(Read::default()));
        let attending = attend(instance, Arc::clone(&socket), Arc::clone(&read), self.facts.clone());
        let attendant = tokio::spawn(attending).abort_handle();
        self.open.insert(instance, Mailbox { socket, read, attendant });
    }

    /// Reads what an instance has said: each word once, in the order in which they were said last. `belongs` says whether a
    /// process is one of its own.
    pub(super) fn read(
        &mut self,
        instance: InstanceId,
        reading: Reading,
        belongs: impl Fn(i32) -> bool,
    ) -> Vec<Word> {
        let Some(mailbox) = self.open.get(&instance) else { return Vec::new() };
        let at_most = match reading {
            Reading::Some => FEW,
            Reading::All => MANY,
        };
        let mut words = Vec::new();
        let mut buffer = [0; LONGEST];
        // Who talks much is looked up once.
        let mut known: Option<(i32, bool)> = None;
        let mut more = true;
        for _ in 0..at_most {
            let Some(datagram) = receive(mailbox.socket.get_ref(), &mut buffer) else {
                more = false;
                break;
            };
            let belongs = datagram.sender.is_some_and(|sender| {
                let (_, belongs) =
                    known.filter(|(pid, _)| *pid == sender).unwrap_or_else(|| (sender, belongs(sender)));
                known = Some((sender, belongs));
                belongs
            });
            if let (Some(text), true) = (datagram.text, belongs) {
                understand(text, &mut words);
            } else {
                self.ignored += 1;
                tracing::debug!(?instance, sender = datagram.sender, "a notification is ignored");
            }
        }
        mailbox.read.more.store(more, Ordering::Relaxed);
        mailbox.read.done.notify_one();
        words
    }

    /// An instance has ended, and was heard.
    pub(super) fn close(&mut self, instance: InstanceId) {
        self.open.remove(&instance);
    }

    /// How many notifications were ignored: those of strangers, and too long ones.
    pub(super) fn ignored(&self) -> u64 {
        self.ignored
    }
}

impl Unopened {
    /// What tells its instance of it, `NAME=value` each.
    pub(super) fn variables(&self, health: &Health) -> Vec<CString> {
        let watchdog = health.liveness.as_ref().filter(|probe| probe.check == Check::Notify);
        let watchdog = watchdog.map(|probe| format!("WATCHDOG_USEC={}", probe.timing.patience().as_micros()));
        // An abstract name is written with `@` for its NUL (sd_notify(3)); there is no other NUL in these.
        let variables = [format!("NOTIFY_SOCKET=@{}", self.name)].into_iter().chain(watchdog);
        variables.filter_map(|variable| CString::new(variable).ok()).collect()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.attendant.abort();
    }
}

/// Tells the loop whenever something lies in a socket, once until it has been read.
async fn attend(
    instance: InstanceId,
    socket: Arc<AsyncFd<OwnedFd>>,
    read: Arc<Read>,
    facts: mpsc::Sender<Fact>,
) {
    loop {
        if !read.more.load(Ordering::Relaxed) {
            match socket.readable().await {
                // What comes from now on is told anew; what is there is about to be read.
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => {
                    tracing::warn!(?instance, %error, "a NOTIFY_SOCKET is not read any more");
                    return;
                }
            }
        }
        if facts.send(Fact::Notified(instance)).await.is_err() {
            return;
        }
        read.done.notified().await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was received.
struct Datagram<'a> {
    /// Who sent it, as the kernel says.
    sender: Option<i32>,
    /// What, if it is not too long.
    text: Option<&'a [u8]>,
}

/// The next datagram, if there is one.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8; LONGEST]) -> Option<Datagram<'a>> {
    /// Credentials fit, and nothing else.
    const CONTROL: usize = {
        /// `struct ucred`: three numbers of 32 bits (unix(7)).
        const CREDENTIALS: u32 = 12;
        const { assert!(CREDENTIALS as usize == size_of::<libc::ucred>()) };
        // SAFETY: plain arithmetic.
        unsafe { libc::CMSG_SPACE(CREDENTIALS) as usize }
    };
    /// Aligned as the kernel writes.
    #[repr(C, align(8))]
    struct Control([u8; CONTROL]);

    let mut control = Control([0; CONTROL]);
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid msghdr without anything in it.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    let length = loop {
        // SAFETY: the message points to memory of ours that lives on, with its lengths.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(result) {
            Ok(length) => break usize::try_from(length).unwrap_or(0),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    };
    // SAFETY: the kernel has filled in the message; the header, where there is one, lies in our memory and is followed by
    // what its type says.
    let sender = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message).as_ref();
        let credentials = header.filter(|header| {
            header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_CREDENTIALS
        });
        credentials.map(|header| libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned().pid)
    };
    let whole = message.msg_flags & libc::MSG_TRUNC == 0;
    // A sender in a pid namespace that is not below ours has the number 0 here.
    let sender = sender.filter(|pid| *pid > 0);
    Some(Datagram { sender, text: whole.then(|| &buffer[..length.min(LONGEST)]) })
}

/// Adds the words of a datagram; one that was there before is moved to the end.
pub(super) fn understand(text: &[u8], words: &mut Vec<Word>) {
    for line in text.split(|byte| *byte == b'\n') {
        let word = match line {
            b"READY=1" => Word::Ready,
            b"STOPPING=1" => Word::Stopping,
            b"WATCHDOG=1" => Word::Alive,
            b"WATCHDOG=trigger" => Word::Failing,
            _ => match line.strip_prefix(b"STATUS=") {
                Some(status) => Word::Status(harmless(status.trim_ascii(), STATUS)),
                // There are many more (MAINPID, RELOADING, FDSTORE ...), none for us.
                None => continue,
            },
        };
        words.retain(|known| std::mem::discriminant(known) != std::mem::discriminant(&word));
        words.push(word);
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
