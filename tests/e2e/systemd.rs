//! What whoever started us hears of us on its `NOTIFY_SOCKET`; here that is the test. With systemd itself: `tests/systemd`.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Caller, Judge, PATIENCE, Supervise, Verdict, can_judge, eventually, send, state};

/// Plays systemd.
struct Superior {
    socket: UnixDatagram,
    /// For `NOTIFY_SOCKET`.
    name: String,
    heard: Vec<(Instant, String)>,
}

impl Superior {
    /// One with an abstract name.
    fn new() -> Superior {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("supervise-superior-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("it is a name");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody has it");
        Superior { socket, name: format!("@{name}"), heard: Vec::new() }
    }

    /// The next datagram, if one comes within this time.
    fn next(&mut self, within: Duration) -> Option<String> {
        let mut buffer = [0; 8192];
        self.socket.set_read_timeout(Some(within)).expect("it is no zero");
        let length = self.socket.recv(&mut buffer).ok()?;
        let word = String::from_utf8(buffer[..length].to_vec()).expect("it is text");
        self.heard.push((Instant::now(), word.clone()));
        Some(word)
    }

    /// Reads until a datagram has this line.
    fn hears(&mut self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(word) = self.next(Duration::from_secs(1))
                && word.lines().any(|heard| heard == line)
            {
                return word;
            }
            assert!(Instant::now() < deadline, "no {line:?} among {:#?}", self.heard);
        }
    }

    /// How often a line was heard so far.
    fn count(&self, line: &str) -> usize {
        self.heard.iter().flat_map(|(_, word)| word.lines()).filter(|heard| *heard == line).count()
    }
}

/// The number after `EXTEND_TIMEOUT_USEC=`, as a time.
fn extension(word: &str) -> Duration {
    let number = word.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    Duration::from_micros(number.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("in {word:?}")))
}

#[test]
fn it_is_told_when_all_are_ready_and_how_everything_is() {
    let mut superior = Superior::new();
    let mut run = Supervise::with("web: chaos gate web notify READY=1 sleep 1h\njob: chaos exit 0\n")
        .spec(
            "formation:\n  web: { quantity: 2, health: { startup: { notify: true, period: 5m } } }\n\
             defaults: { drain: 50s }\n",
        )
        .gate("web")
        .env("NOTIFY_SOCKET", &superior.name)
        .start();
    let first = superior.hears("STATUS=starting");
    // Startup may take 3 x 5 minutes, whatever systemd thinks.
    assert!(extension(&first) >= Duration::from_secs(900), "{first}");
    superior.hears("STATUS=starting: web 0/2 ready, job completed");
    assert_eq!(superior.count(LEFT_BEHIND), 0, "nothing was left by anybody");
    assert_eq!(superior.count("READY=1"), 0);
    run.directory().open_gate("web");
    let ready = superior.hears("READY=1");
    run.event("ready", "web.1");
    run.event("ready", "web.2");
    assert!(ready.lines().any(|line| line == "STATUS=web 2/2 ready, job completed"), "{ready}");
    run.signal(libc::SIGTERM);
    let stopping = superior.hears("STOPPING=1");
    assert!(extension(&stopping) > Duration::from_secs(50), "{stopping}");
    run.ends_with(0);
    superior.hears("STATUS=ended with code 0");
    assert_eq!((superior.count("READY=1"), superior.count("STOPPING=1")), (1, 1), "{:#?}", superior.heard);
}

/// What is said while leftovers are stopped.
const LEFT_BEHIND: &str = "STATUS=stopping what an earlier run left behind";

#[test]
fn the_time_that_leftovers_of_an_earlier_run_may_take_is_asked_for() {
    let line = "chaos fork setsid ignore TERM pid escapee sleep 1h end pid leader sleep 1h";
    let supervise = Supervise::with(format!("web: {line}\n")).args(["-t", "10m"]);
    let mut first = supervise.start();
    first.pid_said("web.1", "escapee");
    let leader = first.pid_said("web.1", "leader");
    first.is_killed();
    eventually("its end", || state(leader).is_none().then_some(()), || first.so_far().to_string());
    let mut superior = Superior::new();
    let mut next = supervise.env("NOTIFY_SOCKET", &superior.name).start();
    let word = superior.hears(LEFT_BEHIND);
    assert!(extension(&word) > Duration::from_secs(600), "{word}");
    next.event("leftovers_found", "");
    next.signal(libc::SIGINT);
    // The escapee of the first one, whose drain is not over.
    next.ends_with(130);
}

