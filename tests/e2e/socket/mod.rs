//! The control socket of a real run, by HTTP letter by letter: where it is, who may ask, what is answered.

mod faults;
mod place;
mod truth;

// The same tools as the room's own tests have.
#[path = "../../../src/daemon/control/http.rs"]
pub(crate) mod http;
#[path = "../../../src/daemon/control/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use http::{Client, Reply};

use crate::harness::{Run, eventually};

/// The sockets in a directory.
fn sockets(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "sock")).collect()
}

/// The socket of a run: the only one in its runtime directory.
pub(crate) fn socket_of(run: &Run) -> PathBuf {
    let directory = run.directory().top().join("runtime/supervise");
    let look = || sockets(&directory).pop().filter(|socket| answers(socket));
    eventually("a socket that answers", look, || run.so_far().to_string())
}

fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// One request on a connection of its own.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Reply {
    Client::new(socket).ask(method, path, body)
}
