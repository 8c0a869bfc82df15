//! What holds for every page.

use proptest::prelude::*;
use serde_json::Value;

use super::{CONTACT, ID, TAG, batch, check_columns, page};
use crate::data::{Batch, ColumnGroup, Page, Resource};

/// JSON that is a little off: the platform's fields with any value in them.
fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e999".to_owned()),
        Just("\"\\ud800\\u0000\"".to_owned()),
        Just(format!("\"{TAG}\"")),
        Just("\"2026-05-04T13:12:44.9Z\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        ".{0,12}".prop_map(|text| Value::String(text).to_string()),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let name = proptest::sample::select(NAMES);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((name, inner), 0..6).prop_map(|v| object(&v)),
        ]
    })
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
    format!("{{{}}}", fields.join(","))
}

const NAMES: &[&str] = &[
    "id",
    "userId",
    "updatedAt",
    "name",
    "status",
    "utm",
    "source",
    "contactDetails",
    "contactId",
    "agentDetails",
    "channelDetails",
    "channelId",
    "departmentDetails",
    "departmentsDetails",
    "classification",
    "amount",
    "timeService",
    "unreadCount",
    "metadata",
    "tagsId",
    "tagsName",
    "tagIds",
    "tagNames",
    "identity",
    "phonenumber",
    "isDefault",
    "description",
    "customFields",
    "new\\u0000",
    "new",
];

fn any_record() -> impl Strategy<Value = String> {
    let id = proptest::sample::select(&[ID, CONTACT, TAG][..]);
    let field = (proptest::sample::select(NAMES), any_value());
    (id, prop::collection::vec(field, 0..14)).prop_map(|(id, mut fields)| {
        fields.push(("id", format!("\"{id}\"")));
        fields.push(("userId", format!("\"{id}\"")));
        object(&fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_panics(texts in prop::collection::vec(".{0,60}", 0..4)) {
        for resource in Resource::ALL {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let batch = batch(resource, &[&page(&texts, 0, ColumnGroup::NONE)]);
            prop_assert_eq!(batch.rows_read, texts.len() as u64);
        }
    }

    #[test]
    fn every_record_gives_rows_that_both_databases_can_read(text in any_record()) {
        for resource in Resource::ALL {
            let batch = batch(resource, &[&page(&[&text], 0, ColumnGroup::NONE)]);
            check_columns(&batch);
            prop_assert_eq!(batch.clean.len() + batch.rejects.len(), 1);
            for row in batch.writes.iter().flat_map(|write| &write.rows) {
                let values = row.values.iter();
                for text in values.chain(row.raw.as_deref()) {
                    prop_assert!(!text.contains("\\u0000") && !text.contains('\0'));
                    prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{}", text);
                }
            }
        }
    }

    #[test]
    fn normalising_twice_changes_nothing(text in any_record()) {
        for resource in Resource::ALL {
            let page = page(&[&text], 0, ColumnGroup::NONE);
            let once = batch(resource, &[&page]);
            let mut twice = batch(resource, &[&page, &page]);
            prop_assert_eq!(twice.rows_read, 2);
            twice.rows_read = 1;
            prop_assert_eq!(shown(&once), shown(&twice));
        }
    }

    #[test]
    fn a_kept_record_reads_like_the_one_that_came(text in any_record()) {
        // A number that no database holds has become text.
        let text = text.replace("1e999", "1e99");
        for resource in Resource::ALL {
            let first = batch(resource, &[&page(&[&text], 0, ColumnGroup::NONE)]);
            let Some(raw) = first.writes.last().and_then(|w| w.rows[0].raw.clone()) else {
                continue;
            };
            let second = batch(resource, &[&page(&[&raw], 0, ColumnGroup::NONE)]);
            prop_assert_eq!(&first.writes.last().unwrap().rows[0].raw, &Some(raw));
            prop_assert_eq!(shown_rows(&first), shown_rows(&second));
        }
    }

    #[test]
    fn pages_in_any_order_end_equal(
        texts in prop::collection::vec(prop::collection::vec(any_record(), 1..3), 2..5),
        order in any::<proptest::sample::Index>(),
    ) {
        for resource in Resource::ALL {
            let pages: Vec<Page> = (0..)
                .zip(&texts)
                .map(|(second, texts)| {
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    page(&texts, second, ColumnGroup::NONE)
                })
                .collect();
            let mut shuffled: Vec<&Page> = pages.iter().collect();
            let straight = batch(resource, &shuffled);
            shuffled.reverse();
            let turn = order.index(shuffled.len());
            shuffled.rotate_left(turn);
            prop_assert_eq!(shown(&straight), shown(&batch(resource, &shuffled)));
        }
    }
}

/// The rows and links of a batch, without raw records.
fn shown_rows(batch: &Batch) -> String {
    let rows: Vec<_> = batch
        .writes
        .iter()
        .flat_map(|write| &write.rows)
        .map(|row| (row.key, &row.values, row.hash))
        .collect();
    format!("{rows:?} {:?} {:?}", batch.session_tags, batch.contact_tags)
}

/// Everything in a batch as text, so that batches can be compared.
fn shown(batch: &Batch) -> String {
    format!("{batch:#?}")
}
