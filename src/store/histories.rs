//! Random histories of a store: whatever was done, and wherever the machine stopped, what is there is whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Draft, Number, Place, Store, Trouble, disk};
use crate::app::Inputs;

/// An app and its store, in a directory of their own.
struct Rig {
    directory: PathBuf,
    place: Place,
}

impl Rig {
    fn new() -> Rig {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("supervise-store-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("app/lib")).expect("the temporary directory is writable");
        fs::write(directory.join("app/Procfile"), "web: x\n").expect("it is ours");
        fs::write(directory.join("app/lib/code"), "1").expect("it is ours");
        let inputs = Inputs { directory: directory.join("app"), ..Inputs::default() };
        let place = Store::place(&inputs, Some(&directory.join("state"))).expect("it is named");
        Rig { directory, place }
    }

    fn create(&self, code: u8, secret: u8) -> Result<Number, Trouble> {
        let app = self.directory.join("app");
        fs::write(app.join("lib/code"), code.to_string()).expect("it is ours");
        fs::write(app.join(".env"), format!("SECRET=zq{secret}zq\n")).expect("it is ours");
        let draft = Draft { inputs: Inputs { directory: app, ..Inputs::default() }, ..Draft::default() };
        Store::create(&self.place, &draft).map(|created| created.kept.number())
    }

    fn store(&self) -> Option<Store> {
        match Store::open(&self.place) {
            Ok(store) => Some(store),
            Err(Trouble::NoStore(_)) => None,
            Err(trouble) => panic!("{trouble}"),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create { code: u8, secret: u8 },
    Copy(usize),
    Commit(usize),
    Prune(usize),
}

fn steps() -> impl Strategy<Value = Vec<(Step, Option<u32>)>> {
    let step = prop_oneof![
        3 => (0..3_u8, 0..3_u8).prop_map(|(code, secret)| Step::Create { code, secret }),
        1 => (0..4_usize).prop_map(Step::Copy),
        2 => (0..4_usize).prop_map(Step::Commit),
        1 => (0..4_usize).prop_map(Step::Prune),
    ];
    prop::collection::vec((step, prop::option::weighted(0.6, 0..40_u32)), 1..9)
}

/// What is known of each release that is there: its id and everything in it.
type Seen = BTreeMap<Number, (String, String)>;

fn look(store: &Store) -> Seen {
    let listing = store.list().expect("it can be read");
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    let look = |kept: &super::Kept| {
        assert_eq!(store.examine(kept).expect("its build is there"), Vec::<PathBuf>::new());
        let shown = format!("{kept:?}");
        assert!(!shown.contains("zq"), "{shown}");
        (kept.number(), (kept.record.id.clone(), format!("{:?} {:?}", kept.record, kept.config())))
    };
    listing.kept.iter().map(look).collect()
}

/// Does it, perhaps until the machine stops; whether it was done.
fn perform(rig: &Rig, seen: &Seen, step: &Step, stops: Option<u32>) -> bool {
    let one = |index: &usize| seen.keys().nth(*index % seen.len().max(1)).copied();
    let (store, numbers) = (rig.store(), seen.len());
    disk::stop_after(stops);
    let done = match (step, &store) {
        (Step::Create { code, secret }, _) => rig.create(*code, *secret).map(|_| ()),
        (Step::Copy(index), Some(store)) if numbers > 0 => {
            store.copy(one(index).expect("there is one"), "again").map(|_| ())
        }
        (Step::Commit(index), Some(store)) if numbers > 0 => store.commit(one(index).expect("there is one")),
        (Step::Prune(keep), Some(store)) => store.prune(*keep).map(|_| ()),
        (Step::Copy(_) | Step::Commit(_) | Step::Prune(_), _) => Ok(()),
    };
    let stopped = disk::stop_after(None);
    match &done {
        Ok(()) => true,
        Err(trouble) => {
            assert!(stopped, "{step:?}: {trouble}");
            assert!(!format!("{trouble} {trouble:?}").contains("zq"), "{trouble}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn wherever_the_machine_stops_every_release_is_whole_and_the_current_one_is_there(history in steps()) {
        let rig = Rig::new();
        let mut seen = Seen::new();
        let mut highest = None;
        let mut current = None;
        for (step, stops) in &history {
            let done = perform(&rig, &seen, step, *stops);
            let Some(store) = rig.store() else {
                prop_assert!(seen.is_empty());
                continue;
            };
            let now = look(&store);
            for (number, before) in &seen {
                match now.get(number) {
                    Some(after) => prop_assert_eq!(before, after, "{} was changed by {:?}", number, step),
                    None => prop_assert!(matches!(step, Step::Prune(_)), "{} is gone after {:?}", number, step),
                }
            }
            for number in now.keys().filter(|number| !seen.contains_key(number)) {
                prop_assert!(Some(*number) > highest, "{} is there again after {:?}", number, step);
            }
            if let (Step::Create { .. } | Step::Copy(_), true) = (step, done) {
                prop_assert!(now.len() > seen.len() || seen.is_empty());
            }
            let deployed = store.deployed().expect("it is readable, and the current one is there");
            if !matches!(step, Step::Commit(_)) {
                prop_assert_eq!(deployed.current, current, "changed by {:?}", step);
            }
            current = deployed.current;
            if let Some(current) = current {
                prop_assert!(now.contains_key(&current));
                prop_assert_eq!(deployed.completed.last(), Some(&current));
            }
            highest = now.keys().max().copied().max(highest);
            seen = now;
        }
        // And life goes on.
        let number = rig.create(0, 0).expect("the machine runs again");
        prop_assert!(Some(number) > highest);
        let store = rig.store().expect("it was just made");
        let again = rig.create(0, 0).expect("as before");
        let id = |number: Number| store.load(&number.to_string()).expect("it is there").record.id;
        prop_assert_eq!(id(number), id(again), "the same input has the same id");
    }
}

#[test]
fn at_every_single_step_of_the_first_release_the_machine_may_stop() {
    for stops in 0.. {
        let rig = Rig::new();
        disk::stop_after(Some(stops));
        let created = rig.create(1, 1);
        let stopped = disk::stop_after(None);
        assert!(stopped || created.is_ok(), "after {stops} steps: {created:?}");
        let before = rig.store().map(|store| look(&store)).unwrap_or_default();
        assert!(before.len() <= 1);
        rig.create(1, 1).unwrap_or_else(|trouble| panic!("after {stops} steps: {trouble}"));
        assert_eq!(look(&rig.store().expect("it is there")).len(), before.len() + 1);
        if created.is_ok() {
            assert!(stops > 20, "only {stops} steps: something is not counted");
            return;
        }
    }
}

#[test]
fn a_rollback_leads_to_the_last_one_that_completed_and_is_another() {
    let rig = Rig::new();
    let numbers: Vec<Number> =
        [1, 2, 2, 3].iter().map(|code| rig.create(*code, 0).expect("it can be written")).collect();
    let store = rig.store().expect("it was just made");
    assert!(store.rollback_target(None).is_err(), "nothing has completed");
    store.commit(numbers[0]).expect("it is there");
    assert!(store.rollback_target(None).is_err(), "nothing before it");
    store.commit(numbers[1]).expect("it is there");
    assert_eq!(store.rollback_target(None).expect("there is one"), numbers[0]);
    store.commit(numbers[2]).expect("it is there");
    assert_eq!(store.rollback_target(None).expect("v2 is the same as v3"), numbers[0]);
    assert_eq!(store.rollback_target(Some(numbers[3])).expect("it is there"), numbers[3]);
    let copy = store.copy(numbers[0], "rollback to v1").expect("it can be written");
    assert_eq!((copy.record.copy_of, copy.record.number.to_string().as_str()), (Some(numbers[0]), "v5"));
    assert_eq!(copy.record.id, store.load("v1").expect("it is there").record.id);
    let unknown = "v9".parse().expect("it is a number");
    assert!(
        store.rollback_target(Some(unknown)).unwrap_err().to_string().contains("there is no release `v9`")
    );
}

#[test]
fn what_is_current_newest_or_held_is_not_pruned_and_builds_go_with_the_last_release_that_has_them() {
    let rig = Rig::new();
    let numbers: Vec<Number> =
        [1, 1, 2, 3, 4, 5].iter().map(|code| rig.create(*code, 0).expect("it can be written")).collect();
    let store = rig.store().expect("it was just made");
    let builds = || fs::read_dir(rig.directory.join("state/builds")).expect("it is there").count();
    assert_eq!(builds(), 5, "equal builds are kept once");
    store.commit(numbers[1]).expect("it is there");
    let hold = store.hold(numbers[2]).expect("it is there");
    let pruned = store.prune(1).expect("it can be written");
    assert_eq!((pruned.removed, pruned.in_use), (vec![numbers[0], numbers[3], numbers[4]], vec![numbers[2]]));
    assert_eq!(builds(), 3);
    drop(hold);
    // A child of another test has the descriptor until it executes its program.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut removed = Vec::new();
    while removed.is_empty() {
        assert!(Instant::now() < deadline, "nobody holds {} any more, and it stays", numbers[2]);
        removed = store.prune(1).expect("it can be written").removed;
    }
    assert_eq!(removed, [numbers[2]]);
    assert_eq!(builds(), 2);
    assert!(store.hold(numbers[2]).is_err());
}
