//! Each check sees what it looks for: a real formation in which something is wrong, or what was seen of it with a lie in it.

use std::fs;
use std::process::Command;

use supervise::api::State;

use super::book::{Book, Place};
use super::cast::Entry;
use super::check::sight::look;
use super::check::stream::{Hearing, counted};
use super::check::{Complaints, Sight, asked, core, processes};
use super::harness::{eventually, is_alive, send, state};
use super::history::History;
use super::life::Retold;

/// A formation at rest, and how it was then.
fn at_rest() -> (History, Sight) {
    let mut history = History::begin(1);
    history.comes_to_rest();
    let sight = Sight::new(&history.life);
    assert_eq!(everything(&sight, &history.book), Complaints::new());
    (history, sight)
}

fn everything(sight: &Sight, book: &Book) -> Complaints {
    [processes::complaints(sight), asked::complaints(sight, book), asked::particulars(sight, book)].concat()
}

#[track_caller]
fn sees(complaints: &Complaints, what: &str) {
    assert!(complaints.iter().any(|complaint| complaint.contains(what)), "no `{what}` in {complaints:#?}");
}

fn web() -> Place {
    Place { name: "web".to_owned(), number: 1 }
}

#[test]
fn a_stray_a_zombie_and_a_process_that_was_stopped_behind_our_back_are_seen() {
    let (history, sight) = at_rest();
    let web = sight.ps.processes.iter().find(|process| process.name.to_string() == "web.1").expect("it runs");
    let (leader, seen) = sight.leader(web).expect("it lives");
    let mark = seen.variable("E2E_MARK").expect("everybody has it");
    // Of a life that is over, as far as anybody can tell.
    let mut stray = Command::new("sleep");
    stray.arg("3600").env("E2E_MARK", mark).env("SUPERVISE_INSTANCE", "gone-1").env("PS", "web.1");
    let mut stray = stray.spawn().expect("there is a sleep");
    eventually(
        "a stray that is seen",
        || {
            let complaints = processes::complaints(&Sight::new(&history.life));
            complaints.iter().any(|complaint| complaint.contains("is of no instance")).then_some(())
        },
        || "the stray has another mark".to_owned(),
    );
    stray.kill().and_then(|()| stray.wait()).expect("it is our child");

    let steady = sight.ps.processes.iter().find(|process| process.name.to_string() == "steady.1");
    let (pid, _) = steady.and_then(|process| sight.leader(process)).expect("it lives");
    send(pid, libc::SIGSTOP);
    eventually("a stopped process", || (state(pid) == Some('T')).then_some(()), || "none".to_owned());
    let seen = look(pid).expect("it lives");
    let mut stopped = sight.clone();
    stopped.family.insert(pid, seen);
    sees(&processes::complaints(&stopped), "is shown as not suspended");

    // As long as the supervisor stands still, nobody waits for who has died.
    let supervisor = history.life.run.pid();
    send(supervisor, libc::SIGSTOP);
    send(leader, libc::SIGKILL);
    eventually("a zombie", || (state(leader) == Some('Z')).then_some(()), || "none".to_owned());
    let mut while_it_stands = sight.clone();
    while_it_stands.family.insert(leader, look(leader).expect("it is not waited for"));
    sees(&processes::complaints(&while_it_stands), "is a zombie");
    send(supervisor, libc::SIGCONT);
    eventually("its end", || (!is_alive(leader)).then_some(()), || "it lives".to_owned());
    abandon(history);
}

#[test]
fn lies_of_ps_are_seen() {
    let (history, sight) = at_rest();
    let book = &history.book;
    let lie = |lie: &dyn Fn(&mut Sight)| {
        let mut other = sight.clone();
        lie(&mut other);
        other
    };
    let at =
        sight.ps.processes.iter().position(|process| process.name.to_string() == "web.1").expect("it runs");

    let hidden = lie(&|sight| drop(sight.ps.processes.remove(at)));
    sees(&processes::complaints(&hidden), "is of no instance");
    sees(&asked::complaints(&hidden, book), "is missing");
    let other_pid = lie(&|sight| sight.ps.processes[at].pid = sight.ps.processes[at + 1].pid);
    sees(&processes::complaints(&other_pid), "have one leader");
    let no_pid = lie(&|sight| sight.ps.processes[at].pid = None);
    sees(&processes::complaints(&no_pid), "with pid None");
    let gone = lie(&|sight| drop(sight.family.remove(&sight.ps.processes[at].pid.expect("it lives").raw())));
    sees(&processes::complaints(&gone), "which is not there");

    let named_web = |sight: &mut Sight| {
        let steady = sight.ps.processes[at + 1].pid.expect("it lives").raw();
        let seen = sight.family.get_mut(&steady).expect("it lives");
        seen.environment.insert("PS".to_owned(), "web.1".to_owned());
    };
    assert_eq!(processes::twins(&sight), Complaints::new());
    sees(&processes::twins(&lie(&named_web)), "web.1 has more than one leader");

    let port = lie(&|sight| sight.ps.processes[at].port = sight.ps.processes[at].port.map(|port| port + 1));
    sees(&asked::particulars(&port, book), "was to have");
    let same = lie(&|sight| sight.ps.processes[at].port = sight.ps.processes[at + 1].port);
    sees(&asked::particulars(&same, book), "have one PORT");
    let deaf = lie(&|sight| sight.listeners.clear());
    sees(&asked::particulars(&deaf, book), "does not listen");
    let thief = lie(&|sight| sight.listeners.values_mut().for_each(|inodes| inodes.push(1)));
    sees(&asked::particulars(&thief, book), "somebody else");

    let failed = lie(&|sight| sight.ps.processes[at].state = State::Failed);
    sees(&asked::complaints(&failed, book), "was to be");
    let restarted = lie(&|sight| sight.ps.processes[at].restarts += 1);
    sees(&asked::changes(&sight, &restarted, book), "restarts do not fit");
    let born = lie(&|sight| sight.family.values_mut().for_each(|seen| seen.born += 1));
    sees(&asked::changes(&sight, &born, book), "it is another one");

    let told = history.life.core.status().expect("there is a trace");
    assert_eq!(core::complaints(&sight.ps, &told), Complaints::new());
    for other in [&hidden, &no_pid, &port, &failed, &restarted] {
        sees(&core::complaints(&other.ps, &told), "the trace");
    }

    let mut fuller = sight.clone();
    *fuller.descriptors.entry("socket".to_owned()).or_default() += 1;
    fuller.threads += 1;
    sees(&history.held_otherwise(&fuller), "descriptors: ");
    sees(&history.held_otherwise(&fuller), "threads before");
    abandon(history);
}

