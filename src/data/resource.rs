//! What is mirrored: resources, and the streams they are read as.

use std::fmt;
use std::str::FromStr;

/// A kind of record that the platform lists and the mirror keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Chat sessions; incremental.
    Sessions,
    /// Contacts; incremental, one stream per status.
    Contacts,
    /// Tags; a small list, read whole.
    Tags,
    /// Channels; a small list, read whole.
    Channels,
    /// Departments; a small list, read whole.
    Departments,
    /// Agents; a small list, read whole.
    Agents,
}

/// The statuses of contacts. The list shows one at a time, ACTIVE unless told otherwise (API
/// notes, 8), so a full mirror reads each.
pub const CONTACT_STATUSES: [&str; 3] = ["ACTIVE", "ARCHIVED", "BLOCKED"];

impl Resource {
    /// All of them; lists first, since the others refer to them.
    pub const ALL: [Self; 6] = [
        Self::Tags,
        Self::Channels,
        Self::Departments,
        Self::Agents,
        Self::Sessions,
        Self::Contacts,
    ];

    /// The name used on the command line, in the database and as the table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Contacts => "contacts",
            Self::Tags => "tags",
            Self::Channels => "channels",
            Self::Departments => "departments",
            Self::Agents => "agents",
        }
    }

    /// Whether it is a small list that is read whole, without paging or a watermark.
    pub const fn is_list(self) -> bool {
        !matches!(self, Self::Sessions | Self::Contacts)
    }

    /// The streams that together show all of its records; none for a list.
    pub fn streams(self) -> Vec<Stream> {
        match self {
            Self::Sessions => vec![Stream {
                resource: self,
                partition: "",
            }],
            Self::Contacts => CONTACT_STATUSES
                .iter()
                .map(|&partition| Stream {
                    resource: self,
                    partition,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no [`Resource`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown resource {0:?} (accepted: sessions, contacts, tags, channels, departments, agents)"
)]
pub struct UnknownResource(pub String);

impl FromStr for Resource {
    type Err = UnknownResource;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|resource| resource.name() == text)
            .ok_or_else(|| UnknownResource(text.to_owned()))
    }
}

/// What one walk reads and one watermark describes: a resource, or the part of it that a listing
/// shows at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The resource.
    pub resource: Resource,
    /// For contacts the status (`ACTIVE`, `ARCHIVED`, `BLOCKED`); empty for sessions.
    pub partition: &'static str,
}

impl Stream {
    /// The stream stored under these two names, if there is one.
    pub fn find(resource: &str, partition: &str) -> Option<Self> {
        Resource::from_str(resource)
            .ok()?
            .streams()
            .into_iter()
            .find(|stream| stream.partition == partition)
    }
}

/// `sessions`, `contacts (ARCHIVED)`.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partition.is_empty() {
            f.pad(self.resource.name())
        } else {
            f.pad(&format!("{} ({})", self.resource.name(), self.partition))
        }
    }
}
