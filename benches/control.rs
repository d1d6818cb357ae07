//! How soon the control socket answers, and whether anything keeps it from that.
//!
//! `cargo bench --bench control [-- --seconds N]`
//!
//! One client asks `GET /v1/processes` a thousand times a second on one connection, each request at its appointed time:
//! what a late answer delays counts too. It prints a table of Markdown and asserts nothing about time; it fails only where
//! something did not run.

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

#[derive(Parser)]
struct Arguments {
    /// How long each measure takes
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// Requests a second.
const RATE: u32 = 1_000;

/// Nothing takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches without it: nothing is to be measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("run it with `cargo bench --bench control`");
        return ExitCode::SUCCESS;
    }
    match measure_all(Arguments::parse().seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(seconds: u32) -> io::Result<()> {
    let writer = compile("writer.c", &[], Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let at = |rate: u32| format!("{} {rate}", writer.display());
    println!(
        "| `ps`, {RATE} a second on one connection | p50 | p99 | worst | bound |\n|---|---|---|---|---|"
    );
    let paced = |run: Run| Latencies::of(&run.connect()?, seconds * RATE, Duration::from_secs(1) / RATE);

    let idle = paced(Run::begin("sleep 1h", 100, Reader::Reads)?)?;
    idle.print("100 idle children", "");
    let written = paced(Run::begin(&at(100), 100, Reader::Reads)?)?;
    let ratio = written.at(99).as_secs_f64() / idle.at(99).as_secs_f64();
    written.print("100 children that write 100 lines a second each", &format!("p99 {ratio:.2} x idle <= 3"));
    let flood = paced(Run::begin(&at(0), 8, Reader::Reads)?)?;
    flood.print("8 children that write as fast as they can", "p99 <= 20 ms");
    let stopped = paced(Run::begin(&at(0), 8, Reader::Stands)?)?;
    stopped.print("the same, and nobody reads", "p99 <= 20 ms");

    let run = Run::begin("sleep 1h", 0, Reader::Reads)?;
    let connection = run.connect()?;
    ask(&connection, "POST", "/v1/formation", r#"{"web":1000}"#)?;
    let mut starting = Latencies(Vec::new());
    while !Latencies::settled(&connection, &mut starting)? {
        if starting.0.iter().sum::<Duration>() > PATIENCE {
            return Err(io::Error::other("1,000 instances did not start"));
        }
    }
    starting.print("while 1,000 instances are being started, one after the other", "p99 <= 20 ms");
    Ok(())
}

/// Whether anybody reads our output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Reads,
    Stands,
}

/// A supervisor with children of one type.
struct Run {
    supervisor: Child,
    directory: PathBuf,
}

impl Run {
    fn begin(command: &str, count: u32, reader: Reader) -> io::Result<Run> {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("control-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        fs::write(directory.join("Procfile"), format!("web: {command}\n"))?;
        let mut supervise = Command::new(env!("CARGO_BIN_EXE_supervise"));
        for (name, _) in std::env::vars_os() {
            if name == "PORT" || name.to_string_lossy().starts_with("SUPERVISE_") {
                supervise.env_remove(name);
            }
        }
        let mut supervisor = supervise
            .args(["start", &format!("web={count}"), "--no-port", "--socket", "control"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        match reader {
            Reader::Reads => {
                if let Some(mut output) = supervisor.stdout.take() {
                    thread::spawn(move || io::copy(&mut output, &mut io::sink()));
                }
            }
            // It stays open until we end.
            Reader::Stands => {}
        }
        let run = Run { supervisor, directory };
        let ready = Instant::now() + PATIENCE;
        let connection = loop {
            match run.connect() {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > ready => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)),
            }
        };
        while !Latencies::settled(&connection, &mut Latencies(Vec::new()))? {
            sleep(Duration::from_millis(5));
        }
        Ok(run)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let connection = UnixStream::connect(self.directory.join("control"))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(connection) = self.connect() {
            // Whoever does not answer is killed next.
            let _ = ask(&connection, "POST", "/v1/shutdown?wait=true", r#"{"drain":"1s"}"#);
        }
        // Ended or not: it is ours to be waited for.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        // A directory that stays in the target directory harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How long answers took, from the moment at which their request was due.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(connection: &UnixStream, count: u32, pace: Duration) -> io::Result<Latencies> {
        let begin = Instant::now();
        let mut latencies = Vec::new();
        for nth in 0..count {
            let due = begin + pace * nth;
            sleep(due.saturating_duration_since(Instant::now()));
            ask(connection, "GET", "/v1/processes", "")?;
            latencies.push(due.elapsed());
        }
        Ok(Latencies(latencies))
    }

    /// Asks once, and whether every slot runs by now.
    fn settled(connection: &UnixStream, latencies: &mut Latencies) -> io::Result<bool> {
        let asked = Instant::now();
        let answer = ask(connection, "GET", "/v1/processes", "")?;
        latencies.0.push(asked.elapsed());
        Ok(!answer.contains(r#""state":"pending""#) && !answer.contains(r#""state":"starting""#))
    }

    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100]
    }

    fn print(&self, what: &str, bound: &str) {
        let millis = |percent| format!("{:.2} ms", self.at(percent).as_secs_f64() * 1e3);
        println!("| {what} | {} | {} | {} | {bound} |", millis(50), millis(99), millis(100));
    }
}
