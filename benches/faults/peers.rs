//! Who is looked at: how each is told what to run, with the settings of its documentation that give it the best chance.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One that keeps several processes running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Supervise,
    Foreman,
    Honcho,
    Supervisord,
    Circus,
    S6,
    /// What many images have for want of a supervisor: `a & b & wait`.
    Script,
    /// Does nothing of all this, and is busy with it: a judge that lets it pass is none.
    Control,
}

pub(crate) const ALL: [Peer; 8] = [
    Peer::Supervise,
    Peer::Foreman,
    Peer::Honcho,
    Peer::Supervisord,
    Peer::Circus,
    Peer::S6,
    Peer::Script,
    Peer::Control,
];

/// What is to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) restart: Restart,
    /// From the stop signal to SIGKILL.
    pub(crate) drain: Duration,
}

/// A line of a Procfile, and how many of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    pub(crate) count: usize,
}

/// When a process that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    Never,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Supervise => "supervise",
            Peer::Foreman => "foreman",
            Peer::Honcho => "honcho",
            Peer::Supervisord => "supervisord",
            Peer::Circus => "circus",
            Peer::S6 => "s6",
            Peer::Script => "sh",
            Peer::Control => "control",
        }
    }

    /// What it was told beside the commands.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Peer::Supervise => "`--drain`, `--restart`; all else as it comes",
            Peer::Foreman => "`--timeout`; it has no restart and no control",
            Peer::Honcho => {
                "as it comes: its 5 s from TERM to KILL cannot be set; it has no restart and no control"
            }
            Peer::Supervisord => {
                "`nodaemon`, `stopasgroup`, `killasgroup`, `stopwaitsecs`, `autorestart`, `startsecs=1`, `startretries=1000`, \
                 `redirect_stderr`, `stdout_logfile=/dev/fd/1`; changes by `update`"
            }
            Peer::Circus => {
                "`check_delay=1`, `graceful_timeout`, `stop_children`, `max_retry=-1`, `respawn`, `copy_env`, `StdoutStream`; \
                 changes by `circusctl set` and `reloadconfig`"
            }
            Peer::S6 => {
                "`timeout-kill`; a logger for each, `s6-log -b pNAME 1`; `finish` that says 125 where nothing is to come back; \
                 changes by `s6-svscanctl -an`, `s6-svunlink`, `s6-svc -r`"
            }
            Peer::Script => "`a & b & wait`, TERM and INT passed on",
            Peer::Control => "deaf and busy, and waits for nobody",
        }
    }

    /// # Errors
    /// It is not installed.
    pub(crate) fn version(self) -> io::Result<String> {
        let (program, words): (PathBuf, &[&str]) = match self {
            Peer::Supervise => (ours(), &["--version"]),
            Peer::Foreman => ("foreman".into(), &["version"]),
            Peer::Honcho => (python("honcho"), &["version"]),
            Peer::Supervisord => (python("supervisord"), &["--version"]),
            Peer::Circus => (python("circusd"), &["--version"]),
            Peer::S6 => ("dpkg-query".into(), &["--show", "--showformat=${Version}", "s6"]),
            Peer::Script | Peer::Control => {
                ("dpkg-query".into(), &["--show", "--showformat=dash ${Version}", "dash"])
            }
        };
        let missing = || {
            io::Error::other(format!("`{}` does not run: `.ci/install-peers` installs it", program.display()))
        };
        let output = Command::new(&program).args(words).output().map_err(|_| missing())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.trim().trim_start_matches("supervise ").trim_start_matches("honcho ");
        if output.status.success() && !text.is_empty() { Ok(text.to_owned()) } else { Err(missing()) }
    }

    /// Whether it starts anew what ended.
    pub(crate) fn restarts(self) -> bool {
        match self {
            Peer::Supervise | Peer::Supervisord | Peer::Circus | Peer::S6 | Peer::Control => true,
            Peer::Foreman | Peer::Honcho | Peer::Script => false,
        }
    }

    /// Whether it stays when nothing is left to run.
    pub(crate) fn stays_when_all_ended(self) -> bool {
        match self {
            Peer::Supervisord | Peer::Circus | Peer::S6 => true,
            Peer::Supervise | Peer::Foreman | Peer::Honcho | Peer::Script | Peer::Control => false,
        }
    }

    /// The time from TERM to KILL that it has where this one is asked for.
    pub(crate) fn drain(self, asked: Duration) -> Duration {
        if self == Peer::Honcho { Duration::from_secs(5) } else { asked }
    }

    /// Writes down what is to run, and gives the words that start it in the foreground.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn prepare(self, at: &Path, job: &Job) -> io::Result<Vec<String>> {
        let procfile = at.join("Procfile").display().to_string();
        Ok(match self {
            Peer::Supervise => {
                write_procfile(at, job)?;
                let restart = match job.restart {
                    Restart::Always => "always",
                    Restart::Never => "never",
                };
                let drain = format!("{}ms", job.drain.as_millis());
                let socket = at.join("control").display().to_string();
                let flags =
                    ["start", "-f", &procfile, "--socket", &socket, "-t", &drain, "--restart", restart];
                words(&ours(), &flags)
            }
            Peer::Foreman => {
                write_procfile(at, job)?;
                let timeout = job.drain.as_secs().to_string();
                let formation = formation(job, ",");
                words(Path::new("foreman"), &["start", "-f", &procfile, "-t", &timeout, "-m", &formation])
            }
            Peer::Honcho => {
                write_procfile(at, job)?;
                words(&python("honcho"), &["start", "-f", &procfile, "-c", &formation(job, ",")])
            }
            Peer::Supervisord => {
                let file = at.join("supervisord.conf");
                fs::write(&file, supervisord(at, job))?;
                words(&python("supervisord"), &["-n", "-c", &file.display().to_string()])
            }
            Peer::Circus => {
                let file = at.join("circus.ini");
                fs::write(&file, circus(at, job))?;
                words(&python("circusd"), &[&file.display().to_string()])
            }
            Peer::S6 => {
                s6(at, job)?;
                words(Path::new("s6-svscan"), &["-t", "0", &at.join("scan").display().to_string()])
            }
            Peer::Script | Peer::Control => {
                let file = at.join("entrypoint.sh");
                let start = |(_, command): (String, &str)| format!("{command} &\npids=\"$pids $!\"\n");
                let starts: String = slots(job).map(start).collect();
                let text = if self == Peer::Script {
                    format!("trap 'kill -TERM $pids' TERM INT\n{starts}wait\nwait\n")
                } else {
                    format!("{starts}trap '' TERM INT\nwhile :; do :; done\n")
                };
                fs::write(&file, text)?;
                words(Path::new("/bin/sh"), &[&file.display().to_string()])
            }
        })
    }

    /// Writes down what is to run now, and gives the commands that make it so while it runs; none where it cannot.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn reconfigure(self, at: &Path, from: &Job, to: &Job) -> io::Result<Vec<Vec<String>>> {
        Ok(match self {
            Peer::Supervise => {
                self.prepare(at, to)?;
                vec![words(&ours(), &["reload", "--socket", &at.join("control").display().to_string()])]
            }
            Peer::Supervisord => {
                self.prepare(at, to)?;
                let file = at.join("supervisord.conf").display().to_string();
                vec![words(&python("supervisorctl"), &["-c", &file, "update"])]
            }
            Peer::Circus => {
                self.prepare(at, to)?;
                let endpoint = format!("ipc://{}", at.join("endpoint").display());
                let control = |others: &[&str]| {
                    words(&python("circusctl"), &[&["--endpoint", &endpoint], others].concat())
                };
                let is_other = |(was, is): &(&Entry, &Entry)| was.command != is.command;
                if from.entries.iter().zip(&to.entries).any(|pair| is_other(&pair)) {
                    return Ok(vec![control(&["reloadconfig"])]);
                }
                let set =
                    |entry: &Entry| control(&["set", entry.name, "numprocesses", &entry.count.to_string()]);
                to.entries.iter().map(set).collect()
            }
            Peer::S6 => {
                s6(at, to)?;
                let scan = at.join("scan").display().to_string();
                let was: Vec<(String, &str)> = slots(from).collect();
                let is: Vec<(String, &str)> = slots(to).collect();
                let mut commands = vec![words(Path::new("s6-svscanctl"), &["-an", &scan])];
                for (slot, command) in &was {
                    match is.iter().find(|(other, _)| other == slot) {
                        None => commands.push(words(Path::new("s6-svunlink"), &[&scan, slot])),
                        Some((_, other)) if other != command => {
                            commands.push(words(Path::new("s6-svc"), &["-r", &format!("{scan}/{slot}")]));
                        }
                        Some(_) => {}
                    }
                }
                commands
            }
            Peer::Foreman | Peer::Honcho | Peer::Script => Vec::new(),
            Peer::Control => vec![words(Path::new("true"), &[])],
        })
    }
}

