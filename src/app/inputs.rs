//! What the user gave us, and the files that it leads to.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::api::TypeName;

use super::diagnostic::{self, Diagnostic, Diagnostics, Place};
use super::envfile::{self, Escapes};
use super::environment::{Sources, Stronger};
use super::formation::Selection;
use super::ports::{Base, First, Ports};
use super::release::Identity;
use super::settings::{Port, Settings};
use super::spec::Spec;
use super::{Origin, app_json};

/// Everything that decides what runs: arguments, flags and the environment.
#[derive(Clone, Default)]
pub struct Inputs {
    /// Where relative paths begin; empty is the current directory.
    pub directory: PathBuf,
    /// `-f`.
    pub procfile: Option<PathBuf>,
    /// `-d`.
    pub root: Option<PathBuf>,
    /// `-e`, the last one strongest; none: `.env` beside the Procfile, where there is one.
    pub env_files: Vec<PathBuf>,
    /// `--env-expand`.
    pub expansion: Expansion,
    /// `--env-override`.
    pub stronger: Stronger,
    /// `--spec`; none: `supervise.yml` beside the Procfile, else `app.json`, where there is one.
    pub spec: Option<PathBuf>,
    /// `web=4 worker`.
    pub formation: Vec<String>,
    /// What becomes of those of them that name no type of the Procfile.
    pub strays: Strays,
    /// `--only`.
    pub selection: Selection,
    /// `-p`, `--port-step`, `--no-port`.
    pub ports: Ports,
    /// Flags that mirror a key of the spec: stronger than its `defaults`, weaker than a type's own.
    pub flags: Settings,
    /// The environment we were started with.
    pub environment: Vec<(OsString, OsString)>,
    /// Which release these files are; none: a directory that is run as it is.
    pub identity: Option<Identity>,
}

/// Whether `$NAME` in an env file is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expansion {
    /// Never: passwords survive.
    #[default]
    Literal,
    /// Outside single quotes.
    Expand,
    /// Never, in a file that we wrote ourselves, as a release keeps its config: double quotes know `\r`, too, so that any value
    /// comes back as it was.
    Kept,
}

/// What becomes of a type that is named and is not in the Procfile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strays {
    /// It is a mistake.
    #[default]
    Refused,
    /// It was there when it was named, and has been taken out of the file since. Only where nothing else was selected is it a
    /// mistake all the same: nothing would run.
    PassedOver,
}

impl Inputs {
    /// The same, to be read again later: also where somebody puts another directory in the place of the current one, and has
    /// taken types away.
    ///
    /// # Errors
    /// The current directory cannot be found.
    pub fn to_be_read_again(&self) -> io::Result<Inputs> {
        let directory = std::path::absolute(self.directory.join("."))?;
        Ok(Inputs { directory, strays: Strays::PassedOver, ..self.clone() })
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }

    /// Where the Procfile is unless something names it otherwise.
    fn home(&self) -> PathBuf {
        match (&self.procfile, &self.root) {
            (Some(procfile), _) => self.at(procfile).parent().map(Path::to_owned).unwrap_or_default(),
            (None, Some(root)) => self.at(root),
            (None, None) => self.directory.clone(),
        }
    }

    /// The Procfile that all this names, whether it is there or not. Env files that are wrong name none.
    #[must_use]
    pub fn locate(&self) -> PathBuf {
        self.procfile(&self.sources(&mut Diagnostics::default()))
    }

    /// `-f`, else `PROCFILE` in an env file (honcho's habit), else `Procfile`.
    pub(super) fn procfile(&self, sources: &Sources) -> PathBuf {
        if let Some(procfile) = &self.procfile {
            return self.at(procfile);
        }
        let chosen = chosen_procfile(sources);
        self.home().join(chosen.map_or_else(|| PathBuf::from("Procfile"), |(file, _)| file))
    }

    /// A missing Procfile is often only somewhere else.
    pub(super) fn explain(&self, sources: &Sources, missing: Diagnostic) -> Diagnostic {
        match (&self.procfile, chosen_procfile(sources)) {
            (Some(_), _) => missing,
            (None, Some((_, origin))) => {
                missing.with_help(format!("`PROCFILE` names it ({origin}); `-f FILE` is stronger"))
            }
            (None, None) => missing.with_help("go to the directory of the app, or name it with `-f FILE`"),
        }
    }

