//! The program behind a real `PgBouncer`, and with a certificate of a private authority.

use rustix::process::Signal;

use super::program::{Place, account};
use crate::support::bouncer::{Bouncer, certificates};
use crate::support::database::{self, Kind};
use helena_sync::store::{OpenOptions, Store};

/// What poolers are told to ignore so that other drivers work.
const IGNORED: &str = "ignore_startup_parameters = extra_float_digits,options";

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_works_with_and_without_ignored_parameters() {
    let sandbox = account(60).await;
    for more in ["", IGNORED] {
        let (mut admin, url) = database::create().await;
        let bouncer = Bouncer::before(&url, "session", more).await;
        let mut place = Place::beside(&sandbox)
            .with("DATABASE_URL", &bouncer.url(&url))
            // It would be lost if the pooler ignored it.
            .with("HELENA_SYNC__DATABASE__SCHEMA", "Vendas 2");
        place.kind = Kind::Postgres;
        place.database_url.clone_from(&url);
        place.succeeds(&["sync"]).await;
        place.succeeds(&["check"]).await;
        place.succeeds(&["status"]).await;
        // They read one state of the database in one transaction.
        place.succeeds(&["report", "--last", "3m"]).await;
        place.succeeds(&["export", "--output", "exported"]).await;
        let again = place.succeeds(&["sync"]).await;
        again.says(&["nothing new"]);
        let database = database::Database {
            kind: Kind::Postgres,
            url: url.clone(),
            store: Store::open(&url, &OpenOptions::default()).await.unwrap(),
        };
        assert_eq!(database.count("\"Vendas 2\".sessions", "true").await, 60);
        let elsewhere = "schemaname not in ('Vendas 2', 'pg_catalog', 'information_schema')";
        assert_eq!(database.count("pg_tables", elsewhere).await, 0);
        database.store.close().await;
        database::drop(&mut admin, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_or_statement_mode_is_refused_at_once() {
    let sandbox = account(5).await;
    let (mut admin, url) = database::create().await;
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", IGNORED),
        ("transaction", "default_pool_size = 1"),
        ("statement", ""),
    ] {
        let bouncer = Bouncer::before(&url, mode, more).await;
        let place = Place::beside(&sandbox).with("DATABASE_URL", &bouncer.url(&url));
        let told = ["connection pooler", "session mode", "5432 instead of 6543"];
        for command in ["run", "sync", "migrate"] {
            place.refuses(&[command], 2, &told).await;
        }
        let done = place.run(&["check", "--json"]).await;
        assert_eq!(done.code, Some(2), "{mode} {more}: {done:?}");
        assert!(done.out.contains("connection pooler"), "{done:?}");
    }
    let bouncer = Bouncer::before(&url, "session", "").await;
    let address = format!("{}?options=-c%20search_path%3Dx", bouncer.url(&url));
    let place = Place::beside(&sandbox).with("DATABASE_URL", &address);
    let told = [
        "connection pooler",
        "unsupported startup parameter",
        "database.schema",
    ];
    place.refuses(&["sync"], 2, &told).await;
    let store = Store::open(&url, &OpenOptions::default()).await;
    let store = store.unwrap();
    assert!(store.is_empty().await.unwrap());
    store.close().await;
    database::drop(&mut admin, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_private_authority_is_accepted_once_the_authority_is_named() {
    let sandbox = account(5).await;
    let (mut admin, url) = database::create().await;
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "localhost");
    let of = |file: &str| folder.path().join(file).display().to_string();
    let (authority, key, certificate) = (of("ca.pem"), of("server.key"), of("server.pem"));
    let more = format!(
        "client_tls_sslmode = require\nclient_tls_key_file = {key}\nclient_tls_cert_file = {certificate}"
    );
    let bouncer = Bouncer::inside(folder, &url, "session", &more).await;
    let address = bouncer.url(&url);
    let with = |parameters: &str, host: &str| {
        let address = address.replace("127.0.0.1", host);
        Place::beside(&sandbox).with("DATABASE_URL", &format!("{address}?{parameters}"))
    };
    let unknown = with("sslmode=verify-full", "localhost");
    let told = ["certificate", "sslrootcert=FILE", "UnknownIssuer"];
    for command in ["sync", "status", "migrate"] {
        unknown.refuses(&[command], 1, &told).await;
    }
    let checked = unknown.run(&["check", "--json"]).await;
    assert!(checked.out.contains("sslrootcert=FILE"), "{checked:?}");
    // The daemon says so, too.
    let mut daemon = unknown.start(&["run"]);
    daemon.says("sslrootcert=FILE").await;
    if !daemon.has_ended() {
        daemon.signal(Signal::TERM);
    }
    daemon.end().await;
    let known = format!("sslmode=verify-full&sslrootcert={authority}");
    with(&known, "localhost").succeeds(&["sync"]).await;
    // A name that the certificate does not have.
    let elsewhere = with(&known, "127.0.0.1");
    let told = ["certificate", "not valid for name"];
    elsewhere.refuses(&["status"], 1, &told).await;
    database::drop(&mut admin, &url).await;
}
