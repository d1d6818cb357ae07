//! What the instances of each type execute, and what they executed before a reload.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::api::TypeName;
use crate::app::{Check, Command, Form, Listen, ProcessType, RELEASE, Release};
use crate::supervisor::{Member, Program, Reread};

use super::listen::Sockets;
use super::program::Prepared;

/// One program of one type, ready to be started.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) process_type: ProcessType,
    pub(super) prepared: Prepared,
    pub(super) root: Rc<Root>,
    /// The release that it is of, without its types.
    release: Rc<Release>,
}

/// A command that is to run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OneOff {
    /// These words, executed as they are.
    Words(Vec<Vec<u8>>),
    /// The command of a type, with its environment and limits.
    Of(TypeName),
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
    types: Vec<BTreeMap<usize, Rc<Edition>>>,
    names: HashMap<TypeName, usize>,
    /// The types of the release that holds; while one is being deployed, those of both.
    listed: Vec<usize>,
    /// What they are when it is known which of both holds.
    outcomes: Option<Outcomes>,
}

/// The types of two releases, one of which will hold.
#[derive(Debug)]
struct Outcomes {
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Whether what is adopted holds for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Yes: it was read again from the files.
    ForGood,
    /// It is being deployed.
    OnTrial,
}

/// A release that was read again, held against what is there.
#[derive(Debug)]
pub(super) struct Candidate {
    editions: Vec<(usize, Program, Rc<Edition>)>,
    /// The sockets that nobody had before.
    pub(super) sockets: Sockets,
}

/// So many one-off commands are remembered that nobody lives by: some of them have yet to be started.
const ONE_OFFS: usize = 64;

impl Candidate {
    /// The command of its type `release`, to be run once before the rest holds.
    pub(super) fn release_phase(&self) -> Option<Rc<Edition>> {
        let mut editions = self.editions.iter().map(|(.., edition)| edition);
        editions.find(|edition| edition.process_type.name.as_str() == RELEASE).map(|edition| edition.once())
    }
}

impl Editions {
    /// # Errors
    /// The directory has a NUL in its name.
    pub(super) fn new(release: Release) -> io::Result<Editions> {
        let types: Vec<BTreeMap<usize, Rc<Edition>>> =
            editions(release)?.map(|edition| BTreeMap::from([(0, edition)])).collect();
        let names = types.iter().enumerate().map(|(index, kind)| (kind[&0].process_type.name.clone(), index));
        Ok(Editions { names: names.collect(), listed: (0..types.len()).collect(), outcomes: None, types })
    }

    pub(super) fn edition(&self, type_index: usize, edition: usize) -> &Edition {
        &self.types[type_index][&edition]
    }

    /// The types of the release that holds.
    pub(super) fn listed(&self) -> impl Iterator<Item = &ProcessType> {
        let newest = self.listed.iter().filter_map(|type_index| self.types[*type_index].values().next_back());
        newest.map(|edition| &edition.process_type)
    }

    /// Whether an instance may yet be started that listens there, or one lives by an edition (a type and its number) that
    /// does.
    pub(super) fn listen_on(&self, address: &Listen, lived_by: &BTreeSet<(usize, usize)>) -> bool {
        let mut newest =
            self.listed.iter().filter_map(|type_index| self.types[*type_index].values().next_back());
        newest.any(|edition| edition.process_type.listen.as_ref() == Some(address))
            || self.have(address, lived_by)
    }

    /// Whether one of these editions listens there.
    pub(super) fn have(&self, address: &Listen, lived_by: &BTreeSet<(usize, usize)>) -> bool {
        let mut lived_by =
            lived_by.iter().filter_map(|(type_index, edition)| self.types[*type_index].get(edition));
        lived_by.any(|edition| edition.process_type.listen.as_ref() == Some(address))
    }

    /// Holds a release that was read again against what is there, and binds the sockets that are new in it.
    ///
    /// # Errors
    /// As those of [`Editions::new`], and a socket that cannot be bound.
    pub(super) fn compare(&self, release: Release, bound: &Sockets) -> io::Result<(Vec<Reread>, Candidate)> {
        let sockets =
            bound.bind_more(&release.types).map_err(|cannot| io::Error::other(cannot.to_string()))?;
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
        Ok((rereads, Candidate { editions: editions.collect(), sockets }))
    }

