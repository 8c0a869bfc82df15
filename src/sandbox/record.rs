//! The typed records of an account: the generator creates them, tests change them, the renderer
//! writes them.

use std::borrow::Cow;

use uuid::Uuid;

use super::Ticks;

/// A text that is usually one of the generator's own.
pub type Text = Cow<'static, str>;

macro_rules! spelt {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// As the platform spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// From the platform's spelling in any case: the vendor's own node sends `Started`
            /// (API notes, 3.4).
            pub fn read(text: &str) -> Option<Self> {
                [$(Self::$variant),*].into_iter().find(|value| value.as_str().eq_ignore_ascii_case(text))
            }
        }
    };
}

spelt! {
    /// Where a session is in its life (API notes, 4.2).
    Status {
        /// Undefined.
        Undefined = "UNDEFINED",
        /// Created, usually with a bot.
        Started = "STARTED",
        /// Waiting for an agent.
        Pending = "PENDING",
        /// Being attended.
        InProgress = "IN_PROGRESS",
        /// Closed.
        Completed = "COMPLETED",
        /// Not shown in the platform's own pages.
        Hidden = "HIDDEN",
    }
}

impl Status {
    /// Whether the session is still going on.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Started | Self::Pending | Self::InProgress)
    }
}

spelt! {
    /// Who a session is with.
    SessionKind {
        /// One contact.
        Individual = "INDIVIDUAL",
        /// A group.
        Group = "GROUP",
    }
}

spelt! {
    /// The 24-hour messaging window.
    WindowStatus {
        /// Open.
        Active = "ACTIVE",
        /// Closed.
        Expired = "EXPIRED",
        /// Never opened.
        NotStarted = "NOT_STARTED",
    }
}

spelt! {
    /// How a session ended for the business.
    Category {
        /// Undefined.
        Undefined = "UNDEFINED",
        /// A sale.
        Won = "WON",
        /// No sale.
        Lost = "LOST",
        /// A question answered.
        Info = "INFO",
        /// Anything else.
        Other = "OTHER",
    }
}

spelt! {
    /// The state of a contact; the contact list shows one at a time.
    ContactStatus {
        /// In use.
        Active = "ACTIVE",
        /// Put away.
        Archived = "ARCHIVED",
        /// Not listened to.
        Blocked = "BLOCKED",
        /// What no list shows: contacts by their ids and those of sessions have it.
        Undefined = "UNDEFINED",
    }
}

impl ContactStatus {
    /// One that the contact list can be asked for.
    pub(super) fn listed(text: &str) -> Option<Self> {
        Self::read(text).filter(|status| *status != Self::Undefined)
    }
}

spelt! {
    /// Where a contact came from.
    Origin {
        /// Typed in by a user.
        CreatedByUser = "CREATED_BY_USER",
        /// Wrote in.
        CreatedFromHub = "CREATED_FROM_HUB",
        /// Imported from a file.
        Imported = "IMPORTED",
    }
}

/// Where a visitor came from. All fields null is how the platform says "nowhere" as often as by a
/// null object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Utm {
    /// `sourceId`.
    pub source_id: Option<Text>,
    /// `source`.
    pub source: Option<Text>,
    /// `medium`.
    pub medium: Option<Text>,
    /// `campaign`.
    pub campaign: Option<Text>,
    /// `content`.
    pub content: Option<Text>,
    /// `headline`.
    pub headline: Option<Text>,
    /// `referralUrl`.
    pub referral_url: Option<Text>,
}

/// How a session was classified when it was closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The classification's own id.
    pub id: Uuid,
    /// Category.
    pub category: Category,
    /// The category's name in the account.
    pub name: Option<Text>,
    /// What the agent chose or wrote.
    pub description: Option<Text>,
    /// Reais.
    pub amount: f64,
}