    /// The directory the children run in, absolute.
    pub(super) fn root(&self, procfile: &Path) -> Result<PathBuf, Diagnostic> {
        let Some(root) = &self.root else {
            let parent = procfile.parent().filter(|parent| *parent != Path::new(""));
            let parent = parent.unwrap_or(Path::new("."));
            return std::path::absolute(parent).map_err(|error| {
                let reason = format!("the current directory cannot be found: {error}");
                Diagnostic::new(Place::File(parent.to_owned()), reason)
            });
        };
        let root = self.at(root);
        match std::path::absolute(&root) {
            Ok(absolute) if absolute.is_dir() => Ok(absolute),
            Ok(_) | Err(_) => Err(Diagnostic::new(Place::File(root), "this is no directory")
                .with_help("`--root` names the directory that the processes run in")),
        }
    }

    /// `--spec`, else `supervise.yml`, else `app.json` beside the Procfile.
    /// What is wrong with it goes to `errors`.
    pub(super) fn spec(
        &self,
        procfile: &Path,
        known: Option<&[TypeName]>,
        errors: &mut Diagnostics,
    ) -> FoundSpec {
        let unclear = |found| (FoundSpec { spec: Spec::unclear(), heroku: None }, found);
        let (spec, found) = self.find_spec(procfile, known).unwrap_or_else(unclear);
        errors.extend(found);
        spec
    }

    /// Where the spec is, where there is one.
    pub(super) fn spec_file(&self, procfile: &Path) -> Option<PathBuf> {
        let beside = |name| procfile.with_file_name(name);
        let candidates = [beside("supervise.yml"), beside("app.json")];
        match &self.spec {
            Some(spec) => Some(self.at(spec)),
            None => candidates.into_iter().find(|path| is_there(path)),
        }
    }

    fn find_spec(
        &self,
        procfile: &Path,
        known: Option<&[TypeName]>,
    ) -> Result<(FoundSpec, Diagnostics), Diagnostics> {
        let Some(path) = self.spec_file(procfile) else {
            let misnamed = procfile.with_file_name("supervise.yaml");
            if is_there(&misnamed) {
                let error = Diagnostic::new(Place::File(misnamed), "a spec with this name is not looked for");
                return Err(error.with_help("rename it to `supervise.yml`, or name it with `--spec`").into());
            }
            return Ok((FoundSpec::default(), Diagnostics::default()));
        };
        let bytes = diagnostic::read(&path, "spec")?;
        // Any other JSON is ours: JSON is YAML.
        if path.file_name().is_none_or(|name| name != "app.json") {
            let (spec, errors) = Spec::parse(&path, &bytes, known);
            return Ok((FoundSpec { spec, heroku: None }, errors));
        }
        let spec = app_json::parse(&path, &bytes, known)?;
        let heroku = spec.is_some().then(|| path.display().to_string());
        Ok((FoundSpec { spec: spec.unwrap_or_default(), heroku }, Diagnostics::default()))
    }

    /// The real environment and the env files; what is wrong with them goes to `errors`.
    pub(super) fn sources(&self, errors: &mut Diagnostics) -> Sources {
        let mut sources =
            Sources { real: self.environment.clone(), files: Vec::new(), stronger: self.stronger };
        let beside = self.home().join(".env");
        let paths = match self.env_files.as_slice() {
            // A directory of that name is somebody's virtualenv.
            [] if is_there(&beside) && !beside.is_dir() => vec![beside],
            named => named.iter().map(|path| self.at(path)).collect(),
        };
        for path in paths {
            let known = Known::of(&sources);
            let lookup = |name: &str, earlier: Option<&OsString>| known.lookup(name, earlier);
            let escapes = match self.expansion {
                Expansion::Literal => Escapes::Usual(None),
                Expansion::Expand => Escapes::Usual(Some(&lookup)),
                Expansion::Kept => Escapes::Kept,
            };
            let read = diagnostic::read(&path, "env file").map_err(Diagnostics::from);
            match read.and_then(|text| envfile::read(&path, &text, escapes)) {
                Ok(assignments) => sources.files.push((path, assignments)),
                Err(found) => errors.extend(found),
            }
        }
        sources
    }

