//! Seats for connections: how many there are at one entrance, and who gives way when more come.
//!
//! A connection that has asked nothing yet, or has its answer, gives way to a new one when there are too many: whoever only
//! holds connections open keeps nobody out. The control socket and the port have a hall each, so that whoever crowds the port
//! takes no seat of the socket.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

/// The seats of one entrance.
#[derive(Default)]
pub(super) struct Hall {
    seats: RefCell<Vec<Rc<Seat>>>,
    standing: Rc<Cell<usize>>,
}

/// One connection.
pub(super) struct Seat {
    entrance: Entrance,
    manner: Cell<Manner>,
    /// When that began.
    since: Cell<Instant>,
    /// Rung when it has to give way.
    pub(super) leave: Notify,
}

/// By which way a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// By the control socket: our own user or root.
    Socket,
    /// By the port of `--http`: anybody who can reach it.
    Port,
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

/// Connections at once, by each entrance.
pub(super) const CONNECTIONS: usize = 64;

/// Those among them that follow or wait: the others are for short questions.
pub(super) const STANDING: usize = 48;

impl Hall {
    /// A seat for a new connection, where there is one or somebody makes room.
    pub(super) fn admit(&self, entrance: Entrance, room: Room) -> Option<Rc<Seat>> {
        let crowded = room == Room::Scarce || self.seats.borrow().len() >= CONNECTIONS;
        if crowded && !self.somebody_leaves() {
            return None;
        }
        let (manner, since) = (Cell::new(Manner::Idle), Cell::new(Instant::now()));
        let seat = Rc::new(Seat { entrance, manner, since, leave: Notify::new() });
        self.seats.borrow_mut().push(Rc::clone(&seat));
        Some(seat)
    }

    /// Whether one of the idle connections makes room: the one that has been idle for the longest.
    fn somebody_leaves(&self) -> bool {
        let mut seats = self.seats.borrow_mut();
        let idle = seats.iter().enumerate().filter(|(_, seat)| seat.manner.get() == Manner::Idle);
        let Some((at, _)) = idle.min_by_key(|(_, seat)| seat.since.get()) else { return false };
        seats.remove(at).leave.notify_one();
        true
    }

    /// A connection has ended.
    pub(super) fn left_by(&self, seat: &Rc<Seat>) {
        self.seats.borrow_mut().retain(|other| !Rc::ptr_eq(other, seat));
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.seats.borrow().len()
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

/// Whether there are descriptors for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Enough,
    /// Not without another's.
    Scarce,
}

impl Seat {
    pub(super) fn entrance(&self) -> Entrance {
        self.entrance
    }

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
