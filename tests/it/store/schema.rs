//! The tables: the same in both databases, and what the descriptors say.

use std::collections::{BTreeMap, BTreeSet};

use helena_sync::data::ColumnType;
use helena_sync::schema::tables;
use helena_sync::store::{OpenOptions, Store, StoreError};

use crate::support::database::{self, Database, on_both};

/// Type of every column, by table and column, in the database's words.
async fn columns(database: &Database) -> BTreeMap<(String, String), String> {
    let sql = match database.kind {
        database::Kind::Sqlite => {
            "select m.name || ' ' || c.name || ' ' || lower(c.type) from sqlite_master m \
             join pragma_table_xinfo(m.name) c where m.type in ('table', 'view')"
        }
        database::Kind::Postgres => {
            "select table_name || ' ' || column_name || ' ' || data_type \
             from information_schema.columns where table_schema = 'public'"
        }
    };
    database
        .texts(sql)
        .await
        .iter()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut next = || words.next().unwrap().to_owned();
            ((next(), next()), next())
        })
        .filter(|((table, _), _)| table != "_sqlx_migrations")
        .collect()
}

fn word(database: database::Kind, kind: ColumnType) -> &'static str {
    match (database, kind) {
        (database::Kind::Sqlite, ColumnType::Uuid | ColumnType::Time | ColumnType::Json)
        | (_, ColumnType::Text) => "text",
        (database::Kind::Sqlite, ColumnType::Bool | ColumnType::Int) => "integer",
        (database::Kind::Sqlite, ColumnType::Real) => "real",
        (database::Kind::Postgres, ColumnType::Uuid) => "uuid",
        (database::Kind::Postgres, ColumnType::Time) => "timestamp with time zone",
        (database::Kind::Postgres, ColumnType::Bool) => "boolean",
        (database::Kind::Postgres, ColumnType::Int) => "bigint",
        (database::Kind::Postgres, ColumnType::Real) => "double precision",
        (database::Kind::Postgres, ColumnType::Json) => "jsonb",
    }
}

