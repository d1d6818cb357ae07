//! How many of each process type should run: the arguments `web=4 worker=8`, `all=0 web=2`, `web`.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::inputs::Strays;

/// What the arguments ask for; `all` stands for every type but [`RELEASE`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// What is named, each once, in the order of the arguments.
    named: Vec<String>,
    /// Each of them with its count, where it is given one.
    counts: HashMap<String, Option<u32>>,
    /// Whether any name stands alone.
    has_bare: bool,
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

/// Reserved: no type is called so.
pub const ALL: &str = "all";

/// The type that runs once, before a deployment, and so never among the others (Heroku's release phase).
pub const RELEASE: &str = "release";

/// Reads the arguments; in one of them commas and spaces separate alike, as a variable and an image's command need it. What is
/// neither `NAME` nor `NAME=N` goes to `errors`.
pub(super) fn parse(arguments: &[String], errors: &mut Diagnostics) -> Request {
    let mut request = Request::default();
    for argument in arguments.iter().filter(|argument| !argument.trim().is_empty()) {
        for part in argument.split(',').flat_map(words) {
            match parse_part(&part) {
                Ok((name, asked)) => request.add(name, asked).unwrap_or_else(|error| errors.push(error)),
                Err(reason) => {
                    errors.push(
                        Diagnostic::new(Place::Arguments, format!("`{}`: {reason}", brief(argument)))
                            .with_help(FORM),
                    );
                }
            }
        }
    }
    request
}

/// An argument as an error shows it: each of a thousand errors in one argument need not show it all.
fn brief(argument: &str) -> Cow<'_, str> {
    /// About a line of a terminal.
    const SHOWN: usize = 70;
    match argument.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", &argument[..end])),
        None => Cow::Borrowed(argument),
    }
}

/// Of one type. Far more than the processes that a kernel allows by default (32768, proc(5), `pid_max`): what is above is
/// a slip, and a slot for each would be set up before the kernel could refuse.
pub const MOST_INSTANCES: u32 = 100_000;

/// Says so.
pub(super) fn too_many(count: u32) -> String {
    format!("{count} is too large: a type has at most {MOST_INSTANCES} instances")
}

const FORM: &str = "name types with or without a count: `web`, `web=4 worker=8`, `all=0 web=2`";