    /// From now on what was read again holds; of what held before, what one of these lives by is kept (a type and an edition
    /// each), and what may be come back to: the newest until now. What is returned was bound for it.
    pub(super) fn adopt(
        &mut self,
        candidate: Candidate,
        lived_by: &BTreeSet<(usize, usize)>,
        term: Term,
    ) -> Sockets {
        let after: Vec<usize> = candidate.editions.iter().map(|(type_index, ..)| *type_index).collect();
        let before = std::mem::replace(&mut self.listed, after.clone());
        self.outcomes = match term {
            Term::ForGood => None,
            Term::OnTrial => {
                self.listed.extend(before.iter().filter(|type_index| !after.contains(type_index)));
                Some(Outcomes { before, after })
            }
        };
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
                    kind.retain(|edition, _| {
                        *edition == newest || lived_by.contains(&(type_index, *edition))
                    });
                    kind.insert(newest + 1, edition);
                }
                // Its rules may be others.
                Program::Same => {
                    kind.insert(newest, edition);
                }
            }
        }
        candidate.sockets
    }

    /// The releases of these editions, a type and its number each.
    pub(super) fn releases(&self, lived_by: &BTreeSet<(usize, usize)>) -> BTreeSet<String> {
        let editions =
            lived_by.iter().filter_map(|(type_index, edition)| self.types[*type_index].get(edition));
        editions.map(|edition| edition.release.id.clone()).collect()
    }

    /// A command that is to run once in the formation as it is now; `None` where there is no such type.
    pub(super) fn one_off(&self, command: &OneOff) -> Option<Rc<Edition>> {
        let newest = |type_index: &usize| self.types[*type_index].values().next_back();
        match command {
            OneOff::Of(name) => newest(self.names.get(name)?).map(|edition| edition.once()),
            OneOff::Words(words) => {
                let Edition { release, root, .. } = &**newest(self.listed.first()?)?;
                let text = words.join(&b' ');
                let command = Command { text, form: Form::Direct(words.clone()) };
                let process_type = ProcessType::once(command, release.environment.clone());
                Some(Edition::new(process_type, root, release))
            }
        }
    }

    /// From now on this is the index of one-off commands.
    pub(super) fn reserve(&mut self, type_index: usize) {
        debug_assert_eq!(
            type_index,
            self.types.len(),
            "indices are counted alike by who decides and who does"
        );
        self.types.push(BTreeMap::new());
    }

    /// A one-off command has this number from now on.
    pub(super) fn stage(
        &mut self,
        type_index: usize,
        edition: usize,
        command: Rc<Edition>,
        lived_by: &BTreeSet<(usize, usize)>,
    ) {
        let kind = &mut self.types[type_index];
        kind.retain(|earlier, _| *earlier + ONE_OFFS > edition || lived_by.contains(&(type_index, *earlier)));
        kind.insert(edition, command);
    }

    /// What was on trial holds.
    pub(super) fn keep(&mut self) {
        if let Some(Outcomes { after, .. }) = self.outcomes.take() {
            self.listed = after;
        }
    }

    /// What was on trial does not hold.
    pub(super) fn take_back(&mut self) {
        if let Some(Outcomes { before, .. }) = self.outcomes.take() {
            self.listed = before;
        }
    }

    /// From now on an earlier edition holds again, as the newest.
    pub(super) fn revert(&mut self, type_index: usize, edition: usize) {
        let kind = &mut self.types[type_index];
        let earlier = Rc::clone(&kind[&edition]);
        let newest = kind.last_key_value().map_or(0, |(newest, _)| *newest);
        kind.insert(newest + 1, earlier);
    }
}

impl Edition {
    fn new(process_type: ProcessType, root: &Rc<Root>, release: &Rc<Release>) -> Rc<Edition> {
        let prepared = Prepared::new(release, &process_type);
        Rc::new(Edition { process_type, prepared, root: Rc::clone(root), release: Rc::clone(release) })
    }

    /// The same command, to be run once beside the formation.
    fn once(&self) -> Rc<Edition> {
        let ProcessType { command, environment, limits, confinement, policy, needs, .. } =
            self.process_type.clone();
        let once = ProcessType::once(command, environment);
        let process_type = ProcessType { policy, limits, confinement, needs, ..once };
        Edition::new(process_type, &self.root, &self.release)
    }

    /// Whether an instance of the one would be an instance of the other.
    fn runs_the_same(&self, other: &Edition) -> bool {
        self.prepared == other.prepared
            && self.root == other.root
            && self.process_type.limits == other.process_type.limits
            && self.process_type.confinement == other.process_type.confinement
            && self.process_type.stderr == other.process_type.stderr
            && self.process_type.port == other.process_type.port
            && self.process_type.listen == other.process_type.listen
            && self.patience() == other.patience()
    }

    /// How long an instance may keep silent, where it was told so when it was started (`sd_watchdog_enabled(3)`). All other
    /// probes are asked by us: they may change while it lives.
    fn patience(&self) -> Option<Duration> {
        let liveness = self.process_type.health.liveness.as_ref()?;
        (liveness.check == Check::Notify).then(|| liveness.timing.patience())
    }
}

