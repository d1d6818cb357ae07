//! Where something stands that can be wrong only together with something else.

use crate::api::ProbeKind;

use super::diagnostic::{Diagnostic, Place};

/// Where settings stand that can be wrong only together with something else.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spots {
    /// The count.
    pub(super) quantity: Option<Spot>,
    /// The whole of `backoff`.
    pub(super) backoff: Option<Spot>,
    /// Each probe.
    pub(super) probes: Vec<(ProbeKind, Spot)>,
    /// The socket.
    pub(super) listen: Option<Spot>,
    /// The whole of `rollout`.
    pub(super) rollout: Option<Spot>,
    /// Each variable that is needed.
    pub(super) needs: Vec<(String, Spot)>,
    /// Who comes first.
    pub(super) after: Option<Spot>,
    /// PORT in `env`.
    pub(super) port_variable: Option<Place>,
}

impl Spots {
    /// Where a probe stands.
    pub(super) fn probe(&self, kind: ProbeKind) -> Option<&Spot> {
        self.probes.iter().find(|(known, _)| *known == kind).map(|(_, spot)| spot)
    }

    /// Where it stands that a variable is needed.
    pub(super) fn need(&self, variable: &str) -> Option<&Spot> {
        self.needs.iter().find(|(known, _)| known == variable).map(|(_, spot)| spot)
    }
}

/// A place with the path of its key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spot {
    place: Place,
    trail: String,
}

impl Spot {
    /// For a key that is found otherwise than here.
    pub(super) fn new(place: Place, trail: String) -> Spot {
        Spot { place, trail }
    }

    /// What is wrong there.
    pub(super) fn fault(&self, reason: &str) -> Diagnostic {
        Diagnostic::new(self.place.clone(), format!("`{}`: {reason}", self.trail))
    }
}
