//! `completions`: shells learn to ask us while their user types.

use std::ffi::OsStr;
use std::io::{self, Write};

use clap::Command;
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

/// The variable by which a shell asks for what could come next; its value is the shell's name. Like every `SUPERVISE_`
/// variable it reaches no child.
pub const COMPLETE: &str = "SUPERVISE_COMPLETE";

/// A shell that can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Writes the script that teaches a shell to ask us. It finds us in the PATH, so an upgrade needs no other script.
///
/// # Errors
/// What prevents writing.
pub fn completions(shell: Shell, out: &mut dyn Write) -> io::Result<u8> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    shell.write_registration(COMPLETE, "supervise", "supervise", "supervise", out)?;
    Ok(0)
}

/// Answers a shell that asks, by [`COMPLETE`], what could come next; `None` where nobody asked.
pub fn complete(asked: Option<&OsStr>, definition: fn() -> Command) -> Option<clap::error::Result<bool>> {
    asked.filter(|shell| !shell.is_empty())?;
    let here = std::env::current_dir().ok();
    let shells = Shells(&[&Bash, &Zsh, &Fish]);
    let answer = CompleteEnv::with_factory(definition).var(COMPLETE).shells(shells);
    Some(answer.try_complete(std::env::args_os(), here.as_deref()))
}
