//! In a machine of its own (qemu), whose kernel gives us what the one that runs the tests may not: cgroups of version 2 with all
//! their controllers, and a clock that may be set. `.ci/install-vm` makes everything ready, and is to be run again when the sources have changed.

mod initramfs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use initramfs::Initramfs;

/// What is limited, each in its own way; it ends by itself.
const LIMITED: &str = "hog: chaos eat 200\n\
    master: chaos fork eat 200 end reap say reaped sleep 4s\n\
    crowd: chaos cell pids.max fork sleep 1h end fork sleep 1h end fork sleep 1h end fork sleep 1h end \
    fork sleep 1h end cell pids.current\n\
    slow: chaos cell cpu.max cell memory.max cell cgroup.procs\n";

const LIMITS: &str = "defaults: { essential: false, restart: never }\n\
    formation:\n  hog: { limits: { memory: 64m } }\n  master: { limits: { memory: 48m } }\n  \
    crowd: { limits: { pids: 4 } }\n  slow: { limits: { cpus: 1.5 } }\n";

/// The same without limits of its own.
const UNLIMITED: &str = "hog: chaos eat 200\nmaster: chaos fork eat 200 end reap say reaped sleep 4s\n";

#[test]
fn limits_hold_and_who_was_killed_for_memory_is_said_where_cgroups_are_whole() {
    let Some(serial) = run(&[
        ("delegated", &[("Procfile", LIMITED), ("supervise.yml", LIMITS), ("delegated", "")]),
        ("init", &[("Procfile", LIMITED), ("supervise.yml", LIMITS), ("init", "")]),
        (
            "outer",
            &[
                ("Procfile", UNLIMITED),
                ("supervise.yml", "defaults: { essential: false, restart: never }\n"),
                ("memory.max", "64M"),
            ],
        ),
    ]) else {
        return;
    };
    let scenarios = scenarios(&serial);
    for name in ["delegated", "init"] {
        let seen = &scenarios[name];
        assert!(seen.events("not_confined").is_empty(), "{seen}");
        let hog = seen.the("exited", "hog.1");
        assert!(hog.starts_with("hog.1 was killed by the kernel for memory (limit 64 MiB) after "), "{seen}");
        let lost = "master.1 lost a process: it was killed by the kernel for memory (limit 48 MiB)";
        assert_eq!(seen.the("oom", ""), lost, "{seen}");
        // Nobody's end but that one's told us of it.
        assert!(seen.at("\"event\":\"oom\"") < seen.at("master.1 exited with code 0"), "{seen}");
        assert_eq!(seen.said("crowd.1"), ["pids.max 4", "pids.current 4"], "{seen}");
        let slow = seen.said("slow.1");
        assert_eq!(slow[..2], ["cpu.max 150000 100000", "memory.max max"], "{seen}");
        let alone = slow[2].strip_prefix("cgroup.procs ").is_some_and(|pid| pid.parse::<u32>().is_ok());
        assert!(alone, "{seen}");
        assert!(seen.text.contains(&format!("== {name} left [\"supervise\"]")), "{seen}");
    }
    let seen = &scenarios["outer"];
    let hog = seen.the("exited", "hog.1");
    assert!(hog.starts_with("hog.1 was killed by the kernel for memory (limit 64 MiB) after "), "{seen}");
    let lost = "a process that leads no instance was killed by the kernel for memory (limit 64 MiB)";
    assert_eq!(seen.the("oom", ""), lost, "{seen}");
    assert!(seen.at("\"event\":\"oom\"") < seen.at("master.1 exited with code 0"), "{seen}");
    assert!(seen.text.contains("== outer left []"), "{seen}");
}

/// The clock goes to and fro all the time, also while everybody is asked to end; the boss ends it all, by failing, after nine seconds.
const JUMPING: &str = "jumper: chaos ignore TERM \
    set-clock 3600 sleep 1s set-clock -7200 sleep 1s set-clock 3600 sleep 1s \
    set-clock 3600 sleep 1s set-clock -7200 sleep 1s set-clock 3600 sleep 1s \
    set-clock 3600 sleep 1s set-clock -7200 sleep 1s set-clock 3600 sleep 1s \
    set-clock 3600 sleep 1s set-clock -7200 sleep 1s set-clock 3600 sleep 1s sleep 1h\n\
    web: chaos on TERM sleep-then-exit 1s 0 sleep 1h\n\
    job: chaos exit 1\n\
    boss: chaos sleep 9s length asked exit 3\n";

/// A machine that is emulated takes its time for a probe. Nobody else is forgiven anything.
const EVERY_SECOND: &str = "defaults: { essential: false }\n\
    formation:\n  boss: { essential: true, restart: never }\n  \
    job: { backoff: { first: 1s, max: 1s, reset_after: 1h } }\n  \
    web: { health: { liveness: { exec: chaos crash-until asked 1000 0, \
    period: 1s, timeout: 30s, failure_threshold: 1 } } }\n";

