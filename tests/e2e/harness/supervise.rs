//! What is prepared before the supervisor starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};

use super::judge::{Bench, Judge};
use super::processes::pid_namespace_flags;
use super::run::Reader;
use super::{Directory, Run, free_ports};

/// One start of the supervisor, to be described and then made.
#[derive(Clone, Debug)]
pub(crate) struct Supervise {
    directory: Arc<Directory>,
    wrapper: Vec<OsString>,
    arguments: Vec<OsString>,
    format: &'static str,
    environment: BTreeMap<OsString, OsString>,
    stdout: Stdout,
    setups: Vec<Setup>,
    free_port: bool,
    judge: Option<Judge>,
}

/// Where the supervisor's stdout goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// To a pipe that is read at once.
    Pipe,
    /// To a pipe with `O_NONBLOCK`, read when the test says so.
    NonblockingPipe,
    /// To a pipe that is read when the test says so.
    Unread,
    /// To a pipe whose reader goes away after so many lines.
    HangUpAfter(usize),
    /// To a file beside the Procfile, read at the end.
    File,
    /// To a socket.
    Socket,
    /// To a terminal, which is the controlling one, as stdin and stderr are.
    Terminal,
    /// To a pipe; stdin and stderr are the controlling terminal.
    PipeBesideTerminal,
}

/// What the supervisor finds when it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setup {
    /// This signal ignored.
    Ignore(i32),
    /// This signal blocked.
    Block(i32),
    /// This umask.
    Umask(libc::mode_t),
    /// These limits of open files, soft and hard.
    Nofile(u64, u64),
    /// This descriptor open, and inherited by whatever does not close it.
    Open(RawFd),
    /// This descriptor closed.
    Close(RawFd),
    /// Itself in the cgroup whose `cgroup.procs` this is.
    Join(RawFd),
}

impl Supervise {
    /// `supervise start --format json` on this Procfile, on free ports, in a session of its own without a terminal.
    pub(crate) fn with(procfile: impl AsRef<[u8]>) -> Supervise {
        let directory = Directory::new();
        fs::write(directory.app("Procfile"), procfile).expect("the directory is ours");
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let environment = [
            ("PATH", format!("{}:{path}", directory.top().join("bin").display())),
            ("HOME", directory.top().display().to_string()),
            ("XDG_RUNTIME_DIR", directory.top().join("runtime").display().to_string()),
        ];
        Supervise {
            directory: Arc::new(directory),
            wrapper: Vec::new(),
            arguments: Vec::new(),
            format: "json",
            environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
            stdout: Stdout::Pipe,
            setups: Vec::new(),
            free_port: true,
            judge: None,
        }
    }

    /// A file beside the Procfile.
    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Supervise {
        fs::write(self.directory.app(name), contents).expect("the directory is ours");
        self
    }

    /// `supervise.yml`.
    pub(crate) fn spec(self, yaml: &str) -> Supervise {
        self.file("supervise.yml", yaml)
    }

    /// A FIFO for `chaos gate NAME`.
    pub(crate) fn gate(self, name: &str) -> Supervise {
        self.directory.gate(name);
        self
    }

    /// More arguments of `supervise start`.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Supervise {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// `--format text` or `raw` instead of `json`.
    pub(crate) fn format(mut self, format: &'static str) -> Supervise {
        self.format = format;
        self
    }

