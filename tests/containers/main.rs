//! The static build in images, run by a real engine: what `docker` does to `supervise`, and what it sees of it.
//!
//! `.ci/install-engine` makes ready what is needed. Where there is no engine, or we are not root, each story says so and passes;
//! with `SUPERVISE_TESTS_MUST_RUN=containers`, as CI has it, that is a failure.

mod codes;
mod examples;
mod harness;
mod names;
mod platform;
mod static_build;
mod stops;
mod stream;
