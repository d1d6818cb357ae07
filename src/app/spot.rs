//! Where something stands that can be wrong only together with something else.

use super::diagnostic::{Diagnostic, Place};

/// Where settings stand that can be wrong only together with something else.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spots {
    /// The count.
    pub(super) quantity: Option<Spot>,
    /// The whole of `backoff`.
    pub(super) backoff: Option<Spot>,
    /// Who comes first.
    pub(super) after: Option<Spot>,
    /// PORT in `env`.
    pub(super) port_variable: Option<Place>,
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
