//! Several readings of one record.

use serde_json::{Value, json};

use super::{
    CHANNELS, CONTACT, CONTACTS, ID, SESSIONS_V2, TAG, TAGS, batch, page, row, rows, sample,
};
use crate::data::{Batch, ColumnGroup, Resource, Row};
use crate::schema::tables;

#[test]
fn the_newest_version_counts_and_one_that_was_read_later_is_asked_for() {
    let contact = |name: &str, updated: &str| {
        json!({"id": ID, "name": name, "updatedAt": updated}).to_string()
    };
    let none = ColumnGroup::NONE;
    let early = page(&[&contact("early", "2026-01-01T00:00:57Z")], 0, none);
    let old = page(&[&contact("old", "2026-01-01T00:00:57Z")], 9, none);
    let new = page(&[&contact("new", "2026-01-01T00:00:57.3Z")], 1, none);
    let same = page(&[&contact("same", "2026-01-01T00:00:57.3Z")], 2, none);
    let bare = page(&[&json!({"id": ID, "name": "bare"}).to_string()], 10, none);
    let late = page(&[&contact("late", "2026-01-01T00:00:57Z")], 11, none);
    let mut by_id = late.clone();
    by_id.by_id = true;
    for (pages, expected, is_doubtful) in [
        (vec![&early, &new], "new", false),
        (vec![&new, &early], "new", false),
        // The newest content may carry the stamp of a clock that is behind.
        (vec![&old, &new], "new", true),
        (vec![&new, &old], "new", true),
        (vec![&new, &old, &by_id], "late", false),
        (vec![&new, &same], "same", false),
        (vec![&same, &new], "same", false),
        // One that does not say when it changed is compared by when it was read.
        (vec![&bare, &old], "bare", false),
        (vec![&old, &bare], "bare", false),
    ] {
        let batch = batch(Resource::Contacts, &pages);
        assert_eq!(row(&batch, &tables::CONTACTS, ID)["name"], expected);
        assert_eq!(batch.rows_read, pages.len() as u64);
        assert_eq!(batch.doubtful.len(), usize::from(is_doubtful), "{expected}");
    }
}

#[test]
fn of_two_readings_of_a_list_the_later_one_counts() {
    let tag = |name: &str, updated: &str| {
        json!({"id": ID, "name": name, "updatedAt": updated}).to_string()
    };
    let none = ColumnGroup::NONE;
    let old = page(&[&tag("old", "2026-01-01T00:00:57Z")], 9, none);
    let new = page(&[&tag("new", "2026-01-01T00:00:57.3Z")], 1, none);
    let same = page(&[&tag("same", "2026-01-01T00:00:57.3Z")], 2, none);
    let bare = page(&[&json!({"id": ID, "name": "bare"}).to_string()], 10, none);
    let late = page(&[&tag("late", "2026-01-01T00:00:57Z")], 11, none);
    for (pages, expected) in [
        (vec![&old, &new], "old"),
        (vec![&new, &old], "old"),
        (vec![&new, &same], "same"),
        (vec![&same, &new], "same"),
        (vec![&bare, &old], "bare"),
        (vec![&old, &bare], "bare"),
        (vec![&bare, &new, &late], "late"),
    ] {
        let batch = batch(Resource::Tags, &pages);
        assert_eq!(row(&batch, &tables::TAGS, ID)["name"], expected);
        assert_eq!(batch.rows_read, pages.len() as u64);
        assert!(batch.doubtful.is_empty());
    }
}

#[test]
fn a_good_newer_version_takes_its_own_reject_away() {
    let bad = json!({"id": ID, "name": 7, "updatedAt": "2026-01-01T00:00:00Z"}).to_string();
    let good = json!({"id": ID, "name": "x", "updatedAt": "2026-01-02T00:00:00Z"}).to_string();
    let batch = batch(
        Resource::Tags,
        &[&page(&[&bad, &good, &bad], 0, ColumnGroup::NONE)],
    );
    assert!(batch.rejects.is_empty());
    assert_eq!(batch.clean.len(), 1);
}

#[test]
fn a_version_that_is_no_record_counts_until_a_good_one_is_read_later() {
    let none = ColumnGroup::NONE;
    let good = json!({"id": ID, "userId": CONTACT, "name": "x"}).to_string();
    // Agents are kept by a key that is not the id by which a reject is known.
    let bad = json!({"id": ID, "userId": "no uuid"}).to_string();
    for (good_at, bad_at, clean, rejects) in [(1, 2, 0, 1), (2, 2, 0, 1), (3, 2, 1, 0)] {
        let (good, bad) = (page(&[&good], good_at, none), page(&[&bad], bad_at, none));
        for pages in [[&good, &bad], [&bad, &good]] {
            let batch = batch(Resource::Agents, &pages);
            assert_eq!(batch.clean.len(), clean, "{good_at} {bad_at}");
            assert_eq!(batch.rejects.len(), rejects, "{good_at} {bad_at}");
        }
    }
}

