//! `man`: manual pages from the definitions of the command line.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

/// Writes the page of a command in roff, man(7): `supervise(1)`, or that of one verb; `command` is the whole definition.
///
/// # Errors
/// What prevents writing.
pub fn man(command: Command, verb: Option<&str>, out: &mut dyn Write) -> io::Result<u8> {
    let page = match verb {
        None => command,
        Some(verb) => one_verb(command, verb),
    };
    let source = concat!("supervise ", env!("CARGO_PKG_VERSION"));
    let mut roff = Vec::new();
    Man::new(page).source(source).manual("Procfile processes").render(&mut roff)?;
    // The help's last words, mostly examples, under a name that readers of man pages know (man-pages(7)).
    out.write_all(String::from_utf8_lossy(&roff).replace("\n.SH EXTRA\n", "\n.SH NOTES\n").as_bytes())?;
    Ok(0)
}

fn one_verb(mut whole: Command, verb: &str) -> Command {
    whole.build();
    let found = whole.get_subcommands().find(|known| known.get_name() == verb).cloned();
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("supervise-{verb}");
    // Only names of verbs are accepted as arguments; the whole is what there is otherwise.
    found.map_or(whole, |found| found.version(version).display_name(name))
}
