//! Stories: what a user of a formation sees, one for each rule of the contract, in the order of an instance's life.
//!
//! Each says everything that was ordered, with its time in seconds: nothing else happened.

mod amending;
mod asking;
mod counting;
mod deploying;
mod ending;
mod health;
mod many;
mod needs;
mod order;
mod proving;
mod releases;
mod requests;
mod restarting;
mod rolling;
mod setbacks;
mod signals;
mod starting;
mod stopping;
