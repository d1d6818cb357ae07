//! `run`: one command in this terminal, in the environment of the app.
//!
//! We become the command: its exit code, its signals and its terminal need no help of ours.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::app::{self, Environment, Form, Inputs, Release};

use super::{BAD_INPUT, refuse};

/// POSIX, Shell Command Language, 2.8.2: the command was not found.
const NOT_FOUND: u8 = 127;
/// The same: it was found and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// Becomes the command; returns, with an exit code, only where that is not possible.
///
/// One word that is the name of a process type stands for that type's command and environment, with the PORT of its first
/// slot. Any other command gets what every type gets.
///
/// # Errors
/// What prevents writing to `err`.
pub fn run(inputs: &Inputs, command: &[OsString], err: &mut dyn Write) -> io::Result<u8> {
    let release = match app::plan_one_off(inputs) {
        Ok(release) => release,
        Err(errors) => {
            return Ok(refuse(&errors, err));
        }
    };
    let Resolved { shell, words, environment } = resolve(&release, command);
    let Some((first, arguments)) = words.split_first() else { return Ok(BAD_INPUT) };
    let program = shell.map_or(first.as_os_str(), OsStr::new);
    let error = execute(program, first, arguments, &environment, &release.root);
    let (code, reason) = match error.kind() {
        ErrorKind::NotFound => (NOT_FOUND, "not found".to_owned()),
        // Whatever the reason, there is something and it does not run.
        _ => (NOT_EXECUTABLE, error.to_string()),
    };
    writeln!(err, "error: `{}` cannot be executed: {reason}", program.display())?;
    Ok(code)
}

/// What is executed, and with what.
struct Resolved {
    /// Where it is not the first of the words.
    shell: Option<&'static str>,
    words: Vec<OsString>,
    environment: Environment,
}

fn resolve(release: &Release, command: &[OsString]) -> Resolved {
    let process_type = match command {
        [name] => name.to_str().and_then(|name| release.process_type(name)),
        _ => None,
    };
    let Some(process_type) = process_type else {
        let environment = release.one_off_environment(None);
        return Resolved { shell: None, words: command.to_vec(), environment };
    };
    let shell = match process_type.command.form {
        Form::Direct(_) => None,
        Form::Exec | Form::Shell => Some("/bin/sh"),
    };
    let words = process_type.command.arguments().into_iter().map(OsString::from_vec).collect();
    Resolved { shell, words, environment: release.one_off_environment(Some(process_type)) }
}

/// Returns only if it fails. SIGPIPE, which Rust ignores in us, has its default action in the command: std sees to that.
fn execute(
    program: &OsStr,
    name: &OsStr,
    arguments: &[OsString],
    environment: &Environment,
    root: &Path,
) -> io::Error {
    let variables = environment.iter().map(|(name, variable)| (name, &variable.value));
    Command::new(program).arg0(name).args(arguments).env_clear().envs(variables).current_dir(root).exec()
}
