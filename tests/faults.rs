//! What must not break a supervisor, row by row, and the tests that show it: the table in CONTRIBUTING.md is made from
//! their names.
//!
//! A test of row 9 is called `fault_09_..`, and `control_09_..` if it shows that what such a test looks with would see
//! the fault. `cargo test _09_` runs both. `UPDATE_GOLDEN=1 cargo test --test faults` writes the table anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What happens, in the order of the rows; `None` where a row has no test, and why.
const FAULTS: [(&str, Needs); 74] = [
    ("a child ignores SIGTERM", Needs::Nothing),
    ("a child takes its time to end", Needs::Nothing),
    ("a leader ends and a member of its group does not", Needs::Nothing),
    ("a grandchild keeps the pipe open", Needs::Nothing),
    ("a process forks twice and leaves its session", Needs::Nothing),
    (
        "500 processes fork while they are killed",
        Needs::Some("the kill of a whole cgroup: root and a cgroup of version 2"),
    ),
    ("a suspended child is to end", Needs::Nothing),
    ("a child is suspended for ever", Needs::Nothing),
    ("a child closes its stdout and runs on", Needs::Nothing),
    ("a line has no end", Needs::Nothing),
    ("output is no text", Needs::Nothing),
    ("two processes write at once", Needs::Nothing),
    ("the last line has no end", Needs::Nothing),
    ("100,000 lines come right before the end", Needs::Nothing),
    ("nobody reads our stdout for a while", Needs::Nothing),
    ("the reader of our stdout is gone", Needs::Nothing),
    ("we are started without stdin, stdout or stderr", Needs::Nothing),
    ("our stdout does not block", Needs::Nothing),
    ("the disk of the log file is full", Needs::Some("a file system of its own: root")),
    ("there are no descriptors left", Needs::Nothing),
    ("there are no processes left", Needs::Some("a user of its own: root")),
    ("there is no memory left for a new process", Needs::Some("seccomp's notifications: Linux 5.5")),
    ("a program is not there", Needs::Nothing),
    ("a program cannot be executed", Needs::Nothing),
    ("the working directory is not there", Needs::Nothing),
    ("a thousand children end within a millisecond", Needs::Nothing),
    ("200 children end at once", Needs::Nothing),
    ("a child and an orphan end at once", Needs::Nothing),
    ("a pid is used again", Needs::Some("a small pid namespace: root")),
    ("a leader is dead and its group lives", Needs::Nothing),
    ("the clock is set", Needs::Some("seccomp's notifications or a machine of its own")),
    ("we stand still for a while", Needs::Some("the whole of it: a freezer, root")),
    ("two signals to end come in a row", Needs::Nothing),
    ("we are to end while instances are started", Needs::Nothing),
    ("we are to end while a restart is waited for", Needs::Nothing),
    ("we are to end before we have begun", Needs::Nothing),
    ("the terminal hangs up", Needs::Nothing),
    ("Ctrl-Z", Needs::Nothing),
    ("Ctrl-Z while instances are started", Needs::Nothing),
    ("a child reads the terminal", Needs::Nothing),
    ("any other signal", Needs::Nothing),
    ("signals were blocked or ignored when we were started", Needs::Nothing),
    ("something is asked for during the shutdown", Needs::Nothing),
    ("a type is scaled to 0 and back while it drains", Needs::Nothing),
    ("a crash loop", Needs::Nothing),
    ("a crash some time after each start", Needs::Nothing),
    ("an instance ends before it is ready", Needs::Nothing),
    ("an instance never becomes ready", Needs::Nothing),
    ("somebody else says that it is ready", Needs::Some("a sender of another user: root")),
    ("a probe hangs, forks or prints without end", Needs::Nothing),
    ("a probe fails while its instance drains", Needs::Nothing),
    ("a socket file of somebody who is gone", Needs::Nothing),
    ("twenty supervisors of one directory", Needs::Nothing),
    ("the socket file is removed", Needs::Nothing),
    ("requests that are none", Needs::Nothing),
    ("half a request, 200 times", Needs::Nothing),
    ("10,000 requests in one breath", Needs::Nothing),
    ("a client goes away", Needs::Nothing),
    ("a follower never reads", Needs::Nothing),
    ("a client of another user", Needs::Some("root")),
    ("we are killed", Needs::Nothing),
    ("a part of us breaks", Needs::Nothing),
    ("a child is killed for memory", Needs::Some("a cgroup with a limit: root")),
    ("we are near the end of memory", Needs::Nothing),
    ("orphans end", Needs::Nothing),
    ("orphans cannot come to us", Needs::Nothing),
    ("a child survives SIGKILL", Needs::Some("a freezer of version 1, root")),
    ("a PORT is taken", Needs::Nothing),
    ("a rolling restart brings what does not work", Needs::Nothing),
    ("a rolling restart is interrupted", Needs::Nothing),
    (
        "we are replaced by a newer version of us",
        Needs::NotYet("`supervise` does not replace itself; it ends and is started anew"),
    ),
    ("values of the environment are odd", Needs::Nothing),
    ("a read-only root, no HOME, any user", Needs::Nothing),
    ("another init is above us", Needs::Nothing),
];

