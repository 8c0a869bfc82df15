//! Whole pages to whole batches.

mod properties;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BatchBuilder, tables};
use crate::data::{Batch, ColumnGroup, Guard, Head, Item, Page, Resource, Row, Table, Timestamp};

const SESSIONS_V1: &str = include_str!("../../tests/samples/sessions-v1-page.json");
const SESSIONS_V2: &str = include_str!("../../tests/samples/sessions-v2-page-details.json");
const CONTACTS: &str = include_str!("../../tests/samples/contacts-page.json");
const CHANNELS: &str = include_str!("../../tests/samples/channels.json");
const TAGS: &str = include_str!("../../tests/samples/tags.json");

const ID: &str = "9fbdd75d-d514-4b3e-968d-13c2857dfb76";
const CONTACT: &str = "43f4d144-bff5-4a50-b940-b74d0b95e198";
const TAG: &str = "c08c3b90-df0d-4571-acac-7f5468e5d12c";

fn at(second: u64) -> Timestamp {
    Timestamp::parse("2026-05-04T14:00:00Z").unwrap() + Duration::from_secs(second)
}

/// A page of these texts, read at a second.
fn page(items: &[&str], second: u64, unknown: ColumnGroup) -> Page {
    let mut body = String::new();
    let items = items
        .iter()
        .map(|text| {
            let from = body.len();
            body.push_str(text);
            Item {
                head: Head::default(),
                raw: from..body.len(),
            }
        })
        .collect();
    Page {
        unknown,
        ..Page::new(Arc::from(body), items, at(second))
    }
}

fn sample(body: &str, unknown: ColumnGroup) -> Page {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
    }
    let list: Vec<&RawValue> = if body.trim_start().starts_with('[') {
        serde_json::from_str(body).unwrap()
    } else {
        serde_json::from_str::<Envelope<'_>>(body).unwrap().items
    };
    let texts: Vec<&str> = list.into_iter().map(RawValue::get).collect();
    page(&texts, 0, unknown)
}

fn batch(resource: Resource, pages: &[&Page]) -> Batch {
    let mut builder = BatchBuilder::new(resource, true);
    for page in pages {
        builder.add(page);
    }
    builder.finish()
}

/// A batch of one record, which was changed once unless it says something else.
fn one(resource: Resource, item: &Value) -> Batch {
    let mut item = item.clone();
    if let Some(fields) = item.as_object_mut() {
        let changed = json!("2026-01-01T00:00:00Z");
        fields.entry("updatedAt").or_insert(changed);
    }
    batch(
        resource,
        &[&page(&[&item.to_string()], 0, ColumnGroup::NONE)],
    )
}

fn rows<'a>(batch: &'a Batch, table: &'static Table) -> &'a [Row] {
    batch
        .writes
        .iter()
        .find(|write| write.table == table)
        .map_or(&[], |write| &write.rows)
}

fn row(batch: &Batch, table: &'static Table, key: &str) -> Value {
    let key: Uuid = key.parse().unwrap();
    let row = rows(batch, table).iter().find(|row| row.key == key);
    object(table, row.expect("the row is there"))
}

/// A row as an object, column name to value.
fn object(table: &Table, row: &Row) -> Value {
    serde_json::from_str(&row.object(table)).unwrap()
}

fn names(batch: &Batch) -> Vec<&'static str> {
    batch.writes.iter().map(|write| write.table.name).collect()
}

/// Every row holds exactly the columns of its table that it knows; that they come in their order is
/// checked where they are written.
fn check_columns(batch: &Batch) {
    for write in &batch.writes {
        for row in &write.rows {
            let (found, expected) = (
                row.values.iter().len(),
                write.table.known(row.unknown).count(),
            );
            assert_eq!(found, expected, "{}", write.table.name);
            let all: Vec<Value> =
                serde_json::from_str(&format!("[{}]", row.values.text())).unwrap();
            assert_eq!(all.len(), expected, "{}", write.table.name);
        }
        let mut keys: Vec<Uuid> = write.rows.iter().map(|row| row.key).collect();
        keys.dedup();
        assert_eq!(keys.len(), write.rows.len(), "{}", write.table.name);
    }
}

#[test]
fn the_samples_are_read_without_any_objection_and_nothing_is_left_over() {
    for (resource, body, count) in [
        (Resource::Sessions, SESSIONS_V1, 3),
        (Resource::Sessions, SESSIONS_V2, 4),
        (Resource::Contacts, CONTACTS, 3),
        (Resource::Channels, CHANNELS, 3),
        (Resource::Tags, TAGS, 4),
    ] {
        let batch = batch(resource, &[&sample(body, ColumnGroup::NONE)]);
        assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
        assert_eq!(batch.clean.len(), count);
        assert_eq!(batch.rows_read, count as u64);
        check_columns(&batch);
        let own = batch.writes.last().unwrap();
        assert_eq!(own.table.name, resource.name());
        for row in &own.rows {
            assert_eq!(object(own.table, row)["extra"], Value::Null);
            assert!(row.version.is_some() && row.raw.is_some());
        }
    }
}

