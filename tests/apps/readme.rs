//! What the README shows is what the program does.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::{Project, repository};

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("there is a README")
}

/// The first fenced block of that language.
fn block(language: &str) -> String {
    let readme = readme();
    let after = readme.split_once(&format!("```{language}\n")).expect("there is such a block").1;
    after.split_once("```").expect("it ends").0.to_owned()
}

fn section(title: &str) -> String {
    let readme = readme();
    let after = readme.split_once(&format!("\n## {title}\n")).expect("there is such a section").1;
    after.split("\n## ").next().expect("split yields one").to_owned()
}

/// Exit code, stdout and stderr of one command in that project.
fn supervise(project: &Project, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = project.command(arguments).output().expect("the built binary can be started");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn project() -> Project {
    Project::new()
        .with("Procfile", &block("procfile"))
        .with("supervise.yml", &block("yaml"))
        .with_variable("REDIS_URL", "redis://localhost")
}

/// What stands between the first two backticks, where the text begins with one.
fn code(cell: &str) -> Option<&str> {
    cell.trim().strip_prefix('`')?.split('`').next()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Words that begin with two dashes.
fn long_flags(text: &str) -> BTreeSet<String> {
    let part_of_a_flag = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split(|c| !part_of_a_flag(c))
        .filter(|word| word.starts_with("--") && word.len() > 3)
        .map(str::to_owned)
        .collect()
}

#[test]
fn its_procfile_and_its_spec_are_valid() {
    let (code, stdout, stderr) = supervise(&project(), &["check"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "valid procfile detected (web, worker, beat)\n");
}

#[test]
fn every_flag_is_in_the_help_and_in_the_table() {
    let project = project();
    let mut helped = BTreeSet::new();
    for verb in [
        "start",
        "check",
        "run",
        "config",
        "releases",
        "release create",
        "release show",
        "release diff",
        "release prune",
        "ps",
        "scale",
        "restart",
        "stop",
        "signal",
        "logs",
        "events",
        "health",
        "reload",
        "deploy",
        "rollback",
        "shutdown",
        "completions",
        "man",
    ] {
        let (code, help, stderr) = supervise(&project, &words(&format!("{verb} --help")));
        assert_eq!(code, Some(0), "{stderr}");
        helped.extend(long_flags(&help));
    }
    helped.remove("--help");
    let section = section("Commands and flags");
    let rows = section.lines().filter(|line| line.starts_with("| `-"));
    let table: Vec<&str> = rows.filter_map(|line| line.split(" | ").next()).collect();
    assert_eq!(long_flags(&table.join("\n")), helped);
}

#[test]
fn its_env_file_lines_mean_what_it_says() {
    let section = section("Environment");
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((code(cells.next()?)?, code(cells.next()?)?))
        })
        .collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for (line, value) in rows {
        let project = project().with(".env", &format!("{line}\n"));
        let (code, stdout, stderr) = supervise(&project, &["run", "printenv", "A"]);
        assert_eq!((code, stdout.trim_end()), (Some(0), value), "{line}: {stderr}");
    }
}