fn ours() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_supervise"))
}

/// `.ci/install-peers` puts them there.
fn python(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin").join(program)
}

fn words(program: &Path, others: &[&str]) -> Vec<String> {
    let others = others.iter().map(|word| (*word).to_owned());
    [program.display().to_string()].into_iter().chain(others).collect()
}

/// Each place of the formation with its command: `web.1`, `web.2`.
fn slots(job: &Job) -> impl Iterator<Item = (String, &str)> {
    job.entries.iter().flat_map(|entry| {
        (1..=entry.count).map(|nth| (format!("{}.{nth}", entry.name), entry.command.as_str()))
    })
}

fn formation(job: &Job, between: &str) -> String {
    let counts: Vec<String> =
        job.entries.iter().map(|entry| format!("{}={}", entry.name, entry.count)).collect();
    counts.join(between)
}

fn write_procfile(at: &Path, job: &Job) -> io::Result<()> {
    let line = |entry: &Entry| format!("{}: {}\n", entry.name, entry.command);
    let lines: Vec<String> = job.entries.iter().map(line).collect();
    fs::write(at.join("Procfile"), lines.concat())?;
    let count = |entry: &Entry| format!("  {}: {}\n", entry.name, entry.count);
    let counts: Vec<String> = job.entries.iter().map(count).collect();
    fs::write(at.join("supervise.yml"), format!("formation:\n{}", counts.concat()))
}

