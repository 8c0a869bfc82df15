//! The tables: the same in both databases, and what the descriptors say.

use std::collections::{BTreeMap, BTreeSet};

use helena_sync::data::Kind;
use helena_sync::schema::tables;
use helena_sync::store::{OpenOptions, Store, StoreError};

use crate::support::database::{self, Database, on_both};

/// Type of every column, by table and column, in the database's words.
async fn columns(database: &Database) -> BTreeMap<(String, String), String> {
    let sql = match database.kind {
        database::Kind::Sqlite => {
            "select m.name || ' ' || c.name || ' ' || lower(c.type) from sqlite_master m \
             join pragma_table_info(m.name) c where m.type = 'table'"
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

fn word(database: database::Kind, kind: Kind) -> &'static str {
    match (database, kind) {
        (database::Kind::Sqlite, Kind::Uuid | Kind::Text | Kind::Time | Kind::Json) => "text",
        (database::Kind::Sqlite, Kind::Bool | Kind::Int) => "integer",
        (database::Kind::Sqlite, Kind::Real) => "real",
        (database::Kind::Postgres, Kind::Uuid) => "uuid",
        (database::Kind::Postgres, Kind::Text) => "text",
        (database::Kind::Postgres, Kind::Time) => "timestamp with time zone",
        (database::Kind::Postgres, Kind::Bool) => "boolean",
        (database::Kind::Postgres, Kind::Int) => "bigint",
        (database::Kind::Postgres, Kind::Real) => "double precision",
        (database::Kind::Postgres, Kind::Json) => "jsonb",
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
            let text: String = names
                .map(|(table, column)| format!("{table}.{column}\n"))
                .collect();
            if database.kind == database::Kind::Sqlite {
                std::fs::write(path, text).unwrap();
            } else {
                assert_eq!(std::fs::read_to_string(path).unwrap(), text);
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
            .execute("update _sqlx_migrations set version = 29990101000000")
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
async fn a_database_in_memory_works() {
    let store = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    assert_eq!(store.migrate().await.unwrap().len(), 1);
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
        assert!(error.is_temporary(), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    let read_only = OpenOptions { read_only: true };
    let url = format!("sqlite://{}/m.db", folder.path().display());
    assert!(
        Store::open(&url, &read_only)
            .await
            .unwrap_err()
            .is_temporary()
    );
    assert!(!folder.path().join("m.db").exists());
}
