//! Under this machine's own systemd, with the unit of `examples/systemd`: what `systemctl` says and does.
//!
//! Each story boots a machine of its own (`boot`). Where that cannot be, it says so and passes, unless
//! `SUPERVISE_TESTS_MUST_RUN` names `systemd`.

mod machine;

use std::fs;
use std::time::{Duration, Instant};

use machine::App;

/// Says what it is told, and ends at once when it is asked to.
const WEB: &str = "web: exec sleep 1000\n";

#[test]
fn systemctl_start_returns_when_everything_is_ready() {
    // Longer than systemd waits by itself: the probe's patience is asked for.
    let spec = "formation: { web: { health: { startup: { exec: test -e ready, period: 1s, failure_threshold: 60 } } } }";
    let app = App::new(WEB, spec).unit("timeout", "[Service]\nTimeoutStartSec=1s\nRestart=no\n");
    let Some(machine) = app.boot() else { return };
    let mut start = machine.systemctl_meanwhile(&["start"]);
    machine.becomes("StatusText", |status| status == "starting: web 0/1 ready");
    assert_eq!(machine.property("ActiveState"), "activating");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert!(start.try_wait().expect("it is our child").is_none(), "{machine}");
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::write(machine.app("ready"), "").expect("the app's directory is ours");
    assert!(start.wait().expect("it is our child").success(), "{machine}");
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("StatusText"), "web 1/1 ready");
    let status = machine.systemctl(&["status", "--no-pager"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("Status: \"web 1/1 ready\""), "{status}");
}

#[test]
fn a_formation_that_never_comes_up_is_not_waited_for_for_ever() {
    let app = App::new("web: sleep 0.1; exit 3\n", "defaults: { backoff: { max: 500ms } }");
    let app = app.unit("timeout", "[Service]\nTimeoutStartSec=1s\nRestart=no\n");
    let Some(machine) = app.boot() else { return };
    let begun = Instant::now();
    let start = machine.systemctl(&["start"]);
    assert!(!start.status.success(), "{machine}");
    assert_eq!(machine.property("Result"), "timeout", "{machine}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{machine}");
}

#[test]
fn systemctl_reload_reads_the_files_again_and_fails_where_they_are_wrong() {
    let Some(machine) = App::new(WEB, "").boot() else { return };
    machine.systemctl_well(&["start"]);
    let procfile = machine.app("Procfile");
    fs::write(&procfile, format!("{WEB}worker: exec sleep 1000\n")).expect("the app's directory is ours");
    machine.systemctl_well(&["reload"]);
    machine.becomes("StatusText", |status| status == "web 1/1 ready, worker 1/1");
    fs::write(&procfile, "not a Procfile\n").expect("the app's directory is ours");
    assert!(!machine.systemctl(&["reload"]).status.success(), "{machine}");
    assert_eq!(machine.property("StatusText"), "web 1/1 ready, worker 1/1");
    // By its signal, too.
    fs::write(&procfile, WEB).expect("the app's directory is ours");
    machine.systemctl_well(&["kill", "--kill-whom", "main", "--signal", "HUP"]);
    machine.becomes("StatusText", |status| status == "web 1/1 ready");
    assert_eq!(machine.property("ActiveState"), "active");
    machine.systemctl_well(&["stop"]);
    assert_eq!(machine.property("Result"), "success", "{machine}");
}

/// Takes four seconds to end, which its type allows.
const SLOW: &str =
    "web: trap 'sleep 4; echo ended in its own time; exit 0' TERM; while :; do sleep 0.1; done\n";

#[test]
fn systemctl_stop_waits_for_a_drain_longer_than_it_would_by_itself() {
    let app = App::new(SLOW, "defaults: { drain: 40s }").unit("timeout", "[Service]\nTimeoutStopSec=1s\n");
    let Some(machine) = app.boot() else { return };
    machine.systemctl_well(&["start"]);
    let mut stop = machine.systemctl_meanwhile(&["stop"]);
    machine.becomes("StatusText", |status| status == "draining: web 1, at most 40s");
    assert!(stop.wait().expect("it is our child").success(), "{machine}");
    assert_eq!(machine.property("Result"), "success", "{machine}");
    assert_eq!(machine.property("ActiveState"), "inactive", "{machine}");
    assert!(machine.log().contains("ended in its own time"), "{machine}");
    assert!(!machine.file("/sys/fs/cgroup/system.slice/myapp.service").exists(), "{machine}");
}

#[test]
fn without_type_notify_the_same_drain_is_cut_short() {
    let app = App::new(SLOW, "defaults: { drain: 40s }");
    let app = app.unit("timeout", "[Service]\nType=exec\nWatchdogSec=0\nTimeoutStopSec=1s\n");
    let Some(machine) = app.boot() else { return };
    machine.systemctl_well(&["start"]);
    let began = Instant::now();
    while !machine.log().contains("web.1 started") {
        assert!(began.elapsed() < Duration::from_secs(60), "{machine}");
        std::thread::sleep(Duration::from_millis(20));
    }
    machine.systemctl(&["stop"]);
    assert_eq!(machine.property("Result"), "timeout", "{machine}");
    assert!(!machine.log().contains("ended in its own time"), "{machine}");
}

