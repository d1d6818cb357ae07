//! examples/health: the whole app as it stands, but for its ports.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Project, Run, free_base, http, installed, on_the_path, path, repository};

const FILES: [&str; 5] = ["Procfile", "supervise.yml", "wsgi.py", "worker.py", "public/index.html"];

/// Waits until `supervise health` says this line, and with this code.
fn health_is(run: &Run, line: [&str; 3], code: i32) {
    run.until(&format!("{} in `supervise health`, and code {code}", line.join(" ")), || {
        let output = run.project.command(&["health"]).output().expect("it was built");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(|said| said.split_whitespace().collect::<Vec<_>>().join(" "));
        let is_so = lines.any(|said| said == line.join(" ")) && output.status.code() == Some(code);
        if is_so { Ok(()) } else { Err(format!("{:?}: {text}", output.status.code())) }
    });
}

#[test]
fn the_example_of_health_is_well_is_unwell_when_told_to_and_is_replaced_without_a_gap() {
    on_the_path("redis-server");
    let bin = installed("venv/bin/gunicorn");
    let bin = bin.parent().expect("a file is in a directory").display();
    let base = free_base();
    let (web, redis) = (base, base + 100);
    let project = Project::new().with_variable("PATH", &format!("{bin}:{}", path()));
    fs::create_dir(project.root.join("public")).expect("a test can make a directory");
    let project = FILES.iter().fold(project, |project, file| {
        let text = fs::read_to_string(repository().join("examples/health").join(file)).expect("it is there");
        let text = text.replace(":8000", &format!(":{web}")).replace("6390", &redis.to_string());
        project.with(file, &text)
    });
    let mut run = project.supervise(&["start", "-p", &base.to_string()]);

    health_is(&run, ["REDIS_URL", "ok", "answers"], 0);
    let waits = run.said("worker is started when web is ready");
    assert_eq!(waits.len(), 1, "{}", run.transcript());
    let (status, answer) = http("GET", web, "/invoice", "").expect("web answers");
    assert!(status == 200 && answer.contains("took it"), "{status} {answer}");
    run.says("did /invoice");

    fs::write(run.project.root.join("maintenance"), "").expect("a test can write into its directory");
    health_is(&run, ["web", "not ok", "0 of 2 ready"], 1);
    fs::remove_file(run.project.root.join("maintenance")).expect("it was just made");
    health_is(&run, ["web", "ok", "2 of 2 ready"], 0);

    let restart = run.project.command(&["restart", "--rolling", "--wait", "web"]).output();
    let restart = restart.expect("it was built");
    assert!(restart.status.success(), "{restart:?}\n{}", run.transcript());
    assert!(run.said("web.3 is ready after").len() == 1, "a new one came first: {}", run.transcript());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
