//! The store of releases, as disks, crashes, other processes and curious people treat it.

mod crash;
mod disks;
mod rig;
mod tampering;