#[test]
fn what_was_asked_for_and_did_not_happen_is_seen() {
    let (history, sight) = at_rest();
    let book = || history.book.clone();
    let with = |change: &dyn Fn(&mut Book)| {
        let mut book = book();
        change(&mut book);
        book
    };
    let scaled = with(&|book| book.scaled("web", 3));
    sees(&asked::complaints(&sight, &scaled), "the formation is");
    let stopped = with(&|book| book.asked_to_stop(&[web()]));
    sees(&asked::complaints(&sight, &stopped), "was to be Resting");
    let renewed = with(&|book| book.asked_to_restart(&[web()]));
    sees(&asked::changes(&sight, &sight, &renewed), "the old instance is still there");
    let killed = with(&|book| book.leader_killed(&web()));
    sees(&asked::changes(&sight, &sight, &killed), "the old instance is still there");
    sees(&asked::changes(&sight, &sight, &killed), "restarts do not fit");
    let other = with(&|book| {
        let next = |entry: &Entry| Entry { edition: entry.edition + 1, ..entry.clone() };
        book.reread(book.entries.iter().map(next).collect());
    });
    sees(&asked::particulars(&sight, &other), "was to be of edition");
    abandon(history);
}

#[test]
fn lines_that_are_lost_torn_twice_out_of_order_or_anothers_are_seen() {
    let (history, _) = at_rest();
    let ten = || {
        history.life.run.look_at(|seen| {
            let told = |line: &&Vec<u8>| String::from_utf8_lossy(line).contains("tell steady.1 ");
            let lines: Vec<Vec<u8>> = seen.out.iter().filter(told).take(10).cloned().collect();
            (lines.len() == 10).then_some(lines)
        })
    };
    let lines = eventually("ten lines", ten, || history.life.to_string());
    let count = counted(&history.life.told);
    let teller = String::from_utf8_lossy(&lines[0]).split(' ').nth(2).expect("who tells").to_owned();
    assert!(count[&teller] >= 10, "{count:?}");
    let ten_counted = [(teller, 10)].into();
    let heard = |lines: &[Vec<u8>]| {
        let mut hearing = Hearing::default();
        for line in lines {
            hearing.hear(line);
        }
        [hearing.missing(&ten_counted), hearing.complaints].concat()
    };
    assert_eq!(heard(&lines), Complaints::new());
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut other = lines.clone();
        change(&mut other);
        heard(&other)
    };
    sees(&with(&|lines| drop(lines.remove(4))), "1 lines are missing");
    sees(&with(&|lines| drop(lines.pop())), "1 lines are missing");
    sees(&with(&|lines| lines.insert(4, lines[4].clone())), "a line twice");
    sees(&with(&|lines| lines.swap(4, 5)), "out of order");
    let change = |line: &Vec<u8>, from: &str, to: &str| {
        String::from_utf8_lossy(line).replacen(from, to, 1).into_bytes()
    };
    sees(&with(&|lines| lines[4] = change(&lines[4], "tell steady.1 ", "tell ")), "a torn line");
    sees(&with(&|lines| lines[4] = change(&lines[4], "xx", "xtell")), "a torn line");
    sees(&with(&|lines| lines[4] = change(&lines[4], "tell ", "ell ")), "a line that nobody wrote");
    sees(&with(&|lines| lines[4] = change(&lines[4], "steady.1", "steady.2")), "another's name");
    sees(&with(&|lines| lines[4].truncate(30)), "no JSON");
    let said = br#"{"stream":"notice","event":"dropped","lines":1,"message":"1 lines dropped"}"#.to_vec();
    let said_so = with(&|lines| {
        lines[4] = said.clone();
    });
    assert_eq!(said_so, Complaints::new(), "what was said to be dropped may be missing");
    abandon(history);
}

#[test]
fn a_trace_with_a_step_missing_is_seen() {
    let (mut history, _) = at_rest();
    history.life.change("/v1/formation", "{\"web\":2}");
    history.book.scaled("web", 2);
    history.comes_to_rest();
    let path = history.life.app("trace-1");
    let text = fs::read_to_string(&path).expect("there is a trace");
    let whole = history.life.app("whole");
    fs::write(&whole, &text).expect("the directory is ours");
    let mut retold = Retold::new(whole);
    assert!(retold.catch_up().expect("it is as it was") > 10);
    let lines: Vec<&str> = text.lines().collect();
    let asked = lines.iter().position(|line| line.contains("Requested")).expect("it was asked for");
    let torn = history.life.app("torn");
    let without = [&lines[..asked], &lines[asked + 1..]].concat().join("\n");
    fs::write(&torn, without + "\n").expect("the directory is ours");
    let told = Retold::new(torn).catch_up();
    assert!(told.is_err(), "{told:?}");
    abandon(history);
}

/// The end of a history that is not told to its end.
fn abandon(mut history: History) {
    history.life.run.is_killed();
}
