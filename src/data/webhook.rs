//! Subscriptions of webhooks, and what is known of the one that rings the doorbell (API notes, 11).

use std::fmt;

use uuid::Uuid;

use super::{Resource, Timestamp};

/// A subscription of webhooks on the platform.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: Uuid,
    /// Its name; empty if it has none.
    pub name: String,
    /// The address that the platform calls. It may contain a secret.
    pub url: String,
    /// Whether the platform calls it.
    pub enabled: bool,
    /// The names of its events, such as `SESSION_UPDATE`.
    pub events: Vec<String>,
}

/// Without the address, which may contain a secret.
impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// The state of the subscription that rings the doorbell (`accounts.doorbell`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// The platform calls the right address for every event that is needed.
    Good,
    /// There is no subscription with the name of the doorbell.
    Missing,
    /// It is disabled.
    Disabled,
    /// It calls another address: one with another secret or account.
    OtherAddress,
    /// It lacks events of mirrored resources.
    LacksEvents,
    /// The platform did not say.
    Unknown,
}

impl SubscriptionState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Good,
        Self::Missing,
        Self::Disabled,
        Self::OtherAddress,
        Self::LacksEvents,
        Self::Unknown,
    ];

    /// As stored in `accounts.doorbell`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Missing => "missing",
            Self::Disabled => "disabled",
            Self::OtherAddress => "other_address",
            Self::LacksEvents => "lacks_events",
            Self::Unknown => "unknown",
        }
    }

    /// Parses a stored value. Any other value counts as unknown.
    pub fn from_stored(text: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text)
            .unwrap_or(Self::Unknown)
    }

    /// What is wrong, and what to do about it. `None` if all is well.
    pub const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Good => None,
            Self::Missing => Some(
                "the platform has no subscription for the doorbell; run `helena-sync webhooks install \
                 --url https://...` with the address at which the platform reaches it",
            ),
            Self::Disabled => Some(
                "the subscription for the doorbell is disabled; run `helena-sync webhooks install \
                 --url https://...` to enable it",
            ),
            Self::OtherAddress => Some(
                "the subscription for the doorbell has another address, as after a change of \
                 doorbell.secret; run `helena-sync webhooks install --url https://...` to correct it",
            ),
            Self::LacksEvents => Some(
                "the subscription for the doorbell lacks events of mirrored resources; run `helena-sync \
                 webhooks install --url https://...` to add them",
            ),
            Self::Unknown => Some(
                "it is not known whether the platform rings, since it did not show its subscriptions; \
                 `helena-sync check` says why",
            ),
        }
    }
}

/// What is stored of an account's doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorbellRecord {
    /// The state of the subscription. `None` if it was never looked at.
    pub state: Option<SubscriptionState>,
    /// When that was last looked at, by this machine's clock.
    pub checked_at: Option<Timestamp>,
    /// When the platform last rang, by this machine's clock.
    pub last_ring_at: Option<Timestamp>,
    /// How often it has rung.
    pub rings: u64,
}

/// Deliveries of the platform that concern one resource, and what they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// What changed.
    pub resource: Resource,
    /// The records that the deliveries name.
    pub ids: Vec<Uuid>,
    /// Whether to read these records by id instead of the newest changes of the list.
    pub by_id: bool,
}