/// A chat session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Id.
    pub id: Uuid,
    /// When it was created.
    pub created_at: Ticks,
    /// When it last changed; the mutators set it.
    pub updated_at: Ticks,
    /// When it began.
    pub start_at: Ticks,
    /// When it was completed.
    pub end_at: Option<Ticks>,
    /// Status.
    pub status: Status,
    /// The contact; may name one that does not exist.
    pub contact_id: Option<Uuid>,
    /// The channel; may name one that does not exist.
    pub channel_id: Uuid,
    /// The department; may name one that does not exist.
    pub department_id: Option<Uuid>,
    /// The agent's user id; may name one that does not exist.
    pub user_id: Option<Uuid>,
    /// Title.
    pub title: Option<Text>,
    /// Protocol number.
    pub number: Option<Text>,
    /// Where the visitor came from.
    pub utm: Option<Utm>,
    /// Free text.
    pub origin: Option<Text>,
    /// How it was classified.
    pub classification: Option<Classification>,
    /// Text of the status.
    pub status_description: Option<Text>,
    /// `HH:MM:SS`; hours may exceed 24.
    pub time_service: Option<Text>,
    /// `HH:MM:SS`.
    pub time_wait: Option<Text>,
    /// When an agent first answered.
    pub first_response_at: Option<Ticks>,
    /// The bot that began it.
    pub bot_id: Option<Uuid>,
    /// Messages unread.
    pub unread_count: i32,
    /// The last message's text.
    pub last_message_text: Option<Text>,
    /// When anything last happened in it.
    pub last_interaction: Option<Ticks>,
    /// Last message to the contact.
    pub last_message_out: Option<Ticks>,
    /// Last message from the contact.
    pub last_message_in: Option<Ticks>,
    /// The messaging window.
    pub window_status: WindowStatus,
    /// Free keys and values.
    pub metadata: Option<serde_json::Value>,
    /// Who it is with.
    pub kind: SessionKind,
}

/// A contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// Id.
    pub id: Uuid,
    /// When it was created.
    pub created_at: Ticks,
    /// When it last changed; the mutators set it.
    pub updated_at: Ticks,
    /// Name.
    pub name: Option<Text>,
    /// `+55|11999999999`.
    pub phone: Option<Text>,
    /// E-mail address.
    pub email: Option<Text>,
    /// Instagram name.
    pub instagram: Option<Text>,
    /// Free text.
    pub annotation: Option<Text>,
    /// Its tags.
    pub tags: Vec<Uuid>,
    /// Status.
    pub status: ContactStatus,
    /// Where it came from.
    pub origin: Origin,
    /// When it was imported.
    pub imported_at: Option<Ticks>,
    /// Where the visitor came from.
    pub utm: Option<Utm>,
    /// The account's own fields.
    pub custom_fields: Option<serde_json::Value>,
    /// Free keys and values.
    pub metadata: Option<serde_json::Value>,
    /// Shown in sessions only.
    pub picture_url: Option<Text>,
}

/// What the small lists have in common: an id, two dates, a name, and whether the list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<T> {
    /// Id.
    pub id: Uuid,
    /// When it was created.
    pub created_at: Ticks,
    /// When it last changed.
    pub updated_at: Ticks,
    /// Name.
    pub name: Text,
    /// Whether the list shows it. What was removed stays here, since old sessions refer to it.
    pub listed: bool,
    /// The rest.
    pub more: T,
}

/// The rest of a tag.
#[derive(Debug, Clone, PartialEq)]
pub struct TagMore {
    /// `GRAY_600`; null if outside the palette.
    pub color: Option<Text>,
    /// Whether contacts go on naming it after its removal (API notes, 16).
    pub dangling: bool,
}

/// The rest of a channel; its name is the identity's display name.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMore {
    /// As the channel list spells it: `CloudAPI_WhatsApp`.
    pub kind: &'static str,
    /// As sessions spell it: `CLOUDAPI_WHATSAPP`.
    pub session_kind: &'static str,
    /// Whether it is in use.
    pub active: bool,
    /// Digits.
    pub number: Option<Text>,
    /// Whether the list shows an identity.
    pub identity: bool,
}

/// The rest of a department.
#[derive(Debug, Clone, PartialEq)]
pub struct DepartmentMore {
    /// Description.
    pub description: Option<Text>,
    /// Whether it is the default.
    pub is_default: bool,
}

/// The rest of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentMore {
    /// What sessions name; not the agent's own id.
    pub user_id: Uuid,
    /// E-mail address.
    pub email: Option<Text>,
    /// `+55|…`.
    pub phone: Option<Text>,
    /// Whether it owns the account.
    pub is_owner: bool,
    /// Whether it takes sessions.
    pub available: bool,
    /// Departments, by index.
    pub departments: Vec<u16>,
}

/// A tag.
pub type Tag = Entry<TagMore>;
/// A channel.
pub type Channel = Entry<ChannelMore>;
/// A department.
pub type Department = Entry<DepartmentMore>;
/// An agent.
pub type Agent = Entry<AgentMore>;
