//! Releases under a supervisor, by the real program: what is deployed comes to run or nothing changes, whatever happens meanwhile.

mod change;
mod killed;
mod one_off;
mod refused;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Directory, Run, Supervise, eventually};
use crate::verbs::Answer;

/// An app whose releases are kept below its own `HOME`.
struct App {
    project: Supervise,
}

impl App {
    /// Without any release yet; whoever is deaf is killed soon.
    fn new(procfile: &str) -> App {
        let app = App { project: Supervise::with("").args(["-t", "1s"]) };
        app.writes("Procfile", procfile);
        app
    }

    fn directory(&self) -> &Directory {
        self.project.directory()
    }

    /// Writes a file of the working tree; `{TOP}` in it is a directory that no release has.
    fn writes(&self, name: &str, text: &str) {
        let text = text.replace("{TOP}", &self.directory().top().display().to_string());
        std::fs::write(self.directory().app(name), text).expect("the directory is ours");
    }

    /// Makes a release of another Procfile, and of what else is there.
    fn release(&self, procfile: &str) {
        self.writes("Procfile", procfile);
        self.says(&["release", "create"]);
    }

    /// A FIFO for `chaos gate {TOP}/NAME`, which no release has.
    fn gate(&self, name: &str) {
        self.directory().gate(&format!("../{name}"));
    }

    fn open_gate(&self, name: &str) {
        self.directory().open_gate(&format!("../{name}"));
    }

    /// Where its releases are.
    fn store(&self) -> PathBuf {
        self.directory().top().join(".local/state/supervise/app")
    }

    /// A verb, where the app is.
    fn verb(&self, words: &[&str]) -> Command {
        let top = self.directory().top();
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
        command
            .args(words)
            .current_dir(self.directory().app(""))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", top.join("bin").display()))
            .env("HOME", top)
            .env("XDG_RUNTIME_DIR", top.join("runtime"));
        command
    }

    fn asks(&self, words: &[&str]) -> Answer {
        answer(&self.verb(words).output().expect("the program was built"))
    }

    /// What it says where all is well.
    #[track_caller]
    fn says(&self, words: &[&str]) -> String {
        let Answer { code, out, err } = self.asks(words);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}\n{out}");
        out
    }

    /// What it complains of, with that code.
    #[track_caller]
    fn refuses(&self, words: &[&str], code: i32) -> String {
        let answer = self.asks(words);
        assert_eq!(answer.code, Some(code), "{words:?}\n{}\n{}", answer.out, answer.err);
        answer.err
    }

    /// The numbers of the releases that are listed, the newest first, and the current one.
    fn listed(&self) -> (Vec<String>, Option<String>) {
        let listed: Value = serde_json::from_str(&self.says(&["releases", "--json"])).expect("it is JSON");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let releases = listed["releases"].as_array().expect("a list");
        (releases.iter().filter_map(|kept| text(&kept["release"])).collect(), text(&listed["current"]))
    }

    fn current(&self) -> Option<String> {
        self.listed().1
    }

    fn becomes_current(&self, release: &str, run: &Run) {
        let look = || (self.current().as_deref() == Some(release)).then_some(());
        eventually(&format!("{release} is current"), look, || {
            format!("{:?}\n{}", self.listed(), run.so_far())
        });
    }

    /// The release that each slot runs, by `ps`.
    fn ps(&self) -> BTreeMap<String, String> {
        let status: Value = serde_json::from_str(&self.says(&["ps", "--json"])).expect("it is JSON");
        let processes = status["processes"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        processes.iter().map(|process| (text(&process["name"]), text(&process["release"]))).collect()
    }

    /// Waits until exactly these run, each of its release.
    fn comes_to(&self, wanted: &[(&str, &str)], run: &Run) {
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(name, of)| ((*name).into(), (*of).into())).collect();
        let look = || (self.ps() == wanted).then_some(());
        eventually(&format!("{wanted:?}"), look, || format!("{:?}\n{}", self.ps(), run.so_far()));
    }

    /// What an instance of a release sees as `SUPERVISE_RELEASE_ID`.
    fn id(&self, release: &str) -> String {
        let shown = self.says(&["release", "show", release, "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
        shown["id"].as_str().expect("a text").to_owned()
    }

    /// Runs a release, which is the current one soon.
    fn runs(&self, release: &str) -> Run {
        let run = self.project.clone().args(["--release", release]).start();
        self.becomes_current(release, &run);
        run
    }
}

fn answer(output: &Output) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
