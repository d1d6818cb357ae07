//! What a child finds when it begins to run, and what is said when it cannot.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Directory, Setup, Stdout, Supervise};

fn executable(directory: &Directory, name: &str, text: &str) {
    fs::write(directory.app(name), text).expect("the directory is ours");
    fs::set_permissions(directory.app(name), Permissions::from_mode(0o755)).expect("it is ours");
}

/// Whether a signal is in a set of /proc/PID/status.
fn has(set: &str, signal: i32) -> bool {
    let bits = u64::from_str_radix(set, 16).expect("sets are hex");
    bits >> (signal - 1) & 1 == 1
}

#[test]
fn a_child_leads_its_own_group_in_its_own_directory_and_reads_nothing() {
    let mut run = Supervise::with("web: chaos report read-stdin sleep 1h\n").start();
    let report = run.report("web.1");
    assert_eq!(report["pgid"], report["pid"]);
    assert_eq!(report["pid"], run.event("started", "web.1").pid().to_string());
    assert_eq!(report["stdin"], "/dev/null");
    assert_eq!(report["cwd"], run.directory().app("").to_string_lossy().trim_end_matches('/'));
    assert_eq!(report["pdeathsig"], libc::SIGTERM.to_string());
    run.line("web.1", "read 0 bytes");
    run.is_stopped();
}

#[test]
fn a_child_reads_nothing_even_where_we_have_a_terminal() {
    let mut run = Supervise::with("web: chaos report sleep 1h\n").stdout(Stdout::PipeBesideTerminal).start();
    assert_eq!(run.report("web.1")["stdin"], "/dev/null");
    run.is_stopped();
}

#[test]
fn a_child_runs_where_its_procfile_is_or_where_root_says() {
    let project = Supervise::with("web: chaos report sleep 1h\n");
    let procfile = project.directory().app("Procfile");
    let app = project.directory().app("");
    let top = project.directory().top().to_path_buf();

    let elsewhere = project.clone().under(["env", "-C", "/"]).args(["-f"]).args([&procfile]);
    let mut run = elsewhere.start();
    assert_eq!(run.report("web.1")["cwd"], app.to_string_lossy().trim_end_matches('/'));
    run.is_stopped();

    let mut run = project.args(["-f", "Procfile", "--root"]).args([&top]).start();
    assert_eq!(run.report("web.1")["cwd"], top.to_string_lossy());
    run.is_stopped();
}

#[test]
fn no_descriptor_is_leaked_even_where_we_inherited_some() {
    let mut run = Supervise::with("web: chaos report sleep 1h\nshell: chaos report; chaos sleep 1h\n")
        .args(["web=3"])
        .setup(Setup::Open(3))
        .setup(Setup::Open(9))
        .setup(Setup::Open(60))
        .start();
    for process in ["web.1", "web.2", "web.3", "shell.1"] {
        assert_eq!(run.report(process)["fds"], "0,1,2", "{process}");
    }
    run.is_stopped();
}

#[test]
fn fault_42_the_mask_and_dispositions_are_those_we_were_started_with() {
    let mut run = Supervise::with("web: chaos report sleep 1h\n").start();
    let plain = run.report("web.1");
    assert_eq!(plain["SigBlk"], "0000000000000000");
    // The C library's own two, 32 and 33, are ignored or not by whoever started the tests.
    let ignored: Vec<i32> =
        (1..=64).filter(|signal| ![32, 33].contains(signal) && has(&plain["SigIgn"], *signal)).collect();
    assert!(ignored.is_empty(), "SIGPIPE (13) above all must not stay ignored: {ignored:?}");
    run.is_stopped();

    let mut run = Supervise::with("web: chaos report sleep 1h\n")
        .setup(Setup::Block(libc::SIGUSR1))
        .setup(Setup::Ignore(libc::SIGUSR2))
        .setup(Setup::Ignore(libc::SIGPIPE))
        .setup(Setup::Ignore(libc::SIGHUP))
        .setup(Setup::Ignore(libc::SIGCHLD))
        .start();
    let special = run.report("web.1");
    assert!(has(&special["SigBlk"], libc::SIGUSR1), "{special:?}");
    assert!(!has(&special["SigBlk"], libc::SIGTERM), "{special:?}");
    for ignored in [libc::SIGUSR2, libc::SIGPIPE, libc::SIGHUP, libc::SIGCHLD] {
        assert!(has(&special["SigIgn"], ignored), "{ignored}: {special:?}");
    }
    run.is_stopped();
}

#[test]
fn limits_and_umask_are_those_we_were_started_with() {
    let mut run = Supervise::with("web: chaos report sleep 1h\n")
        .setup(Setup::Umask(0o027))
        .setup(Setup::Nofile(300, 400))
        .start();
    let report = run.report("web.1");
    assert_eq!(report["umask"], "027");
    assert_eq!(report["nofile"], "300:400");
    run.is_stopped();
}

#[test]
fn a_limit_of_the_spec_is_the_limit_of_the_child() {
    let mut run = Supervise::with("web: chaos report sleep 1h\n")
        .spec("formation:\n  web: { limits: { nofile: 123 } }\n")
        .start();
    assert_eq!(run.report("web.1")["nofile"], "123:123");
    run.is_stopped();
}

