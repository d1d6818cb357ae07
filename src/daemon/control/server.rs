//! Serves the socket: who may connect, how many at once, and how long anything may take.
//!
//! All of it happens on one thread. A connection that has asked nothing yet, or has its answer, gives way to a new one
//! when there are too many: whoever only holds connections open keeps nobody out.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};

use crate::stream::History;

use super::super::Fact;
use super::super::room::{self, Purpose};
use super::answer;
use super::place::Place;
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
    seats: RefCell<Vec<Rc<Seat>>>,
    standing: Rc<Cell<usize>>,
    ending: Cell<Ending>,
    /// Rung when the end begins, and whenever a connection has ended.
    change: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Yes,
}

/// One connection.
pub(super) struct Seat {
    manner: Cell<Manner>,
    /// When that began.
    since: Cell<Instant>,
    /// Rung when it has to give way.
    leave: Notify,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It asks nothing, or not yet, or has its answer: it can be closed.
    Idle,
    /// Somebody waits for an answer.
    Busy,
}

/// Leave to hold a connection for as long as it takes: to follow, or to wait until something has happened.
pub(super) struct Standing {
    count: Rc<Cell<usize>>,
    seat: Rc<Seat>,
}

/// Connections at once.
pub(super) const CONNECTIONS: usize = 64;

/// Those among them that follow or wait: the others are for short questions.
pub(super) const STANDING: usize = 48;

/// A request's line and headers must be there so long after the connection, or after the answer before.
pub(super) const HEADER_TIME: Duration = Duration::from_secs(5);

/// A request's line and headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// A request's headers.
const HEADERS: usize = 64;

/// When no descriptor is to be had for a connection, it waits so long.
const UNTIL_DESCRIPTORS: Duration = Duration::from_millis(50);

impl Server {
    pub(super) fn new(facts: mpsc::Sender<Fact>, history: Arc<History>) -> Rc<Server> {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        history.set_bell(move || ring.notify_waiters());
        Rc::new(Server {
            facts,
            history,
            bell,
            usage: Usage::new(),
            seats: RefCell::default(),
            standing: Rc::default(),
            ending: Cell::new(Ending::No),
            change: Notify::new(),
        })
    }

    /// Serves until it is told to finish.
    pub(super) async fn run(
        self: Rc<Self>,
        mut place: Place,
        listener: std::os::unix::net::UnixListener,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> io::Result<()> {
        let mut listener = UnixListener::from_std(listener)?;
        let limit = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        self.welcome(stream);
                        // Those who are here shall not wait for all who come.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a client has to wait");
                        tokio::time::sleep(UNTIL_DESCRIPTORS).await;
                    }
                },
                command = commands.recv() => match command {
                    Some(Command::Remake) => match place.remake() {
                        Ok(None) => {}
                        Ok(Some(new)) => match UnixListener::from_std(new) {
                            Ok(new) => listener = new,
                            Err(error) => tracing::warn!(%error, "the control socket was not made anew"),
                        },
                        Err(reason) => tracing::warn!("{reason}"),
                    },
                    Some(Command::Finish(limit)) => break limit,
                    None => break Duration::ZERO,
                },
            }
        };
        drop(listener);
        drop(place);
        self.see_off(limit).await;
        Ok(())
    }

    /// Waits until whoever was promised an answer has it.
    async fn see_off(&self, limit: Duration) {
        self.ending.set(Ending::Yes);
        self.change.notify_waiters();
        let everybody_gone = async {
            loop {
                let change = self.change.notified();
                if self.seats.borrow().is_empty() {
                    return;
                }
                change.await;
            }
        };
        if tokio::time::timeout(limit, everybody_gone).await.is_err() {
            tracing::debug!(connections = self.seats.borrow().len(), "some clients were not waited for");
        }
    }

    fn welcome(self: &Rc<Self>, stream: UnixStream) {
        let us = geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == us || peer.uid() == 0 => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a stranger was turned away");
                return answer::turn_away(&stream, &answer::stranger());
            }
            Err(error) => {
                tracing::warn!(%error, "a client who cannot be seen was turned away");
                return answer::turn_away(&stream, &answer::stranger());
            }
        }
        let crowded =
            self.seats.borrow().len() >= CONNECTIONS || room::left_beside(&stream, Purpose::Client).is_err();
        if crowded && !self.somebody_leaves() {
            return answer::turn_away(&stream, &answer::crowded());
        }
        let manner = Cell::new(Manner::Idle);
        let seat = Rc::new(Seat { manner, since: Cell::new(Instant::now()), leave: Notify::new() });
        self.seats.borrow_mut().push(Rc::clone(&seat));
        tokio::task::spawn_local(Rc::clone(self).serve(stream, seat));
    }

    /// Whether one of the idle connections makes room: the one that has been idle for the longest.
    fn somebody_leaves(&self) -> bool {
        let mut seats = self.seats.borrow_mut();
        let idle = seats.iter().enumerate().filter(|(_, seat)| seat.manner.get() == Manner::Idle);
        let Some((at, _)) = idle.min_by_key(|(_, seat)| seat.since.get()) else { return false };
        seats.remove(at).leave.notify_one();
        true
    }

    async fn serve(self: Rc<Self>, stream: UnixStream, seat: Rc<Seat>) {
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
        self.seats.borrow_mut().retain(|other| !Rc::ptr_eq(other, &seat));
        if self.ending.get() == Ending::Yes {
            self.change.notify_waiters();
        }
    }

    /// Leave to take one's time; none when too many do.
    pub(super) fn standing(&self, seat: &Rc<Seat>) -> Option<Standing> {
        if self.standing.get() >= STANDING {
            return None;
        }
        self.standing.set(self.standing.get() + 1);
        seat.sits(Manner::Busy);
        Some(Standing { count: Rc::clone(&self.standing), seat: Rc::clone(seat) })
    }
}

impl Seat {
    pub(super) fn sits(&self, manner: Manner) {
        self.manner.set(manner);
        self.since.set(Instant::now());
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        self.seat.sits(Manner::Idle);
    }
}
