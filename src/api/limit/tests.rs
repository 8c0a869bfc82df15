//! What the limiter promises, on a clock that only moves when somebody waits.

use super::*;
use crate::clock::FakeClock;

fn start() -> Timestamp {
    Timestamp::parse("2026-05-04T13:00:00Z").unwrap()
}

fn limiter(sustained: &str, burst: &str, share: f64) -> (Arc<FakeClock>, Arc<Limiter>) {
    let clock = Arc::new(FakeClock::at(start()));
    let limiter = Limiter::new(
        sustained.parse().unwrap(),
        burst.parse().unwrap(),
        share,
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    (clock, Arc::new(limiter))
}

#[tokio::test]
async fn no_window_holds_more_than_the_share_of_either_limit() {
    let (clock, limiter) = limiter("50/60s", "10/2s", 0.9);
    let mut sent = Vec::new();
    for number in 0..400_u64 {
        let permit = limiter.acquire(None).await.unwrap();
        sent.push(clock.now());
        clock.advance(Duration::from_millis(number * 37 % 190));
        permit.answered();
    }
    for (count, window) in [(45, Duration::from_mins(1)), (9, Duration::from_secs(2))] {
        for (first, &at) in sent.iter().enumerate() {
            let within = sent[first..]
                .iter()
                .filter(|&&other| other.since(at) <= window);
            assert!(within.count() <= count, "{window:?}");
        }
    }
    // And not much slower than that: 400 requests are 8 windows and 40 requests.
    let took = sent.last().unwrap().since(start());
    assert!(took < Duration::from_secs(8 * 60 + 30), "{took:?}");
    assert!(took > Duration::from_mins(8), "{took:?}");
}

proptest::proptest! {
    /// Several requests are under way at a time, and the platform counts each at any instant
    /// between its sending and its answer.
    #[test]
    fn no_window_holds_more_wherever_the_platform_counts(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (clock, limiter) = limiter("20/30s", "6/2s", 1.0);
        let (mut under_way, mut counted) = (VecDeque::new(), Vec::new());
        for _ in 0..600 {
            match random.u32(0..10) {
                0..4 => clock.advance(Duration::from_millis(random.u64(0..900))),
                4..7 => {
                    if !under_way.is_empty() {
                        let index = random.usize(0..under_way.len());
                        let (sent, permit): (Timestamp, Permit<'_>) =
                            under_way.remove(index).unwrap();
                        permit.answered();
                        let took = clock.now().since(sent);
                        counted.push(sent + took.mul_f64(random.f64()));
                    }
                }
                _ => match limiter.try_acquire() {
                    Ok(permit) => under_way.push_back((clock.now(), permit)),
                    Err(Hold::UnderWay) => {}
                    Err(Hold::Until(waiting)) => {
                        proptest::prop_assert!(waiting.until > limiter.now());
                    }
                },
            }
        }
        counted.sort();
        for (count, window) in [(20, Duration::from_secs(30)), (6, Duration::from_secs(2))] {
            for (first, &at) in counted.iter().enumerate() {
                let within = counted[first..].iter().filter(|other| other.since(at) <= window);
                proptest::prop_assert!(within.count() <= count);
            }
        }
    }
}

#[tokio::test]
async fn a_request_under_way_keeps_its_place_until_it_ends() {
    let (clock, limiter) = limiter("2/10s", "100/1s", 1.0);
    let first = limiter.acquire(None).await.unwrap();
    let second = limiter.acquire(None).await.unwrap();
    clock.advance(Duration::from_mins(1));
    assert!(matches!(limiter.try_acquire(), Err(Hold::UnderWay)));
    first.answered();
    assert!(matches!(limiter.try_acquire(), Err(Hold::Until(_))));
    clock.advance(Duration::from_millis(10_010));
    let third = limiter.try_acquire();
    assert!(third.is_ok());
    drop(second);
}

#[tokio::test]
async fn callers_are_served_in_the_order_in_which_they_came() {
    let (_clock, limiter) = limiter("3/10s", "100/1s", 1.0);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..20 {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let permit = limiter.acquire(None).await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
            permit.answered();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_429_pauses_everyone_for_what_it_says_but_no_longer_than_an_hour() {
    let (clock, limiter) = limiter("1000/5m", "200/5s", 0.9);
    for (says, waits) in [(0, 1), (7, 7), (1_800, 1_800), (100_000, 3_600)] {
        let before = clock.now();
        let permit = limiter.acquire(None).await.unwrap();
        permit.refused(Some(Duration::from_secs(says)));
        assert_eq!(limiter.pause_left(), Duration::from_secs(waits));
        limiter.acquire(None).await.unwrap().answered();
        assert_eq!(clock.now().since(before), Duration::from_secs(waits));
    }
}

#[tokio::test]
async fn a_word_that_is_too_short_is_believed_three_times() {
    let (_clock, limiter) = limiter("1000/5m", "200/5s", 0.9);
    let mut pauses = Vec::new();
    for _ in 0..14 {
        let permit = limiter.acquire(None).await.unwrap();
        permit.refused(Some(Duration::from_secs(10)));
        pauses.push(limiter.pause_left().as_secs_f64());
    }
    assert_eq!(pauses[..3], [10.0; 3]);
    for (number, pause) in pauses.iter().enumerate().skip(3) {
        let whole = (2.0 * f64::powi(2.0, i32::try_from(number).unwrap())).min(3_600.0);
        assert!(
            *pause >= whole * 0.9 && *pause <= (whole * 1.1).min(3_600.0),
            "{pauses:?}"
        );
    }
    // It may say more at any time, and an answer makes it believed again.
    let permit = limiter.acquire(None).await.unwrap();
    permit.refused(Some(Duration::from_hours(1)));
    assert_eq!(limiter.pause_left(), Duration::from_hours(1));
    limiter.acquire(None).await.unwrap().answered();
    let permit = limiter.acquire(None).await.unwrap();
    permit.refused(Some(Duration::from_secs(10)));
    assert_eq!(limiter.pause_left(), Duration::from_secs(10));
}

#[tokio::test]
async fn without_a_word_the_pause_grows_to_an_hour_and_success_resets_it() {
    let (_clock, limiter) = limiter("1000/5m", "200/5s", 0.9);
    let mut pauses = Vec::new();
    for _ in 0..14 {
        limiter.acquire(None).await.unwrap().refused(None);
        pauses.push(limiter.pause_left().as_secs_f64());
    }
    for (number, pause) in pauses.iter().enumerate() {
        let whole = (2.0 * f64::powi(2.0, i32::try_from(number).unwrap())).min(3_600.0);
        assert!(
            *pause >= whole * 0.9 && *pause <= (whole * 1.1).min(3_600.0),
            "{pauses:?}"
        );
    }
    limiter.acquire(None).await.unwrap().answered();
    limiter.acquire(None).await.unwrap().refused(None);
    assert!(limiter.pause_left() < Duration::from_secs(3));
}

#[tokio::test]
async fn refusals_of_requests_that_were_under_way_together_count_once() {
    let (_clock, limiter) = limiter("1000/5m", "200/5s", 0.9);
    let mut permits = Vec::new();
    for _ in 0..8 {
        permits.push(limiter.acquire(None).await.unwrap());
    }
    let late_success = permits.pop().unwrap();
    for permit in permits {
        permit.refused(None);
    }
    assert!(limiter.pause_left() < Duration::from_secs(3));
    // Sent before the pause, so it does not prove that the limit is over.
    late_success.answered();
    limiter.acquire(None).await.unwrap().refused(None);
    assert!(limiter.pause_left() > Duration::from_secs(3));
}

#[tokio::test]
async fn patience_ends_a_wait_for_the_platform_but_not_for_the_own_limit() {
    let (_clock, limiter) = limiter("2/5m", "200/5s", 1.0);
    let patience = Some(Duration::from_mins(1));
    limiter.acquire(patience).await.unwrap().answered();
    limiter.acquire(patience).await.unwrap().answered();
    let permit = limiter.acquire(patience).await.unwrap();
    permit.refused(Some(Duration::from_secs(100)));
    let paused = limiter.acquire(patience).await.unwrap_err();
    assert_eq!(
        paused.until.since(limiter.clock.now()),
        Duration::from_secs(100)
    );
    assert!(limiter.acquire(None).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_set_neither_holds_requests_back_nor_lets_more_through() {
    for to in [
        start() - Duration::from_hours(3),
        start() + Duration::from_hours(3),
    ] {
        let (clock, limiter) = limiter("1/10s", "200/5s", 1.0);
        let permit = limiter.acquire(None).await.unwrap();
        permit.refused(Some(Duration::from_secs(5)));
        clock.set(to);
        assert_eq!(limiter.pause_left(), Duration::from_secs(5));
        limiter.acquire(None).await.unwrap().answered();
        assert_eq!(clock.now().since(to), Duration::from_millis(10_010));
    }
}

#[tokio::test]
async fn what_is_waited_for_is_told_and_forgotten_when_nobody_waits_any_more() {
    let clock = Arc::new(crate::clock::SystemClock);
    let limiter = Arc::new(Limiter::new(
        "1/10m".parse().unwrap(),
        "200/5s".parse().unwrap(),
        1.0,
        clock,
    ));
    limiter.acquire(None).await.unwrap().answered();
    assert_eq!(limiter.waiting(), None);
    let waiter = Arc::clone(&limiter);
    let task = tokio::spawn(async move { waiter.acquire(None).await.map(drop).is_ok() });
    while limiter.waiting().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(limiter.waiting().unwrap().reason, WaitReason::OwnLimit);
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(limiter.waiting(), None);
    // The turnstile is free again, too.
    assert!(limiter.turnstile.try_lock().is_ok());
}

#[tokio::test]
async fn requests_of_earlier_processes_count_until_they_leave_the_window() {
    let (clock, limiter) = limiter("10/60s", "10/2s", 1.0);
    let ages = [50, 40, 5, 5, 5, 5, 90].map(Duration::from_secs);
    limiter.note_earlier(ages);
    for _ in 0..2 {
        limiter.acquire(None).await.unwrap().answered();
    }
    // Another process has had the account: what is stored now replaces what was.
    clock.advance(Duration::from_secs(3));
    for _ in 0..2 {
        limiter.note_earlier([53, 43, 8, 8, 8, 2, 1].map(Duration::from_secs));
    }
    let first = start() + Duration::from_secs(3);
    limiter.acquire(None).await.unwrap().answered();
    assert_eq!(clock.now(), first, "nine of ten are used");
    limiter.acquire(None).await.unwrap().answered();
    let waited = clock.now().since(start());
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11));
}
