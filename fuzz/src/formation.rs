//! Whatever the arguments of a start are, they mean one formation or are refused; and whatever the counts, no two slots have one
//! port.
//!
//! The first byte chooses `--only`, the next two base and step of the ports, and each line that follows is an argument.

use std::collections::BTreeSet;

use supervise::api::TypeName;
use supervise::app::bare::{formation, ports};
use supervise::app::{Diagnostics, MOST_INSTANCES, Selection};

pub(crate) fn check(input: &[u8]) {
    let [only, base, step, text @ ..] = input else { return };
    let selection = if only % 2 == 1 { Selection::Only } else { Selection::Bare };
    let types: Vec<(TypeName, u32, Option<u32>)> = [
        ("web", 1, None),
        ("worker", 2, Some(64)),
        ("beat", 1, Some(1)),
        ("release", 1, None),
        ("a-1", 0, None),
    ]
    .map(|(name, quantity, max)| (name.parse().expect("a name"), quantity, max))
    .into();
    let arguments: Vec<String> =
        text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let found = formation(&arguments, selection, &types);
    // A comma separates as two arguments do, where something stands on both sides of it.
    let whole = |argument: &&String| argument.split(',').all(|part| !part.trim().is_empty());
    if arguments.iter().all(|argument| whole(&argument)) {
        let apart: Vec<String> =
            arguments.iter().flat_map(|argument| argument.split(',')).map(str::to_owned).collect();
        assert_eq!(formation(&apart, selection, &types).ok(), found.as_ref().ok().cloned());
    }
    match &found {
        Err(errors) => expect_bounded(errors, &arguments),
        Ok(counts) => {
            for ((name, _, max), count) in types.iter().zip(counts) {
                assert!(count.is_none_or(|count| count <= max.unwrap_or(MOST_INSTANCES)), "{name}");
            }
            // What is announced, asked for alone, is what there is.
            let announced: Vec<String> = types
                .iter()
                .zip(counts)
                .filter_map(|((name, ..), count)| Some(format!("{name}={}", (*count)?)))
                .collect();
            if !announced.is_empty() {
                assert_eq!(formation(&announced, Selection::Only, &types).as_ref(), Ok(counts));
            }
            let counted: Vec<(TypeName, u32)> =
                types.into_iter().zip(counts).map(|((name, ..), count)| (name, count.unwrap_or(0))).collect();
            assign(u16::from(*base) << 8 | 1, u16::from(*step) * 16, &counted);
        }
    }
}

/// Errors are as long as what they are about, not longer and longer.
fn expect_bounded(errors: &Diagnostics, arguments: &[String]) {
    super::expect_good(errors, b"");
    let given: usize = arguments.iter().map(String::len).sum();
    let said = errors.to_string().len();
    assert!(said <= 256 * given + 1000, "{given} bytes of arguments, {said} of errors");
}

fn assign(base: u16, step: u16, counts: &[(TypeName, u32)]) {
    let all = |step: u16| {
        let mut taken = BTreeSet::new();
        counts.iter().enumerate().all(|(index, (_, count))| {
            let first = u64::from(base) + u64::from(step) * index as u64;
            (0..u64::from(*count))
                .all(|slot| u16::try_from(first + slot).is_ok() && taken.insert(first + slot))
        })
    };
    let found = ports(base, step, counts);
    assert_eq!(found.is_ok(), all(step), "{found:?}");
    if let Err(errors) = found {
        super::expect_good(&errors, b"");
        for error in errors.iter() {
            let help = error.help.as_deref().unwrap_or_default();
            let suggested = help.strip_prefix("`--port-step ").and_then(|rest| rest.strip_suffix("` fits"));
            match suggested {
                Some(step) => assert!(all(step.parse().expect("a step")), "{error}"),
                None => assert!(help.starts_with("no `--port-step` fits"), "{error}"),
            }
        }
    }
}
