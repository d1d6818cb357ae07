//! In a machine of its own (qemu), whose kernel gives us what the one that runs the tests may not: cgroups of version 2 with all
//! their controllers. `.ci/install-vm` makes everything ready, and is to be run again when the sources have changed.

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
    let initrd = Scratch(std::env::temp_dir().join(format!("supervise-vm-{}.cpio", std::process::id())));
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
