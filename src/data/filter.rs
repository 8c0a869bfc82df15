//! The filters of the platform's session list, shared by the live list and by backfills.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Span;

/// The filters of the platform's session list (API notes, 4.1 and 4.2), except the windows of
/// creation and change, which belong to the walk. An empty filter accepts everything.
///
/// The platform takes one department and one user at a time. For several, the caller sends one
/// request for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFilter {
    /// Statuses in the platform's spelling; any of them matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// `INDIVIDUAL` or `GROUP`. Only version 2 of the list has this filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The session's department.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<Uuid>,
    /// The session's agent: an agent's `user_id`, not the agent's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Uuid>,
    /// The contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Uuid>,
    /// Tags of the session's contact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Uuid>,
    /// Channels; any of them matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Uuid>,
    /// When the session was last active.
    #[serde(skip_serializing_if = "Span::is_open")]
    pub active: Span,
    /// When the session ended.
    #[serde(skip_serializing_if = "Span::is_open")]
    pub ended: Span,
    /// When the last interaction happened.
    #[serde(skip_serializing_if = "Span::is_open")]
    pub interacted: Span,
    /// A range of times of change that the user asked for (`--updated-after`), not the walk's own
    /// window.
    #[serde(skip_serializing_if = "Span::is_open")]
    pub updated: Span,
}

impl SessionFilter {
    /// Whether it accepts everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
