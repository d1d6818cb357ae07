//! `man`: pages that man(1) understands.

use std::io::Write;
use std::process::{Command, Stdio};

use super::test::Test;

/// A page of ours, and what a formatter makes of it; `None` where there is none on this machine.
fn rendered(arguments: &[&str]) -> (String, Option<String>) {
    let page = Command::new(env!("CARGO_BIN_EXE_supervise")).args(arguments).output().expect("it was built");
    assert!(page.status.success() && page.stderr.is_empty(), "{page:?}");
    let formatters: [&[&str]; 3] = [
        &["man", "--warnings", "-l", "-"],
        &["groff", "-man", "-Tutf8", "-ww"],
        &["mandoc", "-W", "error", "-T", "utf8"],
    ];
    let mut text = None;
    for formatter in formatters {
        let child = Command::new(formatter[0])
            .args(&formatter[1..])
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("there is no `{}` here: not tried", formatter[0]);
            continue;
        };
        child.stdin.take().expect("it is piped").write_all(&page.stdout).expect("it reads");
        let output = child.wait_with_output().expect("it is ours");
        let plain = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{formatter:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{formatter:?}");
        text = text.or(Some(plain));
    }
    (String::from_utf8(page.stdout).expect("it is text"), text)
}

#[test]
fn the_page_names_every_verb_and_renders_without_a_warning() {
    let (roff, text) = rendered(&["man"]);
    assert!(roff.contains(".TH supervise 1"), "{roff}");
    for verb in ["start", "ps", "scale", "shutdown", "completions"] {
        assert!(roff.contains(&format!("supervise\\-{verb}(1)")), "{verb}: {roff}");
    }
    if let Some(text) = text {
        assert!(text.contains("A Procfile-driven process supervisor"), "{text}");
        assert!(!text.contains("is not in this version"), "{text}");
    }
}

#[test]
fn every_verb_has_a_page_with_its_flags_and_examples() {
    for (verb, says) in [
        ("start", "--log-buffer"),
        ("scale", "supervise scale worker+2"),
        ("logs", "--follow"),
        ("release", "release diff v1 v2"),
    ] {
        let (roff, text) = rendered(&["man", verb]);
        assert!(roff.contains(&format!(".TH supervise-{verb} 1")), "{roff}");
        if let Some(text) = text {
            assert!(text.contains("NOTES") && !text.contains("EXTRA"), "{verb}: {text}");
            assert!(text.contains(says), "{verb}: {text}");
        }
    }
    Test::new("man nosuch").code(2).stderr_says(&["there is no command `nosuch`"]).run();
}
