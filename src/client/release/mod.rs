//! Releases: what a user asks of those that are kept. No supervisor is needed for it.

mod chosen;
mod create;
mod diff;
mod list;
mod prune;
mod rollback;
mod show;

use std::io::{self, Write};
use std::path::Path;

use super::terminal::printable;
use crate::app::Inputs;
use crate::store::{Deployed, Kept, Number, Store, Trouble};

pub use chosen::{Chosen, choose};
pub use create::create;
pub use diff::diff;
pub use list::releases;
pub use prune::prune;
pub use rollback::rollback;
pub use show::show;

/// Says what went wrong; the answer is the exit code. Where stderr is gone there is nobody to tell, and it is wrong all the same.
pub fn tell(trouble: &Trouble, err: &mut dyn Write) -> u8 {
    let _ = writeln!(err, "{}", printable(&trouble.to_string()));
    trouble.code()
}

/// The exit code of a verb that has nothing more to say than what went wrong, if something did.
fn end(result: Result<(), Failure>, err: &mut dyn Write) -> io::Result<u8> {
    match result {
        Ok(()) => Ok(0),
        Err(Failure::Store(trouble)) => Ok(tell(&trouble, err)),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(Failure::Output(error)) => Err(error),
    }
}

/// Why a verb did not do what it was asked to.
enum Failure {
    Store(Trouble),
    Output(io::Error),
}

impl<T: Into<Trouble>> From<T> for Failure {
    fn from(trouble: T) -> Failure {
        Failure::Store(trouble.into())
    }
}

/// What `--release` may name, the newest first; whoever presses the tab key wants no error.
#[must_use]
pub fn names_of_releases(inputs: &Inputs, state: Option<&Path>) -> Vec<String> {
    let store = Store::place(inputs, state).and_then(|place| Store::open(&place));
    let Ok(listing) = store.and_then(|store| store.list()) else { return Vec::new() };
    let numbers = listing.kept.iter().rev().map(|kept| kept.number().to_string());
    numbers.chain(["current".to_owned()]).collect()
}

/// What a release is to its project now.
fn standing(number: Number, deployed: &Deployed) -> &'static str {
    if deployed.current == Some(number) {
        "current"
    } else if deployed.completed.contains(&number) {
        "completed"
    } else {
        ""
    }
}

/// What is said of a release as JSON, without any value.
fn facts(store: &Store, kept: &Kept, deployed: &Deployed) -> serde_json::Map<String, serde_json::Value> {
    let record = &kept.record;
    let facts = serde_json::json!({
        "release": record.number,
        "current": deployed.current == Some(record.number),
        "completed": deployed.completed.contains(&record.number),
        "id": record.id,
        "created": record.created,
        "by": record.by,
        "message": record.message,
        "copy_of": record.copy_of,
        "build": {
            "id": record.build.id,
            "digest": record.build.digest,
            "directory": store.root(&record.build).to_string_lossy(),
            "copied": record.build.is_copied(),
        },
        "procfile": record.procfile,
        "spec": record.spec,
        "config": record.config,
    });
    match facts {
        serde_json::Value::Object(facts) => facts,
        // It was written as one above.
        _ => serde_json::Map::new(),
    }
}
