//! The `beat` of Procfile.example: puts a job into the spool every second, or every `$BEAT_MS` milliseconds.

mod demo;

use std::env;
use std::time::Duration;

use demo::spool::Spool;
use demo::stop::Stop;

/// How large the scheduled jobs are: some milliseconds of work.
const BELOW: u64 = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::listen()?;
    let pause = match env::var("BEAT_MS") {
        Ok(text) => Duration::from_millis(text.parse()?),
        Err(_) => Duration::from_secs(1),
    };
    let spool = Spool::open()?;
    println!("scheduling a job every {} ms", pause.as_millis());
    while !stop.asked_within(pause) {
        println!("scheduled job {}", spool.submit(BELOW)?);
    }
    println!("stopped");
    Ok(())
}
