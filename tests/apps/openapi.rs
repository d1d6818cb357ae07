//! The control socket as strangers' tools meet it: schemathesis reads the `OpenAPI` document and tries whatever it allows, and
//! whatever it does not.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::{Project, free_base, installed, repository};

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
    let mut run = project.supervise(&["start", "-p", &free_base().to_string()]);
    run.says("worker.1 started");
    let sockets = run.project.root.join("supervise");
    let socket = run.until("a socket", || {
        let entries = fs::read_dir(&sockets).map_err(|error| error.to_string())?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        let socket = paths.find(|path| path.extension().is_some_and(|extension| extension == "sock"));
        socket.ok_or_else(|| "no socket".to_owned())
    });
    let address = format!("http://127.0.0.1:{}", serve(&socket));
    let tests = repository().join("tests/apps");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(tests.join("schemathesis.toml"))
        .args(["run", &format!("{address}/v1/openapi.json"), "--url", &address])
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

/// Serves a Unix socket on a port of this machine, which is returned, for as long as the tests run.
fn serve(socket: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let port = listener.local_addr().expect("it is bound").port();
    // Its path may be longer than an address.
    let short = std::env::temp_dir().join(format!("supervise-openapi-{}", std::process::id()));
    let _ = fs::remove_file(&short);
    std::os::unix::fs::symlink(socket, &short).expect("links can be made");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // What cannot be connected is closed, and schemathesis says so.
            let _ = join(client, &short);
        }
    });
    port
}

fn join(client: TcpStream, socket: &PathBuf) -> io::Result<()> {
    let server = UnixStream::connect(socket)?;
    let (asks, answers) = (client.try_clone()?, server.try_clone()?);
    let (end_of_client, end_of_server) = (client.try_clone()?, server.try_clone()?);
    let close = move || {
        // Either may be closed already.
        let _ = (end_of_client.shutdown(Shutdown::Both), end_of_server.shutdown(Shutdown::Both));
    };
    thread::spawn(move || pump(asks, server));
    thread::spawn(move || {
        pump(answers, client);
        close();
    });
    Ok(())
}

fn pump(mut from: impl Read, mut to: impl Write) {
    // That either side has closed is how it ends.
    let _ = io::copy(&mut from, &mut to);
}
