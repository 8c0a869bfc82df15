//! Lists that lack what they should show: nothing is taken for gone because of one bad moment.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::List;
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{Database, Kind, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good, failures};

const MINUTE: Duration = Duration::from_mins(1);

const LISTS: [(List, Resource); 4] = [
    (List::Tags, Resource::Tags),
    (List::Channels, Resource::Channels),
    (List::Departments, Resource::Departments),
    (List::Agents, Resource::Agents),
];

async fn loaded(database: Database) -> Mirror {
    let mirror = Mirror::begin(database, Plan::of(60)).await;
    mirror.load().await;
    mirror.quiet().await;
    mirror.assert_mirrors().await;
    mirror
}

async fn removed(mirror: &Mirror) -> i64 {
    let mut removed = 0;
    for (_, resource) in LISTS {
        let table = resource.name();
        removed += mirror.database.count(table, "removed_at is not null").await;
    }
    removed
}

async fn doubted(mirror: &Mirror) -> i64 {
    mirror
        .database
        .count("sync_state", "doubted_at is not null")
        .await
}

#[tokio::test]
async fn lists_that_come_empty_twice_in_the_same_second_mark_nothing() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let before = removed(&mirror).await;
        mirror.change(|account| {
            for (list, _) in LISTS {
                account.lose_entries(list, 1.0, 2);
            }
        });
        let lists = LISTS.map(|(_, resource)| resource);
        assert_good(&mirror.engine.lists(&lists, mirror.limits()).await);
        assert_eq!(removed(&mirror).await, before);
        assert_eq!(doubted(&mirror).await, 4);
        // The next answers are whole again.
        mirror.clock.advance(MINUTE);
        assert_good(&mirror.engine.lists(&lists, mirror.limits()).await);
        assert_eq!(removed(&mirror).await, before);
        assert_eq!(doubted(&mirror).await, 0);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_lost_most_is_believed_once_a_later_reading_agrees() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let before = removed(&mirror).await;
        let tags = mirror.change(|account| account.tags());
        assert!(tags.len() > 5);
        let gone = tags.len() / 2 + 1;
        mirror.change(|account| {
            for tag in &tags[..gone] {
                assert!(account.remove_tag(*tag));
            }
            account.rename_tag(tags[gone], "Renamed");
        });
        let read = async || {
            let run = mirror.engine.list(Resource::Tags, mirror.limits()).await;
            assert_good(&[run]);
            removed(&mirror).await - before
        };
        assert_eq!(read().await, 0);
        // What is shown is stored all the same.
        let renamed = mirror.database.count("tags", "name = 'Renamed'").await;
        assert_eq!(renamed, 1);
        for minutes in [1, 3] {
            mirror.clock.advance(MINUTE * minutes);
            assert_eq!(read().await, 0);
            assert_eq!(doubted(&mirror).await, 1);
        }
        mirror.clock.advance(MINUTE);
        assert_eq!(read().await, i64::try_from(gone).unwrap());
        assert_eq!(doubted(&mirror).await, 0);
        mirror.quiet().await;
        // Who wore the tags is asked for at night. Tags of sessions are history.
        let contacts = [Resource::Contacts];
        mirror.engine.verify(&contacts, 0, mirror.limits()).await;
        let scope = crate::support::truth::Scope {
            session_tags: false,
            ..Default::default()
        };
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}

#[tokio::test]
async fn only_what_two_readings_lack_is_gone() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let before = removed(&mirror).await;
        let tags = mirror.change(|account| account.tags());
        let lost = tags.len() / 2 + 1;
        let (one, other) = (&tags[..lost], &tags[tags.len() - lost..]);
        let read = async || {
            let run = mirror.engine.list(Resource::Tags, mirror.limits()).await;
            assert_good(&[run]);
            removed(&mirror).await - before
        };
        let show_but = |hidden: &[Uuid]| {
            mirror.change(|account| {
                for tag in &tags {
                    account.restore_tag(*tag);
                }
                for tag in hidden {
                    account.remove_tag(*tag);
                }
            });
        };
        show_but(one);
        assert_eq!(read().await, 0);
        // A reading some minutes later that lacks others agrees in those alone which both lack.
        mirror.clock.advance(MINUTE * 6);
        show_but(other);
        let both = i64::try_from(2 * lost - tags.len()).unwrap();
        assert_eq!(read().await, both);
        assert_eq!(doubted(&mirror).await, 1);
        // The others are doubted from now on, and not since the first reading.
        mirror.clock.advance(MINUTE);
        assert_eq!(read().await, both);
        mirror.clock.advance(MINUTE * 5);
        show_but(&tags);
        assert_eq!(read().await, i64::try_from(lost).unwrap());
        assert_eq!(doubted(&mirror).await, 1);
        show_but(&[]);
        assert_eq!(read().await, 0);
        assert_eq!(doubted(&mirror).await, 0);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

