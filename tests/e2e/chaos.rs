//! A child that misbehaves on demand: what the end-to-end tests put into their Procfiles.
//!
//! It executes the verbs given as arguments, in order, and exits with 0 after the last one:
//! `chaos say hello on TERM exit 0 sleep 1h`. Every verb is one arm of [`run`]; none needs a character that
//! means something to a shell, so a Procfile line of them is executed directly.
//!
//! It has no Rust runtime around it (`no_main`): that would ignore SIGPIPE, catch SIGSEGV and open closed
//! descriptors before [`report`] could tell what the supervisor handed over.
#![no_main]

use std::ffi::{CString, OsString, c_char, c_int};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use supervise::api::{Signal, parse_duration};

/// Entered by the C library, with the arguments as the kernel gave them.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    run(&mut words.iter().map(|word| word.to_str().expect("verbs are UTF-8")));
    0
}

/// Executes verbs until there are no more, or until the `end` of the `fork` that it is in.
fn run<'a>(words: &mut impl Iterator<Item = &'a str>) {
    while let Some(verb) = words.next() {
        let mut next = || words.next().unwrap_or_else(|| panic!("`{verb}` wants another word"));
        match verb {
            // A line on stdout, a line on stderr, a line without its end, any bytes.
            "say" => put(1, format!("{}\n", next()).as_bytes()),
            "err" => put(2, format!("{}\n", next()).as_bytes()),
            "partial" => put(1, next().as_bytes()),
            "bytes" => put(1, &from_hex(next())),
            // `pid TEXT`: the text and our pid.
            "pid" => put(1, format!("{} {}\n", next(), std::process::id()).as_bytes()),
            // `born TICKS`, the kernel's date of our birth.
            "born" => put(1, format!("born {}\n", birth()).as_bytes()),
            // `env NAME`: `NAME=value`.
            "env" => print_variable(next()),
            // `spam N`: the lines `spam 1` to `spam N`, as fast as the pipe takes them.
            "spam" => spam(number(next())),
            // `blocks N LENGTH X`: N lines, each of LENGTH times the letter X.
            "blocks" => blocks(number(next()), number(next()), next()),
            // `flood BYTES`: so many bytes without any newline.
            "flood" => flood(number(next())),
            // `loop TEXT INTERVAL`: `TEXT 1`, `TEXT 2` ... for ever.
            "loop" => repeat(next(), duration(next())),
            // `tell LENGTH INTERVAL`: lines of up to LENGTH bytes for ever, which say who they are from and the how manieth, and
            // how many they were in a file of our own below $TOLD.
            "tell" => tell(number(next()), duration(next())),
            "report" => report(),
            "exit" => exit(next().parse().expect("an exit code")),
            "kill-self" => raise(signal(next())),
            "stop-self" => raise(libc::SIGSTOP),
            // `forget`: becomes a program that sleeps, with an environment that tells nothing.
            "forget" => panic!("{}", Command::new("sleep").arg("3600").env_clear().exec()),
            "sleep" => sleep(duration(next())),
            "ignore" => ignore(signal(next())),
            // `wipe`: our environment as others see it is gone, and we go on.
            "wipe" => wipe_environment(),
            // `on SIG say TEXT`, `on SIG exit N`, `on SIG sleep-then-exit DURATION N`, `on SIG sleep-then-say DURATION TEXT`,
            // which exits with 0, `on SIG touch FILE`.
            "on" => {
                let signal = signal(next());
                let action = match next() {
                    "say" => Action::Say(format!("{}\n", next()).into_bytes()),
                    "exit" => Action::Exit(Duration::ZERO, next().parse().expect("an exit code")),
                    "sleep-then-exit" => {
                        Action::Exit(duration(next()), next().parse().expect("an exit code"))
                    }
                    "touch" => Action::Touch(CString::new(next()).expect("a name has no NUL")),
                    "sleep-then-say" => {
                        Action::LastWords(duration(next()), format!("{}\n", next()).into_bytes())
                    }
                    other => panic!("`on` knows no `{other}`"),
                };
                catch(signal, action);
            }
            // `fork VERBS end`: a child executes the verbs and exits with 0; we go on at once.
            "fork" => {
                // SAFETY: we have one thread, so the child may do what we may.
                if unsafe { libc::fork() } == 0 {
                    run(words);
                    exit(0);
                }
                skip_to_end(words);
            }
            "end" => return,
            // `adopt COMMAND...`: runs the command as the parent of all orphans below it, says how many it got on stderr when
            // none is left, and ends with the command's code. For what stands around a supervisor.
            "adopt" => adopt(words),
            // `cell FILE`: what that file of our cgroup of version 2 says.
            "cell" => print_of_cell(next()),
            // `reap`: waits for one child.
            "reap" => {
                // SAFETY: no memory is involved.
                unsafe { libc::wait(ptr::null_mut()) };
            }
            // `breed N`: N children, each deaf in a session of its own, each of which makes children for ever that do the same
            // for a moment.
            "breed" => breed(number(next())),
            // `eat N`: N MiB of memory, all of it used; then goes on.
            "eat" => std::mem::forget(std::hint::black_box(vec![1_u8; number(next()) << 20])),
            "setsid" => {
                // SAFETY: no memory is involved; it fails only for a group's leader, and then a test fails.
                unsafe { libc::setsid() };
            }
            // `setpgid`: out of the process group of our leader, into one of our own.
            "setpgid" => {
                // SAFETY: no memory is involved.
                unsafe { libc::setpgid(0, 0) };
            }
            "close-stdout" => {
                // SAFETY: nothing of ours uses these two after this, but verbs that then fail on purpose.
                unsafe { (libc::close(1), libc::close(2)) };
            }
            // Another thread sleeps on, the first one ends: /proc calls the process a zombie.
            "end-first-thread" => end_first_thread(),
            // `bystanders N FILE`: for ever N short-lived processes, each leading a group; FILE is made if one got a signal.
            "bystanders" => bystanders(number(next()), next()),
            // `gate FIFO`: waits until the test opens the FIFO.
            "gate" => drop(File::open(next()).expect("the gate is a FIFO")),
            "touch" => drop(File::create(next()).expect("a file can be made")),
            "rmdir" => fs::remove_dir_all(next()).expect("a directory can be removed"),
            // `crash-until FILE N CODE`: the first N lives, counted in FILE, end here with CODE.
            "crash-until" => {
                let (file, lives, code) = (next(), number(next()), next().parse().expect("an exit code"));
                if count_a_life(file) <= lives {
                    exit(code);
                }
            }
            // `length FILE`: `FILE N`, its bytes.
            "length" => print_length(next()),
            // `set-clock SECONDS`: forwards or, below 0, backwards; whose the machine is may do it.
            "set-clock" => set_clock(next().parse().expect("a number of seconds")),
            // Serves HTTP 200 on $PORT for ever.
            "listen" => listen("/"),
            // The same as long as this file is there, and 503 while it is not.
            "listen-while" => listen(next()),
            // `notify WORDS`: a datagram to $NOTIFY_SOCKET; `notify-long N`: one of N bytes that begins with READY=1.
            "notify" => notify(next().as_bytes()),
            "notify-long" => {
                let mut text = b"READY=1\nX=".to_vec();
                text.resize(number(next()), b'x');
                notify(&text);
            }
            // The same as `notify`, for ever, as fast as it is taken.
            "notify-flood" => {
                let words = next();
                loop {
                    notify(words.as_bytes());
                }
            }
            // Accepts from descriptor 3 for ever, and tells each client our PS and our pid.
            "serve" => serve(),
            // Says whether descriptor 3 blocks, and then it does not.
            "unblock" => unblock(),
            "read-stdin" => read_stdin(),
            // Opens our terminal and reads from it.
            "read-tty" => read_all(&File::open("/dev/tty").expect("there is a terminal")),
            other => panic!("chaos knows no `{other}`"),
        }
    }
}