#[test]
fn a_drain_is_told_with_who_lives_and_how_long_it_takes_at_most() {
    let mut superior = Superior::new();
    let mut run = Supervise::with("web: chaos on TERM say asked say up gate end\n")
        .spec("formation: { web: { quantity: 2, drain: 5m } }")
        .gate("end")
        .env("NOTIFY_SOCKET", &superior.name)
        .start();
    superior.hears("READY=1");
    run.signal(libc::SIGTERM);
    superior.hears("STATUS=draining: web 2, at most 5m");
    run.line("web.1", "asked");
    run.line("web.2", "asked");
    run.directory().open_gate("end");
    run.ends_with(0);
}

#[test]
fn every_reading_of_the_files_is_told_with_its_end_whether_it_failed_or_not() {
    let mut superior = Superior::new();
    let mut run = Supervise::with("web: chaos sleep 1h\n").env("NOTIFY_SOCKET", &superior.name).start();
    superior.hears("READY=1");
    let before = uptime();
    run.signal(libc::SIGHUP);
    let reloading = superior.hears("RELOADING=1");
    let when = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("it says when");
    let when = Duration::from_micros(when.parse().expect("a number"));
    // The kernel rounds what it says in /proc/uptime.
    assert!(
        when + Duration::from_millis(20) >= before && when <= uptime() + Duration::from_millis(20),
        "{when:?}"
    );
    superior.hears("READY=1");
    run.event("reloaded", "");
    fs::write(run.directory().app("Procfile"), "not a Procfile\n").expect("the directory is ours");
    run.signal(libc::SIGHUP);
    superior.hears("RELOADING=1");
    superior.hears("READY=1");
    run.event("reload_failed", "");
    run.is_stopped();
    assert_eq!(superior.count("READY=1"), 3, "{:#?}", superior.heard);
}

/// The time since the machine was started, as `CLOCK_MONOTONIC` counts where it was never suspended.
fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").expect("it is there");
    let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.expect("a number comes first"))
}

#[test]
fn the_watchdog_is_fed_by_the_loop_and_not_while_that_stands_still() {
    let mut superior = Superior::new();
    let run = Supervise::with("web: chaos sleep 1h\n")
        .env("NOTIFY_SOCKET", &superior.name)
        .env("WATCHDOG_USEC", "600000");
    let mut run = run.start();
    superior.hears("READY=1");
    let mut fed: Vec<Instant> = Vec::new();
    while fed.len() < 6 {
        superior.hears("WATCHDOG=1");
        fed.extend(superior.heard.last().map(|(at, _)| *at));
    }
    // At half of the time, and no more often. On a busy machine we may hear late, and then the next one sooner.
    let (first, last) = (fed[0], fed[fed.len() - 1]);
    assert!(last - first >= Duration::from_millis(5 * 300 - 150), "{fed:?}");
    let pid = run.pid();
    send(pid, libc::SIGSTOP);
    eventually("it is stopped", || (state(pid) == Some('T')).then_some(()), || format!("{:?}", state(pid)));
    // What it had sent before.
    while superior.next(Duration::from_millis(50)).is_some() {}
    assert_eq!(superior.next(Duration::from_millis(900)), None);
    send(pid, libc::SIGCONT);
    superior.hears("WATCHDOG=1");
    run.is_stopped();
}

#[test]
fn nothing_is_told_while_nothing_happens_and_the_watchdog_of_another_is_not_fed() {
    let mut superior = Superior::new();
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .env("NOTIFY_SOCKET", &superior.name)
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    superior.hears("READY=1");
    // What is left to say of the start is said within a quarter of a second.
    while superior.next(Duration::from_millis(500)).is_some() {}
    let turns = || {
        let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number")
    };
    let before = turns();
    assert_eq!(superior.next(Duration::from_secs(1)), None);
    assert_eq!(turns(), before, "something woke the loop");
    assert_eq!(superior.count("WATCHDOG=1"), 0);
    run.is_stopped();
}

