//! The resources that can be mirrored, their descriptors, and the streams in which they are read.
//!
//! A [`Descriptor`] is all that this crate knows about a resource by name: help texts, errors,
//! privileges, `status` and the configuration take the names from it. [`schema`](crate::schema)
//! owns how its records become rows.

use std::fmt;
use std::str::FromStr;

use super::OrderField;

/// A kind of record that the platform lists and the mirror keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Chat sessions.
    Sessions,
    /// Contacts, one stream per status.
    Contacts,
    /// Tags of contacts.
    Tags,
    /// Channels.
    Channels,
    /// Departments.
    Departments,
    /// Agents.
    Agents,
    /// Definitions of the fields that a company adds to contacts and panels.
    CustomFields,
    /// Chatbots.
    Chatbots,
    /// Message templates.
    Templates,
    /// Portfolios of contacts.
    Portfolios,
    /// Opening hours.
    OfficeHours,
}

/// Everything about a resource except its mapping.
#[derive(Debug)]
pub struct Descriptor {
    /// The name used on the command line, in the database and as the table's name.
    pub name: &'static str,
    /// The name of one record.
    pub singular: &'static str,
    /// The content of its table, in a few words.
    pub about: &'static str,
    /// The field of a record that is the key of its row.
    pub key_field: &'static str,
    /// The column of that field.
    pub key: &'static str,
    /// For records without a key: the fields from which the key is made. Such keys are the same for
    /// every account.
    pub key_made_of: &'static [&'static str],
    /// How it is read.
    pub reading: ReadAs,
}

/// How a resource is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// In pages, by time of change: one stream for each partition.
    Streams(&'static [Partition]),
    /// As a small list that is read completely, without a watermark: its path, and the parameters
    /// of each request.
    List(&'static str, &'static [Parameters]),
}

/// Parameters of a request, by name.
pub type Parameters = &'static [(&'static str, &'static str)];

/// One request without parameters.
const AT_ONCE: &[Parameters] = &[&[]];

static SESSIONS: Descriptor = Descriptor {
    name: "sessions",
    singular: "session",
    about: "chats: status, agent, waiting times, won and lost",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::Streams(&[Partition::WHOLE]),
};

/// The list shows one status at a time, ACTIVE by default (API notes, 8). So a sync reads each
/// status.
static CONTACTS: Descriptor = Descriptor {
    name: "contacts",
    singular: "contact",
    about: "the people who write to the company",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::Streams(&[
        Partition::new("ACTIVE"),
        Partition::new("ARCHIVED"),
        Partition::new("BLOCKED"),
    ]),
};

static TAGS: Descriptor = Descriptor {
    name: "tags",
    singular: "tag",
    about: "labels of contacts",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List("/core/v1/tag", AT_ONCE),
};

static CHANNELS: Descriptor = Descriptor {
    name: "channels",
    singular: "channel",
    about: "phone numbers and inboxes",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List("/chat/v1/channel", AT_ONCE),
};

static DEPARTMENTS: Descriptor = Descriptor {
    name: "departments",
    singular: "department",
    about: "departments of the company",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List("/core/v2/department", AT_ONCE),
};

/// The key of agents is the id that sessions refer to.
static AGENTS: Descriptor = Descriptor {
    name: "agents",
    singular: "agent",
    about: "the people who answer; sessions.user_id = agents.user_id",
    key_field: "userId",
    key: "user_id",
    key_made_of: &[],
    reading: ReadAs::List("/core/v1/agent", AT_ONCE),
};

/// The platform lists the fields of contacts and of panels separately (API notes, 8).
static CUSTOM_FIELDS: Descriptor = Descriptor {
    name: "custom_fields",
    singular: "custom field",
    about: "fields that the company added to contacts and panels",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List(
        "/core/v1/custom-field",
        &[
            &[("EntityType", "CONTACT"), ("NestedList", "false")],
            &[("EntityType", "PANEL"), ("NestedList", "false")],
        ],
    ),
};

/// `sessions.bot_id` is a chatbot's `id` or its `key` (API notes, 16).
static CHATBOTS: Descriptor = Descriptor {
    name: "chatbots",
    singular: "chatbot",
    about: "chatbots; sessions.bot_id is their id or key",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List("/chat/v1/chatbot", AT_ONCE),
};

static TEMPLATES: Descriptor = Descriptor {
    name: "templates",
    singular: "template",
    about: "message templates",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List("/chat/v1/template", &[&[("IncludeDetails", "Params")]]),
};

static PORTFOLIOS: Descriptor = Descriptor {
    name: "portfolios",
    singular: "portfolio",
    about: "groups of contacts and their agents",
    key_field: "id",
    key: "id",
    key_made_of: &[],
    reading: ReadAs::List(
        "/core/v1/portfolio",
        &[&[
            ("IncludeDetails", "Departments"),
            ("IncludeDetails", "ContactCount"),
        ]],
    ),
};

/// The records have no id (API notes, 17).
static OFFICE_HOURS: Descriptor = Descriptor {
    name: "office_hours",
    singular: "opening hours",
    about: "opening hours by day of the week",
    key_field: "id",
    key: "id",
    key_made_of: &["dayWeek", "startTime", "endTime"],
    reading: ReadAs::List("/core/v1/company/officehours", AT_ONCE),
};

