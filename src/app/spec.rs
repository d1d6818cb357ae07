//! The scaling spec: what it says, as settings.

use super::settings::Settings;

/// What a spec says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    /// For every type.
    pub(super) defaults: Settings,
    /// For one type each.
    pub(super) types: Vec<(String, Settings)>,
}

impl Spec {
    /// What it says for one type.
    #[must_use]
    pub(super) fn own(&self, name: &str) -> Settings {
        self.types.iter().find(|(known, _)| known == name).map(|(_, own)| own.clone()).unwrap_or_default()
    }
}
