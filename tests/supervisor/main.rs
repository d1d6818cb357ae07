//! The decisions of the supervisor, in virtual time.
//!
//! * [`fake_host`]: a world that performs the actions, whose leaders and descendants do what a script says.
//! * [`ledger`]: the books that are kept beside the supervisor, and the rules that hold after every step.
//! * [`scenarios`]: stories, one for each rule of the contract, which also say that nothing else happened.

mod exhaustive;
mod fake_host;
mod ledger;
mod scenarios;
mod transcript;