/// The links of a tag that was removed are the platform's to say: it takes a deleted tag from its
/// contacts, whose `updatedAt` stays, and may keep one that left the list on those who wear it.
#[tokio::test]
async fn who_wears_a_tag_that_was_removed_is_asked_for_in_the_next_night() {
    on_both(|database| async move {
        let mut plan = Plan::of(300);
        // More pages than a night reads whole.
        plan.walk.page_size = 1;
        plan.sandbox.contacts = Some(120);
        let mirror = Mirror::begin(database, plan).await;
        let contacts = mirror.change(helena_sync::sandbox::SandboxAccount::contact_ids);
        let tags = mirror.change(|account| account.tags());
        mirror.change(|account| {
            for id in &contacts[..80] {
                account.update_contact(*id, |contact| {
                    contact.status = helena_sync::sandbox::ContactStatus::Active;
                });
            }
            for id in &contacts[10..20] {
                account.set_contact_tags(*id, &tags[..2]);
            }
        });
        mirror.load().await;
        mirror.quiet().await;
        let links = async |tag: Uuid| {
            let its = format!("tag_id = '{tag}'");
            mirror.database.count("contact_tags", &its).await
        };
        let (deleted, unlisted) = (tags[0], tags[1]);
        let before = [links(deleted).await, links(unlisted).await];
        assert!(before.iter().all(|worn| *worn >= 10), "{before:?}");
        mirror.change(|account| {
            assert!(account.remove_tag(deleted));
            assert!(account.remove_tag_but_keep_it_on_contacts(unlisted));
        });
        mirror.clock.advance(MINUTE * 20);
        assert_good(&mirror.sync().await);
        let queued = "reason = 'tag_removed'";
        assert!(mirror.database.count("rechecks", queued).await >= 10);
        let contacts = [Resource::Contacts];
        let night = mirror.engine.verify(&contacts, 0, mirror.limits()).await;
        assert!(night.iter().all(|one| one.found().is_some()), "{night:?}");
        assert_eq!(
            [links(deleted).await, links(unlisted).await],
            [0, before[1]]
        );
        assert_eq!(mirror.database.count("rechecks", "true").await, 0);
        let scope = crate::support::truth::Scope::of_churn();
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_lost_few_is_believed_at_once() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let before = removed(&mirror).await;
        let tags = mirror.change(|account| account.tags());
        let gone = tags.len() / 2;
        mirror.change(|account| {
            for tag in &tags[..gone] {
                assert!(account.remove_tag(*tag));
            }
        });
        let run = mirror.engine.list(Resource::Tags, mirror.limits()).await;
        assert_good(&[run]);
        assert_eq!(
            removed(&mirror).await - before,
            i64::try_from(gone).unwrap()
        );
        assert_eq!(doubted(&mirror).await, 0);
    })
    .await;
}

#[tokio::test]
async fn verify_follows_the_same_rule() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let before = removed(&mirror).await;
        let verify = async || {
            let resources = [Resource::Tags, Resource::Agents];
            mirror.engine.verify(&resources, 0, mirror.limits()).await;
            removed(&mirror).await - before
        };
        mirror.change(|account| account.lose_entries(List::Tags, 1.0, 2));
        assert_eq!(verify().await, 0);
        assert_eq!(doubted(&mirror).await, 1);
        mirror.clock.advance(MINUTE * 6);
        assert_eq!(verify().await, 0);
        assert_eq!(doubted(&mirror).await, 0);
        mirror.assert_mirrors().await;

        let agents = mirror.change(|account| {
            let agents = account.agents();
            for agent in &agents {
                assert!(account.remove_agent(*agent));
            }
            agents.len()
        });
        assert_eq!(verify().await, 0);
        mirror.clock.advance(MINUTE * 6);
        assert_eq!(verify().await, i64::try_from(agents).unwrap());
    })
    .await;
}

impl Database {
    /// Makes it impossible to mark a tag as removed.
    async fn refuse_removal(&self) {
        let sql = match self.kind {
            Kind::Sqlite => {
                "create trigger refuse before update on tags when new.removed_at is not null \
                 begin select raise(abort, 'refused by a test'); end"
            }
            Kind::Postgres => {
                "create function refuse() returns trigger language plpgsql as $$ \
                 begin raise exception 'refused by a test'; end $$; \
                 create trigger refuse before update on tags for each row \
                 when (new.removed_at is not null) execute function refuse();"
            }
        };
        self.execute(sql).await;
    }