#[tokio::test]
async fn every_column_of_every_descriptor_exists_with_its_type() {
    on_both(|database| async move {
        let columns = columns(&database).await;
        for table in tables::ALL {
            for column in table.columns {
                assert_eq!(
                    columns
                        .get(&(table.name.to_owned(), column.name.to_owned()))
                        .map(String::as_str),
                    Some(word(database.kind, column.kind)),
                    "{}.{}",
                    table.name,
                    column.name
                );
            }
        }
    })
    .await;
}

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    let names = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(format!(
            "{}/migrations/{folder}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("columns");
    on_both(move |database| {
        let path = path.clone();
        async move {
            let names = columns(&database).await.into_keys();
            let names: Vec<String> = names
                .map(|(table, column)| format!("{table}.{column}"))
                .collect();
            let text = names.join("\n");
            if database.kind == database::Kind::Sqlite {
                std::fs::write(path, text).unwrap();
            } else {
                assert_eq!(std::fs::read_to_string(path).unwrap(), text);
            }
        }
    })
    .await;
}

/// Every primary key, unique constraint aside, and every foreign key: `table (columns)` and
/// `table (columns) -> parent (columns)`.
async fn keys(database: &Database) -> BTreeSet<String> {
    let sql = match database.kind {
        database::Kind::Sqlite => {
            "select m.name || ' (' || (select group_concat(name, ', ') from \
             (select name from pragma_table_info(m.name) where pk > 0 order by pk)) || ')' \
             from sqlite_master m where m.type = 'table' and m.name not like '\\_%' escape '\\' \
             union all select owner || ' (' || group_concat(child, ', ') || ') -> ' || parent || ' (' \
             || group_concat(of, ', ') || ')' from (select m.name as owner, f.id as number, \
             f.\"from\" as child, f.\"table\" as parent, f.\"to\" as of from sqlite_master m, \
             pragma_foreign_key_list(m.name) f where m.type = 'table' order by 1, 2, f.seq) \
             group by owner, number"
        }
        database::Kind::Postgres => {
            "select cast(conrelid as regclass) || ' (' || (select string_agg(attname, ', ' order by n) \
             from unnest(conkey) with ordinality as k (a, n) \
             join pg_attribute on attrelid = conrelid and attnum = a) || ')' \
             || case contype when 'f' then ' -> ' || cast(confrelid as regclass) || ' (' \
             || (select string_agg(attname, ', ' order by n) \
             from unnest(confkey) with ordinality as k (a, n) \
             join pg_attribute on attrelid = confrelid and attnum = a) || ')' else '' end \
             from pg_constraint where connamespace = to_regnamespace('public') \
             and contype in ('p', 'f') and conrelid <> to_regclass('_sqlx_migrations')"
        }
    };
    database.texts(sql).await.into_iter().collect()
}

#[tokio::test]
async fn keys_are_the_same_in_both_databases_and_those_of_agents_alone_have_two_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    on_both(move |database| {
        let path = path.clone();
        async move {
            let keys = keys(&database).await;
            let text: Vec<&str> = keys.iter().map(String::as_str).collect();
            let text = text.join("\n");
            if database.kind == database::Kind::Sqlite {
                std::fs::write(path, &text).unwrap();
            } else {
                assert_eq!(std::fs::read_to_string(path).unwrap(), text);
            }
            let (foreign, primary): (Vec<&String>, Vec<&String>) =
                keys.iter().partition(|key| key.contains(" -> "));
            assert!(foreign.len() > 20, "{text}");
            for key in foreign {
                let (child, parent) = key.split_once(" -> ").unwrap();
                let is_of_agents = parent == "agents (user_id, account_id)";
                assert!(!child.contains(", ") || is_of_agents, "{key}");
            }
            for table in tables::ALL {
                let account = if table.per_account {
                    ", account_id"
                } else {
                    ""
                };
                let key = format!("{} ({}{account})", table.name, table.key);
                assert!(primary.contains(&&key), "{key}: {text}");
                let shared = ["agents", "office_hours"].contains(&table.name);
                assert_eq!(table.per_account, shared, "{}", table.name);
            }
            for key in [
                "contact_tags (contact_id, tag_id)",
                "session_tags (session_id, tag_id)",
            ] {
                assert!(primary.contains(&&key.to_owned()), "{key}: {text}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_without_tables_is_too_old_and_one_with_unknown_migrations_too_new() {
    let empty = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    let error = empty.check_schema().await.unwrap_err();
    assert!(matches!(error, StoreError::TooOld { .. }), "{error}");
    assert!(error.to_string().contains("helena-sync migrate"), "{error}");

    on_both(|database| async move {
        let store = &database.store;
        store.check_schema().await.unwrap();
        assert_eq!(store.migrate().await.unwrap(), Vec::<String>::new());
        database
            .execute(
                "update _sqlx_migrations set version = 29990101000000 \
                 where version = (select max(version) from _sqlx_migrations)",
            )
            .await;
        for error in [
            store.check_schema().await.unwrap_err(),
            store.migrate().await.unwrap_err(),
        ] {
            assert!(
                matches!(
                    error,
                    StoreError::TooNew {
                        version: 29_990_101_000_000
                    }
                ),
                "{error}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn two_processes_may_migrate_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/m.db", folder.path().display());
    let (mut admin, postgres) = database::create().await;
    for url in [&url, &postgres] {
        let options = OpenOptions::default();
        let first = Store::open(url, &options).await.unwrap();
        let second = Store::open(url, &options).await.unwrap();
        let (one, other) = tokio::join!(first.migrate(), second.migrate());
        one.unwrap();
        other.unwrap();
        first.check_schema().await.unwrap();
        first.close().await;
        second.close().await;
    }
    database::drop(&mut admin, &postgres).await;
}

#[tokio::test]
async fn a_database_in_memory_works() {
    let store = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    let StoreError::TooOld { missing } = store.check_schema().await.unwrap_err() else {
        panic!("it is empty");
    };
    assert_eq!(store.migrate().await.unwrap(), missing);
    let account = store
        .account("default", "https://api.helena.run", super::at(0))
        .await
        .unwrap();
    assert_eq!(store.accounts().await.unwrap()[0].id, account);
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_without_showing_its_password() {
    for url in [
        "mysql://u:hunter2@h/db",
        "helena.db",
        "postgres://u:hunter2@h:port/db",
    ] {
        let error = Store::open(url, &OpenOptions::default()).await.unwrap_err();
        assert!(matches!(error, StoreError::Url(_)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite://{}/no/such/folder/m.db", folder.path().display());
    for url in [missing.as_str(), "postgres://u:hunter2@127.0.0.1:1/db"] {
        let error = Store::open(url, &OpenOptions::default()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    let read_only = OpenOptions { read_only: true };
    let url = format!("sqlite://{}/m.db", folder.path().display());
    let error = Store::open(&url, &read_only).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(!folder.path().join("m.db").exists());
}
