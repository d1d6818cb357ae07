//! Thousands of instances of one type on one machine: what each of them costs, and whether that grows with their number.
//!
//! `cargo bench --bench scale [-- --counts 1000,5000,10000]`
//!
//! Each child is a static program that waits. It prints a table of Markdown and asserts nothing about time; it fails only
//! where something did not run. Each instance takes two descriptors: with less than that of `ulimit -Hn` it wants to be root.

#[path = "tools/ask.rs"]
mod ask;
#[path = "tools/compile.rs"]
mod compile;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use ask::ask;
use clap::Parser;
use compile::compile;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Parser)]
struct Arguments {
    /// How many instances, one measure after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000])]
    counts: Vec<u32>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// Nothing takes as long.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --bench scale`");
        return ExitCode::SUCCESS;
    }
    let mut counts = Arguments::parse().counts.into_iter().enumerate();
    match counts.try_for_each(|(nth, count)| measure(count, nth == 0)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(count: u32, first: bool) -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = |count: u32| u64::from(count) * 2 + 200;
    let mut count = count;
    if most < needed(count) && setrlimit(Resource::RLIMIT_NOFILE, needed(count), needed(count)).is_err() {
        let fits = u32::try_from((most - 200) / 2).map_err(io::Error::other)?;
        eprintln!(
            "{fits} instead of {count}: no more than {most} descriptors can be had here (`ulimit -Hn`)"
        );
        count = fits;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scale-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700))?;
    fs::write(
        place.join("Procfile"),
        format!("web: {}\n", compile("waits.c", &["-static"], &place)?.display()),
    )?;
    // Without a surge: places are made first, a twentieth of them at a time, and whoever has begun to run counts.
    let rollout = format!("{{ max_surge: 0, max_unavailable: {}, min_ready: 0s }}", count / 20);
    let spec = format!("formation: {{ web: {{ port: false, rollout: {rollout} }} }}\n");
    fs::write(place.join("supervise.yml"), spec)?;
    let mut supervise = Command::new(env!("CARGO_BIN_EXE_supervise"));
    supervise.args(["start", "web=0", "--socket", "control"]).current_dir(&place);
    let mut supervisor = supervise.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut output) = supervisor.stdout.take() {
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
    }
    let mut run = Run { supervisor, place, count };
    let figures = run.measure();
    drop(run);
    let figures = figures?;
    if first {
        println!(
            "| instances | start | each | rolling restart | each | `ps`, all idle: p50, most | while they start: p99 | memory, each | stop | each |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
    }
    println!("| {count} | {figures} |");
    Ok(())
}

struct Run {
    supervisor: Child,
    place: PathBuf,
    count: u32,
}

impl Run {
    fn measure(&mut self) -> io::Result<String> {
        let connection = self.connect()?;
        let empty = self.resident_kib()?;

        let begin = Instant::now();
        ask(&connection, "POST", "/v1/formation", &format!("{{\"web\":{}}}", self.count))?;
        let mut starting = Vec::new();
        // Who is pending has no process yet.
        self.until(&connection, &mut starting, |answer, count| {
            answer.matches("\"name\":\"web.").count() == count && !answer.contains("\"state\":\"pending\"")
        })?;
        let start = begin.elapsed();

        // Whoever has run a second is no longer starting.
        self.until(&connection, &mut Vec::new(), |answer, _| !answer.contains("\"state\":\"starting\""))?;
        let mut idle = Vec::new();
        for _ in 0..20 {
            let asked = Instant::now();
            ask(&connection, "GET", "/v1/processes", "")?;
            idle.push(asked.elapsed());
        }
        idle.sort_unstable();
        let each_kib = (self.resident_kib()? - empty) / f64::from(self.count);

        let begin = Instant::now();
        ask(&connection, "POST", "/v1/restart?wait=true", r#"{"rolling":true}"#)?;
        let rolling = begin.elapsed();

        let begin = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.supervisor.id()).map_err(io::Error::other)?), Signal::SIGTERM)?;
        let status = self.supervisor.wait()?;
        let stop = begin.elapsed();
        if !status.success() {
            return Err(io::Error::other(format!("the supervisor ended with {status}")));
        }
        starting.sort_unstable();
        let each = |whole: Duration| {
            format!("{:.2} s | {:.2} ms", whole.as_secs_f64(), millis(whole) / f64::from(self.count))
        };
        Ok(format!(
            "{} | {} | {:.1}, {:.1} ms | {:.1} ms | {each_kib:.1} KiB | {}",
            each(start),
            each(rolling),
            millis(idle[idle.len() / 2]),
            millis(idle[idle.len() - 1]),
            millis(starting[(starting.len() - 1) * 99 / 100]),
            each(stop)
        ))
    }

    /// Looks until it is so; how long each look took.
    fn until(
        &self,
        connection: &UnixStream,
        looks: &mut Vec<Duration>,
        is_so: impl Fn(&str, usize) -> bool,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let count = usize::try_from(self.count).map_err(io::Error::other)?;
        loop {
            let asked = Instant::now();
            let answer = ask(connection, "GET", "/v1/processes", "")?;
            looks.push(asked.elapsed());
            if is_so(&answer, count) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("not within {PATIENCE:?}: {count} instances")));
            }
            sleep(Duration::from_millis(10));
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(self.place.join("control")) {
                Ok(connection) => {
                    connection.set_read_timeout(Some(PATIENCE))?;
                    return Ok(connection);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)),
            }
        }
    }

    fn resident_kib(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.supervisor.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        line.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Ended or not: it is ours to be waited for, and its children end with it.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        // A directory that stays in the target directory harms nobody.
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
