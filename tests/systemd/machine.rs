//! A machine of a test's own: this machine's systemd as PID 1 of namespaces of its own (`boot`), and an app in it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);
/// Whoever runs the app (`boot`).
const USER: u32 = 4242;

/// See the module. Everything of it is gone when it is dropped.
pub(crate) struct Machine {
    boot: Child,
    /// Closed, `boot` could not write any more.
    _words: BufReader<ChildStdout>,
    init: String,
    directory: PathBuf,
}

/// What a machine is made of: the example's unit, and the files of the app.
pub(crate) struct App {
    directory: PathBuf,
}

impl App {
    /// An app with this Procfile and spec, run by the unit in `examples`.
    pub(crate) fn new(procfile: &str, spec: &str) -> App {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("systemd-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let units = directory.join("units");
        fs::create_dir_all(units.join("myapp.service.d")).expect("the directory is ours");
        fs::create_dir(directory.join("app")).expect("the directory is ours");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd/myapp.service");
        fs::copy(example, units.join("myapp.service")).expect("the example is there");
        let empty = "[Unit]\nDescription=Nothing\nDefaultDependencies=no\n";
        fs::write(units.join("empty.target"), empty).expect("the directory is ours");
        App { directory }
            .file("Procfile", procfile)
            .file("supervise.yml", spec)
            .unit("machine", "[Unit]\nDefaultDependencies=no\nWants=\nAfter=\n[Service]\nStandardOutput=append:/srv/myapp/log\n")
    }

    /// More of the unit, in a file beside it.
    pub(crate) fn unit(self, name: &str, text: &str) -> App {
        let path = self.directory.join(format!("units/myapp.service.d/{name}.conf"));
        fs::write(path, text).expect("the directory is ours");
        self
    }

    fn file(self, name: &str, text: &str) -> App {
        fs::write(self.directory.join("app").join(name), text).expect("the directory is ours");
        self
    }

    /// Starts its machine; none where that cannot be here, which is said.
    pub(crate) fn boot(self) -> Option<Machine> {
        let directory = self.directory;
        // The way to the app's files leads through directories of somebody else: the unit has them elsewhere.
        let app = directory.join("app");
        let own = |path: &Path| chown(path, Some(USER), Some(USER));
        let files = fs::read_dir(&app).expect("it is there").flatten().map(|entry| entry.path());
        let given = own(&app).and_then(|()| files.into_iter().try_for_each(|path| own(&path)));
        let systemd = fs::metadata("/lib/systemd/systemd");
        let unable = match (systemd, given) {
            (Err(error), _) => Some(format!("/lib/systemd/systemd: {error}; .ci/install-systemd")),
            (Ok(_), Err(error)) => Some(format!("files cannot be given away: {error}")),
            (Ok(_), Ok(())) => None,
        };
        let booted = unable.map_or_else(|| boot(&directory), Err);
        match booted {
            Ok(machine) => Some(machine),
            Err(reason) => {
                remove(&directory);
                let must = std::env::var("SUPERVISE_TESTS_MUST_RUN").unwrap_or_default();
                let must = must.split([',', ' ']).any(|name| name == "systemd");
                assert!(!must, "SUPERVISE_TESTS_MUST_RUN names systemd, and it cannot run: {reason}");
                eprintln!("skipped: systemd cannot run here: {reason}");
                None
            }
        }
    }
}

fn boot(directory: &Path) -> Result<Machine, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot");
    let mut boot = Command::new("unshare")
        .arg("--mount")
        .arg(script)
        .arg(directory)
        .arg(env!("CARGO_BIN_EXE_supervise"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(directory.join("messages")).expect("the directory is ours"))
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    let mut words = BufReader::new(boot.stdout.take().expect("it is a pipe"));
    let mut line = String::new();
    // Where it ends without a word there is none.
    let read = words.read_line(&mut line);
    let messages = || fs::read_to_string(directory.join("messages")).unwrap_or_default();
    let Some(init) = read.ok().and_then(|_| line.trim().strip_prefix("init ").map(str::to_owned)) else {
        drop(boot.stdin.take());
        let status = boot.wait();
        return Err(format!("{status:?}: {}", messages()));
    };
    let machine = Machine { boot, _words: words, init, directory: directory.to_owned() };
    let deadline = Instant::now() + PATIENCE;
    while !machine.inside(&["systemctl", "show", "empty.target"]).status.success() {
        if Instant::now() > deadline {
            return Err(format!("it does not answer: {}", messages()));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(machine)
}

impl Machine {
    /// `systemctl` with these words and the unit.
    pub(crate) fn systemctl(&self, words: &[&str]) -> Output {
        self.inside(&[&["systemctl"], words, &["myapp.service"]].concat())
    }

    /// The same, which has to go well.
    pub(crate) fn systemctl_well(&self, words: &[&str]) {
        let output = self.systemctl(words);
        assert!(output.status.success(), "systemctl {words:?}: {output:?}\n{self}");
    }

    /// The same, and the test goes on meanwhile.
    pub(crate) fn systemctl_meanwhile(&self, words: &[&str]) -> Child {
        let words = [&["systemctl"], words, &["myapp.service"]].concat();
        let mut command = self.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter can be started")
    }

    /// A property of the unit: `StatusText`.
    pub(crate) fn property(&self, name: &str) -> String {
        let output = self.systemctl(&["show", "--value", "--property", name]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until a property is so.
    pub(crate) fn becomes(&self, name: &str, what: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.property(name);
            if what(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{name} is {value:?}\n{self}");
            std::thread::sleep(PAUSE);
        }
    }

    /// A program in it.
    pub(crate) fn inside(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("nsenter can be started")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        let patience = PATIENCE.as_secs().to_string();
        command.args([&patience, "nsenter", "--target", &self.init, "--all"]).args(words);
        command
    }

    /// A file of the app.
    pub(crate) fn app(&self, name: &str) -> PathBuf {
        self.directory.join("app").join(name)
    }

    /// What the app has written, and what we said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.app("log")).unwrap_or_default()
    }

    /// A file of the machine.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.systemctl(&["status", "--no-pager"]);
        writeln!(f, "{}", String::from_utf8_lossy(&status.stdout))?;
        writeln!(f, "log:\n{}", self.log())?;
        let messages = fs::read_to_string(self.directory.join("messages")).unwrap_or_default();
        writeln!(f, "systemd:\n{messages}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.boot.stdin.take());
        let status = self.boot.wait().expect("it is our child");
        let mut messages = String::new();
        let read = fs::File::open(self.directory.join("messages"));
        // Only for a message.
        let _ = read.and_then(|mut file| file.read_to_string(&mut messages));
        remove(&self.directory);
        let clean = status.success() && !Path::new(&format!("/proc/{}", self.init)).exists();
        assert!(clean || std::thread::panicking(), "something of the machine is left: {status}\n{messages}");
    }
}

fn remove(directory: &Path) {
    // What cannot be removed is in the directory of this build.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o755));
    let _ = fs::remove_dir_all(directory);
}
