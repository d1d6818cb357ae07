//! The control socket: HTTP and JSON for whoever may run commands as our user; and the port of `--http`, for whoever looks.
//!
//! It has a thread and a runtime of its own. What it wants to know or to have done it puts into the loop's queue and waits
//! for; the loop never waits for it.
//!
//! ```text
//!   socket --> server --> answer --> routes           text to something typed, or an error
//!   (place)      |          |  '---> the loop         Asked, and a reply
//!   port   --> hall         |  '---> health, metrics  what the loop knows, in the words of those who watch over us
//!   (gate)     limits and   |  '---> usage            what instances use, from /proc
//!              who may ask  '------> follow           lines of the history, as they come
//! ```

mod answer;
mod checkup;
mod follow;
mod hall;
mod health;
#[cfg(test)]
mod http;
mod metrics;
#[cfg(test)]
mod openapi_tests;
mod ourselves;
mod place;
#[cfg(test)]
mod place_tests;
mod port;
#[cfg(test)]
mod port_stories;
mod record;
mod routes;
#[cfg(test)]
mod routes_tests;
#[cfg(test)]
mod schema;
mod server;
mod spent;
#[cfg(test)]
mod stories;
#[cfg(test)]
pub(super) mod testing;
mod token;
mod usage;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::Method;
use nix::unistd::geteuid;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::api::place as place_words;
use crate::api::{Answer, Formation, Request, ServiceStatus, Status, Tally, Vitals, When};
use crate::stream::History;
use crate::supervisor::Time;

use super::Fact;
use super::edition::OneOff;
use super::trace::Traced;
use server::{Command, Server};

pub(super) use place::{NoPlace, Place, Wanted};
pub(super) use port::Port;
pub use port::{Http, HttpAddress};
pub(super) use record::{Record, take_record};
pub use token::Token;

/// What a client wants from the loop. Where the answer finds nobody, the client has gone; what it asked for happens all
/// the same.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something to be done.
    Request {
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// A command to be run once.
    Run {
        /// Which.
        command: OneOff,
        /// When the answer is wanted.
        answer: When,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// A look at what the supervisor knows.
    Look(Look),
    /// Whether each backing service answers. It takes some seconds where one does not.
    Services {
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<ServiceStatus>>,
    },
}

/// A look at what the supervisor knows; each with where the answer goes.
#[derive(Debug)]
pub(super) enum Look {
    /// How everything is; memory and CPU are not known to the loop and left out.
    Status(oneshot::Sender<Status>),
    /// How well everything is, and what shall run.
    Vitals(oneshot::Sender<(Vitals, Formation)>),
    /// How everything is, and what has happened so far.
    Counts(oneshot::Sender<Counts>),
}

/// What the loop knows of what there is to count.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) status: Status,
    pub(super) tallies: Vec<Tally>,
    /// What strangers sent to the `NOTIFY_SOCKET` of an instance, and what was too long.
    pub(super) ignored_notifications: u64,
}

impl Look {
    /// Answers. Who has gone away meanwhile is not told.
    pub(super) fn answer(self, supervisor: &Traced, now: Time, ignored_notifications: u64) {
        let _ = match self {
            Look::Status(reply) => reply.send(supervisor.status(now)).is_ok(),
            Look::Vitals(reply) => reply.send((supervisor.vitals(), supervisor.formation())).is_ok(),
            Look::Counts(reply) => {
                let (status, tallies) = (supervisor.status(now), supervisor.tallies());
                reply.send(Counts { status, tallies, ignored_notifications }).is_ok()
            }
        };
    }
}

/// By which ways clients can come: by the socket, by the port of `--http`.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) socket: Option<(Place, UnixListener)>,
    pub(super) port: Option<Port>,
}

impl Doors {
    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.socket.is_some() || self.port.is_some()
    }
}

/// Where the control socket is to be: `--socket`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Socket {
    /// Where clients look for it.
    #[default]
    Usual,
    /// There.
    At(PathBuf),
    /// Nowhere: there is no control.
    None,
}

/// Takes the place that is wanted; `None` where none is.
///
/// # Errors
/// Why there is none, and so what is to follow.
pub(super) fn find_place(socket: &Socket, project: &str) -> Result<Option<(Place, UnixListener)>, NoPlace> {
    match socket {
        Socket::None => Ok(None),
        Socket::At(path) => Place::take(Wanted::At(path)).map(Some),
        Socket::Usual => {
            let (directories, elsewhere) = (directories(), [usual()]);
            Place::take(Wanted::Of { project, directories: &directories, elsewhere: &elsewhere }).map(Some)
        }
    }
}

/// Where our user's sockets may be, the best first.
pub(super) fn directories() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    place_words::directories(runtime.as_deref(), geteuid().as_raw())
}

/// Where our user's sockets are on most machines, whatever our own environment says.
fn usual() -> PathBuf {
    Path::new("/run/user").join(geteuid().to_string()).join("supervise")
}

/// The control socket and the port while they are served.
#[derive(Debug)]
pub(super) struct Control {
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Serves them on a thread of their own. What clients want comes as [`Fact::Asked`].
    ///
    /// # Errors
    /// What the system refuses: a thread, descriptors.
    pub(super) fn start(
        doors: Doors,
        facts: mpsc::Sender<Fact>,
        history: Arc<History>,
    ) -> io::Result<Control> {
        let (commands, told) = mpsc::unbounded_channel();
        // The runtime comes when there is a thread for it: no runtime may be dropped in a task (tokio panics).
        let (give, given) = std::sync::mpsc::sync_channel::<Runtime>(1);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            // An error means that there is none, and whoever starts us says so.
            let Ok(runtime) = given.recv() else { return };
            if let Err(error) = LocalSet::new().block_on(&runtime, Server::run(doors, facts, history, told)) {
                tracing::error!(%error, "clients are not served any more");
            }
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // It is taken at once.
        let _ = give.send(runtime);
        Ok(Control { commands, thread })
    }

    /// Makes the socket anew where somebody has removed it.
    pub(super) fn remake(&self) {
        self.tell(Command::Remake);
    }

    /// Removes the socket, lets those who were promised an answer have it, and ends: at once where there is nobody, and
    /// within `limit` whatever they do. The loop's queue must be gone by then, and the stream over: whoever waits for one
    /// of them is told so.
    pub(super) fn finish(self, limit: Duration) {
        self.tell(Command::Finish(limit));
        // An error is a panic, which has ended us all.
        let _ = self.thread.join();
    }

    fn tell(&self, command: Command) {
        // An error means that it has ended, and has said why.
        let _ = self.commands.send(command);
    }
}

/// What a request line and a body ask for, in our own words: a status, a word and a sentence where it is nothing. Pure; for
/// tests that try to break it.
#[doc(hidden)]
pub fn understand(
    method: &[u8],
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<String, (u16, &'static str, String)> {
    let method = Method::from_bytes(method).map_err(|_| (400, "bad_request", "no method".to_owned()))?;
    let wanted = routes::resource(&method, path).and_then(|resource| routes::read(resource, query, body));
    wanted
        .map(|wanted| format!("{wanted:?}"))
        .map_err(|fault| (fault.status.as_u16(), fault.code, fault.message))
}
