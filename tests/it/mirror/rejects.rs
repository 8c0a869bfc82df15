//! Records that are broken: what can be kept is kept, the rest is a reject with its reason, and no
//! neighbour is held up.

use std::collections::HashSet;
use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{ContactStatus, Poison, SandboxAccount};
use uuid::Uuid;

use crate::support::database::{Database, Kind, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good};
use crate::support::truth::Scope;

fn except(ids: &[Uuid]) -> Scope {
    Scope {
        except: ids.iter().map(Uuid::to_string).collect(),
        ..Scope::default()
    }
}

async fn session(database: &Database, id: Uuid, column: &str) -> String {
    let sql = format!("select cast({column} as text) from sessions where id = '{id}'");
    database.text(&sql).await
}

/// Poisons one session and one contact before the first load.
async fn poisoned(database: Database, poison: Poison) -> (Mirror, Uuid, Uuid) {
    let mirror = Mirror::begin(database, Plan::of(90)).await;
    let (session, contact) = mirror.change(|account| {
        // No pass reads again what changed long ago.
        let found = account
            .truth_sessions()
            .into_iter()
            .filter(|session| {
                session["contactDetails"]["tagsId"]
                    .as_array()
                    .is_some_and(|t| t.len() > 1)
            })
            .min_by_key(|session| session["updatedAt"].as_str().unwrap().to_owned())
            .unwrap();
        let session: Uuid = found["id"].as_str().unwrap().parse().unwrap();
        let named = found["contactId"]
            .as_str()
            .unwrap()
            .parse::<Uuid>()
            .unwrap();
        let contacts = account.contact_ids();
        // Each pass reads the newest contact of a status again, and a status may have only one.
        let others = contacts.into_iter().filter(|id| *id != named);
        let active = others.filter_map(|id| account.contact(id).map(|it| (it.updated_at, id, it)));
        let (_, contact, _) = active
            .filter(|(_, _, it)| it.status == ContactStatus::Active)
            .min_by_key(|(at, id, _)| (*at, *id))
            .unwrap();
        account.poison(session, poison);
        account.poison(contact, poison);
        (session, contact)
    });
    let runs = mirror.sync().await;
    assert_good(&runs);
    (mirror, session, contact)
}

/// Once they are shown as they should be, and have changed, everything is as if nothing had been.
async fn heals(mirror: &Mirror, session: Uuid, contact: Uuid) {
    mirror.change(|account| {
        account.heal(session);
        account.heal(contact);
        account.update_session(session, |session| session.unread_count += 1);
        account.rename_contact(contact, "Sã");
    });
    mirror.quiet().await;
    mirror.assert_mirrors().await;
}

