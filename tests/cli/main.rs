//! The program as a user meets it in a shell: what it prints, and its exit code.

mod check;
mod config;
mod control;
mod fake;
mod lines;
mod run;
mod test;
mod usage;
