//! Who is measured: ours, the floor, and whichever peers this machine has.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where things are.
pub(crate) struct Place {
    pub(crate) floor: PathBuf,
    pub(crate) writer: PathBuf,
    /// Every run has a directory of its own in it.
    pub(crate) scratch: PathBuf,
}

/// One that tags the lines of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// floor.c.
    Floor,
    /// `supervise`, as it was built for this bench, with these flags.
    Ours(Vec<&'static str>),
    /// Another runner of Procfiles, by its name on PATH.
    Peer(Peer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Foreman,
    Goreman,
    Hivemind,
    Honcho,
    Overmind,
}

const PEERS: [Peer; 5] = [Peer::Foreman, Peer::Goreman, Peer::Hivemind, Peer::Honcho, Peer::Overmind];

/// The peers that are on PATH.
pub(crate) fn peers() -> Vec<Side> {
    let path = env::var_os("PATH").unwrap_or_default();
    let here =
        |peer: &Peer| env::split_paths(&path).any(|directory| directory.join(peer.program()).is_file());
    PEERS.into_iter().filter(here).map(Side::Peer).collect()
}

impl Side {
    pub(crate) fn name(&self) -> String {
        match self {
            Side::Floor => "floor".to_owned(),
            Side::Ours(flags) if flags.is_empty() => "supervise".to_owned(),
            Side::Ours(flags) => format!("supervise {}", flags.join(" ")),
            Side::Peer(peer) => peer.program().to_owned(),
        }
    }

    /// What runs so many of a command.
    ///
    /// # Errors
    /// A Procfile that cannot be written.
    pub(crate) fn command(
        &self,
        place: &Place,
        directory: &Path,
        count: u32,
        what: &str,
    ) -> io::Result<Command> {
        let procfile = directory.join("Procfile");
        Ok(match self {
            Side::Floor => {
                let mut floor = Command::new(&place.floor);
                floor.args(["web", &count.to_string(), what]);
                floor
            }
            Side::Ours(flags) => {
                fs::write(&procfile, format!("web: {what}\n"))?;
                let mut supervise = Command::new(env!("CARGO_BIN_EXE_supervise"));
                supervise.arg("start").arg("-f").arg(procfile).args(["--no-port", "--socket", "none"]);
                supervise.args(flags).arg(format!("web={count}"));
                for (name, _) in env::vars_os() {
                    if name == "PORT" || name.to_string_lossy().starts_with("SUPERVISE_") {
                        supervise.env_remove(name);
                    }
                }
                supervise
            }
            Side::Peer(peer) => {
                // Not all of them know formations.
                let lines: Vec<_> = (1..=count).map(|nth| format!("web{nth}: exec {what}\n")).collect();
                fs::write(&procfile, lines.concat())?;
                let mut command = Command::new(peer.program());
                match peer {
                    Peer::Foreman | Peer::Honcho => command.args(["start", "-f"]).arg(procfile),
                    Peer::Goreman => command.args(["-rpc-server=false", "-f"]).arg(procfile).arg("start"),
                    Peer::Hivemind => command.arg(procfile),
                    Peer::Overmind => {
                        let socket = directory.join("overmind.sock");
                        command.args(["start", "-N", "-f"]).arg(procfile).arg("-s").arg(socket)
                    }
                };
                command
            }
        })
    }
}

impl Peer {
    fn program(self) -> &'static str {
        match self {
            Peer::Foreman => "foreman",
            Peer::Goreman => "goreman",
            Peer::Hivemind => "hivemind",
            Peer::Honcho => "honcho",
            Peer::Overmind => "overmind",
        }
    }
}
