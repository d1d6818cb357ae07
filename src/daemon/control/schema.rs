//! Holds answers against the `OpenAPI` document: the part of JSON Schema 2020-12 that the document uses, and a panic at any
//! other keyword, so that nothing it says goes unchecked.

use serde_json::Value;

/// The document, and how to find one's way in it.
pub(crate) struct Document(Value);

/// An answer as it came.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl Document {
    pub(crate) fn new(text: &[u8]) -> Document {
        let document: Value = serde_json::from_slice(text).expect("the document is JSON");
        assert_eq!(document["openapi"], "3.1.0");
        Document(document)
    }

    /// Every operation, as method, path and the statuses that it may have.
    pub(crate) fn operations(&self) -> Vec<(String, String, Vec<u16>)> {
        let paths = self.0["paths"].as_object().expect("there are paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().expect("there are methods").iter().map(move |(method, operation)| {
                let statuses = operation["responses"].as_object().expect("there are responses").keys();
                let statuses = statuses.map(|status| status.parse().expect("a status is a number")).collect();
                (method.to_uppercase(), path.clone(), statuses)
            })
        });
        operations.collect()
    }

    /// What is wrong with an answer; nothing where it is as documented.
    pub(crate) fn complaints(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let operation = &self.0["paths"][path][method.to_lowercase()];
        let response = self.resolve(&operation["responses"][answer.status.to_string()]);
        if response.is_null() {
            return vec![format!("status {} is not documented", answer.status)];
        }
        let Some(content) = response.get("content") else {
            return if answer.body.is_empty() { vec![] } else { vec!["a body is not documented".to_owned()] };
        };
        let Some(media) = answer.content_type.and_then(|kind| content.get(kind)) else {
            return vec![format!("content type {:?} is not documented", answer.content_type)];
        };
        let mut complaints = Vec::new();
        // Our own word for streams: each line is a value of its own.
        let is_text = answer.content_type.is_some_and(|kind| kind.starts_with("text/"));
        if is_text {
            let text = String::from_utf8_lossy(answer.body).into_owned();
            self.check(&Value::String(text), &media["schema"], "", &mut complaints);
        } else if let Some(line) = media.get("x-line") {
            for text in answer.body.split_inclusive(|byte| *byte == b'\n') {
                self.check_text(text, line, &mut complaints);
            }
        } else {
            self.check_text(answer.body, &media["schema"], &mut complaints);
        }
        complaints
    }

    fn check_text(&self, text: &[u8], schema: &Value, complaints: &mut Vec<String>) {
        match serde_json::from_slice(text) {
            Ok(value) => self.check(&value, schema, "", complaints),
            Err(error) => complaints.push(format!("{error}: {}", String::from_utf8_lossy(text))),
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("references stay in the document");
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("nothing at {reference}")))
            }
            None => schema,
        }
    }

    fn check(&self, value: &Value, schema: &Value, at: &str, complaints: &mut Vec<String>) {
        let schema = self.resolve(schema).as_object().expect("a schema is an object");
        let mut expect = |good: bool, what: &str| {
            if !good {
                complaints.push(format!("{at}: {value}: {what}"));
            }
        };
        for (keyword, wanted) in schema {
            match keyword.as_str() {
                "description" | "default" | "examples" => {}
                // Nothing that is answered is of such a type; the other way is the server's own to check.
                "pattern" => expect(value.as_str().is_some_and(|text| !text.is_empty()), "pattern"),
                "type" => {
                    let names = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                    expect(names.iter().any(|name| is_of(value, name.as_str().expect("a name"))), "type");
                }
                "const" => expect(value == wanted, "const"),
                "enum" => expect(wanted.as_array().expect("a list").contains(value), "enum"),
                "minimum" => expect(value.is_null() || value.as_f64() >= wanted.as_f64(), "minimum"),
                "maximum" => expect(value.is_null() || value.as_f64() <= wanted.as_f64(), "maximum"),
                "minLength" => {
                    expect(value.as_str().map(|text| text.len() as u64) >= wanted.as_u64(), "minLength");
                }
                "required" => {
                    for name in wanted.as_array().expect("a list") {
                        expect(
                            value.get(name.as_str().expect("a name")).is_some(),
                            &format!("{name} is missing"),
                        );
                    }
                }
                "properties" | "additionalProperties" | "items" | "oneOf" => {}
                unknown => panic!("the document says `{unknown}`, which is not checked"),
            }
        }
        let properties = schema.get("properties");
        for (name, inner) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{name}");
            match (properties.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
                (Some(schema), _) => self.check(inner, schema, &at, complaints),
                (None, Some(Value::Bool(false))) => complaints.push(format!("{at}: not documented")),
                (None, Some(schema)) => self.check(inner, schema, &at, complaints),
                (None, None) => {}
            }
        }
        if let Some(items) = schema.get("items") {
            for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
                self.check(inner, items, &format!("{at}/{number}"), complaints);
            }
        }
        if let Some(choices) = schema.get("oneOf") {
            let fits = |schema: &&Value| {
                let mut complaints = Vec::new();
                self.check(value, schema, at, &mut complaints);
                complaints.is_empty()
            };
            let fitting = choices.as_array().expect("a list").iter().filter(fits).count();
            if fitting != 1 {
                complaints.push(format!("{at}: {value}: {fitting} of oneOf"));
            }
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type `{other}`"),
    }
}
