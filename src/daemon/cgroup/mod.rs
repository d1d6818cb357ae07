//! Cgroups (cgroups(7)): what the kernel counts and limits for us, and who is in one.
//!
//! Three things come from here. Why a process was killed that nobody of ours killed: the kernel counts those that it kills for
//! memory, for every cgroup where it counts memory. Limits of an instance as a whole. And, where a cgroup is
//! delegated to us, a cell for each instance, which no process leaves by forgetting whose it is.
//! Nothing here is needed: without any cgroup the formation runs as well, and what cannot be had is said once.

mod domain;
mod ledger;
mod memory;
mod place;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::api::{InstanceId, Notice, OutOfMemory, SlotName, TypeName};
use crate::app::{Confinement, ProcessType};

use super::Fact;
use super::proc::{self, Short};
use domain::{Cell, Domain};
use ledger::Ledger;
use memory::Counter;
use place::Place;

pub(super) use ledger::PATIENCE;

/// See the module.
#[derive(Debug)]
pub(super) struct Cgroups {
    place: Place,
    domain: Result<Domain, &'static str>,
    /// The counter of everybody, from [`Cgroups::open_ledger`] on.
    ledger: Books,
    telling: Telling,
    cells: HashMap<InstanceId, Room>,
    by_name: HashMap<String, InstanceId>,
    /// Cells of instances that are gone, in which somebody lives who is let be.
    lingering: Vec<Cell>,
    /// Types of which was said that their limits do not hold.
    unconfined: BTreeSet<TypeName>,
}

/// The counter of everybody.
#[derive(Debug)]
enum Books {
    /// Nobody has looked yet.
    Closed,
    /// There is one.
    Open(Ledger),
    /// There is none that can be read.
    None,
}

/// The cell of an instance, with its own counter where the kernel counts its memory.
#[derive(Debug)]
struct Room {
    slot: SlotName,
    cell: Cell,
    ledger: Option<Ledger>,
}

/// Whether an event tells of a counter that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Yes,
    No,
}

/// So long the dying are waited for at the end. The next start would remove their cells, too.
const FAREWELL: Duration = Duration::from_millis(200);

impl Cgroups {
    /// Finds out where we are. What earlier runs left empty is removed.
    pub(super) fn new() -> Cgroups {
        let place = Place::ours();
        let domain = Domain::of(place.unified.as_ref());
        if let Ok(domain) = &domain {
            domain.sweep();
        }
        Cgroups {
            place,
            domain,
            ledger: Books::Closed,
            telling: Telling::No,
            cells: HashMap::new(),
            by_name: HashMap::new(),
            lingering: Vec::new(),
            unconfined: BTreeSet::new(),
        }
    }

