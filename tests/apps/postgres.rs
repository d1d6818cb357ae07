//! A `PostgreSQL` server of a test's own, as `.ci/install-apps` has installed it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};

use crate::harness::{eventually, free_base};

/// A cluster on disk, and its server while that runs. Its superuser is `admin`, without a password on the socket.
pub(crate) struct Postgres {
    directory: PathBuf,
    programs: PathBuf,
    pub(crate) port: u16,
    server: Option<Child>,
}

/// Who may come and how: a password by SCRAM, md5 or as it is, by the name of the database.
const DOOR: &str = "\
local all admin trust
local all all scram-sha-256
host clear all 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
";

impl Postgres {
    /// Makes a cluster with the users `me` (SCRAM) and `old` (md5), both with that password, and the databases `shop` and
    /// `clear`. Its server is not started.
    pub(crate) fn new(password: &str) -> Postgres {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("supervise-pg-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // Not below target/: the server's user may have no way there, and a socket's path must be short.
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a test can make its directory");
        if let Some(user) = server_user() {
            chown(&directory, Some(user.uid), Some(user.gid)).expect("root can give it away");
        }
        let mut postgres = Postgres { directory, programs: programs(), port: free_base(), server: None };
        let data = postgres.data();
        postgres.does("initdb", &["-D", &data, "-U", "admin", "--auth=trust", "--no-sync", "-E", "UTF8"]);
        fs::write(postgres.directory.join("data/pg_hba.conf"), DOOR).expect("it was made");
        postgres.start();
        postgres.sql("postgres", &format!("CREATE ROLE me LOGIN PASSWORD '{password}'"));
        let old = format!("SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD '{password}'");
        postgres.sql("postgres", &old);
        postgres.sql("postgres", "CREATE DATABASE shop");
        postgres.sql("postgres", "CREATE DATABASE clear");
        postgres.stop();
        postgres
    }

    /// Starts the server and waits until it is there.
    pub(crate) fn start(&mut self) {
        self.begin(&[]);
        let ready = || self.output("pg_isready", &["-h", &self.socket(), "-p", &self.port.to_string()]);
        eventually("an answer of postgres", || match ready() {
            (true, _) => Ok(()),
            (false, said) => Err(said),
        })
        .unwrap_or_else(|missed| panic!("{missed}\n{}", self.log()));
    }

    /// Starts the server as one that restores a backup for ever, and lets nobody in meanwhile.
    pub(crate) fn start_restoring(&mut self) {
        fs::write(self.directory.join("data/standby.signal"), "").expect("it was made");
        self.begin(&["-c", "hot_standby=off"]);
    }

    /// Ends what [`Postgres::start_restoring`] began.
    pub(crate) fn stop_restoring(&mut self) {
        self.stop();
        fs::remove_file(self.directory.join("data/standby.signal")).expect("it was there");
    }

    /// Stops the server, and everybody's connections with it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // "Fast shutdown" (its manual, section 19.5).
            kill(pid_of(&server), Signal::SIGINT).expect("our own child can be signalled");
            server.wait().expect("our own child can be waited for");
        }
    }

    /// Where its socket is: `.s.PGSQL.<port>` in there.
    pub(crate) fn socket(&self) -> String {
        self.directory.display().to_string()
    }

    /// What the server has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn sql(&self, database: &str, command: &str) {
        let (socket, port) = (self.socket(), self.port.to_string());
        self.does("psql", &["-h", &socket, "-p", &port, "-U", "admin", "-d", database, "-qc", command]);
    }

    fn begin(&mut self, more: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.directory.join("log"));
        let mut command = self.command("postgres");
        command.args(["-D", &self.data(), "-p", &self.port.to_string(), "-k", &self.socket()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]).args(more);
        command.stderr(log.expect("it is ours"));
        self.server = Some(command.spawn().expect("postgres can be started"));
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }

    fn does(&self, program: &str, arguments: &[&str]) {
        let (ok, said) = self.output(program, arguments);
        assert!(ok, "{program} {arguments:?}: {said}\n{}", self.log());
    }

    fn output(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = self.command(program);
        let output = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// One of its programs, as a user that it accepts: it will not be run by root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(&self.directory)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(user) = server_user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        // What cannot be removed is left to whoever cleans the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The user that Debian's package has made, where we are root and have the choice.
fn server_user() -> Option<User> {
    let user = || User::from_name("postgres").expect("the users can be read");
    geteuid().is_root().then(|| user().expect("`.ci/install-apps` installs postgresql, which has a user"))
}

/// Where Debian has the server's programs: not in PATH, as there may be several versions.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|directory| Path::new(directory).join("initdb").exists());
    found.sort();
    found.pop().expect("`.ci/install-apps` installs postgresql")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}