#[test]
fn no_idle_shell_stands_between_us_and_a_simple_command() {
    let mut run = Supervise::with(
        "direct: chaos report sleep 1h\n\
         exec: chaos report say \"$PS\" sleep 1h\n\
         shell: chaos report; chaos sleep 1h\n",
    )
    .start();
    let pid = run.pid().to_string();
    for process in ["direct.1", "exec.1"] {
        let report = run.report(process);
        assert_eq!(report["ppid"], pid, "{process}");
        assert_eq!(report["parent"], "supervise", "{process}");
    }
    run.line("exec.1", "exec.1");
    // The control: a command that needs its shell has it between us.
    assert_eq!(run.report("shell.1")["ppid"], run.event("started", "shell.1").pid().to_string());
    run.is_stopped();
}

#[test]
fn the_command_text_is_never_edited() {
    let mut run = Supervise::with(
        "a: echo $PORTAL '$PORT' \"a #b\" # a comment of the shell\n\
         b: FOO=1 sh -c 'echo foo=$FOO'\n\
         c: cd / && pwd\n\
         d: echo one; echo two | cat\n\
         e: echo a%b c:d,e=f @g\n\
         f: echo \"$QUOTES\"\n",
    )
    .file(".env", "QUOTES='a$b\"c'\n")
    .start();
    run.line("a.1", "$PORT a #b");
    run.line("b.1", "foo=1");
    run.line("c.1", "/");
    run.line("d.1", "two");
    run.line("e.1", "a%b c:d,e=f @g");
    run.line("f.1", "a$b\"c");
    run.ends_with(0);
}

#[test]
fn fault_72_odd_values_arrive_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"100%=a=b \xff\xfe$HOME\tq\"'");
    let mut run = Supervise::with("web: chaos env ODD sleep 1h\n").format("raw").env("ODD", odd).start();
    run.wait_for("the value, byte for byte", |seen| {
        let expected = [b"ODD=".as_slice(), odd.as_bytes()].concat();
        seen.out.contains(&expected).then_some(())
    });
    run.is_stopped();
}

#[test]
fn fault_23_a_program_that_is_not_there_ends_with_127_and_its_name() {
    let mut run = Supervise::with("web: no-such-program-anywhere --port 1\n").start();
    let seen = run.ends_with(127);
    let not_started = &seen.events("not_started", "web.1")[0];
    assert!(not_started.message().contains("not found: `no-such-program-anywhere`"), "{seen}");
    assert_eq!(seen.events("not_started", "").len(), 1, "a first start that cannot work is final: {seen}");
    assert_eq!(seen.events("failed", "web.1")[0].json["reason"], "never_ran", "{seen}");
}

#[test]
fn fault_24_a_file_that_cannot_be_executed_ends_with_126_and_its_name() {
    for (name, mode) in [("plain-file", 0o644), ("a-directory", 0o755)] {
        let project = Supervise::with(format!("web: ./{name}\n"));
        let path = project.directory().app(name);
        if name == "a-directory" {
            fs::create_dir(&path).expect("the directory is ours");
        } else {
            fs::write(&path, "text\n").expect("the directory is ours");
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        let seen = project.start().ends_with(126);
        let message = seen.events("not_started", "web.1")[0].message().to_owned();
        assert!(message.contains(name), "{message}");
        assert_eq!(seen.events("failed", "web.1")[0].json["reason"], "never_ran", "{seen}");
    }
}

#[test]
fn fault_24_a_script_whose_interpreter_is_missing_is_said_so() {
    let project = Supervise::with("web: ./script\n");
    executable(project.directory(), "script", "#!/no/such/interpreter\n");
    let mut run = project.start();
    let notice = run.event("not_started", "web.1");
    assert!(notice.message().contains("./script"), "{}", notice.message());
    let (status, _) = run.wait_for_exit();
    assert!(matches!(status.code(), Some(126 | 127)), "{status}\n{}", run.so_far());
}

#[test]
fn fault_24_a_script_without_a_first_line_is_run_by_the_shell() {
    let project = Supervise::with("web: ./script one two\n").args(["--restart", "never"]);
    executable(project.directory(), "script", "echo from the script: $1 $2\n");
    let mut run = project.start();
    run.line("web.1", "from the script: one two");
    run.ends_with(0);
}

#[test]
fn fault_25_a_directory_that_went_missing_is_named_as_the_stage_that_failed() {
    let project =
        Supervise::with("web: chaos rmdir ../root exit 3\n").args(["-f", "Procfile", "--root", "../root"]);
    fs::create_dir(project.directory().top().join("root")).expect("the directory is ours");
    let mut run = project.start();
    run.event("exited", "web.1");
    let notice = run.event("not_started", "web.1");
    assert!(notice.message().contains("directory"), "{}", notice.message());
    assert!(notice.message().contains("root"), "{}", notice.message());
    run.is_stopped();
}

#[test]
fn an_image_without_a_shell_is_said_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may hide /bin/sh in a mount namespace");
        return;
    }
    // In a namespace of its own /usr/bin (which /bin is a link to) is empty.
    let hide = "mount -t tmpfs none /usr/bin && if [ -L /bin ]; then :; else mount -t tmpfs none /bin; fi; exec \"$@\"";
    let mut run = Supervise::with("web: echo \"$HOME\"; true\n")
        .under(["unshare", "--mount", "sh", "-c", hide, "sh"])
        .start();
    let seen = run.ends_with(127);
    assert!(seen.events("not_started", "web.1")[0].message().contains("/bin/sh"), "{seen}");
}

