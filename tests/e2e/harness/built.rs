//! A program of the tests' own, beside the supervisor: `cargo test --test NAME` alone does not build it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The example of this name, made from this source where that is newer.
pub(crate) fn built(example: &str, source: &str) -> PathBuf {
    let supervise = Path::new(env!("CARGO_BIN_EXE_supervise"));
    let program = supervise.with_file_name("examples").join(example);
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    if changed(&program) < Some(changed(&source).unwrap_or(SystemTime::UNIX_EPOCH)) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", example, "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        if supervise.parent().is_some_and(|profile| profile.ends_with("release")) {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo can be run").success(), "`{example}` can be built");
    }
    assert!(program.exists(), "no {}: run `cargo build --example {example}`", program.display());
    program
}
