//! An engine of our own: `dockerd` with network, mounts and processes apart from the machine's, for as long as these tests run.
//!
//! It is started in namespaces by unshare(1), which kills everything inside when it ends, and it ends with us: no container
//! outlives the tests, however they end. /run is empty there, so that another engine of this machine is never met.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{PATIENCE, eventually};

/// FROM scratch: `supervise`, a static busybox and nothing else; the app is mounted at /app.
pub(crate) const IMAGE: &str = "supervise-story";

/// A running engine.
pub(crate) struct Engine {
    directory: PathBuf,
    client: PathBuf,
    /// unshare(1), whose network is the engine's.
    holder: Mutex<Child>,
    pid: u32,
    /// [`IMAGE`], made for the first who asks.
    image: Once,
}

/// What a command of the client said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    /// For a message.
    #[allow(dead_code)]
    pub(crate) err: String,
}

static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();

/// The engine, started for the first who asks. `None`, and the reason on stderr, where there can be none.
pub(crate) fn engine() -> Option<&'static Engine> {
    let engine = ENGINE.get_or_init(|| {
        can_run()?;
        let engine = Engine::start()?;
        // SAFETY: the function takes nothing, and is called once, at the end of the process.
        unsafe { libc::atexit(end) };
        Ok(engine)
    });
    match engine {
        Ok(engine) => {
            engine.image.call_once(|| engine.make_image());
            Some(engine)
        }
        Err(why) => {
            let must_run = std::env::var("SUPERVISE_TESTS_MUST_RUN").unwrap_or_default();
            assert!(!must_run.split([',', ' ']).any(|which| which == "containers"), "no engine: {why}");
            eprintln!("skipped, since there is no engine: {why}");
            None
        }
    }
}

/// What exit(3) calls.
extern "C" fn end() {
    if let Some(Ok(engine)) = ENGINE.get() {
        engine.end();
    }
}

/// `.ci/build-static`, once: nothing is built where nothing has changed.
pub(crate) fn static_build() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(repository().join(".ci/build-static")).output().expect("it is a script");
        let (out, err) = (String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
        assert!(built.status.success(), "{out}{err}");
        repository().join(out.lines().next().expect("it says where the program is"))
    })
}

/// Where the sources are.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn can_run() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can start one".to_owned());
    }
    if find("dockerd").is_none() || find("docker").is_none() || !Path::new("/bin/busybox").exists() {
        return Err("`.ci/install-engine` has not been run".to_owned());
    }
    let probe = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"])
        .output();
    match probe {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("no namespaces: {}", String::from_utf8_lossy(&done.stderr))),
        Err(error) => Err(format!("no `unshare`: {error}")),
    }
}

