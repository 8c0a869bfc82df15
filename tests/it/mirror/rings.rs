//! What a read stores that the platform's call causes, and what it leaves to passes.

use std::collections::HashSet;

use helena_sync::data::{Resource, Rung};
use helena_sync::sandbox::ContactStatus;
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, OVERLAP, Plan, assert_good, sessions};

impl Mirror {
    /// Follows a call about these records. Returns those whose change was shown.
    async fn ring(&self, resource: Resource, ids: &[Uuid], by_id: bool) -> HashSet<Uuid> {
        let rung = Rung {
            resource,
            ids: ids.to_vec(),
            by_id,
        };
        let (run, shown) = self.engine.ring(&rung, self.limits()).await.unwrap();
        assert_good(&[run]);
        shown
    }
}

#[tokio::test]
async fn a_call_moves_no_watermark_past_what_it_did_not_read() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        mirror.load().await;
        mirror.clock.advance(OVERLAP * 3);
        mirror.pass().await;
        let before = mirror.watermarks().await;
        let states = "select resource || partition || ' ' || coalesce(cast(last_success_at as text), '-') \
                      || ' ' || coalesce(cast(observed_at as text), '-') from sync_state order by 1";
        let stored = mirror.database.texts(states).await;

        // Three pages change, of which a call reads the newest one.
        let ids: Vec<Uuid> = mirror.change(|account| account.session_ids()[..60].to_vec());
        for id in &ids {
            mirror.clock.advance(std::time::Duration::from_millis(100));
            mirror.change(|account| account.update_session(*id, |it| it.title = Some("Novo".into())));
        }
        mirror.sandbox.take_requests();
        let shown = mirror.ring(Resource::Sessions, &ids, false).await;
        assert_eq!(shown, ids[40..].iter().copied().collect());
        assert_eq!(mirror.sandbox.take_requests().len(), 1);
        assert_eq!(mirror.database.count("sessions", "title = 'Novo'").await, 20);
        assert_eq!(mirror.watermarks().await, before);
        assert_eq!(mirror.database.texts(states).await, stored);

        // What was shown before is not news.
        let again = mirror.ring(Resource::Sessions, &ids, false).await;
        assert_eq!(again, HashSet::new());
        let unchanged = "kind = 'ring' and rows_unchanged = 20 and rows_updated = 0";
        assert_eq!(mirror.database.count("sync_runs", unchanged).await, 1);

        // The next pass reads the others.
        assert_good(&mirror.pass().await);
        assert_eq!(mirror.database.count("sessions", "title = 'Novo'").await, 60);
        assert_ne!(mirror.watermark(sessions()).await, before[0].1);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_record_is_read_by_id_where_no_list_shows_it_and_one_that_is_not_found_is_not_removed() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.load().await;
        let (contact, gone) = mirror.change(|account| {
            let contact = account.contact_ids()[4];
            account.update_contact(contact, |it| it.status = ContactStatus::Archived);
            let gone = account.session_ids()[7];
            account.delete_session(gone);
            (contact, gone)
        });
        // The list of active contacts lacks it.
        let listed = mirror.ring(Resource::Contacts, &[contact], false).await;
        assert_eq!(listed, HashSet::new());
        let invented = Uuid::from_u128(7);
        let shown = mirror
            .ring(Resource::Contacts, &[invented, contact], true)
            .await;
        assert_eq!(shown, [contact].into());
        assert_eq!(
            mirror.ring(Resource::Sessions, &[gone], true).await,
            HashSet::new()
        );
        assert_eq!(
            mirror
                .database
                .count("sessions", "removed_at is not null")
                .await,
            0
        );
        let archived = format!("status = 'ARCHIVED' and id = '{contact}'");
        assert_eq!(mirror.database.count("contacts", &archived).await, 1);
        assert_eq!(
            mirror
                .database
                .count("contacts", &format!("id = '{invented}'"))
                .await,
            0
        );
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_lags_behind_takes_nothing_back() {
    on_both(|database| async move {
        let mut plan = Plan::of(60);
        plan.sandbox.moods.stale_max = OVERLAP / 2;
        let mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        mirror.clock.advance(OVERLAP * 3);
        let id = mirror.change(|account| account.session_ids()[7]);
        mirror.change(|account| account.update_session(id, |it| it.title = Some("Novo".into())));
        assert_eq!(
            mirror.ring(Resource::Sessions, &[id], false).await,
            [id].into()
        );
        // A replica that has not seen the change answers.
        mirror.clock.advance(OVERLAP / 4);
        mirror.change(|account| account.moods.stale_share = 1.0);
        for by_id in [false, true] {
            assert_eq!(
                mirror.ring(Resource::Sessions, &[id], by_id).await,
                HashSet::new()
            );
            assert_eq!(mirror.database.count("sessions", "title = 'Novo'").await, 1);
        }
        mirror.change(|account| account.moods.stale_share = 0.0);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_before_the_first_load_leaves_everything_to_it() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(20)).await;
        for resource in [Resource::Sessions, Resource::Contacts] {
            let rung = Rung {
                resource,
                ids: Vec::new(),
                by_id: false,
            };
            assert!(mirror.engine.ring(&rung, mirror.limits()).await.is_none());
        }
        assert_eq!(mirror.database.count("sync_runs", "true").await, 0);
        mirror.load().await;
        mirror.assert_mirrors().await;
    })
    .await;
}
