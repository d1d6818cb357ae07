//! The program as a user meets it in a shell: what it prints, and its exit code.

mod check;
mod config;
mod control;
mod fake;
mod health;
mod lines;
mod manual;
mod release;
mod rolling;
mod run;
mod shells;
mod shutdown;
mod test;
mod usage;
