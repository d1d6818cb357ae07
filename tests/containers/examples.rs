//! examples/container, as its README says.

use std::path::Path;
use std::process::Command;

use crate::harness::{Container, Engine, Recipe, engine, eventually, repository};

/// Builds one of the images from its files.
fn build(engine: &Engine, image: &str, directory: &str, options: &[&str]) {
    let context = engine.context(directory);
    let from = repository().join("examples/container").join(directory).join(".");
    let copied = Command::new("cp").arg("-r").arg(from).arg(&context).status().expect("there is a cp");
    assert!(copied.success(), "{copied}");
    engine.build(image, options, &context);
}

#[test]
fn the_image_from_scratch_serves_is_healthy_and_stops() {
    let Some(engine) = engine() else { return };
    build(engine, "supervise-demo", "scratch", &[]);
    let container = Recipe::image(engine, "supervise-demo")
        .options(&["--read-only", "--user", "12345"])
        .start(&["worker=2"]);
    assert!(container.serves(8000, "/").contains("It runs."));
    container.says("| working", 4);
    container.becomes("healthy");
    let (took, code) = container.stop();
    assert_eq!(code, 0, "{}", container.logs());
    assert!(took.as_secs() < 5, "{took:?}: {}", container.logs());
}

#[test]
fn the_image_of_python_serves_and_a_stop_loses_no_request() {
    let Some(engine) = engine() else { return };
    let base = repository().join("target/containers/python.tar");
    let base = base.to_str().expect("a path in UTF-8");
    // Debian's pip wants to be told that this is a container.
    engine.must(&["import", "--change", "ENV PIP_BREAK_SYSTEM_PACKAGES=1", base, "python-base"]);
    build(engine, "supervise-python", "python", &["--build-arg", "BASE=python-base"]);
    let container = Recipe::image(engine, "supervise-python").options(&["--read-only"]).start(&[]);
    assert!(container.serves(8000, "/health").contains("web.1"));
    container.says("| working", 1);
    container.becomes("healthy");

    let address = format!("{}:8000", container.address());
    let code = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| engine.http(&address, "/slow"));
        let asked = [ask(), ask(), ask(), ask()];
        // All four are being answered, each by a thread of its own.
        let busy = || container.answers(&["python3", "-c", "print(open('/proc/net/tcp').read())"]);
        let is_one = |line: &&str| {
            line.split_whitespace().nth(1).is_some_and(|own| own.ends_with(":1F40")) && line.contains(" 01 ")
        };
        eventually("four requests", busy, |seen| seen.lines().filter(is_one).count() == 4);
        let (_, code) = container.stop();
        for answer in asked {
            let answer = answer.join().expect("it only asks");
            assert!(
                answer.as_ref().is_ok_and(|text| text.contains("200 OK")),
                "{answer:?}: {}",
                container.logs()
            );
        }
        code
    });
    assert_eq!(code, 0, "{}", container.logs());
    container.says("worker.1  | stopped", 1);
}

#[test]
fn compose_runs_a_container_for_each_type() {
    let Some(engine) = engine() else { return };
    build(engine, "supervise-demo", "scratch", &[]);
    let compose = Path::new("/usr/bin/docker-compose");
    let file = repository().join("examples/container/compose.yaml");
    let file = file.to_str().expect("a path in UTF-8");
    let compose = |words: &[&str]| {
        let answer = engine.run(compose, &[&["-f", file, "-p", "story"], words].concat(), b"");
        assert_eq!(answer.code, 0, "docker-compose {words:?}: {answer:?}");
        answer.out
    };
    compose(&["up", "-d"]);
    let container = |service: &str| Container::named(engine, compose(&["ps", "-q", service]).trim());
    let (web, worker) = (container("web"), container("worker"));
    assert!(web.serves(8000, "/").contains("It runs."));
    web.says("formation: web=2", 1);
    worker.says("formation: worker=2", 1);
    web.becomes("healthy");
    worker.becomes("healthy");
    compose(&["stop"]);
    assert_eq!((web.ended(), worker.ended()), (0, 0), "{}{}", web.logs(), worker.logs());
    compose(&["down"]);
}
