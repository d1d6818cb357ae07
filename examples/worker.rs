//! The `worker` of Procfile.example: takes jobs out of the spool and does them, one at a time.
//!
//! On TERM it finishes the job it has, and ends with code 0.

mod demo;

use std::env;
use std::time::{Duration, Instant};

use demo::spool::Spool;
use demo::stop::Stop;

/// Between two looks into an empty queue.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::listen()?;
    let slot = env::var("PS").unwrap_or_else(|_| "worker".to_owned());
    let spool = Spool::open()?;
    println!("waiting for jobs");

    let mut next = spool.unfinished(&slot)?;
    loop {
        let Some(job) = next else {
            if stop.asked_within(PAUSE) {
                break;
            }
            next = spool.claim(&slot)?;
            continue;
        };
        println!("job {}: counting the primes below {}", job.id, job.below);
        let (id, began) = (job.id.clone(), Instant::now());
        let primes = primes_below(job.below);
        spool.finish(job, primes)?;
        println!("job {id}: {primes}, in {} ms", began.elapsed().as_millis());
        if stop.asked_within(Duration::ZERO) {
            break;
        }
        next = spool.claim(&slot)?;
    }
    println!("stopped");
    Ok(())
}

/// By trial division: a job should take some time.
fn primes_below(below: u64) -> u64 {
    let is_prime = |n: u64| {
        n == 2 || n % 2 == 1 && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    };
    (2..below).map(|n| u64::from(is_prime(n))).sum()
}
