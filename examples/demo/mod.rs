//! What the three programs of Procfile.example share: the spool, and hearing that they should stop.

// Each program is a crate of its own and uses its part.
#![allow(dead_code)]

pub(crate) mod spool;
pub(crate) mod stop;
