//! A YAML document as a tree that keeps what a mapping of a library loses: the order, duplicate keys, the text of every
//! scalar and the place of every node.
//!
//! The library gives no places, and no text of what is no text. So the document is read twice, once for what it says and once for
//! its [`marks`], and both are put together: however many places are asked for, that is all.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::diagnostic::{Diagnostic, Place};
use super::marks::{self, Event, Mark, What};

/// A document and its source.
pub(super) struct Document {
    file: PathBuf,
    text: String,
    /// What it says.
    pub(super) root: Node,
}

/// One value, or one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Which of both.
    role: Role,
    /// Where it stands, where that can be told.
    mark: Option<Mark>,
    /// What is here.
    pub(super) kind: Kind,
    /// How it is written, without quotes: empty for a list or a mapping, and for a text, which says it itself.
    written: String,
}

/// What a node is to the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The key of an entry.
    Key,
    /// The value of an entry, an element, or the root.
    Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Nothing, `null`, `~`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number that is not negative.
    Number(u64),
    /// Any other number.
    OtherNumber,
    /// A text, quoted or not.
    Text(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file, duplicates included.
    Mapping(Vec<(Node, Node)>),
    /// A value with a tag of its own: `!secret x`.
    Tagged,
}

impl Node {
    /// Whether it is the key of an entry.
    pub(super) fn is_key(&self) -> bool {
        self.role == Role::Key
    }

    /// A scalar as it is written, without its quotes: `1.10` stays `1.10`.
    pub(super) fn scalar_text(&self) -> String {
        self.text().unwrap_or(&self.written).to_owned()
    }

    /// What it says, where it is a text.
    fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::OtherNumber
            | Kind::Sequence(_)
            | Kind::Mapping(_)
            | Kind::Tagged => None,
        }
    }

    /// The value of a key, where this is a mapping that has it.
    pub(super) fn entry(&self, name: &str) -> Option<&Node> {
        self.find(name).map(|(_, value)| value)
    }

    /// The key itself.
    pub(super) fn entry_key(&self, name: &str) -> Option<&Node> {
        self.find(name).map(|(key, _)| key)
    }

    fn find(&self, name: &str) -> Option<&(Node, Node)> {
        let Kind::Mapping(pairs) = &self.kind else { return None };
        pairs.iter().find(|(key, _)| key.text() == Some(name))
    }
}

impl Document {
    /// Reads one document; `file` is what errors call it.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, and what the library calls no YAML.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Document, Diagnostic> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let line = memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count() + 1;
            Diagnostic::new(Place::Line(file.to_owned(), line), "the line is not UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let tree = Tree(Role::Value).deserialize(serde_yaml::Deserializer::from_str(text));
        let mut root = tree.map_err(|error| {
            let place = error.location().map_or(Place::File(file.to_owned()), |location| {
                // The library thinks of a last line that has no end as if it had one.
                let (line, column) = (location.line(), location.column());
                let (last, end) = end_of(text);
                let (line, column) = if line > last { (last, end) } else { (line, column) };
                Place::Column(file.to_owned(), line, column)
            });
            Diagnostic::new(place, format!("this is no YAML that can be read: {}", without_values(&error)))
                .with_help(
                    "indent with spaces, and put texts with `: `, ` #` or a leading `%`, `@`, `*` in quotes",
                )
        })?;
        note_marks(&mut root, &marks::events(text), &mut 0);
        Ok(Document { file: file.to_owned(), text: text.to_owned(), root })
    }

    /// Where a node is; the file where that cannot be told.
    pub(super) fn place(&self, node: &Node) -> Place {
        match node.mark {
            Some(Mark { line, column }) => Place::Column(self.file.clone(), line, column),
            None => Place::File(self.file.clone()),
        }
    }

    /// The line of a place, up to and with the word at its column. What follows, and a line in which something else stands
    /// before, may hold the value of a variable and is not shown.
    pub(super) fn visible_line(&self, place: &Place) -> Option<String> {
        let Place::Column(_, line, column) = place else { return None };
        let line = self.text.lines().nth(line - 1)?;
        let (start, rest) =
            line.split_at(line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at));
        let key = start.trim().strip_suffix(':').unwrap_or(start.trim());
        let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        let word: String =
            rest.chars().take_while(|c| !c.is_whitespace() && !":,{}[]".contains(*c)).collect();
        (plain(key) && !word.is_empty()).then(|| format!("{start}{word}"))
    }
}

