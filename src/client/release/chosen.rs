//! `--release`: what `start`, `run` and `config` use instead of what is here.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::terminal::printable;
use crate::app::Inputs;
use crate::store::{Running, Store, Trouble};

/// A release that is going to be used.
pub struct Chosen {
    /// What leads to it instead of what is here.
    pub inputs: Inputs,
    /// The release, held for as long as this is there.
    pub running: Running,
}

/// Finds a release and sees that it can run; what the user should know of its build is said on `err`.
///
/// # Errors
/// There is none like that, it is damaged, or its build is gone.
pub fn choose(
    name: &str,
    state: Option<&Path>,
    inputs: Inputs,
    err: &mut dyn Write,
) -> Result<Chosen, Trouble> {
    let (kept, running) = Store::open(&Store::place(&inputs, state)?)?.take(name)?;
    let altered = running.store.examine(&kept)?;
    if !altered.is_empty() {
        // Where stderr is gone there is nobody to tell, and it runs all the same.
        let _ = writeln!(err, "{}", printable(&note(&altered, &running.number.to_string())));
    }
    let inputs = running.store.inputs(&kept, inputs);
    Ok(Chosen { inputs, running })
}

fn note(altered: &[PathBuf], number: &str) -> String {
    /// The rest is counted.
    const SHOWN: usize = 5;
    let names: Vec<String> = altered.iter().take(SHOWN).map(|path| format!("`{}`", path.display())).collect();
    let rest = match altered.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "note: not as they were when {number} was made: {}{rest}\n  help: what an app writes belongs into a backing service; \
         `supervise release create --build DIR` makes a release of fresh code",
        names.join(", ")
    )
}