fn editions(mut release: Release) -> io::Result<impl Iterator<Item = Rc<Edition>>> {
    let text = CString::new(release.root.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let root = Rc::new(Root { path: release.root.clone(), text });
    let types = std::mem::take(&mut release.types);
    let release = Rc::new(release);
    Ok(types.into_iter().map(move |process_type| Edition::new(process_type, &root, &release)))
}

#[cfg(test)]
mod tests {
    use super::super::control::testing::Scratch;
    use super::*;
    use crate::app::{Inputs, plan};

    fn read(scratch: &Scratch, command: &str, spec: &str) -> Release {
        std::fs::write(scratch.path("Procfile"), format!("web: {command}\n")).expect("it is ours");
        std::fs::write(scratch.path("supervise.yml"), spec).expect("it is ours");
        plan(&Inputs { directory: scratch.path(""), ..Inputs::default() }).expect("it is right")
    }

    fn known(editions: &Editions) -> Vec<usize> {
        editions.types[0].keys().copied().collect()
    }

    /// Reads again and adopts, while instances live by these.
    fn adopt(editions: &mut Editions, release: Release, lived_by: &[usize]) -> Program {
        let (rereads, candidate) =
            editions.compare(release, &Sockets::default()).expect("nothing is to be bound");
        editions.adopt(candidate, &lived_by.iter().map(|edition| (0, *edition)).collect(), Term::ForGood);
        rereads[0].program
    }

    #[test]
    fn an_edition_that_nobody_lives_by_or_may_come_back_to_is_forgotten_when_the_next_one_comes() {
        let scratch = Scratch::new();
        let mut editions = Editions::new(read(&scratch, "sleep 0", "")).expect("it has a name");
        for (newest, lived_by, expected) in [
            (1, vec![0], vec![0, 1]),
            (2, vec![0], vec![0, 1, 2]),
            (3, vec![2], vec![2, 3]),
            (4, vec![], vec![3, 4]),
        ] {
            let release = read(&scratch, &format!("sleep {newest}"), "");
            assert_eq!(adopt(&mut editions, release, &lived_by), Program::Changed);
            assert_eq!(known(&editions), expected);
        }
        assert_eq!(adopt(&mut editions, read(&scratch, "sleep 4", ""), &[]), Program::Same);
        assert_eq!(known(&editions), [3, 4]);
    }

    #[test]
    fn an_earlier_edition_comes_back_as_the_newest() {
        let scratch = Scratch::new();
        let mut editions = Editions::new(read(&scratch, "old", "")).expect("it has a name");
        adopt(&mut editions, read(&scratch, "new", ""), &[]);
        editions.revert(0, 0);
        assert_eq!(known(&editions), [0, 1, 2]);
        assert!(Rc::ptr_eq(&editions.types[0][&0], &editions.types[0][&2]));
        // The files still say what did not work, and so it is tried again.
        assert_eq!(adopt(&mut editions, read(&scratch, "new", ""), &[2]), Program::Changed);
        assert_eq!(known(&editions), [2, 3]);
    }

    #[test]
    fn what_an_instance_was_given_makes_it_another_and_what_is_asked_of_it_does_not() {
        let scratch = Scratch::new();
        let web = |rest: &str| format!("formation: {{ web: {{ quantity: 0, {rest} }} }}");
        let mut before = web("restart: always");
        let mut editions = Editions::new(read(&scratch, "x", &before)).expect("it has a name");
        for (spec, program) in [
            ("health: { readiness: { tcp: true } }", Program::Same),
            ("health: { liveness: { exec: x } }", Program::Same),
            ("health: { liveness: { notify: true } }", Program::Changed),
            ("health: { liveness: { notify: true, period: 5s } }", Program::Changed),
            ("limits: { memory: 1g }", Program::Changed),
            ("limits: { memory: 1024m }", Program::Same),
            ("rollout: { max_surge: 3 }", Program::Changed),
            ("rollout: { max_surge: 2 }", Program::Same),
            ("listen: tcp://127.0.0.1:1", Program::Changed),
            ("listen: tcp://127.0.0.1:2", Program::Changed),
            ("listen: tcp://127.0.0.1:2, needs: [A], env: { A: 'a:b' }", Program::Changed),
            ("listen: tcp://127.0.0.1:2, env: { A: 'a:b' }", Program::Same),
        ] {
            let spec = web(spec);
            let release = read(&scratch, "x", &spec);
            assert_eq!(adopt(&mut editions, release, &[]), program, "{before} -> {spec}");
            before = spec;
        }
    }
}
