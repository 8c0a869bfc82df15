use serde_json::json;

use super::*;
use crate::clock::FakeClock;

const SECRET: &str = "3f1c0b5e8d7a49628d1f7ce0b2a49c5de3f0a1b2c3d4e5f60718293a4b5c6d7e";

fn secret() -> SecretString {
    SecretString::from(SECRET)
}

fn bell() -> (Arc<FakeClock>, Bell) {
    let clock = Arc::new(FakeClock::at(Timestamp::from_micros(0)));
    let mirrored = [Resource::Templates, Resource::Sessions, Resource::Contacts];
    let bell = Bell::new(&secret(), "north", &mirrored, Arc::clone(&clock) as _);
    (clock, bell)
}

const fn of(resource: Resource, id: u128) -> Ring {
    Ring {
        resource: Some(resource),
        id: Some(Uuid::from_u128(id)),
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is due now: the resource, how many records, and whether by id.
fn taken(bell: &Bell) -> Option<(Resource, usize, bool, Call)> {
    let call = bell.waiting()?;
    let what = &call.what;
    Some((what.resource, what.ids.len(), what.by_id, call))
}

fn none() -> HashSet<Uuid> {
    HashSet::new()
}

fn all(call: &Call) -> HashSet<Uuid> {
    call.what.ids.iter().copied().collect()
}

#[test]
fn calls_within_half_a_second_make_one_read_of_each_resource() {
    let (clock, bell) = bell();
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
    for id in 0..50 {
        bell.ring(of(Resource::Sessions, id % 7));
        bell.ring(of(Resource::Contacts, id));
        clock.advance(millis(9));
    }
    assert_eq!(bell.due(Limit::OfRequests), Due::In(millis(50)));
    clock.advance(millis(50));
    let (resource, count, by_id, call) = taken(&bell).unwrap();
    assert_eq!((resource, count, by_id), (Resource::Sessions, 7, false));
    bell.followed(call, &(0..7).map(Uuid::from_u128).collect());
    let (resource, count, by_id, call) = taken(&bell).unwrap();
    assert_eq!((resource, count, by_id), (Resource::Contacts, 50, false));
    let shown = all(&call);
    bell.followed(call, &shown);
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
}

#[test]
fn a_change_that_is_not_shown_is_looked_for_after_three_and_fifteen_seconds() {
    let (clock, bell) = bell();
    bell.ring(of(Resource::Sessions, 1));
    clock.advance(GATHER);
    let (.., by_id, call) = taken(&bell).unwrap();
    assert!(!by_id);
    bell.followed(call, &none());
    assert_eq!(bell.due(Limit::OfRequests), Due::In(millis(2_500)));
    clock.advance(millis(2_500));
    let (_, count, by_id, call) = taken(&bell).unwrap();
    assert_eq!((count, by_id), (1, true));
    bell.followed(call, &none());
    assert_eq!(bell.due(Limit::OfRequests), Due::In(millis(12_000)));
    clock.advance(millis(12_000));
    let (.., call) = taken(&bell).unwrap();
    bell.followed(call, &none());
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
}

#[test]
fn a_record_that_is_named_again_while_it_is_looked_for_is_looked_for_anew() {
    let (clock, bell) = bell();
    bell.ring(of(Resource::Sessions, 1));
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    bell.ring(of(Resource::Sessions, 1));
    bell.followed(call, &none());
    assert_eq!(bell.due(Limit::OfRequests), Due::In(GATHER));
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    bell.followed(call, &none());
    clock.advance(millis(100));
    // It waits for its second look.
    bell.ring(of(Resource::Sessions, 1));
    assert_eq!(bell.due(Limit::OfRequests), Due::In(GATHER));
}

#[test]
fn many_that_were_not_shown_are_looked_for_in_the_list() {
    let (clock, bell) = bell();
    for id in 0..6 {
        bell.ring(of(Resource::Sessions, id));
    }
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    bell.followed(call, &none());
    clock.advance(AGAIN[0]);
    let (_, count, by_id, call) = taken(&bell).unwrap();
    assert_eq!((count, by_id), (6, false));
    let mut shown = all(&call);
    shown.remove(&Uuid::from_u128(0));
    bell.followed(call, &shown);
    clock.advance(AGAIN[1]);
    let (_, count, by_id, _) = taken(&bell).unwrap();
    assert_eq!((count, by_id), (1, true));
}

#[test]
fn a_single_contact_is_read_by_id_since_the_list_shows_only_active_ones() {
    let (clock, bell) = bell();
    bell.ring(of(Resource::Contacts, 1));
    clock.advance(GATHER);
    let (resource, count, by_id, _) = taken(&bell).unwrap();
    assert_eq!((resource, count, by_id), (Resource::Contacts, 1, true));
}

#[test]
fn twenty_requests_may_follow_each_other_and_then_one_every_three_seconds() {
    let (clock, bell) = bell();
    let mut times = Vec::new();
    let mut made = 0_u128;
    let began = clock.running();
    while clock.elapsed(began) < Duration::from_mins(2) {
        made += 1;
        bell.ring(of(Resource::Sessions, made));
        if let Some((.., call)) = taken(&bell) {
            let shown = all(&call);
            bell.followed(call, &shown);
            times.push(clock.elapsed(began));
        }
        clock.advance(millis(100));
    }
    // One every half a second, while there are tokens.
    let early = times.iter().filter(|at| **at < Duration::from_secs(10));
    assert!((14..=20).contains(&early.count()), "{times:?}");
    assert!((58..=62).contains(&times.len()), "{}", times.len());
    // Calls were not lost: all of them are in one of the reads, or in the next one.
    clock.advance(EVERY);
    assert!(bell.waiting().is_some());
}

#[test]
fn reads_by_id_take_a_token_each() {
    let (clock, bell) = bell();
    bell.state().tokens.take(BURST - 2, Duration::ZERO);
    for id in 0..4 {
        bell.ring(of(Resource::Sessions, id));
    }
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    bell.followed(call, &none());
    clock.advance(millis(2_500));
    // Two of twenty were left, one was spent, and one has come back.
    let (_, count, by_id, _) = taken(&bell).unwrap();
    assert_eq!((count, by_id), (2, true));
    assert!(matches!(bell.due(Limit::OfRequests), Due::In(_)));
    clock.advance(EVERY);
    assert_eq!(taken(&bell).unwrap().1, 1);
}

#[test]
fn more_records_than_can_be_remembered_still_make_a_read() {
    let (clock, bell) = bell();
    for id in 0..=MOST_IDS as u128 + 5 {
        bell.ring(of(Resource::Sessions, id));
    }
    clock.advance(GATHER);
    let (_, count, by_id, _) = taken(&bell).unwrap();
    assert_eq!((count, by_id), (MOST_IDS, false));
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
    assert_eq!(bell.take_unstored().unwrap().0, MOST_IDS as u64 + 6);
    assert_eq!(bell.take_unstored(), None);
}

#[test]
fn only_the_event_and_the_id_of_a_delivery_count_and_unknown_ones_ring_too() {
    let id = Uuid::from_u128(0x1234);
    let ring = |event: &str, content: serde_json::Value| {
        let body =
            json!({"eventType": event, "date": "x", "content": content, "changeMetadata": null});
        let Ring { resource, id } = Ring::of(body.to_string().as_bytes());
        (resource, id)
    };
    let session = json!({"id": id, "status": "PENDING", "contactDetails": {"id": "other"}});
    for event in ["SESSION_NEW", "SESSION_UPDATE", "session_complete"] {
        let expected = (Some(Resource::Sessions), Some(id));
        assert_eq!(ring(event, session.clone()), expected);
    }
    let message = json!({"id": Uuid::nil(), "sessionId": id});
    let expected = (Some(Resource::Sessions), Some(id));
    assert_eq!(ring("MESSAGE_RECEIVED", message), expected);
    let contact = json!({"id": id});
    let expected = (Some(Resource::Contacts), Some(id));
    assert_eq!(ring("CONTACT_TAG_UPDATE", contact), expected);
    assert_eq!(
        ring("TEMPLATE_NEW", json!({"id": id})),
        (Some(Resource::Templates), None)
    );
    // An unreadable id leaves the resource.
    for content in [json!(null), json!({"id": "x"}), json!({})] {
        let expected = (Some(Resource::Sessions), None);
        assert_eq!(ring("SESSION_NEW", content), expected);
    }
    assert_eq!(ring("PANEL_CARD_NEW", json!({"id": id})), (None, None));
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "{\"eventType\": 7}",
        "{\"id\":\"x\"",
        "\u{feff}",
    ] {
        assert_eq!(Ring::of(body.as_bytes()), Ring::UNKNOWN, "{body}");
    }
}

#[test]
fn an_unknown_event_concerns_sessions_and_contacts() {
    let (clock, bell) = bell();
    bell.ring(Ring::UNKNOWN);
    bell.ring(Ring::UNKNOWN);
    clock.advance(GATHER);
    let read = std::iter::from_fn(|| taken(&bell));
    let read: Vec<_> = read
        .map(|(resource, count, by_id, _)| (resource, count, by_id))
        .collect();
    let expected = [
        (Resource::Sessions, 0, false),
        (Resource::Contacts, 0, false),
    ];
    assert_eq!(read, expected);
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
}

#[test]
fn each_account_has_an_address_of_its_own_and_nothing_else_is_one() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_micros(0)));
    let bells = Bells::new(secret(), clock);
    let of = |name: &str| bells.add(name, &[Resource::Sessions]);
    let (north, south) = (of("north"), of("south"));
    assert!(Arc::ptr_eq(&north, &of("north")));
    let base = Url::parse("https://example.com/hooks/").unwrap();
    for bell in [&north, &south] {
        let url = bell.address().below(&base);
        let url = Url::parse(url.expose_secret()).unwrap();
        assert!(url.as_str().starts_with("https://example.com/hooks/ring/"));
        let found = bells.at(url.path()).unwrap();
        assert!(Arc::ptr_eq(&found, bell));
        let path = url.path();
        for wrong in [
            "",
            "/",
            "/ring/",
            &path[..path.len() - 1],
            &format!("{path}0"),
            &format!("{path}/"),
            &path.to_uppercase(),
            SECRET,
        ] {
            assert!(bells.at(wrong).is_none(), "{wrong}");
        }
    }
    let other = Address::new(&SecretString::from(format!("{SECRET}0")), "north");
    assert_ne!(other.hash, north.address().hash);
    let shown = format!("{north:?}");
    assert!(!shown.contains(north.address().segment.expose_secret()));
    // An account that the process works on no more has none.
    let path = north.address().below(&base);
    let path = Url::parse(path.expose_secret()).unwrap();
    bells.remove("north");
    assert!(bells.at(path.path()).is_none());

    // Of another secret all addresses are others, at once.
    let of_south = || {
        let url = south.address().below(&base);
        Url::parse(url.expose_secret()).unwrap()
    };
    let before = of_south();
    assert!(!bells.renew(&secret()));
    assert!(bells.at(before.path()).is_some());
    assert!(bells.renew(&SecretString::from(format!("{SECRET}0"))));
    assert!(bells.at(before.path()).is_none());
    let found = bells.at(of_south().path()).unwrap();
    assert!(Arc::ptr_eq(&found, &south));
}

