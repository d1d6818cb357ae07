//! What a run has to itself, taken before anything is started: its place among the sockets, its port, its part in the record of
//! runs.

use std::io;

use crate::api::Notice;
use crate::api::place::project;
use crate::app::Release;

use super::Options;
use super::control::{self, Doors, NoPlace, Port, Record};

/// What this run has to itself.
pub(super) struct Claim {
    pub(super) project: String,
    pub(super) doors: Doors,
    /// What is to be said of them.
    pub(super) remarks: Vec<Notice>,
    pub(super) record: Record,
}

impl Claim {
    /// # Errors
    /// Somebody else has it, or the socket or the port that was asked for cannot be had.
    pub(super) fn stake(release: &Release, options: &Options) -> io::Result<Claim> {
        let project = project(&release.procfile);
        let mut remarks = Vec::new();
        let socket = match control::find_place(&options.socket, &project) {
            Ok(place) => place,
            Err(nowhere @ NoPlace::Nowhere { .. }) => {
                remarks.push(Notice::NoControl { reason: nowhere.to_string() });
                None
            }
            Err(refusal @ (NoPlace::Taken { .. } | NoPlace::Impossible { .. })) => {
                return Err(io::Error::other(refusal.to_string()));
            }
        };
        let port = options.http.as_ref().map(Port::listen).transpose()?;
        remarks.extend(port.as_ref().map(|port| Notice::Serving { address: port.address().to_string() }));
        let record = control::take_record(&project, &control::directories());
        Ok(Claim { project, doors: Doors { socket, port }, remarks, record })
    }
}
