//! What the tests of this room share: a directory, a formation that is only played, and a real stream.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::api::{
    Accepted, Answer, Change, Effect, ExitReason, Formation, InstanceId, LastExit, NotDeployed, Pid,
    ProcessStatus, Refusal, Request, ServiceStatus, SlotName, State, Status, Tally, TypeName, TypeVitals,
    Verb, Vitals, When, Will,
};

use crate::stream::{self, Channel, Choice, Format, History, Output, Source, Stream, WhenGone, WhenSlow};

use super::super::Fact;
use super::super::edition::OneOff;
use super::http::{Client, PATIENCE, Reply, request_with};
use super::{Asked, Control, Counts, Doors, Http, Look, Place, Port, Token, Wanted};

/// A directory of a test's own, removed at its end.
pub(in crate::daemon) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::daemon) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("supervise-control-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Scratch(path)
    }

    pub(in crate::daemon) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What opens the port of a rig.
pub(super) const TOKEN: &str = "0123456789abcdef";

/// A served socket and a served port with a played formation behind them.
pub(super) struct Rig {
    /// Removed with it.
    _scratch: Scratch,
    pub(super) socket: PathBuf,
    pub(super) port: SocketAddr,
    /// The real stream, into nothing, and what `web.1` writes.
    stream: Option<Stream>,
    pipe: File,
    pub(super) asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    /// How the played formation is.
    mood: Arc<Mutex<Mood>>,
    /// How its services are; none where they keep silent.
    services: Arc<Mutex<Option<Vec<ServiceStatus>>>>,
    control: Option<Control>,
    formation: Option<JoinHandle<()>>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        let scratch = Scratch::new();
        let socket = scratch.path("control.sock");
        let place = Place::take(Wanted::At(&socket)).expect("a place of our own");
        let token = Some(Token::new(TOKEN.as_bytes()).expect("a token"));
        let http = Http { address: "127.0.0.1:0".parse().expect("an address"), token };
        let port = Port::listen(&http).expect("ports are left");
        let address = port.address();
        let (facts, queue) = mpsc::channel(64);
        let history = History::new(256 * 1024);
        let (stream, pipe) = open_stream(Arc::clone(&history));
        let doors = Doors { socket: Some(place), port: Some(port) };
        let control = Control::start(doors, facts, history).expect("a thread");
        let asked = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let mood = Arc::new(Mutex::new(Mood::Well));
        let services = Arc::new(Mutex::new(Some(vec![service()])));
        let (count, end) = (Arc::clone(&asked), Arc::clone(&ended));
        let (how, theirs) = (Arc::clone(&mood), Arc::clone(&services));
        let formation = thread::spawn(move || play(queue, &count, &end, &how, &theirs));
        Rig {
            _scratch: scratch,
            socket,
            port: address,
            mood,
            services,
            stream: Some(stream),
            pipe,
            asked,
            ended,
            control: Some(control),
            formation: Some(formation),
        }
    }

    /// Has the socket made anew where that is needed.
    pub(super) fn remake(&self) {
        self.control.as_ref().expect("it is served").remake();
    }

    /// The loop ends, and the control socket is still served.
    pub(super) fn end_of_the_loop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The next one to ask is told nothing.
        assert_eq!(self.ask("GET", "/v1/formation", "").status, 409);
        self.formation.take().expect("it is played").join().expect("no panic");
    }

    /// `web.1` writes a line.
    pub(super) fn say(&self, line: &str) {
        (&self.pipe).write_all(format!("{line}\n").as_bytes()).expect("it is heard");
    }

    /// Nothing will be said any more.
    pub(super) fn end_of_the_stream(&mut self) {
        self.stream.take().expect("it goes on").finish(PATIENCE);
    }

    /// How long it took to end, with this limit.
    pub(super) fn finish(&mut self, limit: Duration) -> Duration {
        let begin = Instant::now();
        self.control.take().expect("it is served").finish(limit);
        begin.elapsed()
    }

    pub(super) fn connect(&self) -> Client {
        Client::new(&self.socket)
    }

    /// One request by the port, with further headers.
    pub(super) fn ask_port(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut client = Client::by_port(self.port);
        client.write(request_with(method, path, headers, body)).expect("it is heard");
        client.reply().expect("it is answered")
    }

    /// From now on it is so.
    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no thread panicked") = mood;
    }

    /// From now on its services are so; none where they keep silent.
    pub(super) fn has(&self, services: Option<Vec<ServiceStatus>>) {
        *self.services.lock().expect("no thread panicked") = services;
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        self.connect().ask(method, path, body)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.finish(Duration::ZERO);
        }
        if let Some(stream) = self.stream.take() {
            stream.finish(Duration::ZERO);
        }
        if let Some(formation) = self.formation.take()
            && formation.join().is_err()
        {
            assert!(thread::panicking(), "the played formation panicked");
        }
    }
}

