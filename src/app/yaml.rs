//! A YAML document as a tree that keeps what a mapping of a library loses: the order, duplicate keys, the text of every
//! scalar and the place of every node.
//!
//! The library gives no places, but it adds one to an error that a visitor returns. So a place is found when it is needed,
//! by reading the document again and failing at the node: errors are rare, files are small.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::diagnostic::{Diagnostic, Place};

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
    /// How to come here from the root.
    pub(super) path: Vec<Step>,
    /// What is here.
    pub(super) kind: Kind,
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

/// One step from a mapping or a list into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the key of the entry with this index.
    Key(usize),
    /// To its value.
    Value(usize),
    /// From a list to the element with this index.
    Element(usize),
}

impl Node {
    /// Whether it is the key of an entry.
    pub(super) fn is_key(&self) -> bool {
        matches!(self.path.last(), Some(Step::Key(_)))
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
        pairs.iter().find(|(key, _)| matches!(&key.kind, Kind::Text(text) if text == name))
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
        let tree = Tree(&[]).deserialize(serde_yaml::Deserializer::from_str(text));
        let root = tree.map_err(|error| {
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
        Ok(Document { file: file.to_owned(), text: text.to_owned(), root })
    }

    /// Where a node is; the file where that cannot be told.
    pub(super) fn place(&self, node: &Node) -> Place {
        let walk = Walk { path: &node.path, goal: Goal::Fail };
        let location = walk.deserialize(serde_yaml::Deserializer::from_str(&self.text)).err();
        match location.and_then(|error| error.location()) {
            Some(at) => Place::Column(self.file.clone(), at.line(), at.column()),
            None => Place::File(self.file.clone()),
        }
    }

    /// A scalar as it is written, without its quotes: `1.10` stays `1.10`.
    pub(super) fn scalar_text(&self, node: &Node) -> String {
        let walk = Walk { path: &node.path, goal: Goal::Text };
        let text = walk.deserialize(serde_yaml::Deserializer::from_str(&self.text));
        text.ok().flatten().unwrap_or_default()
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

/// Reads a whole tree.
struct Tree<'a>(&'a [Step]);

impl Tree<'_> {
    fn node(&self, kind: Kind) -> Node {
        Node { path: self.0.to_vec(), kind }
    }

    fn then(&self, step: Step) -> Vec<Step> {
        self.0.iter().copied().chain([step]).collect()
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
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
        for index in 0.. {
            let step = self.then(Step::Element(index));
            let Some(element) = elements.next_element_seed(Tree(&step))? else { break };
            list.push(element);
        }
        Ok(self.node(Kind::Sequence(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut mapping = Vec::new();
        for index in 0.. {
            let Some(key) = entries.next_key_seed(Tree(&self.then(Step::Key(index))))? else { break };
            mapping.push((key, entries.next_value_seed(Tree(&self.then(Step::Value(index))))?));
        }
        Ok(self.node(Kind::Mapping(mapping)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_, content): (IgnoredAny, _) = tagged.variant()?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(self.node(Kind::Tagged))
    }
}

/// Goes to one node and does one thing there; everything else is passed over.
struct Walk<'a> {
    path: &'a [Step],
    goal: Goal,
}

/// What is done at the end of the way.
#[derive(Clone, Copy)]
enum Goal {
    /// The visitor fails, and the library says where.
    Fail,
    /// The text of the scalar is read.
    Text,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match (self.path, self.goal) {
            ([], Goal::Fail) => deserializer.deserialize_any(Fail),
            ([], Goal::Text) => deserializer.deserialize_str(Text),
            ([Step::Element(_), ..], Goal::Fail | Goal::Text) => deserializer.deserialize_seq(self),
            ([Step::Key(_) | Step::Value(_), ..], Goal::Fail | Goal::Text) => {
                deserializer.deserialize_map(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the document that was read before")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let Some((step, path)) = self.path.split_first() else { return Ok(None) };
        let further = Walk { path, goal: self.goal };
        let (Step::Key(index) | Step::Value(index) | Step::Element(index)) = *step;
        for _ in 0..index {
            if entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = match step {
            Step::Key(_) => {
                let found = entries.next_key_seed(further)?.flatten();
                entries.next_value::<IgnoredAny>()?;
                found
            }
            Step::Value(_) | Step::Element(_) => {
                entries.next_key::<IgnoredAny>()?;
                entries.next_value_seed(further)?
            }
        };
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Some((step, path)) = self.path.split_first() else { return Ok(None) };
        let further = Walk { path, goal: self.goal };
        let (Step::Key(index) | Step::Value(index) | Step::Element(index)) = *step;
        for _ in 0..index {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = elements.next_element_seed(further)?.flatten();
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// Fails at whatever it meets.
struct Fail;

impl<'de> Visitor<'de> for Fail {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Err(E::custom("here"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("here"))
    }
}

/// Takes a scalar as text.
struct Text;

impl Visitor<'_> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a scalar")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
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
    fn a_scalar_keeps_its_text() {
        let document = document("a: 1.10\nb: 0755\nc: 'x # y'\nd: True\ne: \"l\\nm\"\nf: 0x1F\ng: ~\n");
        let texts: Vec<String> =
            entries(&document.root).iter().map(|(_, value)| document.scalar_text(value)).collect();
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
