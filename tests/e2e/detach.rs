//! `--detach`: whoever starts it gets its terminal back when everything runs, or is told why it does not.
//!
//! `--trace` on a FIFO that nobody reads holds the background up before it has started anything.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::harness::{
    Run, Setup, Stdout, Supervise, Transcript, can_make_pid_namespaces, children_of, eventually, is_alive,
    send, state,
};

/// A supervisor in the background; stopped when the test is over.
struct Background {
    pid: i32,
    run: Run,
}

impl Background {
    /// Of a start that returns with 0 and one line.
    fn of(start: &Supervise) -> Background {
        let mut run = start.start();
        run.ends_leaving(0);
        let seen = run.so_far();
        assert_eq!(seen.err_text(), "", "{seen}");
        let lines = seen.lines();
        assert_eq!(lines.len(), 1, "{seen}");
        let rest = lines[0].strip_prefix("started in the background with pid ").expect("it says so");
        let (pid, _) = rest.split_once(": ").expect("and the formation");
        Background { pid: pid.parse().expect("a pid is a number"), run }
    }

    /// Stops it and waits until nothing of it is left.
    fn stop(self) {
        send(self.pid, libc::SIGTERM);
        is_gone(&self.run);
    }
}

fn is_gone(run: &Run) {
    let alive = || run.alive();
    eventually("the end of everything", || alive().is_empty().then_some(()), || format!("{:?}", alive()));
}

/// What a log file in JSON says.
fn transcript(file: &Path) -> Transcript {
    let mut transcript = Transcript::default();
    let text = fs::read(file).unwrap_or_default();
    text.split_inclusive(|byte| *byte == b'\n').for_each(|line| {
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "torn: {}", line.escape_ascii());
        transcript.add_out(line);
    });
    transcript
}

/// Waits until a log file says something.
fn until<T>(file: &Path, what: &str, look: impl Fn(&Transcript) -> Option<T>) -> T {
    eventually(what, || look(&transcript(file)), || transcript(file).to_string())
}

#[test]
fn it_returns_when_everything_runs_and_says_what() {
    let start = Supervise::with("web: chaos sleep 1h\njob: chaos say done exit 0\n");
    let background = Background::of(&start.args(["-D", "web=2"]));
    let seen = background.run.so_far();
    assert!(seen.lines()[0].ends_with(": web=2 job=1"), "{seen}");
    assert_eq!(children_of(background.pid).len(), 2);
    background.stop();
}

#[test]
fn nothing_of_the_terminal_is_left_in_the_background_and_its_end_ends_nothing() {
    let start = Supervise::with("web: chaos sleep 1h\n").stdout(Stdout::Terminal).args(["-D"]);
    let background = Background::of(&start);
    let pid = background.pid;
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = line.rsplit_once(") ").unwrap().1.split(' ').collect();
    // proc_pid_stat(5): state, parent, group, session, terminal.
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"), "{line}");
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        assert_eq!(target, Path::new("/dev/null"));
    }
    assert!(is_alive(pid));
    background.stop();
}

#[test]
fn a_formation_that_ends_at_once_says_why_and_gives_its_code() {
    let mut run = Supervise::with("web: chaos say hello sleep 1h\nworker: nosuch\n").args(["-D"]).start();
    let seen = run.ends_with(127);
    let said = seen.err_text();
    assert!(said.contains("worker.1 could not be started: not found: `nosuch`"), "{seen}");
    assert!(said.ends_with("error: the formation ended with code 127 before it was ready"), "{seen}");
    assert!(seen.out.is_empty(), "{seen}");
}

#[test]
fn a_slot_that_does_not_run_is_named_and_the_others_go_on() {
    let start = Supervise::with("web: chaos sleep 1h\nworker: chaos err boom exit 3\n");
    let start = start.spec("formation: { worker: { essential: false, backoff: { give_up_after: 2 } } }\n");
    let mut run = start.args(["-D"]).start();
    let alive = run.ends_leaving(1);
    let seen = run.so_far();
    let said = seen.err_text();
    assert!(said.contains("worker.1 exited with code 3"), "{seen}");
    assert!(said.contains("error: worker.1 is not running: "), "{seen}");
    assert!(said.contains("the formation goes on in the background with pid "), "{seen}");
    assert!(!said.contains("error: web.1"), "{seen}");
    let (pid, _) = alive.iter().find(|(_, command)| command.contains(" start ")).expect("it goes on");
    Background { pid: *pid, run }.stop();
}

