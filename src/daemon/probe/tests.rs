//! Real servers and real commands: what each of them is found to be.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc as channel;
use std::thread;

use nix::sys::signal::SigSet;

use crate::api::Pid;
use crate::app::{Command, Inputs, Listen, Timing, plan};

use super::super::cgroup::Cgroups;
use super::super::control::testing::Scratch;
use super::super::edition::Editions;
use super::super::family::{Adoption, Strangers};
use super::super::inherited::Inherited;
use super::super::proc::Stat;
use super::*;

/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOT: SlotKey = SlotKey { type_index: 0, number: 1 };
const INSTANCE: InstanceId = InstanceId(7);

fn failed(why: impl Into<String>) -> ProbeResult {
    ProbeResult::Failed { why: why.into() }
}

/// Runs what needs the loop's runtime, on a thread like the loop's.
fn on_a_loop<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it takes no minute") })
}

/// A server that gives each connection to `serve`; its port.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.expect("a connection"))));
    port
}

/// A server that reads a head and answers so.
fn answering(answer: impl Into<Vec<u8>>) -> u16 {
    let answer = answer.into();
    server(move |mut stream| {
        head(&mut stream);
        // Who has heard enough may go.
        let _ = stream.write_all(&answer);
    })
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("it is text")
}

fn get(port: u16, path: &str, timeout: Duration) -> ProbeResult {
    on_a_loop(async { http::ask(port, path, timeout).await.0 })
}

/// A port on which nobody listens: it is bound, so nobody can.
fn closed_port() -> (u16, std::os::fd::OwnedFd) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
    let socket =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    let address: SockaddrIn = getsockname(socket.as_raw_fd()).expect("an address");
    (address.port(), socket)
}

#[test]
fn only_the_status_counts_and_a_redirect_is_an_answer() {
    for (status, well) in [(200, true), (204, true), (302, true), (399, true), (400, false), (503, false)] {
        let port = answering(format!("HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\n\r\nnot well"));
        let expected =
            if well { ProbeResult::Passed } else { failed(format!("GET /health answered {status}")) };
        assert_eq!(get(port, "/health", PATIENCE), expected);
    }
}

#[test]
fn an_http_server_is_told_who_asks_for_what() {
    let (heads, listener) = channel::channel();
    let port = server(move |mut stream| {
        heads.send(head(&mut stream)).expect("the test listens");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("it is read");
    });
    assert_eq!(get(port, "/a?b=c", PATIENCE), ProbeResult::Passed);
    let head = listener.recv().expect("a head").to_lowercase();
    assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("host: 127.0.0.1:{port}"),
        format!("user-agent: supervise/{version}"),
        "connection: close".to_owned(),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
}

#[test]
fn an_early_hint_is_not_the_answer() {
    let port = answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 X\r\n\r\n");
    assert_eq!(get(port, "/", PATIENCE), failed("GET / answered 500"));
}

#[test]
fn fault_50_a_body_without_end_delays_no_answer_and_is_not_read_to_its_end() {
    let (sizes, sent) = channel::channel();
    let port = server(move |mut stream| {
        head(&mut stream);
        let mut count = 0;
        let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        while let Ok(written) = stream.write(piece) {
            count += written;
            piece = &[b'x'; 4096];
        }
        sizes.send(count).expect("the test listens");
    });
    on_a_loop(async {
        let (result, rest) = http::ask(port, "/", PATIENCE).await;
        assert_eq!(result, ProbeResult::Passed);
        rest.expect("there is more").read().await;
    });
    let sent = sent.recv_timeout(PATIENCE).expect("it ends");
    assert!(sent < 16 << 20, "what two sockets hold, and no more: {sent}");
}

