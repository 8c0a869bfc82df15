//! Sessions (API notes, 4.5 and 4.6).

use uuid::Uuid;

use super::batch::{AnswerContext, Mapped};
use super::mapper::{Extra, Mapper, RowJson, utm};
use super::parents::{Parent, Parents};
use super::record::{Objections, Record};
use super::tables;
use super::tag_list::TagList;
use crate::data::ColumnGroup;

/// Maps a session, and adds its nested records to `parents`.
pub(super) fn map(
    id: Uuid,
    record: Record<'_>,
    answer: AnswerContext,
    objections: &mut Objections,
    parents: &mut Parents,
) -> Mapped {
    let mut row = RowJson::new(&tables::SESSIONS, id, 1_024);
    let mut extra = Extra::default();
    let mut unknown = ColumnGroup::NONE;
    let mut m = Mapper {
        record,
        row: &mut row,
        objections,
    };

    m.time("createdAt", "created_at");
    let version = m.version();
    m.time("startAt", "start_at");
    m.time("endAt", "end_at");
    m.word("status", "status");
    m.uuid("companyId", "company_id");
    let contact = m.reference("contactId", "contact_id", &["contactDetails"], "id");
    let channel = m.reference("channelId", "channel_id", &["channelDetails"], "id");
    let departments = ["departmentDetails", "departmentsDetails"];
    let department = m.reference("departmentId", "department_id", &departments, "id");
    let user = m.reference("userId", "user_id", &["agentDetails"], "userId");
    m.text("previewUrl", "preview_url");
    m.text("title", "title");
    m.text("number", "number");
    m.nested("utm", &mut extra, utm);
    m.text("origin", "origin");

    // Details that are null were not requested, or there are none (API notes, 4.4); neither
    // changes what is stored about others. Only a session without a contact is known to have no
    // tags: one whose contact is not shown may well have had some.
    let has_contact = m.record.peek("contactDetails").is_some();
    let mut read = |parent, m: &mut Mapper<'_, '_>, reference| {
        parents.read(parent, m, reference, answer.seen, &mut extra)
    };
    let tags = read(Parent::Contact, &mut m, contact);
    read(Parent::Agent, &mut m, user);
    read(Parent::Channel, &mut m, channel);
    read(Parent::Department, &mut m, department);
    let requested = !answer.unknown.contains(ColumnGroup::CONTACT);
    let tags = match tags {
        Some(tags) => tags,
        None if requested && !has_contact && contact.is_none() => TagList {
            ids: Some(Vec::new()),
            names: Vec::new(),
        },
        None => TagList::default(),
    };
    if tags.ids.is_none() {
        unknown = unknown.with(ColumnGroup::CONTACT);
    }

    let mut knows = |m: &mut Mapper<'_, '_>, group, field| {
        let known = !answer.unknown.contains(group) || m.record.peek(field).is_some();
        if !known {
            m.record.take(field);
            unknown = unknown.with(group);
        }
        known
    };
    if knows(&mut m, ColumnGroup::CLASSIFICATION, "classification") {
        m.nested("classification", &mut extra, |m| {
            m.uuid("id", "classification_id");
            m.word("category", "classification_category");
            m.text("categoryName", "classification_category_name");
            m.text("categoryDescription", "classification_category_description");
            m.real("amount", "classification_amount");
        });
    }
    m.text("statusDescription", "status_description");
    m.span(
        "timeService",
        "time_service",
        "time_service_seconds",
        &mut extra,
    );
    m.span("timeWait", "time_wait", "time_wait_seconds", &mut extra);
    m.time("firstResponseAt", "first_response_at");
    m.uuid("botId", "bot_id");
    m.int("unreadCount", "unread_count");
    m.text("lastMessageText", "last_message_text");
    m.time("lastInteractionDate", "last_interaction_date");
    m.time("lastMessageOut", "last_message_out");
    m.time("lastMessageIn", "last_message_in");
    m.word("windowStatus", "window_status");
    m.json("metadata", "metadata");
    if knows(&mut m, ColumnGroup::CHANNEL_TYPE, "channelType") {
        m.word("channelType", "channel_type");
    }
    if knows(&mut m, ColumnGroup::SESSION_TYPE, "type") {
        m.word("type", "type");
    }

    extra.rest(m.record);
    row.extra(extra);
    Mapped {
        key: id,
        version,
        row,
        unknown,
        tags,
        references: [channel, department, user, contact],
    }
}