#[test]
fn a_subscription_is_judged_by_its_name_its_address_and_its_events() {
    let mirrored = [Resource::Sessions, Resource::Contacts, Resource::Templates];
    let address = Address::new(&secret(), "north");
    let url = address.below(&Url::parse("https://example.com").unwrap());
    let good = Subscription {
        id: Uuid::nil(),
        name: SUBSCRIPTION.to_owned(),
        url: url.expose_secret().to_owned(),
        enabled: true,
        events: events(&mirrored).into_iter().map(str::to_owned).collect(),
    };
    let judge = |one: &Subscription| address.judge(std::slice::from_ref(one), &mirrored);
    assert_eq!(judge(&good), SubscriptionState::Good);
    let other = |change: fn(&mut Subscription)| {
        let mut one = good.clone();
        change(&mut one);
        one
    };
    let disabled = other(|one| one.enabled = false);
    assert_eq!(judge(&disabled), SubscriptionState::Disabled);
    let moved = other(|one| one.url = "https://example.com/ring/0123".to_owned());
    assert_eq!(judge(&moved), SubscriptionState::OtherAddress);
    let named = other(|one| one.name = "another program".to_owned());
    assert_eq!(judge(&named), SubscriptionState::Missing);
    assert_eq!(address.judge(&[], &mirrored), SubscriptionState::Missing);
    let poor = other(|one| one.events.retain(|event| event != "SESSION_UPDATE"));
    assert_eq!(judge(&poor), SubscriptionState::LacksEvents);
    // An older platform does not know the events of templates.
    let old = other(|one| one.events.retain(|event| !event.starts_with("TEMPLATE")));
    assert_eq!(judge(&old), SubscriptionState::Good);
    assert_eq!(
        address.judge(&[moved, good.clone()], &mirrored),
        SubscriptionState::Good
    );
    for state in SubscriptionState::ALL {
        assert_eq!(SubscriptionState::from_stored(state.as_str()), state);
        assert_eq!(state.problem().is_none(), state == SubscriptionState::Good);
    }
}