#[test]
fn a_session_with_all_details_brings_its_parents_along() {
    let batch = batch(
        Resource::Sessions,
        &[&sample(SESSIONS_V2, ColumnGroup::NONE)],
    );
    assert_eq!(
        names(&batch),
        [
            "tags",
            "channels",
            "departments",
            "agents",
            "contacts",
            "sessions"
        ]
    );
    let session = row(
        &batch,
        &tables::SESSIONS,
        "d231dcc0-cbed-4bb6-9ffb-b7c64fb8ef3f",
    );
    assert_eq!(session["created_at"], "2026-05-02T09:00:01.000001Z");
    assert_eq!(session["updated_at"], "2026-05-04T13:15:00.130112Z");
    assert_eq!(session["time_service"], "52:14:59");
    assert_eq!(session["time_service_seconds"], 188_099);
    assert_eq!(session["classification_category"], "WON");
    assert_eq!(session["classification_category_name"], "Ganho");
    assert_eq!(session["classification_amount"], 349.9);
    assert_eq!(session["utm_campaign"], "inverno");
    assert_eq!(session["type"], "INDIVIDUAL");
    let contact = row(&batch, &tables::CONTACT_DETAILS, CONTACT);
    assert_eq!(contact["phone_number"], "+55|11900000001");
    assert_eq!(contact["phone_e164"], "+5511900000001");
    assert_eq!(contact["observed_at"], at(0).to_string());
    let agent = row(
        &batch,
        &tables::AGENT_DETAILS,
        "b8f3a0d3-b50b-4c85-a329-e6e8e52c8de9",
    );
    assert_eq!(agent["id"], "51dbed65-348c-466c-ade0-38c901b9df35");
    let channel = row(
        &batch,
        &tables::CHANNEL_DETAILS,
        "87a1b09d-3aae-4044-885e-3586036f047e",
    );
    assert_eq!(channel["identity_display_name"], "Atendimento Exemplo");
    let department = row(
        &batch,
        &tables::DEPARTMENT_DETAILS,
        "2784b2ff-53b8-41cc-ab9a-f22f149d5f58",
    );
    assert_eq!(department["description"], "Fila geral");
    assert_eq!(row(&batch, &tables::TAG_NAMES, TAG)["name"], "Cliente VIP");
    assert_eq!(batch.session_tags.len(), 4);
    assert_eq!(batch.contact_tags.len(), 4);
    let tags: Vec<usize> = batch.session_tags.iter().map(|l| l.tags.len()).collect();
    assert_eq!(tags.iter().sum::<usize>(), 3);
}

#[test]
fn details_that_were_not_requested_are_left_out_and_their_ids_become_placeholders() {
    let unknown = ColumnGroup::CLASSIFICATION
        .with(ColumnGroup::CHANNEL_TYPE)
        .with(ColumnGroup::SESSION_TYPE)
        .with(ColumnGroup::CONTACT)
        .with(ColumnGroup::AGENT)
        .with(ColumnGroup::DEPARTMENT)
        .with(ColumnGroup::CHANNEL);
    let batch = batch(Resource::Sessions, &[&sample(SESSIONS_V1, unknown)]);
    check_columns(&batch);
    assert!(batch.session_tags.is_empty() && batch.contact_tags.is_empty());
    let session = row(&batch, &tables::SESSIONS, ID);
    assert!(session.get("classification_id").is_none());
    assert!(session.get("channel_type").is_none());
    assert!(session.get("type").is_none());
    assert!(
        batch
            .writes
            .iter()
            .all(|w| w.table.guard != Guard::Observed)
    );
    assert_eq!(rows(&batch, &tables::CONTACT_IDS).len(), 3);
    assert_eq!(rows(&batch, &tables::AGENT_IDS).len(), 2);
    assert_eq!(rows(&batch, &tables::CHANNEL_IDS).len(), 2);
    assert_eq!(rows(&batch, &tables::DEPARTMENT_IDS).len(), 2);
}

#[test]
fn details_that_came_unasked_are_used() {
    let item = json!({"id": ID, "classification": {"category": "LOST"}, "type": "GROUP"});
    let unknown = ColumnGroup::CLASSIFICATION.with(ColumnGroup::SESSION_TYPE);
    let batch = batch(
        Resource::Sessions,
        &[&page(&[&item.to_string()], 0, unknown)],
    );
    let session = row(&batch, &tables::SESSIONS, ID);
    assert_eq!(session["classification_category"], "LOST");
    assert_eq!(session["type"], "GROUP");
}

