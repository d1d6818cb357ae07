//! The init of the machine in which tests/vm runs: mounts what a machine has, runs each scenario in a cgroup of its own, says
//! what it left, and turns the machine off.

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const CGROUPS: &str = "/sys/fs/cgroup";

fn main() {
    mount("proc", "/proc");
    mount("sysfs", "/sys");
    mount("cgroup2", CGROUPS);
    mount("devtmpfs", "/dev");
    mount("tmpfs", "/tmp");
    fs::write(format!("{CGROUPS}/cgroup.subtree_control"), "+memory +cpu +pids")
        .expect("the root may give all");
    let mut names: Vec<_> = fs::read_dir("/scenarios")
        .expect("there are some")
        .map(|entry| entry.expect("it is readable").file_name().into_string().expect("it is ASCII"))
        .collect();
    names.sort();
    for name in names {
        println!("== {name}");
        run(&name);
    }
    println!("== over");
    // SAFETY: nothing is left to be lost.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
}

/// One supervisor, to its end.
fn run(name: &str) {
    let cgroup = format!("{CGROUPS}/{name}");
    fs::create_dir(&cgroup).expect("root may");
    let directory = format!("/scenarios/{name}");
    let has = |file: &str| Path::new(&directory).join(file).exists();
    if has("delegated") {
        set_attribute(&cgroup);
    }
    if let Ok(limit) = fs::read_to_string(format!("{directory}/memory.max")) {
        fs::write(format!("{cgroup}/memory.max"), limit).expect("there is the controller");
    }
    let as_init = has("init");
    if as_init {
        // SAFETY: a plain system call: our next child is the init of a namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    }
    let members = CString::new(format!("{cgroup}/cgroup.procs")).expect("no NUL");
    let mut command = Command::new("/bin/supervise");
    command
        .args(["start", "--format", "json", "-t", "2s"])
        .current_dir(&directory)
        .env_clear()
        .env("PATH", "/bin")
        .stdin(Stdio::null());
    // SAFETY: system calls only, on memory that was prepared before.
    unsafe {
        command.pre_exec(move || {
            let file = libc::open(members.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            let mut result = libc::write(file, c"0".as_ptr().cast(), 1);
            if as_init {
                result = result.min((libc::unshare(libc::CLONE_NEWNS)) as isize);
                let (kind, at) = (c"proc".as_ptr(), c"/proc".as_ptr());
                result = result.min(libc::mount(kind, at, kind, 0, std::ptr::null()) as isize);
            }
            if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let status = command.status().expect("it can be started");
    println!("== {name} ended with {:?}", status.code());
    let mut left: Vec<_> = fs::read_dir(&cgroup).expect("it is there").flatten().collect();
    left.retain(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let left: Vec<_> = left.iter().map(|entry| entry.file_name().into_string().unwrap_or_default()).collect();
    println!("== {name} left {left:?}");
    if as_init {
        // The namespace is dead with its init: nobody can be born there any more.
        let ours = fs::File::open("/proc/self/ns/pid").expect("it is there");
        // SAFETY: a plain system call.
        unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&ours), libc::CLONE_NEWPID) };
    }
}

fn mount(kind: &str, at: &str) {
    fs::create_dir_all(at).expect("the root is in memory");
    let (kind, at) = (CString::new(kind).expect("no NUL"), CString::new(at).expect("no NUL"));
    // SAFETY: the kernel reads texts of ours. What is mounted already may be so.
    unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
}

/// As systemd does for `Delegate=yes`.
fn set_attribute(cgroup: &str) {
    let path = CString::new(cgroup).expect("no NUL");
    // SAFETY: the kernel reads one byte.
    let result =
        unsafe { libc::setxattr(path.as_ptr(), c"trusted.delegate".as_ptr(), c"1".as_ptr().cast(), 1, 0) };
    assert_eq!(result, 0);
}
