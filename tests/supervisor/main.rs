//! The decisions of the supervisor, in virtual time.
//!
//! * [`fake_host`]: a world that performs the actions, whose leaders and descendants do what a script says.
//! * [`ledger`]: the books that are kept beside the supervisor, and the rules that hold after every step.
//! * [`properties`]: random histories, the impossible ones included.
//! * [`rollouts`]: random rollouts, what is promised of them and that they end.
//! * [`deploys`]: random deploys and one-off commands, and that everybody is answered and the formation is one release.
//! * [`exhaustive`]: every history of small formations, up to a depth.
//! * [`scenarios`]: stories, one for each rule of the contract, which also say that nothing else happened.

mod deploys;
mod exhaustive;
#[allow(dead_code, reason = "examples/simulate needs more of it")]
mod fake_host;
#[allow(dead_code, reason = "examples/simulate needs more of it")]
mod ledger;
mod properties;
mod rollouts;
mod scenarios;
mod transcript;
