//! `supervise` as its users meet it: with programs that nobody here wrote, as their own pages tell to start them, with
//! Procfile.example, and with what the README shows.
//!
//! `.ci/install-apps` installs the programs.

mod celery;
mod example;
mod families;
mod first_minute;
mod harness;
mod load;
mod metrics;
mod npm;
mod openapi;
mod postgres;
mod readme;
mod releases;
mod rolling;
mod servers;
mod services;
mod sockets;
