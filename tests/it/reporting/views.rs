//! The views in the database: when they are made, and what stays with them.

use super::{now, settings};
use crate::support::database::{Database, Kind, on_both};

/// Takes a migration back that only made these indexes.
async fn forget_migration(database: &Database) {
    for table in ["contact_tags", "session_tags", "raw_records"] {
        database
            .execute(&format!("drop index {table}_change_seq"))
            .await;
    }
    let forget = "delete from _sqlx_migrations where version = 20261204000000";
    database.execute(forget).await;
}

async fn views(database: &Database) -> i64 {
    match database.kind {
        Kind::Sqlite => {
            database
                .count("sqlite_master", "type = 'view' and name like 'report%'")
                .await
        }
        Kind::Postgres => {
            database
                .count(
                    "pg_views",
                    "schemaname = 'public' and viewname like 'report%'",
                )
                .await
        }
    }
}

#[tokio::test]
async fn views_are_made_anew_when_their_text_is_another_one() {
    on_both(|database| async move {
        let store = &database.store;
        store.keep_reports(&settings(), now()).await.unwrap();
        assert_eq!(views(&database).await, 16);
        let stale = "drop view report_stage_times; \
                     update report_settings set views_hash = 'of an earlier version', views_version = 0";
        database.execute(stale).await;
        store.migrate().await.unwrap();
        assert_eq!(views(&database).await, 16);
        assert_eq!(database.count("report_settings", "views_version > 0").await, 1);
        // Those of a later version stay.
        let later = "drop view report_stage_times; \
                     update report_settings set views_hash = 'of a later version', views_version = 99";
        database.execute(later).await;
        store.migrate().await.unwrap();
        assert_eq!(views(&database).await, 15);
    })
    .await;
}

#[tokio::test]
async fn a_migration_takes_the_views_away_and_gives_them_back_with_rights_and_comments() {
    on_both(|database| async move {
        let store = &database.store;
        store.keep_reports(&settings(), now()).await.unwrap();
        let is_postgres = database.kind == Kind::Postgres;
        if is_postgres {
            database
                .execute(
                    "grant select on report_daily to public; grant select on report_tags to public",
                )
                .await;
        }
        let ids = match database.kind {
            Kind::Sqlite => "select 'x'",
            Kind::Postgres => "select cast(cast(to_regclass('report_daily') as oid) as text)",
        };
        let before = database.text(ids).await;
        forget_migration(&database).await;
        assert_eq!(store.migrate().await.unwrap().len(), 1);
        assert_eq!(views(&database).await, 16);
        if is_postgres {
            assert_ne!(database.text(ids).await, before);
            let granted = "table_name like 'report%' and grantee = 'PUBLIC'";
            assert_eq!(
                database
                    .count("information_schema.role_table_grants", granted)
                    .await,
                2
            );
            let comment = "select coalesce(col_description(to_regclass('report_daily'), 2), '')";
            assert_eq!(database.text(comment).await, "The local day.");
        }
        // A view of somebody else's on ours goes on, too.
        let mine = "create view mine as select day, opened from report_daily";
        database.execute(mine).await;
        forget_migration(&database).await;
        assert_eq!(store.migrate().await.unwrap().len(), 1);
        assert_eq!(views(&database).await, 16);
        assert_eq!(database.count("mine", "day > '1900-01-01'").await, 0);
        let stale = "update report_settings set views_hash = 'x', views_version = 0";
        database.execute(stale).await;
        store.migrate().await.unwrap();
        assert_eq!(database.count("mine", "day > '1900-01-01'").await, 0);
    })
    .await;
}

/// The columns of each view in their order, a line each.
async fn columns(database: &Database) -> String {
    let mut lines = Vec::new();
    for (view, _) in super::rows::views() {
        let sql = match database.kind {
            Kind::Sqlite => format!("select name from pragma_table_info('{view}') order by cid"),
            Kind::Postgres => format!(
                "select cast(column_name as text) from information_schema.columns \
                 where table_schema = 'public' and table_name = '{view}' order by ordinal_position"
            ),
        };
        for (column, place) in database.texts(&sql).await.iter().zip(1..) {
            lines.push(format!("{view} {place} {column}"));
        }
    }
    lines.join("\n")
}

#[tokio::test]
async fn columns_keep_their_places_and_new_ones_come_last() {
    // A line of this may only be added, behind those of its view: Postgres refuses to replace a view
    // otherwise, and a query by place would read another column.
    on_both(|database| async move {
        insta::assert_snapshot!("columns_of_views", columns(&database).await);
    })
    .await;
}
