//! Puts everything together: arguments, environment and files become one [`Release`], or all that is wrong with them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::api::{Notice, TypeName};

use super::app_json;
use super::diagnostic::{self, Diagnostic, Diagnostics, Place};
use super::envfile::{self, Assignment};
use super::environment::{Sources, Stronger};
use super::formation::{self, RELEASE, Request, Selection};
use super::ports::{self, Base, First, Ports};
use super::procfile::{self, Entry};
use super::settings::{Port, Settings};
use super::spec::Spec;
use super::{Command, Origin, ProcessType, Release};

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
    /// `--only`.
    pub selection: Selection,
    /// `-p`, `--port-step`, `--no-port`.
    pub ports: Ports,
    /// Flags that mirror a key of the spec: stronger than its `defaults`, weaker than a type's own.
    pub flags: Settings,
    /// The environment we were started with.
    pub environment: Vec<(OsString, OsString)>,
}

/// Whether `$NAME` in an env file is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expansion {
    /// Never: passwords survive.
    #[default]
    Literal,
    /// Outside single quotes.
    Expand,
}

/// Works out what runs.
///
/// # Errors
/// Everything that is wrong with the Procfile, the env files, the spec, the arguments and the ports, in one run.
pub fn plan(inputs: &Inputs) -> Result<Release, Diagnostics> {
    resolve(inputs, Procfile::Required)
}

/// Works out the environment of a one-off command: as [`plan`], but a directory without a Procfile will do, unless one is
/// named.
///
/// # Errors
/// As those of [`plan`].
pub fn plan_one_off(inputs: &Inputs) -> Result<Release, Diagnostics> {
    resolve(inputs, Procfile::Optional)
}

/// Whether there must be one.
#[derive(Clone, Copy)]
enum Procfile {
    Required,
    Optional,
}

fn resolve(inputs: &Inputs, need: Procfile) -> Result<Release, Diagnostics> {
    let mut errors = Diagnostics::default();
    let sources = inputs.sources().unwrap_or_else(|found| errors.gather(found));
    let file = inputs.procfile(&sources);
    let entries = match need {
        Procfile::Optional if inputs.procfile.is_none() && !file.exists() => Ok(Vec::new()),
        Procfile::Optional | Procfile::Required => diagnostic::read(&file, "Procfile")
            .map_err(|missing| Diagnostics::from(inputs.explain(missing)))
            .and_then(|text| procfile::parse(&file, &text)),
    };
    let known: Option<Vec<TypeName>> =
        entries.as_ref().ok().map(|entries| entries.iter().map(|entry| entry.name.clone()).collect());
    let entries = entries.unwrap_or_else(|found| errors.gather(found));
    let found = inputs.spec(&file, known.as_deref()).unwrap_or_else(|found| errors.gather(found));
    let FoundSpec { spec, heroku } = found;
    let root = inputs.root(&file).unwrap_or_else(|found| errors.gather(found.into()));
    let request = formation::parse(&inputs.formation, &mut errors);
    errors.extend(known.iter().flat_map(|known| request.unknown(known)));
    let types = settle(&entries, &spec, &inputs.flags);
    let base = inputs.base(&sources, &spec).unwrap_or_else(|found| errors.gather(found.into()));
    if !errors.is_empty() {
        return Err(errors);
    }
    let counts = count(&request, inputs.selection, &types)?;
    let ports = assign_ports(inputs.ports, base, &types, &counts)?;

    let mut remarks: Vec<Notice> = heroku.map(|file| Notice::SpecFound { file }).into_iter().collect();
    let named = |name: &str| types.iter().position(|settled| settled.entry.name.as_str() == name);
    if named(RELEASE).is_some_and(|release| counts[release].is_none()) {
        remarks.push(Notice::ReleaseNotStarted);
    }
    let overridden = sources.overridden();
    if !overridden.is_empty() {
        remarks.push(Notice::Overridden { names: overridden });
    }
    let types = complete(types, &counts, &ports, &sources, &spec);
    remarks.extend(announce(&types, &counts));
    // The file was just read: it can only have gone away since.
    let procfile = file.canonicalize().unwrap_or(file);
    let environment = sources.environment(&spec.defaults.env, &[]);
    Ok(Release { id: "dev".to_owned(), procfile, root, types, environment, remarks })
}

/// A spec, and the name of Heroku's file where it is from there.
#[derive(Default)]
struct FoundSpec {
    spec: Spec,
    heroku: Option<String>,
}