    async fn accept_removal(&self) {
        self.execute(match self.kind {
            Kind::Sqlite => "drop trigger refuse",
            Kind::Postgres => "drop trigger refuse on tags",
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_list_shows_and_what_it_no_longer_shows_are_stored_as_one() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let tags: Vec<Uuid> = mirror.change(|account| account.tags());
        mirror.change(|account| {
            assert!(account.remove_tag(tags[0]));
            account.rename_tag(tags[1], "Renamed");
        });
        mirror.database.refuse_removal().await;
        let run = mirror.engine.list(Resource::Tags, mirror.limits()).await;
        assert_eq!(failures(&[run]).len(), 1);
        let renamed = "name = 'Renamed'";
        assert_eq!(mirror.database.count("tags", renamed).await, 0);
        mirror.database.accept_removal().await;
        let run = mirror.engine.list(Resource::Tags, mirror.limits()).await;
        assert_good(&[run]);
        assert_eq!(mirror.database.count("tags", renamed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn every_list_follows_what_changes_vanishes_and_appears() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        for list in [
            List::CustomFields,
            List::Templates,
            List::Portfolios,
            List::OfficeHours,
        ] {
            mirror.clock.advance(MINUTE * 20);
            let field = if list == List::OfficeHours {
                "limitHours"
            } else {
                "name"
            };
            mirror.change(|account| {
                assert!(account.change_listed(list, 0, field, "changed".into()));
                assert!(account.drop_listed(list, 1));
            });
            assert_good(&mirror.sync().await);
            mirror.assert_mirrors().await;
        }
        let removed = "(select removed_at from custom_fields union all \
                       select removed_at from templates union all \
                       select removed_at from portfolios union all \
                       select removed_at from office_hours) as lists";
        assert_eq!(
            mirror
                .database
                .count(removed, "removed_at is not null")
                .await,
            4
        );
    })
    .await;
}

#[tokio::test]
async fn views_show_the_custom_fields_and_portfolios_of_contacts() {
    on_both(|database| async move {
        let mirror = loaded(database).await;
        let contacts = mirror.change(|account| {
            let ids = account.contact_ids();
            account.update_contact(ids[0], |contact| {
                contact.custom_fields = Some(json!({
                    "cidade": "Óbidos", "interesses": ["2", "Outro"], "aceita_novidades": true,
                    "sem_cadastro": 7,
                }));
            });
            account.update_contact(ids[1], |contact| contact.custom_fields = None);
            ids
        });
        mirror.clock.advance(MINUTE);
        assert_good(&mirror.sync().await);
        let second = {
            let account = mirror.sandbox.account();
            let fields = account.truth_custom_fields();
            let interests = fields.iter().find(|field| field["key"] == "interesses");
            let options = interests.unwrap()["options"].as_array().unwrap();
            options[1]["name"].as_str().unwrap().to_owned()
        };
        let shown = mirror
            .database
            .texts(&format!(
                "select key || '|' || label || '|' || coalesce(type, '-') || '|' || value \
                 from contact_custom_fields where contact_id = '{}' order by key",
                contacts[0]
            ))
            .await;
        assert_eq!(
            shown,
            [
                "aceita_novidades|Aceita novidades|BOOLEAN|true".to_owned(),
                "cidade|Cidade|STRING|Óbidos".to_owned(),
                format!("interesses|Interesses|MULTISELECT|{second}, Outro"),
                "sem_cadastro|sem_cadastro|-|7".to_owned(),
            ]
        );
        let none = format!("contact_id = '{}'", contacts[1]);
        assert_eq!(
            mirror.database.count("contact_custom_fields", &none).await,
            0
        );
        let options = mirror.change(|account| {
            let fields = account.truth_custom_fields();
            let options = fields
                .iter()
                .filter_map(|field| field["options"].as_array());
            options.map(Vec::len).sum::<usize>()
        });
        let stored = mirror
            .database
            .count("custom_field_options", "position > 0")
            .await;
        assert_eq!(stored, i64::try_from(options).unwrap());
        let members: usize = mirror.change(|account| {
            let contacts = account.truth_contacts();
            let ids = contacts
                .iter()
                .filter_map(|it| it["portfolioIds"].as_array());
            ids.map(Vec::len).sum()
        });
        let named = "portfolio_id in (select id from portfolios)";
        let stored = mirror.database.count("contact_portfolios", named).await;
        assert_eq!(stored, i64::try_from(members).unwrap());
        assert!(stored > 0);
    })
    .await;
}

/// A token that may not read one of the lists is told once, and all the rest is read.
#[tokio::test]
async fn a_list_that_the_token_may_not_read_holds_nothing_up() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.change(|account| {
            account.moods.refused = vec!["/core/v1/custom-field".to_owned()];
        });
        let runs = mirror.sync().await;
        let failed: Vec<_> = failures(&runs).into_iter().map(|(what, _)| what).collect();
        assert_eq!(failed, ["custom_fields"]);
        for resource in Resource::ALL {
            let rows = mirror.database.count(resource.name(), "1 = 1").await;
            assert_eq!(rows > 0, resource != Resource::CustomFields, "{resource}");
        }
        mirror.change(|account| account.moods.refused = Vec::new());
        mirror.clock.advance(MINUTE * 20);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}
