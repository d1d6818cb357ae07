//! What a platform does with a container: variables, a PORT, any user, nothing to write to, a look inside.

use crate::harness::{Container, Recipe, engine, eventually};

/// A process with children whose parents have ended; they end soon after, one after the other.
pub(crate) const ORPHANS: &str =
    "for i in $(seq 50); do (sleep 0.$i &); done; echo orphaned; exec sleep 1000\n";

/// Waits until no process of the container is dead and not waited for.
pub(crate) fn no_zombies(container: &Container) {
    container.says("| orphaned", 2);
    let processes = || container.answers(&["busybox", "ps", "-o", "stat,comm"]);
    // Without a sleeping orphan: the apps, those before us, and a shell that looks.
    eventually("all orphans gone", processes, |all| count(all, 'S') < 12);
    eventually("no zombie", processes, |all| count(all, 'Z') == 0);
}

fn count(processes: &str, state: char) -> usize {
    processes.lines().filter(|line| line.starts_with(state)).count()
}

#[test]
fn fault_65_orphans_are_reaped_by_the_first_process() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, &format!("web: {ORPHANS}")).start(&["web=2"]);
    no_zombies(&container);
    assert_eq!(container.stop().1, 0, "{}", container.logs());
}

#[test]
fn control_65_a_first_process_that_does_not_reap_leaves_zombies() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, "")
        .options(&["--entrypoint", "sh"])
        .start(&["-c", "for i in $(seq 50); do (sleep 0.$i &); done; exec sleep 1000"]);
    let processes = || container.answers(&["busybox", "ps", "-o", "stat,comm"]);
    // The shell may have waited for some before it became one that never does.
    eventually("zombies", processes, |all| count(all, 'Z') > 10);
}

#[test]
fn the_platforms_port_is_that_of_web_wherever_it_stands() {
    let Some(engine) = engine() else { return };
    let app = "worker: busybox sleep 1000\nweb: busybox httpd -f -p $PORT -h /app\n";
    let container = Recipe::procfile(engine, app).options(&["-e", "PORT=8080"]).start(&[]);
    let answer = container.serves(8080, "/Procfile");
    assert!(answer.contains("worker: busybox sleep"), "{answer}");
    container.says("ports: worker 8180, web 8080", 1);
}

#[test]
fn an_image_is_configured_by_variables_alone() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, "job: exit 9\n")
        .with("Other", "job: echo port $PORT; trap '' TERM; while :; do sleep 0.1; done\n")
        .options(&[
            "-e",
            "SUPERVISE_PROCFILE=/app/Other",
            "-e",
            "SUPERVISE_FORMAT=json",
            "-e",
            "SUPERVISE_PORT=7000",
        ])
        .options(&["-e", "SUPERVISE_DRAIN=300ms"])
        .start(&[]);
    container.says("\"message\":\"port 7000\"", 1);
    let (took, code) = container.stop();
    assert_eq!(code, 137, "{}", container.logs());
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(container.logs().lines().all(|line| line.starts_with("{\"timestamp\":")), "{}", container.logs());
}

#[test]
fn fault_73_any_user_may_run_it_with_a_root_that_cannot_be_written_and_no_home() {
    let Some(engine) = engine() else { return };
    let app = "web: id -u; env; echo x >/app/x; echo x >/tmp/x; exec busybox httpd -f -p $PORT -h /app\n";
    let container = Recipe::procfile(engine, app).options(&["--read-only", "--user", "12345"]).start(&[]);
    container.says("| 12345", 1);
    container.says("/app/x: Read-only file system", 1);
    container.says("/tmp/x: ", 1);
    container.serves(5000, "/Procfile");
    // There is a socket all the same: /dev/shm can be written.
    assert!(container.answers(&["supervise", "ps"]).contains("running"));
    let (took, code) = container.stop();
    assert_eq!(code, 0, "{}", container.logs());
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn where_nothing_at_all_can_be_written_it_runs_without_a_socket_and_says_so() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, "web: busybox httpd -f -p 5000 -h /app\n")
        .options(&["--read-only", "--user", "12345", "--ipc", "none"])
        .start(&[]);
    container.serves(5000, "/Procfile");
    container.says("control socket", 1);
    assert_eq!(container.stop().1, 0, "{}", container.logs());
}

#[test]
fn it_is_looked_at_and_scaled_from_inside() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, "web: busybox httpd -f -p $PORT -h /app\n").start(&[]);
    container.serves(5000, "/Procfile");
    let scaled = container.exec(&["supervise", "scale", "web=3", "--wait"]);
    assert_eq!(scaled.code, 0, "{scaled:?}");
    container.serves(5002, "/Procfile");
    assert_eq!(container.answers(&["supervise", "ps"]).matches("running").count(), 3);
    assert_eq!(container.answers(&["supervise", "scale"]).trim(), "web=3");
    container.answers(&["supervise", "health"]);
    let unknown = container.exec(&["supervise", "scale", "wev=3"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

#[test]
fn healthcheck_finds_it_healthy_and_then_not() {
    let Some(engine) = engine() else { return };
    let spec = "formation:\n  web:\n    health:\n      readiness: { exec: test -e /dev/shm/well, period: 1s, failure_threshold: 1 }\n";
    let container =
        Recipe::procfile(engine, "web: busybox sleep 1000\n").with("supervise.yml", spec).start(&[]);
    container.becomes("unhealthy");
    container.answers(&["busybox", "touch", "/dev/shm/well"]);
    container.becomes("healthy");
    container.answers(&["busybox", "rm", "/dev/shm/well"]);
    container.becomes("unhealthy");
}
