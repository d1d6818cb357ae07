//! The house stays as it is drawn: arrows run one way, files stay small, and nothing is left for later.
//!
//! Each rule is a function from a file's name and text to complaints; a planted offence shows that it can find one.

use std::fs;
use std::path::Path;

/// A source file: its path below the repository and its text.
struct Source {
    path: String,
    text: String,
}

/// The rooms from the ground up, and which rooms each may import.
const ROOMS: [(&str, &[&str]); 8] = [
    ("api", &[]),
    ("app", &["api"]),
    ("store", &["api", "app"]),
    ("supervisor", &["api", "app"]),
    ("stream", &["api", "app"]),
    ("daemon", &["api", "app", "store", "supervisor", "stream"]),
    ("client", &["api", "app", "store", "supervisor", "stream"]),
    ("cli", &["api", "app", "store", "supervisor", "stream", "daemon", "client"]),
];

/// What the deciding room must never know of.
const WORLDLY: [&str; 12] = [
    "tokio",
    "nix",
    "libc",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync",
    "std::thread",
    "Instant",
    "SystemTime",
];

/// Lines of a file in the deciding room, and of any file.
const LONGEST_DECIDING: usize = 400;
const LONGEST: usize = 600;

#[test]
fn imports_flow_one_way() {
    expect_none(upward_import);
    expect_one(upward_import, "src/app/plan.rs", "use crate::supervisor::Time;\n");
    expect_one(upward_import, "src/api/name.rs", "use crate::app::Policy;\n");
    expect_one(upward_import, "src/stream/mod.rs", "use crate::daemon::Options;\n");
    expect_one(upward_import, "src/stream/line.rs", "fn f(event: crate::supervisor::Event) {}\n");
    expect_one(upward_import, "src/client/run.rs", "use crate::{api::Pid, daemon::Inherited};\n");
    expect_one(upward_import, "src/api/mod.rs", "use super::app;\n");
    expect_no_complaint(
        upward_import,
        "src/daemon/host.rs",
        "use crate::supervisor::Time; // crate::client\n",
    );
}

#[test]
fn the_room_that_decides_knows_nothing_of_the_world() {
    expect_none(worldly_decider);
    expect_one(worldly_decider, "src/supervisor/time.rs", "use std::time::{Duration, Instant};\n");
    expect_one(worldly_decider, "src/supervisor/slot.rs", "let text = std::fs::read(path);\n");
    expect_one(worldly_decider, "src/supervisor/slot.rs", "use std::{fmt, thread};\n");
    expect_no_complaint(worldly_decider, "src/daemon/clock.rs", "use std::time::Instant;\n");
    expect_no_complaint(
        worldly_decider,
        "src/supervisor/mod.rs",
        "let instance = InstanceId(1); // Instant\n",
    );
}

#[test]
fn every_state_and_event_is_named_where_decisions_are_made() {
    expect_none(wildcard_decision);
    expect_one(wildcard_decision, "src/supervisor/settle.rs", "match phase {\n    _ => {}\n}\n");
    expect_one(wildcard_decision, "src/supervisor/settle.rs", "match phase {\n    _ if due => {}\n}\n");
    expect_no_complaint(
        wildcard_decision,
        "src/supervisor/settle.rs",
        "match pair {\n    (Up, _) => {}\n}\n",
    );
}

#[test]
fn files_stay_small_enough_to_be_read() {
    expect_none(too_long);
    expect_one(too_long, "src/supervisor/slot.rs", &"//\n".repeat(LONGEST_DECIDING + 1));
    expect_one(too_long, "src/daemon/host.rs", &"//\n".repeat(LONGEST + 1));
    expect_no_complaint(too_long, "src/daemon/host.rs", &"//\n".repeat(LONGEST));
}

#[test]
fn every_module_says_first_what_it_is_for() {
    expect_none(without_opening);
    expect_one(without_opening, "src/lib.rs", "pub mod api;\n//! Too late.\n");
}

#[test]
fn nothing_is_left_for_later() {
    expect_none(left_for_later);
    for offence in ["todo!()", "unimplemented!(\"yet\")", "// TODO: soon", "// FIXME"] {
        expect_one(left_for_later, "src/main.rs", offence);
    }
}

#[test]
fn no_supervisor_asks_git() {
    expect_none(git_in_daemon);
    expect_one(git_in_daemon, "src/daemon/host.rs", "let altered = store.examine(&kept)?;\n");
    expect_one(git_in_daemon, "src/daemon/host.rs", "Store::create(&place, &draft)\n");
    expect_no_complaint(git_in_daemon, "src/client/release/create.rs", "Store::create(&place, &draft)\n");
}

#[test]
fn one_reaper_owns_every_wait() {
    expect_none(foreign_wait);
    expect_one(foreign_wait, "src/store/kept.rs", "use std::process::Command;");
    for offence in [
        "tokio::process::Command::new(\"ls\")",
        "use std::process::Command;",
        "use std::process::{Child, exit};",
        "std::process::Command::new(\"ls\")",
    ] {
        expect_one(foreign_wait, "src/daemon/spawn.rs", offence);
    }
    expect_no_complaint(foreign_wait, "src/main.rs", "use std::process::ExitCode;");
    let test = "#[cfg(test)]\nmod tests {\n    use std::process::Command;\n}\n";
    expect_no_complaint(foreign_wait, "src/daemon/kill.rs", test);
    expect_one(foreign_wait, "src/daemon/kill.rs", &format!("use std::process::Child;\n{test}"));
    expect_no_complaint(foreign_wait, "src/client/mod.rs", "use crate::app::Command;");
    let becomes = "use std::process::Command;\nCommand::new(program).exec();\n";
    expect_no_complaint(foreign_wait, "src/client/run.rs", becomes);
    expect_one(foreign_wait, "src/client/run.rs", &becomes.replace("exec", "status"));
}