#[test]
fn details_read_last_count_whatever_the_session_s_version() {
    let session = |id: &str, updated: &str, name: &str| {
        let contact = json!({"id": CONTACT, "name": name, "tagsId": [TAG], "tagsName": [name]});
        json!({"id": id, "updatedAt": updated, "contactId": CONTACT, "contactDetails": contact})
            .to_string()
    };
    let none = ColumnGroup::NONE;
    let first = page(&[&session(ID, "2026-02-01T00:00:00Z", "before")], 1, none);
    let second = page(&[&session(TAG, "2026-01-01T00:00:00Z", "after")], 2, none);
    let third = page(&[&session(ID, "2026-02-01T00:00:00Z", "before")], 3, none);
    for (pages, expected) in [
        (vec![&first, &second], "after"),
        (vec![&second, &first], "after"),
        (vec![&first, &second, &third], "before"),
        (vec![&third, &second, &first], "before"),
    ] {
        let batch = batch(Resource::Sessions, &pages);
        assert_eq!(
            row(&batch, &tables::CONTACT_DETAILS, CONTACT)["name"],
            expected
        );
        assert_eq!(row(&batch, &tables::TAG_NAMES, TAG)["name"], expected);
        assert_eq!(
            batch.observed_at,
            Some(pages.iter().map(|p| p.server_time).max().unwrap())
        );
    }
}

#[test]
fn the_hash_follows_the_content_and_the_tags_but_not_the_time_of_reading() {
    let session = |tags: Value| {
        json!({"id": ID, "contactDetails": {"id": CONTACT, "tagsId": tags}}).to_string()
    };
    let read = |text: &str, second| {
        let batch = batch(
            Resource::Sessions,
            &[&page(&[text], second, ColumnGroup::NONE)],
        );
        let hash = |table| rows(&batch, table)[0].hash;
        (hash(&tables::SESSIONS), hash(&tables::CONTACT_DETAILS))
    };
    assert_eq!(read(&session(json!([])), 0), read(&session(json!([])), 9));
    let (tagged, plain) = (
        read(&session(json!([TAG])), 0),
        read(&session(json!([])), 0),
    );
    assert_ne!(tagged.0, plain.0);
    assert_ne!(tagged.1, plain.1);
}

/// Rows that an earlier version of the program stored are compared by these hashes. A version that
/// made others would write every row again.
#[test]
fn the_hash_of_a_record_is_the_same_in_every_version_of_the_program() {
    let none = ColumnGroup::NONE;
    let every_kind = r#"{"id":"9fbdd75d-d514-4b3e-968d-13c2857dfb76",
        "createdAt":"2026-05-02T09:00:01.0000019Z","updatedAt":"2026-05-04T10:15:00-03:00",
        "status":"IN_PROGRESS","companyId":"00000000-0000-0000-0000-000000000000",
        "contactId":"43F4D144-BFF5-4A50-B940-B74D0B95E198","previewUrl":"",
        "title":"Ação \"1\"\n\\ \u0000\u0001\u007f \ud83d\ude00\ud83d/","number":null,
        "utm":{"source":"x","new":[1, 2.50, {"b":true,"a":null}]},
        "contactDetails":{"id":"43f4d144-bff5-4a50-b940-b74d0b95e198","name":"Ana","phonenumber":"+55|11900000001",
            "tagsId":["c08c3b90-df0d-4571-acac-7f5468e5d12c"],"tagsName":["VIP"]},
        "departmentDetails":{"id":"2784b2ff-53b8-41cc-ab9a-f22f149d5f58","isDefault":false,"isSupervisor":true},
        "classification":{"amount":349.90},"timeService":"52:14:59","timeWait":"long",
        "unreadCount":-3,"metadata":{ "z":1e5, "a":"\u00e7" },"zebra":"\u0000z"}"#;
    let fewer = r#"{"id":"9fbdd75d-d514-4b3e-968d-13c2857dfb76",
        "updatedAt":"2026-05-04T13:15:00Z","contactDetails":{"id":"43f4d144-bff5-4a50-b940-b74d0b95e198"}}"#;
    let groups = ColumnGroup::CLASSIFICATION
        .with(ColumnGroup::CHANNEL_TYPE)
        .with(ColumnGroup::SESSION_TYPE);
    let sessions = [page(&[every_kind], 0, none), page(&[fewer], 0, groups)];
    let mut found = Vec::new();
    for page in &sessions {
        found.extend(hashes(&batch(Resource::Sessions, &[page])));
    }
    for (resource, body) in [
        (Resource::Sessions, SESSIONS_V2),
        (Resource::Contacts, CONTACTS),
        (Resource::Channels, CHANNELS),
        (Resource::Tags, TAGS),
    ] {
        found.extend(hashes(&batch(resource, &[&sample(body, none)])));
    }
    let expected = [
        ("tags", -4_104_370_547_766_078_011),
        ("departments", -1_966_694_443_919_973_368),
        ("contacts", -210_400_711_290_770_868),
        ("sessions", -1_053_722_635_600_023_604),
        ("contacts", -3_501_914_969_567_925_374),
        ("sessions", 4_035_641_446_798_485_574),
        ("tags", -2_032_767_013_653_291_879),
        ("channels", -8_324_474_508_981_861_215),
        ("departments", -1_828_059_355_773_800_880),
        ("agents", -1_457_383_085_656_225_190),
        ("contacts", -4_569_459_399_873_241_525),
        ("sessions", -5_852_420_452_808_882_776),
        ("tags", -2_032_767_013_653_291_879),
        ("contacts", -2_215_529_445_510_319_701),
        ("channels", -8_722_271_994_010_354_729),
        ("tags", 4_035_287_799_225_175_170),
    ];
    assert_eq!(found, expected);
}

/// The hashes of all rows of a table together, for each table.
fn hashes(batch: &Batch) -> Vec<(&'static str, i64)> {
    let sum = |rows: &[Row]| {
        rows.iter()
            .fold(0_i64, |sum, row| sum.rotate_left(7) ^ row.hash)
    };
    let tables = batch.writes.iter();
    tables
        .map(|write| (write.table.name, sum(&write.rows)))
        .collect()
}