/// A program of the system's, before one that somebody put beside it.
fn find(program: &str) -> Option<PathBuf> {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

impl Engine {
    fn start() -> Result<Engine, String> {
        // Short: sockets lie below it, whose names have 107 bytes at most (unix(7)).
        let directory = std::env::temp_dir().join(format!("supervise-engine-{}", std::process::id()));
        fs::create_dir_all(directory.join("client")).map_err(|error| error.to_string())?;
        let place = directory.display();
        let inside = format!(
            "mount -t tmpfs tmpfs /run && ip link set lo up && exec dockerd --data-root {place}/data --exec-root {place}/exec \
             --host unix://{place}/socket --pidfile {place}/pid --config-file {place}/none.json \
             --iptables=false --ip6tables=false --cgroup-parent {}",
            cgroup()
        );
        fs::write(directory.join("none.json"), "{}").map_err(|error| error.to_string())?;
        let log = fs::File::create(directory.join("log")).map_err(|error| error.to_string())?;
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "sh",
            "-c",
            &inside,
        ]);
        let both = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(both).stderr(log);
        // SAFETY: between fork and exec it makes one system call.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let holder = started_by_one_who_stays(command).map_err(|error| format!("`unshare`: {error}"))?;
        let client = find("docker").expect("it was looked for");
        let pid = holder.id();
        let engine = Engine { directory, client, holder: Mutex::new(holder), pid, image: Once::new() };
        let answers = || engine.docker(&["version"]);
        let log = || fs::read_to_string(engine.directory.join("log")).unwrap_or_default();
        eventually(
            "the engine",
            || (answers().code, log()),
            |(code, log)| {
                assert!(!log.contains("failed to start daemon"), "{log}");
                *code == 0
            },
        );
        Ok(engine)
    }

    /// The client, with these words.
    pub(crate) fn docker(&self, words: &[&str]) -> Answer {
        self.run(&self.client, words, &[])
    }

    /// Another program that talks to the engine.
    pub(crate) fn run(&self, program: &Path, words: &[&str], input: &[u8]) -> Answer {
        let mut command = Command::new(program);
        command.args(words).env("DOCKER_HOST", format!("unix://{}/socket", self.directory.display()));
        // What whoever runs the tests has chosen for another engine.
        command.env("DOCKER_CONFIG", self.directory.join("client")).env_remove("DOCKER_CONTEXT");
        command.env("DOCKER_BUILDKIT", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut stdin = child.stdin.take().expect("it was piped");
        let done = thread::scope(|scope| {
            scope.spawn(move || {
                // Whoever does not read it says why in its output.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().expect("a child can be waited for")
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { code: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) }
    }

    /// The same, and it must succeed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let answer = self.docker(words);
        assert_eq!(answer.code, 0, "docker {words:?}: {answer:?}");
        answer.out
    }

    /// Builds an image as the README of the examples does: from a tar of these files.
    pub(crate) fn build(&self, image: &str, options: &[&str], context: &Path) {
        let packed =
            Command::new("tar").arg("-c").arg("-C").arg(context).arg(".").output().expect("there is a tar");
        let words = [&["build", "-t", image], options, &["-"]].concat();
        let answer = self.run(&self.client, &words, &packed.stdout);
        assert_eq!(answer.code, 0, "{answer:?}");
    }

    /// A directory for a context, removed with the engine, with the static build in it.
    pub(crate) fn context(&self, name: &str) -> PathBuf {
        let context = self.directory.join("contexts").join(name);
        fs::create_dir_all(&context).expect("a test can make its directory");
        fs::copy(static_build(), context.join("supervise")).expect("it was built");
        fs::copy("/bin/busybox", context.join("busybox")).expect("it is installed");
        context
    }

    /// Does something in the engine's network, where containers can be reached.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.pid)).expect("the engine runs");
        let enter = || {
            // SAFETY: no memory is involved; the network is this thread's own, which ends with this work.
            let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "root may enter a network: {}", std::io::Error::last_os_error());
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// One request: the whole answer with its head.
    ///
    /// # Errors
    /// What went wrong on the way, in words.
    pub(crate) fn http(&self, address: &str, path: &str) -> Result<String, String> {
        let exchange = || -> std::io::Result<String> {
            let mut connection = TcpStream::connect(address)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        };
        self.inside(|| exchange().map_err(|error| error.to_string()))
    }

    /// A name server at the address by which containers reach us; it knows one name, and no other.
    pub(crate) fn name_server(&self, ours: IpAddr, name: &'static str, address: IpAddr) {
        let socket = self.inside(|| UdpSocket::bind((ours, 53)).expect("nobody else serves names there"));
        thread::spawn(move || serve_names(&socket, name, address));
    }

    fn make_image(&self) {
        let context = self.context("story");
        let dockerfile = "FROM scratch\nCOPY supervise busybox /bin/\nCOPY busybox /bin/sh\nWORKDIR /app\n\
                          HEALTHCHECK --interval=1s CMD [\"supervise\", \"health\"]\n\
                          ENTRYPOINT [\"supervise\", \"start\"]\n";
        fs::write(context.join("Dockerfile"), dockerfile).expect("a test can write into its directory");
        self.build(IMAGE, &[], &context);
    }

    fn end(&self) {
        // A test that panicked with it in hand had no more to say; the holder is as it was.
        let mut holder = self.holder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Already gone is as good.
        let _ = holder.kill();
        let _ = holder.wait();
        // What cannot be removed lies in a directory of temporary files, and in groups without a process.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_groups(&hierarchy.path().join(&cgroup()[1..]));
        }
        remove_groups(&Path::new("/sys/fs/cgroup").join(&cgroup()[1..]));
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where the engine's containers are, and nothing else.
fn cgroup() -> String {
    format!("/supervise-engine-{}", std::process::id())
}

/// A group can be removed when those below it are gone and the kernel has let its last process go.
fn remove_groups(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&below.path());
        }
    }
    for _ in 0..50 {
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
}

/// The parent-death signal of prctl(2) comes at the end of the thread that started a process, and a test's thread ends.
fn started_by_one_who_stays(mut command: Command) -> std::io::Result<Child> {
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        // Whoever waits for it is there until it comes.
        let _ = tell.send(command.spawn());
        loop {
            thread::park();
        }
    });
    hear.recv().unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it has ended")))
}

/// Answers questions for the IPv4 address of one name, and has no answer to any other (RFC 1035, section 4.1).
fn serve_names(socket: &UdpSocket, name: &str, address: IpAddr) {
    let IpAddr::V4(address) = address else { panic!("an address of version 4") };
    let mut wanted: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).expect("63 at most")], label.as_bytes()].concat())
        .collect();
    wanted.push(0);
    let mut packet = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut packet) {
        let Some(question) = packet.get(12..length) else { continue };
        let Some(end) = question.iter().position(|byte| *byte == 0).map(|end| end + 5) else { continue };
        let known = question.starts_with(&wanted);
        let is_a = question.get(end - 4..end) == Some(&[0, 1, 0, 1]);
        // An answer, recursion available; no error, or no such name.
        let mut answer = packet[..2].to_vec();
        answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && is_a), 0, 0, 0, 0]);
        answer.extend(&question[..end.min(question.len())]);
        if known && is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
        }
        // Who asks again is answered again.
        let _ = socket.send_to(&answer, client);
    }
}
