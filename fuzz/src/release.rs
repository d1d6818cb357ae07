//! Whatever a broken disk or somebody else leaves of a kept release, it is read as it was made, or refused without a value.
//!
//! The first byte chooses a file, the second what becomes of it, two more a place in it, and the rest is written there.

use std::fs;
use std::path::PathBuf;

use supervise::app::Inputs;
use supervise::store::{Draft, Store, Trouble};

/// Stands in the config.
const SECRET: &str = "hunter2";

pub(crate) fn check(input: &[u8]) {
    thread_local!(static RIG: Rig = Rig::new());
    RIG.with(|rig| rig.tamper(input));
}

/// A store with a release that was deployed.
struct Rig {
    directory: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
    whole: String,
}

impl Rig {
    fn new() -> Rig {
        let thread = format!("{:?}", std::thread::current().id());
        let name = format!("supervise-fuzz-{}-{}", std::process::id(), thread.replace(['(', ')'], "-"));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("app")).expect("the temporary directory is writable");
        let directory = directory.canonicalize().expect("it is there");
        let write =
            |name: &str, text: &str| fs::write(directory.join("app").join(name), text).expect("it is ours");
        write("Procfile", "web: sleep 100\nworker: sleep 100\n");
        write("supervise.yml", "formation: { worker: { quantity: 2 } }\n");
        write(".env", &format!("SECRET={SECRET}\nOTHER=1\n"));
        let draft = Draft {
            inputs: Inputs { directory: directory.join("app"), ..Inputs::default() },
            ..Draft::default()
        };
        let mut rig = Rig { directory, files: Vec::new(), whole: String::new() };
        let place = Store::place(&draft.inputs, Some(&rig.state())).expect("it is named");
        let created = Store::create(&place, &draft).unwrap_or_else(|trouble| panic!("{trouble}"));
        rig.open().and_then(|store| store.commit(created.kept.number())).expect("it is whole");
        let below = ["release.json", "Procfile", "supervise.yml", "config.env", "build.list"];
        let files = below.map(|name| rig.state().join("releases/v1").join(name)).into_iter();
        let files = files.chain(["store.json", "deployed.json"].map(|name| rig.state().join(name)));
        rig.files = files.map(|file| (file.clone(), fs::read(&file).expect("it is there"))).collect();
        rig.whole = rig.read().expect("it is whole");
        rig
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn open(&self) -> Result<Store, Trouble> {
        let inputs = Inputs { directory: self.directory.join("app"), ..Inputs::default() };
        Store::open(&Store::place(&inputs, Some(&self.state()))?)
    }

    /// Everything that is read of the release.
    fn read(&self) -> Result<String, Trouble> {
        let store = self.open()?;
        let deployed = store.deployed()?;
        let kept = store.load("v1")?;
        let listing = store.list()?;
        assert_eq!((listing.kept.len(), listing.damaged.len()), (1, 0));
        let config = kept.config().map_err(Trouble::from)?;
        let altered = store.examine(&kept)?;
        Ok(format!("{kept:?}{config:?}{altered:?}{:?}{:?}{deployed:?}", kept.spec_text(), kept.build_list()))
    }

    fn tamper(&self, input: &[u8]) {
        let [file, what, high, low, bytes @ ..] = input else { return };
        let (file, before) = &self.files[usize::from(*file) % self.files.len()];
        let at = (usize::from(*high) << 8 | usize::from(*low)) % (before.len() + 1);
        let changed = match what % 4 {
            // Another file.
            0 => bytes.to_vec(),
            // Cut off, with something behind it.
            1 => [&before[..at], bytes].concat(),
            // Some bytes are others.
            2 => [&before[..at], bytes, before.get(at + bytes.len()..).unwrap_or_default()].concat(),
            // Some bytes are added.
            _ => [&before[..at], bytes, &before[at..]].concat(),
        };
        fs::write(file, &changed).expect("it is ours");
        let read = self.read();
        // Nobody who only lists them is stopped, either.
        let listed = self.open().and_then(|store| store.list());
        fs::write(file, before).expect("it is ours");
        for said in
            [read.as_ref().err().map(|error| format!("{error}\n{error:?}")), Some(format!("{listed:?}"))]
        {
            assert!(!said.is_some_and(|said| said.contains(SECRET)), "{read:?} {listed:?}");
        }
        let whole = matches!(&read, Ok(read) if *read == self.whole);
        let sealed = file.parent().is_some_and(|parent| parent.ends_with("v1"));
        // What is not sealed may say something else, and JSON may be written in many ways.
        assert!(whole || read.is_err() || !sealed, "{read:?}");
        assert!(*before == changed || !sealed || read.is_err(), "changed, and taken for whole: {read:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
