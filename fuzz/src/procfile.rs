//! Whatever stands in a Procfile, no line is passed over in silence, and no command is edited.

use supervise::app::bare::procfile;
use supervise::app::{Command, Form};

pub(crate) fn check(input: &[u8]) {
    let entries = match procfile(input) {
        Ok(entries) => entries,
        Err(errors) => return super::expect_good(&errors, input),
    };
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut before = 0;
    for (name, _, line) in &entries {
        let first = lines[line - 1].trim_ascii_start();
        // A name, too, may go on behind a backslash at the end of its line.
        assert!(*line > before && (first.starts_with(name.as_str().as_bytes()) || first.contains(&b'\\')));
        before = *line;
    }
    // A line of its own for each, as long as none continues another.
    if !text.contains(&b'\\') {
        let speaks = |line: &&&[u8]| {
            line.iter().find(|byte| !b" \t\r".contains(byte)).is_some_and(|first| *first != b'#')
        };
        assert_eq!(lines.iter().filter(speaks).count(), entries.len());
        assert!(entries.iter().all(|(_, command, line)| {
            lines[line - 1].windows(command.len()).any(|window| window == command.as_slice())
        }));
    }
    let plain = |entries: &[(supervise::api::TypeName, Vec<u8>, usize)]| -> Vec<(String, Vec<u8>)> {
        entries.iter().map(|(name, command, _)| (name.to_string(), command.clone())).collect()
    };
    // Written back, and with the other newlines, it is the same; but what ends in a backslash, as `a \ ` does without its blank,
    // would go on in the next line.
    let goes_on = entries.iter().any(|(_, command, _)| command.ends_with(b"\\"));
    for newline in ["\n", "\r\n"].iter().filter(|_| !goes_on) {
        let mut again = Vec::new();
        for (name, command, _) in &entries {
            again.extend_from_slice(format!("{name}: ").as_bytes());
            again.extend_from_slice(command);
            again.extend_from_slice(newline.as_bytes());
        }
        let read = procfile(&again).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plain(&read), plain(&entries));
    }
    for (_, command, _) in entries {
        let chosen = Command::new(command.clone());
        assert_eq!(chosen.text, command);
        match &chosen.form {
            // Nothing but words that no shell would look at twice.
            Form::Direct(words) => {
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(byte);
                assert!(words.iter().all(|word| !word.is_empty() && word.iter().all(plain)));
                let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
                assert!(
                    command.split(blank).filter(|word| !word.is_empty()).eq(words.iter().map(Vec::as_slice))
                );
            }
            Form::Exec => assert!(!command.contains(&b'\n') && !substitutes(&command)),
            Form::Shell => assert_eq!(chosen.arguments()[2], command),
        }
    }
}

/// Whether a shell would put the output of another command into this one: a backquote that is neither escaped nor in single
/// quotes.
fn substitutes(command: &[u8]) -> bool {
    let (mut single, mut double) = (false, false);
    let mut bytes = command.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if !single => drop(bytes.next()),
            b'\'' if !double => single = !single,
            b'"' if !single => double = !double,
            b'`' if !single => return true,
            _ => {}
        }
    }
    false
}
