//! The records inside sessions: details of contacts, agents, departments and channels.
//!
//! Owns which of several readings of one record counts: the last one. Most details on a page are
//! repetitions, so a text that was read before without an objection is not read again. Must not
//! know pages or sessions.

use std::collections::HashMap;

use serde_json::value::RawValue;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::mapper::{Extra, Mapper, RowJson, identity, tags_hash};
use super::record::{self, Record, kind_of};
use super::tables;
use super::tag_list::{self, TagList};
use crate::data::{ColumnGroup, Table, Timestamp};

/// The records nested in a session, in the order in which the tables may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    Channel,
    Department,
    Agent,
    Contact,
}

impl Parent {
    pub(super) const ALL: [Self; 4] = [Self::Channel, Self::Department, Self::Agent, Self::Contact];

    /// The table of its details, and the table for records of which only the id is known.
    pub(super) const fn tables(self) -> (&'static Table, &'static Table) {
        match self {
            Self::Channel => (&tables::CHANNEL_DETAILS, &tables::CHANNEL_IDS),
            Self::Department => (&tables::DEPARTMENT_DETAILS, &tables::DEPARTMENT_IDS),
            Self::Agent => (&tables::AGENT_DETAILS, &tables::AGENT_IDS),
            Self::Contact => (&tables::CONTACT_DETAILS, &tables::CONTACT_IDS),
        }
    }

    /// The field with the details, in all known spellings (API notes, 4.5).
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Channel => &["channelDetails"],
            Self::Department => &["departmentDetails", "departmentsDetails"],
            Self::Agent => &["agentDetails"],
            Self::Contact => &["contactDetails"],
        }
    }

    /// The field of the details that has the record's id. Details of channels have none.
    const fn key_field(self) -> Option<&'static str> {
        match self {
            Self::Channel => None,
            Self::Department | Self::Contact => Some("id"),
            Self::Agent => Some("userId"),
        }
    }
}

/// The last reading of one parent.
#[derive(Debug, Clone)]
pub(super) struct Detail {
    /// When it was read.
    pub(super) seen: Timestamp,
    /// Its row, without the time of reading.
    pub(super) row: RowJson,
    /// Hash of the row.
    pub(super) hash: i64,
    /// Columns that it does not have.
    pub(super) unknown: ColumnGroup,
    /// A contact's tags.
    pub(super) tags: TagList,
    /// Hash of the text that it was read from, if there was no objection and no extra field.
    source: Option<u64>,
}

/// The parents of all sessions read so far, by key.
#[derive(Debug, Default)]
pub(super) struct Parents([HashMap<Uuid, Detail>; 4]);

impl Parents {
    /// Those of one kind.
    pub(super) fn of(&self, parent: Parent) -> &HashMap<Uuid, Detail> {
        &self.0[parent as usize]
    }

    /// Those of one kind, to be taken out.
    pub(super) fn drain(&mut self, parent: Parent) -> HashMap<Uuid, Detail> {
        std::mem::take(&mut self.0[parent as usize])
    }

    /// Reads a parent's details in a session. `reference` is the session's own reference to it.
    /// Returns the tags if the parent is a contact. `None` if there are no details.
    pub(super) fn read(
        &mut self,
        parent: Parent,
        session: &mut Mapper<'_, '_>,
        reference: Option<Uuid>,
        seen: Timestamp,
        extra: &mut Extra,
    ) -> Option<TagList> {
        let field = parent.fields()[0];
        let value = session.record.take_any(parent.fields())?;
        let source = xxh3_64(value.get().as_bytes());
        if let Some(known) = self.repeated(parent, reference, source, seen) {
            return Some(known.tags.clone());
        }
        let Some(record) = object(parent, field, value) else {
            let path = session.record.path_of(field);
            session.objections.add(&path, "an object", kind_of(value));
            return None;
        };
        let objections_before = session.objections.len();
        let mut record = record;
        let own = parent
            .key_field()
            .and_then(|name| record.read(&[name], "a uuid", session.objections, record::uuid))
            .filter(|id| !id.is_nil());
        let Some(key) = own.or(reference) else {
            // Nobody's details: there is no row for them, but nothing gets lost.
            extra.keep(field, value);
            return None;
        };
        let mut row = RowJson::new(parent.tables().0, key, 384);
        let mut details = Mapper {
            record,
            row: &mut row,
            objections: &mut *session.objections,
        };
        let tags = map(parent, &mut details);
        let unread = Extra::of(details.record);
        let clean = session.objections.len() == objections_before && unread.is_empty();
        extra.nest(field, unread);
        let detail = Detail {
            seen,
            hash: row.hash(None),
            row,
            unknown: if parent == Parent::Contact && tags.ids.is_none() {
                ColumnGroup::CONTACT
            } else {
                ColumnGroup::NONE
            },
            tags: tags.clone(),
            source: clean.then_some(source),
        };
        let stored = self.0[parent as usize].get(&key);
        if stored.is_none_or(|stored| stored.seen <= seen) {
            self.0[parent as usize].insert(key, detail);
        }
        Some(tags)
    }