#[test]
fn what_another_process_was_called_about_is_due_at_once_and_counted() {
    let (clock, bell) = bell();
    // It was called itself a moment ago, and has looked for another record in vain.
    bell.ring(of(Resource::Sessions, 1));
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    bell.followed(call, &none());
    bell.ring(of(Resource::Sessions, 2));
    bell.ring(Ring {
        resource: Some(Resource::Contacts),
        id: None,
    });
    assert_eq!(bell.due(Limit::OfRequests), Due::In(GATHER));
    let later = clock.now() + Duration::from_secs(9);
    let elsewhere = |resource, id: Option<u128>, calls, last| Elsewhere {
        resource,
        id: id.map(Uuid::from_u128),
        calls,
        last,
    };
    bell.ring_for([
        elsewhere(Resource::Sessions, Some(1), 4, later),
        elsewhere(Resource::Sessions, Some(2), 0, later),
        elsewhere(Resource::Contacts, None, 1, clock.now()),
        // The account does not mirror it.
        elsewhere(Resource::Tags, None, 1, clock.now()),
    ]);
    let mut read: Vec<_> = std::iter::from_fn(|| taken(&bell)).collect();
    let (resource, count, by_id, call) = read.remove(0);
    assert_eq!((resource, count, by_id), (Resource::Sessions, 2, false));
    assert!(call.looks.iter().all(|(_, look)| look.made == 0));
    let (resource, count, ..) = read.remove(0);
    assert_eq!((resource, count), (Resource::Contacts, 0));
    assert!(read.is_empty());
    assert_eq!(bell.take_unstored(), Some((3 + 6, later)));
}

