//! One verb, one file: what a user can ask that needs no running supervisor, and later what asks one.

mod check;
mod config;
mod run;

pub use check::check;
pub use config::{Values, config};
pub use run::run;

/// The exit code for input that is wrong, the same as for wrong arguments.
pub const BAD_INPUT: u8 = 2;
