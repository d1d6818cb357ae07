//! `start`: its flags, and what they mean for the formation and its stream.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use clap_complete::engine::ArgValueCompleter;

use super::{WhichArgs, offers, words};
use crate::api::parse_duration;
use crate::app::{Inputs, Restart, Selection, Settings};
use crate::daemon::{Http, HttpAddress, LeftoversOfEarlierRuns, Token};
use crate::stream::{self, Choice, Format, Output, WhenGone, WhenSlow};

/// `start`.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    supervise start                        one of each, or what the spec says\n  \
    supervise start web=4 worker=8         the types not named keep their count\n  \
    supervise start web worker=2           a bare name: only these two\n  \
    supervise start all=0 web=2            every type first, then web\n  \
    supervise start --only web=4           one type per container\n  \
    supervise start -p 8000 -e prod.env    ports from 8000\n  \
    supervise start --release v3           exactly what v3 was made of\n\n\
    Exits with 2 if anything is wrong with the input, and then has started nothing.")]
pub struct StartArgs {
    /// How many of each process type; a bare name runs only the types named
    #[arg(value_name = "TYPE|TYPE=N", env = "SUPERVISE_FORMATION", add = ArgValueCompleter::new(offers::startable))]
    pub formation: Vec<String>,
    /// Run only the types named, with or without a count
    #[arg(long, env = "SUPERVISE_ONLY")]
    pub only: bool,
    /// From the stop signal to SIGKILL [default: 8s]
    #[arg(short = 't', long, value_name = "DURATION", value_parser = parse_duration, env = "SUPERVISE_DRAIN")]
    pub drain: Option<Duration>,
    /// When a process that ended is started again [default: on-failure; web: always]
    #[arg(long, value_name = "WHEN", value_parser = words(&Restart::WORDS), env = "SUPERVISE_RESTART")]
    pub restart: Option<Restart>,
    /// Stop everything at the first exit of anything, whatever its code
    #[arg(long, env = "SUPERVISE_FAIL_FAST")]
    pub fail_fast: bool,
    /// What becomes of processes that an earlier run left behind
    #[arg(
        long,
        value_name = "FATE",
        default_value = "stop",
        value_parser = words(&LEFTOVERS),
        env = "SUPERVISE_LEFTOVERS"
    )]
    pub leftovers: LeftoversOfEarlierRuns,
    /// Serve health, metrics and every view there: 127.0.0.1:9000, 0.0.0.0:9000; a port alone is for this machine only
    #[arg(long, value_name = "ADDR", env = "SUPERVISE_HTTP", help_heading = "Health")]
    pub http: Option<HttpAddress>,
    /// With --http: who knows the token in this file may change what runs
    #[arg(
        long,
        value_name = "FILE",
        requires = "http",
        env = "SUPERVISE_TOKEN_FILE",
        help_heading = "Health"
    )]
    pub token_file: Option<PathBuf>,
    /// Return when every type runs, or say why it does not; lines go to the log file and are remembered for `logs`
    #[arg(short = 'D', long, env = "SUPERVISE_DETACH", help_heading = "Output")]
    pub detach: bool,
    /// With --detach: the file that every line goes to; it is opened again on `reload`
    #[arg(
        long,
        value_name = "FILE",
        requires = "detach",
        env = "SUPERVISE_LOG_FILE",
        help_heading = "Output"
    )]
    pub log_file: Option<PathBuf>,
    /// How much of every slot is remembered for `logs`, in bytes, k or m
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "32k",
        value_parser = parse_size,
        env = "SUPERVISE_LOG_BUFFER",
        help_heading = "Output"
    )]
    pub log_buffer: usize,
    /// What the lines look like
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        value_parser = words(&FORMATS),
        env = "SUPERVISE_FORMAT",
        help_heading = "Output"
    )]
    pub format: Format,
    /// The time before each line; auto: on a terminal
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_TIMESTAMPS",
        help_heading = "Output"
    )]
    pub timestamps: Choice,
    /// Coloured tags; auto: on a terminal, see also NO_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_COLOR",
        help_heading = "Output"
    )]
    pub color: Choice,
    /// While our reader is slow: the processes wait, or the oldest lines are dropped and counted
    #[arg(
        long,
        value_name = "HOW",
        default_value = "block",
        value_parser = words(&WHEN_SLOW),
        env = "SUPERVISE_WHEN_SLOW",
        help_heading = "Output"
    )]
    pub when_slow: WhenSlow,
    /// When our reader goes away: stop everything, or drop and count the lines [default: drain; as PID 1: drop]
    #[arg(
        long,
        value_name = "HOW",
        value_parser = words(&WHEN_GONE),
        env = "SUPERVISE_WHEN_GONE",
        help_heading = "Output"
    )]
    pub when_gone: Option<WhenGone>,
    /// Record what was decided and why, for `examples/replay.rs`; no value of a variable is in it
    #[arg(long, value_name = "FILE", env = "SUPERVISE_TRACE", help_heading = "Output")]
    pub trace: Option<PathBuf>,
    /// Say more about ourselves on stderr; twice: everything
    #[arg(short = 'v', long, action = ArgAction::Count, env = "SUPERVISE_VERBOSE", help_heading = "Output")]
    pub verbose: u8,
    /// Which release, where it is not what is here.
    #[command(flatten)]
    pub which: WhichArgs,
}

