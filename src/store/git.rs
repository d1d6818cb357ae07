//! What git says of a directory: which commit, and whether it is that commit.
//!
//! The one place of this room that starts a process. It is asked by commands only, never in a supervisor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Number, Trouble};

/// A directory that is under version control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkout {
    /// The whole name of the commit.
    pub(super) commit: String,
    /// Whether anything in it is not as committed, or not committed; what git ignores does not count.
    pub(super) dirty: bool,
}

/// Asks git; otherwise why nothing is known: there is no git, or the directory is not part of what is committed.
pub(super) fn checkout(directory: &Path, passed_over: &[PathBuf]) -> Result<Checkout, String> {
    // Of the directory itself: it may only lie in somebody else's work tree, which ignores it.
    let commit = ask(directory, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"].map(OsStr::new))?;
    ask(directory, ["rev-parse", "--verify", "--quiet", "HEAD:./"].map(OsStr::new))?;
    let status = ["status", "--porcelain", "--untracked-files=normal", "--", "."].map(OsString::from);
    let beside = passed_over.iter().filter_map(|path| path.strip_prefix(directory).ok()).map(|path| {
        let mut pathspec = OsString::from(":(exclude,literal)");
        pathspec.push(path);
        pathspec
    });
    let status = ask(directory, status.into_iter().chain(beside))?;
    Ok(Checkout { commit: commit.trim().to_owned(), dirty: !status.is_empty() })
}

/// The commit of a build that was not copied has to be there as it was.
pub(super) fn expect(directory: &Path, commit: &str, number: Number) -> Result<(), Trouble> {
    let place = directory.display();
    let gone = |reason: &str| {
        let help = format!("check that commit out there: `git -C {place} checkout {commit}`");
        Trouble::Gone(format!("{number} runs in {place}, and {reason}\n  help: {help}"))
    };
    match checkout(directory, &[]) {
        Ok(found) if found.commit != commit => Err(gone("another commit is checked out there")),
        Ok(Checkout { dirty: true, .. }) => Err(gone("something in it is not as committed")),
        Ok(_) => Ok(()),
        Err(reason) => Err(gone(&reason)),
    }
}

/// What git prints.
fn ask(directory: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
    let mut command = Command::new("git");
    // A work tree's own configuration names programs; this one would be run by a mere look.
    command.arg("-C").arg(directory).args(["-c", "core.fsmonitor=false"]).args(arguments);
    // Whoever is in a hook has these, and means another repository.
    let of_git =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("GIT_"));
    of_git.for_each(|name| {
        command.env_remove(name);
    });
    command.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no git to ask".to_owned(),
        // The system's own words say the others best.
        _ => format!("git cannot be asked: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| line.starts_with("fatal: ")) {
        Some(said) if !said.contains("not a git repository") => Err(format!("git says: {said}")),
        Some(_) | None => Err("it is no part of a git repository".to_owned()),
    }
}