impl Diagnostics {
    /// Takes them in and goes on with nothing, to find what else is wrong.
    fn gather<T: Default>(&mut self, found: Diagnostics) -> T {
        self.extend(found);
        T::default()
    }
}

impl Inputs {
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

    /// `-f`, else `PROCFILE` in an env file (honcho's habit), else `Procfile`.
    fn procfile(&self, sources: &Sources) -> PathBuf {
        let in_file = || {
            let mut all = sources.files.iter().flat_map(|(_, assignments)| assignments).rev();
            all.find(|assignment| assignment.name == "PROCFILE").map(|found| PathBuf::from(&found.value))
        };
        match &self.procfile {
            Some(procfile) => self.at(procfile),
            None => self.home().join(in_file().unwrap_or_else(|| PathBuf::from("Procfile"))),
        }
    }

    /// A missing Procfile is often only somewhere else.
    fn explain(&self, missing: Diagnostic) -> Diagnostic {
        match &self.procfile {
            Some(_) => missing,
            None => missing.with_help("go to the directory of the app, or name it with `-f FILE`"),
        }
    }

    /// The directory the children run in, absolute.
    fn root(&self, procfile: &Path) -> Result<PathBuf, Diagnostic> {
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
    fn spec(&self, procfile: &Path, known: Option<&[TypeName]>) -> Result<FoundSpec, Diagnostics> {
        let beside = |name| procfile.with_file_name(name);
        let candidates = [beside("supervise.yml"), beside("app.json")];
        let found = match &self.spec {
            Some(spec) => Some(self.at(spec)),
            None => candidates.into_iter().find(|path| path.exists()),
        };
        let Some(path) = found else { return Ok(FoundSpec::default()) };
        let bytes = diagnostic::read(&path, "spec")?;
        if path.extension().is_none_or(|extension| extension != "json") {
            return Ok(FoundSpec { spec: Spec::parse(&path, &bytes, known)?, heroku: None });
        }
        let spec = app_json::parse(&path, &bytes, known)?;
        let heroku = spec.is_some().then(|| path.display().to_string());
        Ok(FoundSpec { spec: spec.unwrap_or_default(), heroku })
    }

    fn sources(&self) -> Result<Sources, Diagnostics> {
        let mut errors = Diagnostics::default();
        let mut sources =
            Sources { real: self.environment.clone(), files: Vec::new(), stronger: self.stronger };
        let beside = self.home().join(".env");
        let paths = match self.env_files.as_slice() {
            [] if beside.exists() => vec![beside],
            named => named.iter().map(|path| self.at(path)).collect(),
        };
        for path in paths {
            let lookup = |name: &str, earlier: &[Assignment]| sources.lookup(name, earlier);
            let expand: Option<envfile::Lookup<'_>> = match self.expansion {
                Expansion::Literal => None,
                Expansion::Expand => Some(&lookup),
            };
            let read = diagnostic::read(&path, "env file").map_err(Diagnostics::from);
            match read.and_then(|text| envfile::parse(&path, &text, expand)) {
                Ok(assignments) => sources.files.push((path, assignments)),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(sources) } else { Err(errors) }
    }

    /// `-p` > real PORT > PORT in a file > `defaults` of the spec > 5000.
    fn base(&self, sources: &Sources, spec: &Spec) -> Result<Base, Diagnostic> {
        let in_file = |port| Base { port, first: First::InFile };
        if let Ports::On { base: Some(port), .. } = self.ports {
            return Ok(in_file(port));
        }
        let environment = sources.environment(&spec.defaults.env, &[]);
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
            (Origin::Real | Origin::Injected | Origin::Spec | Origin::Defaults, None) => {
                let reason = format!("PORT is `{}`, which is no port number", variable.value.display());
                Err(Diagnostic::new(Place::Environment, reason).with_help(help))
            }
        }
    }
}

impl Sources {
    /// What `$NAME` stands for in an env file: the real environment and the files read so far, by their precedence.
    fn lookup(&self, name: &str, earlier: &[Assignment]) -> Option<OsString> {
        let in_real = || self.real.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let before = self.files.iter().flat_map(|(_, assignments)| assignments).chain(earlier);
        let in_files =
            || before.rev().find(|earlier| earlier.name == name).map(|earlier| earlier.value.clone());
        match self.stronger {
            Stronger::Real => in_real().or_else(in_files),
            Stronger::Files => in_files().or_else(in_real),
        }
    }
}