/// What the supervisor handed over, one `key=value` a line.
fn report() {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let mut lines: Vec<String> = Vec::new();
    for key in ["SigBlk", "SigIgn", "SigCgt"] {
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        lines.push(format!("{key}={}", value.expect("the kernel tells")));
    }
    // SAFETY: these calls take and give plain numbers, and the one pointer is to a live integer.
    unsafe {
        let mut death_signal: c_int = 0;
        libc::prctl(libc::PR_GET_PDEATHSIG, ptr::from_mut(&mut death_signal));
        lines.push(format!("pdeathsig={death_signal}"));
        let umask = libc::umask(0);
        libc::umask(umask);
        lines.push(format!("umask={umask:03o}"));
        lines.push(format!("pid={}\nppid={}\npgid={}", libc::getpid(), libc::getppid(), libc::getpgrp()));
    }
    let parent = format!("/proc/{}/comm", std::os::unix::process::parent_id());
    lines.push(format!("parent={}", fs::read_to_string(parent).unwrap_or_default().trim_end()));
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .expect("limits are readable");
    lines.push(format!("nofile={soft}:{hard}"));
    lines.push(format!("cwd={}", std::env::current_dir().expect("we are somewhere").display()));
    lines.push(format!("stdin={}", fs::read_link("/proc/self/fd/0").unwrap_or_default().display()));
    lines.push(format!("fds={}", descriptors()));
    put(1, format!("{}\nreport=done\n", lines.join("\n")).as_bytes());
}

