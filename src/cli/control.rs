//! The verbs that talk to a supervisor that runs.

use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use super::offers;
use super::release::StateArgs;
use super::start::CHOICES;
use super::words;
use crate::api::{HealthQuestion, Signal, Target, parse_duration};
use crate::client::{Extent, Then, Wait};
use crate::store::Number;
use crate::stream::Choice;

/// One verb each.
#[derive(Clone, Debug, Subcommand)]
pub enum Control {
    /// Show every process: its state, pid, PORT, restarts, uptime, memory and CPU time
    #[command(
        after_help = "RSS and CPU are those of the whole instance: the process with all its descendants. A \
        state may say how the last instance ended: `backoff (3)`.\n\n\
        Examples:\n  \
        supervise ps\n  \
        supervise ps --json | jq -r '.processes[] | select(.ready | not) | .name'"
    )]
    Ps(PsArgs),
    /// Show every backing service: whether it answers, and how fast
    #[command(
        after_help = "Each is asked now, in its own protocol, unless it was a second ago; one that says \
        nothing has five seconds.\n\n\
        Examples:\n  \
        supervise services\n  \
        supervise services --json | jq -r '.services[] | select(.ok | not) | .name'"
    )]
    Services(PsArgs),
    /// Show how many of each process type there are, or change that
    #[command(
        after_help = "Up takes the lowest free slots, down drains the highest; the others keep their pid and \
        PORT.\n\n\
        Examples:\n  \
        supervise scale                    web=4 worker=8 beat=1\n  \
        supervise scale web=6              six of them\n  \
        supervise scale worker+2 beat-1    two more, one fewer\n  \
        supervise scale all=0 web=2        every type first, then web\n  \
        supervise scale --wait web=6       returns when they are ready"
    )]
    Scale(ScaleArgs),
    /// Stop processes and start them again
    #[command(
        after_help = "Brings back what was stopped or has failed, too. With --rolling new processes take the \
        place of old ones a few at a time (`rollout` in the spec), and where they do not work the old ones stay: then \
        --wait shows why and returns 1.\n\n\
        Examples:\n  \
        supervise restart                  everything\n  \
        supervise restart web              every web\n  \
        supervise restart web.1 'work*'    one slot, and every type that begins so\n  \
        supervise restart --rolling --wait web"
    )]
    Restart(RestartArgs),
    /// Stop processes and keep their slots
    #[command(
        after_help = "`restart` brings them back. What waits to be restarted after a failure stays down, too.\n\n\
        Examples:\n  \
        supervise stop worker\n  \
        supervise stop --wait web.3        returns when it is gone"
    )]
    Stop(TargetArgs),
    /// Send a signal to the leaders of processes
    #[command(after_help = "Examples:\n  \
        supervise signal HUP web           gunicorn reads its configuration again\n  \
        supervise signal USR1              to everything that runs")]
    Signal(SignalArgs),
    /// Show what the processes wrote, as far as it is remembered
    #[command(after_help = "`start --log-buffer` says how much of every slot is remembered.\n\n\
        Examples:\n  \
        supervise logs                     all that is remembered\n  \
        supervise logs -f web              and what web writes from now on\n  \
        supervise logs -n 100 web.1        the last hundred lines\n  \
        supervise logs --json | jq .message")]
    Logs(LogsArgs),
    /// Show what the supervisor said, one JSON object a line
    #[command(after_help = "Examples:\n  \
        supervise events -n 20\n  \
        supervise events -f | jq -r 'select(.event == \"exited\") | .message'")]
    Events(EventsArgs),
    /// Tell whether all is well, for HEALTHCHECK: exits with 0 or 1
    #[command(after_help = "Each check is a line; 1 also where no supervisor is found.\n\n\
        Examples:\n  \
        supervise health                   may it be sent work?\n  \
        supervise health --live            does the supervisor answer?\n  \
        HEALTHCHECK CMD [\"supervise\", \"health\"]")]
    Health(HealthArgs),
    /// Read the Procfile, the env files and the spec again
    #[command(
        after_help = "What did not change is not touched; what did is restarted, started or stopped. If \
        anything is wrong with the files nothing changes, and every error is shown.\n\n\
        Examples:\n  supervise reload\n  supervise reload --wait"
    )]
    Reload(ReloadArgs),
    /// Change everything that runs to another release
    #[command(
        after_help = "The type `release` of the new one runs first, once; where it fails nothing else is touched. \
        Then every type is replaced by the rules of its `rollout`, and where one does not work all come back to what \
        ran before. With --wait it is shown how that goes on, and 1 is returned where it was turned back.\n\n\
        Examples:\n  \
        supervise deploy v4\n  \
        supervise deploy --wait v4"
    )]
    Deploy(DeployArgs),
    /// Make an earlier release once more, and deploy that
    #[command(after_help = "The new release has the build and the config of the old one.\n\n\
        Examples:\n  \
        supervise rollback                 the one that ran before\n  \
        supervise rollback --wait v2")]
    Rollback(RollbackArgs),
    /// Stop everything and end the supervisor; returns when it is gone
    #[command(after_help = "Examples:\n  supervise shutdown\n  supervise shutdown --drain 30s")]
    Shutdown(ShutdownArgs),
}

/// `ps`, `services`.
#[derive(Clone, Debug, Args)]
pub struct PsArgs {
    /// Show it as JSON
    #[arg(long, env = "SUPERVISE_JSON")]
    pub json: bool,
    /// Colour by state
    #[command(flatten)]
    pub color: ColorArg,
}

