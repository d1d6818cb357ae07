//! One run of the supervisor, from a start to its end or to its death.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use supervise::api::{Notice, Status};
use supervise::daemon::trace::{Beginning, Step};
use supervise::supervisor::{Action, Event, Supervisor, Time};

use super::check::stream::Hearing;
use super::harness::{Run, Supervise, eventually};

/// How long any answer may take, whatever else goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Life {
    pub(crate) run: Run,
    pub(crate) core: Retold,
    pub(crate) hearing: Hearing,
    /// Where those of our processes that count lines do so.
    pub(crate) told: PathBuf,
    socket: PathBuf,
}

/// The trace, told again to a core of our own as far as it has been written.
pub(crate) struct Retold {
    path: PathBuf,
    lines: Option<BufReader<File>>,
    /// The beginning of a line that is not whole yet.
    begun: Vec<u8>,
    supervisor: Option<Supervisor>,
    now: Time,
    /// With which code everything ended.
    pub(crate) code: Option<u8>,
    /// Types whose new instances did not work, since somebody has looked here.
    pub(crate) turned_back: Vec<String>,
    /// How many requests it was told of.
    pub(crate) requests: usize,
    /// The release to which everything changes at the moment.
    pub(crate) deploying: Option<String>,
    /// Those to which nothing has changed, since somebody has looked here.
    pub(crate) not_deployed: Vec<String>,
}

/// An answer that comes when something has happened: the status and the body.
pub(crate) type Promised = JoinHandle<io::Result<(u16, String)>>;

impl Life {
    /// The `number`-th of a history.
    pub(crate) fn begin(project: &Supervise, number: u32) -> Life {
        let directory = project.directory();
        let (told, trace) =
            (directory.app(&format!("told-{number}")), directory.app(&format!("trace-{number}")));
        fs::create_dir(&told).expect("the directory is ours");
        let run = project.clone().env("TOLD", &told).args(["--trace".as_ref(), trace.as_os_str()]).start();
        let sockets = directory.top().join("runtime/supervise");
        let look = || {
            let files = fs::read_dir(&sockets).ok()?.flatten().map(|entry| entry.path());
            let mut sockets =
                files.filter(|path| path.extension().is_some_and(|extension| extension == "sock"));
            sockets.find(|socket| UnixStream::connect(socket).is_ok())
        };
        let socket = eventually("a socket that is served", look, || run.so_far().to_string());
        Life { run, core: Retold::new(trace), hearing: Hearing::default(), told, socket }
    }

    /// A request and its answer: the status and the body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_ask(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} {body}: {error}\n{self}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut connection = UnixStream::connect(&self.socket)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(request(method, path, body).as_bytes())?;
        read_answer(connection)
    }

    /// A change whose answer comes when it has happened. It has been heard before this returns: whatever is asked next comes
    /// after it.
    pub(crate) fn change_later(&mut self, path: &str, body: &str) -> Promised {
        self.core.catch_up().unwrap_or_else(|error| panic!("{error}"));
        let before = self.core.requests;
        let mut connection = UnixStream::connect(&self.socket).expect("it is served");
        connection
            .write_all(request("POST", &format!("{path}?wait=true"), body).as_bytes())
            .expect("it is taken");
        let run = &self.run;
        let core = &mut self.core;
        let heard = || {
            core.catch_up().unwrap_or_else(|error| panic!("{error}"));
            (core.requests > before).then_some(())
        };
        eventually("a request that was heard", heard, || run.so_far().to_string());
        thread::spawn(|| read_answer(connection))
    }

    /// Sends so many bytes of a request, and is gone.
    pub(crate) fn hang_up_after(&self, bytes: usize, method: &str, path: &str, body: &str) {
        let mut connection = UnixStream::connect(&self.socket).expect("it is served");
        let text = request(method, path, body);
        connection.write_all(&text.as_bytes()[..bytes.min(text.len())]).expect("it is taken");
    }

    /// A change that must be accepted.
    pub(crate) fn change(&self, path: &str, body: &str) -> Value {
        let (status, answer) = self.ask("POST", path, body);
        assert!([200, 202].contains(&status), "POST {path} {body}: {status} {answer}\n{self}");
        serde_json::from_str(&answer).expect("it is JSON")
    }

    pub(crate) fn ps(&self) -> Status {
        let (status, body) = self.ask("GET", "/v1/processes", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// What this user can connect to that shares the directory: for the socket of a type.
    pub(crate) fn app(&self, name: &str) -> PathBuf {
        self.run.directory().app(name)
    }
}

/// For the message of a failed history: the last that the supervisor has said, without what others have.
impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        self.run.look_at(|seen| {
            for notice in &seen.notices[seen.notices.len().saturating_sub(SHOWN)..] {
                writeln!(
                    f,
                    "    {} {}",
                    notice.json["timestamp"].as_str().unwrap_or_default(),
                    notice.message()
                )?;
            }
            writeln!(f, "--- stderr\n{}", seen.err_text())
        })
    }
}

