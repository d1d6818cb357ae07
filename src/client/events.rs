//! `events`: the notices of the supervisor as it gives them, one JSON object a line.

use std::io::Write;

use super::connection::{Connection, Trouble, Whereabouts};
use super::{Extent, conclude};

/// Passes on the notices; the answer is the exit code.
pub fn events(whereabouts: &Whereabouts, extent: Extent, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut ask = || -> Result<u8, Trouble> {
        let mut connection = Connection::open(whereabouts)?;
        connection.follow(&extent.path("/v1/events", &[]), |piece| {
            out.write_all(piece)?;
            Ok(out.flush()?)
        })?;
        Ok(0)
    };
    conclude(ask(), err)
}
