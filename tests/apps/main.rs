//! `supervise` with programs that nobody here wrote, as their own pages tell to start them, and with Procfile.example.
//!
//! `.ci/install-apps` installs the programs.

mod celery;
mod families;
mod first_minute;
mod harness;
mod npm;
mod servers;