fn open_stream(history: Arc<History>) -> (Stream, File) {
    let nowhere = || OwnedFd::from(File::options().write(true).open("/dev/null").expect("it is there"));
    let settings = stream::Settings {
        format: Format::Json,
        output: Output::Nowhere,
        timestamps: Choice::Never,
        color: Choice::Never,
        when_slow: WhenSlow::Drop,
        when_gone: WhenGone::Drop,
    };
    let stream = stream::open_on(nowhere(), nowhere(), settings, 0, history, |_| {}).expect("a thread");
    let (reading, writing) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("descriptors are left");
    nix::fcntl::fcntl(&reading, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))
        .expect("it is open");
    let pid = Pid::new(2).expect("a pid");
    let (instance, channel) = (InstanceId(1), Channel::Stdout);
    stream.attach(Source { instance, slot: slot("web", 1), pid, channel, pipe: reading });
    (stream, writing.into())
}

/// How a played formation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// All are ready.
    Well,
    /// One of `web` is not, and never was.
    Unready,
    /// On its way down.
    Draining,
    /// The loop hears nothing of what is asked about health.
    Deaf,
}

/// Plays `web=2 worker=1` until everybody who could ask has gone. `web` has a `max` of 8; what is to happen has happened at
/// once, but for a shutdown.
fn play(
    mut queue: mpsc::Receiver<Fact>,
    asked: &AtomicUsize,
    ended: &AtomicBool,
    mood: &Mutex<Mood>,
    services: &Mutex<Option<Vec<ServiceStatus>>>,
) {
    let mut web = 2;
    let (mut waiting, mut unheard, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(fact) = queue.blocking_recv() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let Fact::Asked(fact) = fact else { panic!("nobody else speaks") };
        asked.fetch_add(1, Ordering::SeqCst);
        // Whoever asked may have gone.
        match fact {
            Asked::Look(Look::Status(reply)) => drop(reply.send(status(web))),
            Asked::Look(Look::Counts(reply)) => {
                let (status, tallies) = (status(web), vec![Tally::new(type_name("web"))]);
                drop(reply.send(Counts { status, tallies, ignored_notifications: 0 }));
            }
            Asked::Look(Look::Vitals(reply)) => match *mood.lock().expect("no thread panicked") {
                Mood::Deaf => unheard.push(reply),
                mood @ (Mood::Well | Mood::Unready | Mood::Draining) => {
                    drop(reply.send((vitals(web, mood), status(web).formation)));
                }
            },
            Asked::Services { reply } => match &*services.lock().expect("no thread panicked") {
                Some(services) => drop(reply.send(services.clone())),
                None => silent.push(reply),
            },
            Asked::Request {
                request: Request { verb: Verb::Shutdown { .. }, answer: When::Happened },
                reply,
            } => {
                waiting.push(reply);
            }
            Asked::Request { request, reply } => drop(reply.send(happen(&request.verb, &mut web))),
            Asked::Run { command, reply, .. } => {
                let process_type = match command {
                    OneOff::Words(_) => None,
                    OneOff::Of(process_type) => Some(process_type),
                };
                drop(reply.send(happen(&Verb::Run { process_type }, &mut web)));
            }
        }
    }
}

