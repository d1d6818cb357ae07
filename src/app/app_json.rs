//! The formation of Heroku's `app.json`. Everything else in the file is Heroku's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::formation::{MOST_INSTANCES, too_many};
use super::settings::Settings;
use super::spec::{Spec, TypeSpec, unknown_type};
use super::spot::{Spot, Spots};

/// <https://devcenter.heroku.com/articles/app-json-schema#formation>
#[derive(Deserialize)]
struct AppJson {
    formation: Option<Formation>,
}

/// Each type once.
struct Formation(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Formation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Formation, D::Error> {
        deserializer.deserialize_map(Once)
    }
}

/// Reads a map in which no key is there twice.
struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Formation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of process types")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Formation, A::Error> {
        let mut formation = BTreeMap::new();
        while let Some((name, entry)) = entries.next_entry::<String, Entry>()? {
            if formation.insert(name, entry).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Formation(formation))
    }
}

const TWICE: &str = "a type is there twice";

/// What is wrong, in our words: the library's may show values.
fn reason(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    match error.classify() {
        Category::Eof => "the file ends before it is complete",
        Category::Syntax | Category::Io => "this is no JSON that can be read",
        Category::Data if text.starts_with(TWICE) => TWICE,
        Category::Data if text.starts_with("duplicate field") => "a key is there twice",
        Category::Data => {
            "`formation.TYPE.quantity` is a whole number, 0 or more, and nothing else is read here"
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    quantity: Option<u32>,
}

/// Reads the quantities; `None` where there is no formation.
///
/// # Errors
/// What is no JSON, no quantity, or no type of the Procfile.
pub(super) fn parse(
    file: &Path,
    bytes: &[u8],
    known: Option<&[TypeName]>,
) -> Result<Option<Spec>, Diagnostics> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let app: AppJson = serde_json::from_slice(bytes).map_err(|error| {
        let place = Place::Column(file.to_owned(), error.line(), error.column());
        Diagnostic::new(place, reason(&error))
    })?;
    let Some(Formation(formation)) = app.formation else { return Ok(None) };
    let mut errors = Diagnostics::default();
    for (name, entry) in &formation {
        if let Some(count) = entry.quantity.filter(|count| *count > MOST_INSTANCES) {
            let at = Spot::new(Place::File(file.to_owned()), format!("formation.{name}.quantity"));
            errors.push(at.fault(&too_many(count)));
        }
        if let Some(error) =
            unknown_type(|| Place::File(file.to_owned()), &format!("formation.{name}"), name, known)
        {
            errors.push(error);
        }
    }
    let spot = |name: &str| Spot::new(Place::File(file.to_owned()), format!("formation.{name}.quantity"));
    let type_spec = |(name, entry): (String, Entry)| TypeSpec {
        spots: Spots { quantity: Some(spot(&name)), ..Spots::default() },
        name,
        settings: Settings { quantity: entry.quantity, ..Settings::default() },
        is_unclear: false,
    };
    let types = formation.into_iter().map(type_spec).collect();
    if errors.is_empty() { Ok(Some(Spec { types, ..Spec::default() })) } else { Err(errors) }
}