fn print_length(file: &str) {
    let length = fs::metadata(file).map_or(0, |about| about.len());
    put(1, format!("{file} {length}\n").as_bytes());
}

fn set_clock(by_seconds: i64) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the one pointer is to a live time.
    let set = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
        now.tv_sec += by_seconds;
        libc::clock_settime(libc::CLOCK_REALTIME, &raw const now)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

fn print_of_cell(file: &str) {
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("proc is mounted");
    let ours = cgroups.lines().find_map(|line| line.strip_prefix("0::")).expect("there is version 2");
    let text = fs::read_to_string(format!("/sys/fs/cgroup{ours}/{file}")).expect("it is there");
    put(1, format!("{file} {}\n", text.trim_end().replace('\n', " ")).as_bytes());
}

/// Each child forks as soon as its own has ended: it is always in the middle of it.
fn breed(count: usize) {
    for _ in 0..count {
        // SAFETY: we have one thread; the children make system calls only, and never come back.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                loop {
                    if libc::fork() == 0 {
                        libc::usleep(BRED_LIFE);
                        libc::_exit(0);
                    }
                    libc::wait(ptr::null_mut());
                }
            }
        }
    }
}

/// In microseconds.
const BRED_LIFE: u32 = 20_000;

/// Our open descriptors: `0,1,2`.
fn descriptors() -> String {
    let open = (0..1024).filter(|fd| {
        // SAFETY: F_GETFD only looks.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) != -1 }
    });
    open.map(|fd| fd.to_string()).collect::<Vec<_>>().join(",")
}

/// When we were started, in ticks since boot (`proc_pid_stat(5)`, field 22).
fn birth() -> String {
    let stat = fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    // Our name, which may hold blanks, ends with the last bracket; field 3 follows.
    let (_, after_name) = stat.rsplit_once(") ").expect("stat has a name");
    after_name.split(' ').nth(19).expect("stat has 22 fields and more").to_owned()
}

fn print_variable(name: &str) {
    let mut line = name.as_bytes().to_vec();
    match std::env::var_os(name) {
        Some(value) => line.extend([b"=".as_slice(), value.as_bytes(), b"\n"].concat()),
        None => line.extend(b" is not set\n"),
    }
    put(1, &line);
}

fn spam(count: usize) {
    let mut lines = Vec::new();
    for n in 1..=count {
        lines.extend(format!("spam {n}\n").into_bytes());
        if lines.len() > 60_000 || n == count {
            put(1, &lines);
            lines.clear();
        }
    }
}

fn blocks(count: usize, length: usize, letter: &str) {
    let line = format!("{}\n", letter.repeat(length));
    for _ in 0..count {
        put(1, line.as_bytes());
    }
}

fn flood(mut bytes: usize) {
    let chunk = vec![b'x'; 65_536];
    while bytes > 0 {
        let next = bytes.min(chunk.len());
        put(1, &chunk[..next]);
        bytes -= next;
    }
}

fn adopt<'a>(command: &mut impl Iterator<Item = &'a str>) -> ! {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let mut first = Command::new(command.next().expect("`adopt` wants a command"));
    let first = first.args(command).spawn().expect("the command can be started").id();
    let (mut code, mut adopted) = (0, 0);
    loop {
        let mut status = 0;
        // SAFETY: the status is a live integer.
        let pid = unsafe { libc::wait(&raw mut status) };
        if pid == -1 {
            break;
        } else if u32::try_from(pid) == Ok(first) {
            code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 };
        } else {
            adopted += 1;
        }
    }
    put(2, format!("adopted {adopted}\n").as_bytes());
    exit(code)
}

