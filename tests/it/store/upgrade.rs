//! Databases that earlier versions filled, those of other programs, and migrations that were changed.

use std::collections::BTreeMap;
use std::time::Duration;

use helena_sync::data::{Resource, SessionFilter, Span, StreamState};
use helena_sync::store::{Acquired, Holder, NewBackfill, OpenOptions, Store, StoreError};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Writer, at, id, session};
use crate::support::database::{self, Database, Kind, on_both};

/// The first migration, and what the version that had no other left in its database.
fn filled(kind: Kind) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let (folder, own) = match kind {
        Kind::Sqlite => (
            "sqlite",
            "create table _sqlx_migrations (version bigint primary key, description text not null, \
             installed_on timestamp not null default current_timestamp, success boolean not null, \
             checksum blob not null, execution_time bigint not null);",
        ),
        Kind::Postgres => (
            "postgres",
            "create table _sqlx_migrations (version bigint primary key, description text not null, \
             installed_on timestamptz not null default now(), success boolean not null, \
             checksum bytea not null, execution_time bigint not null);",
        ),
    };
    let read = |path: String| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let first = read(format!("migrations/{folder}/20261122000000_mirror.sql"));
    let rows = read(format!("tests/upgrade/{folder}.sql"));
    format!("{own}\n{first}\n{rows}")
}

