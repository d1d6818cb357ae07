//! Backing services as the twelve factors have them: real ones, late, restarted, and with the wrong password.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::{PATIENCE, Project, Run, eventually, free_base, on_the_path};
use crate::postgres::Postgres;

/// In every URL here. It must not be in anything that is said.
const SECRET: &str = "s3cr:t@%/";
/// The same as a part of a URL.
const ESCAPED: &str = "s3cr%3At%40%25%2F";
/// Another one.
const WRONG: &str = "wr0ng";

/// A web that does nothing but need that service, and says everything it can.
fn needing(variable: &str, url: &str, wait: &str) -> Run {
    Project::new()
        .with("Procfile", "web: sleep 1000\n")
        .with("supervise.yml", &spec(variable, wait))
        .with(".env", &format!("{variable}='{url}'\n"))
        .with_variable("SUPERVISE_LOG", "trace")
        .supervise(&["start", "--no-port", "--trace", "trace"])
}

fn spec(variable: &str, wait: &str) -> String {
    format!(
        "formation:\n  web: {{ needs: [{variable}], backoff: {{ first: 10ms, max: 20ms }} }}\n\
        services:\n  {variable}: {{ wait: {wait} }}\n"
    )
}

/// What another command says, stdout and stderr together.
fn said_by(run: &Run, arguments: &[&str]) -> String {
    let output = run.project.command(arguments).output().expect("it was built");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Ends it; nothing that was said, by it or to anybody who asked, holds a password.
fn ends_without_a_secret(mut run: Run) {
    let mut all = run.transcript();
    for arguments in
        [&["services"][..], &["services", "--json"], &["ps", "--json"], &["events"], &["logs"], &["config"]]
    {
        all.push_str(&said_by(&run, arguments));
    }
    all.push_str(&std::fs::read_to_string(run.project.root.join("trace")).expect("it is traced"));
    for secret in [SECRET, ESCAPED, "s3cr", WRONG] {
        assert!(!all.contains(secret), "{secret} was said: {all}");
    }
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn a_type_waits_for_a_postgres_that_is_started_late() {
    let mut postgres = Postgres::new(SECRET);
    let port = postgres.port;
    let run = needing("DATABASE_URL", &format!("postgres://me:{ESCAPED}@127.0.0.1:{port}/shop"), "100s");
    run.says(&format!("web waits for DATABASE_URL (postgres at 127.0.0.1:{port}): connection refused"));
    assert!(said_by(&run, &["services"]).contains("connection refused"));
    assert!(said_by(&run, &["ps"]).contains("pending"));
    postgres.start_restoring();
    run.says("DATABASE_URL (postgres at 127.0.0.1:");
    run.says("): starting up");
    assert!(run.said("web.1 started").is_empty(), "{}", run.transcript());
    postgres.stop_restoring();
    postgres.start();
    run.leader("web.1", 1);
    let table = said_by(&run, &["services"]);
    let row = table.lines().nth(1).unwrap_or_default();
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        columns[..4],
        ["DATABASE_URL", "postgres", &format!("127.0.0.1:{port}"), "answers"],
        "{table}"
    );
    // A server that is restarted touches nobody who runs.
    postgres.stop();
    run.until("a refusal", || {
        let table = said_by(&run, &["services"]);
        if table.contains("connection refused") { Ok(()) } else { Err(table) }
    });
    postgres.start();
    run.until("an answer", || {
        let table = said_by(&run, &["services"]);
        if table.contains("answers") { Ok(()) } else { Err(table) }
    });
    assert_eq!(run.said("web.1 started").len(), 1, "{}", run.transcript());
    ends_without_a_secret(run);
    // We came and went as a client should.
    let log = postgres.log();
    for complaint in
        ["unexpected", "incomplete", "could not receive", "could not accept", "invalid startup", "failed"]
    {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
}

#[test]
fn what_a_postgres_refuses_is_said_and_another_url_is_all_it_takes() {
    let mut postgres = Postgres::new(SECRET);
    postgres.start();
    let (port, socket) = (postgres.port, postgres.socket());
    let network = format!("127.0.0.1:{port}");
    let at_socket = format!("{socket}/.s.PGSQL.{port}");
    let run = needing("DATABASE_URL", &format!("postgres://me:{WRONG}@{network}/shop"), "100s");
    run.says(&format!("web waits for DATABASE_URL (postgres at {network}): wrong password"));
    // Each URL follows the other without an end: only a reload in between.
    for (url, place, why) in [
        (format!("postgres://old:{WRONG}@{network}/shop"), &network, "wrong password"),
        (format!("postgres://me:{WRONG}@{network}/clear"), &network, "wrong password"),
        (format!("postgres://me:{WRONG}@/shop?host={socket}&port={port}"), &at_socket, "wrong password"),
        (format!("postgres://me:{ESCAPED}@{network}/nosuch"), &network, "no such database"),
        (format!("postgres://nobody:{ESCAPED}@{network}/shop"), &network, "wrong password"),
        (
            format!("postgres://me:{ESCAPED}@{network}/shop?sslmode=require"),
            &network,
            "has no TLS, and the URL wants it",
        ),
    ] {
        reload_with(&run, "DATABASE_URL", &url);
        run.until(why, || {
            let table = said_by(&run, &["services"]);
            let row = table.lines().nth(1).unwrap_or_default();
            if row.contains(place.as_str()) && row.contains(why) { Ok(()) } else { Err(table) }
        });
    }
    assert!(run.said("web.1 started").is_empty(), "{}", run.transcript());
    let ways = [
        format!("postgresql+psycopg2://old:{ESCAPED}@{network}/shop"),
        format!("postgres://me:{ESCAPED}@{network}/clear"),
        format!("postgres:///shop?host={socket}&port={port}&user=me&password={ESCAPED}"),
        format!("postgres://me:{ESCAPED}@{network}/shop?sslmode=prefer"),
    ];
    for (times, url) in (1..).zip(ways) {
        reload_with(&run, "DATABASE_URL", &url);
        run.leader("web.1", times);
    }
    ends_without_a_secret(run);
}

/// Another URL in the file, and the files are read again.
fn reload_with(run: &Run, variable: &str, url: &str) {
    std::fs::write(run.project.root.join(".env"), format!("{variable}='{url}'\n")).expect("it is ours");
    let said = said_by(run, &["reload"]);
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn who_has_waited_long_enough_has_failed() {
    let port = free_base();
    let run = Project::new()
        .with("Procfile", "web: sleep 1000\n")
        .with(
            "supervise.yml",
            "formation:\n  web: { needs: [REDIS_URL], backoff: { first: 10ms, max: 20ms, give_up_after: 2 } }\n\
            services:\n  REDIS_URL: { wait: 1s }\n",
        )
        .with(".env", &format!("REDIS_URL='redis://:{WRONG}@127.0.0.1:{port}/0'\n"))
        .supervise(&["start", "--no-port"]);
    run.says_times(
        &format!("REDIS_URL (redis at 127.0.0.1:{port}) did not answer within 1s: connection refused"),
        2,
    );
    assert!(!run.transcript().contains(WRONG), "{}", run.transcript());
    // As for a shell that cannot start something.
    run.ends_with(1);
}

#[test]
fn a_redis_that_is_restarted_under_load_is_waited_for_and_the_others_run_on() {
    on_the_path("redis-cli");
    let port = free_base();
    let mut redis = Redis::start(port, SECRET);
    // Workers as hungry as can be: each ends when its server does.
    let work = format!(
        "while [ \"$(redis-cli -p {port} --no-auth-warning incr jobs)\" -gt 0 ]; do :; done 2>/dev/null; exit 1"
    );
    let run = Project::new()
        .with("Procfile", &format!("web: sleep 1000\nworker: {work}\n"))
        .with(
            "supervise.yml",
            "formation:\n  worker: { quantity: 3, needs: [REDIS_URL], backoff: { first: 10ms, max: 20ms } }\n",
        )
        .with_variable("REDIS_URL", &format!("redis://:{ESCAPED}@127.0.0.1:{port}/0"))
        .with_variable("REDISCLI_AUTH", SECRET)
        .with_variable("SUPERVISE_LOG", "trace")
        .supervise(&["start", "--no-port", "--trace", "trace"]);
    run.leader("worker.3", 1);
    run.until("jobs", || match redis.number_of_jobs() {
        100.. => Ok(()),
        fewer => Err(format!("{fewer} of them")),
    });
    // Questions without end, all the while: they do not become connections without end.
    let asked = AtomicBool::new(false);
    thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut tables = 0;
                    while !asked.load(Ordering::SeqCst) {
                        assert!(said_by(&run, &["services"]).contains("REDIS_URL"));
                        tables += 1;
                    }
                    tables
                })
            })
            .collect();
        redis.restart(|| {
            run.says(&format!("worker waits for REDIS_URL (redis at 127.0.0.1:{port}): connection refused"));
        });
        run.leader("worker.1", 2);
        run.leader("worker.3", 2);
        asked.store(true, Ordering::SeqCst);
        let tables: u32 = askers.into_iter().map(|asker| asker.join().expect("no panic")).sum();
        assert!(tables > 4, "only {tables} answers");
    });
    assert_eq!(run.said("web.1 started").len(), 1, "{}", run.transcript());
    ends_without_a_secret(run);
}

