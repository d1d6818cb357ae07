//! Real datagrams: who is heard, and what.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::app::Timing;

use super::*;

const INSTANCE: InstanceId = InstanceId(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// The sockets, one of them open; and what an instance finds in its environment.
struct Rig {
    mailboxes: Mailboxes,
    queue: mpsc::Receiver<Fact>,
    name: String,
}

fn on_a_loop(story: impl AsyncFnOnce(Rig)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (facts, queue) = mpsc::channel(8);
        let mut mailboxes = Mailboxes::new(facts);
        let unopened = mailboxes.bind(INSTANCE, Need::Must).expect("a socket");
        let variables = unopened.variables(&Health::default());
        let [variable] = variables.as_slice() else { panic!("{variables:?}") };
        let name =
            variable.to_str().expect("text").strip_prefix("NOTIFY_SOCKET=@").expect("abstract").to_owned();
        mailboxes.open(INSTANCE, unopened);
        let story = story(Rig { mailboxes, queue, name });
        tokio::time::timeout(PATIENCE, story).await.expect("it takes no minute");
    });
}

impl Rig {
    fn voice(&self) -> UnixDatagram {
        let voice = UnixDatagram::unbound().expect("a socket");
        let address = SocketAddr::from_abstract_name(&self.name).expect("a name");
        voice.connect_addr(&address).expect("somebody listens");
        voice
    }

    fn read(&mut self) -> Vec<Word> {
        let us = i32::try_from(std::process::id()).expect("a pid is small");
        self.mailboxes.read(INSTANCE, Reading::Some, |pid| pid == us)
    }

    async fn is_told(&mut self) {
        let fact = self.queue.recv().await;
        assert!(matches!(fact, Some(Fact::Notified(INSTANCE))), "{fact:?}");
    }
}

#[test]
fn words_are_heard_in_their_order_and_others_are_not_ours() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        voice.send(b"READY=1\nSTATUS=listening\nMAINPID=1\n").expect("it is taken");
        voice.send(b"EXTEND_TIMEOUT_USEC=5\nFDSTORE=1\nWATCHDOG=1").expect("it is taken");
        rig.is_told().await;
        assert_eq!(rig.read(), [Word::Ready, Word::Status("listening".to_owned()), Word::Alive]);
        assert_eq!(rig.read(), []);
        voice.send(b"WATCHDOG=trigger\nSTOPPING=1\n").expect("it is taken");
        rig.is_told().await;
        assert_eq!(rig.read(), [Word::Failing, Word::Stopping]);
        for nothing in ["", "READY=0", "READY=1 ", "WATCHDOG=2", "ready=1", "READY", "=", "\n\n"] {
            voice.send(nothing.as_bytes()).expect("it is taken");
            assert_eq!(rig.read(), [], "{nothing}");
        }
        assert_eq!(rig.mailboxes.ignored(), 0, "who may speak may say what we do not know");
    });
}

#[test]
fn a_status_is_fit_for_one_line() {
    on_a_loop(async |mut rig: Rig| {
        let status = format!("STATUS=\x1b[2J{}", "ü".repeat(STATUS));
        rig.voice().send(status.as_bytes()).expect("it is taken");
        let words = rig.read();
        let [Word::Status(text)] = words.as_slice() else { panic!("{words:?}") };
        assert!(text.len() <= STATUS && text.starts_with("\u{fffd}[2Jü"), "{text}");
    });
}

#[test]
fn fault_49_strangers_and_long_datagrams_are_ignored_and_counted() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        voice.send(b"READY=1").expect("it is taken");
        assert_eq!(rig.mailboxes.read(INSTANCE, Reading::Some, |_| false), []);
        assert_eq!(rig.mailboxes.ignored(), 1);
        voice.send(&[b"READY=1\nX=".as_slice(), &b"x".repeat(100_000)].concat()).expect("it is taken");
        assert_eq!(rig.read(), []);
        assert_eq!(rig.mailboxes.ignored(), 2);
        let longest = [b"READY=1\nX=".as_slice(), &[b'x'; LONGEST - 10]].concat();
        assert_eq!(longest.len(), LONGEST);
        voice.send(&longest).expect("it is taken");
        assert_eq!(rig.read(), [Word::Ready]);
        assert_eq!(rig.mailboxes.ignored(), 2);
    });
}

#[test]
fn descriptors_that_are_sent_along_are_closed_at_once() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        let (ours, theirs) = nix::unistd::pipe().expect("descriptors are left");
        send_with(&voice, b"BARRIER=1\nREADY=1", &theirs);
        drop(theirs);
        assert_eq!(rig.read(), [Word::Ready], "who sends descriptors is heard all the same");
        // The last writing end is gone: that is the end of the pipe.
        let end = tokio::task::spawn_blocking(move || nix::unistd::read(&ours, &mut [0; 1]));
        assert_eq!(end.await.expect("no panic"), Ok(0));
        assert_eq!(rig.mailboxes.ignored(), 0);
    });
}

