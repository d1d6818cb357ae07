//! The `web` of Procfile.example: answers HTTP on `$PORT` and takes jobs.
//!
//! `GET /` tells who answers and how the jobs stand, `POST /jobs` takes a number and answers with the id of its job,
//! `GET /jobs/ID` tells where it is. On TERM it takes no new request, finishes those it has, and ends with code 0.

mod demo;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use demo::spool::{Spool, State};
use demo::stop::Stop;

/// What all its threads know.
struct Server {
    spool: Spool,
    name: String,
    port: u16,
    stopping: AtomicBool,
    requests: AtomicUsize,
}

/// A client that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest body: a number fits easily.
const BODY_LIMIT: u64 = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::listen()?;
    let port: u16 = env::var("PORT").map_err(|_| "PORT is not set")?.parse()?;
    let name = env::var("PS").unwrap_or_else(|_| "web".to_owned());
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let server = Arc::new(Server {
        spool: Spool::open()?,
        name,
        port,
        stopping: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
    });
    println!("listening on http://127.0.0.1:{port}");

    let acceptor = Arc::clone(&server);
    thread::spawn(move || accept(&acceptor, &listener));
    stop.asked();
    server.stopping.store(true, Ordering::SeqCst);
    let began = Instant::now();
    while server.requests.load(Ordering::SeqCst) > 0 && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    println!("stopped");
    Ok(())
}

fn accept(server: &Arc<Server>, listener: &TcpListener) {
    for connection in listener.incoming() {
        // Counted before the look at `stopping`: whoever stops either sees the request or turns it away.
        server.requests.fetch_add(1, Ordering::SeqCst);
        let server = Arc::clone(server);
        thread::spawn(move || {
            if !server.stopping.load(Ordering::SeqCst)
                && let Err(error) = connection.and_then(|connection| answer(&server, &connection))
            {
                println!("request failed: {error}");
            }
            server.requests.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn answer(server: &Server, connection: &TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = String::new();
    reader.take(length.min(BODY_LIMIT)).read_to_string(&mut body)?;

    let mut words = first.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, text) = route(server, method, path, &body)?;
    println!("{method} {path} {}", &status[..3]);
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}

fn route(server: &Server, method: &str, path: &str, body: &str) -> io::Result<(&'static str, String)> {
    let spool = &server.spool;
    Ok(match (method, path) {
        ("GET", "/") => ("200 OK", format!("{} on port {}: {}", server.name, server.port, spool.count()?)),
        ("POST", "/jobs") => match body.trim().parse() {
            Ok(below) => ("202 Accepted", spool.submit(below)?),
            Err(error) => ("400 Bad Request", format!("the body should be a number: {error}")),
        },
        ("GET", _) if path.starts_with("/jobs/") && !path[6..].contains(['/', '.']) => {
            match spool.state(&path[6..])? {
                Some(State::Waiting) => ("200 OK", "waiting".to_owned()),
                Some(State::Doing) => ("200 OK", "in progress".to_owned()),
                Some(State::Done(result)) => ("200 OK", format!("done: {result}")),
                None => ("404 Not Found", "no such job".to_owned()),
            }
        }
        _ => ("404 Not Found", "GET /, POST /jobs, GET /jobs/ID".to_owned()),
    })
}