#[test]
fn a_redis_with_a_password_says_which_one_it_does_not_want() {
    let port = free_base();
    let _redis = Redis::start(port, SECRET);
    let run = needing("REDIS_URL", &format!("redis://:{WRONG}@localhost:{port}/0"), "100s");
    run.says(&format!("web waits for REDIS_URL (redis at localhost:{port}): wrong password"));
    reload_with(&run, "REDIS_URL", &format!("redis://127.0.0.1:{port}/0"));
    run.says(&format!("web waits for REDIS_URL (redis at 127.0.0.1:{port}): wants a password"));
    reload_with(&run, "REDIS_URL", &format!("redis://default:{ESCAPED}@127.0.0.1:{port}/0"));
    run.leader("web.1", 1);
    let mut client = run.project.command(&["services", "--json"]);
    let begin = Instant::now();
    let output = client.output().expect("it was built");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && begin.elapsed() < PATIENCE, "{output:?}");
    for field in [
        "\"schema\":1",
        "\"name\":\"REDIS_URL\",\"kind\":\"redis\"",
        &format!("\"host\":\"127.0.0.1:{port}\",\"ok\":true,\"message\":\"answers\""),
        "\"needed_by\":[\"web\"]",
    ] {
        assert!(answer.contains(field), "{field}: {answer}");
    }
    ends_without_a_secret(run);
}

