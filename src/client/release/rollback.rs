//! `rollback`: an earlier release once more, and deployed.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::super::connection::{Connection, Trouble as NoAnswer, Wait, Whereabouts};
use super::super::{conclude, deploy};
use super::tell;
use crate::store::{Number, Store, Trouble};

/// Makes a release that is an old one once more, and deploys it; the answer is the exit code.
pub fn rollback<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    state: Option<&Path>,
    to: Option<Number>,
    wait: Wait,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    // Where nobody could deploy it nothing is made.
    if let Err(trouble) = Connection::open(whereabouts) {
        return conclude(Err::<u8, NoAnswer>(trouble), err);
    }
    match once_more(whereabouts, state, to) {
        Ok((number, of)) => {
            if let Err(error) = writeln!(out, "{number} is {of} once more") {
                return conclude(Err(NoAnswer::from(error)), err);
            }
            deploy::order(whereabouts, state, number, wait, out, err)
        }
        Err(trouble) => tell(&trouble, err),
    }
}

fn once_more(
    whereabouts: &Whereabouts,
    state: Option<&Path>,
    to: Option<Number>,
) -> Result<(Number, Number), Trouble> {
    let store = Store::open(&Store::place(&whereabouts.inputs, state)?)?;
    let of = store.rollback_target(to)?;
    let copy = store.copy(of, &format!("rollback to {of}"))?;
    Ok((copy.number(), of))
}
