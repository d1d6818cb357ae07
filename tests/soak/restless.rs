//! A child that never does the same for long: it chats, crashes, forks and hangs at random, and keeps book of every line.
//!
//! `restless KIND BOOK`: KIND is `chatter`, `crasher`, `forker` or `hanger`, and says what it does most; BOOK is a file in
//! which each life has a [`Page`]. It writes no more than `PIPE_BUF` at once, which arrives whole or not at all (pipe(7)).

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, exit};
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let mut words = std::env::args().skip(1);
    let (Some(kind), Some(book)) = (words.next(), words.next()) else {
        eprintln!("usage: restless chatter|crasher|forker|hanger|offspring BOOK");
        exit(2);
    };
    let mut dice = Dice::new();
    let mut page = Page::open(&book, &mut dice);
    // Of a thousand: to crash, to make a process, to hang, to close stdout, to end well.
    let [crash, fork, hang, close, end] = match kind.as_str() {
        "chatter" => [5, 5, 0, 2, 5],
        "crasher" => [100, 5, 2, 2, 5],
        "forker" => [5, 100, 2, 2, 5],
        "hanger" => [5, 10, 20, 2, 5],
        "offspring" => [50, 20, 20, 20, 200],
        other => panic!("there is no `{other}`"),
    };
    let mut closed = false;
    loop {
        sleep(Duration::from_millis(dice.below(500)));
        match dice.below(1000) {
            roll if roll < crash => dice.crash(),
            // What it made would find its stdout closed, too, and std opens /dev/null in that place.
            roll if roll < crash + fork && !closed => dice.fork(&book),
            roll if roll < crash + fork + hang => hang_for_ever(),
            roll if roll < crash + fork + hang + close => {
                // SAFETY: nothing of ours uses the two after this.
                unsafe { (libc::close(1), libc::close(2)) };
                closed = true;
            }
            roll if roll < crash + fork + hang + close + end => exit(0),
            _ if closed => {}
            _ => page.write_lines(&mut dice),
        }
    }
}

/// Neither TERM nor the end of anybody ends it.
fn hang_for_ever() -> ! {
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: no memory is involved.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// What a life has written: its number, the lines that arrived in the pipe for sure, those that may have.
struct Page {
    id: u64,
    written: u64,
    file: File,
    place: u64,
}

impl Page {
    fn open(book: &str, dice: &mut Dice) -> Page {
        let id = dice.next();
        let mut end = OpenOptions::new().append(true).open(book).expect("the book is there");
        end.write_all(&record(id, 0, 0)).expect("the book can be written");
        let place = end.stream_position().expect("a file has a position") - RECORD;
        let file = OpenOptions::new().write(true).open(book).expect("the book is there");
        Page { id, written: 0, file, place }
    }

    fn write_lines(&mut self, dice: &mut Dice) {
        let mut text = String::new();
        let mut lines = 0;
        for _ in 0..=dice.below(20) {
            let padding = usize::try_from(dice.below(150)).expect("it is small");
            lines += 1;
            writeln!(text, "L {:016x} {} {:x<padding$}.", self.id, self.written + lines, "")
                .expect("text takes all");
        }
        assert!(text.len() <= libc::PIPE_BUF);
        self.note(self.written, self.written + lines);
        // Whoever cannot write has lost its reader, which is the end of the supervisor.
        if std::io::stdout().write_all(text.as_bytes()).is_err() {
            exit(1);
        }
        self.written += lines;
        self.note(self.written, self.written);
    }

    fn note(&self, written: u64, perhaps: u64) {
        self.file
            .write_all_at(&record(self.id, written, perhaps), self.place)
            .expect("the book can be written");
    }
}

/// The bytes of a record.
const RECORD: u64 = 24;

fn record(id: u64, written: u64, perhaps: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (place, number) in [id, written, perhaps].iter().enumerate() {
        bytes[place * 8..][..8].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Randomness of a life's own: xorshift64*.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let mut seed = [0; 8];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut seed))
            .expect("there is randomness");
        Dice(u64::from_le_bytes(seed) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn crash(&mut self) -> ! {
        match self.below(4) {
            0 => exit(1),
            1 => exit(3),
            2 => std::process::abort(),
            _ => {
                // SAFETY: no memory is involved.
                unsafe { libc::raise(libc::SIGKILL) };
                unreachable!("nobody survives that")
            }
        }
    }

    /// A process below us that does the same; one of three leaves our session, and nobody waits for any.
    fn fork(&mut self, book: &str) {
        let own = std::env::current_exe().expect("there is /proc");
        let mut command = if self.below(3) == 0 { Command::new("setsid") } else { Command::new(&own) };
        if command.get_program() != own.as_os_str() {
            command.arg(&own);
        }
        // Where there is no process left, there is none more.
        let _ = command.args(["offspring", book]).spawn();
    }
}