fn upward_import(source: &Source) -> Vec<String> {
    let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| source.room() == Some(*room)) else {
        return Vec::new();
    };
    let code = source.code();
    let names =
        ROOMS.iter().map(|(other, _)| *other).filter(|other| other != room && !allowed.contains(other));
    let roots = ["crate::", "supervise::"].into_iter().chain(source.is_top_of_room().then_some("super::"));
    let roots: Vec<&str> = roots.collect();
    names
        .filter(|other| roots.iter().any(|root| paths_below(&code, root).iter().any(|path| path == other)))
        .map(|other| format!("`{room}` imports `{other}`"))
        .collect()
}

fn worldly_decider(source: &Source) -> Vec<String> {
    if source.room() != Some("supervisor") {
        return Vec::new();
    }
    let code = source.code();
    let knows = |name: &&&str| match name.split_once("::") {
        Some((root, item)) => paths_below(&code, &format!("{root}::")).iter().any(|path| path == item),
        None => words(&code).any(|word| word == **name),
    };
    WORLDLY.iter().filter(knows).map(|name| format!("it knows of `{name}`")).collect()
}

fn wildcard_decision(source: &Source) -> Vec<String> {
    if source.room() != Some("supervisor") {
        return Vec::new();
    }
    let code = source.code();
    let arms = code
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("_ =>") || line.starts_with("_ if "));
    arms.map(|line| format!("a wildcard arm: {line}")).collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let longest = if source.room() == Some("supervisor") { LONGEST_DECIDING } else { LONGEST };
    let lines = source.text.lines().count();
    if lines > longest {
        vec![format!("{lines} lines; {longest} at most: find the second room")]
    } else {
        vec![]
    }
}

fn without_opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { vec![] } else { vec!["it does not open with `//!`".to_owned()] }
}

fn left_for_later(source: &Source) -> Vec<String> {
    let marks = ["todo!", "unimplemented!", "TODO", "FIXME"];
    let found = marks.into_iter().filter(|mark| source.text.contains(mark));
    found.map(|mark| format!("`{mark}`")).collect()
}

/// What of the store may start a process, whose end the reaper would take for somebody else's.
fn git_in_daemon(source: &Source) -> Vec<String> {
    if source.room() != Some("daemon") {
        return Vec::new();
    }
    let code = source.code();
    let asks = [".examine(", "Store::create("].into_iter().filter(|asks| code.contains(asks));
    asks.map(|asks| format!("`{asks}` may ask git, and only commands do")).collect()
}

fn foreign_wait(source: &Source) -> Vec<String> {
    // Tests of a room, in a file of their own or last in it, run where there is no reaper.
    if source.path.ends_with("_tests.rs") {
        return Vec::new();
    }
    let code = source.code();
    let code = code.split_once("#[cfg(test)]\nmod tests {").map_or(code.as_str(), |(code, _)| code);
    // No supervisor asks git (see the next rule): there is no reaper.
    if source.path == "src/store/git.rs" {
        return Vec::new();
    }
    // `run` becomes the command: there is no child to wait for.
    let becomes = source.path == "src/client/run.rs"
        && !["spawn(", "output(", "status("].iter().any(|waits| code.contains(waits));
    let of_tokio = paths_below(code, "tokio::").into_iter().filter(|path| path == "process");
    let of_std = paths_below(code, "std::process::").into_iter();
    let of_std = of_std.filter(|path| (path == "Command" && !becomes) || path == "Child");
    of_tokio
        .chain(of_std)
        .map(|name| format!("it uses a foreign `{name}`: the reaper would not know"))
        .collect()
}

impl Source {
    /// The room that it belongs to: a directory of `src`, or a file in it.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split('/').next().unwrap_or(below).trim_end_matches(".rs"))
    }

    /// Whether `super` is the crate.
    fn is_top_of_room(&self) -> bool {
        self.path.ends_with("/mod.rs") || self.path.matches('/').count() == 1
    }

    /// The text without comments. A `//` in a string literal ends its line too early, which hides nothing but strings.
    fn code(&self) -> String {
        let lines = self.text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The first names of all paths below a root: `crate::{a::B, c}` has `a` and `c` below `crate::`.
fn paths_below(code: &str, root: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (start, _) in code.match_indices(root) {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == ':') {
            continue;
        }
        let after = &code[start + root.len()..];
        match after.strip_prefix('{') {
            None => names.push(first_word(after)),
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && is_word(c) => {
                            names.push(first_word(&group[at..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every source file of the crate.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut directories = vec![root.join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the crate has its sources") {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                let path = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 20, "only {} sources: looked in the wrong place", found.len());
    found
}

#[track_caller]
fn expect_none(rule: impl Fn(&Source) -> Vec<String>) {
    let complaints: Vec<String> = sources()
        .iter()
        .flat_map(|source| rule(source).into_iter().map(|complaint| format!("{}: {complaint}", source.path)))
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[track_caller]
fn expect_one(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) {
    let complaints = rule(&Source { path: path.to_owned(), text: text.to_owned() });
    assert_eq!(complaints.len(), 1, "{path} with `{text}`: {complaints:?}");
}

#[track_caller]
fn expect_no_complaint(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) {
    let complaints = rule(&Source { path: path.to_owned(), text: text.to_owned() });
    assert!(complaints.is_empty(), "{path} with `{text}`: {complaints:?}");
}
