//! How a container ends is how the app ended.

use crate::harness::{Recipe, engine};

#[test]
fn the_exit_code_of_the_container_is_that_of_the_app() {
    let Some(engine) = engine() else { return };
    let apps = [
        ("busybox true", 0),
        ("exit 3", 3),
        ("no-such-program", 127),
        ("kill -9 $$", 137),
        ("exit 255", 255),
    ];
    for (command, code) in apps {
        let container = Recipe::procfile(engine, &format!("job: {command}\n")).start(&["--restart", "never"]);
        assert_eq!(container.ended(), code, "{command}: {}", container.logs());
    }
}

#[test]
fn a_process_that_takes_too_much_memory_is_started_again_and_its_sister_lives_on() {
    let Some(engine) = engine() else { return };
    let app = "web: sleep 2; exec tail /dev/zero\nother: echo up; exec sleep 1000\n";
    let container =
        Recipe::procfile(engine, app).options(&["--memory", "64m", "--memory-swap", "64m"]).start(&[]);
    container.says("web.1 was killed by the kernel for memory (limit 64 MiB)", 1);
    container.says("web.1 was killed by", 2);
    container.says("web.1 started with pid", 3);
    assert_eq!(container.logs().matches("other.1 started").count(), 1, "{}", container.logs());
    assert_eq!(container.stop().1, 0, "{}", container.logs());
}

#[test]
fn a_process_that_takes_too_much_memory_ends_the_container_where_it_may_not_be_started_again() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, "job: busybox tail /dev/zero\n")
        .options(&["--memory", "64m", "--memory-swap", "64m"])
        .start(&["--restart", "never"]);
    assert_eq!(container.ended(), 137, "{}", container.logs());
    container.says("ending with code 137, because of job.1", 1);
}
