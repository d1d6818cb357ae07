//! What should run: from text to one immutable [`Release`].
//!
//! Reads the named files (Procfile, env files, spec) and nothing else, starts nothing, decides nothing about
//! processes. Every error of one run is collected, each with its file, line, column and the way out.

mod app_json;
mod attach;
#[cfg(test)]
mod attach_tests;
#[doc(hidden)]
pub mod bare;
mod command;
mod diagnostic;
mod elsewhere;
mod envfile;
mod environment;
mod expand;
mod formation;
mod health;
mod inputs;
mod limits;
mod listen;
mod marks;
mod material;
mod needs;
mod order;
mod plan;
#[cfg(test)]
mod plan_tests;
mod policy;
mod ports;
mod probes;
mod procfile;
mod reader;
mod release;
mod service;
mod settings;
mod spec;
mod spec_health;
#[cfg(test)]
mod spec_tests;
mod spot;
mod trail;
mod yaml;

pub use command::{Command, Form};
pub use diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
pub use envfile::{read_kept as read_env_file, write as write_env_file};
pub use environment::{Environment, Origin, Stronger, Variable};
pub use formation::{ALL, MOST_INSTANCES, RELEASE, Selection};
pub use health::{Check, Health, Probe, Timing};
pub use inputs::{Expansion, Inputs, Strays};
pub use limits::{CPU_PERIOD, Confinement};
pub use listen::Listen;
pub use material::{Material, material};
pub use plan::{plan, plan_one_off};
pub use policy::{Backoff, Leftovers, Limit, Policy, Restart, Rollout, Stderr, StopScope};
pub use ports::Ports;
pub use probes::{Draft, Probes, Question};
pub use release::{Identity, ProcessType, Release};
pub use service::Service;
pub use settings::{Port, Settings};
