//! Where each node of a YAML document stands, and how each scalar is written: what the library that reads values does not tell.
//! It is asked of the parser below it, in one go for all nodes.

use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::slice;

use libyaml_rs as libyaml;

/// What the parser meets, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) mark: Mark,
    pub(super) what: What,
}

/// A line and a column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A scalar, without its quotes.
    Scalar(String),
    /// The beginning of a list or a mapping.
    Begin,
    /// Its end.
    End,
    /// `*name`: what stands at this place among the events.
    Alias(usize),
    /// The end of a document; all others are left out.
    Over,
}

/// The events of the first document of a text, up to its end, or to where it is no YAML.
pub(super) fn events(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut anchors: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut parser = Parser::new(text);
    while let Some((mark, raw)) = parser.next() {
        let (what, anchor) = match raw {
            Raw::Scalar(text, anchor) => (What::Scalar(text), anchor),
            Raw::Begin(anchor) => (What::Begin, anchor),
            Raw::End => (What::End, None),
            Raw::Alias(anchor) => {
                let Some(at) = anchors.get(&anchor) else { break };
                (What::Alias(*at), None)
            }
            Raw::Over => {
                events.push(Event { mark, what: What::Over });
                break;
            }
            Raw::Other => continue,
        };
        if let Some(anchor) = anchor {
            // The newest of a name is the one that is meant.
            anchors.insert(anchor, events.len());
        }
        events.push(Event { mark, what });
    }
    events
}

enum Raw {
    Scalar(String, Option<Vec<u8>>),
    Begin(Option<Vec<u8>>),
    End,
    Alias(Vec<u8>),
    Over,
    Other,
}

/// libyaml's parser over a text. It is boxed, since it is not to be moved.
struct Parser<'text> {
    parser: Box<libyaml::yaml_parser_t>,
    /// Whose bytes it points to.
    _text: &'text str,
}

impl<'text> Parser<'text> {
    fn new(text: &'text str) -> Parser<'text> {
        let mut parser: Box<MaybeUninit<libyaml::yaml_parser_t>> = Box::new(MaybeUninit::uninit());
        let place = parser.as_mut_ptr();
        // SAFETY: it makes a value of all zeroes first, and fills it in.
        let made = unsafe { libyaml::yaml_parser_initialize(place) };
        assert!(made.ok, "memory is left");
        // SAFETY: it has just been initialised, and the text outlives it.
        let parser = unsafe {
            libyaml::yaml_parser_set_encoding(place, libyaml::YAML_UTF8_ENCODING);
            libyaml::yaml_parser_set_input_string(place, text.as_ptr(), text.len() as u64);
            Box::from_raw(Box::into_raw(parser).cast())
        };
        Parser { parser, _text: text }
    }

    /// The next event; none behind an error.
    fn next(&mut self) -> Option<(Mark, Raw)> {
        let mut event = MaybeUninit::<libyaml::yaml_event_t>::uninit();
        // SAFETY: the parser is whole. Where the call succeeds the event is, and it is freed once its parts are copied, which are
        // read as its type says; names are C strings, and a scalar's value has its length beside it.
        unsafe {
            if libyaml::yaml_parser_parse(&raw mut *self.parser, event.as_mut_ptr()).fail {
                return None;
            }
            let event = event.assume_init_mut();
            let name =
                |name: *const u8| (!name.is_null()).then(|| CStr::from_ptr(name.cast()).to_bytes().to_vec());
            let raw = match event.type_ {
                libyaml::YAML_SCALAR_EVENT => {
                    let scalar = &event.data.scalar;
                    let length = usize::try_from(scalar.length).unwrap_or_default();
                    let value = slice::from_raw_parts(scalar.value, length);
                    Raw::Scalar(String::from_utf8_lossy(value).into_owned(), name(scalar.anchor))
                }
                libyaml::YAML_SEQUENCE_START_EVENT => Raw::Begin(name(event.data.sequence_start.anchor)),
                libyaml::YAML_MAPPING_START_EVENT => Raw::Begin(name(event.data.mapping_start.anchor)),
                libyaml::YAML_SEQUENCE_END_EVENT | libyaml::YAML_MAPPING_END_EVENT => Raw::End,
                libyaml::YAML_ALIAS_EVENT => Raw::Alias(name(event.data.alias.anchor).unwrap_or_default()),
                libyaml::YAML_DOCUMENT_END_EVENT | libyaml::YAML_STREAM_END_EVENT => Raw::Over,
                // The beginning of the stream and of the document.
                _ => Raw::Other,
            };
            let counted = |from_zero: u64| usize::try_from(from_zero).unwrap_or(usize::MAX - 1) + 1;
            let mark =
                Mark { line: counted(event.start_mark.line), column: counted(event.start_mark.column) };
            libyaml::yaml_event_delete(event);
            Some((mark, raw))
        }
    }
}

impl Drop for Parser<'_> {
    fn drop(&mut self) {
        // SAFETY: it is whole, and nobody uses it any more.
        unsafe { libyaml::yaml_parser_delete(&raw mut *self.parser) }
    }
}