/// What stands between two commas: `web = 4 worker=8` is two parts, and nothing at all is one, which is none.
fn words(text: &str) -> Vec<String> {
    let sides: Vec<&str> = text.split('=').map(str::trim).collect();
    let tight = sides.join("=");
    if tight.is_empty() { vec![tight] } else { tight.split_whitespace().map(str::to_owned).collect() }
}

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
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{count}` is no number"));
    }
    let too_large = |_| format!("`{count}` is too large: a type has at most {MOST_INSTANCES} instances");
    match count.parse().map_err(too_large)? {
        count if count > MOST_INSTANCES => Err(too_many(count)),
        count => Ok((name, Asked::Count(count))),
    }
}

impl Request {
    fn add(&mut self, name: &str, asked: Asked) -> Result<(), Diagnostic> {
        let asked = match asked {
            Asked::Selected => {
                self.has_bare = true;
                None
            }
            Asked::Count(count) => Some(count),
        };
        match self.counts.entry(name.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(asked);
                self.named.push(name.to_owned());
            }
            Entry::Occupied(mut known) => match (*known.get(), asked) {
                (Some(earlier), Some(count)) if earlier != count => {
                    let reason = format!("`{name}` is given two counts, {earlier} and {count}");
                    return Err(Diagnostic::new(Place::Arguments, reason).with_help("name each type once"));
                }
                (earlier, asked) => {
                    known.insert(earlier.or(asked));
                }
            },
        }
        Ok(())
    }

    fn names(&self, name: &str) -> bool {
        self.counts.contains_key(name)
    }

    fn count_of(&self, name: &str) -> Option<u32> {
        self.counts.get(name).copied().flatten()
    }

    /// Whether only what is named runs.
    fn selects(&self, selection: Selection) -> bool {
        match selection {
            Selection::Bare => self.has_bare,
            Selection::Only => !self.named.is_empty(),
        }
    }

    /// An error for each name that no type of the Procfile has, unless it is passed over.
    pub(super) fn strays<'a>(
        &'a self,
        selection: Selection,
        strays: Strays,
        known: &'a [TypeName],
    ) -> impl Iterator<Item = Diagnostic> + 'a {
        let names: HashSet<&str> = known.iter().map(TypeName::as_str).chain([ALL]).collect();
        let is_known = move |name: &str| names.contains(name);
        let refused = match strays {
            Strays::Refused => true,
            Strays::PassedOver => self.selects(selection) && !self.named.iter().any(|name| is_known(name)),
        };
        let unknown = self.named.iter().filter(move |name| refused && !is_known(name));
        unknown.map(|name| unknown_type(name, known.iter().map(TypeName::as_str)))
    }

    /// How many of each candidate run, `None` for those not selected. A count that is asked for and above `max` goes to
    /// `errors`, and `max` is taken for it.
    pub(super) fn apply(
        &self,
        selection: Selection,
        candidates: &[Candidate<'_>],
        errors: &mut Diagnostics,
    ) -> Vec<Option<u32>> {
        let mut counts = Vec::new();
        for candidate in candidates {
            let (name, count) = (candidate.name, self.count(selection, candidate));
            let (Some(asked), Some(max)) = (count, candidate.max) else {
                counts.push(count);
                continue;
            };
            if asked > max && asked != candidate.quantity {
                let reason = format!("{name}={asked} is more than its max of {max}");
                let help = format!("start at most {name}={max}, or set `max` of `{name}` in supervise.yml");
                errors.push(Diagnostic::new(Place::Arguments, reason).with_help(help));
            }
            counts.push(Some(asked.min(max)));
        }
        counts
    }

    fn count(&self, selection: Selection, candidate: &Candidate<'_>) -> Option<u32> {
        let name = candidate.name.as_str();
        let among_all = name != RELEASE;
        let runs = self.names(name) || (among_all && (self.names(ALL) || !self.selects(selection)));
        let of_all = self.count_of(ALL).filter(|_| among_all);
        runs.then(|| self.count_of(name).or(of_all).unwrap_or(candidate.quantity))
    }
}

fn unknown_type<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Diagnostic {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A Procfile with two of `worker` and one of everything else, and `beat` at most once.
    fn formation(selection: Selection, arguments: &[&str]) -> Result<String, Diagnostics> {
        let names: Vec<TypeName> =
            ["web", "worker", "beat", "release", "a-1"].map(|name| name.parse().expect("a name")).into();
        let candidates: Vec<Candidate<'_>> = names
            .iter()
            .map(|name| Candidate {
                name,
                quantity: if name.as_str() == "worker" { 2 } else { 1 },
                max: (name.as_str() == "beat").then_some(1),
            })
            .collect();
        let arguments: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
        let mut errors = Diagnostics::default();
        let request = parse(&arguments, &mut errors);
        errors.extend(request.strays(selection, Strays::Refused, &names));
        let counts = request.apply(selection, &candidates, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let selected =
            names.iter().zip(counts).filter_map(|(name, count)| Some(format!("{name}={}", count?)));
        Ok(selected.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn rows_72_to_80_the_arguments_set_counts_and_select() {
        for (row, arguments, expected) in [
            (0, &[][..], "web=1 worker=2 beat=1 a-1=1"),
            (0, &[""], "web=1 worker=2 beat=1 a-1=1"),
            (72, &["web=2,worker=1"], "web=2 worker=1 beat=1 a-1=1"),
            (73, &["web = 2 , worker=1"], "web=2 worker=1 beat=1 a-1=1"),
            (73, &["web   =   2, worker = 3"], "web=2 worker=3 beat=1 a-1=1"),
            (73, &["web=2 worker=3"], "web=2 worker=3 beat=1 a-1=1"),
            (73, &[" web =2\tworker= 3 , beat "], "web=2 worker=3 beat=1"),
            (73, &["web worker"], "web=1 worker=2"),
            (74, &["all=1,worker=0"], "web=1 worker=0 beat=1 a-1=1"),
            (74, &["web=2", "all=0"], "web=2 worker=0 beat=0 a-1=0"),
            (74, &["all"], "web=1 worker=2 beat=1 a-1=1"),
            (75, &["web"], "web=1"),
            (75, &["worker", "web=3"], "web=3 worker=2"),
            (75, &["worker=4", "worker"], "worker=4"),
            (75, &["all=0", "worker", "web=3"], "web=3 worker=0 beat=0 a-1=0"),
            (79, &["a-1=2"], "web=1 worker=2 beat=1 a-1=2"),
            (80, &["web=1", "worker=3"], "web=1 worker=3 beat=1 a-1=1"),
            (0, &["release"], "release=1"),
            (0, &["release=1"], "web=1 worker=2 beat=1 release=1 a-1=1"),
            (0, &["all=1", "release"], "web=1 worker=1 beat=1 release=1 a-1=1"),
        ] {
            let found = formation(Selection::Bare, arguments).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(found, expected, "row {row}: {arguments:?}");
        }
    }

    #[test]
    fn with_only_a_count_selects_too() {
        for (arguments, expected) in [
            (&["web=4"][..], "web=4"),
            (&["web=4", "worker"], "web=4 worker=2"),
            (&["all=0", "web=2"], "web=2 worker=0 beat=0 a-1=0"),
            (&[], "web=1 worker=2 beat=1 a-1=1"),
        ] {
            assert_eq!(formation(Selection::Only, arguments).as_deref(), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn rows_76_to_79_what_is_no_formation_is_refused_with_a_reason() {
        for (row, arguments, reason) in [
            (76, &["web=x"][..], "`x` is no number"),
            (76, &["web="], "no number after `=`"),
            (76, &["=1"], "no name before `=`"),
            (76, &["="], "no name before `=`"),
            (76, &["web==2"], "`=2` is no number"),
            (76, &["web===2"], "`==2` is no number"),
            (76, &["web=-1"], "`-1` is negative"),
            (76, &["web=+1"], "`+1` is no number"),
            (76, &["web=1.5"], "`1.5` is no number"),
            (76, &["web=99999999999"], "`99999999999` is too large"),
            (76, &["web=100001"], "100001 is too large: a type has at most 100000 instances"),
            (76, &["web=1 worker=x"], "`x` is no number"),
            (76, &["web=1 =2"], "`1=2` is no number"),
            (76, &[","], "nothing between commas"),
            (76, &["web=1,"], "nothing between commas"),
            (77, &["nosuch=2"], "no process type `nosuch`"),
            (77, &["nosuch"], "`web`, `worker`, `beat`, `release`, `a-1`"),
            (77, &["wroker=2"], "did you mean `worker`?"),
            (77, &["Web=2"], "did you mean `web`?"),
            (79, &["web+1"], "as in `web=2`"),
            (79, &["web-1"], "as in `web=2`"),
            (0, &["beat=2"], "beat=2 is more than its max of 1"),
            (0, &["all=2"], "beat=2 is more than its max of 1"),
            (0, &["web=2", "web=3"], "`web` is given two counts"),
            (0, &["all=2", "all=3"], "`all` is given two counts"),
        ] {
            let errors = formation(Selection::Bare, arguments).expect_err(reason).to_string();
            assert!(errors.contains(reason), "row {row}: {arguments:?}: {errors}");
        }
        let errors =
            formation(Selection::Bare, &["web=x", "=1", "worker=-2", "no=1"]).expect_err("all are wrong");
        assert_eq!(errors.len(), 4, "{errors}");
    }
    #[test]
    fn a_thousand_errors_in_one_argument_do_not_show_it_a_thousand_times() {
        let errors = formation(Selection::Bare, &[&",".repeat(1000)]).expect_err("nothing between commas");
        assert_eq!(errors.len(), 1, "the same again and again is told once");
        let counts: Vec<String> = (0..500).map(|nth| format!("web=x{nth}")).collect();
        let errors = formation(Selection::Bare, &[&counts.join(",")]).expect_err("none is a number");
        assert_eq!(errors.len(), 500);
        assert!(errors.to_string().len() < 100_000, "{}", errors.to_string().len());
    }

    #[test]
    fn a_stranger_is_told_once_however_often_it_is_named() {
        let errors = formation(Selection::Bare, &["x,y=1,x,y", "x=2"]).expect_err("two strangers");
        assert_eq!(errors.len(), 2, "{errors}");
    }
}
