//! What changes in an account, and what the mirror makes of it.

use std::time::Duration;

use helena_sync::sandbox::{ContactStatus, SandboxAccount};
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good};
use crate::support::truth::Scope;

/// A contact with some sessions, and those.
fn attended(account: &mut SandboxAccount) -> (Uuid, Vec<Uuid>) {
    let sessions = account.truth_sessions();
    let read = |value: &serde_json::Value| -> Option<Uuid> { value.as_str()?.parse().ok() };
    account
        .contact_ids()
        .into_iter()
        .map(|contact| {
            let of: Vec<Uuid> = sessions
                .iter()
                .filter(|session| {
                    read(&session["contactId"]) == Some(contact)
                        && session["contactDetails"].is_object()
                })
                .filter_map(|session| read(&session["id"]))
                .collect();
            (contact, of)
        })
        .find(|(_, sessions)| sessions.len() > 1)
        .unwrap()
}

#[tokio::test]
async fn tags_that_a_contact_no_longer_wears_disappear_and_sessions_remember_theirs() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        let ((contact, sessions), tags) =
            mirror.change(|account| (attended(account), account.tags()));
        mirror.change(|account| account.set_contact_tags(contact, &tags[..3]));
        mirror.load().await;
        mirror.quiet().await;
        mirror.assert_mirrors().await;

        mirror.change(|account| account.set_contact_tags(contact, &tags[2..4]));
        mirror.quiet().await;
        // The contact wears the new ones; its sessions were not read again.
        let scope = Scope {
            session_tags: false,
            ..Scope::default()
        };
        mirror.assert_mirrors_within(&scope).await;
        let of = |session: Uuid| {
            let sql = format!(
                "select cast(tag_id as text) from session_tags where session_id = '{session}' \
                 order by 1"
            );
            let database = mirror.database.clone();
            async move { database.texts(&sql).await }
        };
        let sorted = |tags: &[Uuid]| {
            let mut tags: Vec<String> = tags.iter().map(Uuid::to_string).collect();
            tags.sort_unstable();
            tags
        };
        for session in &sessions {
            assert_eq!(of(*session).await, sorted(&tags[..3]));
        }
        // A session that goes on wears what the contact wears then; the others keep theirs.
        mirror.change(|account| {
            account.update_session(sessions[0], |session| session.unread_count += 1);
        });
        mirror.quiet().await;
        assert_eq!(of(sessions[0]).await, sorted(&tags[2..4]));
        assert_eq!(of(sessions[1]).await, sorted(&tags[..3]));
        mirror.assert_mirrors_within(&scope).await;

        mirror.change(|account| account.set_contact_tags(contact, &[]));
        mirror.quiet().await;
        mirror.assert_mirrors_within(&scope).await;
        let worn = format!("contact_id = '{contact}'");
        assert_eq!(mirror.database.count("contact_tags", &worn).await, 0);
    })
    .await;
}