#[test]
fn what_our_superior_gave_us_reaches_no_child_but_what_is_theirs_does() {
    let superior = Superior::new();
    let names = ["WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "FDSTORE", "LISTEN_PIDFDID"];
    let asked: Vec<String> = names.iter().map(|name| format!("env {name}")).collect();
    let line = format!("web: chaos env NOTIFY_SOCKET env INVOCATION_ID {} sleep 1h\n", asked.join(" "));
    let mut supervise =
        Supervise::with(line).env("NOTIFY_SOCKET", &superior.name).env("INVOCATION_ID", "abc");
    for name in names {
        supervise = supervise.env(name, "1");
    }
    let mut run = supervise.start();
    assert!(run.rest("web.1", "NOTIFY_SOCKET=").starts_with("@supervise/"));
    run.line("web.1", "INVOCATION_ID=abc");
    for name in names {
        run.line("web.1", &format!("{name} is not set"));
    }
    run.is_stopped();
}

#[test]
fn a_socket_with_a_path_is_as_good() {
    let supervise = Supervise::with("web: chaos sleep 1h\n");
    let path = supervise.directory().app("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    let name = path.to_str().expect("it is text").to_owned();
    let mut superior = Superior { socket, name, heard: Vec::new() };
    let mut run = supervise.env("NOTIFY_SOCKET", &superior.name).start();
    superior.hears("READY=1");
    run.is_stopped();
    superior.hears("STATUS=ended with code 0");
}

#[test]
fn a_superior_that_is_not_there_is_said_once_and_changes_nothing() {
    for name in ["/nowhere/notify", "@supervise-nobody", "vsock:2:1234"] {
        let mut run = Supervise::with("web: chaos sleep 1h\n").env("NOTIFY_SOCKET", name).start();
        run.event("started", "web.1");
        let seen = run.is_stopped();
        assert_eq!(seen.err_text().matches("NOTIFY_SOCKET").count(), 1, "{name}: {seen}");
    }
}

#[test]
fn a_superior_that_does_not_listen_for_a_while_delays_nobody_and_hears_it_later() {
    let mut superior = Superior::new();
    let mut run = Supervise::with("job: chaos say up gate ready notify READY=1 sleep 1h\n")
        .spec("formation: { job: { health: { startup: { notify: true, period: 5m } } } }")
        .gate("ready")
        .env("NOTIFY_SOCKET", &superior.name)
        .env("WATCHDOG_USEC", "2000")
        .start();
    run.line("job.1", "up");
    // Another one fits into the socket no more than into ours.
    let mine = UnixDatagram::unbound().expect("a socket can be made");
    mine.set_nonblocking(true).expect("it is a socket");
    let address = SocketAddr::from_abstract_name(&superior.name[1..]).expect("it is a name");
    let is_full = || mine.send_to_addr(b"TEST=1", &address).is_err().then_some(());
    eventually("a full socket", is_full, || "it takes more".to_owned());
    run.directory().open_gate("ready");
    run.event("ready", "job.1");
    superior.hears("READY=1");
    run.is_stopped();
    superior.hears("STATUS=ended with code 0");
}

#[test]
fn detached_it_is_refused_since_the_process_that_is_watched_would_end() {
    let superior = Superior::new();
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .env("NOTIFY_SOCKET", &superior.name)
        .args(["--detach"])
        .start();
    let seen = run.ends_with(2);
    assert!(seen.err_text().contains("`--detach`"), "{seen}");
}

#[test]
fn fault_21_a_word_that_systemd_waits_for_is_not_lost_to_an_error() {
    if !can_judge() {
        return;
    }
    let errors =
        [libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EINTR, libc::EPERM, libc::ECONNREFUSED, libc::EIO];
    thread::scope(|scope| {
        for errno in errors {
            // The one that would have said that everything is ready, or whatever is said for a while.
            for most in [1, usize::MAX] {
                scope.spawn(move || is_heard_after(errno, most));
            }
        }
    });
}

fn is_heard_after(errno: i32, most: usize) {
    let (armed, refused): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let judge = Judge::new(&[libc::SYS_sendto], {
        let (armed, refused) = (Arc::clone(&armed), Arc::clone(&refused));
        move |call| {
            let is_meant = call.caller == Caller::Loop && armed.load(Ordering::Relaxed);
            if !is_meant || refused.load(Ordering::Relaxed) >= most {
                return Verdict::Go;
            }
            refused.fetch_add(1, Ordering::Relaxed);
            Verdict::Fail(errno)
        }
    });
    let mut superior = Superior::new();
    let mut run = Supervise::with("web: chaos gate web notify READY=1 sleep 1h\n")
        .spec("formation:\n  web: { health: { startup: { notify: true, period: 5m } } }\n")
        .gate("web")
        .env("NOTIFY_SOCKET", &superior.name)
        .judged(judge)
        .start();
    superior.hears("STATUS=starting: web 0/1 ready");
    armed.store(true, Ordering::Relaxed);
    run.directory().open_gate("web");
    run.event("ready", "web.1");
    let count = || refused.load(Ordering::Relaxed);
    eventually("a refusal", || (count() > 0).then_some(()), || run.so_far().to_string());
    if most > 1 && errno != libc::EINTR {
        eventually("some more", || (count() > 3).then_some(()), || run.so_far().to_string());
    }
    armed.store(false, Ordering::Relaxed);
    let ready = superior.hears("READY=1");
    assert!(ready.lines().any(|line| line == "STATUS=web 1/1 ready"), "{errno}: {ready}");
    let seen = run.is_stopped();
    superior.hears("STOPPING=1");
    assert_eq!((superior.count("READY=1"), superior.count("STOPPING=1")), (1, 1), "{:#?}", superior.heard);
    let is_quiet = [libc::ENOBUFS, libc::EAGAIN, libc::EINTR].contains(&errno);
    let said = seen.err_text().matches("does not hear how we are").count();
    assert_eq!(said, usize::from(!is_quiet), "{errno}: {seen}");
}
