//! What may happen next.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use super::{History, remove};
use crate::book::Place;
use crate::cast::{Entry, kind, procfile, spec};
use crate::check::sight::{Seen, look};
use crate::harness::send;
use crate::life::Life;

impl History {
    /// Anything at all.
    pub(super) fn step(&mut self) {
        match self.dice.below(124) {
            0..20 => self.scale(),
            20..28 => self.stop(),
            28..40 => self.restart(false),
            40..48 => self.restart(true),
            48..54 => self.signal(),
            54..70 => self.kill(),
            70..74 => (0..6).for_each(|_| self.kill()),
            74..82 => self.suspend(),
            82..88 => self.resume(),
            88..98 => self.reload(),
            98..102 => self.reload_nonsense(),
            102..106 => self.suspend_supervisor(),
            106..112 => self.hang_up(),
            112..117 => self.run_once(),
            117..120 => self.relapse(),
            120..122 => self.connect(),
            _ => self.kill_supervisor(),
        }
    }

    fn any_entry(&mut self) -> Entry {
        self.dice.pick(&self.book.entries).expect("there are types").clone()
    }

    /// A type, a slot of one, or everybody, as JSON and as places.
    fn targets(&mut self) -> (String, Vec<Place>) {
        let name = self.any_entry().name;
        let of_type = self.book.places_of(name);
        match self.dice.below(12) {
            0 => ("{}".to_owned(), self.book.places()),
            1..6 => (format!("{{\"targets\":[\"{name}\"]}}"), of_type),
            _ => match self.dice.pick(&of_type).cloned() {
                Some(place) => {
                    (format!("{{\"targets\":[\"{}.{}\"]}}", place.name, place.number), vec![place])
                }
                None => (format!("{{\"targets\":[\"{name}\"]}}"), of_type),
            },
        }
    }

    fn scale(&mut self) {
        let name = self.any_entry().name;
        let (before, most) = (self.book.count(name), kind(name).most);
        let count = u32::try_from(self.dice.below(u64::from(most) + 1)).expect("a handful");
        let words = match self.dice.below(3) {
            0 if count >= before => format!("\"+{}\"", count - before),
            1 if count < before => format!("\"-{}\"", before - count),
            _ => count.to_string(),
        };
        self.note(format!("scale {name} from {before} to {count} by {words}"));
        self.change("/v1/formation", &format!("{{\"{name}\":{words}}}"));
        self.book.scaled(name, count);
    }

    fn stop(&mut self) {
        let (targets, places) = self.targets();
        self.note(format!("stop {targets}"));
        self.change("/v1/stop", &targets);
        self.book.asked_to_stop(&places);
    }

    fn restart(&mut self, rolling: bool) {
        let (targets, places) = self.targets();
        let body = match (rolling, targets.as_str()) {
            (false, targets) => targets.to_owned(),
            (true, "{}") => "{\"rolling\":true}".to_owned(),
            (true, targets) => targets.replace('}', ",\"rolling\":true}"),
        };
        self.note(format!("restart {body}"));
        self.change("/v1/restart", &body);
        self.book.asked_to_restart(&places);
    }

    /// USR1 to who says so, KILL to anybody.
    fn signal(&mut self) {
        let name = self.any_entry().name;
        let signal = if kind(name).answers_usr1 { "USR1" } else { "CONT" };
        self.note(format!("signal {signal} {name}"));
        let body = format!("{{\"signal\":\"{signal}\",\"targets\":[\"{name}\"]}}");
        let (status, answer) = self.life.ask("POST", "/v1/signal", &body);
        // Where nobody of them runs, it is refused.
        assert!([200, 202, 409].contains(&status), "signal: {status} {answer}");
    }

    /// Any process of the formation: its place, and what it is.
    fn anybody(&mut self) -> Option<(i32, Place, Seen)> {
        let alive = self.life.run.alive();
        let pid = self.dice.pick(&alive)?.0;
        let seen = look(pid)?;
        let (name, number) = seen.variable("PS")?.rsplit_once('.')?;
        let place = Place { name: name.to_owned(), number: number.parse().ok()? };
        Some((pid, place, seen))
    }