    /// The smallest limit of memory that holds for us, in bytes.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        memory::limit(&self.place)
    }

    /// Makes ready for the limits of these types: what cannot hold is to be said, once for each type.
    pub(super) fn make_ready<'a>(&mut self, types: impl Iterator<Item = &'a ProcessType>) -> Vec<Notice> {
        let mut notices: Vec<(Vec<TypeName>, String)> = Vec::new();
        for kind in types.filter(|kind| kind.confinement.is_any()) {
            let given = match &mut self.domain {
                Ok(domain) => domain.give(&kind.confinement),
                Err(reason) => Err((*reason).to_owned()),
            };
            let Err(reason) = given else { continue };
            if !self.unconfined.insert(kind.name.clone()) {
                continue;
            }
            match notices.iter_mut().find(|(_, known)| *known == reason) {
                Some((types, _)) => types.push(kind.name.clone()),
                None => notices.push((vec![kind.name.clone()], reason)),
            }
        }
        notices.into_iter().map(|(types, reason)| Notice::NotConfined { types, reason }).collect()
    }

    /// The cell for an instance that is about to be started, open; none where there can be none. What is to be said of that
    /// comes with it.
    pub(super) fn prepare(
        &mut self,
        slot: &SlotName,
        instance: InstanceId,
        limits: &Confinement,
    ) -> (Option<OwnedFd>, Option<Notice>) {
        let Ok(domain) = &self.domain else { return (None, None) };
        match domain.make_cell(slot, instance, limits) {
            Ok((cell, opened)) => {
                let counter = domain.counts_memory().then(|| domain.seat().below(&cell.name));
                let ledger = counter.and_then(|seat| Counter::unified(&seat)).map(Ledger::new);
                self.by_name.insert(cell.name.clone(), instance);
                self.cells.insert(instance, Room { slot: slot.clone(), cell, ledger });
                (Some(opened), None)
            }
            Err(reason) => (None, self.go_without(slot, instance, limits, reason)),
        }
    }

    /// An instance has no cell after all: what is to be said.
    pub(super) fn go_without(
        &mut self,
        slot: &SlotName,
        instance: InstanceId,
        limits: &Confinement,
        reason: String,
    ) -> Option<Notice> {
        tracing::warn!(%slot, reason, "an instance without a cgroup");
        self.forget(instance);
        let is_news = limits.is_any() && self.unconfined.insert(slot.process_type.clone());
        is_news.then(|| Notice::NotConfined { types: vec![slot.process_type.clone()], reason })
    }

    /// Who lives in the cell of an instance; `None` where it has none.
    ///
    /// # Errors
    /// The system is [short](Short) of something: that cannot be told for now.
    pub(super) fn members(&self, instance: InstanceId) -> Result<Option<Vec<i32>>, Short> {
        self.cells.get(&instance).map(|room| room.cell.members()).transpose()
    }

    /// The instance in whose cell a process lives.
    ///
    /// # Errors
    /// As [`Cgroups::members`].
    pub(super) fn instance_of(&self, pid: i32) -> Result<Option<InstanceId>, Short> {
        let Some(domain) = self.domain.as_ref().ok().filter(|_| !self.cells.is_empty()) else {
            return Ok(None);
        };
        let cgroup = Short::or_nothing(proc::file(&format!("/proc/{pid}/cgroup")))?;
        let cgroup = cgroup.and_then(|cgroup| place::unified_name(&cgroup));
        let name = cgroup.as_deref().and_then(|cgroup| domain.cell_name(cgroup));
        Ok(name.and_then(|name| self.by_name.get(name).copied()))
    }

    /// SIGKILL to everybody in the cell of an instance: whether they got it.
    pub(super) fn kill(&self, instance: InstanceId) -> bool {
        let Some(room) = self.cells.get(&instance) else { return false };
        let result = room.cell.kill();
        if let Err(errno) = result {
            tracing::debug!(cell = room.cell.name, %errno, "killed one by one");
        }
        result.is_ok()
    }

    /// Nothing is left of an instance, or nobody whom we wait for: the cell is removed, if not now then later. Returns what
    /// no leader has claimed of its counter.
    pub(super) fn forget(&mut self, instance: InstanceId) -> Vec<Notice> {
        self.lingering.retain(|cell| !cell.remove());
        let Some(mut room) = self.cells.remove(&instance) else { return Vec::new() };
        self.by_name.remove(&room.cell.name);
        let known = room.ledger.as_mut().map_or(0, Ledger::look);
        if let Books::Open(ledger) = &mut self.ledger {
            ledger.is_known(known);
        }
        let losses = room.losses(Duration::ZERO);
        if !room.cell.remove() {
            self.lingering.push(room.cell);
        }
        losses
    }

    /// At the end: cells that only the dying were left in are removed. They are listed no more, and keep a cell until the
    /// kernel has put them away.
    pub(super) fn finish(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        loop {
            self.lingering.retain(|cell| !cell.remove());
            let is_awaited =
                self.lingering.iter().any(|cell| cell.members().is_ok_and(|members| members.is_empty()));
            if !is_awaited || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes note of where the counter stands, and has us told when it moves. After the first starts: they need none of it.
    pub(super) fn open_ledger(&mut self, facts: &mpsc::Sender<Fact>) {
        // Where we have moved away from is counted with all below.
        if let Ok(domain) = &self.domain {
            self.place.unified = Some(domain.seat().clone());
        }
        self.ledger =
            Counter::ours(&self.place).map_or(Books::None, |counter| Books::Open(Ledger::new(counter)));
        if let Some(seat) = &self.place.unified {
            match watch::begin(&seat.directory, facts.clone()) {
                Ok(()) => self.telling = Telling::Yes,
                Err(error) => tracing::debug!(%error, "no event tells of a process killed for memory"),
            }
        }
    }

    /// Why a leader was killed with a SIGKILL that was not ours, if it was the kernel.
    pub(super) fn why_killed(&mut self, instance: InstanceId) -> Option<OutOfMemory> {
        self.look();
        if let Some(ledger) = self.cells.get_mut(&instance).and_then(|room| room.ledger.as_mut()) {
            return ledger.claim();
        }
        match &mut self.ledger {
            Books::Open(ledger) => ledger.claim(),
            Books::Closed => None,
            Books::None => Some(OutOfMemory::Perhaps),
        }
    }

    /// Takes note of what the counters say: whether anything waits to be claimed, so that somebody should ask for the
    /// [losses](Cgroups::losses) after [`PATIENCE`].
    pub(super) fn look(&mut self) -> bool {
        let mut waits = false;
        // Those below first: the kernel counts upwards.
        let mut known = 0;
        for ledger in self.cells.values_mut().filter_map(|room| room.ledger.as_mut()) {
            known += ledger.look();
            waits |= ledger.waits();
        }
        if let Books::Open(ledger) = &mut self.ledger {
            ledger.is_known(known);
            ledger.look();
            waits |= ledger.waits();
        }
        waits
    }

    /// Who was killed for memory and leads nothing.
    pub(super) fn losses(&mut self) -> Vec<Notice> {
        let mut losses: Vec<Notice> =
            self.cells.values_mut().flat_map(|room| room.losses(PATIENCE)).collect();
        if let Books::Open(ledger) = &mut self.ledger {
            let found = ledger.of_no_leader(PATIENCE).into_iter();
            losses.extend(found.map(|(processes, why)| Notice::OutOfMemory { slot: None, processes, why }));
        }
        losses
    }

    /// Whether nothing tells us when a counter moves: then it is to be looked at whenever a child has ended.
    pub(super) fn is_unwatched(&self) -> bool {
        match &self.ledger {
            Books::Open(_) => self.telling == Telling::No,
            Books::Closed | Books::None => false,
        }
    }
}

impl Room {
    fn losses(&mut self, patience: Duration) -> Vec<Notice> {
        let found = self.ledger.iter_mut().flat_map(|ledger| ledger.of_no_leader(patience));
        let slot = &self.slot;
        found
            .map(|(processes, why)| Notice::OutOfMemory { slot: Some(slot.clone()), processes, why })
            .collect()
    }
}

/// What [`super::bare`] reads.
pub(super) fn place(cgroup: &[u8], mountinfo: &[u8]) -> String {
    format!("{:?}", Place::parse(cgroup, mountinfo))
}

/// What [`super::bare`] reads.
pub(super) fn memory_event(events: &str, word: &str) -> Option<u64> {
    memory::field(events, word)
}
