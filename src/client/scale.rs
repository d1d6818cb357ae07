//! `scale`: how many of each type there are, and how many there shall be.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::connection::{Connection, Trouble, Wait, Whereabouts, read};
use super::{conclude, effects};
use crate::api::{Change, Formation};

/// What a word can be, for whoever wrote something else.
const HELP: &str =
    "name a type with a count (`web=6`), or with how many more or fewer (`worker+2`, `beat-1`)";

/// Shows the formation, or changes it where `words` says how; the answer is the exit code.
pub fn scale(
    whereabouts: &Whereabouts,
    words: &[String],
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    conclude(change(whereabouts, words, wait, out), err)
}

fn change(
    whereabouts: &Whereabouts,
    words: &[String],
    wait: Wait,
    out: &mut dyn Write,
) -> Result<u8, Trouble> {
    // What means nothing whatever the types are called is wrong, whether somebody is there or not.
    changes(words, &|_| false)?;
    let mut connection = Connection::open(whereabouts)?;
    let before: Formation = read(&connection.get("/v1/formation")?)?;
    if words.is_empty() {
        writeln!(out, "{before}")?;
        return Ok(0);
    }
    let is_type = |name: &str| before.0.iter().any(|(known, _)| known.as_str() == name);
    let mut body = Map::new();
    for (name, change) in changes(words, &is_type)? {
        let change = match change {
            Change::To(count) => json!(count),
            Change::By(count) => Value::String(format!("{count:+}")),
        };
        body.insert(name, change);
    }
    let answer = connection.post("/v1/formation", &Value::Object(body), wait)?;
    Ok(effects::tell(out, Some(&before), None, &answer)?)
}

/// Reads `web=6 worker+2,beat-1`. A `-` may be part of a name: the exact name of a type wins.
fn changes(words: &[String], is_type: &dyn Fn(&str) -> bool) -> Result<Vec<(String, Change)>, Trouble> {
    let mut changes: Vec<(String, Change)> = Vec::new();
    for word in words.iter().flat_map(|argument| argument.split(',')) {
        let (name, change) = parse(word.trim(), is_type)
            .map_err(|reason| Trouble::Usage(format!("`{word}`: {reason}\n  help: {HELP}")))?;
        match changes.iter().find(|(known, _)| known == name) {
            None => changes.push((name.to_owned(), change)),
            Some((_, earlier)) if *earlier == change && matches!(change, Change::To(_)) => {}
            Some((_, earlier)) => {
                let reason = format!("`{word}`: {name} was named before, as `{name}{earlier}`");
                return Err(Trouble::Usage(format!("{reason}\n  help: name every type once")));
            }
        }
    }
    Ok(changes)
}

fn parse<'w>(word: &'w str, is_type: &dyn Fn(&str) -> bool) -> Result<(&'w str, Change), String> {
    if word.is_empty() {
        return Err("nothing is asked for".to_owned());
    }
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((name, count)) = word.split_once('=') {
        let (name, count) = (name.trim(), count.trim());
        if name.is_empty() {
            return Err("no name before `=`".to_owned());
        }
        if count.is_empty() {
            return Err("no number after `=`".to_owned());
        }
        if count.strip_prefix('-').is_some_and(all_digits) {
            return Err(format!("`{count}` is negative"));
        }
        if !all_digits(count) {
            return Err(format!("`{count}` is no number"));
        }
        let count = count.parse().map_err(|_| format!("`{count}` is too large"))?;
        return Ok((name, Change::To(count)));
    }
    let (at, sign) = match (word.find('+'), word.rfind('-')) {
        (Some(at), _) => (at, 1),
        (None, Some(at)) if !is_type(word) => (at, -1),
        (None, _) => return Err("a count is missing".to_owned()),
    };
    let (name, by) = (word[..at].trim(), word[at + 1..].trim());
    if name.is_empty() {
        return Err("no name before the number".to_owned());
    }
    if !all_digits(by) {
        return Err(if sign == 1 { format!("`{by}` is no number") } else { "a count is missing".to_owned() });
    }
    let by: i64 = by.parse().map_err(|_| format!("`{by}` is too large"))?;
    Ok((name, Change::By(sign * by)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let is_type = |name: &str| ["web", "worker", "a", "a-1", "b-1"].contains(&name);
        let changes = changes(&words, &is_type).map_err(|trouble| trouble.to_string())?;
        Ok(changes.iter().map(|(name, change)| format!("{name}{change}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_change_is_a_count_or_so_many_more_or_fewer() {
        for (line, changes) in [
            ("web=6", "web=6"),
            ("web=6 worker+2 a-1-1", "web=6 worker+2 a-1-1"),
            ("web=6,worker-2", "web=6 worker-2"),
            ("all=0 web=2", "all=0 web=2"),
            ("web=0", "web=0"),
            ("web=2 web=2", "web=2"),
            // `a-1` is a type, so this is its count.
            ("a-1=2", "a-1=2"),
            ("a-1+2", "a-1+2"),
            ("a-2", "a-2"),
            // There is no `c`, which the supervisor will say.
            ("c-1", "c-1"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(changes), "{line}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_with_a_reason() {
        for (line, reason) in [
            ("web", "a count is missing"),
            ("a-1", "a count is missing"),
            ("b-1", "a count is missing"),
            ("web-", "a count is missing"),
            ("web-x", "a count is missing"),
            ("web=", "no number after `=`"),
            ("=2", "no name before `=`"),
            ("web=x", "`x` is no number"),
            ("web==2", "`=2` is no number"),
            ("web=-1", "`-1` is negative"),
            ("web=+1", "`+1` is no number"),
            ("web=1.5", "`1.5` is no number"),
            ("web=99999999999", "`99999999999` is too large"),
            ("web+x", "`x` is no number"),
            ("web+", "`` is no number"),
            ("web+99999999999999999999", "is too large"),
            ("+1", "no name before the number"),
            ("-1", "no name before the number"),
            ("web=1,", "nothing is asked for"),
            ("web=1 web=2", "web was named before, as `web=1`"),
            ("web+1 web+1", "web was named before, as `web+1`"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
