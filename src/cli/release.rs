//! Releases: the verbs that make and show them, and the flags that name one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use super::offers;
use crate::app::Inputs;
use crate::store::{Copying, Draft, Tidiness};

/// `release`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "A release is a build and a config, with a number, and nothing can change it.\n\n\
    Examples:\n  \
    supervise release create -m 'faster search'   v1, v2 ... from what is here\n  \
    supervise start --release v1                  runs exactly that\n  \
    supervise releases                            which there are\n  \
    supervise release diff v1 v2                  what has changed")]
pub struct ReleaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ReleaseVerb,
}

/// What can be done with releases.
#[derive(Clone, Debug, Subcommand)]
pub enum ReleaseVerb {
    /// Make a release of the build, the Procfile, the spec and the config that are here
    #[command(
        after_help = "The config is what the env files set, as `start` would resolve it now, what the spec names under \
        `needs` and `services`, and what `--capture` names. The build is copied; its name is the git commit, or a hash of its \
        files.\n\n\
        Examples:\n  \
        supervise release create -e prod.env -m 'faster search'\n  \
        supervise release create --build dist --capture SENTRY_DSN\n  \
        supervise release create --build v3       the same code, other config"
    )]
    Create(CreateArgs),
    /// Show one release
    #[command(
        after_help = "Examples:\n  supervise release show\n  supervise release show v3 --json | jq .build.id"
    )]
    Show(ShowArgs),
    /// Show what differs between two releases
    #[command(after_help = "Its lines begin with `+` for what was added, `-` removed, `~` changed.\n\n\
        Examples:\n  supervise release diff v2 v3\n  supervise release diff current v4")]
    Diff(DiffArgs),
    /// Remove old releases, and the builds that no other one has
    #[command(after_help = "The current release and those that run are kept in any case.\n\n\
        Example:\n  supervise release prune --keep 10")]
    Prune(PruneArgs),
}

/// Where releases are.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
#[derive(Clone, Debug, Default, Args)]
pub struct StateArgs {
    /// Where releases are kept [default: supervise/APP below XDG_STATE_HOME, else below ~/.local/state]
    #[arg(long, value_name = "DIR", env = "SUPERVISE_STATE", help_heading = "Releases")]
    pub state: Option<PathBuf>,
}

/// Which release is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichArgs {
    /// A release instead of what is here: v3, or current
    #[arg(
        long,
        value_name = "RELEASE",
        env = "SUPERVISE_RELEASE",
        help_heading = "Releases",
        add = ArgValueCompleter::new(offers::releases)
    )]
    pub release: Option<String>,
    /// Where it is kept.
    #[command(flatten)]
    pub place: StateArgs,
}

/// `release create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The code: a directory, or the build of an earlier release (its name, the beginning of it, or v3) [default: the directory the
    /// processes would run in]
    #[arg(long, value_name = "DIR|ID", env = "SUPERVISE_BUILD")]
    pub build: Option<PathBuf>,
    /// What is new, in your own words
    #[arg(short = 'm', long, value_name = "TEXT", env = "SUPERVISE_MESSAGE")]
    pub message: Option<String>,
    /// Do not copy the build: it is a git commit, in a directory that stays as it is
    #[arg(long, env = "SUPERVISE_IN_PLACE")]
    pub in_place: bool,
    /// Refuse a build that is not as committed
    #[arg(long, env = "SUPERVISE_REQUIRE_CLEAN")]
    pub require_clean: bool,
    /// Variables of the environment that belong to the config
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "SUPERVISE_CAPTURE")]
    pub capture: Vec<String>,
    /// Where it is kept.
    #[command(flatten)]
    pub place: StateArgs,
}

/// `releases`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    supervise releases\n  \
    supervise releases --json | jq -r '.releases[] | select(.current) | .release'")]
pub struct ReleasesArgs {
    /// As JSON
    #[arg(long, env = "SUPERVISE_JSON")]
    pub json: bool,
    /// Where they are kept.
    #[command(flatten)]
    pub place: StateArgs,
}

/// `release show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Which one [default: the current one, else the newest]
    #[arg(value_name = "RELEASE", add = ArgValueCompleter::new(offers::releases))]
    pub release: Option<String>,
    /// As JSON
    #[arg(long, env = "SUPERVISE_JSON")]
    pub json: bool,
    /// Show the values of the config too: they may be secrets
    #[arg(long, env = "SUPERVISE_SHOW_VALUES")]
    pub show_values: bool,
    /// Where it is kept.
    #[command(flatten)]
    pub place: StateArgs,
}

/// `release diff`.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The one before
    #[arg(value_name = "RELEASE", add = ArgValueCompleter::new(offers::releases))]
    pub before: String,
    /// The one after
    #[arg(value_name = "RELEASE", add = ArgValueCompleter::new(offers::releases))]
    pub after: String,
    /// Show the values of the config too: they may be secrets
    #[arg(long, env = "SUPERVISE_SHOW_VALUES")]
    pub show_values: bool,
    /// Where they are kept.
    #[command(flatten)]
    pub place: StateArgs,
}

/// `release prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneArgs {
    /// How many of the newest are kept
    #[arg(long, value_name = "N", default_value = "10", env = "SUPERVISE_KEEP", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Where they are kept.
    #[command(flatten)]
    pub place: StateArgs,
}

impl CreateArgs {
    /// What is to be made, of what the other flags lead to.
    #[must_use]
    pub fn draft(&self, inputs: Inputs) -> Draft {
        Draft {
            inputs,
            build: self.build.clone(),
            copying: if self.in_place { Copying::InPlace } else { Copying::Copied },
            tidiness: if self.require_clean { Tidiness::Clean } else { Tidiness::Any },
            captured: self.capture.clone(),
            message: self.message.clone(),
        }
    }
}
