//! Which gateway an event comes from.

use std::sync::Arc;

/// Who sends: the first two parts of every event id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the site.
    pub site: Arc<str>,
    /// Name of the gateway.
    pub gateway: Arc<str>,
}
