//! `supervise`: a Procfile-driven process supervisor.
//!
//! A pure core decides, a thin host does, and the stream of lines touches neither. The rooms, from
//! the ground up; nothing below ever imports what stands above it:
//!
//! * [`api`]: the words: names, signals, exit statuses, notices. What may be asked and said.
//! * [`app`]: what should run, from text (Procfile, env files, spec) to one immutable release.
//! * [`store`]: keeps releases: immutable, numbered, sealed.
//! * [`supervisor`]: decides. Synchronous, no I/O, no clock: `handle(now, event) -> actions`.
//! * [`stream`]: bytes of the children to tagged lines, on its own thread.
//! * [`daemon`]: does: the loop, spawning, reaping, signals.
//! * [`client`]: one verb, one file: what asks the files of the app, and what asks a supervisor that runs.
//!
//! `main` and [`cli`] stand over all of them.

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod store;
pub mod stream;
pub mod supervisor;
