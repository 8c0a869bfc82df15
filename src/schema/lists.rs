//! The small lists, a function each (API notes, 5, 7, 8, 9 and 17).

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

/// Maps a channel. An inactive channel has no identity in the list, while its sessions still show
/// it. So a missing identity does not mean that it was removed.
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

/// Maps a custom field. Its options stay as they are; the view `custom_field_options` has a row for
/// each.
pub(super) fn custom_field(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::CUSTOM_FIELDS, id, record, objections, |m, _| {
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.word("entityType", "entity_type");
        m.uuid("scopeId", "scope_id");
        m.uuid("parentId", "parent_id");
        m.word("type", "type");
        m.text("name", "name");
        m.text("key", "key");
        m.int("position", "position");
        m.boolean("required", "required");
        m.boolean("visible", "visible");
        m.boolean("isValueRange", "is_value_range");
        m.json("options", "options");
        (version, ColumnGroup::NONE)
    })
}

/// Maps a chatbot.
pub(super) fn chatbot(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::CHATBOTS, id, record, objections, |m, _| {
        m.uuid("key", "key");
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.boolean("archived", "archived");
        m.text("name", "name");
        m.word("type", "type");
        m.json("channelIds", "channel_ids");
        m.uuid("defaultDepartmentId", "default_department_id");
        m.word("publishStatus", "publish_status");
        m.json("automationUsage", "automation_usage");
        (version, ColumnGroup::NONE)
    })
}

/// Maps a message template.
pub(super) fn template(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::TEMPLATES, id, record, objections, |m, _| {
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.text("name", "name");
        m.plain("type", "type");
        m.plain("category", "category");
        m.plain("language", "language");
        m.plain("status", "status");
        m.plain("text", "text");
        m.json("params", "params");
        (version, ColumnGroup::NONE)
    })
}

/// Maps a portfolio.
pub(super) fn portfolio(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::PORTFOLIOS, id, record, objections, |m, _| {
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.uuid("companyId", "company_id");
        m.boolean("active", "active");
        m.text("name", "name");
        m.word("type", "type");
        m.boolean("automaticAttribution", "automatic_attribution");
        m.int(
            "expirationDurationInMonths",
            "expiration_duration_in_months",
        );
        m.int("contactsCount", "contacts_count");
        m.json("departments", "departments");
        (version, ColumnGroup::NONE)
    })
}

/// Maps the opening hours of a day.
pub(super) fn office_hours(id: Uuid, record: Record<'_>, objections: &mut Objections) -> Mapped {
    map(&tables::OFFICE_HOURS, id, record, objections, |m, _| {
        m.record.take("id");
        m.time("createdAt", "created_at");
        let version = m.time("updatedAt", "updated_at");
        m.plain("dayWeek", "day_week");
        m.plain("startTime", "start_time");
        m.plain("endTime", "end_time");
        m.plain("timezoneDiff", "timezone_diff");
        m.json("limitHours", "limit_hours");
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
