//! A connection to a service: reads that end, and reasons that a person understands.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::super::program;
use super::super::room::{self, Purpose};
use super::url::At;
use super::{SILENCE, Why};

/// A connection, and what was read and not yet taken.
pub(super) struct Wire {
    stream: Stream,
    got: Vec<u8>,
    /// How much was read, in bytes.
    read: usize,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How far what is said goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Through a socket of this machine.
    Socket,
    /// Through this machine's loopback.
    Loopback,
    /// Anywhere.
    Network,
}

/// Bytes that a server may say in one asking: more than any greeting has.
const MOST: usize = 64 * 1024;

/// How long one of several hosts or addresses may take, so that the next has a chance; the last has all the time there is.
const SHARE: Duration = Duration::from_secs(1);

impl Wire {
    /// Connects to the first of these that takes it.
    ///
    /// # Errors
    /// Why the last one did not.
    pub(super) async fn connect(places: &[At]) -> Result<Wire, Why> {
        let stream = first(places.iter(), |place| async move {
            match place {
                At::Unix(path) => open(UnixStream::connect(path).await).map(Stream::Unix),
                At::Tcp { host, port } => {
                    let addresses = look_up(host.clone(), *port).await?;
                    let connect =
                        |address: SocketAddr| async move { open(TcpStream::connect(address).await) };
                    first(addresses.into_iter(), connect).await.map(Stream::Tcp)
                }
            }
        });
        Ok(Wire { stream: stream.await?, got: Vec::new(), read: 0 })
    }

    /// Where the other end is.
    pub(super) fn reach(&self) -> Reach {
        match &self.stream {
            Stream::Tcp(stream) => match stream.peer_addr() {
                Ok(peer) if peer.ip().to_canonical().is_loopback() => Reach::Loopback,
                Ok(_) | Err(_) => Reach::Network,
            },
            Stream::Unix(_) => Reach::Socket,
        }
    }

    /// # Errors
    /// It does not listen.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Why> {
        let sent = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        };
        sent.map_err(|error| reason(&error))
    }

    /// So many bytes.
    ///
    /// # Errors
    /// They do not come, or are too many.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<u8>, Why> {
        if count > MOST {
            return Err(TOO_MUCH.into());
        }
        while self.got.len() < count {
            self.more().await?;
        }
        Ok(self.got.drain(..count).collect())
    }

    /// A line, without its end.
    ///
    /// # Errors
    /// It does not come, or is too long.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, Why> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.got[looked_at..]) {
                let mut line: Vec<u8> = self.got.drain(..=looked_at + end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            looked_at = self.got.len();
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Why> {
        let mut buffer = [0; 2048];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut buffer).await,
            Stream::Unix(stream) => stream.read(&mut buffer).await,
        };
        let read = read.map_err(|error| reason(&error))?;
        self.read += read;
        if read == 0 {
            return Err("it closed the connection".into());
        }
        if self.read > MOST {
            return Err(TOO_MUCH.into());
        }
        self.got.extend_from_slice(&buffer[..read]);
        Ok(())
    }
}

/// What takes its time. What hangs stays, however often it is asked again: so many threads of a kind, and no more; and no
/// kind takes another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The look-up of a name, which hangs when a server of names does not answer.
    Name,
    /// A look at files, which hangs when a disk is on a network.
    File,
    /// Much arithmetic, which does not hang.
    Sum,
}

impl Work {
    fn room(self) -> &'static Semaphore {
        const THREADS: usize = 16;
        static NAMES: Semaphore = Semaphore::const_new(THREADS);
        static FILES: Semaphore = Semaphore::const_new(THREADS);
        static SUMS: Semaphore = Semaphore::const_new(THREADS);
        match self {
            Work::Name => &NAMES,
            Work::File => &FILES,
            Work::Sum => &SUMS,
        }
    }
}

/// Does something that takes its time where only this asking waits for it.
///
/// # Errors
/// The system has no thread for it.
pub(super) async fn off_the_loop<T: Send + 'static>(
    kind: Work,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Why> {
    // It is never closed.
    let place = kind.room().acquire().await.map_err(|error| error.to_string())?;
    let (tell, told) = oneshot::channel();
    // Not by `spawn_blocking`, which panics where the system has no thread for it.
    let begun = thread::Builder::new().name("ask".to_owned()).spawn(move || {
        let done = work();
        drop(place);
        // An error means that it took too long, and nobody waits any more.
        let _ = tell.send(done);
    });
    begun.map_err(|_| "no thread is to be had to ask it")?;
    told.await.map_err(|error| error.to_string().into())
}

/// What the first of some tries brings that brings something.
///
/// # Errors
/// That of the last one.
async fn first<I, T, F>(tries: impl ExactSizeIterator<Item = I>, connect: impl Fn(I) -> F) -> Result<T, Why>
where
    F: Future<Output = Result<T, Why>>,
{
    let mut left = tries.len();
    let mut why = Why::Borrowed(NO_HOST);
    for one in tries {
        left -= 1;
        let result = match left {
            0 => connect(one).await,
            _ => timeout(SHARE, connect(one)).await.unwrap_or(Err(SILENCE.into())),
        };
        match result {
            Ok(found) => return Ok(found),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The addresses of a host. getaddrinfo(3) has its own ideas of time, and cannot be given up.
async fn look_up(host: String, port: u16) -> Result<Vec<SocketAddr>, Why> {
    use std::net::ToSocketAddrs;
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let ask = move || {
        #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
        ask_only_what_is_built_in();
        (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
    };
    let found = off_the_loop(Work::Name, ask).await?;
    // The codes of getaddrinfo(3) reach us only as their sentences, glibc's or musl's.
    found.map_err(|error| match error.to_string() {
        text if text.contains("emporary failure") || text.contains("Try again") => {
            "names cannot be looked up at the moment".into()
        }
        _ => NO_HOST.into(),
    })
}

/// Whatever nsswitch.conf(5) of an image names, a static program has files and DNS: to load more it would need libraries of exactly
/// its own glibc, and others can make it crash.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
fn ask_only_what_is_built_in() {
    // <nss.h> of glibc, which the crate `libc` does not have.
    unsafe extern "C" {
        fn __nss_configure_lookup(
            database: *const libc::c_char,
            services: *const libc::c_char,
        ) -> libc::c_int;
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: both are constants that end with NUL, and nobody looks up a name before this has returned. It fails only for
    // unknown words; then it is as it was.
    ONCE.call_once(|| unsafe {
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    });
}

/// A connection that leaves descriptors for what is more urgent.
fn open<S: AsRawFd>(connected: io::Result<S>) -> Result<S, Why> {
    let stream = connected.map_err(|error| reason(&error))?;
    room::left_beside(&stream, Purpose::Client).map_err(|errno| reason(&errno.into()))?;
    Ok(stream)
}

const NO_HOST: &str = "no such host";
const TOO_MUCH: &str = "it says too much";

/// The system's reason, in a few words.
pub(super) fn reason(error: &io::Error) -> Why {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => "connection refused".into(),
        Some(Errno::ECONNRESET | Errno::EPIPE) => "it closed the connection".into(),
        Some(Errno::ETIMEDOUT) => SILENCE.into(),
        Some(errno) => program::reason(errno).to_lowercase().into(),
        None => error.to_string().into(),
    }
}
