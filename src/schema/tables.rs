//! The tables that records are mapped to, column by column.
//!
//! Owns names, types and guards; the migrations follow it. Names are the platform's own in snake
//! case, nested objects flattened with a prefix (`utm_source`). Must not know SQL.

use crate::data::{Column, ColumnGroup, ColumnType, Guard, Resource, Table};

const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column {
        name,
        kind,
        group: ColumnGroup::NONE,
        shared: false,
    }
}

const fn uuid(name: &'static str) -> Column {
    column(name, ColumnType::Uuid)
}

const fn text(name: &'static str) -> Column {
    column(name, ColumnType::Text)
}

const fn time(name: &'static str) -> Column {
    column(name, ColumnType::Time)
}

const fn boolean(name: &'static str) -> Column {
    column(name, ColumnType::Bool)
}

const fn int(name: &'static str) -> Column {
    column(name, ColumnType::Int)
}

const fn real(name: &'static str) -> Column {
    column(name, ColumnType::Real)
}

const fn json(name: &'static str) -> Column {
    column(name, ColumnType::Json)
}

/// Filled by the record's own list and by details inside sessions.
const fn shared(mut column: Column) -> Column {
    column.shared = true;
    column
}

/// Only some answers have it.
const fn within(group: ColumnGroup, mut column: Column) -> Column {
    column.group = group;
    column
}

const CLASSIFICATION: ColumnGroup = ColumnGroup::CLASSIFICATION;

/// Sessions (API notes, 4.5). `time_service` and `time_wait` are the platform's texts; the
/// `_seconds` columns have their whole seconds, rounded down.
pub static SESSIONS: Table = Table {
    name: "sessions",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        time("start_at"),
        time("end_at"),
        text("status"),
        uuid("company_id"),
        uuid("contact_id"),
        uuid("channel_id"),
        uuid("department_id"),
        uuid("user_id"),
        text("preview_url"),
        text("title"),
        text("number"),
        text("utm_source_id"),
        text("utm_source"),
        text("utm_clid"),
        text("utm_medium"),
        text("utm_campaign"),
        text("utm_content"),
        text("utm_headline"),
        text("utm_term"),
        text("utm_referral_url"),
        text("origin"),
        within(CLASSIFICATION, uuid("classification_id")),
        within(CLASSIFICATION, text("classification_category")),
        within(CLASSIFICATION, text("classification_category_name")),
        within(CLASSIFICATION, text("classification_category_description")),
        within(CLASSIFICATION, real("classification_amount")),
        text("status_description"),
        text("time_service"),
        int("time_service_seconds"),
        text("time_wait"),
        int("time_wait_seconds"),
        time("first_response_at"),
        uuid("bot_id"),
        int("unread_count"),
        text("last_message_text"),
        time("last_interaction_date"),
        time("last_message_out"),
        time("last_message_in"),
        text("window_status"),
        json("metadata"),
        within(ColumnGroup::CHANNEL_TYPE, text("channel_type")),
        within(ColumnGroup::SESSION_TYPE, text("type")),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Contacts from their own listing (API notes, 8). `phone_e164` is derived from `phone_number`;
/// `tags_hash` stands for the set of tags in `contact_tags`.
pub static CONTACTS: Table = Table {
    name: "contacts",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        shared(text("name")),
        text("name_whatsapp"),
        text("name_instagram"),
        text("name_messenger"),
        shared(text("phone_number")),
        shared(text("phone_number_formatted")),
        shared(text("phone_e164")),
        text("email"),
        shared(text("instagram")),
        text("messenger_id"),
        text("annotation"),
        shared(text("status")),
        text("origin"),
        time("imported_at"),
        text("utm_source_id"),
        text("utm_source"),
        text("utm_clid"),
        text("utm_medium"),
        text("utm_campaign"),
        text("utm_content"),
        text("utm_headline"),
        text("utm_term"),
        text("utm_referral_url"),
        json("custom_fields"),
        json("portfolio_ids"),
        json("portfolio_names"),
        json("metadata"),
        within(ColumnGroup::CONTACT, shared(int("tags_hash"))),
        json("extra"),
        time("observed_at"),
    ],
    guard: Guard::Version,
};

/// Contacts as `contactDetails` of a session shows them (API notes, 4.6).
pub static CONTACT_DETAILS: Table = Table {
    name: "contacts",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        shared(text("name")),
        text("picture_url"),
        shared(text("phone_number")),
        shared(text("phone_number_formatted")),
        shared(text("phone_e164")),
        shared(text("instagram")),
        shared(text("status")),
        within(ColumnGroup::CONTACT, shared(int("tags_hash"))),
        time("observed_at"),
    ],
    guard: Guard::Observed,
};

