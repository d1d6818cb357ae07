//! The supervisor of a soak, and what it costs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::book::Book;
use super::built::built;
use super::client::Client;
use super::reader::Heard;

/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Short lives, short waits: what takes minutes with an app takes seconds here.
const SPEC: &str = "defaults:
  restart: always
  backoff: { first: 100ms, max: 2s }
  drain: 500ms
  port: false
";

pub(crate) struct Run {
    supervisor: Child,
    directory: PathBuf,
    reader: Option<JoinHandle<Heard>>,
    mark: String,
}

/// Of the supervisor alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Cost {
    pub(crate) fn max(self, other: Cost) -> Cost {
        Cost {
            memory_kib: self.memory_kib.max(other.memory_kib),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

impl Run {
    /// With none of anything yet.
    pub(crate) fn start(types: &[(&str, u64)]) -> Run {
        let mark = format!("soak-{}", std::process::id());
        let directory = std::env::temp_dir().join(format!("supervise-{mark}"));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let book = directory.join("book");
        File::create(&book).expect("it is ours");
        let restless = built("restless", "tests/soak/restless.rs");
        let line = |name: &str| format!("{name}: {} {name} {}\n", restless.display(), book.display());
        let procfile: String = types.iter().map(|(name, _)| line(name)).collect();
        fs::write(directory.join("Procfile"), procfile).expect("it is ours");
        fs::write(directory.join("supervise.yml"), SPEC).expect("it is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
        command.args([
            "start",
            "--format",
            "text",
            "--timestamps",
            "never",
            "--socket",
            "control",
            "--no-port",
        ]);
        command.args(types.iter().map(|(name, _)| format!("{name}=0")));
        command.current_dir(&directory).env("SOAK_MARK", &mark).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut supervisor = command.spawn().expect("the program was built");
        let stdout = BufReader::with_capacity(1 << 20, supervisor.stdout.take().expect("it is piped"));
        let reader = thread::spawn(move || {
            let mut heard = Heard::default();
            for line in stdout.lines() {
                heard.hear(&line.expect("the lines of restless children are text"));
            }
            heard
        });
        Run { supervisor, directory, reader: Some(reader), mark }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let socket = self.directory.join("control");
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "nobody listens on {}", socket.display());
            sleep(Duration::from_millis(5));
        }
        socket
    }

    /// Waits until nobody is shown, and nobody but the supervisor is there, dead or alive.
    pub(crate) fn is_quiet(&self, client: &mut Client) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = client.ps();
            let there = self.others();
            if shown.contains("\"processes\":[]") && there.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "not quiet within {PATIENCE:?}: {there:?}\n{shown}");
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn cost(&self) -> Cost {
        let directory = PathBuf::from(format!("/proc/{}", self.supervisor.id()));
        let status = fs::read_to_string(directory.join("status")).expect("it lives");
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let count = |what: &str| fs::read_dir(directory.join(what)).expect("it lives").count();
        Cost {
            memory_kib: resident.and_then(|text| text.parse().ok()).expect("proc_pid_status(5)"),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    /// The cost when it is no more than in another quiet moment, or what it is at last: a client that has just hung up is forgotten
    /// a moment later.
    pub(crate) fn settled_cost(&self, before: Option<&Cost>) -> Cost {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.cost();
            let same = before
                .is_none_or(|before| (now.descriptors, now.threads) == (before.descriptors, before.threads));
            if same || Instant::now() > deadline {
                return now;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends it and gives what was written and what was heard.
    pub(crate) fn ends(mut self) -> (Book, Heard) {
        self.terminate();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.supervisor.try_wait().expect("it is ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(0));
        let heard = self.reader.take().expect("it reads").join().expect("the reader has not panicked");
        assert_eq!(self.others(), []);
        (Book::read(&self.directory.join("book")), heard)
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.supervisor.id()).expect("a pid is small");
        // SAFETY: no memory is involved; it is our child and was not waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }

    /// Whoever carries our mark, and every zombie of the supervisor, with its command line.
    fn others(&self) -> Vec<(u32, String)> {
        let own = self.supervisor.id();
        let mark = format!("SOAK_MARK={}", self.mark).into_bytes();
        let parent = format!("PPid:\t{own}");
        let is_ours = |pid: u32| {
            let marked = fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|variable| variable == mark)
            });
            let child = || {
                fs::read_to_string(format!("/proc/{pid}/status"))
                    .is_ok_and(|status| status.lines().any(|line| line == parent))
            };
            pid != own && (marked || child())
        };
        let everybody = fs::read_dir("/proc").expect("there is /proc").flatten();
        let pids = everybody.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let command = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pids.filter(|pid| is_ours(*pid))
            .map(|pid| (pid, String::from_utf8_lossy(&command(pid)).replace('\0', " ")))
            .collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.supervisor.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.terminate();
            let deadline = Instant::now() + PATIENCE;
            while self.supervisor.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
                sleep(Duration::from_millis(20));
            }
            // Ended or not: it is ours to be waited for.
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
        // A directory that stays in the temporary one harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