    /// As [`Sight::leads`].
    fn leads(&self, pid: i32, seen: &Seen) -> bool {
        let supervisor = self.life.run.pid();
        let session = look(supervisor).map(|supervisor| supervisor.session);
        (seen.parent, seen.group, Some(seen.session)) == (supervisor, pid, session)
    }

    /// SIGKILL for a leader or for any of its descendants.
    fn kill(&mut self) {
        let Some((pid, place, seen)) = self.anybody() else { return };
        self.note(format!("kill {pid} of {place:?}: {}", seen.command));
        send(pid, libc::SIGKILL);
        if self.leads(pid, &seen) {
            self.book.leader_killed(&place);
        }
    }

    fn suspend(&mut self) {
        let Some((pid, place, seen)) = self.anybody() else { return };
        // Who has not said yet that it is ready would be found unwell, and nothing would ever be quiet.
        let ready = self.life.ps().processes.iter().any(|process| {
            process.name.to_string() == format!("{}.{}", place.name, place.number)
                && process.ready
                && (process.pid.map(supervise::api::Pid::raw) == Some(pid) || !self.leads(pid, &seen))
        });
        if ready {
            self.note(format!("suspend {pid} of {place:?}"));
            send(pid, libc::SIGSTOP);
        }
    }

    fn resume(&mut self) {
        self.note("everybody goes on");
        self.life.run.alive().iter().for_each(|(pid, _)| send(*pid, libc::SIGCONT));
    }

    /// Another edition of some, another order, one more or one fewer, another quantity.
    fn reload(&mut self) {
        let mut entries = self.book.entries.clone();
        let at = |history: &mut History, entries: &[Entry]| {
            usize::try_from(history.dice.below(entries.len() as u64)).expect("below a length")
        };
        for _ in 0..=self.dice.below(2) {
            let place = at(self, &entries);
            match self.dice.below(8) {
                0..4 => {
                    self.editions += 1;
                    entries[place].edition = self.editions;
                }
                4 => entries[place].quantity = entries[place].quantity % kind(entries[place].name).most + 1,
                5 => {
                    let moved = entries.remove(place);
                    let to = at(self, &entries);
                    entries.insert(to, moved);
                }
                _ => match entries.iter().position(|entry| entry.name == "extra") {
                    Some(extra) => drop(entries.remove(extra)),
                    None => entries.insert(place, Entry { name: "extra", edition: 1, quantity: 2 }),
                },
            }
        }
        self.note(format!(
            "reload {:?}",
            entries.iter().filter(|entry| !self.book.entries.contains(entry)).collect::<Vec<_>>()
        ));
        if self.releases.is_empty() {
            self.files_become(entries);
        } else {
            // Where another one still goes on, nothing changes.
            self.deploy(entries);
        }
    }

    /// Files that cannot be used change nothing.
    fn reload_nonsense(&mut self) {
        self.note("reload nonsense");
        let directory = self.life.app("");
        let (good, good_spec) =
            (procfile(&self.book.entries, &directory), spec(&self.book.entries, &directory));
        if self.dice.happens(50) {
            self.write(&format!("{good}no colon\n"), &good_spec);
        } else {
            self.write(&good, &format!("{good_spec}  nobody: 2\n"));
        }
        let (status, answer) = self.life.ask("POST", "/v1/reload?wait=true", "{}");
        assert!((400..500).contains(&status), "it was taken: {status} {answer}");
        self.write(&good, &good_spec);
    }

    fn suspend_supervisor(&mut self) {
        let millis = 20 + self.dice.below(700);
        self.note(format!("the supervisor stands still for {millis} ms"));
        self.life.run.signal(libc::SIGSTOP);
        // The length is part of the history; nothing is waited for.
        thread::sleep(Duration::from_millis(millis));
        self.life.run.signal(libc::SIGCONT);
    }

