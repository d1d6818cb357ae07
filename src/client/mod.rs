//! One verb, one file: what a user can ask that needs no running supervisor, and later what asks one.

mod check;
mod config;
mod run;

use std::io::Write;

use crate::app::Diagnostics;

pub use check::check;
pub use config::{Values, config};
pub use run::run;

/// The exit code for input that is wrong, the same as for wrong arguments.
const BAD_INPUT: u8 = 2;

/// Says what is wrong; the answer is the exit code. Where stderr is gone there is nobody to tell, and it is wrong all the
/// same.
pub fn refuse(errors: &Diagnostics, err: &mut dyn Write) -> u8 {
    let _ = write!(err, "{errors}");
    BAD_INPUT
}
