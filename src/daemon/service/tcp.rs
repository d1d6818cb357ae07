//! Whatever a service speaks: whether it takes connections.

use super::url::Url;
use super::wire::Wire;
use super::{Verdict, Why};

pub(super) async fn ask(url: &Url) -> Verdict {
    Wire::connect(&url.places).await.map(|_| Why::Borrowed("takes connections"))
}