/// What a second account had stored before keys had one column. Its agents are those of the first
/// one.
const SECOND_ACCOUNT: &str = "
    insert into accounts (name, base_url, created_at)
    values ('south', 'https://api.helena.run/', '2026-12-01T03:44:56.000000Z');
    insert into tags (id, name, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000001', 'VIP', 2, 1, '2026-12-01T03:44:56.000000Z', 7);
    insert into channels (id, active, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000002', null, 2, 1, '2026-12-01T03:44:56.000000Z', 7);
    insert into departments (id, name, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000003', 'Sul', 2, 1, '2026-12-01T03:44:56.000000Z', 7);
    insert into agents (user_id, id, name, account_id, run_id, synced_at, change_seq)
    select user_id, id, 'elsewhere', 2, 1, synced_at, 8 from agents;
    insert into contacts (id, name, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000004', 'Eva', 2, 1, '2026-12-01T03:44:56.000000Z', 8);
    insert into sessions
        (id, contact_id, channel_id, department_id, user_id, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000004',
        '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003',
        (select user_id from agents where account_id = 2 order by user_id limit 1),
        2, 1, '2026-12-01T03:44:56.000000Z', 9);
    insert into contact_tags (contact_id, tag_id, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000001',
        2, 1, '2026-12-01T03:44:56.000000Z', 9);
    insert into session_tags (session_id, tag_id, account_id, run_id, synced_at, change_seq)
    values ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000001',
        2, 1, '2026-12-01T03:44:56.000000Z', 9);
    insert into raw_records (resource, id, json, account_id, run_id, synced_at, change_seq)
    select 'agents', user_id, '{}', account_id, 1, synced_at, 9 from agents;
";

/// The database that [`filled`] makes, of the version before keys had one column, with two accounts.
fn filled_before_keys(kind: Kind) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let (folder, success, checksum) = match kind {
        Kind::Sqlite => (
            "sqlite",
            "1",
            "x'377aecbfca1d9b5037bf249170e95b9baf2970740e73fdeb96528c04c616e6f2\
             b1887d8457307955f8d92e1c1be8e9c7'",
        ),
        Kind::Postgres => (
            "postgres",
            "true",
            "'\\xa1e7f3fb8cf35a01787d4a8db6b87fd45e90d6bbbcfe4b1e42b86b347a74e1ab\
             14729907002c33dba4b5e640ede93440'",
        ),
    };
    let second = "20261130000000_order_of_changes_gaps_rechecks";
    let second = std::fs::read_to_string(format!("{root}/migrations/{folder}/{second}.sql"));
    format!(
        "{}\n{}\n{SECOND_ACCOUNT}\n\
         insert into _sqlx_migrations (version, description, success, checksum, execution_time) values \
         (20261130000000, 'order of changes gaps rechecks', {success}, {checksum}, 1);",
        filled(kind),
        second.unwrap()
    )
}

/// An empty database of each kind, to be filled by hand.
async fn on_both_empty<F, Fut>(story: F)
where
    F: Fn(Database) -> Fut,
    Fut: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirror.db");
    let url = format!("sqlite://{}", path.display());
    let file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    file.connect().await.unwrap().close().await.unwrap();
    let options = OpenOptions::default();
    let open = async |kind, url: String| {
        let opened = Store::open(&url, &options).await.unwrap();
        Database {
            kind,
            url,
            store: opened,
        }
    };
    let database = open(Kind::Sqlite, url).await;
    story(database.clone()).await;
    database.store.close().await;

    let (mut admin, url) = database::create().await;
    let database = open(Kind::Postgres, url.clone()).await;
    story(database.clone()).await;
    database.store.close().await;
    database::drop(&mut admin, &url).await;
}

/// Every row of every table, with the columns that the table has now.
async fn contents(
    database: &Database,
    columns: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Vec<String>> {
    let mut contents = BTreeMap::new();
    for (table, columns) in columns {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| format!("coalesce(cast({column} as text), '-')"))
            .collect();
        let sql = format!(
            "select {} from {table} order by 1",
            fields.join(" || '|' || ")
        );
        contents.insert(table.clone(), database.texts(&sql).await);
    }
    contents
}

async fn columns(database: &Database) -> BTreeMap<String, Vec<String>> {
    let sql = match database.kind {
        Kind::Sqlite => {
            "select m.name || ' ' || c.name from sqlite_master m \
             join pragma_table_info(m.name) c where m.type = 'table' and m.name not like '\\_%' \
             escape '\\' and m.name not like 'sqlite%'"
        }
        Kind::Postgres => {
            "select table_name || ' ' || column_name from information_schema.columns \
             where table_schema = 'public' and table_name <> '_sqlx_migrations'"
        }
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in database.texts(sql).await {
        let (table, column) = line.split_once(' ').unwrap();
        tables
            .entry(table.to_owned())
            .or_default()
            .push(column.to_owned());
    }
    tables
}

/// Which part of a resource a run has read has a column of its own.
fn name_parts_apart(contents: &mut BTreeMap<String, Vec<String>>) {
    for run in contents.get_mut("sync_runs").unwrap() {
        for part in ["ACTIVE", "ARCHIVED", "BLOCKED"] {
            *run = run.replace(&format!("contacts ({part})"), "contacts");
        }
    }
}

/// Fails unless all rows are there as they were, but for what an upgrade does on purpose.
fn assert_kept(before: &BTreeMap<String, Vec<String>>, mut after: BTreeMap<String, Vec<String>>) {
    // Whoever held a lease has lost it.
    assert_eq!(before["leases"].len(), after["leases"].len());
    assert_ne!(before["leases"], after["leases"]);
    after.insert("leases".to_owned(), before["leases"].clone());
    // All sessions are to be read again, from the version of their list that leaves out none.
    for (table, planned) in [("backfills", 1), ("backfill_windows", 2)] {
        let rows = after.get_mut(table).unwrap();
        assert_eq!(rows.len(), before[table].len() + planned, "{table}");
        rows.retain(|row| before[table].contains(row));
    }
    assert_eq!(&after, before);
}

#[tokio::test]
async fn a_database_that_the_first_version_filled_is_upgraded_with_all_its_rows() {
    on_both_empty(|database| async move {
        database.execute(&filled(database.kind)).await;
        let store = &database.store;
        let missing = match store.check_schema().await.unwrap_err() {
            StoreError::TooOld { missing } => missing,
            other => panic!("{other}"),
        };
        let columns = columns(&database).await;
        let mut before = contents(&database, &columns).await;
        assert!(before["sessions"].len() > 5 && before["raw_records"].len() == 5);

        assert_eq!(store.migrate().await.unwrap(), missing);
        store.check_schema().await.unwrap();
        name_parts_apart(&mut before);
        assert_kept(&before, contents(&database, &columns).await);
        for part in ["ACTIVE", "ARCHIVED", "BLOCKED"] {
            let of_part = format!("resource = 'contacts' and partition = '{part}'");
            assert!(database.count("sync_runs", &of_part).await > 0, "{part}");
        }
        for table in ["sessions", "contacts", "session_tags", "leases"] {
            assert_eq!(database.count(table, "change_seq <> 1").await, 0, "{table}");
        }

        // Work goes on: the state is read, and what is stored comes after what was there.
        let account = store.find_account("default").await.unwrap().unwrap().id;
        let states = store.states(account).await.unwrap();
        assert!(
            states.iter().all(|state| state.watermark.is_some()),
            "{states:?}"
        );
        assert_eq!(states.len(), 4);
        let planned = store.unfinished_backfills(account).await.unwrap();
        let [rereading] = planned.as_slice() else {
            panic!("{planned:?}");
        };
        assert_eq!(rereading.resource, Resource::Sessions);
        assert_eq!((rereading.first_load, rereading.range), (false, Span::OPEN));
        assert_eq!(rereading.filters, [SessionFilter::default()]);
        // What was planned before syncs left requested backfills alone is resumed by them.
        assert!(!rereading.on_request && !rereading.is_cancellable());
        assert_eq!(rereading.records, None);
        let windows = store.pending_windows(rereading.id).await.unwrap();
        let sessions = Resource::Sessions.streams()[0];
        let of_sessions = |state: &&StreamState| state.stream == sessions;
        let border = states.iter().find(of_sessions).unwrap().watermark;
        let border = border.unwrap();
        let spans: Vec<_> = windows.iter().map(|window| window.created).collect();
        let older = Span {
            after: None,
            before: Some(border),
        };
        assert_eq!(spans, [Span::after(border), older]);
        let lease = match store
            .acquire(account, &Holder::current(), at(0))
            .await
            .unwrap()
        {
            Acquired::Lease(lease) => lease,
            Acquired::Held(held) => panic!("held by {}", held.by),
        };
        let writer = Writer::under(&database, lease).await;
        writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let newest = "(select change_seq from leases) and change_seq > 1";
        let stored = format!("id = '{}' and change_seq = {newest}", id(1));
        assert_eq!(database.count("sessions", &stored).await, 1);
        // Asking for the same again takes the place of what was planned.
        let again = NewBackfill {
            resource: Resource::Sessions,
            first_load: false,
            on_request: false,
            records: None,
            range: Span::OPEN,
            filters: vec![SessionFilter::default()],
            windows: vec![(sessions, Span::OPEN, 0)],
            watermarks: Vec::new(),
        };
        let again = store.create_backfill(&writer.lease, &again, at(1)).await;
        let again = again.unwrap();
        let planned = store.unfinished_backfills(account).await.unwrap();
        let ids: Vec<_> = planned.iter().map(|backfill| backfill.id).collect();
        assert_eq!(ids, [again]);
    })
    .await;
}

/// Takes a migration back that only made these indexes, and planned what is not planned again.
async fn forget_migration(database: &Database) {
    let indexes = ["contact_tags", "session_tags", "raw_records"];
    for table in indexes {
        let drop = format!("drop index {table}_change_seq");
        database.execute(&drop).await;
    }
    let forget = "delete from _sqlx_migrations where version = 20261204000000";
    database.execute(forget).await;
}

#[tokio::test]
async fn a_process_that_is_older_than_the_tables_writes_no_more() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        forget_migration(&database).await;
        let store = &database.store;
        let newer = Store::open(&database.url, &OpenOptions::default()).await;
        let newer = newer.unwrap();
        assert_eq!(newer.migrate().await.unwrap().len(), 1);
        // It has the lease no more, and nobody has to wait for it.
        let batch = super::batch(Resource::Sessions, &[session(2, 2)], 2);
        let refused = writer.try_commit(&batch, &[], 2).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        let refused = store.renew(&writer.lease, at(2)).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        let lease = super::lease(&newer, writer.account, at(3)).await;
        newer.release(&lease).await.unwrap();
        // Where nothing is to be done, nobody loses anything.
        let lease = super::lease(&newer, writer.account, at(4)).await;
        assert_eq!(newer.migrate().await.unwrap(), Vec::<String>::new());
        newer.renew(&lease, at(5)).await.unwrap();
        newer.release(&lease).await.unwrap();
        newer.close().await;

        // A migration that this program does not know keeps it from taking the lease.
        let unknown = "insert into _sqlx_migrations \
             (version, description, success, checksum, execution_time) \
             select 29991231000000, 'of the future', success, checksum, 1 from _sqlx_migrations \
             where version = 20261122000000";
        database.execute(unknown).await;
        let refused = store
            .acquire(writer.account, &Holder::current(), at(6))
            .await;
        assert!(
            matches!(
                refused,
                Err(StoreError::TooNew {
                    version: 29_991_231_000_000
                })
            ),
            "{refused:?}"
        );
        assert_eq!(database.count("leases", "released_at is null").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_migration_names_those_who_hold_its_locks_and_no_timeout_of_the_server_ends_it() {
    on_both(|database| async move {
        if database.kind == Kind::Sqlite {
            return;
        }
        let name = database.url.rsplit('/').next().unwrap();
        let short = format!("alter database \"{name}\" set statement_timeout = '1s'");
        forget_migration(&database).await;
        database.execute(&short).await;
        let url = format!("{}?application_name=reports", database.url);
        let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("begin; lock table session_tags in row exclusive mode")
            .execute(&mut other)
            .await
            .unwrap();
        let store = Store::open(&database.url, &OpenOptions::default()).await;
        let store = store.unwrap().with_patience(Duration::from_secs(12));
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
        assert!(
            error.to_string().contains("(reports, idle in transaction)"),
            "{error}"
        );
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        assert_eq!(store.migrate().await.unwrap().len(), 1);
        store.close().await;
    })
    .await;
}

/// The indexes that have names of ours, each with its table.
async fn indexes(database: &Database) -> Vec<String> {
    let sql = match database.kind {
        Kind::Sqlite => {
            "select tbl_name || ' ' || name from sqlite_master \
             where type = 'index' and sql is not null order by 1"
        }
        Kind::Postgres => {
            "select tablename || ' ' || indexname from pg_indexes where schemaname = 'public' \
             and indexname not like '%\\_pkey' and indexname not like '%\\_key' order by 1"
        }
    };
    database.texts(sql).await
}

#[tokio::test]
async fn a_database_with_keys_of_two_columns_is_upgraded_with_all_its_rows() {
    on_both_empty(|database| async move {
        database.execute(&filled_before_keys(database.kind)).await;
        // An analyst's.
        let view = "create view attended as select s.id, c.name from sessions s \
                    left join contacts c on c.id = s.contact_id and c.account_id = s.account_id";
        database.execute(view).await;
        let attended = "select cast(id as text) || coalesce(name, '') from attended order by 1";
        let attended_before = database.texts(attended).await;
        assert_eq!(attended_before.len(), 13);
        let columns = columns(&database).await;
        let mut before = contents(&database, &columns).await;
        name_parts_apart(&mut before);
        let indexes_before = indexes(&database).await;
        assert!(indexes_before.len() > 20, "{indexes_before:?}");
        for table in ["agents", "raw_records"] {
            assert!(before[table].len() > 20, "{table}");
        }

        let store = &database.store;
        let applied = store.migrate().await.unwrap();
        assert_eq!(applied[0], "20261201000000_keys_of_one_column");
        store.check_schema().await.unwrap();
        assert_kept(&before, contents(&database, &columns).await);
        assert_eq!(database.texts(attended).await, attended_before);
        let indexes = indexes(&database).await;
        for index in &indexes_before {
            assert!(indexes.contains(index), "{index}");
        }
        if database.kind == Kind::Sqlite {
            let broken = "select \"table\" from pragma_foreign_key_check";
            assert_eq!(database.texts(broken).await, Vec::<String>::new());
            assert_eq!(
                database.text("select * from pragma_integrity_check").await,
                "ok"
            );
            let left = "name like 'old%' or sql like '%\"old\\_%' escape '\\'";
            assert_eq!(database.count("sqlite_master", left).await, 0);
        }

        // Work goes on.
        let writer = Writer::named(&database, "south").await;
        writer.store(Resource::Sessions, &[session(9, 1)], 1).await;
        let stored = format!("id = '{}' and account_id = 2", id(9));
        assert_eq!(database.count("sessions", &stored).await, 1);
    })
    .await;
}

#[tokio::test]
async fn ids_of_two_accounts_are_told_before_anything_is_changed() {
    on_both_empty(|database| async move {
        database.execute(&filled_before_keys(database.kind)).await;
        let copies = "insert into tags (id, name, account_id, run_id, synced_at) \
                      select id, 'theirs', 2, 1, synced_at from tags where account_id = 1; \
                      insert into contacts (id, account_id, run_id, synced_at) \
                      select contact_id, 2, 1, synced_at from sessions \
                      where account_id = 1 order by contact_id limit 1;";
        database.execute(copies).await;
        let columns = columns(&database).await;
        let before = contents(&database, &columns).await;
        let store = &database.store;
        let missing = match store.check_schema().await.unwrap_err() {
            StoreError::TooOld { missing } => missing,
            other => panic!("{other}"),
        };
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(error, StoreError::SharedIds { .. }), "{error:?}");
        let accounts = "with rows of more than one of the accounts \"default\", \"south\"";
        let text = error.to_string();
        for told in [
            format!("1 id of contacts {accounts}, 20 ids of tags {accounts}"),
            "and changed nothing".to_owned(),
            "docs/troubleshooting.md".to_owned(),
        ] {
            assert!(text.contains(&told), "{text}");
        }
        assert!(!text.contains("sessions"), "{text}");
        assert_eq!(contents(&database, &columns).await, before);
        assert!(store.check_schema().await.is_err());

        // What the document says.
        for table in [
            "session_tags",
            "contact_tags",
            "sessions",
            "contacts",
            "tags",
            "channels",
            "departments",
            "agents",
            "raw_records",
            "sync_state",
        ] {
            let sql = format!("delete from {table} where account_id = 2");
            database.execute(&sql).await;
        }
        assert_eq!(store.migrate().await.unwrap(), missing);
        assert_eq!(database.count("tags", "account_id = 1").await, 20);
    })
    .await;
}

#[tokio::test]
async fn the_database_of_another_program_is_named_as_such_and_left_alone() {
    let migrated = "create table _sqlx_migrations (version bigint primary key, \
                    description text not null, success boolean not null, checksum text not null); \
                    insert into _sqlx_migrations values (20240101000000, 'theirs', true, 'x');";
    let bare = "create table accounts (id integer primary key, balance integer);";
    for (theirs, shown) in [(migrated, "20240101000000"), (bare, "table accounts")] {
        on_both_empty(move |database| async move {
            // Both write a checksum as bytes.
            let theirs = match database.kind {
                Kind::Sqlite => theirs
                    .replace("checksum text", "checksum blob")
                    .replace("'x'", "x'00'"),
                Kind::Postgres => theirs.replace("checksum text", "checksum bytea"),
            };
            database.execute(&theirs).await;
            for error in [
                database.store.check_schema().await.unwrap_err(),
                database.store.migrate().await.unwrap_err(),
            ] {
                let text = error.to_string();
                assert!(matches!(error, StoreError::Foreign { .. }), "{text}");
                assert!(text.contains("another program"), "{text}");
                assert!(text.contains(shown), "{text}");
            }
            let columns = columns(&database).await;
            assert!(!columns.contains_key("sessions"), "{columns:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_migration_that_was_applied_with_another_text_is_told() {
    on_both(|database| async move {
        let other = match database.kind {
            Kind::Sqlite => "x'00'",
            Kind::Postgres => "'\\x00'::bytea",
        };
        let sql = format!(
            "update _sqlx_migrations set checksum = {other} where version = 20261122000000"
        );
        database.execute(&sql).await;
        for error in [
            database.store.check_schema().await.unwrap_err(),
            database.store.migrate().await.unwrap_err(),
        ] {
            let text = error.to_string();
            let version = 20_261_122_000_000;
            assert!(
                matches!(error, StoreError::Altered { version: told } if told == version),
                "{text}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn two_notations_of_a_brazilian_number_have_one_key_also_in_rows_of_earlier_versions() {
    on_both_empty(|database| async move {
        database.execute(&filled(database.kind)).await;
        let (id, other) = (
            "00000000-0000-0000-0000-0000000000a1",
            "00000000-0000-0000-0000-0000000000a2",
        );
        for (id, number) in [(id, "+551187654321"), (other, "+5511987654321")] {
            let sql = format!(
                "insert into contacts (id, phone_e164, account_id, run_id, synced_at, change_seq) \
                 values ('{id}', '{number}', 1, 1, '2026-12-01T03:44:56.000000Z', 99)"
            );
            // Columns that a later version added are not there yet.
            let sql = sql.replace(", change_seq)", ")").replace(", 99)", ")");
            database.execute(&sql).await;
        }
        database.store.migrate().await.unwrap();
        let keys = format!("phone_key = '+5511987654321' and id in ('{id}', '{other}')");
        assert_eq!(database.count("contacts", &keys).await, 2);
        let written = format!("phone_e164 = '+551187654321' and id = '{id}'");
        assert_eq!(database.count("contacts", &written).await, 1);
        for (number, key) in [
            ("+551133334444", "+551133334444"),
            ("+5511912345678", "+5511912345678"),
            ("+551199998888", "+5511999998888"),
            ("+351912345678", "+351912345678"),
        ] {
            let sql = format!("update contacts set phone_e164 = '{number}' where id = '{id}'");
            database.execute(&sql).await;
            let found = format!("select phone_key from contacts where id = '{id}'");
            assert_eq!(database.text(&found).await, key);
        }
        let empty = format!("update contacts set phone_e164 = null where id = '{id}'");
        database.execute(&empty).await;
        let none = format!("phone_key is null and id = '{id}'");
        assert_eq!(database.count("contacts", &none).await, 1);
    })
    .await;
}
