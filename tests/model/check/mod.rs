//! What must be so when all is quiet: each room has one question, and an answer is a list of complaints.

pub(crate) mod asked;
pub(crate) mod core;
pub(crate) mod processes;
pub(crate) mod sight;
pub(crate) mod stream;

pub(crate) use sight::Sight;

/// What is wrong, a sentence each.
pub(crate) type Complaints = Vec<String>;
