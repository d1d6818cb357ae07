//! Servers with workers of their own: gunicorn and nginx.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Project, Run, eventually, free_base, http, installed, on_the_path, path};

fn gunicorn(base: u16) -> Run {
    let gunicorn = installed("venv/bin/gunicorn");
    let run = Project::new()
        .with(
            "Procfile",
            &format!("web: {} --workers 2 --bind 127.0.0.1:$PORT wsgi:app\n", gunicorn.display()),
        )
        .with_copy("wsgi.py", "tests/apps/wsgi.py")
        .supervise(&["start", "-p", &base.to_string()]);
    run.says_times("Booting worker with pid", 2);
    run.until("an answer of gunicorn", || http("GET", base, "/", ""));
    run
}

#[test]
fn gunicorn_and_its_workers_end_together_on_term() {
    let mut run = gunicorn(free_base());
    run.signal(Signal::SIGTERM);
    run.says("Shutting down: Master");
    run.ends_with(0);
}

#[test]
fn when_the_master_of_gunicorn_is_killed_its_workers_give_the_port_back_before_the_restart() {
    let base = free_base();
    let mut run = gunicorn(base);
    let workers: Vec<i32> = run
        .said("Booting worker with pid")
        .iter()
        .filter_map(|line| line.rsplit(' ').next().and_then(|pid| pid.parse().ok()))
        .collect();
    assert_eq!(workers.len(), 2, "{}", run.transcript());
    kill(Pid::from_raw(run.leader("web.1", 1)), Signal::SIGKILL).expect("the master runs");
    let exit = run.says("web.1 was killed by SIGKILL");
    assert!(exit.contains("stopping what it left behind"), "{exit}");
    run.leader("web.1", 2);
    for worker in workers {
        assert!(kill(Pid::from_raw(worker), None).is_err(), "worker {worker} outlived the restart");
    }
    run.says_times("Booting worker with pid", 4);
    run.until("an answer of the new gunicorn", || http("GET", base, "/", ""));
    assert!(run.said("already in use").is_empty(), "{}", run.transcript());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

/// How much the slow file holds: a few seconds at nginx.conf's rate.
const SIZE: usize = 128 * 1024;

#[test]
fn nginx_finishes_the_download_it_is_in_when_its_stop_signal_is_quit() {
    on_the_path("nginx");
    let base = free_base();
    let mut run = Project::new()
        .with("Procfile", "web: sed s/PORT/$PORT/ nginx.conf.in >nginx.conf && exec nginx -p . -c nginx.conf -e stderr -g 'daemon off;'\n")
        .with("supervise.yml", "formation:\n  web: { stop_signal: QUIT }\n")
        .with_copy("nginx.conf.in", "tests/apps/nginx.conf")
        .with("slow", &"x".repeat(SIZE))
        .with_variable("PATH", &path())
        .supervise(&["start", "-p", &base.to_string()]);
    run.until("an answer of nginx", || http("GET", base, "/", ""));

    let mut download = TcpStream::connect(("127.0.0.1", base)).expect("nginx listens");
    write!(download, "GET /slow HTTP/1.0\r\n\r\n").expect("it takes a request");
    let mut first = [0; 1024];
    let got = download.read(&mut first).expect("the download begins");
    run.signal(Signal::SIGTERM);
    run.says("SIGTERM: draining web=1");
    eventually("nginx to close its port", || match TcpStream::connect(("127.0.0.1", base)) {
        Ok(_) => Err("it takes another connection".to_owned()),
        Err(_) => Ok(()),
    })
    .unwrap_or_else(|missed| panic!("{missed}\n{}", run.transcript()));

    let mut rest = Vec::new();
    download.read_to_end(&mut rest).expect("the download ends well");
    let answer = [&first[..got], &rest].concat();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    assert_eq!(answer.len() - head - 4, SIZE, "the whole file arrived");
    run.ends_with(0);
}