/// Contacts of which a session has only the id.
pub static CONTACT_IDS: Table = Table {
    name: "contacts",
    key: "id",
    per_account: false,
    columns: &[uuid("id")],
    guard: Guard::Absent,
};

/// Tags from their own list (API notes, 7).
pub static TAGS: Table = Table {
    name: "tags",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        text("name"),
        text("color"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Tags of a contact, with the name shown next to the id, if any. It is provisional until the list
/// is read.
pub static TAG_NAMES: Table = Table {
    name: "tags",
    key: "id",
    per_account: false,
    columns: &[uuid("id"), text("name")],
    guard: Guard::Absent,
};

/// Channels from their own list (API notes, 5).
pub static CHANNELS: Table = Table {
    name: "channels",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        boolean("active"),
        text("type"),
        text("number"),
        text("number_formatted"),
        within(ColumnGroup::CHANNEL, shared(text("identity_human_id"))),
        within(ColumnGroup::CHANNEL, shared(text("identity_platform"))),
        within(ColumnGroup::CHANNEL, shared(text("identity_provider"))),
        within(
            ColumnGroup::CHANNEL,
            shared(text("identity_provider_variable")),
        ),
        within(ColumnGroup::CHANNEL, shared(text("identity_picture_url"))),
        within(ColumnGroup::CHANNEL, shared(text("identity_display_name"))),
        json("extra"),
        time("observed_at"),
    ],
    guard: Guard::Version,
};

/// Channels as `channelDetails` of a session shows them; the id is the session's `channelId`.
pub static CHANNEL_DETAILS: Table = Table {
    name: "channels",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        shared(text("identity_human_id")),
        shared(text("identity_platform")),
        shared(text("identity_provider")),
        shared(text("identity_provider_variable")),
        shared(text("identity_picture_url")),
        shared(text("identity_display_name")),
        time("observed_at"),
    ],
    guard: Guard::Observed,
};

/// Channels of which a session has only the id.
pub static CHANNEL_IDS: Table = Table {
    name: "channels",
    key: "id",
    per_account: false,
    columns: &[uuid("id")],
    guard: Guard::Absent,
};

/// Departments from their own list (API notes, 9). The current list has no `description` and no
/// `isPrivate`; its predecessor and a department read by id have both.
pub static DEPARTMENTS: Table = Table {
    name: "departments",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        shared(uuid("company_id")),
        shared(text("name")),
        within(ColumnGroup::DEPARTMENT, shared(text("description"))),
        shared(boolean("is_default")),
        within(ColumnGroup::DEPARTMENT, boolean("is_private")),
        boolean("distribuition_enabled"),
        text("restriction_type"),
        json("distribution_config"),
        json("direct_links"),
        json("agents"),
        json("channels"),
        json("extra"),
        time("observed_at"),
    ],
    guard: Guard::Version,
};

/// Departments as `departmentDetails` of a session shows them (API notes, 4.6).
pub static DEPARTMENT_DETAILS: Table = Table {
    name: "departments",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        shared(uuid("company_id")),
        shared(text("name")),
        within(ColumnGroup::DEPARTMENT, shared(text("description"))),
        shared(boolean("is_default")),
        boolean("is_supervisor"),
        time("observed_at"),
    ],
    guard: Guard::Observed,
};

/// Departments of which a session has only the id.
pub static DEPARTMENT_IDS: Table = Table {
    name: "departments",
    key: "id",
    per_account: false,
    columns: &[uuid("id")],
    guard: Guard::Absent,
};

/// Agents from their own list (API notes, 9). Sessions refer to `user_id`. `id` is the agent's own
/// id, by which an agent is read. A user is a person, who may be an agent of several accounts.
pub static AGENTS: Table = Table {
    name: "agents",
    key: "user_id",
    per_account: true,
    columns: &[
        uuid("user_id"),
        shared(uuid("id")),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        shared(text("name")),
        shared(text("short_name")),
        shared(text("email")),
        shared(text("phone_number")),
        text("phone_number_formatted"),
        text("profile"),
        boolean("is_owner"),
        text("availability"),
        json("departments"),
        json("extra"),
        time("observed_at"),
    ],
    guard: Guard::Version,
};

/// Agents as `agentDetails` of a session shows them (API notes, 4.6).
pub static AGENT_DETAILS: Table = Table {
    name: "agents",
    key: "user_id",
    per_account: true,
    columns: &[
        uuid("user_id"),
        shared(uuid("id")),
        shared(text("name")),
        shared(text("short_name")),
        shared(text("email")),
        shared(text("phone_number")),
        uuid("picture_file_id"),
        text("picture_url"),
        time("observed_at"),
    ],
    guard: Guard::Observed,
};

