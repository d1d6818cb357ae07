//! What the instances of each type execute, and what they executed before a reload.

use std::collections::HashMap;
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

/// Every type there ever was, with all its editions, counted as the supervisor counts them.
#[derive(Debug)]
pub(super) struct Editions {
    types: Vec<Vec<Edition>>,
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
        let types: Vec<Vec<Edition>> = editions(release)?.map(|edition| vec![edition]).collect();
        let names = types.iter().enumerate().map(|(index, kind)| (kind[0].process_type.name.clone(), index));
        Ok(Editions { names: names.collect(), types })
    }

    pub(super) fn edition(&self, type_index: usize, edition: usize) -> &Edition {
        &self.types[type_index][edition]
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
            let before = self.types.get(type_index).and_then(|kind| kind.last());
            let program = match before {
                Some(before) if before.runs_the_same(&edition) => Program::Same,
                Some(_) | None => Program::Changed,
            };
            compared.push((Reread { type_index, member, program }, edition));
        }
        let rereads = compared.iter().map(|(reread, _)| reread.clone()).collect();
        let editions =
            compared.into_iter().map(|(reread, edition)| (reread.type_index, reread.program, edition));
        Ok((rereads, Candidate { editions: editions.collect() }))
    }

    /// From now on what was read again holds.
    pub(super) fn adopt(&mut self, candidate: Candidate) {
        for (type_index, program, edition) in candidate.editions {
            if type_index == self.types.len() {
                self.names.insert(edition.process_type.name.clone(), type_index);
                self.types.push(vec![edition]);
                continue;
            }
            let kind = &mut self.types[type_index];
            match program {
                Program::Changed => kind.push(edition),
                // Its rules may be others.
                Program::Same => {
                    kind.pop();
                    kind.push(edition);
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
