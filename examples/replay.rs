//! Replays a trace (`supervise start --trace FILE`) through the deciding core and shows what it thought at every step.
//!
//! ```text
//! cargo run --example replay -- FILE
//! ```
//!
//! Ends with 0 where every step orders what it ordered then, with 1 at the first that does not (another version decides
//! otherwise, or the core has lost its memory), with 2 where the file is no trace.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use supervise::daemon::trace::{Beginning, Step};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: replay FILE");
        return ExitCode::from(2);
    };
    let lines = match File::open(&path) {
        Ok(file) => BufReader::new(file).lines(),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    match replay(lines.map_while(Result::ok)) {
        Ok(steps) => {
            println!("{steps} steps, all as they were");
            ExitCode::SUCCESS
        }
        Err(Trouble::NoTrace(what)) => {
            eprintln!("{}: not a trace: {what}", path.display());
            ExitCode::from(2)
        }
        Err(Trouble::Differs(what)) => {
            eprintln!("{what}");
            ExitCode::from(1)
        }
    }
}

enum Trouble {
    NoTrace(String),
    Differs(String),
}

fn replay(mut lines: impl Iterator<Item = String>) -> Result<usize, Trouble> {
    let no_trace = |error: serde_json::Error| Trouble::NoTrace(error.to_string());
    let first = lines.next().ok_or_else(|| Trouble::NoTrace("it is empty".to_owned()))?;
    let beginning: Beginning = serde_json::from_str(&first).map_err(no_trace)?;
    let mut supervisor = beginning.supervisor();
    let mut steps = 0;
    for line in lines {
        let step: Step = serde_json::from_str(&line).map_err(no_trace)?;
        println!("{} {:?}", step.now, step.event);
        let actions = supervisor.handle(step.now, step.event);
        for action in &actions {
            println!("    {action:?}");
        }
        if actions != step.actions {
            return Err(Trouble::Differs(format!("step {steps} ordered then: {:#?}", step.actions)));
        }
        let states: Vec<String> = supervisor
            .slots()
            .map(|(key, slot)| format!("{}:{}", supervisor.name(key), slot.phase().state()))
            .collect();
        println!("    {}", states.join(" "));
        steps += 1;
    }
    Ok(steps)
}
