//! Every question that the client can ask.

use std::sync::Arc;
use std::time::Duration;

use helena_sync::api::{self, Client, ClientConfig, Detail, LiveQuery};
use helena_sync::clock::{Clock, FakeClock};
use helena_sync::data::{
    Direction, Order, PageQuery, Resource, SessionFilter, SessionVersion, Source, Span, Timestamp,
};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use uuid::Uuid;

use super::spec::Spec;
use super::{assert_none, start};

fn client(sandbox: &Sandbox, clock: &Arc<FakeClock>, details: &[Detail]) -> Client {
    let second = Duration::from_secs(10);
    let config = ClientConfig {
        base_url: api::base_url(&sandbox.base_url(), false).unwrap(),
        token: api::token(sandbox.token()).unwrap(),
        sustained: "1000/5m".parse().unwrap(),
        burst: "200/5s".parse().unwrap(),
        share: 0.9,
        connect_timeout: second,
        read_timeout: second,
        request_timeout: second,
        include_details: details.to_vec(),
        patience: None,
        waits_for_limits: false,
    };
    Client::new(config, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

/// Fails with every request that the contract does not know so.
fn assert_documented(sandbox: &Sandbox, least: usize) {
    let mut spec = Spec::load();
    let requests = sandbox.take_requests();
    assert!(requests.len() >= least, "{} requests", requests.len());
    let wrong = requests.iter().flat_map(|seen| spec.wrong_request(seen));
    assert_none(wrong.collect());
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn day() -> Span {
    Span::between(
        at("2026-03-01T00:00:00Z"),
        at("2026-03-02T12:34:56.789012Z"),
    )
}

fn statuses() -> Vec<String> {
    [
        "UNDEFINED",
        "STARTED",
        "PENDING",
        "IN_PROGRESS",
        "COMPLETED",
        "HIDDEN",
    ]
    .map(str::to_owned)
    .into()
}

/// Every filter on its own, then all at once.
fn filters(sandbox: &Sandbox) -> Vec<SessionFilter> {
    let mut account = sandbox.account();
    let contact = account.contact_ids()[0];
    let filter = SessionFilter::default;
    let mut all = vec![
        filter(),
        SessionFilter {
            status: statuses(),
            ..filter()
        },
        SessionFilter {
            department: Some(account.departments()[0]),
            ..filter()
        },
        SessionFilter {
            user: Some(account.agents()[0]),
            ..filter()
        },
        SessionFilter {
            contact: Some(contact),
            ..filter()
        },
        SessionFilter {
            tags: account.tags(),
            ..filter()
        },
        SessionFilter {
            channels: account.channels(),
            ..filter()
        },
        SessionFilter {
            active: day(),
            ..filter()
        },
        SessionFilter {
            ended: day(),
            ..filter()
        },
        SessionFilter {
            interacted: day(),
            ..filter()
        },
        SessionFilter {
            updated: day(),
            ..filter()
        },
        SessionFilter {
            kind: Some("INDIVIDUAL".to_owned()),
            ..filter()
        },
        SessionFilter {
            kind: Some("GROUP".to_owned()),
            ..filter()
        },
    ];
    all.push(SessionFilter {
        status: statuses(),
        kind: Some("GROUP".to_owned()),
        department: account.departments().first().copied(),
        user: account.agents().first().copied(),
        contact: Some(contact),
        tags: account.tags(),
        channels: account.channels(),
        active: day(),
        ended: day(),
        interacted: day(),
        updated: day(),
    });
    all
}

#[tokio::test]
async fn every_request_of_the_walks_is_a_documented_one() {
    let (sandbox, clock) = start(SandboxConfig::of_size(150)).await;
    let filters: Vec<Arc<SessionFilter>> = filters(&sandbox).into_iter().map(Arc::new).collect();
    for (version, details) in [
        (SessionVersion::First, &Detail::ALL[..]),
        (SessionVersion::Second, &Detail::ALL[..3]),
        (SessionVersion::Second, &[]),
    ] {
        let client = client(&sandbox, &clock, details);
        client.pin_session_version(version);
        for stream in Resource::ALL.into_iter().flat_map(Resource::streams) {
            for filter in &filters {
                if stream.resource != Resource::Sessions && !filter.is_empty() {
                    continue;
                }
                for (created, updated, order) in [
                    (Span::OPEN, Span::OPEN, None),
                    (day(), Span::OPEN, Some(Order::CREATED)),
                    (Span::OPEN, day(), Some(Order::UPDATED)),
                    (day(), day(), Some(Order::UPDATED)),
                ] {
                    let query = PageQuery {
                        stream,
                        created,
                        updated,
                        filter: Arc::clone(filter),
                        order,
                        number: 1,
                        size: 100,
                    };
                    client.page(&query).await.unwrap();
                    // Beyond the end, and of a size that the platform would refuse.
                    let far = PageQuery {
                        number: 7,
                        size: 500,
                        ..query
                    };
                    client.page(&far).await.unwrap();
                }
            }
        }
    }
    assert_documented(&sandbox, 300);
}

#[tokio::test]
async fn every_list_and_every_record_by_id_is_asked_for_as_documented() {
    let (sandbox, clock) = start(SandboxConfig::of_size(50)).await;
    let (session, contact, agent) = {
        let mut account = sandbox.account();
        (
            account.session_ids()[0],
            account.contact_ids()[0],
            account.agents()[0],
        )
    };
    for details in [&Detail::ALL[..], &[]] {
        let client = client(&sandbox, &clock, details);
        for resource in Resource::ALL {
            if resource.is_list() {
                client.list(resource).await.unwrap();
            }
            for id in [session, contact, agent, Uuid::nil()] {
                // Most ids are not of this resource: only the question matters.
                let _ = client.by_id(resource, id).await;
            }
        }
    }
    assert_documented(&sandbox, 40);
}

#[tokio::test]
async fn every_request_of_the_live_list_is_a_documented_one() {
    let (sandbox, clock) = start(SandboxConfig::of_size(50)).await;
    let filters = filters(&sandbox);
    for version in [SessionVersion::First, SessionVersion::Second] {
        let client = client(&sandbox, &clock, &[]);
        client.pin_session_version(version);
        let plain = LiveQuery {
            number: 1,
            size: 10,
            ..LiveQuery::default()
        };
        let mut queries = vec![
            LiveQuery {
                created: day(),
                updated: day(),
                ..plain.clone()
            },
            LiveQuery {
                size: 1,
                number: 0,
                ..plain.clone()
            },
            LiveQuery {
                size: 1_000,
                number: u32::MAX >> 1,
                ..plain.clone()
            },
            LiveQuery {
                direction: Some(Direction::Ascending),
                ..plain.clone()
            },
            LiveQuery {
                details: Detail::ALL.to_vec(),
                ..plain.clone()
            },
        ];
        for direction in [Direction::Ascending, Direction::Descending] {
            queries.push(LiveQuery {
                order_by: Some("LastInteractionAt".to_owned()),
                direction: Some(direction),
                ..plain.clone()
            });
        }
        queries.extend(Detail::ALL.map(|detail| LiveQuery {
            details: vec![detail],
            ..plain.clone()
        }));
        queries.extend(filters.iter().map(|filter| LiveQuery {
            filter: filter.clone(),
            ..plain.clone()
        }));
        for query in &queries {
            client.sessions(query).await.unwrap();
        }
    }
    assert_documented(&sandbox, 40);
}

#[tokio::test]
async fn a_first_version_taken_for_the_second_is_asked_as_documented() {
    let (sandbox, clock) = start(SandboxConfig::of_size(300)).await;
    for status in [401, 404, 410] {
        sandbox.account().moods.v2_withdrawn = Some(status);
        let client = client(&sandbox, &clock, &Detail::ALL);
        let query = PageQuery {
            stream: Resource::Sessions.streams()[0],
            created: Span::OPEN,
            updated: Span::OPEN,
            filter: Arc::default(),
            order: Some(Order::UPDATED),
            number: 1,
            size: 100,
        };
        client.page(&query).await.unwrap();
        assert_eq!(client.session_version(), SessionVersion::First);
        assert_eq!(client.session_totals().await, Ok(None));
    }
    sandbox.account().moods.v2_withdrawn = None;
    sandbox.account().moods.v1_hides_groups = true;
    let client = client(&sandbox, &clock, &Detail::ALL);
    let totals = client.session_totals().await.unwrap().unwrap();
    assert!(
        totals.first < totals.second && !totals.lacks(),
        "{totals:?}"
    );
    assert_documented(&sandbox, 9);
}