#[test]
fn the_tags_of_a_contact_that_is_not_shown_are_unknown() {
    let shown = one(Resource::Sessions, &json!({"id": ID, "contactId": CONTACT}));
    assert!(shown.session_tags.is_empty());
    let without = one(Resource::Sessions, &json!({"id": ID, "contactId": null}));
    assert!(without.session_tags[0].tags.is_empty());
    let named = json!({"id": ID, "contactDetails": {"id": CONTACT, "tagsName": ["VIP"]}});
    let named = one(Resource::Sessions, &named);
    assert!(named.session_tags.is_empty() && named.contact_tags.is_empty());
    assert!(
        row(&named, &tables::CONTACT_DETAILS, CONTACT)
            .get("tags_hash")
            .is_none()
    );
    let session = row(&named, &tables::SESSIONS, ID);
    assert_eq!(
        session["extra"],
        json!({"contactDetails": {"tagsName": ["VIP"]}})
    );
}

#[test]
fn details_stand_under_the_session_s_reference_if_they_do_not_say_whose_they_are() {
    let item = json!({
        "id": ID, "contactId": CONTACT, "userId": TAG, "channelId": TAG, "departmentId": TAG,
        "contactDetails": {"name": "x"}, "agentDetails": {"name": "y"},
        "channelDetails": {"displayName": "z"}, "departmentsDetails": [{"name": "w"}],
    });
    let batch = one(Resource::Sessions, &item);
    assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
    assert_eq!(row(&batch, &tables::CONTACT_DETAILS, CONTACT)["name"], "x");
    assert_eq!(row(&batch, &tables::AGENT_DETAILS, TAG)["name"], "y");
    assert_eq!(
        row(&batch, &tables::CHANNEL_DETAILS, TAG)["identity_display_name"],
        "z"
    );
    assert_eq!(row(&batch, &tables::DEPARTMENT_DETAILS, TAG)["name"], "w");
    let lost = one(
        Resource::Sessions,
        &json!({"id": ID, "channelDetails": {"platform": "x"}}),
    );
    let extra = &row(&lost, &tables::SESSIONS, ID)["extra"];
    assert_eq!(*extra, json!({"channelDetails": {"platform": "x"}}));
}

#[test]
fn fields_nobody_modelled_are_kept_by_path() {
    let item = json!({
        "id": ID, "zebra": null, "utm": {"new": 1, "source": "x"},
        "classification": {"score": [1, {"b": 1, "a": 2}]},
        "agentDetails": {"userId": TAG, "mood": "good"},
    });
    let batch = one(Resource::Sessions, &item);
    assert!(batch.rejects.is_empty());
    let session = row(&batch, &tables::SESSIONS, ID);
    assert_eq!(session["utm_source"], "x");
    assert_eq!(
        session["extra"],
        json!({
            "agentDetails": {"mood": "good"}, "classification": {"score": [1, {"a": 2, "b": 1}]},
            "utm": {"new": 1}, "zebra": null,
        })
    );
}

#[test]
fn a_field_of_the_wrong_type_costs_the_field_alone_and_is_reported() {
    let item = json!({
        "id": ID, "updatedAt": "2026-05-04T12:44:52Z", "title": 7, "unreadCount": "3",
        "endAt": "yesterday", "channelId": "main", "utm": {"source": ["x"]}, "contactDetails": [],
        "classification": "WON", "status": "NEW_STATUS", "timeWait": 4,
    });
    let batch = one(Resource::Sessions, &item);
    let session = row(&batch, &tables::SESSIONS, ID);
    assert_eq!(session["status"], "NEW_STATUS");
    for column in [
        "title",
        "unread_count",
        "end_at",
        "channel_id",
        "utm_source",
        "time_wait",
    ] {
        assert_eq!(session[column], Value::Null, "{column}");
    }
    assert_eq!(batch.rejects.len(), 1);
    let reject = &batch.rejects[0];
    assert!(reject.partial && batch.clean.is_empty());
    assert_eq!(reject.record_id, Some(ID.parse().unwrap()));
    assert_eq!(
        reject.reason,
        "endAt: expected a time, found text; channelId: expected a uuid, found text; \
         title: expected text, found a number; utm.source: expected text, found an array; \
         contactDetails: expected an object, found an array; \
         classification: expected an object, found text; timeWait: expected text, found a number; \
         unreadCount: expected a whole number, found text"
    );
    assert_eq!(serde_json::from_str::<Value>(&reject.raw).unwrap(), item);
}

#[test]
fn spans_nobody_can_parse_are_kept_as_text() {
    let item = json!({"id": ID, "timeService": "about an hour", "timeWait": "null"});
    let batch = one(Resource::Sessions, &item);
    assert!(batch.rejects.is_empty());
    let session = row(&batch, &tables::SESSIONS, ID);
    assert_eq!(session["time_service"], "about an hour");
    assert_eq!(session["time_service_seconds"], Value::Null);
    assert_eq!(session["extra"], json!({"timeService": "about an hour"}));
    assert_eq!(session["time_wait"], Value::Null);
}