#[tokio::test]
async fn rows_of_lists_that_vanish_are_marked_and_come_back() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(150)).await;
        mirror.load().await;
        mirror.quiet().await;
        let removed =
            async |table: &str| mirror.database.count(table, "removed_at is not null").await;
        let tables = ["tags", "channels", "departments", "agents"];
        let mut before = Vec::new();
        for table in tables {
            before.push(removed(table).await);
        }
        let (tag, channel, department, agent) = mirror.change(|account| {
            let gone = (
                account.tags()[0],
                account.channels()[0],
                account.departments()[0],
                account.agents()[0],
            );
            assert!(account.remove_tag(gone.0));
            assert!(account.remove_channel(gone.1));
            assert!(account.remove_department(gone.2));
            assert!(account.remove_agent(gone.3));
            gone
        });
        mirror.clock.advance(Duration::from_mins(1));
        assert_good(&mirror.sync().await);
        // That a tag is gone does not touch the `updatedAt` of who wore it.
        let contacts = [helena_sync::data::Resource::Contacts];
        mirror.engine.verify(&contacts, 0, mirror.limits()).await;
        mirror
            .assert_mirrors_within(&Scope {
                session_tags: false,
                ..Scope::default()
            })
            .await;
        for (table, before) in tables.into_iter().zip(&before) {
            assert_eq!(removed(table).await, before + 1, "{table}");
        }
        // Sessions still name them.
        let named = format!("channel_id = '{channel}'");
        assert!(mirror.database.count("sessions", &named).await > 0);

        mirror.change(|account| {
            assert!(account.restore_tag(tag));
            assert!(account.restore_channel(channel));
            assert!(account.restore_department(department));
            assert!(account.restore_agent(agent));
            account.rename_tag(tag, "De volta");
        });
        mirror.clock.advance(Duration::from_mins(1));
        assert_good(&mirror.sync().await);
        mirror.engine.verify(&contacts, 0, mirror.limits()).await;
        mirror.assert_mirrors().await;
        for (table, before) in tables.into_iter().zip(&before) {
            assert_eq!(removed(table).await, *before, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_added_to_lists_and_renamed_in_them_is_mirrored() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.load().await;
        mirror.clock.advance(Duration::from_mins(10));
        mirror.change(|account| {
            let (tag, channel) = (account.add_tag("Nova"), account.add_channel("Loja 9"));
            let (department, agent) = (
                account.add_department("Pós-venda"),
                account.add_agent("Zoé"),
            );
            let (tags, agents) = (account.tags(), account.agents());
            account.rename_tag(tags[1], "Outra");
            account.rename_agent(agents[1], "Maria de Outra");
            let contact = account.contact_ids()[3];
            account.set_contact_tags(contact, &[tag]);
            let mut session = account.draft_session();
            session.contact_id = Some(contact);
            session.channel_id = channel;
            session.department_id = Some(department);
            session.user_id = Some(agent);
            account.insert_session(session);
        });
        mirror.quiet().await;
        let scope = Scope {
            session_tags: false,
            ..Scope::default()
        };
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}

#[tokio::test]
async fn references_to_what_no_list_shows_are_kept() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.change(|account| {
            for _ in 0..3 {
                let mut session = account.draft_session();
                session.contact_id = Some(account.new_id());
                session.channel_id = account.new_id();
                session.department_id = Some(account.new_id());
                session.user_id = Some(account.new_id());
                account.insert_session(session);
            }
        });
        mirror.load().await;
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn contacts_that_move_between_statuses_are_followed() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(150)).await;
        mirror.load().await;
        let contacts = mirror.change(SandboxAccount::contact_ids);
        for round in 0..4 {
            mirror.clock.advance(Duration::from_secs(40));
            mirror.change(|account| {
                for (number, id) in contacts.iter().enumerate().take(40) {
                    let statuses = [
                        ContactStatus::Active,
                        ContactStatus::Archived,
                        ContactStatus::Blocked,
                    ];
                    let status = statuses[(number + round) % 3];
                    account.update_contact(*id, |contact| contact.status = status);
                }
            });
            assert_good(&mirror.pass().await);
            mirror.assert_mirrors().await;
        }
    })
    .await;
}

const fn name_of(status: ContactStatus) -> &'static str {
    match status {
        ContactStatus::Active => "ACTIVE",
        ContactStatus::Archived => "ARCHIVED",
        ContactStatus::Blocked => "BLOCKED",
        ContactStatus::Undefined => "UNDEFINED",
    }
}

