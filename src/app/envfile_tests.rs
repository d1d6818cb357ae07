//! Env files as people write them, and as other tools read them.

use proptest::prelude::*;

use super::*;

fn pairs(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Diagnostics> {
    let assignments = parse(Path::new(".env"), text, None)?;
    Ok(assignments.into_iter().map(|found| (found.name, found.value.into_vec())).collect())
}

fn value(text: &str) -> String {
    let found = pairs(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}: {errors}"));
    let (name, value) = found.last().unwrap_or_else(|| panic!("nothing in {text}"));
    format!("{name}={}", String::from_utf8_lossy(value))
}

#[test]
fn rows_43_to_68_each_value_is_read_as_promised() {
    for (row, text, expected) in [
        (43, "A = b", "A=b"),
        (44, "export A=b", "A=b"),
        (44, "export\tA=2", "A=2"),
        (44, "exportFOO=2", "exportFOO=2"),
        (44, "export=2", "export=2"),
        (45, "A=b c", "A=b c"),
        (46, "A=b # c", "A=b"),
        (46, "A=b\t# c", "A=b"),
        (46, "A= # c", "A="),
        (47, "A=b#c", "A=b#c"),
        (47, "A=#fff", "A=#fff"),
        (48, "A=\"a#b\"", "A=a#b"),
        (48, "A=\"a # b\"", "A=a # b"),
        (49, "A=\"x\" # c", "A=x"),
        (49, "FOO='bar#baz' # comment", "FOO=bar#baz"),
        (50, "A=", "A="),
        (50, "A=\"\"", "A="),
        (50, "A=''", "A="),
        (52, "A='a b'", "A=a b"),
        (53, "A=\"x\\ny\"", "A=x\ny"),
        (53, "A=\"x\\ty\"", "A=x\ty"),
        (54, "A='x\\ny'", "A=x\\ny"),
        (55, "A=x\\ny", "A=x\\ny"),
        (57, "A=it's", "A=it's"),
        (58, "A=C:\\path", "A=C:\\path"),
        (58, "A=\"C:\\path\"", "A=C:\\path"),
        (59, "A=\"a\\\"b\"", "A=a\"b"),
        (59, "FOO=\"bar\\\\\"", "FOO=bar\\"),
        (60, "A=$HOME ${HOME}", "A=$HOME ${HOME}"),
        (60, "A=\"$HOME\"", "A=$HOME"),
        (60, "A=\"\\$HOME\"", "A=\\$HOME"),
        (61, "A=  b  ", "A=b"),
        (61, "A='  b  '", "A=  b  "),
        (62, "  A=b", "A=b"),
        (65, "A=\"l1\nl2\"", "A=l1\nl2"),
        (65, "A='l1\r\n\r\nl2'\r\n", "A=l1\n\nl2"),
        (66, "A=b\nA=c", "A=c"),
        (67, "\u{feff}A=b", "A=b"),
        (68, "A=b\r\n", "A=b"),
        (68, "A=\"b\"\r\n", "A=b"),
        (68, "A=b\r\nC=d\r\n", "C=d"),
    ] {
        assert_eq!(value(text), expected, "row {row}: {text:?}");
    }
}

#[test]
fn what_other_suites_expect_of_values_holds() {
    for (text, expected) in [
        ("MYVAR='hello\"world'", "MYVAR=hello\"world"),
        ("MYVAR=\"hello'world\"", "MYVAR=hello'world"),
        ("MYVAR='\"surrounded\"'", "MYVAR=\"surrounded\""),
        ("MYVAR=user@domain.com", "MYVAR=user@domain.com"),
        ("MYVAR=~pun|u@|0n$=", "MYVAR=~pun|u@|0n$="),
        ("MYVAR=\u{2ac}\u{fc}", "MYVAR=\u{2ac}\u{fc}"),
        ("MYVAR='sp ace'", "MYVAR=sp ace"),
        ("OTHER=\"escaped\\\"quote\"", "OTHER=escaped\"quote"),
        ("URL=\"http://example.com/api?foo=bar&baz=1\"", "URL=http://example.com/api?foo=bar&baz=1"),
        ("key = \"quoted#hash\"", "key=quoted#hash"),
        ("base64=aGk===", "base64=aGk==="),
        ("FOO=foobar=", "FOO=foobar="),
        ("JSON={\"a\": \"b # c\"}", "JSON={\"a\": \"b"),
        ("JSON={\"a\": [1,2]}", "JSON={\"a\": [1,2]}"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
    }
}

#[test]
fn a_bad_line_is_an_error_with_its_line_and_nothing_of_its_text() {
    for (row, text, line, reason) in [
        (51, "B=1\nhunter2", 2, "no `=`"),
        (51, "FOOBAR", 1, "no `=`"),
        (56, "B=1\nA=\"hunter2", 2, "never closed"),
        (56, "A='hunter2\nB=2\n", 1, "never closed"),
        (63, "1hunter2=b", 1, "no name"),
        (64, "hunter-2=c", 1, "no name"),
        (64, "hunter.2=c", 1, "no name"),
        (69, "{\"A\": \"hunter2\"}", 1, "no `=`"),
        (69, "A: hunter2", 1, "no `=`"),
        (0, "=hunter2", 1, "no name"),
        (0, "export hunter2", 1, "no `=`"),
        (0, "hunter\u{fc}2=x", 1, "no name"),
        (0, "A=\"x\"hunter2", 1, "follows the closing quote of `A`"),
        (0, "A='x' hunter2", 1, "follows the closing quote of `A`"),
        (0, "A='x\ny'#hunter2", 1, "follows the closing quote of `A`"),
        (0, "A=hunter2\rB=2\n", 1, "a carriage return in the value of `A`"),
        (0, "A='hunter2\rB'\n", 1, "a carriage return in the value of `A`"),
        (0, "A=hunter2\0", 1, "NUL byte in the value of `A`"),
    ] {
        let errors = pairs(text.as_bytes()).expect_err(text);
        assert_eq!(errors.len(), 1, "row {row}: {errors}");
        let error = errors.iter().next().expect("one");
        assert_eq!(error.place, Place::Line(".env".into(), line), "row {row}: {text:?}");
        assert!(error.reason.contains(reason), "row {row}: {text:?}: {error}");
        assert!(!error.to_string().contains("hunter"), "row {row}: {error}");
    }
}

#[test]
fn every_bad_line_is_named_in_one_run_and_the_line_after_a_quote_is_right() {
    let errors = pairs(b"# c\n\nA\nB='1\n2\n3'\nC-D=1\nE=\"x\" y\n").expect_err("three are bad");
    let places: Vec<&Place> = errors.iter().map(|error| &error.place).collect();
    assert_eq!(places, [3, 7, 8].map(|line| Place::Line(".env".into(), line)).iter().collect::<Vec<_>>());
    let lines: Vec<usize> = parse(Path::new("e"), b"A=1\nB='\n\n'\nC=2", None)
        .expect("all are right")
        .iter()
        .map(|found| found.line)
        .collect();
    assert_eq!(lines, [1, 2, 5]);
}

#[test]
fn bytes_that_are_not_utf_8_are_kept() {
    assert_eq!(
        pairs(b"A=\xff\xfe b\nB=\"\xff\"\n").expect("values may be any bytes"),
        [("A".to_owned(), b"\xff\xfe b".to_vec()), ("B".to_owned(), b"\xff".to_vec()),]
    );
}

#[test]
fn variables_are_replaced_only_where_asked_for_and_never_in_single_quotes() {
    let lookup = |name: &str, earlier: Option<&OsString>| match name {
        "DB_USER" => Some("me".into()),
        _ => earlier.cloned(),
    };
    let text = b"A=$DB_USER:${DB_USER}x\nB=\"$A \\$A\"\nC='$A'\nD=[$NOT_SET]$5 $ $$\nE=a$A\n";
    let found = parse(Path::new("e"), text, Some(&lookup)).expect("all are right");
    let values: Vec<&str> = found.iter().map(|found| found.value.to_str().expect("UTF-8")).collect();
    assert_eq!(values, ["me:mex", "me:mex $A", "$A", "[]$5 $ $$", "ame:mex"]);
    for text in ["A=${hunter2", "A=\"${hunter2:-x}\"", "A=${}"] {
        let errors = parse(Path::new("e"), text.as_bytes(), Some(&lookup)).expect_err(text);
        assert!(!errors.to_string().contains("hunter"), "{errors}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text: Vec<u8>) {
        let _either = parse(Path::new("e"), &text, None);
        let _either = parse(Path::new("e"), &text, Some(&|_, _| None));
    }

    #[test]
    fn no_error_shows_a_secret(
        lines in prop::collection::vec("(A|B|1A|A-B|export C|)(=| = |)['\"]?(zq[0-9]zq|[ #$\\\\{]zq7zq)['\"]?( x| #)?", 1..8),
        expand: bool,
    ) {
        let text = lines.join("\n");
        let nothing: Lookup<'_> = &|_, _| None;
        if let Err(errors) = parse(Path::new(".env"), text.as_bytes(), expand.then_some(nothing)) {
            prop_assert!(!errors.to_string().contains("zq"), "{text}\n{errors}");
        }
    }

    #[test]
    fn where_dotenvy_reads_a_file_without_dollars_we_read_the_same(
        lines in prop::collection::vec(
            "(export )?[A-Z_]{1,3} ?= ?([a-z0-9:/=#.-]{0,6}|'[a-z0-9 #]{0,6}'|\"[a-z0-9 #']{0,6}\"|)( # [a-z ]{0,3})?",
            0..6,
        ),
    ) {
        let text = lines.join("\n");
        let theirs: Result<Vec<(String, String)>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
        // They take a `#` right after `=` for a comment; a colour is a value to us.
        let colours = lines.iter().any(|line| line.split_once('=').is_some_and(|(_, v)| v.trim().starts_with('#')));
        if let (Ok(theirs), false) = (theirs, colours) {
            let ours: Vec<(String, String)> = pairs(text.as_bytes())
                .expect("they can read it")
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8(value).expect("it was UTF-8")))
                .collect();
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    #[test]
    fn what_we_write_reads_back_byte_for_byte(
        values in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(1..=255_u8, 0..20),
                prop::collection::vec(prop::sample::select(&b"\\\"'$#={}nrt \t\r\n\xffA"[..]), 0..12),
            ],
            0..5,
        ),
    ) {
        let named = |(index, value): (usize, Vec<u8>)| (format!("V{index}"), OsString::from_vec(value));
        let variables: Vec<(String, OsString)> = values.into_iter().enumerate().map(named).collect();
        let read = read_kept(Path::new("config.env"), &write(&variables)).expect("it is ours");
        prop_assert_eq!(read, variables);
    }
}

#[test]
fn variables_that_double_themselves_are_refused_before_they_fill_the_memory() {
    let lookup = |_: &str, earlier: Option<&OsString>| earlier.cloned();
    let text = format!("A=hunter2hunter2\n{}", "A=$A$A\n".repeat(60));
    let errors = parse(Path::new("e"), text.as_bytes(), Some(&lookup)).expect_err("2^64 bytes");
    assert_eq!(errors.len(), 1, "{errors}");
    let error = errors.to_string();
    assert!(
        error.contains("e:21: with `A` the variables that are replaced") && !error.contains("hunter"),
        "{error}"
    );
}

#[test]
fn an_unquoted_value_of_a_long_file_is_found_without_reading_the_file_again() {
    let lookup = |_: &str, earlier: Option<&OsString>| earlier.cloned();
    let lines = (1..20_000).map(|nth| format!("A{nth}=$A{}\n", nth - 1));
    let text: String = ["A0=x\n".to_owned()].into_iter().chain(lines).collect();
    let found = parse(Path::new("e"), text.as_bytes(), Some(&lookup)).expect("all are right");
    assert!(found.iter().all(|found| found.value == "x"));
}
