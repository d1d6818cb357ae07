//! A supervisor that only talks: canned answers on a socket of its own, and what it was asked.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it answers, by method and path with the query.
type Answers = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// A listening socket; it answers until the test ends.
pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
    directory: Option<PathBuf>,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Two of `web`, one of them in trouble, and a `worker`.
pub(crate) const PROCESSES: &str = r#"{"schema":1,"formation":{"web":2,"worker":1},"processes":[
{"name":"worker.1","type":"worker","slot":1,"state":"draining","ready":false,"suspended":false,"pid":4323,"port":5100,
"release":"dev","restarts":0,"uptime_ms":61000,"last_exit":null,"rss_bytes":524288,"cpu_ms":40},
{"name":"web.1","type":"web","slot":1,"state":"running","ready":true,"suspended":false,"pid":4321,"port":5000,
"release":"dev","restarts":2,"uptime_ms":7500000,"last_exit":{"signal":"SIGKILL","reason":"failed"},"rss_bytes":12900000,
"cpu_ms":1234},
{"name":"web.2","type":"web","slot":2,"state":"backoff","ready":false,"suspended":false,"pid":null,"port":5001,
"release":"dev","restarts":7,"uptime_ms":null,"last_exit":{"code":3,"reason":"failed"},"rss_bytes":null,"cpu_ms":null}]}"#;

/// One that answers, and one that does not.
pub(crate) const SERVICES: &str = r#"{"schema":1,"services":[
{"name":"DATABASE_URL","kind":"postgres","host":"db:5432","ok":true,"message":"answers","time_ms":3,"needed_by":["web"]},
{"name":"REDIS_URL","kind":"redis","host":"localhost:6379","ok":false,"message":"connection refused","time_ms":0,
"needed_by":["web","worker"]},
{"name":"BAD_URL","kind":"somewhere","host":"","ok":false,"message":"its value is no URL","time_ms":0,"needed_by":[]}]}"#;

impl Fake {
    /// One with a socket in a directory of its own.
    pub(crate) fn new() -> Fake {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("supervise-fake-{}-{number}", std::process::id()));
        let mut fake = Fake::at(&directory.join("s"));
        fake.directory = Some(directory);
        fake
    }

    /// One with its socket there.
    pub(crate) fn at(socket: &Path) -> Fake {
        fs::create_dir_all(socket.parent().expect("it is in a directory")).expect("which can be made");
        let listener = UnixListener::bind(socket).expect("nobody is there yet");
        let (answers, asked) = (Answers::default(), Arc::default());
        let fake = Fake { socket: socket.to_owned(), directory: None, answers, asked };
        let (answers, asked) = (Arc::clone(&fake.answers), Arc::clone(&fake.asked));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                thread::spawn(move || serve(&stream, &answers, &asked));
            }
        });
        fake.answers("GET /v1/processes", 200, PROCESSES).answers("GET /v1/services", 200, SERVICES).answers(
            "GET /v1/formation",
            200,
            r#"{"web":2,"worker":1}"#,
        )
    }

    /// What it answers to a request.
    pub(crate) fn answers(self, request: &str, status: u16, body: impl AsRef<[u8]>) -> Fake {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
        self.answers_raw(request, [head.as_bytes(), body].concat())
    }

    /// The same, byte by byte.
    pub(crate) fn answers_raw(self, request: &str, answer: impl Into<Vec<u8>>) -> Fake {
        self.answers.lock().expect("no thread panicked").insert(request.to_owned(), answer.into());
        self
    }

    /// What it was asked, method, path and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panicked").clone()
    }

    /// Arguments that name its socket.
    pub(crate) fn named(&self) -> String {
        format!("--socket {}", self.socket.display())
    }
}

/// Answers requests on one connection until its end; what has no answer ends it, and an answer that says so.
fn serve(stream: &UnixStream, answers: &Answers, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0).map(|_| line.trim_end().to_owned())
        };
        let request = line()?.strip_suffix(" HTTP/1.1")?.to_owned();
        let mut length = 0;
        loop {
            let header = line()?.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let said = format!("{request} {}", String::from_utf8_lossy(&body));
        asked.lock().ok()?.push(said.trim_end().to_owned());
        let answer = answers.lock().ok()?.get(&request)?.clone();
        (&mut &*stream).write_all(&answer).ok()?;
        if answer.windows(17).any(|bytes| bytes == b"connection: close") {
            return None;
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // A socket in /tmp that stays is no reason to fail.
        let _ = fs::remove_file(&self.socket);
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}
