//! Serves the socket and the port: who may connect, how many at once, and how long anything may take.
//!
//! All of it happens on one thread.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepIdle};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};

use crate::stream::History;

use super::super::Fact;
use super::super::room::{self, Purpose};
use super::Doors;
use super::answer;
use super::checkup::Checkup;
use super::hall::{Entrance, Hall, Room, Seat, Standing};
use super::place::Place;
use super::port::{Gate, Port};
use super::routes::Fault;
use super::spent::Spent;
use super::usage::Usage;

/// What the rest of the daemon tells us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Make the socket anew, should it be gone.
    Remake,
    /// End, within so long.
    Finish(Duration),
}

/// What all connections share.
pub(super) struct Server {
    pub(super) facts: mpsc::Sender<Fact>,
    pub(super) history: Arc<History>,
    /// Rung when the history has something new.
    pub(super) bell: Arc<Notify>,
    pub(super) usage: Rc<Usage>,
    pub(super) spent: Spent,
    pub(super) checkup: Rc<Checkup>,
    /// Who may do what at the port; none where there is no port.
    gate: Option<Gate>,
    socket: Hall,
    port: Hall,
    ending: Cell<Ending>,
    /// Rung when the end begins, and whenever a connection has ended.
    change: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Yes,
}

/// A request's line and headers must be there so long after the connection, or after the answer before.
pub(super) const HEADER_TIME: Duration = Duration::from_secs(5);

/// A request's line and headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// A request's headers.
const HEADERS: usize = 64;

/// So many clients of the socket get descriptors that starts leave free: one who follows or waits, and one who asks.
const FIRST: usize = 2;

/// When no descriptor is to be had for a connection, it waits so long.
const UNTIL_DESCRIPTORS: Duration = Duration::from_millis(50);

/// After so many seconds of silence the kernel asks whether a client by the port is still there (tcp(7)): whoever follows, and is
/// gone without a word, shall not keep its place for ever.
const UNTIL_ASKED: u32 = 60;

impl Server {
    fn new(facts: mpsc::Sender<Fact>, history: Arc<History>, gate: Option<Gate>) -> Rc<Server> {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        history.set_bell(move || ring.notify_waiters());
        Rc::new(Server {
            facts,
            history,
            bell,
            usage: Usage::new(),
            spent: Spent::default(),
            checkup: Rc::default(),
            gate,
            socket: Hall::default(),
            port: Hall::default(),
            ending: Cell::new(Ending::No),
            change: Notify::new(),
        })
    }

    /// Serves until it is told to finish.
    pub(super) async fn run(
        doors: Doors,
        facts: mpsc::Sender<Fact>,
        history: Arc<History>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> io::Result<()> {
        let Doors { socket, port } = doors;
        let (mut place, socket) = socket.unzip();
        let mut socket = socket.map(UnixListener::from_std).transpose()?;
        let (port, gate) = port.map(|Port { listener, gate }| (listener, gate)).unzip();
        let port = port.map(TcpListener::from_std).transpose()?;
        let server = Server::new(facts, history, gate);
        let limit = loop {
            tokio::select! {
                accepted = by_socket(socket.as_ref()) => match accepted {
                    Ok(stream) => server.welcome_user(stream).await,
                    Err(error) => wait_for_descriptors(&error).await,
                },
                accepted = by_port(port.as_ref()) => match accepted {
                    Ok(stream) => server.welcome_visitor(stream).await,
                    Err(error) => wait_for_descriptors(&error).await,
                },
                command = commands.recv() => match command {
                    Some(Command::Remake) => {
                        if let Some(new) = place.as_mut().and_then(remade) {
                            socket = Some(new);
                        }
                    }
                    Some(Command::Finish(limit)) => break limit,
                    None => break Duration::ZERO,
                },
            }
        };
        drop((socket, port, place));
        server.see_off(limit).await;
        Ok(())
    }

    /// Waits until whoever was promised an answer has it.
    async fn see_off(&self, limit: Duration) {
        self.ending.set(Ending::Yes);
        self.change.notify_waiters();
        let everybody_gone = async {
            loop {
                let change = self.change.notified();
                if self.connections() == 0 {
                    return;
                }
                change.await;
            }
        };
        if tokio::time::timeout(limit, everybody_gone).await.is_err() {
            tracing::debug!(connections = self.connections(), "some clients were not waited for");
        }
    }

    async fn welcome_user(self: &Rc<Self>, stream: UnixStream) {
        let us = geteuid().as_raw();
        let stranger = match stream.peer_cred() {
            Ok(peer) if peer.uid() == us || peer.uid() == 0 => None,
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a stranger was turned away");
                Some(answer::stranger())
            }
            Err(error) => {
                tracing::warn!(%error, "a client who cannot be seen was turned away");
                Some(answer::stranger())
            }
        };
        let turned_away = match stranger {
            Some(fault) => Err((stream, fault)),
            None if self.hall(Entrance::Socket).count() < FIRST => {
                self.seat(stream, Entrance::Socket, Purpose::FirstClient)
            }
            None => self.seat(stream, Entrance::Socket, Purpose::Client),
        };
        if let Err((stream, fault)) = turned_away {
            // The buffer of a new connection is empty and takes it all, unless the client is gone.
            let _ = stream.try_write(&answer::turning_away(&fault));
        }
        // Those who are here shall not wait for all who come.
        tokio::task::yield_now().await;
    }