#[test]
fn a_record_without_a_readable_id_is_rejected_whole_and_holds_up_nobody() {
    let good = json!({"id": ID}).to_string();
    let items = [
        "7",
        "[]",
        "",
        "{\"id\":null}",
        "{\"id\":\"x\"}",
        "{\"name\":1}",
        "{",
        &good,
    ];
    let batch = batch(Resource::Tags, &[&page(&items, 0, ColumnGroup::NONE)]);
    assert_eq!(rows(&batch, &tables::TAGS).len(), 1);
    assert_eq!(batch.clean[0].0, ID.parse::<Uuid>().unwrap());
    assert_eq!(batch.clean.len(), 1);
    assert_eq!(batch.rows_read, 8);
    assert_eq!(batch.rejects.len(), 7);
    assert!(batch.rejects.iter().all(|reject| !reject.partial));
    let reason = |raw: &str| {
        let reject = batch.rejects.iter().find(|reject| reject.raw == raw);
        reject.unwrap().reason.as_str()
    };
    assert_eq!(reason("7"), "record: expected an object, found a number");
    assert_eq!(reason("{\"id\":\"x\"}"), "id: expected a uuid, found text");
    assert_eq!(reason("{\"name\":1}"), "id: expected a uuid, found nothing");
}

#[test]
fn an_agent_is_kept_by_the_id_that_sessions_know() {
    let agent = json!({"id": TAG, "userId": ID, "name": "A", "isOwner": true, "departments": []});
    let lost = json!({"id": CONTACT, "userId": null});
    let page = page(
        &[&agent.to_string(), &lost.to_string()],
        0,
        ColumnGroup::NONE,
    );
    let batch = batch(Resource::Agents, &[&page]);
    check_columns(&batch);
    let stored = row(&batch, &tables::AGENTS, ID);
    assert_eq!(stored["id"], TAG);
    assert_eq!(stored["is_owner"], true);
    assert_eq!(batch.clean[0].0, TAG.parse::<Uuid>().unwrap());
    assert_eq!(batch.clean.len(), 1);
    assert_eq!(batch.rejects[0].record_id, Some(CONTACT.parse().unwrap()));
    assert_eq!(
        batch.rejects[0].reason,
        "userId: expected a uuid, found nothing"
    );
}

#[test]
fn what_a_list_does_not_show_stays_as_it_is() {
    let batch = one(
        Resource::Departments,
        &json!({"id": ID, "name": "Vendas", "agents": []}),
    );
    check_columns(&batch);
    assert!(
        rows(&batch, &tables::DEPARTMENTS)[0]
            .unknown
            .contains(ColumnGroup::DEPARTMENT)
    );
    let batch = one(
        Resource::Departments,
        &json!({"id": ID, "description": "x", "isPrivate": true, "directLinks": {"a": 1}}),
    );
    check_columns(&batch);
    let stored = row(&batch, &tables::DEPARTMENTS, ID);
    assert_eq!(stored["description"], "x");
    assert_eq!(stored["direct_links"], json!({"a": 1}));
    let batch = one(Resource::Channels, &json!({"id": ID, "identity": null}));
    check_columns(&batch);
    assert!(
        rows(&batch, &tables::CHANNELS)[0]
            .unknown
            .contains(ColumnGroup::CHANNEL)
    );
}

#[test]
fn no_nul_gets_through_in_any_form() {
    let item = format!(
        r#"{{"id":"{ID}","title":"a\u0000b","metadata":{{"k\u0000":"\u0000v"}},"new\u0000":["\u0000"]}}"#
    );
    let batch = batch(Resource::Sessions, &[&page(&[&item], 0, ColumnGroup::NONE)]);
    let stored = &rows(&batch, &tables::SESSIONS)[0];
    let values = object(&tables::SESSIONS, stored);
    assert_eq!(values["title"], "ab");
    assert_eq!(values["metadata"], json!({"k": "v"}));
    assert_eq!(values["extra"], json!({"new": [""]}));
    assert!(!stored.values.text().contains("u0000"));
    assert!(!stored.raw.as_ref().unwrap().contains("u0000"));
}

#[test]
fn a_text_of_megabytes_is_one_text() {
    let long = "ção😀\\\"".repeat(500_000);
    let batch = one(
        Resource::Sessions,
        &json!({"id": ID, "lastMessageText": long}),
    );
    assert!(batch.rejects.is_empty());
    assert_eq!(
        row(&batch, &tables::SESSIONS, ID)["last_message_text"],
        long
    );
}