fn supervisord(at: &Path, job: &Job) -> String {
    let (at, drain) = (at.display(), job.drain.as_secs());
    let mut text = vec![format!(
        "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={at}/pid\n\
         [unix_http_server]\nfile={at}/control\n\
         [supervisorctl]\nserverurl=unix://{at}/control\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )];
    // Who is not to come back is never too quick.
    let (restart, seconds) = match job.restart {
        Restart::Always => ("true", 1),
        Restart::Never => ("false", 0),
    };
    for (slot, command) in slots(job) {
        text.push(format!(
            "[program:{slot}]\ncommand={command}\nautorestart={restart}\nstartsecs={seconds}\nstartretries=1000\n\
             stopwaitsecs={drain}\nstopasgroup=true\nkillasgroup=true\nredirect_stderr=true\n\
             stdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
        ));
    }
    text.concat()
}

fn circus(at: &Path, job: &Job) -> String {
    let (at, drain) = (at.display(), job.drain.as_secs());
    let mut text = vec![format!(
        "[circus]\nendpoint=ipc://{at}/endpoint\npubsub_endpoint=ipc://{at}/pubsub\ncheck_delay=1\n"
    )];
    let respawn = job.restart == Restart::Always;
    for entry in &job.entries {
        let Entry { name, command, count } = entry;
        text.push(format!(
            "[watcher:{name}]\ncmd={command}\nnumprocesses={count}\nrespawn={respawn}\ngraceful_timeout={drain}\n\
             stop_children=true\nmax_retry=-1\ncopy_env=true\nstdout_stream.class=StdoutStream\n\
             stderr_stream.class=StdoutStream\n"
        ));
    }
    text.concat()
}

/// A directory for each slot (s6-supervise(8), servicedir), with a logger.
fn s6(at: &Path, job: &Job) -> io::Result<()> {
    let scan = at.join("scan");
    fs::create_dir_all(&scan)?;
    for (slot, command) in slots(job) {
        let directory = at.join("services").join(&slot);
        fs::create_dir_all(directory.join("log"))?;
        write_script(&directory.join("run"), &format!("exec 2>&1\nexec {command}\n"))?;
        write_script(&directory.join("log/run"), &format!("exec s6-log -b -- 'p{slot} | ' 1\n"))?;
        fs::write(directory.join("timeout-kill"), format!("{}\n", job.drain.as_millis()))?;
        if job.restart == Restart::Never {
            write_script(&directory.join("finish"), "exit 125\n")?;
        }
        let link = scan.join(&slot);
        if !link.exists() {
            std::os::unix::fs::symlink(&directory, link)?;
        }
    }
    Ok(())
}

/// Whole or not at all: somebody may just be starting it.
fn write_script(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{text}"))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(new, file)
}
