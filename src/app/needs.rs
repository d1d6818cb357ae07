//! Which backing services a type needs, and where they are: the keys `needs` and `services` held against the environment.

use std::ffi::OsStr;
use std::time::Duration;

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::spot::Spot;
use super::{Environment, Service};

/// What a spec says of one backing service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceSpec {
    /// The variable.
    pub(super) name: String,
    /// How long a start waits for it.
    pub(super) wait: Option<Duration>,
}

/// A variable that a type needs, and that holds no URL. Never with the value.
#[derive(Debug)]
pub(super) struct Unfit<'a> {
    /// The variable.
    pub(super) variable: &'a str,
    /// The type.
    pub(super) needed_by: &'a TypeName,
    /// Where it is said that it is needed.
    pub(super) spot: &'a Spot,
    /// Why not.
    pub(super) why: Why,
}

/// Why a variable holds no URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not set.
    NotSet,
    /// It is empty.
    Empty,
    /// It has no scheme.
    NoUrl,
}

/// The service that a variable leads to in an environment.
///
/// # Errors
/// It leads to none.
pub(super) fn service(name: &str, specs: &[ServiceSpec], environment: &Environment) -> Result<Service, Why> {
    let value = &environment.get(name).ok_or(Why::NotSet)?.value;
    if value.is_empty() {
        return Err(Why::Empty);
    }
    let url = url(value).ok_or(Why::NoUrl)?;
    Ok(Service { name: name.to_owned(), url: url.to_owned(), wait: wait(name, specs) })
}

/// The same for a type of which nothing runs yet: where the variable leads to nothing, so does the service.
pub(super) fn service_or_nowhere(name: &str, specs: &[ServiceSpec], environment: &Environment) -> Service {
    let nowhere = |_: Why| Service { name: name.to_owned(), url: String::new(), wait: wait(name, specs) };
    service(name, specs, environment).unwrap_or_else(nowhere)
}

fn wait(name: &str, specs: &[ServiceSpec]) -> Duration {
    let spec = specs.iter().find(|spec| spec.name == name);
    spec.and_then(|spec| spec.wait).unwrap_or(Service::WAIT)
}

/// The schemes that a path may follow at once; `localhost:6379` is none of them.
const OF_FILES: [&str; 3] = ["sqlite", "sqlite3", "file"];

/// A value that begins with a scheme (RFC 3986, section 3.1) and an authority or path.
fn url(value: &OsStr) -> Option<&str> {
    let text = value.to_str()?;
    let (scheme, rest) = text.split_once(':')?;
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let begins = letters && scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let leads = rest.starts_with("//") || (OF_FILES.contains(&scheme) && !rest.is_empty());
    (begins && leads).then_some(text)
}

/// One error for each variable at each place, with all types that it concerns.
pub(super) fn tell(unfit: &[Unfit<'_>], errors: &mut Diagnostics) {
    let same = |one: &Unfit<'_>, other: &Unfit<'_>| {
        (one.variable, one.spot, one.why) == (other.variable, other.spot, other.why)
    };
    for (at, found) in unfit.iter().enumerate() {
        if unfit[..at].iter().any(|earlier| same(earlier, found)) {
            continue;
        }
        let types = unfit[at..].iter().filter(|later| same(later, found));
        let types: Vec<String> = types.map(|unfit| format!("`{}`", unfit.needed_by)).collect();
        errors.push(found.diagnostic(&types));
    }
}

impl Unfit<'_> {
    fn diagnostic(&self, types: &[String]) -> Diagnostic {
        let variable = self.variable;
        let verb = if types.len() == 1 { "needs" } else { "need" };
        let (is, help) = match self.why {
            Why::NotSet => (
                "is not set",
                format!("set {variable} in the environment or an env file, as in `redis://localhost:6379`"),
            ),
            Why::Empty => ("is empty", format!("set {variable} to a URL, as in `redis://localhost:6379`")),
            Why::NoUrl => {
                ("holds no URL", "a URL begins with a scheme, as in `redis://localhost:6379`".to_owned())
            }
        };
        let reason = format!("{} {verb} {variable}, and it {is}", types.join(", "));
        self.spot.fault(&reason).with_help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_whatever_has_a_scheme() {
        for text in ["redis://localhost:6379/0", "postgres:///x", "sqlite:db.sqlite3", "s3+https://x"] {
            assert_eq!(url(OsStr::new(text)), Some(text));
        }
        for text in [
            "localhost",
            "localhost:6379",
            "redis:host",
            "",
            "//x",
            ":6379",
            "redis:",
            "1redis://x",
            "re dis://x",
            "/tmp/redis.sock",
        ] {
            assert_eq!(url(OsStr::new(text)), None, "{text}");
        }
    }
}
