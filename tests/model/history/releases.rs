//! Histories in which releases run: what is a reload elsewhere is a deploy here.

use std::process::Command;

use super::History;
use crate::book::Book;
use crate::cast::{Entry, procfile, spec};
use crate::harness::Directory;

/// A release of the files as they are; its name.
pub(super) fn create(directory: &Directory) -> String {
    let mut create = Command::new(env!("CARGO_BIN_EXE_supervise"));
    let build = directory.top().join("build");
    create.args(["release", "create", "--build"]).arg(build).current_dir(directory.app("")).env_clear();
    let output = create.env("PATH", "/usr/bin:/bin").env("HOME", directory.top()).output();
    let output = output.expect("the program was built");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    out.split(':').next().expect("it begins with the name").to_owned()
}

impl History {
    /// Another release, and a deploy of it; false where another one is still going on.
    pub(super) fn deploy(&mut self, entries: Vec<Entry>) -> bool {
        let directory = self.life.app("");
        self.write(&procfile(&entries, &directory), &spec(&entries, &directory));
        let release = create(self.project.directory());
        self.releases.insert(release.clone(), entries.clone());
        let (status, answer) = self.life.ask("POST", "/v1/deploy", &format!("{{\"release\":\"{release}\"}}"));
        self.note(format!("deploy {release}: {status}"));
        match status {
            409 => false,
            200 | 202 => {
                let before = std::mem::replace(&mut self.deployed_from, self.book.release.clone());
                self.log.lines.push(format!("  from {}, and before from {before}", self.deployed_from));
                self.book.deployed(&release, entries);
                true
            }
            _ => panic!("deploy {release}: {status} {answer}\n{}", self.life),
        }
    }

    /// It was taken back.
    pub(super) fn was_not_deployed(&mut self, release: &str) {
        self.note(format!("{release} was not deployed"));
        let before = self.deployed_from.clone();
        let counts = self.life.ps().formation.0;
        let counts: Vec<_> = counts.into_iter().map(|(name, count)| (name.to_string(), count)).collect();
        self.book.not_deployed(&before, self.releases[&before].clone(), &counts);
    }

    /// What a start finds: the files as they are, or the release that came to run everywhere last.
    pub(super) fn book_of_a_new_life(&mut self) -> Book {
        if self.releases.is_empty() {
            return Book::new(self.book.entries.clone(), self.base, "dev");
        }
        let process = self.life.ps().processes.into_iter().next();
        let release = process.expect("there is a formation").release;
        let possible = [&self.book.release, &self.deployed_from];
        assert!(possible.contains(&&release), "{release} runs, and it is none of {possible:?}");
        Book::new(self.releases[&release].clone(), self.base, &release)
    }
}