/// Sends a text with a descriptor.
fn send_with(voice: &UnixDatagram, text: &[u8], descriptor: &OwnedFd) {
    #[repr(C, align(8))]
    struct Control([u8; 32]);
    let mut control = Control([0; 32]);
    let mut piece = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    // SAFETY: all zeroes is an empty message; everything it is made to point to lives until it is sent, and the header and
    // the one number in it fit into the control buffer.
    let sent = unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(descriptor.as_raw_fd());
        libc::sendmsg(voice.as_raw_fd(), &raw const message, 0)
    };
    assert_eq!(usize::try_from(sent), Ok(text.len()), "{}", io::Error::last_os_error());
}

#[test]
fn a_flood_is_read_in_turns_and_stays_in_its_own_socket() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        voice.set_nonblocking(true).expect("it can be");
        let mut sent = 0;
        let mut told = 0;
        while sent < 1000 {
            while voice.send(format!("STATUS={sent}\nREADY=1\nWATCHDOG=1").as_bytes()).is_ok() {
                sent += 1;
            }
            rig.is_told().await;
            told += 1;
            // Nobody is told again of what was told and has not been read.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(rig.queue.try_recv().is_err());
            assert!(rig.read().len() <= 3);
        }
        assert!(told >= sent / FEW, "{told} turns for {sent} datagrams");
    });
}

#[test]
fn what_was_not_read_at_once_is_told_again() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        for _ in 0..FEW {
            voice.send(b"WATCHDOG=1").expect("it is taken");
        }
        voice.send(b"READY=1").expect("it is taken");
        rig.is_told().await;
        assert_eq!(rig.read(), [Word::Alive]);
        rig.is_told().await;
        assert_eq!(rig.read(), [Word::Ready]);
    });
}

#[test]
fn what_lies_in_a_socket_at_the_end_of_its_instance_is_read_whole() {
    on_a_loop(async |mut rig: Rig| {
        let voice = rig.voice();
        voice.set_nonblocking(true).expect("it can be");
        let mut sent = 0;
        while voice.send(format!("STATUS={sent}").as_bytes()).is_ok() {
            sent += 1;
        }
        assert_eq!(
            rig.mailboxes.read(INSTANCE, Reading::All, |_| true),
            [Word::Status((sent - 1).to_string())]
        );
        rig.mailboxes.close(INSTANCE);
        while voice.send(b"READY=1").is_ok()
            || voice.send(b"READY=1").is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.mailboxes.read(INSTANCE, Reading::All, |_| true), []);
    });
}

#[test]
fn where_no_socket_is_to_be_had_only_who_needs_one_is_not_started() {
    on_a_loop(async |rig: Rig| {
        // The name is taken, which is as good as any other reason.
        let without = rig.mailboxes.prepare(INSTANCE, &Health::default());
        assert!(matches!(without, Ok(None)), "{without:?}");
        let told = Probe { check: Check::Notify, timing: Timing::default() };
        let health = Health { startup: Some(told), ..Health::default() };
        let refused = rig.mailboxes.prepare(INSTANCE, &health).expect_err("it needs one");
        assert_eq!(refused.kind, SpawnErrorKind::Shortage);
        assert!(refused.message.starts_with("no NOTIFY_SOCKET: "), "{}", refused.message);
    });
}

#[test]
fn only_who_is_watched_is_told_how_long_it_may_keep_silent() {
    on_a_loop(async |rig: Rig| {
        let notify = |period| Probe {
            check: Check::Notify,
            timing: Timing {
                period: Duration::from_millis(period),
                failure_threshold: 3,
                ..Timing::default()
            },
        };
        let startup = Health { startup: Some(notify(100)), ..Health::default() };
        let liveness = Health { liveness: Some(notify(100)), ..Health::default() };
        assert_eq!(Need::of(&Health::default()), Need::May);
        assert_eq!([Need::of(&startup), Need::of(&liveness)], [Need::Must, Need::Must]);
        let unopened = rig.mailboxes.bind(InstanceId(4), Need::May).expect("a socket");
        assert_eq!(unopened.variables(&startup).len(), 1);
        let variables = unopened.variables(&liveness);
        assert_eq!(variables[1].to_str(), Ok("WATCHDOG_USEC=300000"));
        assert_ne!(variables[0].to_str(), Ok(format!("NOTIFY_SOCKET=@{}", rig.name).as_str()));
    });
}