/// Agents of whom a session has only the user id.
pub static AGENT_IDS: Table = Table {
    name: "agents",
    key: "user_id",
    per_account: true,
    columns: &[uuid("user_id")],
    guard: Guard::Absent,
};

/// Custom fields (API notes, 8). Groups are among them; `parent_id` names the group.
pub static CUSTOM_FIELDS: Table = Table {
    name: "custom_fields",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        text("entity_type"),
        uuid("scope_id"),
        uuid("parent_id"),
        text("type"),
        text("name"),
        text("key"),
        int("position"),
        boolean("required"),
        boolean("visible"),
        boolean("is_value_range"),
        json("options"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Chatbots (API notes, 5).
pub static CHATBOTS: Table = Table {
    name: "chatbots",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        uuid("key"),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        boolean("archived"),
        text("name"),
        text("type"),
        json("channel_ids"),
        uuid("default_department_id"),
        text("publish_status"),
        json("automation_usage"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Message templates (API notes, 17). Their fields are not documented: those without a column are
/// in `extra`.
pub static TEMPLATES: Table = Table {
    name: "templates",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        text("name"),
        text("type"),
        text("category"),
        text("language"),
        text("status"),
        text("text"),
        json("params"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Portfolios (API notes, 9).
pub static PORTFOLIOS: Table = Table {
    name: "portfolios",
    key: "id",
    per_account: false,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        uuid("company_id"),
        boolean("active"),
        text("name"),
        text("type"),
        boolean("automatic_attribution"),
        int("expiration_duration_in_months"),
        int("contacts_count"),
        json("departments"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// Opening hours (API notes, 17). Their ids are made of their content, so two accounts may have the
/// same ids.
pub static OFFICE_HOURS: Table = Table {
    name: "office_hours",
    key: "id",
    per_account: true,
    columns: &[
        uuid("id"),
        time("created_at"),
        time("updated_at"),
        text("day_week"),
        text("start_time"),
        text("end_time"),
        text("timezone_diff"),
        json("limit_hours"),
        json("extra"),
    ],
    guard: Guard::Version,
};

/// The table of a resource's own records.
pub const fn of(resource: Resource) -> &'static Table {
    match resource {
        Resource::Sessions => &SESSIONS,
        Resource::Contacts => &CONTACTS,
        Resource::Tags => &TAGS,
        Resource::Channels => &CHANNELS,
        Resource::Departments => &DEPARTMENTS,
        Resource::Agents => &AGENTS,
        Resource::CustomFields => &CUSTOM_FIELDS,
        Resource::Chatbots => &CHATBOTS,
        Resource::Templates => &TEMPLATES,
        Resource::Portfolios => &PORTFOLIOS,
        Resource::OfficeHours => &OFFICE_HOURS,
    }
}

/// All tables, in the order in which foreign keys allow writing them.
pub const ALL: &[&Table] = &[
    &TAGS,
    &TAG_NAMES,
    &CHANNELS,
    &CHANNEL_DETAILS,
    &CHANNEL_IDS,
    &DEPARTMENTS,
    &DEPARTMENT_DETAILS,
    &DEPARTMENT_IDS,
    &AGENTS,
    &AGENT_DETAILS,
    &AGENT_IDS,
    &CUSTOM_FIELDS,
    &CHATBOTS,
    &TEMPLATES,
    &PORTFOLIOS,
    &OFFICE_HOURS,
    &CONTACTS,
    &CONTACT_DETAILS,
    &CONTACT_IDS,
    &SESSIONS,
];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn columns_of_one_name_in_one_table_are_of_one_type_and_never_repeated() {
        let mut seen: HashMap<(&str, &str), Column> = HashMap::new();
        for table in ALL {
            let mut names = Vec::new();
            for column in table.columns {
                assert!(!names.contains(&column.name), "{} twice", column.name);
                names.push(column.name);
                let first = seen.entry((table.name, column.name)).or_insert(*column);
                assert_eq!(first.kind, column.kind, "{}.{}", table.name, column.name);
                assert_eq!(
                    first.shared, column.shared,
                    "{}.{}",
                    table.name, column.name
                );
            }
            assert!(names.contains(&table.key), "{}", table.name);
        }
    }

    #[test]
    fn a_column_is_shared_if_the_list_and_the_details_both_fill_it() {
        for list in ALL.iter().filter(|table| table.guard == Guard::Version) {
            for details in ALL
                .iter()
                .filter(|table| table.guard == Guard::Observed && table.name == list.name)
            {
                for column in list.columns {
                    let both = details.columns.iter().any(|c| c.name == column.name);
                    let own = column.name == list.key || column.name == "observed_at";
                    assert_eq!(column.shared, both && !own, "{}.{}", list.name, column.name);
                }
            }
        }
    }
}
