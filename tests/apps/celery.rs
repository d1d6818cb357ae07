//! The textbook Procfile: uvicorn, a celery worker and celery beat on a real Redis.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Project, Redis, Run, free_base, http, installed};

/// The app as it runs, and the Redis that it uses.
struct Shop {
    run: Run,
    redis: Redis,
    port: u16,
}

impl Shop {
    /// Starts everything and waits until web and worker are there, by their own word.
    fn open() -> Shop {
        let redis = Redis::start();
        let port = free_base();
        let programs = installed("venv/bin/celery").with_file_name("");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let base = port.to_string();
        let run = Project::new()
            .with_copy("Procfile", "tests/apps/Procfile")
            .with_copy("app.py", "tests/apps/app.py")
            .with_copy("tasks.py", "tests/apps/tasks.py")
            .with(".env", &format!("REDIS_URL=redis://127.0.0.1:{}/0\n", redis.port))
            .with_variable("PATH", &path)
            .supervise(&["start", "-p", &base]);
        let shop = Shop { run, redis, port };
        shop.run.says(&format!("web.1     | INFO:     Uvicorn running on http://127.0.0.1:{port}"));
        shop.run.says("exchange=celery(direct)");
        shop
    }

    /// Hands in a job by HTTP and returns its id.
    fn submit(&self, path: &str) -> String {
        self.run.until("a job to be taken", || match http("POST", self.port, path, "")? {
            (202, id) => Ok(id),
            other => Err(format!("{other:?}")),
        })
    }

    fn until_done(&self, id: &str) -> String {
        self.run.until("a result", || match http("GET", self.port, &format!("/result/{id}"), "")? {
            (200, text) if text.starts_with("SUCCESS ") => Ok(text),
            other => Err(format!("{other:?}")),
        })
    }

    /// Whether the task is in this set of the app's own books.
    fn noted(&self, id: &str, set: &str) -> bool {
        self.redis.number(&["SISMEMBER", set, id]) == 1
    }
}

#[test]
fn a_job_goes_from_a_request_through_redis_to_its_result_and_the_beat_ticks() {
    let mut shop = Shop::open();
    let id = shop.submit("/square/12");
    assert_eq!(shop.until_done(&id), "SUCCESS 144");
    shop.run.until("two ticks of the beat", || match shop.redis.number(&["EXISTS", "ticks"]) {
        0 => Err("none".to_owned()),
        _ => match shop.redis.number(&["GET", "ticks"]) {
            0 | 1 => Err("one".to_owned()),
            _ => Ok(()),
        },
    });
    shop.run.signal(Signal::SIGTERM);
    shop.run.ends_with(0);
}

#[test]
fn a_killed_worker_is_replaced_and_the_task_it_had_is_done_by_the_next() {
    let mut shop = Shop::open();
    let id = shop.submit("/slow-square/7");
    shop.run.until("the task to begin", || {
        if shop.noted(&id, "begun") { Ok(()) } else { Err("not begun".into()) }
    });
    kill(Pid::from_raw(shop.run.leader("worker.1", 1)), Signal::SIGKILL).expect("the worker runs");
    shop.run.says("worker.1 was killed by SIGKILL");
    shop.run.leader("worker.1", 2);
    assert_eq!(shop.until_done(&id), "SUCCESS 49");
    shop.run.signal(Signal::SIGTERM);
    shop.run.ends_with(0);
}

#[test]
fn running_tasks_end_well_after_term_and_waiting_ones_stay_in_the_queue() {
    let mut shop = Shop::open();
    let ids: Vec<String> = (1..=6).map(|n| shop.submit(&format!("/slow-square/{n}"))).collect();
    let begun = || ids.iter().filter(|id| shop.noted(id, "begun")).count();
    shop.run.until("two tasks to begin", || match begun() {
        2.. => Ok(()),
        fewer => Err(format!("{fewer} of them")),
    });
    shop.run.signal(Signal::SIGTERM);
    shop.run.says("SIGTERM: draining");
    shop.run.says("worker: Warm shutdown (MainProcess)");
    let Shop { run, redis, .. } = shop;
    run.ends_with(0);

    let queue = redis.ask(&["LRANGE", "celery", "0", "-1"]).expect("redis answers");
    let mut done = 0;
    for id in &ids {
        let begun = redis.number(&["SISMEMBER", "begun", id]) == 1;
        let ended = redis.number(&["SISMEMBER", "ended", id]) == 1;
        let result = redis.ask(&["GET", &format!("celery-task-meta-{id}")]).expect("redis answers");
        assert_eq!(begun, ended, "task {id} was cut: {result}");
        assert_eq!(ended, result.contains("\"SUCCESS\""), "task {id}: {result}");
        assert_ne!(
            ended,
            queue.contains(id.as_str()),
            "task {id}: done or in the queue, never both: {queue}"
        );
        done += usize::from(ended);
    }
    assert!((2..6).contains(&done), "{done} of 6 done");
    assert_eq!(redis.number(&["HLEN", "unacked"]), 0, "every task is done or back in the queue");
}
