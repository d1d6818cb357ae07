//! Whatever the kernel and backing services tell, it is understood or not, and never repeated unread.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use supervise::daemon::bare::{cgroups, conclusions, is_address, listener, memory_event, stat, variable};

pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some((pid, name, parent, start)) = stat(input) {
        // Fields 1, 4 and 22 (proc_pid_stat(5)), counted from behind the name.
        let (before, rest) = text.rsplit_once(')').expect("a name");
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        assert_eq!(
            before.split_once('(').expect("a name"),
            (before.split('(').next().expect("one"), name.as_str())
        );
        assert_eq!((fields[1].parse(), fields[19].parse()), (Ok(parent), Ok(start)));
        assert_eq!(before.split('(').next().expect("one").trim().parse(), Ok(pid));
    }
    let slow = input.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"A="));
    assert_eq!(variable(input, "A"), slow);
    for line in text.lines() {
        if let Some(inode) = listener(line, 80) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            assert!(fields[1].ends_with("50") && fields[3] == "0A", "{line}");
            assert!(fields[9].ends_with(&inode.to_string()), "{line}");
        }
    }
    let slow = text.lines().find_map(|line| {
        let (word, number) = line.split_once(' ')?;
        (word == "oom_kill").then(|| number.trim().parse().ok()).flatten()
    });
    assert_eq!(memory_event(&text, "oom_kill"), slow);
    // A name without its mount, the reverse, and both.
    let middle = input.iter().position(|byte| *byte == 0xff).unwrap_or(input.len());
    let (cgroup, mountinfo) = (&input[..middle], input.get(middle + 1..).unwrap_or_default());
    assert_eq!(cgroups(cgroup, b""), cgroups(b"", mountinfo));
    assert!(cgroups(cgroup, mountinfo).starts_with("Place"));
    // `sun_path` has 108 bytes, and an abstract name begins behind its first (unix(7)).
    assert!(!is_address(OsStr::from_bytes(input)) || (input.len() <= 108 && b"/@".contains(&input[0])));
    for said in conclusions(input) {
        assert!(said.len() < 80 && said.is_ascii() && !said.contains(char::is_control), "{said}");
    }
}