fn wipe_environment() {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: we have one thread, and nobody looks at the environment after this; each string is written up to its end.
    unsafe {
        let mut at = environ;
        while !(*at).is_null() {
            ptr::write_bytes(*at, 0, libc::strlen(*at));
            at = at.add(1);
        }
    }
}

fn end_first_thread() {
    std::thread::spawn(|| sleep(Duration::from_secs(3600)));
    // SAFETY: it ends this thread alone (exit(2)), and what it leaves on its stack is used by nobody else.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn bystanders(at_once: usize, file: &str) {
    // SAFETY: sets and numbers of our own; we have one thread, so the child of a fork may do what we may.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut signals);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
        let mut alive = 0;
        loop {
            // Where there are no more numbers, some come back with the next wait.
            while alive < at_once {
                match libc::fork() {
                    0 => {
                        libc::setpgid(0, 0);
                        sleep(Duration::from_millis(5));
                        // What was sent to us waits for us: no signal is missed.
                        libc::sigpending(&raw mut signals);
                        exit(c_int::from(
                            (1..=64).any(|signal| libc::sigismember(&raw const signals, signal) == 1),
                        ));
                    }
                    -1 => break,
                    _ => alive += 1,
                }
            }
            let mut status = 0;
            if libc::waitpid(-1, &raw mut status, 0) > 0 {
                alive -= 1;
                if status != 0 {
                    fs::write(file, status.to_string()).expect("a file can be made");
                }
            }
        }
    }
}

fn repeat(text: &str, interval: Duration) {
    for n in 1_u64.. {
        put(1, format!("{text} {n}\n").as_bytes());
        sleep(interval);
    }
}

/// Each line is written as a whole (pipe(7): no longer than `PIPE_BUF`), and counted when that is done: whoever is killed
/// between the two has written one more than it has counted.
fn tell(longest: usize, interval: Duration) {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("`tell` wants {name}"));
    let whose = format!("{} {}-{}", variable("PS"), variable("SUPERVISE_INSTANCE"), std::process::id());
    let (_, count) = whose.split_once(' ').expect("it was put there");
    let count = Path::new(&variable("TOLD")).join(count);
    let count = File::create(count).expect("lines can be counted");
    for n in 1_usize.. {
        let text = "x".repeat(n * 7919 % longest);
        put(1, format!("tell {whose} {n} {text}\n").as_bytes());
        count.write_all_at(&n.to_ne_bytes(), 0).expect("lines can be counted");
        sleep(interval);
    }
}

/// Counts this life in the file (one byte each) and says which it is, from 1.
fn count_a_life(file: &str) -> usize {
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("lives can be counted");
    file.write_all(b".").expect("lives can be counted");
    // Where our own byte ended: the length of the file may count a sister's already.
    usize::try_from(file.stream_position().expect("it is open")).expect("not so many lives")
}

