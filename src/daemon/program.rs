//! From a command of the Procfile to what the kernel executes, and from its refusal to a sentence.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;

use crate::app::{Command, Environment, Form, ProcessType, Release};
use crate::supervisor::{SpawnError, SpawnErrorKind};

use super::spawn::{Failure, Program, SHELL, Stage};

/// The PATH of a child without one (execvp(3) says "a default"; this is what Debian's shells take).
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A process type, ready to be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) executable: Executable,
    /// What every instance gets alike, `NAME=value` each.
    pub(super) environment: Vec<CString>,
}

/// What a command executes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) program: Program,
    /// The first word of a command that is executed directly.
    word: Option<OsString>,
}

impl Prepared {
    pub(super) fn new(release: &Release, process_type: &ProcessType) -> Prepared {
        let executable = Executable::new(&process_type.command, &process_type.environment);
        let own = process_type.own_variables(1, "");
        let common = release.common_environment(process_type);
        let is_common = |name: &OsStr| own.iter().all(|(own, _)| *own != name);
        let common = common.iter().filter(|(name, _)| is_common(name));
        let environment = common.map(|(name, variable)| pair(name, &variable.value)).collect();
        Prepared { executable, environment }
    }
}

impl Executable {
    /// What a command executes in an environment, in whose PATH it is looked up.
    pub(super) fn new(command: &Command, environment: &Environment) -> Executable {
        let arguments = command.arguments();
        let arguments = arguments.iter().map(|argument| text(argument)).collect();
        match &command.form {
            Form::Direct(words) => {
                let path = environment.get("PATH").map(|variable| variable.value.clone());
                let word = words.first().cloned().unwrap_or_default();
                let program = Program {
                    candidates: candidates(&word, path.as_deref().unwrap_or(OsStr::new(DEFAULT_PATH))),
                    arguments,
                };
                Executable { program, word: Some(OsString::from_vec(word)) }
            }
            Form::Exec | Form::Shell => {
                Executable { program: Program { candidates: vec![SHELL.to_owned()], arguments }, word: None }
            }
        }
    }

    /// What a failed start means, and the sentence for it.
    pub(super) fn explain(&self, failure: Failure, root: &Path) -> SpawnError {
        let Failure { stage, errno, .. } = failure;
        let why = reason(errno);
        let kind = match errno {
            Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ENOSPC => {
                SpawnErrorKind::Shortage
            }
            Errno::ENOENT | Errno::ENOTDIR if matches!(stage, Stage::Execute | Stage::Directory) => {
                SpawnErrorKind::NotFound
            }
            _ => SpawnErrorKind::NotExecutable,
        };
        let message = match (stage, &self.word) {
            (Stage::Clone, _) => format!("no new process: {why}"),
            (Stage::Cgroup, _) => format!("its cgroup: {why}"),
            (Stage::Group, _) => format!("no process group of its own: {why}"),
            (Stage::DeathSignal, _) => format!("its end cannot be tied to ours: {why}"),
            (Stage::Descriptors, _) => format!("its standard streams: {why}"),
            (Stage::Socket, _) => format!("its socket: {why}"),
            (Stage::Limits, _) => format!("its limits: {why}; a hard limit can only be raised by root"),
            (Stage::Directory, _) => format!("its directory `{}`: {why}", root.display()),
            (Stage::Signals, _) => format!("its signals: {why}"),
            (Stage::Execute, Some(word)) if kind == SpawnErrorKind::NotFound => {
                return self.missing(word, root);
            }
            (Stage::Execute, Some(word)) => format!("cannot execute `{}`: {why}", word.display()),
            (Stage::Execute, None) if kind == SpawnErrorKind::NotFound => {
                "not found: `/bin/sh`, which this command needs; one of plain words needs no shell".to_owned()
            }
            (Stage::Execute, None) => format!("cannot execute `/bin/sh`: {why}"),
        };
        SpawnError { kind, message }
    }

    /// ENOENT of execve(2): nowhere to be found; or found, and its interpreter is not there.
    fn missing(&self, word: &OsStr, root: &Path) -> SpawnError {
        let there = self.program.candidates.iter().map(|candidate| OsStr::from_bytes(candidate.as_bytes()));
        if let Some(file) = there.map(|candidate| root.join(candidate)).find(|file| file.is_file()) {
            return SpawnError {
                kind: SpawnErrorKind::NotExecutable,
                message: format!("cannot execute `{}`: its interpreter is not there", file.display()),
            };
        }
        let place = if word.as_bytes().contains(&b'/') {
            format!("in `{}`", root.display())
        } else {
            "in PATH".to_owned()
        };
        SpawnError {
            kind: SpawnErrorKind::NotFound,
            message: format!("not found: `{}` ({place})", word.display()),
        }
    }
}

/// What one instance gets and its sisters do not, `NAME=value` each.
pub(super) fn own_environment(process_type: &ProcessType, slot: u32, mark: &str) -> Vec<CString> {
    let own = process_type.own_variables(slot, mark);
    own.iter().map(|(name, value)| pair(OsStr::new(name), OsStr::new(value))).collect()
}

fn pair(name: &OsStr, value: &OsStr) -> CString {
    text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// An error of the system in its own words.
pub(super) fn reason(errno: Errno) -> &'static str {
    errno.desc()
}

/// Where a word is looked for: itself, if it has a slash; else in every directory of PATH, an empty one being the
/// working directory (POSIX, section 8.3).
fn candidates(word: &[u8], path: &OsStr) -> Vec<CString> {
    if word.contains(&b'/') {
        return vec![text(word)];
    }
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let file = |directory: &[u8]| {
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        text(&[directory, b"/", word].concat())
    };
    directories.map(file).collect()
}

/// For the kernel. A NUL cannot be in it: the Procfile and the environment were refused if they had one.
fn text(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_else(|error| {
        let end = error.nul_position();
        CString::new(&bytes[..end]).unwrap_or_default()
    })
}
