//! Our own diagnostics (`-v`): whoever does not read them holds nobody up.

use crate::harness::{Supervise, send};
use crate::socket::{ask, socket_of};

/// Each of them is told in about a hundred bytes: together more than a pipe takes, and more than may wait for it.
const REQUESTS: usize = 4000;

#[test]
fn diagnostics_that_nobody_reads_hold_nothing_up() {
    let mut run = Supervise::with("web: chaos pid up sleep 1h\n").args(["-v", "-v"]).start();
    let leader = run.pid_said("web.1", "up");
    let socket = socket_of(&run);
    run.be_deaf();
    for _ in 0..REQUESTS {
        assert_eq!(ask(&socket, "POST", "/v1/formation", "{\"web\":1}").status, 202);
    }
    send(leader, libc::SIGKILL);
    run.hear_again();
    run.wait_for("another life", |seen| (seen.rests("web.1", "up ").len() > 1).then_some(()));
    let seen = run.is_stopped();
    let said = seen.err_text();
    let counted = said.lines().filter(|line| line.contains("event=Requested")).count();
    let dropped = said.lines().find_map(|line| line.strip_prefix("diagnostics: ")?.split(' ').next());
    let dropped: usize = dropped.map_or(0, |number| number.parse().expect("a number"));
    assert!((1..=REQUESTS + 1).contains(&counted) && counted + dropped >= REQUESTS, "{counted}, {dropped}");
}
