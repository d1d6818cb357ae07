//! `run`: one command in this terminal, in the environment of the app.
//!
//! We become the command: its exit code, its signals and its terminal need no help of ours.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::connection::{Connection, Trouble, Wait, Whereabouts, read};
use super::{BAD_INPUT, conclude, effects, refuse};
use crate::api::{Formation, Status, TypeName};
use crate::app::{self, Environment, Form, Inputs, Release};
use crate::store::Number;

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

/// Has the supervisor run the command, beside the formation; the answer is the exit code.
pub fn run_detached(
    whereabouts: &Whereabouts,
    command: &[OsString],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut words = Vec::new();
    for word in command {
        let Some(word) = word.to_str() else {
            // Where stderr is gone there is nobody to tell, and it is wrong all the same.
            let _ = writeln!(err, "error: a command that the supervisor is to run has to be UTF-8");
            return BAD_INPUT;
        };
        words.push(word);
    }
    let mut ask = || -> Result<u8, Trouble> {
        let mut connection = Connection::open(whereabouts)?;
        let formation: Formation = read(&connection.get("/v1/formation")?)?;
        let names_type = |name: &str| formation.0.iter().any(|(known, _)| known.as_str() == name);
        let body = match words.as_slice() {
            [name] if names_type(name) => json!({ "type": name }),
            words => json!({ "command": words }),
        };
        let answer = connection.post("/v1/run", &body, Wait::Accepted)?;
        Ok(effects::tell(out, None, None, &answer)?)
    };
    conclude(ask(), err)
}

/// The release of the app that a supervisor runs; while one changes to another, the one that has completed.
#[must_use]
pub fn release_that_runs(whereabouts: &Whereabouts) -> Option<String> {
    let ask = || -> Result<Status, Trouble> {
        Connection::open(whereabouts).and_then(|mut connection| read(&connection.get("/v1/processes")?))
    };
    // Where nobody answers there is nobody whose release it could be.
    let status = ask().ok()?;
    // A command that runs once may have been there before a deploy.
    let one_off = TypeName::one_off();
    let formation = status.processes.iter().filter(|process| process.process_type != one_off);
    let releases: BTreeSet<&str> = formation.map(|process| process.release.as_str()).collect();
    match Vec::from_iter(releases).as_slice() {
        [] => None,
        [only] => only.parse::<Number>().ok().map(|number| number.to_string()),
        [_, _, ..] => Some("current".to_owned()),
    }
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