    /// The stored reading, if the same text was read for the same key before.
    fn repeated(
        &mut self,
        parent: Parent,
        reference: Option<Uuid>,
        source: u64,
        seen: Timestamp,
    ) -> Option<&Detail> {
        let known = self.0[parent as usize].get_mut(&reference?)?;
        if known.source != Some(source) {
            return None;
        }
        known.seen = known.seen.max(seen);
        Some(known)
    }
}

/// The object that holds the details. For departments it may be the only element of an array.
fn object<'a>(parent: Parent, field: &'static str, value: &'a RawValue) -> Option<Record<'a>> {
    if parent == Parent::Department
        && let Some(values) = super::json::array(value)
    {
        return match values[..] {
            [only] => Record::nested(only, field),
            _ => None,
        };
    }
    Record::nested(value, field)
}

fn map(parent: Parent, m: &mut Mapper<'_, '_>) -> TagList {
    match parent {
        Parent::Channel => identity(m),
        Parent::Department => {
            m.uuid("companyId", "company_id");
            m.text("name", "name");
            m.text("description", "description");
            m.boolean("isDefault", "is_default");
            m.boolean("isSupervisor", "is_supervisor");
        }
        Parent::Agent => {
            m.uuid("id", "id");
            m.text("name", "name");
            m.text("shortName", "short_name");
            m.text("email", "email");
            m.text("phoneNumber", "phone_number");
            m.uuid("pictureFileId", "picture_file_id");
            m.text("pictureUrl", "picture_url");
        }
        Parent::Contact => {
            m.text("name", "name");
            m.text("pictureUrl", "picture_url");
            m.phone();
            m.text("instagram", "instagram");
            m.word("status", "status");
            let tags = m.take_tags();
            if let Some(ids) = &tags.ids {
                m.row.int("tags_hash", Some(tags_hash(ids)));
            }
            return tags;
        }
    }
    TagList::default()
}

impl Mapper<'_, '_> {
    /// A contact's phone, in the platform's two notations and in E.164. The contact's listing and
    /// a session's details spell the fields differently (API notes, 4.6).
    pub(super) fn phone(&mut self) {
        let number = self.text_of(&["phonenumber", "phoneNumber"], "phone_number");
        self.text_of(
            &["phonenumberFormatted", "phoneNumberFormatted"],
            "phone_number_formatted",
        );
        let e164 = number.as_deref().and_then(e164);
        self.row.text("phone_e164", e164.as_deref());
    }

    /// A contact's tags, in either spelling.
    pub(super) fn take_tags(&mut self) -> TagList {
        tag_list::take(
            &mut self.record,
            &["tagsId", "tagIds"],
            &["tagsName", "tagNames"],
            self.objections,
        )
    }
}

/// `+55|11999999999` as `+5511999999999` (API notes, 4.6); `None` for anything but digits, or too
/// many or few of them.
fn e164(number: &str) -> Option<String> {
    let digits: String = match number.strip_prefix('+')?.split_once('|') {
        Some((country, rest)) if !country.is_empty() && !rest.is_empty() => {
            format!("{country}{rest}")
        }
        Some(_) => return None,
        None => number[1..].to_owned(),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (8..=15).contains(&digits.len())
        && !digits.starts_with('0');
    is_number.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_become_e164_only_if_they_are_nothing_but_digits() {
        assert_eq!(e164("+55|11999999999").as_deref(), Some("+5511999999999"));
        assert_eq!(e164("+5511999999999").as_deref(), Some("+5511999999999"));
        for text in [
            "",
            "+",
            "|",
            "+55|",
            "+|1199999999",
            "55|11999999999",
            "+55|(11) 99999",
            "+55|11|999999",
            "+55|119999999999999",
            "+1|23",
            "+0|5511999999",
            "+٥٥|11999999999",
        ] {
            assert_eq!(e164(text), None, "{text}");
        }
    }
}
