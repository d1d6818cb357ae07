//! Odd places to run in: sandboxes that refuse system calls, containers without /proc or /dev, with a root that nobody may write,
//! as a user that nobody knows; and under other inits and wrappers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use supervise::api::place::project;

use crate::harness::{
    Call, Caller, Judge, Run, Setup, Supervise, Verdict, can_judge, can_make_pid_namespaces, is_alive, send,
};

/// A sandbox that refuses these calls to the supervisor and its newborn, as container engines do that are older than a call.
fn refusing(calls: &'static [libc::c_long]) -> Judge {
    let rule = |call: &Call| match call.caller {
        Caller::Loop | Caller::Stream | Caller::Newborn => Verdict::Fail(libc::EPERM),
        Caller::Other => Verdict::Go,
    };
    Judge::new(calls, rule)
}

/// Older than one or both of the calls.
const REFUSED: [&[libc::c_long]; 3] = [
    &[libc::SYS_pidfd_open],
    &[libc::SYS_pidfd_send_signal],
    &[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal],
];

#[test]
fn where_processes_cannot_be_had_by_descriptor_escapees_are_stopped_all_the_same() {
    if !can_judge() {
        return;
    }
    for refused in REFUSED {
        let escapee = "fork setsid on TERM say asked on USR1 exit 0 pid escapee sleep 1h end";
        let mut run = Supervise::with(format!("web: chaos {escapee} sleep 1h\n"))
            .args(["-t", "10m"])
            .judged(refusing(refused))
            .start();
        let escapee = run.pid_said("web.1", "escapee");
        run.signal(libc::SIGTERM);
        run.line("web.1", "asked");
        send(escapee, libc::SIGUSR1);
        let seen = run.ends_with(0);
        assert!(seen.events("signal_refused", "").is_empty(), "{seen}");
    }
}

#[test]
fn where_prctl_is_forbidden_processes_run_and_it_is_said() {
    if !can_judge() {
        return;
    }
    let mut run =
        Supervise::with("web: chaos say up sleep 1h\n").judged(refusing(&[libc::SYS_prctl])).start();
    run.line("web.1", "up");
    let seen = run.is_stopped();
    assert_eq!(seen.events("escapees_unseen", "").len(), 1, "{seen}");
}

/// The words before a command that is to run in a mount namespace where this was done first; says where that is not possible.
fn in_mounts(script: &str) -> Option<Vec<String>> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return None;
    }
    let words = |script: &str| ["unshare", "--mount", "sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let try_out = words(&format!("{script} && \"$@\""));
    let possible = Command::new(&try_out[0]).args(&try_out[1..]).arg("true").output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no such mounts here: {possible:?}");
        return None;
    }
    Some(words(&format!("{script} && exec \"$@\"")))
}

#[test]
fn without_proc_the_formation_runs_and_it_is_said_what_is_out_of_sight() {
    let Some(wrapper) = in_mounts("umount -l /proc") else { return };
    let mut run =
        Supervise::with("web: chaos say up sleep 1h\nother: chaos on TERM exit 0 say up sleep 1h\n")
            .under(wrapper)
            .start();
    run.line("web.1", "up");
    run.line("other.1", "up");
    let seen = run.is_stopped();
    let said = seen.events("escapees_unseen", "");
    assert_eq!(said.len(), 1, "{seen}");
    assert!(said[0].message().contains("/proc is not there"), "{seen}");
}

#[test]
fn as_pid_1_with_the_proc_of_another_namespace_nobody_is_taken_for_somebody_else() {
    if !can_make_pid_namespaces() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let line = "chaos fork setsid fork on TERM sleep-then-say 200ms asked say daemon sleep 1h end end";
    let mut run = Supervise::with(format!("web: {line} sleep 1h\n"))
        .args(["-t", "10m"])
        .under(["unshare", "--pid", "--fork", "--kill-child"])
        .start();
    run.line("web.1", "daemon");
    let seen = run.is_stopped();
    assert!(seen.events("escapees_unseen", "")[0].message().contains("another pid namespace"), "{seen}");
    // Not to be seen, and still not taken away without being asked.
    assert!(seen.said("web.1").iter().any(|line| line == "asked"), "{seen}");
}

#[test]
fn after_unshare_without_fork_nothing_is_started_and_it_is_said_why() {
    if !can_make_pid_namespaces() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut run = Supervise::with("web: chaos sleep 1h\n").under(["unshare", "--pid"]).start();
    let seen = run.ends_with(1);
    assert!(seen.err_text().contains("with `unshare --pid` use `--fork`"), "{seen}");
}

