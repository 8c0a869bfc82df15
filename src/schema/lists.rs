//! The small lists: tags, channels, departments, agents (API notes, 5, 7 and 9).

use uuid::Uuid;

use super::batch::Mapped;
use super::mapper::{Extra, Mapper, RowJson, identity};
use super::record::{Objections, Record};
use super::tables;
use super::tag_list::TagList;
use crate::data::{ColumnGroup, Table, Timestamp};

/// Maps a tag.
pub(super) fn tag(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::TAGS, id, record, objections, |m, _| {
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.text("name", "name");
        m.word("color", "color");
        (version, ColumnGroup::NONE)
    })
}

/// Maps a channel. One without identity is not one whose identity was removed: an inactive one
/// has none in the list, while its sessions still show it.
pub(super) fn channel(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::CHANNELS, id, record, objections, |m, extra| {
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.boolean("active", "active");
        m.word("type", "type");
        m.text("number", "number");
        m.text("numberFormatted", "number_formatted");
        if m.record.peek("identity").is_none() {
            m.record.take("identity");
            return (version, ColumnGroup::CHANNEL);
        }
        m.nested("identity", extra, identity);
        (version, ColumnGroup::NONE)
    })
}

/// Maps a department. The current list shows neither `description` nor `isPrivate`.
pub(super) fn department(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::DEPARTMENTS, id, record, objections, |m, _| {
        let detailed = m.record.has("description") || m.record.has("isPrivate");
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.text("name", "name");
        if detailed {
            m.text("description", "description");
        }
        m.boolean("isDefault", "is_default");
        if detailed {
            m.boolean("isPrivate", "is_private");
        }
        m.boolean("distribuitionEnabled", "distribuition_enabled");
        m.word("restrictionType", "restriction_type");
        m.json("distributionConfig", "distribution_config");
        m.json("directLinks", "direct_links");
        m.json("agents", "agents");
        m.json("channels", "channels");
        let unknown = if detailed {
            ColumnGroup::NONE
        } else {
            ColumnGroup::DEPARTMENT
        };
        (version, unknown)
    })
}

/// Maps an agent, by the user id that sessions refer to.
pub(super) fn agent(user_id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::AGENTS, user_id, record, objections, |m, _| {
        m.uuid("id", "id");
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.text("name", "name");
        m.text("shortName", "short_name");
        m.text("email", "email");
        m.text("phoneNumber", "phone_number");
        m.text("phoneNumberFormatted", "phone_number_formatted");
        m.text("profile", "profile");
        m.boolean("isOwner", "is_owner");
        m.word("availability", "availability");
        m.json("departments", "departments");
        (version, ColumnGroup::NONE)
    })
}

fn map<'a>(
    table: &'static Table,
    key: Uuid,
    record: Record<'a>,
    objections: &mut Objections,
    columns: impl FnOnce(&mut Mapper<'a, '_>, &mut Extra) -> (Option<Timestamp>, ColumnGroup),
) -> Mapped {
    let mut row = RowJson::new(table, key, 512);
    let mut extra = Extra::default();
    let mut mapper = Mapper {
        record,
        row: &mut row,
        objections,
    };
    let (version, unknown) = columns(&mut mapper, &mut extra);
    extra.rest(mapper.record);
    row.extra(extra);
    Mapped {
        key,
        version,
        row,
        unknown,
        tags: TagList::default(),
        references: [None; 4],
    }
}
