//! Whatever stands in a spec, what it says is what YAML says, and no variable of an `env` is in an error.

use serde_yaml::Value;
use supervise::api::TypeName;
use supervise::app::bare;

/// Stands in values only: it can be no name of a variable.
const SECRET: &str = "hunter-2";

pub(crate) fn check(input: &[u8]) {
    let known: Vec<TypeName> = ["web", "worker", "beat"].map(|name| name.parse().expect("a name")).into();
    let (quantities, said, errors) = bare::spec(input, &known);
    if errors.is_empty() {
        assert!(bare::is_yaml(input));
        agrees(input, &quantities);
    } else {
        // The library's columns count what a line break is to YAML: also U+0085, U+2028, U+2029 and a lone CR.
        let breaks = ["\r", "\u{85}", "\u{2028}", "\u{2029}", "\u{feff}"];
        if std::str::from_utf8(input).is_ok_and(|text| !breaks.iter().any(|odd| text.contains(odd))) {
            super::expect_good(&errors, input);
        }
    }
    if !input.starts_with(b"\xef\xbb\xbf") {
        let marked = [b"\xef\xbb\xbf", input].concat();
        let (_, again, more) = bare::spec(&marked, &known);
        assert_eq!((said, errors), (again, more), "with a byte order mark");
    }
    hides(input, &known);
}

/// The counts, as a reader that knows nothing of specs finds them.
fn agrees(input: &[u8], quantities: &[(String, Option<u32>)]) {
    // It refuses what we take only where a key is there twice in a place that we do not look at, and there is none.
    let Ok(Value::Mapping(top)) = serde_yaml::from_slice::<Value>(input) else { return };
    let Some(Value::Mapping(formation)) = top.get("formation") else { return assert!(quantities.is_empty()) };
    assert_eq!(formation.len(), quantities.len());
    for (name, value) in formation {
        let (Some(name), value) = (name.as_str(), value) else { continue };
        let wanted = match value {
            Value::Mapping(settings) => settings.get("quantity").and_then(Value::as_u64),
            other => other.as_u64(),
        };
        let found = quantities.iter().find(|(known, _)| known == name).expect("each type of the file");
        assert_eq!(found.1.map(u64::from), wanted, "{name}");
    }
}

/// The same input as what stands below `env`: no error says what a value is.
fn hides(input: &[u8], known: &[TypeName]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Other breaks would lead out of the `env`, and so may a mark that is no text.
    if !text.contains(SECRET) || text.contains(['\r', '\0', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}']) {
        return;
    }
    let indented: String = text.lines().flat_map(|line| ["      ", line, "\n"]).collect();
    let (_, _, errors) = bare::spec(format!("formation:\n  web:\n    env:\n{indented}").as_bytes(), known);
    assert!(!errors.to_string().contains(SECRET), "{errors}");
}