#[test]
fn without_dev_null_nothing_is_started_and_it_is_said_what_is_missing() {
    let Some(wrapper) = in_mounts("mount -t tmpfs none /dev") else { return };
    let mut run = Supervise::with("web: chaos sleep 1h\n").under(wrapper).start();
    let seen = run.ends_with(1);
    assert!(seen.err_text().contains("error: `/dev/null` cannot be opened"), "{seen}");
    assert!(seen.err_text().contains("mount a /dev"), "{seen}");
}

/// The calls that read where a link leads.
#[cfg(target_arch = "x86_64")]
const LINKS: &[libc::c_long] = &[libc::SYS_readlink, libc::SYS_readlinkat];
/// Newer processors have only one.
#[cfg(not(target_arch = "x86_64"))]
const LINKS: &[libc::c_long] = &[libc::SYS_readlinkat];

#[test]
fn where_no_link_can_be_read_nothing_is_taken_for_a_namespace_without_init() {
    if !can_judge() {
        return;
    }
    let mut run = Supervise::with("web: chaos say up sleep 1h\n").judged(refusing(LINKS)).start();
    run.line("web.1", "up");
    run.is_stopped();
}

#[test]
fn without_proc_no_descriptor_that_we_were_started_with_is_passed_on() {
    let Some(wrapper) = in_mounts("umount -l /proc") else { return };
    let inheriting = |wrapper: Vec<String>| {
        Supervise::with("web: (: <&9) 2>/dev/null && echo open || echo closed; exec sleep 1h\n")
            .setup(Setup::Open(9))
            .under(wrapper)
    };
    let mut run = inheriting(wrapper.clone()).start();
    run.line("web.1", "closed");
    run.is_stopped();
    if !can_judge() {
        return;
    }
    // Before Linux 5.11 there is nothing but to try each number.
    let mut run = inheriting(wrapper).judged(refusing(&[libc::SYS_close_range])).start();
    run.line("web.1", "closed");
    run.is_stopped();
}

/// A user that /etc/passwd does not have, each time another one.
fn nobody() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    1_000_000 + 1_000 * (std::process::id() % 1_000_000) + COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Becomes that user, with no group and no capability.
fn becoming(uid: u32) -> Vec<String> {
    ["setpriv", &format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--"]
        .map(str::to_owned)
        .to_vec()
}

/// A project in which everybody may look.
fn open_project(procfile: &str) -> Supervise {
    let supervise = Supervise::with(procfile).env("XDG_RUNTIME_DIR", "").env("HOME", "");
    for path in [supervise.directory().top().to_owned(), supervise.directory().app("")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    supervise
}

/// As a container without anything: root, /etc and time zones that nobody can write or that are not there.
const BARE: &str = "mount --bind / / && mount -t tmpfs -o ro none /usr/share/zoneinfo && mount -t tmpfs -o ro none /etc && \
                    mount -o remount,bind,ro /";

fn control_of(run: &Run) -> String {
    run.rest("web.1", "SUPERVISE_CONTROL=")
}

#[test]
fn fault_73_a_root_that_nobody_may_write_and_a_user_that_nobody_knows_are_no_hindrance() {
    let uid = nobody();
    let shm = format!("/dev/shm/supervise-{uid}");
    for (more, place) in [
        (" && mount -t tmpfs -o mode=1777 none /dev/shm", shm.as_str()),
        // As /tmp is there, and the Procfile below it, it is hidden only from the one who looks for a place.
        (" && mount -t tmpfs -o ro none /dev/shm", ""),
    ] {
        let Some(mounts) = in_mounts(&format!("{BARE}{more}")) else { return };
        let wrapper = [mounts, becoming(uid)].concat();
        let mut run = open_project("web: chaos env SUPERVISE_CONTROL say up sleep 1h\n")
            .env("TZ", "Europe/Berlin")
            .under(wrapper)
            .start();
        run.line("web.1", "up");
        if place.is_empty() {
            assert!(run.event("no_control", "").message().contains(&shm), "{}", run.so_far());
        } else {
            assert!(control_of(&run).starts_with(place), "{}", run.so_far());
        }
        run.is_stopped();
    }
}

#[test]
fn fault_73_where_tmp_can_be_written_the_socket_is_there() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let uid = nobody();
    let directory = format!("/tmp/supervise-{uid}");
    let mut run =
        open_project("web: chaos env SUPERVISE_CONTROL say up sleep 1h\n").under(becoming(uid)).start();
    run.line("web.1", "up");
    assert!(control_of(&run).starts_with(&directory), "{}", run.so_far());
    let mode = fs::metadata(&directory).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);

    // As `docker exec` does it: from anywhere, with no Procfile near, and it is the only one of this user.
    let health = |question: &str| {
        let [program, arguments @ ..] = &becoming(uid)[..] else { unreachable!("there is a word") };
        let mut command = Command::new(program);
        command.args(arguments).args([env!("CARGO_BIN_EXE_supervise"), "health", question]);
        // No shell, no PATH, no HOME is needed; setpriv(1) was found by ours.
        command.current_dir("/").env_clear().output().expect("setpriv can be run")
    };
    let output = health("--live");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("supervisor  ok"), "{text}");
    run.is_stopped();
    let output = health("--live");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), text.starts_with("error: no supervisor is running")),
        (Some(1), true),
        "{text}"
    );
    fs::remove_dir_all(directory).expect("it was made for this test");
}

