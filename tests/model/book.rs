//! What was asked for, kept by rules of its own: a few lines beside the thousands that decide.

use std::collections::{BTreeMap, BTreeSet};

use super::cast::{Ends, Entry, PORT_STEP, kind};

/// `web.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) number: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// What the files that hold say, in order.
    pub(crate) entries: Vec<Entry>,
    base: u16,
    counts: BTreeMap<&'static str, u32>,
    stopped: BTreeSet<Place>,
    /// What happened to slots since the last quiet point.
    touched: BTreeMap<Place, Touch>,
    /// Types that went back to what ran before: of which edition they are is theirs to say.
    unsure: BTreeSet<String>,
    /// What every instance runs: `dev`, or `v3`.
    pub(crate) release: String,
}

/// What happened to a slot since the last quiet point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Its leader was killed so often, from outside.
    pub(crate) kills: u64,
    /// Somebody asked for another life in it, or for an end of the one that was.
    pub(crate) asked: bool,
    /// It must have another instance now than before.
    pub(crate) renewed: bool,
}

/// What a slot shall be like when all is quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Running,
    Completed,
    /// Whatever ended there before it was asked to stop.
    Resting,
}

impl Book {
    pub(crate) fn new(entries: Vec<Entry>, base: u16, release: &str) -> Book {
        let counts = entries.iter().map(|entry| (entry.name, entry.quantity)).collect();
        Book {
            entries,
            base,
            counts,
            stopped: BTreeSet::new(),
            touched: BTreeMap::new(),
            unsure: BTreeSet::new(),
            release: release.to_owned(),
        }
    }

    pub(crate) fn count(&self, name: &str) -> u32 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// `(web, 2)`, in the order of the Procfile.
    pub(crate) fn formation(&self) -> Vec<(String, u32)> {
        self.entries.iter().map(|entry| (entry.name.to_owned(), self.count(entry.name))).collect()
    }

    /// Every slot of a type that shall be there.
    pub(crate) fn places_of(&self, name: &str) -> Vec<Place> {
        (1..=self.count(name)).map(|number| Place { name: name.to_owned(), number }).collect()
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.entries.iter().flat_map(|entry| self.places_of(entry.name)).collect()
    }

    pub(crate) fn wanted(&self, place: &Place) -> Wanted {
        if self.stopped.contains(place) {
            Wanted::Resting
        } else if kind(&place.name).ends == Ends::Well {
            Wanted::Completed
        } else {
            Wanted::Running
        }
    }

    /// PORT = base + step x (the type's index in the Procfile) + (slot - 1).
    pub(crate) fn port(&self, place: &Place) -> Option<u16> {
        let index = self.entries.iter().position(|entry| entry.name == place.name)?;
        let index = u16::try_from(index).expect("a handful of types");
        let above = u16::try_from(place.number - 1).expect("a handful of slots");
        kind(&place.name).has_ports.then_some(self.base + PORT_STEP * index + above)
    }

    /// The edition that instances of a type have.
    pub(crate) fn edition(&self, name: &str) -> Option<u32> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        (!self.unsure.contains(name)).then_some(entry.edition)
    }

    pub(crate) fn touch_of(&self, place: &Place) -> Touch {
        self.touched.get(place).copied().unwrap_or_default()
    }

    /// What is so now is what the next quiet point is held against.
    pub(crate) fn all_seen(&mut self) {
        self.touched.clear();
    }

    pub(crate) fn scaled(&mut self, name: &'static str, count: u32) {
        let before = self.count(name);
        self.counts.insert(name, count);
        self.stopped.retain(|place| place.name != name || place.number <= count);
        for number in count.min(before) + 1..=count.max(before) {
            self.asked(&Place { name: name.to_owned(), number }, true);
        }
    }

    pub(crate) fn asked_to_stop(&mut self, places: &[Place]) {
        for place in places {
            self.stopped.insert(place.clone());
            self.asked(place, false);
        }
    }

    pub(crate) fn asked_to_restart(&mut self, places: &[Place]) {
        for place in places {
            self.stopped.remove(place);
            self.asked(place, true);
        }
    }

    pub(crate) fn leader_killed(&mut self, place: &Place) {
        self.touched.entry(place.clone()).or_default().kills += 1;
    }

    /// Whatever becomes of them may be.
    pub(crate) fn disturbed(&mut self, places: &[Place]) {
        for place in places {
            self.asked(place, false);
        }
    }

    fn asked(&mut self, place: &Place, renewed: bool) {
        let touch = self.touched.entry(place.clone()).or_default();
        touch.asked = true;
        touch.renewed |= renewed;
    }

    /// Other files hold.
    pub(crate) fn reread(&mut self, entries: Vec<Entry>) {
        let old = std::mem::replace(&mut self.entries, entries);
        let new = self.entries.clone();
        let before = Book { entries: old.clone(), ..self.clone() };
        for entry in &old {
            if !new.iter().any(|other| other.name == entry.name) {
                self.scaled(entry.name, 0);
                self.counts.remove(entry.name);
                self.unsure.remove(entry.name);
            }
        }
        for entry in &new {
            let Some(earlier) = old.iter().find(|other| other.name == entry.name) else {
                self.scaled(entry.name, entry.quantity);
                continue;
            };
            let places = self.places_of(entry.name);
            if earlier.quantity != entry.quantity {
                self.scaled(entry.name, entry.quantity);
            }
            let first = Place { name: entry.name.to_owned(), number: 1 };
            let moved = before.port(&first) != self.port(&first);
            if self.unsure.remove(entry.name) {
                // What runs is not what the files said before: it may be tried once more.
                self.disturbed(&places);
            } else if earlier.edition != entry.edition || moved {
                // What was stopped by request stays so.
                let up = places
                    .into_iter()
                    .filter(|place| place.number <= self.count(entry.name) && !self.stopped.contains(place));
                self.asked_to_restart(&up.collect::<Vec<_>>());
            }
        }
    }

    /// Another release holds: every instance has something new, the id at least. The same once more under another number is
    /// the same.
    pub(crate) fn deployed(&mut self, release: &str, entries: Vec<Entry>) {
        release.clone_into(&mut self.release);
        if entries == self.entries {
            return;
        }
        self.reread(entries);
        let up: Vec<Place> =
            self.places().into_iter().filter(|place| !self.stopped.contains(place)).collect();
        self.asked_to_restart(&up);
    }

    /// It did not work, and everything is as it was before it: the counts are theirs to say.
    pub(crate) fn not_deployed(&mut self, release: &str, entries: Vec<Entry>, counts: &[(String, u32)]) {
        self.entries = entries;
        release.clone_into(&mut self.release);
        self.unsure.clear();
        let count = |name: &str| counts.iter().find(|(its, _)| its == name).map_or(0, |(_, count)| *count);
        self.counts = self.entries.iter().map(|entry| (entry.name, count(entry.name))).collect();
        for place in self.places() {
            let touch = self.touched.entry(place).or_default();
            *touch = Touch { asked: true, renewed: false, ..*touch };
        }
    }

    /// What was new did not work: the old one is back.
    pub(crate) fn turned_back(&mut self, name: &str) {
        self.unsure.insert(name.to_owned());
        for place in self.places_of(name) {
            let touch = self.touched.entry(place).or_default();
            *touch = Touch { asked: true, renewed: false, ..*touch };
        }
    }
}
