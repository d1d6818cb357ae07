//! `docker logs`: what was written, whole and in order.

use crate::harness::{Recipe, engine};

#[test]
fn a_hundred_thousand_lines_come_whole_and_in_order() {
    let Some(engine) = engine() else { return };
    let container =
        Recipe::procfile(engine, "job: busybox seq 1 50000\nother: echo begin; exec busybox seq 1 50000\n")
            .start(&[]);
    assert_eq!(container.ended(), 0);
    let logs = container.logs();
    for slot in ["job.1", "other.1"] {
        let tag = format!("{slot:<9} | ");
        let lines = logs.lines().filter_map(|line| line.strip_prefix(&tag)).filter(|line| *line != "begin");
        assert!(
            lines.eq((1..=50_000).map(|number| number.to_string())),
            "lines of {slot} are not as they were written"
        );
    }
    let others = logs.lines().filter(|line| !line.starts_with("job.1 ") && !line.starts_with("other.1 "));
    for line in others {
        assert!(line.starts_with("supervise | "), "a line that nobody wrote: {line}");
    }
}