#[test]
fn wrong_input_is_told_in_the_foreground_and_starts_nothing() {
    let mut run = Supervise::with("web: chaos sleep 1h\nwe b: oops\n").args(["-D"]).start();
    let seen = run.ends_with(2);
    assert!(seen.err_text().contains("we b"), "{seen}");
    let mut run = Supervise::with("web: chaos sleep 1h\n").args(["-D", "--log-file", "none/log"]).start();
    let seen = run.ends_with(1);
    assert!(seen.err_text().contains("the log file `none/log` cannot be opened"), "{seen}");
}

/// A small disk.
const SMALL: usize = 64 << 10;

/// Lines of 1 KiB: twice as many as there is room for on it, and not so many that any is dropped.
const FLOOD: usize = 128;

/// What a supervisor has said so far.
fn events(socket: &Path) -> String {
    let mut answer = String::new();
    if let Ok(mut socket) = UnixStream::connect(socket) {
        socket.write_all(b"GET /v1/events HTTP/1.0\r\n\r\n").unwrap();
        socket.read_to_string(&mut answer).unwrap();
    }
    answer
}

#[test]
fn fault_19_a_full_disk_is_said_once_and_every_line_is_written_when_there_is_room_again() {
    // A disk of its own, for which one has to be root.
    if !can_make_pid_namespaces() {
        return;
    }
    let small = "mkdir small && mount -t tmpfs -o size=64k none small && exec \"$@\"";
    let start = Supervise::with(format!("web: chaos gate go blocks {FLOOD} 1000 x say all gate end\n"))
        .gate("go")
        .gate("end")
        .under(["unshare", "--mount", "sh", "-c", small, "sh"])
        .args(["-D", "--log-file", "small/log", "--socket", "control"]);
    let background = Background::of(&start);
    let log = Path::new("/proc")
        .join(background.pid.to_string())
        .join("root")
        .join(start.directory().app("small/log").strip_prefix("/").expect("it begins at the root"));
    start.directory().open_gate("go");
    let socket = start.directory().app("control");
    eventually(
        "the full disk",
        || events(&socket).contains("\"write_failed\"").then_some(()),
        || events(&socket),
    );
    // Whoever looks after disks takes away what fills it. What is full is not written to meanwhile.
    let mut taken = Vec::new();
    let mut take = || {
        let mut text = fs::read(&log).unwrap_or_default();
        let is_full = text.len() >= SMALL;
        if is_full {
            fs::OpenOptions::new().write(true).truncate(true).open(&log).expect("it is ours");
        }
        let all = String::from_utf8_lossy(&text).contains("\"message\":\"all\"");
        if is_full || all {
            taken.append(&mut text);
        }
        all.then_some(())
    };
    eventually("everything, little by little", &mut take, || events(&socket));
    let lines = taken;
    let text = String::from_utf8(lines).expect("text");
    let blocks = text.lines().filter(|line| line.contains(&"x".repeat(1000))).count();
    let whole = text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(whole && blocks == FLOOD, "{blocks} of {FLOOD}");
    // Once for each time that it was full.
    let said = events(&socket).matches("\"write_failed\"").count();
    assert!((1..=FLOOD * 1200 / SMALL + 1).contains(&said), "said {said} times: {}", events(&socket));
    assert!(!events(&socket).contains("\"dropped\""), "{}", events(&socket));
    start.directory().open_gate("end");
    is_gone(&background.run);
}

#[test]
fn the_log_file_has_every_line_whole_and_is_opened_again_on_hup() {
    let start = Supervise::with("web: chaos loop tick 1ms\n").args(["-D", "--log-file", "log"]);
    let background = Background::of(&start);
    let log = start.directory().app("log");
    let ticks = |seen: &Transcript| -> Vec<u32> {
        seen.rests("web.1", "tick ").iter().map(|number| number.parse().unwrap()).collect()
    };
    until(&log, "ticks", |seen| (ticks(seen).len() > 100).then_some(()));
    let moved = start.directory().app("log.1");
    fs::rename(&log, &moved).unwrap();
    send(background.pid, libc::SIGHUP);
    until(&log, "ticks in a new file", |seen| (ticks(seen).len() > 100).then_some(()));
    until(&log, "the reload", |seen| seen.events("reloaded", "").pop());
    background.stop();
    let all = [ticks(&transcript(&moved)), ticks(&transcript(&log))].concat();
    assert!(all.iter().copied().eq(1..=u32::try_from(all.len()).unwrap()), "{all:?}");
    assert_eq!(transcript(&log).events("ended", "").len(), 1, "{}", transcript(&log));
}

