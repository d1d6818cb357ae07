//! An app and the directory of its releases, for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use supervise::app::Inputs;
use supervise::store::{Created, Draft, Listing, Store};

pub(crate) struct Rig {
    pub(crate) directory: PathBuf,
}

/// No message may contain it: it stands in the config of every release here.
pub(crate) const SECRET: &str = "hunter2";

impl Rig {
    pub(crate) fn new() -> Rig {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("supervise-releases-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("app/lib")).expect("the temporary directory is writable");
        let rig = Rig { directory: directory.canonicalize().expect("it is there") };
        rig.file("Procfile", "web: sleep 100\nworker: sleep 100\n");
        rig.file("supervise.yml", "formation: { worker: { quantity: 2 } }\n");
        rig.file(".env", &format!("SECRET={SECRET}\nOTHER=1\n"));
        rig.file("lib/code", "1");
        rig
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.directory.join("app")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        fs::write(self.app().join(name), text).expect("it is ours");
    }

    pub(crate) fn inputs(&self) -> Inputs {
        Inputs { directory: self.app(), ..Inputs::default() }
    }

    /// A release of what is in the app now.
    pub(crate) fn create(&self) -> Created {
        self.create_in(&self.state())
    }

    pub(crate) fn create_in(&self, state: &Path) -> Created {
        let draft = Draft { inputs: self.inputs(), ..Draft::default() };
        let place = Store::place(&draft.inputs, Some(state)).expect("it is named");
        Store::create(&place, &draft).unwrap_or_else(|trouble| panic!("{trouble}"))
    }

    /// The store, where there is one by now.
    pub(crate) fn store_in(&self, state: &Path) -> Option<Store> {
        Store::open(&Store::place(&self.inputs(), Some(state)).expect("it is named")).ok()
    }

    pub(crate) fn store(&self) -> Store {
        self.store_in(&self.state()).expect("it is there")
    }

    /// Every release, each of them whole.
    pub(crate) fn listing(&self, state: &Path) -> Listing {
        let Some(store) = self.store_in(state) else { return Listing::default() };
        let listing = store.list().unwrap_or_else(|trouble| panic!("{trouble}"));
        assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
        for kept in &listing.kept {
            let altered = store.examine(kept).unwrap_or_else(|trouble| panic!("{trouble}"));
            assert!(altered.is_empty(), "{altered:?}");
        }
        listing
    }

    /// Our program in the app's directory, with this state.
    pub(crate) fn command(&self, state: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
        command.args(arguments).arg("--state").arg(state).current_dir(self.app());
        command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What was printed, on both streams; no secret is in it.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{:?}\n{}{}", output.status.code(), text(&output.stdout), text(&output.stderr));
    assert!(!said.contains(SECRET), "{said}");
    said
}

/// Says that a test could not run here; in CI each must.
pub(crate) fn cannot(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI this has to run: {what}");
    eprintln!("skipped: {what}");
}