#[tokio::test]
async fn records_without_a_readable_id_are_rejects_and_their_neighbours_are_stored() {
    for poison in [Poison::BrokenId, Poison::NoId, Poison::NotAnObject] {
        on_both(move |database| async move {
            let (mirror, session, contact) = poisoned(database, poison).await;
            mirror
                .assert_mirrors_within(&except(&[session, contact]))
                .await;
            let rejects = mirror.rejects().await;
            assert_eq!(rejects.len(), 2, "{rejects:?}");
            for reject in &rejects {
                assert!(!reject.partial && reject.record_id.is_none());
                let says = if poison == Poison::NotAnObject {
                    "object"
                } else {
                    "id"
                };
                assert!(reject.reason.contains(says), "{}", reject.reason);
            }
            let raw = if poison == Poison::BrokenId {
                "not-a-uuid"
            } else {
                ""
            };
            assert!(rejects.iter().all(|reject| reject.raw.contains(raw)));
            assert_eq!(
                mirror
                    .database
                    .count("sessions", "updated_at is not null")
                    .await,
                89
            );
            heals(&mirror, session, contact).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_wrong_type_costs_one_field_and_is_resolved_by_a_good_version() {
    on_both(|database| async move {
        let (mirror, id, contact) = poisoned(database, Poison::WrongType).await;
        mirror.assert_mirrors_within(&except(&[id, contact])).await;
        assert_eq!(session(&mirror.database, id, "unread_count").await, "-");
        assert_ne!(session(&mirror.database, id, "status").await, "-");
        let rejects = mirror.rejects().await;
        assert_eq!(rejects.len(), 2, "{rejects:?}");
        for (resource, path, record) in [
            ("sessions", "unreadCount", id),
            ("contacts", "email", contact),
        ] {
            let reject = rejects
                .iter()
                .find(|reject| reject.resource == resource)
                .unwrap();
            assert!(reject.partial && reject.reason.contains(path), "{reject:?}");
            assert_eq!(reject.record_id, Some(record));
        }
        heals(&mirror, id, contact).await;
        assert_eq!(mirror.rejects().await, []);
    })
    .await;
}

#[tokio::test]
async fn rejected_records_are_fetched_again_by_their_id() {
    on_both(|database| async move {
        let (mirror, session, contact) = poisoned(database, Poison::WrongType).await;
        // Nobody changes them: no pass would meet them again.
        mirror.change(|account| {
            account.heal(session);
            account.heal(contact);
        });
        mirror.quiet().await;
        assert_eq!(mirror.rejects().await.len(), 2);
        for (resource, id) in [(Resource::Sessions, session), (Resource::Contacts, contact)] {
            let run = mirror
                .engine
                .retry_rejects(resource, &HashSet::from([id]), mirror.limits())
                .await;
            assert_good(&[run]);
        }
        assert_eq!(mirror.rejects().await, []);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn nul_disappears_and_megabytes_stay() {
    on_both(|database| async move {
        let (mirror, id, contact) = poisoned(database.clone(), Poison::Nul).await;
        mirror.assert_mirrors_within(&except(&[id, contact])).await;
        assert_eq!(
            session(&mirror.database, id, "last_message_text").await,
            "antesdepois"
        );
        assert_eq!(mirror.rejects().await, []);
        let name = format!("select name from contacts where id = '{contact}'");
        assert_eq!(mirror.database.text(&name).await, "antesdepois");
        mirror.change(|account| {
            account.poison(id, Poison::Megabyte);
            account.update_session(id, |session| session.unread_count += 1);
        });
        mirror.quiet().await;
        let length = session(&mirror.database, id, "length(last_message_text)").await;
        assert_eq!(length, (150_000 * "grande ".len()).to_string());
        heals(&mirror, id, contact).await;
    })
    .await;
}

#[tokio::test]
async fn what_can_be_bent_is_bent_without_a_reject() {
    on_both(|database| async move {
        let kind = database.kind;
        let mirror = Mirror::begin(database, Plan::of(90)).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.change(|account| {
            account.poison(ids[0], Poison::UnknownEnum);
            account.poison(ids[1], Poison::DaySpan);
            account.poison(ids[2], Poison::NullSpan);
        });
        mirror.load().await;
        mirror.assert_mirrors_within(&except(&ids[..3])).await;
        let database = &mirror.database;
        assert_eq!(session(database, ids[0], "status").await, "ON_HOLD");
        assert_eq!(
            session(database, ids[1], "time_service").await,
            "1.02:03:04"
        );
        assert_eq!(
            session(database, ids[1], "time_service_seconds").await,
            "93784"
        );
        assert_eq!(session(database, ids[2], "time_wait").await, "-");
        assert_eq!(mirror.rejects().await, []);
        assert!(matches!(kind, Kind::Sqlite | Kind::Postgres));
    })
    .await;
}

#[tokio::test]
async fn lists_of_tags_of_unequal_length_keep_the_tags() {
    on_both(|database| async move {
        let (mirror, session, contact) = poisoned(database, Poison::UnequalTags).await;
        // The names are kept as they came, since nobody knows whose they are.
        mirror
            .assert_mirrors_within(&except(&[session, contact]))
            .await;
        let worn = mirror.truth_tags_of(session);
        let links = format!("session_id = '{session}'");
        assert_eq!(mirror.database.count("session_tags", &links).await, worn);
        heals(&mirror, session, contact).await;
    })
    .await;
}

#[tokio::test]
async fn a_year_in_which_every_tenth_record_is_broken_is_mirrored_around_them() {
    on_both(|database| async move {
        let mut plan = Plan::of(300);
        plan.sandbox.moods.poison_share = 0.1;
        let mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        let broken: Vec<Uuid> = mirror.change(|account| {
            let mut ids = account.session_ids();
            ids.extend(account.contact_ids());
            ids.retain(|id| account.poison_of(*id).is_some());
            ids
        });
        assert!(broken.len() > 20);
        mirror.assert_mirrors_within(&except(&broken)).await;
        assert!(!mirror.rejects().await.is_empty());
        mirror.change(|account| {
            account.moods.poison_share = 0.0;
            for id in &broken {
                if !account.update_session(*id, |session| session.unread_count += 1) {
                    account.rename_contact(*id, "Sã");
                }
            }
        });
        mirror.clock.advance(Duration::from_secs(1));
        mirror.quiet().await;
        mirror.assert_mirrors().await;
        let open = mirror.rejects().await;
        assert!(
            open.iter().all(|reject| reject.record_id.is_none()),
            "{open:?}"
        );
    })
    .await;
}

impl Mirror {
    fn truth_tags_of(&self, session: Uuid) -> i64 {
        self.change(|account| {
            let contact = account.session(session).unwrap().contact_id.unwrap();
            i64::try_from(account.contact(contact).unwrap().tags.len()).unwrap()
        })
    }
}

#[tokio::test]
async fn a_rejected_record_that_is_gone_when_it_is_fetched_again_is_no_reject_any_more() {
    on_both(|database| async move {
        let (mirror, id, _) = poisoned(database, Poison::WrongType).await;
        mirror.change(|account| account.delete_session(id));
        let ids = HashSet::from([id]);
        let retried = mirror
            .engine
            .retry_rejects(Resource::Sessions, &ids, mirror.limits());
        assert_good(&[retried.await]);
        let left = mirror.rejects().await;
        assert!(
            left.iter().all(|reject| reject.record_id != Some(id)),
            "{left:?}"
        );
        assert_ne!(session(&mirror.database, id, "removed_at").await, "-");
    })
    .await;
}
