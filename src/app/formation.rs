//! How many of each process type should run: the arguments `web=4 worker=8`, `all=0 web=2`, `web`.

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};

/// What the arguments ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `all=N`, `all`.
    all: Option<Asked>,
    /// Each type that is named, in the order of the arguments.
    types: Vec<(String, Asked)>,
}

/// How a type is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `web`: it runs, as many as it would.
    Selected,
    /// `web=4`.
    Count(u32),
}

/// Whether counts alone choose what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The types not named keep their own count.
    #[default]
    Bare,
    /// `--only`: the types not named do not run.
    Only,
}

/// One type as the arguments see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Its name.
    pub(super) name: &'a TypeName,
    /// How many run where the arguments say nothing.
    pub(super) quantity: u32,
    /// How many may run at most.
    pub(super) max: Option<u32>,
}

/// The name that stands for every type but [`RELEASE`].
const ALL: &str = "all";

/// The type that runs once, before a deployment, and so never among the others (Heroku's release phase).
pub(super) const RELEASE: &str = "release";

/// Reads the arguments; commas separate as well as spaces do.
///
/// # Errors
/// Each argument that is neither `NAME` nor `NAME=N`.
pub(super) fn parse(arguments: &[String]) -> Result<Request, Diagnostics> {
    let mut request = Request::default();
    let mut errors = Diagnostics::default();
    for argument in arguments.iter().filter(|argument| !argument.trim().is_empty()) {
        for part in argument.split(',') {
            match parse_part(part.trim()) {
                Ok((name, asked)) => request.add(name, asked).unwrap_or_else(|error| errors.push(error)),
                Err(reason) => {
                    errors.push(
                        Diagnostic::new(Place::Arguments, format!("`{argument}`: {reason}")).with_help(FORM),
                    );
                }
            }
        }
    }
    if errors.is_empty() { Ok(request) } else { Err(errors) }
}

const FORM: &str = "name types with or without a count: `web`, `web=4 worker=8`, `all=0 web=2`";

fn parse_part(part: &str) -> Result<(&str, Asked), String> {
    let Some((name, count)) = part.split_once('=') else {
        return if part.is_empty() {
            Err("nothing between commas".to_owned())
        } else {
            Ok((part, Asked::Selected))
        };
    };
    let (name, count) = (name.trim(), count.trim());
    if name.is_empty() {
        return Err("no name before `=`".to_owned());
    }
    if count.is_empty() {
        return Err("no number after `=`".to_owned());
    }
    if count.strip_prefix('-').is_some_and(|digits| digits.parse::<u64>().is_ok()) {
        return Err(format!("`{count}` is negative"));
    }
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| digits).ok_or_else(|| format!("`{count}` is no number"))?;
    Ok((name, Asked::Count(count)))
}

impl Request {
    fn add(&mut self, name: &str, asked: Asked) -> Result<(), Diagnostic> {
        let earlier = if name == ALL {
            self.all.as_mut()
        } else {
            self.types.iter_mut().find(|(known, _)| known == name).map(|(_, asked)| asked)
        };
        match (earlier, asked) {
            (None, asked) if name == ALL => self.all = Some(asked),
            (None, asked) => self.types.push((name.to_owned(), asked)),
            (Some(_), Asked::Selected) => {}
            (Some(earlier), Asked::Count(_)) if *earlier == Asked::Selected || *earlier == asked => {
                *earlier = asked
            }
            (Some(_), Asked::Count(_)) => {
                return Err(Diagnostic::new(Place::Arguments, format!("`{name}` is given two counts"))
                    .with_help("name each type once"));
            }
        }
        Ok(())
    }

    /// Whether only what is named runs.
    fn selects(&self, selection: Selection) -> bool {
        let mut all = self.all.iter().chain(self.types.iter().map(|(_, asked)| asked));
        match selection {
            Selection::Bare => all.any(|asked| *asked == Asked::Selected),
            Selection::Only => all.next().is_some(),
        }
    }

    /// How many of each candidate run, `None` for those not selected.
    ///
    /// # Errors
    /// Names that are no candidate's, and counts above `max`.
    pub(super) fn apply(
        &self,
        selection: Selection,
        candidates: &[Candidate<'_>],
    ) -> Result<Vec<Option<u32>>, Diagnostics> {
        let mut errors = Diagnostics::default();
        let known = candidates.iter().map(|candidate| candidate.name.as_str());
        for (name, _) in &self.types {
            if !candidates.iter().any(|candidate| candidate.name.as_str() == name) {
                errors.push(unknown(name, known.clone()));
            }
        }
        let counts = candidates.iter().map(|candidate| self.count(selection, candidate)).collect();
        for (candidate, count) in candidates.iter().zip::<&Vec<Option<u32>>>(&counts) {
            if let (Some(count), Some(max)) = (count, candidate.max)
                && *count > max
            {
                let name = candidate.name;
                let reason = format!("{name}={count} is more than its max of {max}");
                let help = format!("start at most {name}={max}, or set `max` of `{name}` in supervise.yml");
                errors.push(Diagnostic::new(Place::Arguments, reason).with_help(help));
            }
        }
        if errors.is_empty() { Ok(counts) } else { Err(errors) }
    }

    fn count(&self, selection: Selection, candidate: &Candidate<'_>) -> Option<u32> {
        let release = candidate.name.as_str() == RELEASE;
        let named =
            self.types.iter().find(|(name, _)| name == candidate.name.as_str()).map(|(_, asked)| *asked);
        let all = self.all.filter(|_| !release);
        match (named, all) {
            (Some(Asked::Count(count)), _) | (None | Some(Asked::Selected), Some(Asked::Count(count))) => {
                Some(count)
            }
            (Some(Asked::Selected), _) | (None, Some(Asked::Selected)) => Some(candidate.quantity),
            (None, None) => (!release && !self.selects(selection)).then_some(candidate.quantity),
        }
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Diagnostic {
    let relative = |name: &str| {
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let base = digits.strip_suffix(['+', '-'])?;
        (digits.len() < name.len() && known.clone().any(|known| known == base)).then(|| base.to_owned())
    };
    let diagnostic = |reason: String| Diagnostic::new(Place::Arguments, reason);
    match relative(name) {
        Some(base) => diagnostic(format!("`{name}` is no count: it must say how many in all"))
            .with_help(format!("as in `{base}=2`")),
        None => diagnostic(format!("there is no process type `{name}`")).with_help(did_you_mean(
            name,
            "the Procfile has",
            known,
        )),
    }
}
