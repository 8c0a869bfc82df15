//! A Postgres that vanishes without a word, in the middle of a transaction.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::store::StoreError;

use super::{Writer, at, batch, session};
use crate::support::database::through_a_proxy;

const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_what_it_was_told_is_told_again() {
    through_a_proxy(PATIENCE, |database, proxy| async move {
        let writer = Writer::new(&database).await;
        for (number, point) in ["insert into sessions", "begin", "commit"]
            .into_iter()
            .enumerate()
        {
            let rows = batch(Resource::Sessions, &[session(1, number as u64 + 1)], 1);
            proxy.silence_at(point);
            let error = writer.try_commit(&rows, &[], 1).await.unwrap_err();
            let StoreError::Unavailable { source, .. } = &error else {
                panic!("{point}: {error:?}");
            };
            assert!(
                source.to_string().contains("no answer within 2s"),
                "{error:?}"
            );
            // The server, too, ends what it hears no more of, and with it its locks.
            while let Err(error) = writer.try_commit(&rows, &[], 1).await {
                assert!(
                    matches!(error, StoreError::Unavailable { .. }),
                    "{point}: {error:?}"
                );
            }
        }
        assert_eq!(database.count("sessions", "true").await, 1);
    })
    .await;
}

#[tokio::test]
async fn who_writes_in_vain_lets_the_lease_run_out() {
    through_a_proxy(PATIENCE, |database, proxy| async move {
        let writer = Writer::new(&database).await;
        let rows = batch(Resource::Sessions, &[session(1, 1)], 1);
        writer.store.renew(&writer.lease, at(1)).await.unwrap();
        proxy.silence_at("commit");
        writer.try_commit(&rows, &[], 1).await.unwrap_err();
        let error = writer.store.renew(&writer.lease, at(2)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("renew the lease"), "{error}");
        while writer.try_commit(&rows, &[], 1).await.is_err() {}
        writer.store.renew(&writer.lease, at(3)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_writes_in_vain_for_one_account_keeps_the_lease_of_another() {
    through_a_proxy(PATIENCE, |database, proxy| async move {
        let north = Writer::named(&database, "north").await;
        let south = Writer::named(&database, "south").await;
        let rows = batch(Resource::Sessions, &[session(1, 1)], 1);
        proxy.silence_at("commit");
        north.try_commit(&rows, &[], 1).await.unwrap_err();
        south.store.renew(&south.lease, at(2)).await.unwrap();
        // Nor does what the other commits say anything of this one.
        south.try_commit(&rows, &[], 2).await.unwrap();
        north.store.renew(&north.lease, at(3)).await.unwrap_err();
        while north.try_commit(&rows, &[], 3).await.is_err() {}
        north.store.renew(&north.lease, at(4)).await.unwrap();
    })
    .await;
}
