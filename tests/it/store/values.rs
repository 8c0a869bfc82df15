//! Values: that each comes out as it went in, in its own row and column.

use helena_sync::data::{Row, Values};
use helena_sync::schema::tables;
use serde_json::json;

use super::{Resource, Writer, id, session, with};
use crate::support::database::{Database, Kind, on_both};
use crate::support::rows::{batch, row};

#[tokio::test]
async fn characters_that_postgres_cannot_hold_are_left_out_in_both() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let nul = with(session(1, 1), "title", json!("a\0b"));
        let nul = with(nul, "metadata", json!({"k\0": "v\0"}));
        writer.store(Resource::Sessions, &[nul], 1).await;
        assert_eq!(database.text("select title from sessions").await, "ab");
        // Whatever a mapping lets through.
        let row = Row {
            raw: Some(r#"{"name":"x\u0000y"}"#.to_owned()),
            ..row(&tables::TAGS, id(7), &[("name", r#""x\u0000\ud800y""#)])
        };
        let batch = batch(&tables::TAGS, vec![row]);
        writer.try_commit(&batch, &[], 2).await.unwrap();
        let name = format!("select name from tags where id = '{}'", id(7));
        assert_eq!(database.text(&name).await, "x\u{fffd}y");
    })
    .await;
}

/// The values of a column, in the order of the ids.
async fn column(database: &Database, name: &str) -> Vec<String> {
    let text = match (database.kind, name) {
        (Kind::Postgres, "created_at" | "updated_at") => {
            format!("to_char({name} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        (Kind::Postgres, "metadata") => format!("replace(cast({name} as text), ': ', ':')"),
        _ => format!("cast({name} as text)"),
    };
    let sql = format!("select {text} from sessions order by id");
    database.texts(&sql).await
}

#[tokio::test]
async fn the_ends_of_every_kind_come_out_as_they_went_in() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let (low, high) = (i64::MIN.to_string(), i64::MAX.to_string());
        // Each row lacks what another has: a value that moved up or aside would be seen.
        let rows = [
            vec![
                ("created_at", r#""0001-01-01T00:00:00.000001Z""#),
                ("title", r#""null""#),
                ("number", r#""""#),
                ("classification_amount", "5e-324"),
                ("unread_count", &low),
                ("metadata", r#""null""#),
            ],
            vec![
                ("updated_at", r#""9999-12-31T23:59:59.999999Z""#),
                ("title", "null"),
                ("status", r#""'\"\\\\ü\ud83d\ude00,{}""#),
                ("classification_amount", "1.7976931348623157e308"),
                ("metadata", r#"{"k":"\\u0000"}"#),
            ],
            vec![
                ("title", r#""b""#),
                ("unread_count", &high),
                ("extra", "[]"),
            ],
        ];
        let rows = rows
            .iter()
            .zip(1..)
            .map(|(given, number)| row(&tables::SESSIONS, id(number), given))
            .collect();
        let batch = batch(&tables::SESSIONS, rows);
        writer.try_commit(&batch, &[], 1).await.unwrap();
        for (name, values) in [
            ("created_at", ["0001-01-01T00:00:00.000001Z", "-", "-"]),
            ("updated_at", ["-", "9999-12-31T23:59:59.999999Z", "-"]),
            ("title", ["null", "-", "b"]),
            ("number", ["", "-", "-"]),
            ("status", ["-", "'\"\\\\ü\u{1f600},{}", "-"]),
            ("unread_count", [&low, "-", &high]),
            ("metadata", [r#""null""#, r#"{"k":"\\u0000"}"#, "-"]),
            ("extra", ["-", "-", "[]"]),
        ] {
            assert_eq!(column(&database, name).await, values, "{name}");
        }
        let real =
            |text: &str| format!("classification_amount = cast('{text}' as double precision)");
        for text in ["5e-324", "1.7976931348623157e308"] {
            assert_eq!(database.count("sessions", &real(text)).await, 1, "{text}");
        }
        assert_eq!(database.count("sessions", "run_id is null").await, 0);
    })
    .await;
}

#[tokio::test]
async fn whether_something_is_false_or_unknown_is_kept_apart() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let rows = ["true", "null", "false"]
            .iter()
            .zip(1..)
            .map(|(is_default, number)| {
                row(
                    &tables::DEPARTMENTS,
                    id(number),
                    &[("is_default", is_default)],
                )
            })
            .collect();
        let batch = batch(&tables::DEPARTMENTS, rows);
        writer.try_commit(&batch, &[], 1).await.unwrap();
        let sql = "select case when is_default then 'yes' when not is_default then 'no' end \
                   from departments order by id";
        assert_eq!(database.texts(sql).await, ["yes", "-", "no"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_lacks_a_value_is_refused_with_all_that_came_with_it() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let whole = row(&tables::TAGS, id(1), &[("name", r#""secret""#)]);
        let mut values = Values::default();
        for value in whole.values.iter().skip(1) {
            values.push(|text| text.push_str(value));
        }
        let short = Row {
            key: id(2),
            values,
            ..whole.clone()
        };
        let batch = batch(&tables::TAGS, vec![whole, short]);
        let error = writer.try_commit(&batch, &[], 1).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "row {} of tags has 5 values for 6 columns, so nothing of this transaction was \
                 stored. This is a bug in helena-sync; please report this line",
                id(2)
            )
        );
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(database.count("tags", "true").await, 0);
    })
    .await;
}