/// The line and the column behind the last character, counted from 1.
fn end_of(text: &str) -> (usize, usize) {
    let last = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() + 1, last.chars().count() + 1)
}

/// The library's words without the place, which is said before them, and without what a value is.
fn without_values(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    if text.contains("invalid value") || text.contains("invalid type") {
        return "a value does not fit its tag".to_owned();
    }
    match text.find(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Tells a node, and all below it, where it stands: what the parser met from `at` on, which is moved behind it.
fn note_marks(node: &mut Node, events: &[Event], at: &mut usize) {
    let Some(Event { mark, what }) = events.get(*at) else { return };
    *at += 1;
    match what {
        What::Alias(target) => return note_marks(node, events, &mut { *target }),
        What::Scalar(_) if node.text().is_some() => {}
        What::Scalar(text) => node.written.clone_from(text),
        What::Begin => {
            match &mut node.kind {
                Kind::Sequence(elements) => {
                    for element in elements {
                        note_marks(element, events, at);
                    }
                }
                Kind::Mapping(entries) => {
                    for (key, value) in entries {
                        note_marks(key, events, at);
                        note_marks(value, events, at);
                    }
                }
                // Nobody asks what is in it.
                Kind::Tagged
                | Kind::Null
                | Kind::Bool(_)
                | Kind::Number(_)
                | Kind::OtherNumber
                | Kind::Text(_) => {}
            }
            pass_end(events, at);
        }
        // A document in which nothing is.
        What::Over | What::End => {}
    }
    node.mark = Some(*mark);
}

/// Moves behind the end of what has begun.
fn pass_end(events: &[Event], at: &mut usize) {
    let mut depth = 1;
    while depth > 0
        && let Some(Event { what, .. }) = events.get(*at)
    {
        *at += 1;
        match what {
            What::Begin => depth += 1,
            What::End => depth -= 1,
            What::Scalar(_) | What::Alias(_) | What::Over => {}
        }
    }
}

/// Reads a whole tree.
struct Tree(Role);

impl Tree {
    fn node(&self, kind: Kind) -> Node {
        Node { role: self.0, mark: None, kind, written: String::new() }
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "YAML")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Kind::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.node(Kind::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Kind::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Kind::Number(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(u64::try_from(value).map_or(Kind::OtherNumber, Kind::Number)))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(self.node(Kind::OtherNumber))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(self.node(Kind::OtherNumber))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(self.node(Kind::OtherNumber))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Kind::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Tree(Role::Value))? {
            list.push(element);
        }
        Ok(self.node(Kind::Sequence(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut mapping = Vec::new();
        while let Some(key) = entries.next_key_seed(Tree(Role::Key))? {
            mapping.push((key, entries.next_value_seed(Tree(Role::Value))?));
        }
        Ok(self.node(Kind::Mapping(mapping)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_, content): (IgnoredAny, _) = tagged.variant()?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(self.node(Kind::Tagged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Path::new("f.yml"), text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn entries(node: &Node) -> &[(Node, Node)] {
        match &node.kind {
            Kind::Mapping(entries) => entries,
            other => panic!("{other:?} is no mapping"),
        }
    }

    #[test]
    fn every_key_and_value_has_its_place() {
        let document =
            document("# comment\na: 1\nb:\n  c: [x,\n    y]\n  c: {d: ~, e: !t z}\n? f\n: 'quoted'\ng:\n");
        let mut places = Vec::new();
        let mut visit = vec![&document.root];
        while let Some(node) = visit.pop() {
            if let Place::Column(_, line, column) = document.place(node) {
                places.push((line, column));
            }
            if let Kind::Mapping(entries) = &node.kind {
                visit.extend(entries.iter().flat_map(|(key, value)| [key, value]));
            }
        }
        places.sort_unstable();
        assert_eq!(
            places,
            [
                (2, 1),
                (2, 1),
                (2, 4),
                (3, 1),
                (4, 3),
                (4, 3),
                (4, 6),
                (6, 3),
                (6, 6),
                (6, 7),
                (6, 10),
                (6, 13),
                (6, 16),
                (7, 3),
                (8, 3),
                (9, 1),
                (9, 3),
            ]
        );
    }

    #[test]
    fn what_an_alias_stands_for_is_where_its_anchor_is() {
        let text =
            "a: &x {b: 1.0, c: [2]}\nd: *x\ne: &x 0x3\nf: [*x, *x]\ng: ! {h: i}\nj: !k {l: [m]}\nn: 5\n";
        let document = document(text);
        let values: Vec<&Node> = entries(&document.root).iter().map(|(_, value)| value).collect();
        let place = |node: &Node| match document.place(node) {
            Place::Column(_, line, column) => (line, column),
            Place::Arguments | Place::Environment | Place::File(_) | Place::Line(..) => (0, 0),
        };
        let places: Vec<_> = values.iter().map(|value| place(value)).collect();
        // That of an anchor is its own: the value of `a` begins with it.
        assert_eq!(places, [(1, 4), (1, 4), (3, 4), (4, 4), (5, 4), (6, 4), (7, 4)]);
        let [(_, one), (_, list)] = entries(values[1]) else { panic!("{:?}", values[1]) };
        assert_eq!((place(one), one.scalar_text().as_str(), place(list)), ((1, 11), "1.0", (1, 19)));
        let Kind::Sequence(elements) = &values[3].kind else { panic!("{:?}", values[3]) };
        let elements: Vec<_> = elements.iter().map(|node| (place(node), node.scalar_text())).collect();
        assert_eq!(elements, [((3, 4), "0x3".to_owned()), ((3, 4), "0x3".to_owned())]);
        assert_eq!(values[6].scalar_text(), "5");
    }

    #[test]
    fn a_document_without_anything_has_a_place() {
        for (text, line) in [("", 1), ("# nothing\n", 2), ("---\n", 2)] {
            let document = document(text);
            assert!(
                matches!(document.place(&document.root), Place::Column(_, at, _) if at == line),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_megabyte_is_read_in_a_moment() {
        // Each of them is asked where it stands and how it is written: to search from the beginning for each took hours.
        let text = (0..100_000).fold(String::new(), |text, n| text + &format!("key{n}: 1.{n}\n"));
        assert!(text.len() > 1 << 20);
        let document = document(&text);
        for (n, (key, value)) in entries(&document.root).iter().enumerate() {
            assert_eq!(document.place(key), Place::Column("f.yml".into(), n + 1, 1));
            assert_eq!(value.scalar_text(), format!("1.{n}"));
        }
    }

    #[test]
    fn a_scalar_keeps_its_text() {
        let document = document("a: 1.10\nb: 0755\nc: 'x # y'\nd: True\ne: \"l\\nm\"\nf: 0x1F\ng: ~\n");
        let texts: Vec<String> =
            entries(&document.root).iter().map(|(_, value)| value.scalar_text()).collect();
        assert_eq!(texts, ["1.10", "0755", "x # y", "True", "l\nm", "0x1F", "~"]);
    }

    #[test]
    fn what_is_missing_at_the_end_is_missed_behind_the_last_character_that_is_there() {
        for (text, line, column) in [("{a: {b: 3}", 1, 11), ("a:\n  - [1", 2, 7), ("a:\n  - [1\n", 3, 1)] {
            let error =
                Document::parse(Path::new("f.yml"), text.as_bytes()).err().expect("a bracket is open");
            assert_eq!(error.place, Place::Column("f.yml".into(), line, column), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_its_place_and_without_values() {
        for (text, line) in [
            ("a: [secret", 1),
            ("a: b: secret", 1),
            ("a: *secret", 1),
            ("\tsecret: 1", 1),
            ("a: !!int secret", 1),
            ("a: 'secret", 1),
        ] {
            let error = Document::parse(Path::new("f.yml"), text.as_bytes()).err().expect(text);
            let shown = error.to_string();
            assert!(matches!(error.place, Place::Column(_, at, _) if at == line), "{text}: {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
        let nested = "[".repeat(300);
        for text in [nested.as_str(), "a: 1\n---\nb: 2\n"] {
            assert!(Document::parse(Path::new("f.yml"), text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_alias_that_multiplies_ends_in_an_error() {
        let mut text = "a0: &a0 {x: 1}\n".to_owned();
        for level in 1..40 {
            let before = level - 1;
            let three = format!("{{x: *a{before}, y: *a{before}, z: *a{before}}}");
            text += &["a", &level.to_string(), ": &a", &level.to_string(), " ", &three, "\n"].concat();
        }
        assert!(Document::parse(Path::new("f.yml"), text.as_bytes()).is_err());
    }
}
