//! What is wrong with the input, said in one place and in one way.
//!
//! A [`Diagnostic`] is a sentence with its place, a piece of the source where that may be shown, and the way out. No
//! value of an environment variable is ever in one: whoever makes a diagnostic about such a value gives no source.

use std::fmt;
use std::path::{Path, PathBuf};

/// Every error of one run, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// What is wrong: lower case, names in backticks.
    pub reason: String,
    /// The line it is on, where the user may see it.
    pub source: Option<String>,
    /// What to do next.
    pub help: Option<String>,
}

/// Where an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the command line, or in a variable that stands for a flag.
    Arguments,
    /// In the environment we were started with.
    Environment,
    /// In a file, or it is the file.
    File(PathBuf),
    /// On a line of it, from 1.
    Line(PathBuf, usize),
    /// At a character of a line, both from 1.
    Column(PathBuf, usize, usize),
}

impl Diagnostic {
    /// An error without source and help.
    pub fn new(place: Place, reason: impl AsRef<str>) -> Diagnostic {
        Diagnostic { place, reason: harmless(reason.as_ref()), source: None, help: None }
    }

    /// With the line it is on; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn with_source(mut self, line: &[u8]) -> Diagnostic {
        self.source = Some(harmless(&String::from_utf8_lossy(line)));
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl AsRef<str>) -> Diagnostic {
        self.help = Some(harmless(help.as_ref()));
        self
    }
}

/// A text of somebody else's, as a terminal may show it: a tab is one column wide, and whatever else could move the cursor
/// or change its colour is replaced.
fn harmless(text: &str) -> String {
    let replaced = |control| if control == '\t' { ' ' } else { char::REPLACEMENT_CHARACTER };
    text.chars().map(|c| if c.is_control() { replaced(c) } else { c }).collect()
}

impl Diagnostics {
    /// Adds one, if it is not the last one again.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.0.last() != Some(&diagnostic) {
            self.0.push(diagnostic);
        }
    }

    /// Puts those of one file into the order of its lines.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|diagnostic| match diagnostic.place {
            Place::Arguments | Place::Environment | Place::File(_) => (0, 0),
            Place::Line(_, line) => (line, 0),
            Place::Column(_, line, column) => (line, column),
        });
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        diagnostics.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::error::Error for Diagnostics {}
impl std::error::Error for Diagnostic {}

/// Each error on lines of its own, every one ended by a newline.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|diagnostic| writeln!(f, "{diagnostic}"))
    }
}

/// `error: Procfile:3:5: reason`, then the line with a caret below the column, then the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}{}", self.place, self.reason)?;
        if let Some(source) = &self.source {
            show(f, &self.place, source)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// At most this many characters of a line are shown: one line of a terminal.
const SHOWN: usize = 70;

fn show(f: &mut fmt::Formatter<'_>, place: &Place, source: &str) -> fmt::Result {
    let (line, column) = match place {
        Place::Column(_, line, column) => (*line, Some(*column)),
        Place::Line(_, line) => (*line, None),
        Place::Arguments | Place::Environment | Place::File(_) => return Ok(()),
    };
    let first = column.map_or(0, |column| column.saturating_sub(SHOWN));
    let shown: String = source.chars().skip(first).take(SHOWN).collect();
    let gutter = line.to_string();
    write!(f, "\n  {gutter} | {}", shown.trim_end())?;
    match column {
        Some(column) => {
            let before = column.saturating_sub(1) - first;
            write!(f, "\n  {:gutter$} | {:before$}^", "", "", gutter = gutter.len())
        }
        None => Ok(()),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Arguments => Ok(()),
            Place::Environment => write!(f, "environment: "),
            Place::File(path) => write!(f, "{}: ", path.display()),
            Place::Line(path, line) => write!(f, "{}:{line}: ", path.display()),
            Place::Column(path, line, column) => write!(f, "{}:{line}:{column}: ", path.display()),
        }
    }
}

/// The known word that was probably meant, near enough that a person would call it a slip.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let (best, distance) = known.into_iter().map(|known| (known, distance(known))).min_by_key(|(_, d)| *d)?;
    let tolerated = (word.chars().count().max(best.chars().count()) / 3).max(1);
    (distance <= tolerated && distance < best.chars().count()).then_some(best)
}

/// ``did you mean `web`? `` where a known word is near, and in any case the known words after `what`.
#[must_use]
pub fn did_you_mean<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let listed: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    let listed = format!("{what}: {}", listed.join(", "));
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? {listed}"),
        None => listed,
    }
}

/// Reads a whole file, at most [`LARGEST`] bytes.
///
/// # Errors
/// A diagnostic with the system's reason; `what` is what the file should have been.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Diagnostic> {
    use std::io::{ErrorKind, Read};

    let explain = |error: std::io::Error| {
        let reason = match error.kind() {
            ErrorKind::NotFound => format!("there is no such {what}"),
            ErrorKind::PermissionDenied => format!("the {what} may not be read"),
            ErrorKind::IsADirectory => {
                let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                format!("this is a directory, not {article} {what}")
            }
            // The rest of the system's reasons are rare, and its own words say them best.
            _ => format!("the {what} cannot be read: {error}"),
        };
        Diagnostic::new(Place::File(path.to_owned()), reason)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(explain)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(explain)?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!("the {what} is larger than {} MiB", LARGEST >> 20);
        return Err(Diagnostic::new(Place::File(path.to_owned()), reason));
    }
    Ok(bytes)
}

/// 16 MiB: nobody writes so much by hand, and a mistaken `-f /dev/zero` ends.
const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_many_times_in_a_row_is_told_once() {
        let mut errors = Diagnostics::default();
        let error = |reason: &str| Diagnostic::new(Place::Arguments, reason);
        errors.extend(["a", "a", "b", "a"].map(error));
        errors.push(error("a"));
        assert_eq!(errors.iter().map(|error| error.reason.as_str()).collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn an_error_shows_its_place_its_line_and_the_way_out() {
        let place = Place::Column("Procfile".into(), 12, 3);
        let diagnostic = Diagnostic::new(place, "no ` ` in a name").with_source(b"we b: x\x1b[31m\xff");
        assert_eq!(
            diagnostic.with_help("remove it").to_string(),
            "error: Procfile:12:3: no ` ` in a name\n  12 | we b: x\u{fffd}[31m\u{fffd}\n     |   ^\n  help: remove it"
        );
    }

    #[test]
    fn a_long_line_is_shown_around_its_column() {
        let line = [b'x'; 5000];
        let text = Diagnostic::new(Place::Column("f".into(), 1, 4000), "here").with_source(&line).to_string();
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
        assert!(text.ends_with('^'), "{text}");
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["web", "worker", "beat"];
        assert_eq!(nearest("wroker", known), Some("worker"));
        assert_eq!(nearest("Web", known), Some("web"));
        assert_eq!(nearest("wb", known), Some("web"));
        assert_eq!(nearest("redis", known), None);
        assert_eq!(nearest("x", ["a"]), None);
    }
}
