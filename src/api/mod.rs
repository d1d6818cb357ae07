//! The words of `supervise`: what the socket, the command line and the stream call things.
//!
//! Plain values that can be printed and serialised. Nothing here reads, decides or does.

mod duration;
mod exit;
mod health;
mod memory;
mod name;
mod notice;
pub mod place;
mod probe;
mod refusal;
mod request;
mod signal;
mod status;
mod tally;

pub use duration::{brief, parse_duration};
pub use exit::ExitStatus;
pub use health::{Health, HealthCheck, HealthQuestion, ServiceStatus, Services, TypeVitals, Vitals};
pub use memory::{OutOfMemory, brief_bytes};
pub use name::{InstanceId, InvalidTypeName, Pid, SlotName, TypeName};
pub use notice::{
    Cause, DropReason, Fact, KillReason, LeftoversFate, NotDeployed, Notice, Process, RolloutWay, Setback,
    Then, Verdict,
};
pub use probe::{Missing, ProbeKind, ProbeResult, Word};
pub use refusal::Refusal;
pub use request::{Accepted, Answer, Change, Effect, Manner, Request, RequestId, Target, Verb, When, Will};
pub use signal::{Signal, UnknownSignal};
pub use status::{ExitReason, Formation, LastExit, ProcessStatus, State, Status};
pub use tally::{Ended, Histogram, Tally, Tried};