/// One contact leaves the list of a status and another enters it, so that the counts agree, and a
/// third moves over the border of a page that was read already.
#[tokio::test]
async fn contacts_that_swap_statuses_while_their_list_is_read_hide_no_third_one() {
    use ContactStatus::{Active, Archived, Blocked};
    // Where the one goes has been read, or is still to be read.
    for (read, goes, comes) in [(Active, Archived, Archived), (Blocked, Active, Archived)] {
        on_both(move |database| async move {
            let mut plan = Plan::of(20);
            plan.sandbox.contacts = Some(100);
            plan.walk.concurrency = 1;
            let mirror = Mirror::begin(database, plan).await;
            mirror.change(|account| {
                for (number, id) in account.contact_ids().into_iter().enumerate() {
                    let status = if number % 8 == 7 { comes } else { read };
                    account.update_contact(id, |contact| contact.status = status);
                }
            });
            mirror.clock.advance(Duration::from_mins(10));
            let mut swaps = 0;
            mirror.sandbox.on_answer(move |account, seen| {
                let is_first = seen.path.ends_with("/contact")
                    && seen.param("Status") == Some(name_of(read))
                    && seen.param("CreatedAt.Before").is_some()
                    && seen.param("PageNumber") == Some("1")
                    && seen.items == 20;
                if !is_first || swaps == 1 {
                    return;
                }
                swaps += 1;
                let mut contacts = account.truth_contacts();
                contacts.sort_by_key(|contact| contact["createdAt"].to_string());
                let id = |it: &serde_json::Value| it["id"].as_str().unwrap().parse().unwrap();
                let mut oldest = contacts.iter();
                let leaves = id(oldest.find(|it| it["status"] == name_of(read)).unwrap());
                let mut newest = contacts.iter().rev();
                let enters = id(newest.find(|it| it["status"] == name_of(comes)).unwrap());
                account.update_contact(leaves, |contact| contact.status = goes);
                account.update_contact(enters, |contact| contact.status = read);
            });
            mirror.load().await;
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        })
        .await;
    }
}

#[tokio::test]
async fn details_that_are_no_longer_asked_for_are_not_cleared() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, Plan::of(150)).await;
        mirror.load().await;
        let filled = async |mirror: &Mirror| {
            let database = &mirror.database;
            [
                database
                    .count("sessions", "classification_id is not null")
                    .await,
                database.count("sessions", "channel_type is not null").await,
                database.count("session_tags", "true").await,
                database.count("contact_tags", "true").await,
                database.count("contacts", "picture_url is not null").await,
                database
                    .count("departments", "description is not null")
                    .await,
            ]
        };
        let before = filled(&mirror).await;
        assert!(before.iter().all(|count| *count > 0), "{before:?}");

        mirror.plan.details = Vec::new();
        mirror.restart().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.clock.advance(Duration::from_mins(10));
        mirror.change(|account| {
            for id in &ids {
                account.update_session(*id, |session| session.unread_count += 1);
            }
        });
        mirror.quiet().await;
        assert_eq!(filled(&mirror).await, before);
        mirror.assert_mirrors().await;
        // New sessions are stored with what is known of them.
        mirror.change(|account| {
            let mut session = account.draft_session();
            session.contact_id = account.contact_ids().first().copied();
            account.insert_session(session)
        });
        mirror.quiet().await;
        assert_eq!(mirror.database.count("sessions", "true").await, 151);
    })
    .await;
}

#[tokio::test]
async fn a_field_that_the_vendor_adds_is_kept_from_the_first_day() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(80)).await;
        mirror.load().await;
        assert_eq!(
            mirror.database.count("sessions", "extra is not null").await,
            0
        );
        let ids = mirror.change(|account| {
            account.moods.extra_fields = true;
            account.session_ids()
        });
        mirror.clock.advance(Duration::from_mins(10));
        mirror.change(|account| {
            for id in &ids[..30] {
                account.update_session(*id, |session| session.unread_count += 1);
            }
        });
        mirror.quiet().await;
        let found = mirror.database.count("sessions", "extra is not null").await;
        assert!(found >= 30, "{found}");
        // Whatever has not changed since is read again by a backfill.
        for resource in [
            helena_sync::data::Resource::Sessions,
            helena_sync::data::Resource::Contacts,
        ] {
            let filters = vec![helena_sync::data::SessionFilter::default()];
            let span = helena_sync::data::Span::OPEN;
            let engine = &mirror.engine;
            engine
                .plan_backfill(resource, span, filters, false, mirror.limits())
                .await
                .unwrap();
        }
        assert_good(&mirror.sync().await);
        mirror.assert_mirrors().await;
        let keys = mirror
            .database
            .store
            .extra_keys(mirror.account)
            .await
            .unwrap();
        let named = keys
            .iter()
            .find(|keys| keys.resource == helena_sync::data::Resource::Sessions);
        assert_eq!(named.unwrap().keys, ["sentimentScore", "vendorBeta"]);
    })
    .await;
}