/// `scale`.
#[derive(Clone, Debug, Args)]
pub struct ScaleArgs {
    /// How many of a type, how many more or how many fewer [default: show how many there are]
    #[arg(value_name = "TYPE=N|TYPE+N|TYPE-N", add = ArgValueCompleter::new(offers::counts))]
    pub changes: Vec<String>,
    /// Return when it has happened
    #[command(flatten)]
    pub wait: WaitArg,
}

/// `restart`.
#[derive(Clone, Debug, Args)]
pub struct RestartArgs {
    /// A few at a time, so that enough of them are ready all the while
    #[arg(long, env = "SUPERVISE_ROLLING")]
    pub rolling: bool,
    /// Whom, and when to return
    #[command(flatten)]
    pub whom: TargetArgs,
}

/// `restart`, `stop`.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// A type (`web`), a slot (`web.1`) or a pattern (`w*`) [default: everything]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(offers::targets))]
    pub targets: Vec<Target>,
    /// Return when it has happened
    #[command(flatten)]
    pub wait: WaitArg,
}

/// `signal`.
#[derive(Clone, Debug, Args)]
pub struct SignalArgs {
    /// Which: HUP, SIGHUP, 1, RTMIN+3
    #[arg(value_name = "SIG", add = ArgValueCompleter::new(offers::signals))]
    pub signal: Signal,
    /// Whom, and when to return
    #[command(flatten)]
    pub whom: TargetArgs,
}

/// `logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// A type (`web`), a slot (`web.1`) or a pattern (`w*`) [default: everything]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(offers::targets))]
    pub targets: Vec<Target>,
    /// How much
    #[command(flatten)]
    pub extent: ExtentArgs,
    /// Show them as JSON, one object a line
    #[arg(long, env = "SUPERVISE_JSON")]
    pub json: bool,
    /// The time before each line; auto: on a terminal
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_TIMESTAMPS"
    )]
    pub timestamps: Choice,
    /// Coloured tags
    #[command(flatten)]
    pub color: ColorArg,
}

/// `events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// How much
    #[command(flatten)]
    pub extent: ExtentArgs,
}

/// `health`.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Whether the supervisor answers
    #[arg(long, env = "SUPERVISE_LIVE", conflicts_with_all = ["ready", "startup"])]
    pub live: bool,
    /// Whether the formation may be sent work (the default)
    #[arg(long, env = "SUPERVISE_READY", conflicts_with = "startup")]
    pub ready: bool,
    /// Whether it has ever been ready
    #[arg(long, env = "SUPERVISE_STARTUP")]
    pub startup: bool,
    /// Show it as JSON
    #[arg(long, env = "SUPERVISE_JSON")]
    pub json: bool,
}

/// `reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArgs {
    /// Return when it has happened
    #[command(flatten)]
    pub wait: WaitArg,
}

/// `deploy`.
#[derive(Clone, Debug, Args)]
pub struct DeployArgs {
    /// Which one: v4
    #[arg(value_name = "RELEASE", add = ArgValueCompleter::new(offers::numbers))]
    pub release: Number,
    /// Where it is kept.
    #[command(flatten)]
    pub place: StateArgs,
    /// Return when it has happened
    #[command(flatten)]
    pub wait: WaitArg,
}

/// `rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// Which one [default: the last one that worked before the current one]
    #[arg(value_name = "RELEASE", add = ArgValueCompleter::new(offers::numbers))]
    pub release: Option<Number>,
    /// Where it is kept.
    #[command(flatten)]
    pub place: StateArgs,
    /// Return when it has happened
    #[command(flatten)]
    pub wait: WaitArg,
}

/// `shutdown`.
#[derive(Clone, Debug, Args)]
pub struct ShutdownArgs {
    /// From the stop signal to SIGKILL, for every type [default: the drain of each]
    // Without a variable: SUPERVISE_DRAIN is `start`'s, which a type's own drain is stronger than.
    #[arg(short = 't', long, value_name = "DURATION", value_parser = parse_duration)]
    pub drain: Option<Duration>,
}

/// `--wait`.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
#[derive(Clone, Debug, Args)]
pub struct WaitArg {
    /// Return when it has happened, not when it has been accepted; with 1 where something does not run
    #[arg(long, env = "SUPERVISE_WAIT")]
    pub wait: bool,
}

/// `--color`.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
#[derive(Clone, Debug, Args)]
pub struct ColorArg {
    /// Colour; auto: on a terminal, see also NO_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_COLOR"
    )]
    pub color: Choice,
}

/// `-n`, `-f`.
#[derive(Clone, Debug, Args)]
pub struct ExtentArgs {
    /// Go on with whatever comes
    #[arg(short = 'f', long, env = "SUPERVISE_FOLLOW")]
    pub follow: bool,
    /// Only the last lines [default: all that is remembered]
    #[arg(short = 'n', long, value_name = "N", env = "SUPERVISE_LINES")]
    pub lines: Option<u64>,
}

impl HealthArgs {
    /// What is asked.
    #[must_use]
    pub fn question(&self) -> HealthQuestion {
        match (self.live, self.startup) {
            (true, _) => HealthQuestion::Live,
            (false, true) => HealthQuestion::Startup,
            (false, false) => HealthQuestion::Ready,
        }
    }
}

impl WaitArg {
    /// When the answer comes.
    #[must_use]
    pub fn when(&self) -> Wait {
        if self.wait { Wait::Happened } else { Wait::Accepted }
    }
}

impl ExtentArgs {
    /// How much is shown.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent { lines: self.lines, then: if self.follow { Then::Follow } else { Then::End } }
    }
}
