//! The words of `supervise`: what the socket, the command line and the stream call things.
//!
//! Plain values that can be printed and serialised. Nothing here reads, decides or does.

mod duration;
mod exit;
mod name;
mod notice;
mod signal;

pub use duration::{brief, parse_duration};
pub use exit::ExitStatus;
pub use name::{InstanceId, InvalidTypeName, Pid, SlotName, TypeName};
pub use notice::{Cause, DropReason, Fact, KillReason, LeftoversFate, Notice, Process, Then, Verdict};
pub use signal::{Signal, UnknownSignal};
