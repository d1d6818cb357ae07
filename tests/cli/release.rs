//! `release` and `releases`, and `--release` of those who run what was kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// An app that is released again and again.
struct App {
    directory: PathBuf,
}

/// What a run ended with and said, with what differs from run to run taken out.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl App {
    fn new() -> App {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("supervise-cli-release-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("shop")).expect("the temporary directory is writable");
        let app = App { directory: directory.canonicalize().expect("it is there") };
        app.file("Procfile", "web: printenv GREETING PORT\nworker: sleep 100\n");
        app.file(".env", "GREETING=hello\nTOKEN=hunter2\n");
        app
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join("shop").join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it is ours");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("it is there");
    }

    fn git(&self, arguments: &str) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments.split(' '));
        git.env_clear().env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = git.current_dir(self.path("")).output().expect("there is git");
        assert!(output.status.success(), "{arguments}: {output:?}");
    }

    fn say(&self, arguments: &str) -> Said {
        self.say_with(arguments, &[])
    }

    fn say_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_supervise"))
            .args(arguments.split_whitespace())
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_STATE_HOME", self.directory.join("state"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the program was built");
        let text = |bytes: &[u8]| self.constant(&String::from_utf8_lossy(bytes));
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Must succeed and complain of nothing.
    fn ok(&self, arguments: &str) -> String {
        let said = self.say(arguments);
        assert!(said.code == Some(0) && said.err.is_empty(), "{arguments}: {said:?}");
        said.out
    }

    /// Must fail with this code, print nothing, and say all of this.
    fn refused(&self, arguments: &str, code: i32, pieces: &[&str]) {
        let said = self.say(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments}: {}", said.err);
        for piece in pieces {
            assert!(said.err.contains(piece), "{piece:?} is not said of `{arguments}`: {}", said.err);
        }
        assert!(!said.err.contains("hunter2"), "{}", said.err);
    }

    /// Directories, times, users and hashes are others each time.
    fn constant(&self, text: &str) -> String {
        let text = text.replace(&self.directory.display().to_string(), "[DIR]");
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let word =
                rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, after) = rest.split_at(word);
            let hash = [8, 12, 16, 32].contains(&word.len())
                && word.chars().all(hex)
                && word.chars().any(|c| c.is_ascii_digit());
            let time = word.starts_with("20") && after.starts_with('-') && after.find('Z') == Some(15);
            out.push_str(if time {
                "[TIME]"
            } else if hash {
                "[HASH]"
            } else {
                word
            });
            rest = if time { &after[16..] } else { after };
        }
        out
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Compares with a file of `tests/cli/golden`, whatever the width of columns and whoever we are; `UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, text: &str) {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    let user = user.unwrap_or_else(|| format!("uid {}", nix::unistd::geteuid()));
    let line = |line: &str| {
        let begin: String = line.chars().take_while(|c| *c == ' ').collect();
        let words: Vec<&str> =
            line.split_whitespace().map(|word| if word == user { "[USER]" } else { word }).collect();
        format!("{begin}{}\n", words.join(" "))
    };
    let text: String = text.lines().map(line).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{name}");
}

/// Three releases with everything that can differ.
fn three() -> App {
    let app = App::new();
    app.git("init -q .");
    app.file(".gitignore", ".env\n");
    app.git("add .");
    app.git("commit -q -m one");
    assert_eq!(app.ok("release create -m first"), "v1: build [HASH], 2 variables, id [HASH]\n");
    app.file("Procfile", "web: printenv GREETING\nclock: sleep 100\n");
    app.file("supervise.yml", "formation: { web: { quantity: 2, drain: 20s, env: { KEY: zqsecret } } }\n");
    app.file(".env", "GREETING=hi\nDATABASE_URL=postgres://u:hunter2@db\n");
    let created = app.ok("release create -m faster");
    assert_eq!(created, "v2: build [HASH]-dirty-[HASH], 2 variables, id [HASH]\n");
    app.git("add .");
    app.git("commit -q -m two");
    app.ok("release create");
    app
}

#[test]
fn releases_are_listed_the_newest_first_without_any_value() {
    let app = three();
    golden("releases-table.txt", &app.ok("releases"));
    let json = app.ok("releases --json");
    let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&parsed["schema"], &parsed["current"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(parsed["releases"][0]["release"], "v3");
    assert_eq!(parsed["releases"][2]["config"], serde_json::json!(["GREETING", "TOKEN"]));
    assert!(!json.contains("hunter2") && !json.contains("hello"), "{json}");
}

#[test]
fn a_release_is_shown_with_everything_but_its_values() {
    let app = three();
    golden("release-show-text.txt", &app.ok("release show v2"));
    assert_eq!(app.ok("release show 2"), app.ok("release show v2"));
    let shown = app.ok("release show v2 --show-values");
    assert!(shown.contains("  GREETING hi\n"), "{shown}");
    let json = app.ok("release show --json");
    let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&parsed["release"], &parsed["formation"]["web"]), (&"v3".into(), &2.into()));
    assert!(!json.contains("hunter2"), "{json}");
    let values: serde_json::Value =
        serde_json::from_str(&app.ok("release show v1 --json --show-values")).expect("it is JSON");
    assert_eq!(values["values"]["TOKEN"], "hunter2");
}

#[test]
fn two_releases_differ_in_build_procfile_formation_spec_and_config() {
    let app = three();
    golden("release-diff-text.txt", &app.ok("release diff v1 v2"));
    let shown = app.ok("release diff v1 v2 --show-values");
    assert!(shown.contains("  ~ GREETING: hello -> hi\n"), "{shown}");
    assert!(shown.contains("  + formation.web.env.KEY: zqsecret\n"), "{shown}");
    assert_eq!(app.ok("release diff v2 v2"), "v2 -> v2\nnothing differs\n");
}

#[test]
fn a_release_runs_what_it_was_made_of_whatever_has_become_of_the_files() {
    let app = App::new();
    app.ok("release create");
    app.file("Procfile", "other: x\n");
    app.file(".env", "GREETING=changed\n");
    // Of the config nothing comes from the environment; of everything else it does.
    let variables = [("GREETING", "real"), ("OTHER", "real"), ("PORT", "7000")];
    let said = app.say_with("run --release v1 printenv GREETING OTHER", &variables);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "hello\nreal\n"), "{}", said.err);
    assert_eq!(app.say_with("run --release v1 web", &variables).out, "hello\n7000\n");
    let place = app.ok("run --release v1 pwd");
    assert_eq!(place, "[DIR]/state/supervise/shop/builds/[HASH]\n");
    let config = app.ok("config --release v1 worker");
    let line = config.lines().find(|line| line.starts_with("GREETING ")).expect("it is there");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..], ["(hidden)", "[DIR]/state/supervise/shop/releases/v1/config.env:1"]);
    let id = app.ok("config --release v1 --show-values worker");
    let id = id.lines().find(|line| line.starts_with("SUPERVISE_RELEASE_ID ")).expect("it is there");
    assert_eq!(id.split_whitespace().nth(1), Some("[HASH]"));
    // The files here are not even needed: only to find out which app it is.
    fs::remove_dir_all(app.path("")).expect("it is ours");
    fs::create_dir(app.path("")).expect("it is ours");
    let out = app.ok("run --state ../state/supervise/shop --release v1 printenv GREETING");
    assert_eq!(out, "hello\n");
}

#[test]
fn a_release_that_runs_is_the_current_one_and_is_not_pruned() {
    let app = App::new();
    app.file("Procfile", "web: exec sleep 100\n");
    for _ in 0..3 {
        app.ok("release create");
    }
    app.file("Procfile", "nobody: exit 1\n");
    let runtime = app.directory.join("run");
    fs::create_dir(&runtime).expect("it is ours");
    let at = [("XDG_RUNTIME_DIR", runtime.to_str().expect("it is UTF-8"))];
    let say = |line: &str| app.say_with(line, &at);
    let started = say("start -D --no-port --release v1");
    // Whatever fails from here on: it shall not stay.
    let ended = Shutdown(|| say("shutdown"));
    assert_eq!(started.code, Some(0), "{started:?}");
    let ps = say("ps --json");
    assert!(ps.out.contains("\"release\":\"v1\""), "{ps:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !app.ok("releases").contains("current") {
        assert!(Instant::now() < deadline, "it never becomes current: {}", app.ok("releases"));
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is the same app: the same socket, and so one of them at a time.
    let second = say("start --no-port --release v2");
    assert!(
        second.code == Some(1) && second.err.contains("already runs")
            || second.err.contains("already running"),
        "{second:?}"
    );
    // Neither as the current one ...
    assert_eq!(app.ok("release prune --keep 2"), "nothing was removed\n");
    let deployed = app.directory.join("state/supervise/shop/deployed.json");
    assert_eq!(
        fs::read_to_string(&deployed).expect("it is there"),
        "{\"current\":\"v1\",\"completed\":[\"v1\"]}\n"
    );
    // ... nor as one that only runs.
    fs::remove_file(&deployed).expect("it is ours");
    assert_eq!(app.ok("release prune --keep 1"), "removed v2\nkept v1: in use\n");
    drop(ended);
    assert_eq!(app.ok("release prune --keep 1"), "removed v1\n");
}

/// Does something at the end of a test, however it ends.
struct Shutdown<F: Fn() -> Said>(F);

impl<F: Fn() -> Said> Drop for Shutdown<F> {
    fn drop(&mut self) {
        let said = (self.0)();
        if !std::thread::panicking() {
            assert_eq!(said.code, Some(0), "{said:?}");
        }
    }
}

#[test]
fn a_release_that_is_not_there_is_an_error_that_names_those_that_are() {
    let app = App::new();
    app.refused(
        "release show",
        2,
        &["there are no releases: [DIR]/state/supervise/shop is not there", "`supervise release create`"],
    );
    assert_eq!(
        app.say("releases").err,
        "there are no releases yet: `supervise release create` makes the first one\n"
    );
    assert_eq!(app.ok("releases --json"), "{\"current\":null,\"releases\":[],\"schema\":1}\n");
    app.ok("release create");
    app.ok("release create");
    let there = "there are: `v2`, `v1`";
    for line in [
        "release show v3",
        "start --release v3",
        "run --release v3 ls",
        "config --release v3",
        "release diff v1 v3",
    ] {
        app.refused(line, 2, &["error: there is no release `v3`\n", there]);
    }
    app.refused("start --release curent", 2, &["there is no release `curent`", "did you mean `current`?"]);
    app.refused("start --release current", 2, &["no release was deployed yet", there]);
    app.refused(
        "release create --build nosuch",
        2,
        &["`--build nosuch`: there is no such directory and no such build"],
    );
}

#[test]
fn what_is_wrong_with_the_files_is_said_as_check_says_it_and_nothing_is_made() {
    let app = App::new();
    app.file("supervise.yml", "formation: { wbe: 2 }\n");
    app.file(".env", "A='hunter2\n");
    let check = app.say("check");
    let create = app.say("release create");
    assert_eq!((create.code, &create.err), (Some(2), &check.err));
    assert!(!app.directory.join("state").exists());
    app.remove("supervise.yml");
    app.remove(".env");
    app.refused("release create --capture TOKEN", 2, &["`--capture TOKEN`: it is not set"]);
    app.refused("release create -e nosuch", 2, &["nosuch: there is no such env file"]);
    app.remove("Procfile");
    app.refused("release create", 2, &["there is no such Procfile", "`-f FILE`"]);
    assert!(!app.directory.join("state").exists());
}

#[test]
fn a_build_is_a_directory_or_that_of_an_earlier_release() {
    let app = App::new();
    fs::create_dir(app.path("dist")).expect("it is ours");
    app.file("dist/code", "1");
    let first = app.ok("release create --build dist");
    assert_eq!(first, "v1: build files-[HASH], 2 variables, id [HASH]\n");
    assert_eq!(app.ok("run --release v1 ls"), "code\n");
    app.file("dist/code", "2");
    app.ok("release create --build dist");
    assert_eq!(app.ok("run --release v2 cat code"), "2");
    app.file(".env", "GREETING=new\n");
    for build in ["v1", "1"] {
        app.ok(&format!("release create --build {build}"));
    }
    assert_eq!(app.ok("run --release v4 cat code"), "1");
    assert_eq!(app.ok("run --release v4 printenv GREETING"), "new\n");
    app.refused("release create --build files", 2, &["`--build files` may be several builds", "`v1`, `v2`"]);
    app.refused("release create --build v9", 2, &["there is no such directory and no such build"]);
}

#[test]
fn a_build_that_is_not_as_committed_is_refused_where_it_has_to_be() {
    let app = App::new();
    app.refused("release create --require-clean", 2, &["`--require-clean`", "no part of a git repository"]);
    app.refused("release create --in-place", 2, &["`--in-place`", "no part of a git repository"]);
    app.git("init -q .");
    app.git("add Procfile");
    app.git("commit -q -m one");
    // The env file that is read is no part of the build.
    app.ok("release create --require-clean");
    app.file("new", "");
    app.refused(
        "release create --require-clean",
        2,
        &["something in [DIR]/shop is not as committed", "`git status`"],
    );
    app.remove("new");
    app.refused("release create --in-place", 2, &["something in [DIR]/shop is not as committed"]);
    app.file(".gitignore", ".env\n");
    app.git("add .gitignore");
    app.git("commit -q -m two");
    assert_eq!(app.ok("release create --in-place"), "v2: build [HASH]-in-place, 2 variables, id [HASH]\n");
    assert_eq!(app.ok("run --release v2 pwd"), "[DIR]/shop\n");
    app.file("new", "");
    app.refused(
        "run --release v2 pwd",
        1,
        &["v2 runs in [DIR]/shop, and something in it is not as committed"],
    );
    app.git("add new");
    app.git("commit -q -m three");
    app.refused("run --release v2 pwd", 1, &["another commit is checked out there", "checkout"]);
    assert_eq!(app.ok("run --release v1 ls"), "Procfile\n");
}

#[test]
fn of_old_releases_only_the_newest_are_kept() {
    let app = App::new();
    for _ in 0..4 {
        app.ok("release create");
    }
    assert_eq!(app.ok("release prune"), "nothing was removed\n");
    assert_eq!(app.ok("release prune --keep 2"), "removed v1 v2\n");
    app.ok("release create");
    assert_eq!(app.ok("releases").lines().count(), 4, "v5, v4, v3");
    app.refused("release prune --keep 0", 2, &["invalid value '0'"]);
}

#[test]
fn another_app_of_the_same_name_keeps_its_releases_elsewhere() {
    let app = App::new();
    app.ok("release create");
    let other = app.directory.join("other/shop");
    fs::create_dir_all(&other).expect("it is ours");
    fs::write(other.join("Procfile"), "web: x\n").expect("it is ours");
    let elsewhere = ["-f ../other/shop/Procfile releases", "-f ../other/shop/Procfile release create"];
    for line in elsewhere {
        app.refused(
            line,
            2,
            &[
                "keeps the releases of [DIR]/shop/Procfile, not those of [DIR]/other/shop/Procfile",
                "`--state DIR`",
            ],
        );
    }
    app.ok("-f ../other/shop/Procfile release create --state ../other/state");
    let state = app.say_with("releases", &[("XDG_STATE_HOME", "")]);
    assert!(state.code == Some(2) && state.err.contains("neither XDG_STATE_HOME nor HOME"), "{state:?}");
    let home = [("XDG_STATE_HOME", ""), ("HOME", app.directory.to_str().expect("it is UTF-8"))];
    let made = app.say_with("release create", &home);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(app.directory.join(".local/state/supervise/shop/store.json").exists());
}

#[test]
fn a_damaged_release_hides_no_other_and_says_what_is_wrong_with_it() {
    let app = App::new();
    app.ok("release create");
    app.ok("release create");
    let config = app.directory.join("state/supervise/shop/releases/v1/config.env");
    fs::write(config, "TOKEN=\"hunter3\"\n").expect("it is ours");
    let said = app.say("releases");
    assert_eq!((said.code, said.out.lines().count()), (Some(1), 2), "{said:?}");
    assert!(said.err.starts_with("error: v1 is not as it was made: its seal does not fit"), "{}", said.err);
    assert!(!said.err.contains("hunter"), "{}", said.err);
    app.refused("run --release v1 ls", 1, &["v1 is not as it was made"]);
    app.ok("run --release v2 ls");
}
