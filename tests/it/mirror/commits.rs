//! A database that refuses a write: nothing of the transaction is there, nothing is claimed, and the
//! next pass makes up for it.

use std::time::Duration;

use helena_sync::sandbox::SandboxAccount;
use helena_sync::store::StoreError;
use helena_sync::sync::{FailureAction, RunError};
use uuid::Uuid;

use crate::support::database::{Database, Kind, on_both, through_a_proxy};
use crate::support::mirror::{Mirror, Plan, failures, sessions};
use crate::support::truth::Scope;

impl Database {
    /// Makes every write of one row fail.
    async fn refuse(&self, table: &str, id: Uuid) {
        let sql = match self.kind {
            Kind::Sqlite => format!(
                "create trigger refuse_insert before insert on {table} when new.id = '{id}' \
                 begin select raise(abort, 'refused by a test'); end; \
                 create trigger refuse_update before update on {table} when new.id = '{id}' \
                 begin select raise(abort, 'refused by a test'); end;"
            ),
            Kind::Postgres => format!(
                "create function refuse() returns trigger language plpgsql as $$ \
                 begin raise exception 'refused by a test'; end $$; \
                 create trigger refuse before insert or update on {table} for each row \
                 when (new.id = '{id}') execute function refuse();"
            ),
        };
        self.execute(&sql).await;
    }

    async fn accept(&self, table: &str) {
        let sql = match self.kind {
            Kind::Sqlite => "drop trigger refuse_insert; drop trigger refuse_update;".to_owned(),
            Kind::Postgres => format!("drop trigger refuse on {table}; drop function refuse();"),
        };
        self.execute(&sql).await;
    }
}

#[tokio::test]
async fn a_commit_that_fails_leaves_rows_and_watermark_untouched_and_the_next_pass_completes() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(100)).await;
        mirror.load().await;
        mirror.quiet().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.change(|account| {
            for id in &ids[40..55] {
                account.update_session(*id, |session| session.unread_count += 1);
            }
            let session = account.draft_session();
            account.insert_session(session);
        });
        mirror.clock.advance(Duration::from_secs(30));
        let before = (mirror.watermark(sessions()).await, mirror.contents().await);
        mirror.database.refuse("sessions", ids[54]).await;

        let runs = mirror.pass().await;
        let error = runs[0].error.as_ref().unwrap();
        assert!(
            matches!(error, RunError::Store(StoreError::Database { .. })),
            "{error:?}"
        );
        assert_eq!(error.action(), FailureAction::EndPass);
        assert!(
            error.line().contains("refused by a test"),
            "{}",
            error.line()
        );
        let after = (mirror.watermark(sessions()).await, mirror.contents().await);
        assert_eq!(after, before);
        let recorded = mirror
            .database
            .text("select outcome from sync_runs where error is not null")
            .await;
        assert_eq!(recorded, "failed");

        mirror.database.accept("sessions").await;
        mirror.clock.advance(Duration::from_secs(30));
        assert_eq!(failures(&mirror.pass().await), []);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_between_others_keeps_those_before_it() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(400)).await;
        mirror.load().await;
        mirror.quiet().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        for id in &ids {
            mirror.clock.advance(Duration::from_millis(100));
            mirror.change(|account| account.update_session(*id, |s| s.unread_count += 1));
        }
        mirror.clock.advance(Duration::from_mins(10));
        mirror.database.refuse("sessions", ids[390]).await;
        assert_eq!(failures(&mirror.pass().await).len(), 1);
        // The watermark has not passed the row that is missing, and all behind it is there.
        let watermark = mirror.watermark(sessions()).await.unwrap();
        let missing = mirror.change(|account| account.session(ids[390]).unwrap().updated_at);
        assert!(watermark < missing.timestamp());
        let truth = mirror.change(|account| {
            let mut proved = 0;
            for id in &ids {
                let at = account.session(*id).unwrap().updated_at.timestamp();
                proved += i64::from(at <= watermark);
            }
            proved
        });
        let run = "run_id in (select max(id) from sync_runs where resource = 'sessions')";
        assert!(mirror.database.count("sessions", run).await >= truth);
        mirror.database.accept("sessions").await;
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_first_load_whose_commit_fails_goes_on_with_the_same_window() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, Plan::of(300)).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.database.refuse("sessions", ids[150]).await;
        let failed = failures(&mirror.sync().await);
        assert_eq!(failed.len(), 1, "{failed:?}");
        let left = mirror
            .database
            .store
            .unfinished_backfills(mirror.account)
            .await
            .unwrap();
        assert!(
            left.iter()
                .any(|backfill| backfill.first_load && backfill.windows_left > 0)
        );
        mirror.database.accept("sessions").await;
        mirror.restart().await;
        assert_eq!(failures(&mirror.sync().await), []);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_cannot_be_stored_marks_nothing_as_removed() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(40)).await;
        mirror.load().await;
        mirror.quiet().await;
        let before = mirror.contents().await;
        let renamed = mirror.change(|account| {
            let tags = account.tags();
            account.remove_tag(tags[0]);
            account.rename_tag(tags[1], "Outra");
            tags[1]
        });
        mirror.database.refuse("tags", renamed).await;
        let runs = mirror
            .engine
            .lists(&[helena_sync::data::Resource::Tags], mirror.limits())
            .await;
        assert_eq!(failures(&runs).len(), 1);
        assert_eq!(mirror.contents().await, before);
        mirror.database.accept("tags").await;
        mirror.quiet().await;
        let contacts = [helena_sync::data::Resource::Contacts];
        mirror.engine.verify(&contacts, 0, mirror.limits()).await;
        let scope = Scope::of_churn();
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}

#[tokio::test]
async fn a_pass_whose_database_vanishes_ends_and_a_later_one_completes() {
    through_a_proxy(Duration::from_secs(2), |database, proxy| async move {
        let mirror = Mirror::begin(database, Plan::of(100)).await;
        mirror.load().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        for point in ["commit", "begin"] {
            mirror.clock.advance(Duration::from_secs(30));
            mirror.change(|account| {
                for id in &ids[40..55] {
                    account.update_session(*id, |session| session.unread_count += 1);
                }
            });
            proxy.silence_at(point);
            let failed = failures(&mirror.pass().await);
            assert!(!failed.is_empty(), "{point}");
            assert!(failed[0].1.contains("no answer"), "{failed:?}");
            while !failures(&mirror.pass().await).is_empty() {}
        }
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}