const LEFTOVERS: [(&str, LeftoversOfEarlierRuns); 3] = [
    ("stop", LeftoversOfEarlierRuns::Stop),
    ("ignore", LeftoversOfEarlierRuns::Ignore),
    ("fail", LeftoversOfEarlierRuns::Fail),
];

const FORMATS: [(&str, Format); 3] = [("text", Format::Text), ("json", Format::Json), ("raw", Format::Raw)];

pub(super) const CHOICES: [(&str, Choice); 3] =
    [("auto", Choice::Auto), ("always", Choice::Always), ("never", Choice::Never)];

const WHEN_SLOW: [(&str, WhenSlow); 2] = [("block", WhenSlow::Block), ("drop", WhenSlow::Drop)];

const WHEN_GONE: [(&str, WhenGone); 2] = [("drain", WhenGone::Drain), ("drop", WhenGone::Drop)];

impl StartArgs {
    pub(super) fn add_to(&self, inputs: Inputs) -> Inputs {
        Inputs {
            formation: self.formation.clone(),
            selection: if self.only { Selection::Only } else { Selection::Bare },
            flags: Settings { drain: self.drain, restart: self.restart, ..Settings::default() },
            ..inputs
        }
    }

    /// What is served by a port, where something is.
    ///
    /// # Errors
    /// The token cannot be used.
    pub fn http(&self) -> Result<Option<Http>, String> {
        let Some(address) = self.http else { return Ok(None) };
        let token = self.token_file.as_deref().map(Token::read).transpose()?;
        Ok(Some(Http { address, token }))
    }

    /// How the stream looks and behaves, given the environment and whether we are PID 1.
    #[must_use]
    pub fn stream_settings(&self, environment: &[(OsString, OsString)], pid_1: bool) -> stream::Settings {
        let output = match (&self.log_file, self.detach) {
            (Some(file), _) => Output::File(file.clone()),
            (None, true) => Output::Nowhere,
            (None, false) => Output::Stdout,
        };
        stream::Settings {
            output,
            format: self.format,
            timestamps: self.timestamps,
            color: color_by(self.color, environment),
            when_slow: self.when_slow,
            // In a container the reader of our output is the log driver, and in the background there may be none: the processes
            // matter more than it does.
            when_gone: self.when_gone.unwrap_or(if pid_1 || self.detach {
                WhenGone::Drop
            } else {
                WhenGone::Drain
            }),
        }
    }
}

/// The least and the most of a slot that can be remembered, in bytes: a line, and a machine's worth.
const SIZES: RangeInclusive<usize> = 1024..=1024 * 1024 * 1024;

/// Reads `65536`, `32k`, `1m`: bytes, or so many times 1024 of them.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1024,
        "m" | "mb" | "mib" => 1024 * 1024,
        _ => return Err("a size is a number of bytes, with k or m: 65536, 32k, 1m".to_owned()),
    };
    let number: usize =
        digits.parse().map_err(|_| "a size is a number of bytes, with k or m: 65536, 32k, 1m")?;
    let size = number.checked_mul(unit).filter(|size| SIZES.contains(size));
    size.ok_or_else(|| "a size is at least 1k and at most 1024m".to_owned())
}

/// `--color` in this environment.
#[must_use]
pub fn color_by(choice: Choice, environment: &[(OsString, OsString)]) -> Choice {
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    };
    weigh_color(choice, variable("NO_COLOR"), variable("CLICOLOR_FORCE"))
}

/// A flag that was given wins; else `NO_COLOR` (<https://no-color.org>), then `CLICOLOR_FORCE`
/// (<https://bixense.com/clicolors>), each given where it is set and not empty.
pub(super) fn weigh_color(choice: Choice, no_color: Option<&OsStr>, force: Option<&OsStr>) -> Choice {
    match choice {
        Choice::Auto if no_color.is_some() => Choice::Never,
        Choice::Auto if force.is_some_and(|force| force != "0") => Choice::Always,
        Choice::Auto | Choice::Always | Choice::Never => choice,
    }
}
