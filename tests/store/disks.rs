//! Disks that are full or may not be written, directories of other people, and several who write at once.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::rig::{Rig, cannot, said};

/// Runs a script where it may mount what nobody else sees, `$1` being our program, `$2` a directory to mount at.
fn mounting(rig: &Rig, script: &str) -> Option<String> {
    let disk = rig.directory.join("disk");
    fs::create_dir_all(&disk).expect("it is ours");
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let output = command
        .args(["--mount", "sh", "-ec", script, "-", env!("CARGO_BIN_EXE_supervise")])
        .arg(&disk)
        .current_dir(rig.app())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Some(said(&output)),
        Ok(output) => {
            cannot(&format!("no mount namespace: {}", said(&output)));
            None
        }
        Err(error) => {
            cannot(&format!("no `unshare`: {error}"));
            None
        }
    }
}

#[test]
fn a_disk_that_fills_up_at_any_moment_is_said_and_what_was_there_stays_whole() {
    let rig = Rig::new();
    // Three pages for the code.
    rig.file("lib/code", &"x".repeat(10_000));
    let script = r#"
        mount -t tmpfs -o size=4m,mode=700 tmpfs "$2"
        "$1" release create --state "$2/s" >/dev/null
        # Other code, so that its copy is needed.
        echo y >> lib/code
        fill=$(( $(df --output=avail -k "$2" | tail -1) ))
        failed=0
        for room in $(seq 0 4 100); do
            head -c $(( (fill - room) * 1024 )) /dev/zero > "$2/filling"
            code=0
            "$1" release create --state "$2/s" >"$2/../out" 2>"$2/../err" || code=$?
            if [ $code != 0 ]; then
                failed=$((failed + 1))
                [ $code = 1 ] && grep -q 'No space left on device' "$2/../err" || { cat "$2/../err"; exit 9; }
            fi
            rm "$2/filling"
            "$1" releases --state "$2/s" > "$2/../list"
            echo "room $room: code $code, $(grep -c '^v' "$2/../list") releases"
            if [ $code = 0 ]; then break; fi
        done
        echo "failed $failed times"
        "$1" release create --state "$2/s"
    "#;
    let Some(said) = mounting(&rig, script) else { return };
    assert!(said.contains("room 0: code 1, 1 releases"), "{said}");
    let failed = said.split("failed ").nth(1).and_then(|rest| rest.split(' ').next());
    let failed: u32 = failed.expect("it is counted").parse().expect("a number");
    assert!(failed >= 3, "{said}");
    assert!(said.contains(": code 0, 2 releases"), "{said}");
    assert!(said.contains("v3: build "), "{said}");
}

#[test]
fn a_disk_that_may_not_be_written_is_read_all_the_same() {
    let rig = Rig::new();
    let script = r#"
        mount -t tmpfs -o size=4m,mode=700 tmpfs "$2"
        "$1" release create --state "$2/s" >/dev/null
        mount -o remount,ro "$2"
        code=0
        "$1" release create --state "$2/s" || code=$?
        echo "code $code"
        "$1" releases --state "$2/s"
        "$1" run --release v1 --state "$2/s" printenv OTHER
    "#;
    let Some(said) = mounting(&rig, script) else { return };
    for piece in ["Read-only file system", "code 1\n", "\nv1 ", "\n1\n"] {
        assert!(said.contains(piece), "{piece:?} is not in {said}");
    }
}

#[test]
fn all_who_make_a_release_at_once_make_one_each() {
    let rig = Rig::new();
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = rig.command(&rig.state(), &["release", "create"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was built")
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().expect("it is ours");
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        numbers.insert(said.lines().nth(1).and_then(|line| line.split(':').next()).map(str::to_owned));
    }
    assert_eq!(numbers.len(), 8, "{numbers:?}");
    let kept = rig.listing(&rig.state()).kept;
    assert_eq!(kept.len(), 8);
    assert!(kept.iter().all(|other| other.record.id == kept[0].record.id), "the same input, the same id");
}

#[test]
fn files_are_nobody_elses_to_read_whatever_the_umask() {
    let rig = Rig::new();
    let ours = rig.command(&rig.state(), &["release", "create"]);
    let status = Command::new("sh")
        .args(["-c", "umask 0; exec \"$@\" >/dev/null", "-"])
        .arg(ours.get_program())
        .args(ours.get_args())
        .current_dir(rig.app())
        .status();
    assert!(status.expect("there is a shell").success());
    for (path, mode) in [
        ("", 0o700),
        ("store.json", 0o600),
        ("lock", 0o600),
        ("releases", 0o700),
        ("builds", 0o700),
        ("releases/v1", 0o700),
        ("releases/v1/config.env", 0o600),
        ("releases/v1/release.json", 0o600),
    ] {
        let found = rig.state().join(path).metadata().expect("it is there").mode() & 0o777;
        assert_eq!(found, mode, "{path}: {found:o}");
    }
}

#[test]
fn a_directory_that_others_could_have_written_is_refused() {
    let rig = Rig::new();
    rig.create();
    let refused = |piece: &str| {
        for verb in [&["releases"][..], &["release", "create"], &["run", "--release", "v1", "true"]] {
            let mut command = rig.command(&rig.state(), &[]);
            // Before the command of `run`.
            command = {
                let mut fresh = Command::new(command.get_program());
                fresh.args(&verb[..1]);
                if verb[0] == "release" {
                    fresh.arg(verb[1]);
                }
                fresh.arg("--state").arg(rig.state());
                if verb[0] == "run" {
                    fresh.args(&verb[1..]);
                }
                fresh.current_dir(rig.app()).env_clear().env("PATH", "/usr/bin:/bin");
                fresh
            };
            let said = said(&command.output().expect("it was built"));
            assert!(said.starts_with("Some(1)") && said.contains(piece), "{verb:?}: {said}");
        }
    };
    fs::set_permissions(rig.state(), fs::Permissions::from_mode(0o770)).expect("it is ours");
    refused("others may write to it\n  help: `chmod go-w ");
    fs::set_permissions(rig.state(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    if !nix::unistd::geteuid().is_root() {
        return cannot("only root can give a directory away");
    }
    for path in ["", "store.json", "releases"] {
        let path = rig.state().join(path);
        chown(&path, Some(12345), None).expect("we are root");
        refused("it belongs to the user 12345, and we are 0");
        chown(&path, Some(0), None).expect("we are root");
    }
    rig.create();
}