#[test]
fn fault_73_where_nobody_sees_the_processes_of_others_ours_are_still_stopped() {
    if !can_make_pid_namespaces() {
        return;
    }
    let Some(mounts) = in_mounts("true") else { return };
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    let wrapper = [
        mounts,
        ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", hidden, "sh"].map(str::to_owned).to_vec(),
        becoming(nobody()),
    ]
    .concat();
    let line = "chaos fork setsid fork on TERM sleep-then-say 200ms asked say daemon sleep 1h end end";
    let mut run = open_project(&format!("web: {line} sleep 1h\n")).args(["-t", "10m"]).under(wrapper).start();
    run.line("web.1", "daemon");
    let seen = run.is_stopped();
    assert!(seen.said("web.1").iter().any(|line| line == "asked"), "{seen}");
    assert!(seen.events("escapees_unseen", "").is_empty(), "{seen}");
}

/// Whether a program is there; CI installs them all.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: there is no {program}; `.ci/install-inits` installs it");
    }
    there
}

#[test]
fn fault_74_under_another_init_everything_is_the_same() {
    for init in [
        &["tini", "--"][..],
        &["tini", "-s", "-g", "--"],
        &["dumb-init", "--"],
        &["dumb-init", "--single-child", "--"],
        &["catatonit", "--"],
    ] {
        if !is_there(init[0]) {
            continue;
        }
        let line =
            "chaos fork setsid fork on TERM sleep-then-say 100ms daemon-asked pid daemon sleep 1h end end";
        let mut run = Supervise::with(format!("web: {line} on USR1 say usr1 pid up sleep 1h\n"))
            .args(["-t", "10m"])
            .under(init)
            .start();
        let daemon = run.pid_said("web.1", "daemon");
        run.pid_said("web.1", "up");
        run.signal_outermost(libc::SIGUSR1);
        run.line("web.1", "usr1");
        run.signal_outermost(libc::SIGTERM);
        let seen = run.ends_with(0);
        assert!(seen.said("web.1").iter().any(|line| line == "daemon-asked"), "{init:?}: {seen}");
        assert!(!is_alive(daemon), "{init:?}");
        let mut run = Supervise::with("job: exit 42\n").args(["--restart", "never"]).under(init).start();
        run.ends_with(42);
    }
}

#[test]
fn fault_74_under_a_wrapper_everything_is_the_same() {
    let project_of = |supervise: &Supervise| {
        project(&supervise.directory().app("Procfile").canonicalize().expect("it is there"))
    };
    for wrapper in [
        &["sh", "-c", "\"$@\"; exit $?", "sh"][..],
        &["su", "-s", "/bin/sh", "-c", "\"$@\"", "--", "root", "sh"],
        &["setpriv", "--no-new-privs", "--"],
        &["nohup"],
        &["setsid", "--wait"],
        &["env", "-i"],
    ] {
        if wrapper[0] == "su" && !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root needs no password");
            continue;
        }
        let supervise = Supervise::with("web: sleep 1000\njob: sh -c 'exit 0'\n").under(wrapper);
        let socket = supervise.directory().top().join("control.sock");
        let mut run = supervise.clone().args(["--socket".as_ref(), socket.as_os_str()]).start();
        run.event("started", "web.1");
        run.event("completed", "job.1");
        assert!(socket.exists());
        run.is_stopped();
        let mut run = Supervise::with("job: exit 42\n")
            .args(["--restart", "never", "--socket", "none"])
            .under(wrapper)
            .start();
        run.ends_with(42);
        // Without a runtime directory the record of runs is elsewhere; nothing of a test is to stay there.
        let record = format!("/tmp/supervise-{}/{}.run", nix::unistd::geteuid(), project_of(&supervise));
        let _ = fs::remove_file(record);
    }
}
