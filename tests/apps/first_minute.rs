//! The first minute of a user: the README's command on Procfile.example.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{Project, Run, free_base, http, repository};

/// What the README tells to type, after the build.
const COMMAND: &str = "target/release/supervise start -f Procfile.example web=4 worker=8";

/// Runs the README's command in a directory like this one, in which `target/release/examples` are the programs that
/// were built with this test, and waits until all of them are there.
fn first_minute(base: u16) -> Run {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    assert!(readme.contains(COMMAND), "the README says another command than `{COMMAND}`");
    let built = Path::new(env!("CARGO_BIN_EXE_supervise")).with_file_name("examples");
    assert!(built.join("web").exists(), "{} is missing: `cargo build --examples` builds it", built.display());
    let project = Project::new()
        .with_copy("Procfile.example", "Procfile.example")
        .with_link("target/release/examples", &built);
    let port = base.to_string();
    let mut arguments: Vec<&str> = COMMAND.split(' ').skip(1).collect();
    arguments.extend(["-p", &port]);
    let run = project.supervise(&arguments);
    run.says_times("| listening on http://127.0.0.1:", 4);
    run.says_times("| waiting for jobs", 8);
    run.says("| scheduling a job every 1000 ms");
    run
}

/// Submits a job and returns its id.
fn submit(run: &Run, port: u16, below: u32) -> String {
    run.until("a job to be taken", || match http("POST", port, "/jobs", &below.to_string())? {
        (202, id) => Ok(id),
        other => Err(format!("{other:?}")),
    })
}

fn until_done(run: &Run, port: u16, id: &str) -> String {
    run.until("the job to be done", || match http("GET", port, &format!("/jobs/{id}"), "")? {
        (200, text) if text.starts_with("done: ") => Ok(text),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn four_web_servers_answer_eight_workers_work_and_the_beat_schedules() {
    let base = free_base();
    let mut run = first_minute(base);
    run.says("formation: web=4 worker=8 beat=1");
    for slot in 1..=4_u16 {
        let port = base + slot - 1;
        let answer = run.until("an answer of every web", || http("GET", port, "/", ""));
        assert!(answer.1.starts_with(&format!("web.{slot} on port {port}: ")), "{answer:?}");
    }
    let id = submit(&run, base + 1, 200_000);
    assert_eq!(until_done(&run, base + 2, &id), "done: 17984 primes below 200000");

    let scheduled = run.says_times("beat.1    | scheduled job ", 2);
    let id = scheduled[1].rsplit(' ').next().expect("it ends with the id");
    assert_eq!(until_done(&run, base + 3, id), "done: 5133 primes below 50000");

    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn a_job_in_progress_at_term_is_done_before_the_end() {
    let base = free_base();
    let mut run = first_minute(base);
    let id = submit(&run, base, 2_000_000);
    run.says(&format!("job {id}: counting"));
    run.signal(Signal::SIGTERM);
    run.says("SIGTERM: draining web=4 worker=8 beat=1, at most 1m40s");
    run.says(&format!("job {id}: 148933, in "));
    let done = run.project.root.join("target/demo-spool/done").join(&id);
    run.until("the result in the spool", || fs::read_to_string(&done).map_err(|error| error.to_string()));
    run.ends_with(0);
}

#[test]
fn the_job_of_a_killed_worker_is_taken_up_again_by_the_next_one_of_its_slot() {
    let base = free_base();
    let mut run = first_minute(base);
    let id = submit(&run, base, 2_000_000);
    let line = run.says(&format!("job {id}: counting"));
    let slot = line.split_whitespace().nth(1).expect("a tag follows the time").to_owned();
    let leader = run.leader(&slot, 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(leader), Signal::SIGKILL).expect("it runs");
    run.says(&format!("{slot} was killed by SIGKILL"));
    let replacement = run.leader(&slot, 2);
    assert_ne!(replacement, leader);
    run.says_times(&format!("job {id}: counting"), 2);
    assert_eq!(until_done(&run, base, &id), "done: 148933 primes below 2000000");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