#[test]
fn a_program_is_found_in_the_childs_own_path() {
    let project = Supervise::with("web: only-here\n").args(["--restart", "never"]);
    let elsewhere = project.directory().app("elsewhere");
    fs::create_dir(&elsewhere).expect("the directory is ours");
    executable(project.directory(), "elsewhere/only-here", "#!/bin/sh\necho found\n");
    let path = format!("{}:/usr/bin:/bin", elsewhere.display());
    let mut run = project.spec(&format!("formation:\n  web: {{ env: {{ PATH: \"{path}\" }} }}\n")).start();
    run.line("web.1", "found");
    run.ends_with(0);
}

/// As a user whom nobody else is, who may have so many threads: the limit counts all of a user, and root has none. `None`
/// where we are not root.
fn with_threads(project: Supervise, count: u32) -> Option<Supervise> {
    static USERS: AtomicU32 = AtomicU32::new(0);
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may become a user with a limit of its own");
        return None;
    }
    let user = 100_000 + std::process::id() * 8 + USERS.fetch_add(1, Ordering::Relaxed);
    let (user, limit) = (format!("--reuid={user}"), format!("--nproc={count}:{count}"));
    // The way to the program may lead through directories of root's.
    let capabilities = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
    let under = ["setpriv", &user, "--clear-groups", capabilities[0], capabilities[1], "prlimit", &limit];
    Some(project.under(under))
}

#[test]
fn fault_21_without_a_thread_to_look_up_a_name_a_service_is_asked_again_and_all_others_go_on() {
    // Ours are three, and the fourth is that of `web`.
    let project = Supervise::with("web: chaos say up sleep 1h\njob: chaos sleep 1h\n")
        .spec("formation:\n  job: { needs: [URL], env: { URL: 'tcp://localhost:1' } }\n");
    let Some(project) = with_threads(project, 4) else { return };
    let mut run = project.start();
    run.line("web.1", "up");
    let awaited = run.event("waiting", "");
    assert!(awaited.message().contains("no thread is to be had to ask it"), "{}", awaited.message());
    run.is_stopped();
}

#[test]
fn fault_21_without_a_thread_for_clients_that_is_said_and_the_formation_goes_on() {
    let Some(project) = with_threads(Supervise::with("web: chaos say up sleep 1h\n"), 3) else { return };
    let mut run = project.start();
    run.line("web.1", "up");
    let notice = run.event("no_control", "");
    assert!(notice.message().contains("temporarily unavailable"), "{}", notice.message());
    run.is_stopped();
}

#[test]
fn fault_21_a_start_for_want_of_processes_is_tried_again_and_is_no_failure_of_the_child() {
    let project = Supervise::with("web: chaos sleep 1h\n")
        .spec("defaults:\n  backoff: { give_up_after: 1 }\n")
        .args(["web=40"]);
    let Some(project) = with_threads(project, 20) else { return };
    let mut run = project.start();
    let notice = run.event("not_started", "");
    assert!(notice.number("delay_ms") >= 1000, "{}", notice.json);
    assert!(notice.message().contains("no new process"), "{}", notice.message());
    run.event("started", "web.1");
    let seen = run.is_stopped();
    assert!(seen.events("failed", "").is_empty(), "{seen}");
}

#[test]
fn fault_20_a_start_for_want_of_descriptors_is_tried_again_and_is_no_failure_of_the_child() {
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .spec("defaults:\n  backoff: { give_up_after: 1 }\n")
        .args(["web=40"])
        .setup(Setup::Nofile(40, 40))
        .start();
    let notice = run.event("not_started", "");
    assert!(notice.number("delay_ms") >= 1000, "{}", notice.json);
    run.event("started", "web.1");
    let seen = run.is_stopped();
    assert!(seen.events("failed", "").is_empty(), "{seen}");
}

#[test]
fn fault_17_closed_standard_descriptors_are_not_reused() {
    for closed in [[0].as_slice(), &[1], &[2], &[0, 1, 2]] {
        let mut supervise =
            Supervise::with("web: chaos report touch reported exit 7\n").args(["--restart", "never"]);
        for fd in closed {
            supervise = supervise.setup(Setup::Close(*fd));
        }
        let mut run = supervise.start();
        let seen = run.ends_with(7);
        assert!(run.directory().app("reported").exists(), "{closed:?}");
        if !closed.contains(&1) {
            assert!(seen.said("web.1").iter().any(|line| line == "fds=0,1,2"), "{closed:?}: {seen}");
            assert!(seen.said("web.1").iter().any(|line| line == "stdin=/dev/null"), "{closed:?}: {seen}");
        }
    }
}
