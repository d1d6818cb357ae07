//! What the instances of each type execute, and what they executed before a reload.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use crate::api::TypeName;
use crate::app::{ProcessType, Release};
use crate::supervisor::{Member, Program, Reread};

use super::program::Prepared;

/// One program of one type, ready to be started.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) process_type: ProcessType,
    pub(super) prepared: Prepared,
    pub(super) root: Rc<Root>,
}

/// The directory that processes run in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// For the kernel.
    pub(super) text: CString,
}

/// Every type there ever was, with its newest edition and those that somebody still lives by, counted as the supervisor
/// counts them.
#[derive(Debug)]
pub(super) struct Editions {
    types: Vec<BTreeMap<usize, Edition>>,
    names: HashMap<TypeName, usize>,
}

/// A release that was read again, held against what is there.
#[derive(Debug)]
pub(super) struct Candidate {
    editions: Vec<(usize, Program, Edition)>,
}

impl Editions {
    /// # Errors
    /// The directory has a NUL in its name.
    pub(super) fn new(release: Release) -> io::Result<Editions> {
        let types: Vec<BTreeMap<usize, Edition>> =
            editions(release)?.map(|edition| BTreeMap::from([(0, edition)])).collect();
        let names = types.iter().enumerate().map(|(index, kind)| (kind[&0].process_type.name.clone(), index));
        Ok(Editions { names: names.collect(), types })
    }

    pub(super) fn edition(&self, type_index: usize, edition: usize) -> &Edition {
        &self.types[type_index][&edition]
    }

    /// Holds a release that was read again against what is there.
    ///
    /// # Errors
    /// As those of [`Editions::new`].
    pub(super) fn compare(&self, release: Release) -> io::Result<(Vec<Reread>, Candidate)> {
        let members = Member::all(&release);
        let mut unknown = self.types.len();
        let mut compared = Vec::new();
        for (edition, member) in editions(release)?.zip(members) {
            let known = self.names.get(&member.name).copied();
            let type_index = known.unwrap_or_else(|| {
                unknown += 1;
                unknown - 1
            });
            let before = self.types.get(type_index).and_then(BTreeMap::last_key_value);
            let program = match before {
                Some((_, before)) if before.runs_the_same(&edition) => Program::Same,
                Some(_) | None => Program::Changed,
            };
            compared.push((Reread { type_index, member, program }, edition));
        }
        let rereads = compared.iter().map(|(reread, _)| reread.clone()).collect();
        let editions =
            compared.into_iter().map(|(reread, edition)| (reread.type_index, reread.program, edition));
        Ok((rereads, Candidate { editions: editions.collect() }))
    }

    /// From now on what was read again holds; of what held before, what one of these lives by is kept: a type and an edition
    /// each.
    pub(super) fn adopt(&mut self, candidate: Candidate, lived_by: &BTreeSet<(usize, usize)>) {
        for (type_index, program, edition) in candidate.editions {
            if type_index == self.types.len() {
                self.names.insert(edition.process_type.name.clone(), type_index);
                self.types.push(BTreeMap::from([(0, edition)]));
                continue;
            }
            let kind = &mut self.types[type_index];
            let newest = kind.last_key_value().map_or(0, |(newest, _)| *newest);
            match program {
                Program::Changed => {
                    kind.retain(|edition, _| lived_by.contains(&(type_index, *edition)));
                    kind.insert(newest + 1, edition);
                }
                // Its rules may be others.
                Program::Same => {
                    kind.insert(newest, edition);
                }
            }
        }
    }
}

impl Edition {
    /// Whether an instance of the one would be an instance of the other.
    fn runs_the_same(&self, other: &Edition) -> bool {
        self.prepared == other.prepared
            && self.root == other.root
            && self.process_type.limits == other.process_type.limits
            && self.process_type.stderr == other.process_type.stderr
            && self.process_type.port == other.process_type.port
    }
}

fn editions(release: Release) -> io::Result<impl Iterator<Item = Edition>> {
    let text = CString::new(release.root.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let root = Rc::new(Root { path: release.root.clone(), text });
    let prepared: Vec<Prepared> = release.types.iter().map(|kind| Prepared::new(&release, kind)).collect();
    Ok(release.types.into_iter().zip(prepared).map(move |(process_type, prepared)| Edition {
        process_type,
        prepared,
        root: Rc::clone(&root),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::control::testing::Scratch;
    use super::*;
    use crate::app::{Inputs, plan};

    #[test]
    fn an_edition_that_nobody_lives_by_is_forgotten_when_the_next_one_comes() {
        let scratch = Scratch::new();
        let read = |command: &str| {
            std::fs::write(scratch.path("Procfile"), format!("web: {command}\n")).expect("it is ours");
            plan(&Inputs { directory: scratch.path(""), ..Inputs::default() }).expect("it is right")
        };
        let mut editions = Editions::new(read("sleep 0")).expect("it has a name");
        for (newest, kept) in [(1, vec![0]), (2, vec![0]), (3, vec![2]), (4, vec![])] {
            let (rereads, candidate) =
                editions.compare(read(&format!("sleep {newest}"))).expect("it has a name");
            assert_eq!(rereads[0].program, Program::Changed);
            editions.adopt(candidate, &kept.iter().map(|edition| (0, *edition)).collect());
            let known: Vec<usize> = editions.types[0].keys().copied().collect();
            assert_eq!(known, [kept, vec![newest]].concat());
        }
        let (rereads, candidate) = editions.compare(read("sleep 4")).expect("it has a name");
        assert_eq!(rereads[0].program, Program::Same);
        editions.adopt(candidate, &BTreeSet::new());
        assert_eq!(editions.types[0].keys().copied().collect::<Vec<_>>(), [4]);
    }
}
