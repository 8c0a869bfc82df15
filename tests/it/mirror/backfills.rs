//! Backfills that the operator asks for: exactly what the filters let through.

use std::collections::BTreeSet;

use helena_sync::data::{Resource, SessionFilter, Span, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, sessions};

fn id(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

fn at(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?).ok()
}

/// Backfills with filters into an empty database, and compares with the sessions that belong.
async fn brings(
    range: Span,
    filters: impl Fn(&[Value]) -> Vec<SessionFilter> + Clone + Send + Sync + 'static,
    belongs: impl Fn(&Value, &[SessionFilter]) -> bool + Clone + Send + Sync + 'static,
) {
    on_both(move |database| {
        let (filters, belongs) = (filters.clone(), belongs.clone());
        async move {
            let mirror = Mirror::begin(database, Plan::of(300)).await;
            let truth = mirror.change(helena_sync::sandbox::SandboxAccount::truth_sessions);
            let filters = filters(&truth);
            let (engine, limits) = (&mirror.engine, mirror.limits());
            assert_good(&engine.lists(&Resource::ALL, limits).await);
            engine
                .plan_backfill(Resource::Sessions, range, filters.clone(), false, limits)
                .await
                .unwrap();
            assert_good(&engine.work_off(&Resource::ALL, limits).await);
            let expected: BTreeSet<Uuid> = truth
                .iter()
                .filter(|session| {
                    let created = at(&session["createdAt"]).unwrap();
                    range.after.is_none_or(|after| created > after)
                        && range.before.is_none_or(|before| created < before)
                        && belongs(session, &filters)
                })
                .filter_map(|session| id(&session["id"]))
                .collect();
            let stored: BTreeSet<Uuid> = mirror
                .database
                .texts("select cast(id as text) from sessions")
                .await
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
            assert!(
                !expected.is_empty() && expected.len() < 300,
                "{}",
                expected.len()
            );
            assert_eq!(stored, expected);
            // Nothing is complete because of it.
            assert_eq!(mirror.watermark(sessions()).await, None);
            let left = mirror
                .database
                .store
                .unfinished_backfills(mirror.account)
                .await;
            assert_eq!(left.unwrap(), []);
        }
    })
    .await;
}

/// The value that most sessions have in a field.
fn usual(truth: &[Value], field: &str) -> Uuid {
    let mut values: Vec<Uuid> = truth
        .iter()
        .filter_map(|session| id(&session[field]))
        .collect();
    values.sort_unstable();
    let count = |value: &Uuid| values.iter().filter(|other| *other == value).count();
    *values.iter().max_by_key(|value| count(value)).unwrap()
}

#[tokio::test]
async fn a_backfill_of_a_range_brings_the_range() {
    let range = Span::between(
        Timestamp::parse("2025-09-01T00:00:00Z").unwrap(),
        Timestamp::parse("2026-01-31T23:59:59Z").unwrap(),
    );
    brings(range, |_| vec![SessionFilter::default()], |_, _| true).await;
}

#[tokio::test]
async fn a_backfill_by_status_brings_the_status() {
    let filter = SessionFilter {
        status: vec!["IN_PROGRESS".into(), "PENDING".into(), "STARTED".into()],
        ..SessionFilter::default()
    };
    brings(
        Span::OPEN,
        move |_| vec![filter.clone()],
        |session, filters| {
            filters[0]
                .status
                .contains(&session["status"].as_str().unwrap().into())
        },
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_channel_brings_the_channel() {
    brings(
        Span::OPEN,
        |truth| {
            vec![SessionFilter {
                channels: vec![usual(truth, "channelId")],
                ..SessionFilter::default()
            }]
        },
        |session, filters| id(&session["channelId"]) == Some(filters[0].channels[0]),
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_departments_asks_once_for_each_and_brings_them_all() {
    brings(
        Span::OPEN,
        |truth| {
            let mut all: Vec<Uuid> = truth
                .iter()
                .filter_map(|session| id(&session["departmentId"]))
                .collect();
            all.sort_unstable();
            all.dedup();
            let of = |department| SessionFilter {
                department: Some(department),
                ..SessionFilter::default()
            };
            all.into_iter().take(2).map(of).collect()
        },
        |session, filters| {
            let department = id(&session["departmentId"]);
            filters.iter().any(|filter| filter.department == department)
        },
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_user_brings_the_user() {
    brings(
        Span::OPEN,
        |truth| {
            vec![SessionFilter {
                user: Some(usual(truth, "userId")),
                ..SessionFilter::default()
            }]
        },
        |session, filters| id(&session["userId"]) == filters[0].user,
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_contact_brings_the_contact() {
    brings(
        Span::OPEN,
        |truth| {
            vec![SessionFilter {
                contact: Some(usual(truth, "contactId")),
                ..SessionFilter::default()
            }]
        },
        |session, filters| id(&session["contactId"]) == filters[0].contact,
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_tag_brings_the_sessions_of_those_who_wear_it() {
    brings(
        Span::OPEN,
        |truth| {
            let tag = truth
                .iter()
                .find_map(|session| id(&session["contactDetails"]["tagsId"][0]))
                .unwrap();
            vec![SessionFilter {
                tags: vec![tag],
                ..SessionFilter::default()
            }]
        },
        |session, filters| {
            let worn = session["contactDetails"]["tagsId"].as_array();
            worn.is_some_and(|worn| worn.iter().any(|tag| id(tag) == Some(filters[0].tags[0])))
        },
    )
    .await;
}

#[tokio::test]
async fn a_backfill_by_end_and_change_brings_both() {
    let from = Timestamp::parse("2025-10-01T00:00:00Z").unwrap();
    let to = Timestamp::parse("2026-03-01T00:00:00Z").unwrap();
    brings(
        Span::OPEN,
        move |_| {
            vec![SessionFilter {
                ended: Span::after(from),
                updated: Span {
                    after: None,
                    before: Some(to),
                },
                ..SessionFilter::default()
            }]
        },
        move |session, _| {
            at(&session["endAt"]).is_some_and(|end| end > from)
                && at(&session["updatedAt"]).unwrap() < to
        },
    )
    .await;
}

#[tokio::test]
async fn a_backfill_of_what_is_there_changes_nothing_and_repairs_what_is_not() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        mirror.load().await;
        mirror.quiet().await;
        let (watermarks, before) = (mirror.watermarks().await, mirror.contents().await);
        // An operator's accident.
        mirror
            .database
            .execute(
                "delete from session_tags where session_id in \
                 (select id from sessions where status = 'COMPLETED'); \
                 delete from sessions where status = 'COMPLETED'",
            )
            .await;
        assert!(mirror.contents().await.len() < before.len());
        let (engine, limits) = (&mirror.engine, mirror.limits());
        let filters = vec![SessionFilter::default()];
        engine
            .plan_backfill(Resource::Sessions, Span::OPEN, filters, false, limits)
            .await
            .unwrap();
        assert_good(&engine.work_off(&Resource::ALL, limits).await);
        mirror.assert_mirrors().await;
        assert_eq!(mirror.watermarks().await, watermarks);
    })
    .await;
}
