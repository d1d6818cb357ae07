//! A directory of a test's own, removed at its end.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::sys::stat::Mode;

use super::built::built;

/// `app` with the Procfile, `bin` with `chaos`, `runtime` for `XDG_RUNTIME_DIR`.
#[derive(Debug)]
pub(crate) struct Directory {
    top: PathBuf,
    /// The gates that are open, as long as we hold them.
    open_gates: Mutex<Vec<File>>,
}

impl Directory {
    pub(crate) fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("supervise-e2e-{}-{number}", std::process::id()));
        for inner in ["app", "bin", "runtime"] {
            fs::create_dir_all(top.join(inner)).expect("the temporary directory is writable");
        }
        fs::set_permissions(top.join("runtime"), Permissions::from_mode(0o700)).expect("it is ours");
        std::os::unix::fs::symlink(chaos(), top.join("bin/chaos")).expect("links can be made");
        Directory { top, open_gates: Mutex::default() }
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// A path beside the Procfile.
    pub(crate) fn app(&self, name: &str) -> PathBuf {
        self.top.join("app").join(name)
    }

    /// A FIFO beside the Procfile, for `chaos gate NAME`.
    pub(crate) fn gate(&self, name: &str) {
        nix::unistd::mkfifo(&self.app(name), Mode::S_IRWXU).expect("a FIFO can be made");
    }

    /// Lets everybody through a gate, now and later: the children wait for a writer.
    pub(crate) fn open_gate(&self, name: &str) {
        // Opened for both, it never waits itself.
        let gate = OpenOptions::new().read(true).write(true).open(self.app(name)).expect("the gate is there");
        self.open_gates.lock().expect("nobody panics with it").push(gate);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary directory; the test has its result already.
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// The chaos child. `cargo test` builds it with the examples; `cargo test --test e2e` does not, so it is built here
/// when it is missing or older than its source.
fn chaos() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("chaos", "tests/e2e/chaos.rs"))
}