fn listen(file: &str) {
    let port: u16 = std::env::var("PORT").expect("`listen` wants PORT").parse().expect("PORT is a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    put(1, format!("listening on {port}\n").as_bytes());
    for stream in listener.incoming() {
        let mut stream = stream.expect("accept works");
        let status = if fs::exists(file).expect("it can be seen") { "200 OK" } else { "503 Unwell" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
        // A client that has gone away is no concern of ours.
        let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
    }
}

fn serve() {
    let name = std::env::var("PS").expect("`serve` wants PS");
    put(1, b"serving\n");
    loop {
        // SAFETY: it only makes a new descriptor, which is ours.
        let client = unsafe { libc::accept(3, ptr::null_mut(), ptr::null_mut()) };
        assert!(client >= 0, "accept: {}", io::Error::last_os_error());
        put(client, format!("{name} {}\n", std::process::id()).as_bytes());
        // SAFETY: it was made above, and nobody else uses it.
        unsafe { libc::close(client) };
    }
}

fn unblock() {
    // SAFETY: it reads and sets the flags of a descriptor, and touches no memory.
    unsafe {
        let flags = libc::fcntl(3, libc::F_GETFL);
        assert!(flags >= 0, "descriptor 3: {}", io::Error::last_os_error());
        put(1, if flags & libc::O_NONBLOCK == 0 { b"it blocks\n" } else { b"it blocks not\n" });
        libc::fcntl(3, libc::F_SETFL, flags | libc::O_NONBLOCK);
    }
    put(1, b"unblocked\n");
}

fn notify(text: &[u8]) {
    let name = std::env::var("NOTIFY_SOCKET").expect("`notify` wants NOTIFY_SOCKET");
    let name = name.strip_prefix('@').expect("its name is abstract");
    let address = SocketAddr::from_abstract_name(name).expect("it is a name");
    let voice = UnixDatagram::unbound().expect("a socket can be made");
    voice.connect_addr(&address).expect("somebody listens");
    voice.send(text).expect("it is taken");
}

fn read_stdin() {
    read_all(&File::open("/dev/stdin").expect("stdin is open"));
}

fn read_all(mut file: &File) {
    let mut text = Vec::new();
    match file.read_to_end(&mut text) {
        Ok(count) => put(1, format!("read {count} bytes\n").as_bytes()),
        Err(error) => put(1, format!("read failed: {error}\n").as_bytes()),
    }
}

/// What a caught signal does.
enum Action {
    /// Write this to stdout and go on.
    Say(Vec<u8>),
    /// Exit with this code after so long.
    Exit(Duration, c_int),
    /// Make this file and go on.
    Touch(CString),
    /// Write this to stdout after so long, and exit with 0.
    LastWords(Duration, Vec<u8>),
}

/// The action of each signal, leaked on purpose: a handler may come at any time.
static ACTIONS: [AtomicPtr<Action>; 65] = [const { AtomicPtr::new(ptr::null_mut()) }; 65];

fn catch(signal: c_int, action: Action) {
    let place = usize::try_from(signal).expect("signals are positive");
    ACTIONS[place].store(Box::leak(Box::new(action)), Ordering::SeqCst);
    let handler: extern "C" fn(c_int) = caught;
    // SAFETY: the handler only makes async-signal-safe calls on memory that lives for ever.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

extern "C" fn caught(signal: c_int) {
    let Ok(place) = usize::try_from(signal) else { return };
    // SAFETY: what is in the table was leaked before the handler was installed.
    match unsafe { ACTIONS[place].load(Ordering::SeqCst).as_ref() } {
        None => {}
        Some(Action::Say(line)) => put(1, line),
        Some(Action::Exit(after, code)) => {
            sleep(*after);
            exit(*code);
        }
        // SAFETY: a string that lives for ever; open(2) is async-signal-safe.
        Some(Action::Touch(file)) => unsafe {
            libc::close(libc::open(file.as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600));
        },
        Some(Action::LastWords(after, line)) => {
            sleep(*after);
            put(1, line);
            exit(0);
        }
    }
}

fn ignore(signal: c_int) {
    // SAFETY: SIG_IGN is no function that could do harm.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn raise(signal: c_int) {
    // SAFETY: no memory is involved.
    unsafe { libc::raise(signal) };
}

/// Without destructors and exit handlers: the child of a fork must not run its parent's.
fn exit(code: c_int) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// Goes on sleeping after a signal.
fn sleep(duration: Duration) {
    let seconds = libc::time_t::try_from(duration.as_secs()).expect("not so long");
    let mut left = libc::timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() };
    loop {
        let wanted = left;
        // SAFETY: both point to live values; nanosleep is async-signal-safe.
        if unsafe { libc::nanosleep(&raw const wanted, &raw mut left) } == 0 {
            return;
        }
    }
}

/// write(2) until everything is out; without a lock, so that a handler may use it. A closed pipe ends it.
fn put(fd: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the buffer is alive and as long as we say.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn skip_to_end<'a>(words: &mut impl Iterator<Item = &'a str>) {
    let mut open = 1;
    for word in words {
        match word {
            "fork" => open += 1,
            "end" => open -= 1,
            _ => {}
        }
        if open == 0 {
            return;
        }
    }
}

fn signal(name: &str) -> c_int {
    name.parse::<Signal>().unwrap_or_else(|error| panic!("{error}")).number()
}

fn duration(text: &str) -> Duration {
    parse_duration(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex is ASCII");
            u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("`{pair}` is not hex"))
        })
        .collect()
}