/// A Redis server that wants a password.
struct Redis {
    port: u16,
    password: &'static str,
    server: Child,
}

impl Redis {
    fn start(port: u16, password: &'static str) -> Redis {
        let redis = Redis { port, password, server: serve(port, password) };
        redis.comes();
        redis
    }

    /// Kills it, and starts it again when something has happened.
    fn restart(&mut self, meanwhile: impl FnOnce()) {
        self.server.kill().expect("it is ours");
        self.server.wait().expect("it is ours");
        meanwhile();
        self.server = serve(self.port, self.password);
        self.comes();
    }

    fn number_of_jobs(&self) -> u64 {
        self.ask(&["get", "jobs"]).unwrap_or_default().trim().parse().unwrap_or(0)
    }

    fn comes(&self) {
        eventually("an answer of redis-server", || match self.ask(&["ping"])? {
            pong if pong.trim() == "PONG" => Ok(()),
            other => Err(other),
        })
        .unwrap_or_else(|missed| panic!("{missed}"));
    }

    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words).env("REDISCLI_AUTH", self.password);
        let output = command.output().map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

fn serve(port: u16, password: &str) -> Child {
    on_the_path("redis-server");
    let mut server = Command::new("redis-server")
        .arg("-")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server can be started");
    let mut stdin = server.stdin.take().expect("it was piped");
    write!(stdin, "port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\nrequirepass \"{password}\"\n")
        .expect("it reads");
    server
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