    /// `-p` > real PORT > PORT in a file > `defaults` of the spec > 5000. That the config of a release is stronger than the real
    /// environment changes nothing here: it is the platform of today that gives out its port.
    pub(super) fn base(&self, sources: &Sources, spec: &Spec) -> Result<Base, Diagnostic> {
        let in_file = |port| Base { port, first: First::InFile };
        if let Ports::On { base: Some(port), .. } = self.ports {
            return Ok(in_file(port));
        }
        let stronger = if self.identity.is_some() { Stronger::Real } else { sources.stronger };
        let environment = sources.of_one("PORT", stronger).environment(&spec.defaults.env, &[]);
        let Some(variable) = environment.get("PORT").filter(|_| self.ports != Ports::Off) else {
            return Ok(in_file(match spec.defaults.port {
                Some(Port::Base(port)) => port,
                Some(Port::None) | None => Ports::BASE,
            }));
        };
        let port = parse_port(&variable.value);
        let help = "it is the first port of the formation, 1 to 65535; `--no-port` gives out none";
        match (&variable.origin, port) {
            (Origin::Real, Some(port)) => Ok(Base { port, first: First::Web }),
            (_, Some(port)) => Ok(in_file(port)),
            (Origin::File { path, line }, None) => {
                let place = Place::Line(path.clone(), *line);
                Err(Diagnostic::new(place, "PORT is no port number").with_help(help))
            }
            (Origin::Spec | Origin::Defaults, None) => {
                let place = spec.defaults_spots.port_variable.clone().unwrap_or(Place::Environment);
                let reason = "`defaults.env.PORT`: this is no port number";
                Err(Diagnostic::new(place, reason).with_help(help))
            }
            (Origin::Real | Origin::Injected, None) => {
                let reason = format!("PORT is `{}`, which is no port number", variable.value.display());
                Err(Diagnostic::new(Place::Environment, reason).with_help(help))
            }
        }
    }
}

/// Whether a path names something, be it a link to nowhere: that is an error to be told, not to be passed over.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What `$NAME` can stand for in an env file: the real environment, and the files before.
struct Known<'a> {
    real: HashMap<&'a OsStr, &'a OsString>,
    files: HashMap<&'a str, &'a OsString>,
    stronger: Stronger,
}

impl<'a> Known<'a> {
    fn of(sources: &'a Sources) -> Known<'a> {
        let all = sources.files.iter().flat_map(|(_, assignments)| assignments);
        Known {
            // The first one counts, as for getenv(3); the last one of the files.
            real: sources.real.iter().rev().map(|(name, value)| (name.as_os_str(), value)).collect(),
            files: all.map(|found| (found.name.as_str(), &found.value)).collect(),
            stronger: sources.stronger,
        }
    }

    /// By their precedence; `earlier` is what the file itself says so far.
    fn lookup(&self, name: &str, earlier: Option<&OsString>) -> Option<OsString> {
        let real = self.real.get(OsStr::new(name)).copied();
        let file = earlier.or_else(|| self.files.get(name).copied());
        match self.stronger {
            Stronger::Real => real.or(file),
            Stronger::Files => file.or(real),
        }
        .cloned()
    }
}

/// What `PROCFILE` says, and who set it. Only where an env file sets it does it mean anything; then the real environment is
/// stronger than the file, as for every variable.
fn chosen_procfile(sources: &Sources) -> Option<(PathBuf, Origin)> {
    let mut all = sources.files.iter().flat_map(|(_, assignments)| assignments);
    all.find(|assignment| assignment.name == "PROCFILE")?;
    let environment = sources.environment(&[], &[]);
    environment.get("PROCFILE").map(|found| (PathBuf::from(&found.value), found.origin.clone()))
}

fn parse_port(value: &OsStr) -> Option<u16> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// A spec, and the name of Heroku's file where it is from there.
#[derive(Default)]
pub(super) struct FoundSpec {
    /// What it says.
    pub(super) spec: Spec,
    /// Named as the user would.
    pub(super) heroku: Option<String>,
}