fn read_answer(mut connection: UnixStream) -> io::Result<(u16, String)> {
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Retold {
    pub(crate) fn new(path: PathBuf) -> Retold {
        Retold {
            path,
            lines: None,
            begun: Vec::new(),
            supervisor: None,
            now: Time::ZERO,
            code: None,
            turned_back: Vec::new(),
            requests: 0,
            deploying: None,
            not_deployed: Vec::new(),
        }
    }

    /// Tells the core what has been written since; how many steps that were.
    ///
    /// # Errors
    /// The first step at which it does not order what was ordered then.
    pub(crate) fn catch_up(&mut self) -> Result<usize, String> {
        if self.lines.is_none() {
            // It is made a moment after the socket.
            self.lines = File::open(&self.path).ok().map(BufReader::new);
        }
        let Some(lines) = &mut self.lines else { return Ok(0) };
        let mut steps = 0;
        loop {
            let read = lines.read_until(b'\n', &mut self.begun).expect("a file can be read");
            if read == 0 || self.begun.last() != Some(&b'\n') {
                return Ok(steps);
            }
            let line = std::mem::take(&mut self.begun);
            let Some(supervisor) = &mut self.supervisor else {
                let beginning: Beginning =
                    serde_json::from_slice(&line).map_err(|error| error.to_string())?;
                self.supervisor = Some(beginning.supervisor());
                continue;
            };
            let step: Step = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            let event = format!("{:?}", step.event);
            self.requests += usize::from(matches!(step.event, Event::Requested { .. }));
            let actions = supervisor.handle(step.now, step.event);
            if actions != step.actions {
                return Err(format!(
                    "at {} {event} ordered {:#?}, and told again {actions:#?}",
                    step.now, step.actions
                ));
            }
            for action in &actions {
                if let Action::Exit { code, .. } = action {
                    self.code = Some(*code);
                }
                let Action::Announce { notice, .. } = action else { continue };
                if let Notice::TurnedBack { process_type, .. } = notice {
                    self.turned_back.push(process_type.to_string());
                } else if let Notice::DeployBegan { release, .. } = notice {
                    self.deploying = Some(release.clone());
                } else if let Notice::Deployed { .. } = notice {
                    self.deploying = None;
                } else if let Notice::NotDeployed { release, .. } = notice {
                    self.deploying = None;
                    self.not_deployed.push(release.clone());
                }
            }
            (self.now, steps) = (step.now, steps + 1);
        }
    }

    /// What the core thinks; `None` where nothing of it has been read.
    pub(crate) fn status(&self) -> Option<Status> {
        Some(self.supervisor.as_ref()?.status(self.now))
    }

    /// Types whose instances are being replaced.
    pub(crate) fn rolling(&self) -> Vec<String> {
        let census = self.supervisor.iter().flat_map(Supervisor::census);
        census.filter(|census| census.rolling).map(|census| census.process_type.to_string()).collect()
    }
}
