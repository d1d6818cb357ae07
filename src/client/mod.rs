//! One verb, one file: what a user can ask of the files of the app, and what of a supervisor that runs.

mod candidates;
mod check;
mod completions;
mod config;
mod connection;
mod deploy;
mod effects;
mod events;
mod health;
mod logs;
mod man;
mod ps;
mod release;
mod reload;
mod restart;
mod rollout;
mod run;
mod scale;
mod services;
mod shutdown;
mod signal;
mod stop;
mod table;
mod terminal;

use std::io::{self, Write};

use self::connection::{Trouble, escaped};
use crate::api::Target;
use crate::app::Diagnostics;

pub use candidates::{slots_and_types, types, types_of_procfile};
pub use check::check;
pub use completions::{COMPLETE, Shell, complete, completions};
pub use config::{Values, config};
pub use connection::{Wait, Whereabouts};
pub use deploy::deploy;
pub use events::events;
pub use health::{Report, health};
pub use logs::{Look, logs};
pub use man::man;
pub use ps::{Shape, ps};
pub use release::{Chosen, choose, create, diff, names_of_releases, prune, releases, rollback, show, tell};
pub use reload::reload;
pub use restart::restart;
pub use run::{release_that_runs, run, run_detached};
pub use scale::scale;
pub use services::services;
pub use shutdown::shutdown;
pub use signal::signal;
pub use stop::stop;

/// The exit code for input that is wrong, the same as for wrong arguments.
const BAD_INPUT: u8 = 2;

/// How much of what was said is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How many of the last lines; `None` is everything that is remembered.
    pub lines: Option<u64>,
    /// And then?
    pub then: Then,
}

/// What follows the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    End,
    /// Whatever is said from then on.
    Follow,
}

impl Extent {
    fn path(self, path: &str, targets: &[Target]) -> String {
        let follow = (self.then == Then::Follow).then(|| "follow=true".to_owned());
        let lines = self.lines.map(|lines| format!("n={lines}"));
        let targets = targets.iter().map(|target| format!("target={}", escaped(&target.to_string())));
        let query: Vec<String> = follow.into_iter().chain(lines).chain(targets).collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }
}

/// Says what is wrong; the answer is the exit code. Where stderr is gone there is nobody to tell, and it is wrong all the
/// same.
pub fn refuse(errors: &Diagnostics, err: &mut dyn Write) -> u8 {
    let _ = write!(err, "{errors}");
    BAD_INPUT
}

/// The exit code, having said what went wrong where something did. A reader that has seen enough is no fault.
fn conclude(result: Result<u8, Trouble>, err: &mut dyn Write) -> u8 {
    match result {
        Ok(code) => code,
        Err(Trouble::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(trouble) => {
            // Where stderr is gone there is nobody to tell.
            let _ = writeln!(err, "error: {trouble}");
            trouble.code()
        }
    }
}
