//! One run of the program in a directory of its own. Status, stdout and stderr are always checked, all three.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What is run and what it must do; without a word it must succeed and print nothing.
pub(crate) struct Test {
    directory: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    status: Status,
    stdout: String,
    stderr: Expected,
}

/// How the program must end.
#[derive(Debug, PartialEq, Eq)]
enum Status {
    Code(i32),
    Signal(i32),
}

/// What a stream must be.
enum Expected {
    Exactly(String),
    Containing(Vec<String>),
}

impl Test {
    /// A run with these arguments, separated by spaces.
    pub(crate) fn new(arguments: &str) -> Test {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("supervise-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory can be made");
        Test {
            directory: directory.canonicalize().expect("it was just made"),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            variables: Vec::new(),
            status: Status::Code(0),
            stdout: String::new(),
            stderr: Expected::Exactly(String::new()),
        }
    }

    /// Where it runs.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// One more argument, which may contain spaces.
    pub(crate) fn argument(mut self, argument: &str) -> Test {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A file of the app.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Test {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("which can be made");
        fs::write(path, text).expect("our own directory can be written to");
        self
    }

    pub(crate) fn procfile(self, text: impl AsRef<[u8]>) -> Test {
        self.file("Procfile", text)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Test {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The exit code it must end with.
    pub(crate) fn code(mut self, code: i32) -> Test {
        self.status = Status::Code(code);
        self
    }

    /// The signal it must end by.
    pub(crate) fn signal(mut self, signal: i32) -> Test {
        self.status = Status::Signal(signal);
        self
    }

    /// Exactly what it must print.
    pub(crate) fn stdout(mut self, text: &str) -> Test {
        text.clone_into(&mut self.stdout);
        self
    }

    /// Exactly what it must say on stderr.
    pub(crate) fn stderr(mut self, text: &str) -> Test {
        self.stderr = Expected::Exactly(text.to_owned());
        self
    }

    /// Pieces of what it must say on stderr.
    pub(crate) fn stderr_says(mut self, pieces: &[&str]) -> Test {
        self.stderr = Expected::Containing(pieces.iter().copied().map(str::to_owned).collect());
        self
    }

    /// Runs it and checks everything.
    pub(crate) fn run(self) {
        let output = self.output();
        let (stdout, stderr) = (self.text(&output.stdout), self.text(&output.stderr));
        let status = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => Status::Code(code),
            (None, signal) => Status::Signal(signal.expect("a code or a signal")),
        };
        let seen = format!("{:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---", self.arguments);
        assert_eq!(status, self.status, "the status of {seen}");
        assert_eq!(stdout, self.stdout, "stdout of {seen}");
        match &self.stderr {
            Expected::Exactly(text) => assert_eq!(&stderr, text, "stderr of {seen}"),
            Expected::Containing(pieces) => {
                for piece in pieces {
                    assert!(stderr.contains(piece), "{piece:?} is not in stderr of {seen}");
                }
            }
        }
    }

    /// As [`Test::run`], where stdout must be a file of `tests/cli/golden`. `UPDATE_GOLDEN=1` writes it instead.
    pub(crate) fn run_golden(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, self.text(&self.output().stdout)).expect("the golden file can be written");
        }
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.stdout(&golden).run();
    }

    fn output(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_supervise"))
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the program was built")
    }

    /// With the test's own directory as `[DIR]`.
    fn text(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(&self.directory.display().to_string(), "[DIR]")
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