    /// A variable of the environment that the supervisor is started with.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Supervise {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn stdout(mut self, stdout: Stdout) -> Supervise {
        self.stdout = stdout;
        self
    }

    pub(crate) fn setup(mut self, setup: Setup) -> Supervise {
        self.setups.push(setup);
        self
    }

    /// Under a judge, who sees its system calls and those of its descendants.
    pub(crate) fn judged(mut self, judge: Judge) -> Supervise {
        self.judge = Some(judge);
        self
    }

    /// Without `-p`: the test is about where ports come from.
    pub(crate) fn without_port_argument(mut self) -> Supervise {
        self.free_port = false;
        self
    }

    /// Under another program, which gets the supervisor's command line after these words.
    pub(crate) fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Supervise {
        self.wrapper = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// As PID 1 of a namespace of its own.
    pub(crate) fn in_pid_namespace(self) -> Supervise {
        self.under([&["unshare"], pid_namespace_flags().as_slice()].concat())
    }

    /// Where everything is.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn start(&self) -> Run {
        let mark = unique_mark();
        let mut command = self.command();
        command
            .current_dir(self.directory.app(""))
            .env_clear()
            .envs(&self.environment)
            .env("E2E_MARK", &mark);
        let (reader, stdout) = self.open_stdout();
        let with_terminal = matches!(self.stdout, Stdout::Terminal | Stdout::PipeBesideTerminal);
        let (terminal, theirs) = with_terminal.then(|| open_terminal().expect("there are terminals")).unzip();
        let side =
            || theirs.as_ref().map(|side| Stdio::from(side.try_clone().expect("descriptors are left")));
        command.stdin(side().unwrap_or_else(Stdio::null)).stderr(side().unwrap_or_else(Stdio::piped));
        command.stdout(stdout.or_else(side).expect("stdout is the terminal or something else"));
        let setups = self.setups.clone();
        let bench = self.judge.as_ref().map(Judge::sit);
        // SAFETY: between fork and exec only system calls are made, on memory that was prepared before.
        unsafe {
            command.pre_exec(move || {
                prepare(&setups, with_terminal)?;
                bench.as_ref().map_or(Ok(()), Bench::submit)
            });
        }
        let child = command.spawn().expect("the supervisor can be started");
        // Ours would keep the reader from seeing the end.
        drop((command, theirs));
        Run::new(child, reader, terminal, mark, Arc::clone(&self.directory), !self.wrapper.is_empty())
    }

    fn command(&self) -> Command {
        let supervise = OsStr::new(env!("CARGO_BIN_EXE_supervise"));
        let mut words = self.wrapper.iter().map(OsString::as_os_str).chain([supervise]);
        let mut command = Command::new(words.next().expect("there is at least the supervisor"));
        command.args(words).args(["start", "--format", self.format]);
        if self.free_port {
            command.args(["-p", &free_ports(1).to_string()]);
        }
        command.args(&self.arguments);
        command
    }

    /// Our end and the supervisor's end; neither where stdout is the terminal.
    fn open_stdout(&self) -> (Option<Reader>, Option<Stdio>) {
        let pipe = || {
            let (ours, theirs) = io::pipe().expect("descriptors are left");
            (File::from(OwnedFd::from(ours)), OwnedFd::from(theirs))
        };
        match self.stdout {
            Stdout::Terminal => (None, None),
            Stdout::Pipe | Stdout::PipeBesideTerminal => {
                let (ours, theirs) = pipe();
                (Some(Reader::AtOnce(ours)), Some(theirs.into()))
            }
            Stdout::NonblockingPipe => {
                let (ours, theirs) = pipe();
                // SAFETY: the descriptor is open.
                unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_SETFL, libc::O_WRONLY | libc::O_NONBLOCK) };
                (Some(Reader::Later(ours)), Some(theirs.into()))
            }
            Stdout::Unread => {
                let (ours, theirs) = pipe();
                (Some(Reader::Later(ours)), Some(theirs.into()))
            }
            Stdout::HangUpAfter(lines) => {
                let (ours, theirs) = pipe();
                (Some(Reader::Until(ours, lines)), Some(theirs.into()))
            }
            Stdout::File => {
                let path = self.directory.app("stdout");
                let theirs = File::create(&path).expect("the directory is ours");
                (Some(Reader::Later(File::open(path).expect("it is there"))), Some(theirs.into()))
            }
            Stdout::Socket => {
                let (ours, theirs) = UnixStream::pair().expect("descriptors are left");
                (Some(Reader::AtOnce(File::from(OwnedFd::from(ours)))), Some(OwnedFd::from(theirs).into()))
            }
        }
    }
}

/// Both sides of a new terminal. Unlike those of openpty(3) they are closed by exec: as long as a supervisor has our
/// side, we cannot hang up.
pub(crate) fn open_terminal() -> nix::Result<(File, OwnedFd)> {
    let ours = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let theirs = nix::fcntl::open(ptsname_r(&ours)?.as_str(), flags, nix::sys::stat::Mode::empty())?;
    // Neither is what is typed shown, nor a newline made two characters: what we read is what was written.
    let mut settings = tcgetattr(&theirs)?;
    settings.local_flags.remove(LocalFlags::ECHO);
    settings.output_flags.remove(OutputFlags::OPOST);
    tcsetattr(&theirs, SetArg::TCSANOW, &settings)?;
    // SAFETY: the descriptor is taken out of its owner, and so has one owner still.
    Ok((unsafe { File::from_raw_fd(ours.into_raw_fd()) }, theirs))
}

/// Unique among all runs of all tests on this machine.
fn unique_mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Between fork and exec: a session, signals as nobody has touched them (the tests may run under nohup(1)), a death with
/// ours, and what the test asked for.
fn prepare(setups: &[Setup], with_terminal: bool) -> io::Result<()> {
    // SAFETY: plain system calls; the signal sets are initialised by sigemptyset before they are used.
    unsafe {
        check(libc::setsid())?;
        for signal in 1..=libc::SIGRTMAX() {
            // Fails for those that cannot be changed, KILL and STOP and the C library's own two.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut nothing = MaybeUninit::uninit();
        libc::sigemptyset(nothing.as_mut_ptr());
        check(libc::sigprocmask(libc::SIG_SETMASK, nothing.as_ptr(), std::ptr::null_mut()))?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if with_terminal {
            check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
        }
        for setup in setups {
            match *setup {
                Setup::Ignore(signal) => {
                    libc::signal(signal, libc::SIG_IGN);
                }
                Setup::Block(signal) => {
                    let mut set = MaybeUninit::uninit();
                    libc::sigemptyset(set.as_mut_ptr());
                    libc::sigaddset(set.as_mut_ptr(), signal);
                    check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
                }
                Setup::Umask(mask) => {
                    libc::umask(mask);
                }
                Setup::Nofile(soft, hard) => {
                    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
                    check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
                }
                Setup::Open(fd) => {
                    // stdin is /dev/null; a duplicate is not closed by exec.
                    check(libc::dup2(0, fd))?;
                }
                Setup::Close(fd) => {
                    libc::close(fd);
                }
                Setup::Join(members) => {
                    if libc::write(members, c"0".as_ptr().cast(), 1) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
            }
        }
    }
    Ok(())
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