impl Resource {
    /// All resources. Lists come first, since the others refer to them.
    pub const ALL: [Self; 11] = [
        Self::Tags,
        Self::Channels,
        Self::Departments,
        Self::Agents,
        Self::CustomFields,
        Self::Chatbots,
        Self::Templates,
        Self::Portfolios,
        Self::OfficeHours,
        Self::Sessions,
        Self::Contacts,
    ];

    /// Its descriptor.
    pub const fn descriptor(self) -> &'static Descriptor {
        match self {
            Self::Sessions => &SESSIONS,
            Self::Contacts => &CONTACTS,
            Self::Tags => &TAGS,
            Self::Channels => &CHANNELS,
            Self::Departments => &DEPARTMENTS,
            Self::Agents => &AGENTS,
            Self::CustomFields => &CUSTOM_FIELDS,
            Self::Chatbots => &CHATBOTS,
            Self::Templates => &TEMPLATES,
            Self::Portfolios => &PORTFOLIOS,
            Self::OfficeHours => &OFFICE_HOURS,
        }
    }

    /// See [`Descriptor::name`].
    pub const fn name(self) -> &'static str {
        self.descriptor().name
    }

    /// Whether it is a small list that is read completely, without a watermark.
    pub const fn is_list(self) -> bool {
        matches!(self.descriptor().reading, ReadAs::List(..))
    }

    /// The streams that together have all its records. Empty for a list.
    pub fn streams(self) -> Vec<Stream> {
        match self.descriptor().reading {
            ReadAs::Streams(partitions) => partitions
                .iter()
                .map(|&partition| Stream {
                    resource: self,
                    partition,
                })
                .collect(),
            ReadAs::List(..) => Vec::new(),
        }
    }

    /// Whether it has several partitions.
    pub const fn is_partitioned(self) -> bool {
        matches!(self.descriptor().reading, ReadAs::Streams(partitions) if partitions.len() > 1)
    }

    /// The names of these resources in a sentence: `tags, channels or agents`.
    pub fn names(resources: impl IntoIterator<Item = Self>, last: &str) -> String {
        let mut names: Vec<&str> = resources.into_iter().map(Self::name).collect();
        let end = names.pop().unwrap_or_default();
        if names.is_empty() {
            end.to_owned()
        } else {
            format!("{} {last} {end}", names.join(", "))
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is not the name of a [`Resource`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown resource {0:?} (accepted: {names})", names = Resource::names(Resource::ALL, "and"))]
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

/// The part of a resource that the platform lists at a time: a status, or the id of a parent. Empty
/// for a resource that is listed as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl Partition {
    /// The length of a uuid's text.
    const LONGEST: usize = 36;

    /// A resource as a whole.
    pub const WHOLE: Self = Self::new("");

    /// The partition of this name.
    ///
    /// # Panics
    ///
    /// If the name is longer than a uuid. For a constant, that fails the build.
    pub const fn new(name: &str) -> Self {
        let name = name.as_bytes();
        assert!(
            name.len() <= Self::LONGEST,
            "the name of a partition is too long"
        );
        let mut bytes = [0; Self::LONGEST];
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name[at];
            at += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 36")]
        let length = name.len() as u8;
        Self { bytes, length }
    }

    /// Its name, as it is stored.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        // The bytes were copied from text.
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// Whether it is a resource as a whole.
    pub const fn is_whole(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The unit that has a watermark: a resource, or a partition of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The resource.
    pub resource: Resource,
    /// The partition. For contacts it is the status (`ACTIVE`, `ARCHIVED`, `BLOCKED`).
    pub partition: Partition,
}

impl Stream {
    /// Sessions by `lastInteractionDate`: a second way to find their changes, since not all messages
    /// change `updatedAt`. It is not a partition of the resource, and is never loaded.
    pub const INTERACTIONS: Self = Self {
        resource: Resource::Sessions,
        partition: Partition::new("interactions"),
    };

    /// A resource as a whole.
    pub const fn whole(resource: Resource) -> Self {
        Self {
            resource,
            partition: Partition::WHOLE,
        }
    }

    /// The stream stored under these two names, if there is one.
    pub fn find(resource: &str, partition: &str) -> Option<Self> {
        Resource::from_str(resource)
            .ok()?
            .streams()
            .into_iter()
            .chain([Self::INTERACTIONS])
            .find(|stream| {
                stream.resource.name() == resource && stream.partition.as_str() == partition
            })
    }

    /// The field by which its changes are read.
    pub fn cursor(self) -> OrderField {
        if self == Self::INTERACTIONS {
            OrderField::LastInteractionAt
        } else {
            OrderField::UpdatedAt
        }
    }
}

/// `sessions`, `contacts (ARCHIVED)`.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partition.is_whole() {
            f.pad(self.resource.name())
        } else {
            f.pad(&format!("{} ({})", self.resource.name(), self.partition))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_among_all_of_them_once() {
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(
                Resource::ALL.iter().position(|one| *one == resource),
                Some(at)
            );
            assert_eq!(resource.name().parse(), Ok(resource));
            for stream in resource.streams() {
                let found = Stream::find(stream.resource.name(), stream.partition.as_str());
                assert_eq!(found, Some(stream));
            }
        }
        // The last variant's number is one less than how many there are.
        assert_eq!(Resource::ALL.len(), Resource::OfficeHours as usize + 1);
    }

    #[test]
    fn a_partition_may_be_an_id_that_is_known_only_at_run_time() {
        let id = uuid::Uuid::from_u128(17).to_string();
        assert_eq!(Partition::new(&id).as_str(), id);
        assert!(Partition::new("").is_whole() && !Partition::new(&id).is_whole());
    }
}