fn parse_port(value: &OsStr) -> Option<u16> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// An entry with what holds for it.
struct Settled {
    entry: Entry,
    /// All together: its own, then flags, then the spec's defaults, then built in.
    settings: Settings,
    /// Where its own `env` sets PORT.
    sets_port: Option<Place>,
}

fn settle(entries: &[Entry], spec: &Spec, flags: &Settings) -> Vec<Settled> {
    let mut defaults = flags.or(&spec.defaults);
    // A number there is where the ports begin, not one port for everybody.
    defaults.port = defaults.port.filter(|port| *port == Port::None);
    let settle = |entry: &Entry| {
        let own = spec.of(&entry.name);
        let silent = Settings::default();
        let settings =
            own.map_or(&silent, |own| &own.settings).or(&defaults).or(&Settings::built_in(&entry.name));
        Settled { entry: entry.clone(), settings, sets_port: own.and_then(|own| own.sets_port.clone()) }
    };
    entries.iter().map(settle).collect()
}

/// How many of each type, `None` for those not selected.
fn count(
    request: &Request,
    selection: Selection,
    types: &[Settled],
) -> Result<Vec<Option<u32>>, Diagnostics> {
    let candidates: Vec<formation::Candidate<'_>> = types
        .iter()
        .map(|settled| formation::Candidate {
            name: &settled.entry.name,
            quantity: settled.settings.quantity.unwrap_or(1),
            max: settled.settings.max,
        })
        .collect();
    request.apply(selection, &candidates)
}

fn assign_ports(
    ports: Ports,
    base: Base,
    types: &[Settled],
    counts: &[Option<u32>],
) -> Result<Vec<Option<u16>>, Diagnostics> {
    let (step, silent) = match ports {
        Ports::On { step, .. } => (step, None),
        Ports::Off => (Ports::STEP, Some(Port::None)),
    };
    let candidates: Vec<ports::Candidate<'_>> = types
        .iter()
        .zip(counts)
        .map(|(settled, count)| ports::Candidate {
            name: &settled.entry.name,
            quantity: count.unwrap_or(0),
            own: settled.settings.port.or(silent),
        })
        .collect();
    let ports = ports::assign(base, step, &candidates)?;
    let mut errors = Diagnostics::default();
    for (settled, port) in types.iter().zip(&ports) {
        if let (Some(place), Some(_)) = (&settled.sets_port, port) {
            let reason = format!(
                "`formation.{}.env.PORT` would be overwritten by the PORT given out",
                settled.entry.name
            );
            let help = "set `port` to this type's own number, or to false";
            errors.push(Diagnostic::new(place.clone(), reason).with_help(help));
        }
    }
    if errors.is_empty() { Ok(ports) } else { Err(errors) }
}

fn complete(
    types: Vec<Settled>,
    counts: &[Option<u32>],
    ports: &[Option<u16>],
    sources: &Sources,
    spec: &Spec,
) -> Vec<ProcessType> {
    let complete = |(settled, (count, port)): (Settled, (&Option<u32>, &Option<u16>))| {
        let Settled { entry, settings, sets_port: _ } = settled;
        let mut environment = sources.environment(&spec.defaults.env, &settings.env);
        if settings.port == Some(Port::None)
            && environment.get("PORT").is_some_and(|v| v.origin != Origin::Spec)
        {
            environment.remove("PORT");
        }
        ProcessType {
            name: entry.name,
            command: Command::new(entry.command),
            quantity: count.unwrap_or(0),
            max: settings.max,
            policy: settings.policy(),
            limits: settings.limits,
            stderr: settings.stderr,
            port: *port,
            environment,
        }
    };
    types.into_iter().zip(counts.iter().zip(ports)).map(complete).collect()
}

/// The formation, and the ports where any are given out.
fn announce(types: &[ProcessType], counts: &[Option<u32>]) -> Vec<Notice> {
    let selected = types.iter().zip(counts).filter(|(_, count)| count.is_some());
    let counts = selected.map(|(entry, _)| (entry.name.clone(), entry.quantity)).collect();
    let ports =
        |entry: &ProcessType| Some((entry.name.clone(), entry.port_of(1)?, entry.port_of(entry.quantity)?));
    let ranges: Vec<_> = types.iter().filter_map(ports).collect();
    let mut notices = vec![Notice::Formation { counts }];
    if !ranges.is_empty() {
        notices.push(Notice::Ports { ranges });
    }
    notices
}