fn happen(verb: &Verb, web: &mut u32) -> Answer {
    let known = || vec![type_name("web"), type_name("worker")];
    let will = match verb {
        Verb::Scale { changes } => {
            for (name, change) in changes {
                if name != "web" {
                    return Err(Refusal::UnknownProcessType { name: name.clone(), known: known() });
                }
                let count = match change {
                    Change::To(count) => i64::from(*count),
                    Change::By(by) => i64::from(*web) + by,
                };
                if count < 0 {
                    return Err(Refusal::BelowZero {
                        process_type: type_name("web"),
                        count: *web,
                        by: count,
                    });
                }
                if count > 8 {
                    return Err(Refusal::OverMax { process_type: type_name("web"), count, max: 8 });
                }
                *web = u32::try_from(count).expect("between 0 and 8");
            }
            Will::Start
        }
        Verb::Restart { targets, .. } | Verb::Stop { targets } | Verb::Signal { targets, .. } => {
            let unknown =
                targets.iter().find(|target| !(target.means_type("web") || target.means_type("worker")));
            if let Some(target) = unknown {
                return Err(Refusal::UnknownTarget { target: target.to_string(), known: known() });
            }
            let worker = targets.iter().any(|target| target.means_type("worker"));
            if let Verb::Signal { .. } = verb
                && (worker || targets.is_empty())
            {
                return Err(Refusal::NotRunning { slots: vec![slot("worker", 1)] });
            }
            Will::Restart
        }
        Verb::Reload => return Err(Refusal::Invalid { errors: "Procfile:1: no colon\n".to_owned() }),
        Verb::Deploy { release } if release == "v1" => Will::Restart,
        Verb::Deploy { release } => {
            let why = NotDeployed::Unusable { errors: format!("there is no release `{release}`") };
            return Err(Refusal::NotDeployed { release: release.clone(), why });
        }
        Verb::Run { process_type: Some(name) } if *name != type_name("web") => {
            return Err(Refusal::UnknownProcessType { name: name.to_string(), known: known() });
        }
        Verb::Run { .. } => Will::Start,
        Verb::Shutdown { .. } | Verb::Settle => Will::Stop,
    };
    let processes = vec![Effect { name: slot("web", 1), will, state: State::Running }];
    Ok(Accepted { formation: status(*web).formation, processes })
}

fn service() -> ServiceStatus {
    ServiceStatus {
        name: "REDIS_URL".to_owned(),
        kind: "redis".to_owned(),
        host: "localhost:6379".to_owned(),
        ok: true,
        message: "answers".to_owned(),
        time_ms: 1,
        needed_by: vec![type_name("web")],
    }
}

fn status(web: u32) -> Status {
    let process = |name: SlotName| ProcessStatus {
        process_type: name.process_type.clone(),
        slot: name.number,
        state: State::Running,
        ready: true,
        reason: None,
        status_text: None,
        suspended: false,
        // Somebody who is there: ourselves.
        pid: (name == slot("web", 1))
            .then(|| Pid::new(std::process::id().try_into().expect("it fits")))
            .flatten(),
        port: Some(5000),
        release: "v1".to_owned(),
        restarts: 0,
        uptime_ms: Some(1),
        last_exit: (name.number == 2).then_some(LastExit {
            code: Some(3),
            signal: None,
            reason: ExitReason::Failed,
        }),
        rss_bytes: None,
        cpu_ms: None,
        name,
    };
    let processes =
        (1..=web).map(|number| slot("web", number)).chain([slot("worker", 1)]).map(process).collect();
    let formation = Formation(vec![(type_name("web"), web), (type_name("worker"), 1)]);
    Status { schema: Status::SCHEMA, formation, processes }
}

fn vitals(web: u32, mood: Mood) -> Vitals {
    let ready = if mood == Mood::Unready { web - 1 } else { web };
    let of =
        |name, wanted, ready| TypeVitals { process_type: type_name(name), wanted, ready, enough: wanted };
    Vitals {
        draining: mood == Mood::Draining,
        started: mood != Mood::Unready,
        essential: vec![of("web", web, ready), of("worker", 1, 1)],
    }
}

fn type_name(name: &str) -> TypeName {
    name.parse().expect("a name")
}

fn slot(name: &str, number: u32) -> SlotName {
    SlotName { process_type: type_name(name), number }
}

/// Waits for something that is about to be so.
pub(super) fn eventually(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(()) => return,
            Err(seen) => assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {seen}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}