/// What a row asks of a machine.
enum Needs {
    Nothing,
    /// At least one of its tests says so and passes where it is not given.
    Some(&'static str),
    /// No test can be made.
    NotYet(&'static str),
}

const BEGIN: &str = "<!-- made by: UPDATE_GOLDEN=1 cargo test --test faults -->\n";
const END: &str = "<!-- end of what is made -->\n";

#[test]
fn the_table_of_faults_is_what_the_tests_are_called() {
    let path = root().join("CONTRIBUTING.md");
    let page = fs::read_to_string(&path).expect("there is a CONTRIBUTING.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table has a beginning");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    let expected = self::table(&sentences());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, [before, BEGIN, &expected, END, after].concat()).expect("it can be written");
    } else {
        assert!(table == expected, "write it anew: UPDATE_GOLDEN=1 cargo test --test faults\n\n{expected}");
    }
}

#[test]
fn every_row_has_a_test_or_says_why_it_has_none() {
    let sentences = sentences();
    for (row, (fault, needs)) in (1..).zip(&FAULTS) {
        let tested = sentences.get(&row).is_some_and(|said| said.iter().any(|said| !said.control));
        assert_eq!(tested, !matches!(needs, Needs::NotYet(_)), "row {row}: {fault}");
    }
    let beyond: Vec<_> = sentences.keys().filter(|row| !(1..=FAULTS.len()).contains(row)).collect();
    assert!(beyond.is_empty(), "there are no such rows: {beyond:?}");
}

#[test]
fn a_test_is_known_by_its_name_and_nothing_else_is() {
    let source = "#[test]\nfn fault_09_all_is_well() {\n    fault_10_is_a_call();\n}\n\
                  fn control_09_it_is_seen() {}\n/// fn fault_11_in_a_comment() {}\n";
    let found: Vec<_> = named(source).collect();
    assert_eq!(found, [(9, false, "all is well".to_owned()), (9, true, "it is seen".to_owned())]);
}

fn table(sentences: &BTreeMap<usize, Vec<Sentence>>) -> String {
    let mut text = "| | fault | what is seen | where |\n|---|---|---|---|\n".to_owned();
    for (row, (fault, needs)) in (1..).zip(&FAULTS) {
        let said = sentences.get(&row).map(Vec::as_slice).unwrap_or_default();
        let mut seen: Vec<String> =
            said.iter().filter(|said| !said.control).map(|said| said.text.clone()).collect();
        seen.extend(said.iter().filter(|said| said.control).map(|said| format!("*control:* {}", said.text)));
        match needs {
            Needs::Nothing => {}
            Needs::Some(what) => seen.push(format!("*needs* {what}")),
            Needs::NotYet(why) => seen.push(format!("*not tested:* {why}")),
        }
        let mut places: Vec<&str> = said.iter().map(|said| said.place.as_str()).collect();
        places.sort_unstable();
        places.dedup();
        writeln!(text, "| {row} | {fault} | {} | {} |", seen.join("; "), places.join(", "))
            .expect("text takes everything");
    }
    text
}

/// What one test says.
struct Sentence {
    text: String,
    /// Whether it shows that a fault would be seen.
    control: bool,
    /// `e2e/stop`: the file without what is the same in all.
    place: String,
}

/// What the tests say of each row, without repetition.
fn sentences() -> BTreeMap<usize, Vec<Sentence>> {
    let mut found: BTreeMap<usize, Vec<Sentence>> = BTreeMap::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("sources are text");
        let place = path.strip_prefix(root()).expect("below the root").with_extension("");
        let place = place.to_string_lossy().trim_start_matches("tests/").to_owned();
        for (row, control, text) in named(&text) {
            let row = found.entry(row).or_default();
            if row.iter().all(|said| said.text != text) {
                row.push(Sentence { text, control, place: place.clone() });
            }
        }
    }
    assert!(found.len() > 60, "only {} rows: looked in the wrong place", found.len());
    found
}

/// The functions of a source that are named after a row: its number, whether it is a control, and the sentence.
fn named(source: &str) -> impl Iterator<Item = (usize, bool, String)> {
    source.lines().filter_map(|line| {
        let name = line.trim_start().trim_start_matches("pub ").strip_prefix("fn ")?.split('(').next()?;
        let (kind, rest) = name.split_once('_')?;
        let control = match kind {
            "fault" => false,
            "control" => true,
            _ => return None,
        };
        let (row, sentence) = rest.split_once('_')?;
        Some((row.parse().ok()?, control, sentence.replace('_', " ")))
    })
}

/// Every source file of the crate and of its tests but this one, in a fixed order.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("src"), root().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the crate has its sources") {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests/faults.rs")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