    /// A client that is gone before it has asked, or before it is answered.
    fn hang_up(&mut self) {
        let name = self.any_entry().name;
        let part = usize::try_from(self.dice.below(90)).expect("small");
        match self.dice.below(4) {
            0 => {
                self.note(format!("a client hangs up after {part} bytes"));
                // Its body never comes.
                self.life.hang_up_after(part, "POST", "/v1/stop", "{}");
            }
            1 => {
                self.note("a client hangs up and leaves its logs");
                self.life.hang_up_after(usize::MAX, "GET", "/v1/logs?follow=true&n=1000", "");
            }
            2 => {
                self.note("a client hangs up and leaves its answer");
                self.life.hang_up_after(usize::MAX, "GET", "/v1/processes", "");
            }
            _ => {
                self.note(format!("a client restarts {name} and hangs up"));
                let body = format!("{{\"targets\":[\"{name}\"]}}");
                self.life.hang_up_after(usize::MAX, "POST", "/v1/restart?wait=true", &body);
                // Whether it was heard is nobody's promise; what was stopped may run again, so it is asked once more.
                let places = self.book.places_of(name);
                self.life.change("/v1/restart", &body);
                self.book.asked_to_restart(&places);
            }
        }
    }

    fn run_once(&mut self) {
        let command = match self.dice.below(3) {
            0 => "[\"chaos\",\"say\",\"once well\"]",
            1 => "[\"chaos\",\"fork\",\"sleep\",\"1h\",\"end\",\"say\",\"once badly\",\"exit\",\"3\"]",
            _ => "[\"chaos\",\"tell\",\"50\",\"10ms\"]",
        };
        self.note(format!("run {command}"));
        let answer = self.life.change("/v1/run", &format!("{{\"command\":{command}}}"));
        if command.contains("tell") {
            let name = answer["processes"][0]["name"].as_str().expect("it has a name").to_owned();
            let millis = self.dice.below(200);
            thread::sleep(Duration::from_millis(millis));
            self.life.change("/v1/stop", &format!("{{\"targets\":[\"{name}\"]}}"));
        }
    }

    /// The type that ends badly in its first lives does so again.
    fn relapse(&mut self) {
        remove(&self.life.app("lives"));
        let Some(leader) = self.life.ps().processes.iter().find_map(|process| {
            (process.process_type.as_str() == "crash").then(|| Some((process.slot, process.pid?.raw())))?
        }) else {
            return;
        };
        let (number, pid) = leader;
        self.note(format!("crash.{number} has a relapse, {pid} is killed"));
        send(pid, libc::SIGKILL);
        self.book.leader_killed(&Place { name: "crash".to_owned(), number });
    }

    /// Whoever answers on the shared socket is an instance that is shown.
    fn connect(&mut self) {
        let Ok(client) = UnixStream::connect(self.life.app("app.sock")) else { return };
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("it is a socket");
        let mut answer = String::new();
        // Where nobody runs, or all are suspended, nobody answers.
        if BufReader::new(client).read_line(&mut answer).is_ok() && !answer.is_empty() {
            self.note(format!("on the socket answers {}", answer.trim_end()));
            let pid = answer.trim_end().split_once(' ').and_then(|(_, pid)| pid.parse().ok()).expect("a pid");
            let is_ours = look(pid).is_none_or(|seen| seen.variable("SUPERVISE_TYPE") == Some("sock"));
            assert!(is_ours, "{answer} is nobody of ours");
        }
    }

    /// SIGKILL for the supervisor, and a start that finds what is left.
    fn kill_supervisor(&mut self) {
        self.note("the supervisor is killed");
        self.life.run.is_killed();
        self.lives += 1;
        let current: &[&str] = if self.releases.is_empty() { &[] } else { &["--release", "current"] };
        let next = Life::begin(&self.project.clone().args(current), self.lives);
        let last = std::mem::replace(&mut self.life, next);
        self.dead.push(last.run);
        self.book = self.book_of_a_new_life();
        self.log.lines.push(format!("it runs {}", self.book.release));
        // Nobody is left who would answer.
        self.unanswered.clear();
        (self.before, self.held) = (None, std::collections::BTreeMap::new());
        self.comes_to_rest();
    }
}