#[test]
fn what_is_not_http_or_no_answer_at_all_is_a_failure_that_says_so() {
    let says = |answer: &str| {
        let port = answering(answer);
        match get(port, "/", PATIENCE) {
            ProbeResult::Failed { why } => why.replace(&port.to_string(), "PORT"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(says("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "GET / on port PORT: the answer is not HTTP");
    assert_eq!(says(""), "GET / on port PORT: the connection was closed without an answer");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(says(&endless), "GET / on port PORT: more than 10 KiB of headers");
}

#[test]
fn nobody_on_the_port_is_a_failure_that_says_so() {
    let (port, _held) = closed_port();
    let refused = format!("port {port}: connection refused");
    assert_eq!(get(port, "/health", PATIENCE), failed(format!("GET /health on {refused}")));
    assert_eq!(on_a_loop(tcp::ask(port, PATIENCE)), failed(refused));
}

#[test]
fn whoever_takes_a_connection_is_well_for_tcp() {
    assert_eq!(on_a_loop(tcp::ask(server(drop), PATIENCE)), ProbeResult::Passed);
}

#[test]
fn a_client_that_meets_itself_has_met_nobody() {
    on_a_loop(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = socket.local_addr().expect("an address");
        let connection = socket.connect(address).await.expect("it takes its own connection");
        assert_eq!(
            tcp::not_itself(connection).expect_err("it is alone").kind(),
            io::ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn fault_50_a_server_that_never_answers_is_given_up_in_time() {
    let port = server(|stream| {
        thread::spawn(move || {
            let mut stream = stream;
            // Until we are gone.
            while stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {}
        });
    });
    let timeout = Duration::from_millis(200);
    let begin = Instant::now();
    assert_eq!(get(port, "/", timeout), failed(format!("GET / on port {port}: no answer within 200ms")));
    assert!(begin.elapsed() >= timeout);
}

#[test]
fn fault_32_a_timeout_that_we_slept_through_ourselves_says_nothing() {
    let port = server(|mut stream| {
        // It answers only who asks again.
        let _ = stream.read(&mut [0; 1]);
        thread::sleep(PATIENCE);
    });
    let result = on_a_loop(async {
        let asking = tokio::spawn(async move { tcp_and_wait(port).await });
        tokio::task::yield_now().await;
        // The whole loop stands still, as under SIGSTOP.
        thread::sleep(Duration::from_millis(50) + STOOD_STILL + Duration::from_millis(100));
        asking.await.expect("it does not panic")
    });
    assert_eq!(result, stood_still());
}

async fn tcp_and_wait(port: u16) -> ProbeResult {
    http::ask(port, "/", Duration::from_millis(50)).await.0
}

#[test]
fn what_we_are_short_of_says_nothing_about_others() {
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EAGAIN, Errno::EADDRNOTAVAIL] {
        let error = io::Error::from(errno);
        assert!(matches!(refused("port 1", &error), ProbeResult::NotRun { .. }), "{errno}");
    }
    assert_eq!(refused("port 1", &Errno::ECONNRESET.into()), failed("port 1: connection reset by peer"));
}

/// A type whose liveness is asked by a command, and everything that is needed to ask it.
struct Rig {
    _scratch: Scratch,
    editions: Editions,
    family: Family,
    spawner: Spawner,
    null: File,
    probes: Probes,
    queue: mpsc::Receiver<Fact>,
}

impl Rig {
    fn new(command: &str, timeout: Duration) -> Rig {
        let scratch = Scratch::new();
        std::fs::write(scratch.path("Procfile"), "web: true\n").expect("it is ours");
        let mut release =
            plan(&Inputs { directory: scratch.path(""), ..Inputs::default() }).expect("it is right");
        let path = std::env::var("PATH").unwrap_or_default();
        release.types[0].environment.set("PATH", path, crate::app::Origin::Real);
        let check = Check::Exec { command: Command::new(command.as_bytes().to_vec()) };
        let timing = Timing { timeout, ..Timing::default() };
        release.types[0].listen = Some(Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        release.types[0].health.liveness = Some(Probe { check, timing });
        let inherited = Inherited {
            mask: SigSet::empty(),
            hangup_ignored: false,
            ignored: Vec::new(),
            open_files: nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .expect("limits are readable"),
        };
        let (facts, queue) = mpsc::channel(8);
        Rig {
            editions: Editions::new(release).expect("it has a name"),
            _scratch: scratch,
            family: Family::new("mark".to_owned(), Strangers::OfTheLast, Adoption::Ours, Cgroups::new()),
            spawner: Spawner::new(inherited, None).expect("memory"),
            null: File::open("/dev/null").expect("it is there"),
            probes: Probes::new(facts),
            queue,
        }
    }

    fn begin(&mut self) -> Result<(), ProbeResult> {
        let hands = Hands { family: &mut self.family, spawner: &mut self.spawner, null: &self.null };
        self.probes.begin((SLOT, INSTANCE, ProbeKind::Liveness), self.editions.edition(0, 0), hands)
    }

    fn pid(&self) -> Pid {
        match &self.probes.tries[&(INSTANCE, ProbeKind::Liveness)].how {
            How::Process(pid, _) => *pid,
            How::Task(_) => panic!("it is a command"),
        }
    }

    /// Reaps the command, as the loop does when it has heard of its end.
    async fn bury(&mut self, pid: Pid) {
        while !reaper::has_ended(pid) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let status = tokio::task::spawn_blocking(move || status_of(pid)).await.expect("no panic");
        assert!(self.probes.dead(Dead { pid: pid.raw(), status }));
        reaper::reap(pid.raw());
        self.family.reaped(pid.raw());
    }

    async fn result(&mut self) -> ProbeResult {
        loop {
            let Some(Fact::Probed(finding)) = self.queue.recv().await else { panic!("it is a finding") };
            if let Some(Event::Probed { result, .. }) = self.probes.found(finding) {
                return result;
            }
        }
    }

    /// Asks once, and sees the command's end.
    async fn ask(&mut self) -> ProbeResult {
        if let Err(result) = self.begin() {
            return result;
        }
        let pid = self.pid();
        self.bury(pid).await;
        self.result().await
    }
}

/// How a dead child ended; it stays a zombie.
fn status_of(pid: Pid) -> ExitStatus {
    // SAFETY: all zeroes is a valid siginfo_t, and waitid writes into it.
    let (code, status) = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let id = libc::id_t::try_from(pid.raw()).expect("a pid");
        libc::waitid(libc::P_PID, id, &raw mut found, libc::WEXITED | libc::WNOWAIT);
        (found.si_code, found.si_status())
    };
    match code {
        libc::CLD_EXITED => ExitStatus::Code(u8::try_from(status).expect("a code")),
        _ => ExitStatus::Signal { signal: Signal::new(status).expect("a signal"), core_dumped: false },
    }
}

fn asked(command: &str) -> ProbeResult {
    on_a_loop(async { Rig::new(command, PATIENCE).ask().await })
}

#[test]
fn a_command_that_exits_with_0_passes_and_another_fails_with_its_last_line() {
    assert_eq!(asked("true"), ProbeResult::Passed);
    assert_eq!(asked("false"), failed("exited with code 1"));
    assert_eq!(asked("echo yes; echo no >&2; echo; exit 3"), failed("exited with code 3: no"));
    assert_eq!(asked("printf 'a\\033[1mb'; exit 1"), failed("exited with code 1: a\u{fffd}[1mb"));
    assert_eq!(asked("kill -9 $$"), failed("was killed by SIGKILL"));
}

#[test]
fn a_command_that_is_not_there_is_a_failure_that_says_so() {
    assert_eq!(asked("no-such-command-anywhere"), failed("not found: `no-such-command-anywhere` (in PATH)"));
    assert_eq!(asked("/etc/passwd"), failed("cannot execute `/etc/passwd`: Permission denied"));
}

#[test]
fn a_command_runs_as_its_instance_does_but_has_no_say_for_it() {
    let command = "test \"$PS $SUPERVISE_TYPE $SUPERVISE_SLOT $SUPERVISE_INSTANCE\" = 'web.1 web 1 mark-7.1' && \
                   test -n \"$PORT\" && test -z \"$NOTIFY_SOCKET$LISTEN_FDS$LISTEN_FDNAMES$LISTEN_PID\" && test ! -t 0 && read line; test $? = 1";
    assert_eq!(asked(command), ProbeResult::Passed);
}

#[test]
fn fault_50_what_a_command_prints_without_end_is_read_and_only_its_end_is_kept() {
    assert_eq!(asked("head -c 64M /dev/zero; echo; echo done; exit 1"), failed("exited with code 1: done"));
}

#[test]
fn fault_50_a_command_that_hangs_is_killed_with_its_group_and_answered_once() {
    on_a_loop(async {
        let mut rig = Rig::new("sleep 1000 & echo $!; wait; true", Duration::from_millis(300));
        rig.begin().expect("it begins");
        let pid = rig.pid();
        assert_eq!(rig.result().await, failed("did not end within 300ms"));
        // Before it is buried the next one is not begun.
        assert_eq!(rig.begin(), Err(not_run("its last command was killed and has not ended")));
        rig.bury(pid).await;
        let members = || {
            super::super::proc::everybody()
                .expect("nothing is short")
                .into_iter()
                .filter(|stat| stat.group == pid.raw())
        };
        while members().any(|stat| stat.alive()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(rig.queue.try_recv().is_err(), "one answer is enough");
        rig.begin().expect("the next one begins");
        rig.probes.give_up(INSTANCE);
    });
}

#[test]
fn what_ended_in_time_counts_though_we_hear_of_it_late() {
    on_a_loop(async {
        let mut rig = Rig::new("true", Duration::from_millis(20));
        rig.begin().expect("it begins");
        let pid = rig.pid();
        // It ends, and we are told that it is late before we have looked.
        let Some(Fact::Probed(late)) = rig.queue.recv().await else { panic!("it is late") };
        while !reaper::has_ended(pid) {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(rig.probes.found(late), None);
        rig.bury(pid).await;
        assert_eq!(rig.result().await, ProbeResult::Passed);
    });
}

#[test]
fn fault_50_the_command_of_an_instance_that_ends_is_killed_and_not_heard() {
    on_a_loop(async {
        let mut rig = Rig::new("sleep 1000", PATIENCE);
        rig.begin().expect("it begins");
        let pid = rig.pid();
        rig.probes.give_up(INSTANCE);
        rig.bury(pid).await;
        assert!(rig.queue.try_recv().is_err());
        assert!(Stat::of(pid.raw()).is_none_or(|stat| !stat.alive()));
    });
}

#[test]
fn the_command_of_an_instance_that_drains_is_killed_and_that_says_nothing_about_it() {
    on_a_loop(async {
        let mut rig = Rig::new("sleep 1000", PATIENCE);
        rig.begin().expect("it begins");
        let pid = rig.pid();
        let probe = ProbeKind::Liveness;
        let result = not_run("it is being stopped");
        let expected = Event::Probed { slot: SLOT, instance: INSTANCE, probe, result };
        assert_eq!(rig.probes.drain(INSTANCE), [expected]);
        assert_eq!(rig.probes.drain(INSTANCE), []);
        rig.bury(pid).await;
        assert!(rig.queue.try_recv().is_err());
    });
}

#[test]
fn what_was_found_of_an_earlier_try_is_not_heard() {
    on_a_loop(async {
        let mut rig = Rig::new("true", PATIENCE);
        rig.begin().expect("it begins");
        let pid = rig.pid();
        rig.bury(pid).await;
        let Some(Fact::Probed(finding)) = rig.queue.recv().await else { panic!("it is a finding") };
        rig.probes.give_up(INSTANCE);
        rig.begin().expect("another one begins");
        assert_eq!(rig.probes.found(finding), None);
        let pid = rig.pid();
        rig.bury(pid).await;
        assert_eq!(rig.result().await, ProbeResult::Passed);
    });
}