#[test]
fn fault_31_a_clock_that_is_set_to_and_fro_moves_no_timer_and_ends_nobody() {
    let Some(serial) = run(&[("jumping", &[("Procfile", JUMPING), ("supervise.yml", EVERY_SECOND)])]) else {
        return;
    };
    let seen = &scenarios(&serial)["jumping"];
    let times =
        seen.lines.iter().filter_map(|line| line["timestamp"].as_str()?.parse::<jiff::Timestamp>().ok());
    let (first, last) =
        (times.clone().min().expect("there are lines"), times.max().expect("there are lines"));
    let apart = last.as_second() - first.as_second();
    assert!(apart > 3600, "the clock was not set: {apart} s {seen}");
    assert!(seen.events("unwell").is_empty(), "{seen}");
    // Nine seconds and what the machine needs: with another clock none of them would come for an hour, or all at once.
    let once_a_second = 5..=13;
    let births = seen.events("started").iter().filter(|line| line["process"] == "job.1").count();
    assert!(once_a_second.contains(&births), "{births} {seen}");
    let said = seen.said("boss.1");
    let asked = said.first().and_then(|text| text.strip_prefix("asked ")?.parse().ok()).expect("it tells");
    assert!(once_a_second.contains(&asked), "{asked} {seen}");
    // Who is asked to end has two seconds, neither more nor less.
    let killed = seen.the("killed", "");
    assert!(killed.starts_with("jumper.1 "), "{seen}");
    assert!(seen.the("exited", "web.1").starts_with("web.1 exited with code 0 after "), "{seen}");
    let uptime = |process: &str| {
        let exited = seen.events("exited").into_iter().find(|line| line["process"] == process);
        exited.and_then(|line| line["uptime_ms"].as_u64()).expect("it has ended")
    };
    let waited = uptime("jumper.1") - uptime("boss.1");
    assert!((1900..4000).contains(&waited), "{waited} ms {seen}");
}

/// What the machine wrote, from its start until it is off; `None`, and it is said, where there is no machine.
fn run(scenarios: &[(&str, &[(&str, &str)])]) -> Option<String> {
    let ready = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
    let needed = ["vmlinuz", "supervise", "chaos", "init"].map(|name| ready.join(name));
    if let Some(missing) = needed.iter().find(|path| !path.exists()) {
        let must_run = std::env::var("SUPERVISE_TESTS_MUST_RUN").unwrap_or_default();
        let must_run = must_run.split([',', ' ']).any(|which| which == "vm");
        assert!(!must_run, "there is no {}; `.ci/install-vm` makes it", missing.display());
        println!("not run: there is no {}; `.ci/install-vm` makes it", missing.display());
        return None;
    }
    let [kernel, supervise, chaos, init] = needed;
    let mut archive = Initramfs::default();
    archive.program("init", &init);
    archive.directory("bin");
    archive.program("bin/supervise", &supervise);
    archive.program("bin/chaos", &chaos);
    archive.directory("scenarios");
    for (name, files) in scenarios {
        archive.directory(&format!("scenarios/{name}"));
        for (file, text) in *files {
            archive.file(&format!("scenarios/{name}/{file}"), text.as_bytes());
        }
    }
    let initrd = Scratch(std::env::temp_dir().join(format!(
        "supervise-vm-{}-{}.cpio",
        scenarios[0].0,
        std::process::id()
    )));
    archive.write(&initrd.0);
    // Without KVM, which is not everywhere, nor works everywhere it is; `timeout`, lest a machine that hangs outlives us.
    let output = Command::new("timeout")
        .args([
            "-k",
            "5",
            "150",
            "qemu-system-x86_64",
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            "max",
            "-m",
            "512",
        ])
        .args([
            "-smp",
            "2",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .args(["-append", "console=ttyS0 loglevel=0 panic=-1", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(&initrd.0)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(127) => output,
        Ok(_) | Err(_) => {
            println!("not run: there is no qemu-system-x86_64");
            return None;
        }
    };
    let serial = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(serial.contains("== over"), "the machine has not come to its end: {serial}");
    Some(serial)
}

/// A file that is removed with us.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // There may be none.
        drop(std::fs::remove_file(&self.0));
    }
}

/// What was written in one scenario.
struct Seen {
    text: String,
    lines: Vec<Value>,
}

fn scenarios(serial: &str) -> BTreeMap<String, Seen> {
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    let mut name = String::new();
    for line in serial.lines() {
        if let Some(words) = line.strip_prefix("== ") {
            words.split(' ').next().unwrap_or_default().clone_into(&mut name);
        }
        let seen = found.entry(name.clone()).or_insert(Seen { text: String::new(), lines: Vec::new() });
        seen.text.push_str(line);
        seen.text.push('\n');
        seen.lines.extend(serde_json::from_str::<Value>(line));
    }
    found
}

impl Seen {
    fn events(&self, event: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["event"] == event).collect()
    }

    /// The message of the only notice of this kind; about this process, where one is given.
    fn the(&self, event: &str, process: &str) -> String {
        let mut events = self.events(event);
        events.retain(|line| process.is_empty() || line["process"] == process);
        assert_eq!(events.len(), 1, "{event} of {process}: {self}");
        events[0]["message"].as_str().unwrap_or_default().to_owned()
    }

    fn said(&self, process: &str) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| line["process"] == process && line["event"].is_null());
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Where these words are.
    fn at(&self, words: &str) -> usize {
        self.text.find(words).unwrap_or_else(|| panic!("`{words}` was not said: {self}"))
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{}", self.text)
    }
}
