//! The API as strangers' tools meet it: schemathesis reads the `OpenAPI` document and tries whatever it allows, and
//! whatever it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Project, free_base, http, installed, repository};

const TOKEN: &str = "0123456789abcdef";

/// Small enough for a formation that is asked at random for any count; quick enough for one that gets any signal.
const SPEC: &str = "\
formation:
  web: { quantity: 2, max: 4 }
  worker: { max: 4 }
defaults: { restart: always, backoff: { first: 10ms, max: 20ms } }
";

#[test]
fn schemathesis_finds_nothing() {
    let program = installed("venv/bin/schemathesis");
    let project =
        Project::new().with("Procfile", "web: sleep 1000\nworker: sleep 1000\n").with("supervise.yml", SPEC);
    let project = project.with("token", TOKEN);
    let secret = Permissions::from_mode(0o600);
    fs::set_permissions(project.root.join("token"), secret).expect("it is ours");
    let base = free_base();
    let address = format!("127.0.0.1:{}", base + 99);
    let served = ["--http", &address, "--token-file", "token"];
    let mut run = project.supervise(&[&["start", "-p", &base.to_string()], &served[..]].concat());
    run.says("worker.1 started");
    run.until("an answer", || http("GET", base + 99, "/health/live", ""));
    let address = format!("http://{address}");
    let tests = repository().join("tests/apps");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(tests.join("schemathesis.toml"))
        .args(["run", &format!("{address}/v1/openapi.json"), "--url", &address])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        // It would end what is tested.
        .args(["--exclude-path", "/v1/shutdown"])
        .args(["--seed", "1", "--max-examples", "25", "--request-timeout", "60", "--continue-on-failure"])
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", tests)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&run.project.root)
        .stdin(Stdio::null())
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let tried = said.lines().find_map(|line| line.trim().split_once(" generated, ")?.0.parse::<u32>().ok());
    assert!(tried > Some(200), "it has tried too little: {said}");
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