#[test]
fn a_supervisor_that_hangs_is_started_again_by_the_watchdog() {
    let app = App::new(WEB, "").unit("watchdog", "[Service]\nWatchdogSec=2s\n");
    let Some(machine) = app.boot() else { return };
    machine.systemctl_well(&["start"]);
    let main = machine.property("MainPID");
    // Longer than the watchdog: it is fed.
    let fed = Instant::now();
    while fed.elapsed() < Duration::from_secs(3) {
        assert_eq!(machine.property("NRestarts"), "0", "{machine}");
        std::thread::sleep(Duration::from_millis(100));
    }
    machine.systemctl_well(&["kill", "--kill-whom", "main", "--signal", "STOP"]);
    machine.becomes("NRestarts", |restarts| restarts == "1");
    machine.becomes("ActiveState", |state| state == "active");
    assert_ne!(machine.property("MainPID"), main, "{machine}");
    machine.becomes("StatusText", |status| status == "web 1/1 ready");
}

#[test]
fn the_failure_of_an_essential_type_is_the_units_failure_with_its_code() {
    let app = App::new(
        "web: sleep 1000\njob: until test -e fail; do sleep 0.1; done; exit 7\n",
        "formation: { job: { restart: never } }",
    );
    let Some(machine) = app.unit("restart", "[Service]\nRestart=no\n").boot() else { return };
    machine.systemctl_well(&["start"]);
    fs::write(machine.app("fail"), "").expect("the app's directory is ours");
    machine.becomes("ActiveState", |state| state == "failed");
    assert_eq!(machine.property("Result"), "exit-code", "{machine}");
    assert_eq!(machine.property("ExecMainStatus"), "7", "{machine}");
    assert_eq!(machine.property("StatusText"), "ended with code 7: job.1", "{machine}");
}

#[test]
fn the_units_cgroup_is_ours_and_its_own_variables_reach_nobody() {
    let procfile = "web: env > seen; exec sleep 1000\n";
    let Some(machine) = App::new(procfile, "").boot() else { return };
    machine.systemctl_well(&["start"]);
    let cgroup = machine.file("/sys/fs/cgroup/system.slice/myapp.service");
    assert_eq!(delegated(&cgroup), Some(b'1'), "{machine}");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&cgroup).expect("it is there"));
    assert_eq!(owner, 4242);
    let seen = fs::read_to_string(machine.app("seen")).expect("it was written");
    assert!(seen.contains("INVOCATION_ID="), "{seen}");
    assert!(seen.contains("NOTIFY_SOCKET=@supervise/"), "{seen}");
    assert!(!seen.contains("WATCHDOG_") && !seen.contains("/run/systemd/notify"), "{seen}");
}

#[test]
fn the_journal_has_every_line_and_no_child_believes_that_it_writes_there_itself() {
    let app = App::new("web: env > seen; echo hello; exec sleep 1000\n", "");
    let app = app.unit("output", "[Service]\nStandardOutput=journal\n");
    let Some(machine) = app.boot() else { return };
    let journal = machine.inside(&["systemctl", "start", "systemd-journald.service"]);
    assert!(journal.status.success(), "{journal:?}\n{machine}");
    machine.systemctl_well(&["start"]);
    let seen = fs::read_to_string(machine.app("seen")).expect("it was written");
    assert!(!seen.contains("JOURNAL_STREAM"), "{seen}");
    // We had one.
    let main = machine.property("MainPID");
    let ours = fs::read(machine.file(&format!("/proc/{main}/environ"))).expect("it runs");
    assert!(String::from_utf8_lossy(&ours).contains("JOURNAL_STREAM="));
    machine.systemctl_well(&["stop"]);
    let synced = machine.inside(&["journalctl", "--sync"]);
    assert!(synced.status.success(), "{synced:?}");
    let lines = machine.inside(&["journalctl", "--identifier", "myapp", "--output", "cat"]);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.lines().any(|line| line == "web.1     | hello"), "{lines}\n{machine}");
    assert!(lines.lines().any(|line| line == "supervise | ending with code 0"), "{lines}\n{machine}");
}

/// What `Delegate=yes` writes at a cgroup (<https://systemd.io/CGROUP_DELEGATION>).
fn delegated(cgroup: &std::path::Path) -> Option<u8> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(cgroup.as_os_str().as_bytes()).expect("no NUL is in it");
    [c"trusted.delegate", c"user.delegate"].into_iter().find_map(|name| {
        let mut value = [0; 8];
        // SAFETY: both names end with NUL, and the value has that much room.
        let length =
            unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        (length > 0).then_some(value[0])
    })
}