    async fn welcome_visitor(self: &Rc<Self>, stream: TcpStream) {
        let asked = setsockopt(&stream, KeepAlive, &true)
            .and_then(|()| setsockopt(&stream, TcpKeepIdle, &UNTIL_ASKED));
        if let Err(errno) = asked {
            tracing::debug!(%errno, "a client is not asked whether it is still there");
        }
        // What is written is whole: nothing more follows soon.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client is answered with delay");
        }
        if let Err((stream, fault)) = self.seat(stream, Entrance::Port, Purpose::Visitor) {
            // As above.
            let _ = stream.try_write(&answer::turning_away(&fault));
        }
        tokio::task::yield_now().await;
    }

    /// Serves a connection in a task of its own.
    ///
    /// # Errors
    /// There is no room for it.
    fn seat<S>(self: &Rc<Self>, stream: S, entrance: Entrance, purpose: Purpose) -> Result<(), (S, Fault)>
    where
        S: AsyncRead + AsyncWrite + AsRawFd + AsFd + Unpin + 'static,
    {
        let room = if room::left_beside(&stream, purpose).is_ok() { Room::Enough } else { Room::Scarce };
        let Some(seat) = self.hall(entrance).admit(entrance, room) else {
            return Err((stream, answer::crowded()));
        };
        tokio::task::spawn_local(Rc::clone(self).serve(stream, seat));
        Ok(())
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self: Rc<Self>, stream: S, seat: Rc<Seat>) {
        let service = service_fn(|request| {
            let (server, seat) = (Rc::clone(&self), Rc::clone(&seat));
            async move { Ok::<_, Infallible>(answer::answer(&server, &seat, request).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADER_BYTES)
                .max_headers(HEADERS)
                .serve_connection(TokioIo::new(stream), service)
        );
        let mut told = Ending::No;
        loop {
            let change = self.change.notified();
            if told == Ending::No && self.ending.get() == Ending::Yes {
                told = Ending::Yes;
                connection.as_mut().graceful_shutdown();
            }
            tokio::select! {
                end = connection.as_mut() => {
                    if let Err(error) = end {
                        tracing::debug!(%error, "a connection has ended");
                    }
                    break;
                }
                () = seat.leave.notified() => break,
                () = change, if told == Ending::No => {}
            }
        }
        self.hall(seat.entrance()).left_by(&seat);
        if self.ending.get() == Ending::Yes {
            self.change.notify_waiters();
        }
    }

    /// Leave to take one's time; none when too many do.
    pub(super) fn standing(&self, seat: &Rc<Seat>) -> Option<Standing> {
        self.hall(seat.entrance()).standing(seat)
    }

    /// Who decides what may be asked by this entrance; nobody where everything may be.
    pub(super) fn gate(&self, entrance: Entrance) -> Option<&Gate> {
        match entrance {
            Entrance::Socket => None,
            Entrance::Port => self.gate.as_ref(),
        }
    }

    fn hall(&self, entrance: Entrance) -> &Hall {
        match entrance {
            Entrance::Socket => &self.socket,
            Entrance::Port => &self.port,
        }
    }

    fn connections(&self) -> usize {
        self.socket.count() + self.port.count()
    }
}

/// The next one by the socket; never, where there is none.
async fn by_socket(socket: Option<&UnixListener>) -> io::Result<UnixStream> {
    match socket {
        Some(socket) => socket.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// The next one by the port; never, where there is none.
async fn by_port(port: Option<&TcpListener>) -> io::Result<TcpStream> {
    match port {
        Some(port) => port.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn wait_for_descriptors(error: &io::Error) {
    tracing::debug!(%error, "a client has to wait");
    tokio::time::sleep(UNTIL_DESCRIPTORS).await;
}

/// The socket made anew, where it had to be and could be.
fn remade(place: &mut Place) -> Option<UnixListener> {
    match place.remake() {
        Ok(None) => None,
        Ok(Some(new)) => match UnixListener::from_std(new) {
            Ok(new) => Some(new),
            Err(error) => {
                tracing::warn!(%error, "the control socket was not made anew");
                None
            }
        },
        Err(reason) => {
            tracing::warn!("{reason}");
            None
        }
    }
}
