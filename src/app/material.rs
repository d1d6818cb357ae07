//! What a release can be made of: the files that are there now, and the config that they and the environment give.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::envfile::is_variable_name;
use super::environment::{Sources, Stronger, is_only_ours};
use super::inputs::Inputs;
use super::plan::plan;
use super::{Origin, Release};

/// Everything that a release is made of, but the build.
#[derive(Clone)]
pub struct Material {
    /// What would run, as it is planned now; its root is where the build is unless another one is named.
    pub release: Release,
    /// The Procfile, as it was found.
    pub procfile: PathBuf,
    /// The spec, where there is one.
    pub spec: Option<PathBuf>,
    /// The env files that were read.
    pub env_files: Vec<PathBuf>,
    /// The variables that make the config, by name.
    pub config: Vec<(String, OsString)>,
}

/// Without values.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.config.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Material")
            .field("procfile", &self.procfile)
            .field("spec", &self.spec)
            .field("config", &names)
            .finish_non_exhaustive()
    }
}

/// Finds out what a release would be made of. The config is what env files set, what the spec names under `services` or
/// `needs`, and what is `captured` from the environment, each as `start` would resolve it now. PORT is what a file says, and
/// nobody else: the platform gives out another one tomorrow. Everything else of the environment, and `env` and `defaults.env` of
/// the spec, are no part of it.
///
/// # Errors
/// As those of [`plan`]; a captured variable is not set, or is ours.
pub fn material(inputs: &Inputs, captured: &[String]) -> Result<Material, Diagnostics> {
    let mut errors = Diagnostics::default();
    // What is wrong with the files, `plan` says.
    let sources = inputs.sources(&mut Diagnostics::default());
    errors.extend(captured.iter().filter_map(|name| refuse(name, &sources)));
    let release = match plan(inputs) {
        Ok(release) if errors.is_empty() => release,
        Ok(_) => return Err(errors),
        Err(found) => {
            errors.extend(found);
            return Err(errors);
        }
    };
    let procfile = inputs.procfile(&sources);
    let spec = inputs.spec_file(&procfile);
    let env_files = sources.files.iter().map(|(path, _)| path.clone()).collect();
    let config = config(&sources, &release, captured);
    Ok(Material { release, procfile, spec, env_files, config })
}

fn config(sources: &Sources, release: &Release, captured: &[String]) -> Vec<(String, OsString)> {
    let in_files = sources.files.iter().flat_map(|(_, assignments)| assignments);
    let mut names: BTreeSet<&str> = in_files.map(|assignment| assignment.name.as_str()).collect();
    names.extend(release.services.iter().map(|service| service.name.as_str()));
    names.extend(captured.iter().map(String::as_str));
    let environment = sources.environment(&[], &[]);
    let of_files = sources.ranked(Stronger::Files).environment(&[], &[]);
    let value = |name: &str| {
        let variable = if name == "PORT" {
            of_files.get(name).filter(|variable| matches!(variable.origin, Origin::File { .. }))
        } else {
            environment.get(name)
        };
        variable.map(|variable| (name.to_owned(), variable.value.clone()))
    };
    names.into_iter().filter_map(value).collect()
}

fn refuse(name: &str, sources: &Sources) -> Option<Diagnostic> {
    let wrong = |reason: &str| Diagnostic::new(Place::Arguments, format!("`--capture {name}`: {reason}"));
    if !is_variable_name(name.as_bytes()) {
        return Some(wrong("this is no name of a variable").with_help("name one: `--capture DATABASE_URL`"));
    }
    if is_only_ours(name.as_ref()) || name == "PORT" {
        return Some(wrong("`supervise` gives this one out itself").with_help("leave it out"));
    }
    if sources.real.iter().all(|(known, _)| known != name) {
        return Some(wrong("it is not set").with_help("set it in the environment, or in an env file"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::plan_tests::Project;
    use super::*;

    fn config_of(project: &Project, captured: &[&str]) -> Vec<String> {
        let captured: Vec<String> = captured.iter().map(|name| (*name).to_owned()).collect();
        let material = material(&project.inputs, &captured).unwrap_or_else(|errors| panic!("{errors}"));
        material.config.iter().map(|(name, value)| format!("{name}={}", value.display())).collect()
    }

    #[test]
    fn the_config_is_what_files_name_what_is_needed_and_what_is_captured() {
        let project = Project::new("web: x\n")
            .file(".env", "A=1\nB=file\nPORT=3000\nSUPERVISE_SPEC=x\n")
            .file(
                "supervise.yml",
                "formation: {web: {needs: [DB_URL]}}\ndefaults: {env: {D: d}}\nservices: {OTHER_URL: {}}\n",
            )
            .variable("B", "real")
            .variable("PORT", "80")
            .variable("DB_URL", "redis://x")
            .variable("TOKEN", "t")
            .variable("D", "x");
        assert_eq!(config_of(&project, &[]), ["A=1", "B=real", "DB_URL=redis://x", "PORT=3000"]);
        let project = project.with(|inputs| inputs.stronger = Stronger::Files);
        let expected = ["A=1", "B=file", "DB_URL=redis://x", "PORT=3000", "TOKEN=t"];
        assert_eq!(config_of(&project, &["TOKEN"]), expected);
    }

    #[test]
    fn what_cannot_be_captured_is_named_and_never_shown() {
        let project = Project::new("web: x\n").variable("SUPERVISE_X", "hunter2");
        let names = ["1A", "NOT_SET", "SUPERVISE_X", "PORT"].map(str::to_owned);
        let errors = material(&project.inputs, &names).expect_err("all four are wrong").to_string();
        for name in names {
            assert!(errors.contains(&format!("`--capture {name}`: ")), "{errors}");
        }
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}