#[test]
fn without_a_log_file_the_lines_can_be_had_from_the_socket() {
    let start = Supervise::with("job: chaos say hello partial prompt exit 0\nkeep: chaos sleep 1h\n");
    let background = Background::of(&start.args(["-D"]));
    let runtime = fs::read_dir(background.run.directory().top().join("runtime/supervise")).unwrap();
    let mut files = runtime.map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.extension().is_some_and(|extension| extension == "sock"));
    let mut socket = UnixStream::connect(path.expect("there is a socket")).unwrap();
    socket.write_all(b"GET /v1/logs?target=job.1 HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let mut said = Transcript::default();
    answer.lines().for_each(|line| said.add_out(line.as_bytes()));
    assert_eq!(*said.said("job.1"), ["hello", "prompt"], "{said}");
    assert_eq!(said.events("exited", "job.1").len(), 1, "{said}");
    background.stop();
}

#[test]
fn who_is_second_is_told_so_in_the_foreground() {
    let start = Supervise::with("web: chaos sleep 1h\n").args(["-D"]);
    let background = Background::of(&start);
    let mut second = start.start();
    let seen = second.ends_with(1);
    let said = format!("already running here (pid {})", background.pid);
    assert!(seen.err_text().contains(&said), "{seen}");
    assert!(is_alive(background.pid));
    background.stop();
}

#[test]
fn an_interrupt_while_it_waits_ends_the_formation_too() {
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 0), (libc::SIGHUP, 0)] {
        let start = Supervise::with("web: chaos sleep 1h\n").gate("trace").args(["-D", "--trace", "trace"]);
        let mut run = start.start();
        held_up(&run);
        run.signal(signal);
        start.directory().open_gate("trace");
        let seen = run.ends_with(code);
        assert!(seen.err_text().contains(&format!("ended with code {code} before it was ready")), "{seen}");
    }
}

#[test]
fn whoever_waits_notices_an_end_without_a_word() {
    let mut run =
        Supervise::with("web: chaos sleep 1h\n").gate("trace").args(["-D", "--trace", "trace"]).start();
    send(held_up(&run), libc::SIGKILL);
    let seen = run.ends_with(1);
    assert!(seen.err_text().contains("was killed by SIGKILL and did not say why"), "{seen}");
}

#[test]
fn a_formation_whose_starter_is_killed_goes_on() {
    let start = Supervise::with("web: chaos sleep 1h\n").gate("trace");
    let start = start.args(["-D", "--trace", "trace", "--log-file", "log"]);
    let mut run = start.start();
    let pid = held_up(&run);
    run.is_killed();
    start.directory().open_gate("trace");
    until(&start.directory().app("log"), "web.1 starts", |seen| seen.events("started", "web.1").pop());
    Background { pid, run }.stop();
}

#[test]
fn descriptors_that_are_closed_and_signals_that_are_ignored_change_nothing() {
    let start = Supervise::with("web: chaos report sleep 1h\n").args(["-D", "--log-file", "log"]);
    let start = [0, 1, 2].into_iter().fold(start, |start, fd| start.setup(Setup::Close(fd)));
    let start = start.setup(Setup::Ignore(libc::SIGUSR1)).setup(Setup::Umask(0o027));
    let mut run = start.start();
    let alive = run.ends_leaving(0);
    let (pid, _) = alive.iter().find(|(_, command)| command.contains(" start ")).expect("it runs");
    let log = start.directory().app("log");
    until(&log, "a report", |seen| seen.said("web.1").iter().any(|line| line == "report=done").then_some(()));
    let seen = transcript(&log);
    assert_eq!(seen.rests("web.1", "umask="), ["027"], "{seen}");
    Background { pid: *pid, run }.stop();
}

/// The supervisor in the background, once it waits for somebody to read its trace.
fn held_up(run: &Run) -> i32 {
    let find = || children_of(run.pid()).into_iter().find(|pid| state(*pid) == Some('S'));
    eventually("a supervisor in the background", find, || run.so_far().to_string())
}
