//! Which sessions: the platform's own list filters, shared by the live list and by backfills.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Span;

/// The filters of the platform's session list (API notes, 4.1 and 4.2) besides the windows of
/// creation and change, which belong to the walk. The empty filter lets everything through.
///
/// The platform takes one department and one user at a time; a caller that has several asks once
/// for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFilter {
    /// Statuses, spelt as the platform spells them; any of them matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// `INDIVIDUAL` or `GROUP`; known to the second version of the list only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The department that attends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<Uuid>,
    /// The user who attends: `user_id` of an agent, not the agent's own id.
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
    /// A window of change that is part of the question (`--updated-after`), not of the walk.
    #[serde(skip_serializing_if = "Span::is_open")]
    pub updated: Span,
}

impl SessionFilter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
