//! The formation of Heroku's `app.json`. Everything else in the file is Heroku's.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::api::TypeName;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::settings::Settings;
use super::spec::{Spec, Spots, TypeSpec, unknown_type};

/// <https://devcenter.heroku.com/articles/app-json-schema#formation>
#[derive(Deserialize)]
struct AppJson {
    formation: Option<BTreeMap<String, Entry>>,
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
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        Diagnostic::new(place, format!("this is no app.json that can be read: {reason}"))
    })?;
    let Some(formation) = app.formation else { return Ok(None) };
    let mut errors = Diagnostics::default();
    for name in formation.keys() {
        if let Some(error) =
            unknown_type(|| Place::File(file.to_owned()), &format!("formation.{name}"), name, known)
        {
            errors.push(error);
        }
    }
    let type_spec = |(name, entry): (String, Entry)| TypeSpec {
        name,
        settings: Settings { quantity: entry.quantity, ..Settings::default() },
        spots: Spots::default(),
        is_unclear: false,
    };
    let types = formation.into_iter().map(type_spec).collect();
    if errors.is_empty() { Ok(Some(Spec { types, ..Spec::default() })) } else { Err(errors) }
}