#[test]
fn a_call_that_was_put_back_is_due_again_with_all_that_it_named() {
    let (clock, bell) = bell();
    bell.ring(of(Resource::Contacts, 1));
    bell.ring(Ring {
        resource: Some(Resource::Contacts),
        id: None,
    });
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    let records = [Some(Uuid::from_u128(1)), None];
    assert_eq!(call.records(), records);
    bell.put_back(call);
    assert_eq!(bell.due(Limit::OfRequests), Due::In(FORWARD_AGAIN));
    clock.advance(FORWARD_AGAIN);
    let (.., call) = taken(&bell).unwrap();
    assert_eq!(call.records(), records);
    assert_eq!(bell.due(Limit::OfRequests), Due::Never);
}

#[tokio::test]
async fn what_another_process_is_to_read_is_not_limited_like_requests() {
    let (clock, bell) = bell();
    for id in 0..u128::from(3 * BURST) {
        bell.ring(of(Resource::Sessions, id));
        clock.advance(GATHER);
        let call = bell.next_to_pass_on().await;
        assert_eq!(call.records(), [Some(Uuid::from_u128(id))]);
    }
    // It took nothing of what requests may use.
    bell.ring(of(Resource::Sessions, 1));
    clock.advance(GATHER);
    assert!(taken(&bell).is_some());
}

#[tokio::test]
async fn whoever_waits_learns_of_a_call_that_was_put_back() {
    let (clock, bell) = bell();
    bell.ring(of(Resource::Sessions, 1));
    clock.advance(GATHER);
    let (.., call) = taken(&bell).unwrap();
    let next = bell.next_to_pass_on();
    tokio::pin!(next);
    assert!(futures::poll!(&mut next).is_pending());
    bell.put_back(call);
    assert!(futures::poll!(&mut next).is_pending());
    clock.advance(FORWARD_AGAIN);
    assert!(futures::poll!(&mut next).is_ready());
}
