//! Waits that are no silence: while a request waits for the limits or for a retry, its task is not stuck.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::Client;
use crate::clock::{Clock, FakeClock, Sleep};
use crate::data::{Resource, Source as _, Timestamp};
use crate::health::Health;
use crate::metrics::Meter;

use super::server::{Reply, Server};
use super::{config, first_page, server_time};

const PAGE: &str = r#"{"items":[],"totalItems":0}"#;

/// Much shorter than any wait here.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(50);

/// A clock on which somebody looks at the signs of life during each sleep.
#[derive(Debug)]
struct Watched {
    clock: Arc<FakeClock>,
    health: Health,
    /// Each sleep that was longer than the patience, and whether the task was stuck in it.
    sleeps: Mutex<Vec<(Duration, bool)>>,
}

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn running(&self) -> Duration {
        self.clock.running()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut is_stuck = false;
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(LOOK);
            self.clock.advance(step);
            is_stuck |= !self.health.stuck().is_empty();
            left -= step;
        }
        if duration > PATIENCE {
            self.sleeps.lock().unwrap().push((duration, is_stuck));
        }
        Box::pin(std::future::ready(()))
    }
}

fn watched(meter: &Meter) -> Arc<Watched> {
    let clock = Arc::new(FakeClock::at(server_time()));
    let health = Health::new(Arc::clone(&clock) as _);
    health.watch("the client".to_owned(), meter.pulse().clone(), PATIENCE);
    Arc::new(Watched {
        clock,
        health,
        sleeps: Mutex::default(),
    })
}

/// Asks for a page so many times, with a client of this burst, and returns the long sleeps.
async fn sleeps(server: &Server, burst: &str, times: u32) -> Vec<(Duration, bool)> {
    let meter = Meter::new("north");
    let clock = watched(&meter);
    let mut config = config(server, None);
    config.burst = burst.parse().unwrap();
    config.share = 1.0;
    let client = Client::new(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    client.metered(&meter);
    for _ in 0..times {
        client.page(&first_page(Resource::Contacts)).await.unwrap();
    }
    clock.sleeps.lock().unwrap().clone()
}

#[tokio::test]
async fn a_task_that_waits_for_the_limits_or_a_retry_is_not_stuck() {
    let well = Server::start(|_, _| Reply::json(200, PAGE)).await;
    let own_limit = sleeps(&well, "1/5s", 3).await;
    let limited = Server::start(|number, _| match number {
        0 => Reply::with(429, "Retry-After: 600\r\n", ""),
        _ => Reply::json(200, PAGE),
    })
    .await;
    let refused = sleeps(&limited, "100/5s", 1).await;
    let failing = Server::start(|number, _| match number {
        0..3 => Reply::json(503, ""),
        _ => Reply::json(200, PAGE),
    })
    .await;
    let backoff = sleeps(&failing, "100/5s", 1).await;
    for (waits, least) in [(&own_limit, 2), (&refused, 1), (&backoff, 2)] {
        assert!(waits.len() >= least, "{waits:?}");
        assert!(waits.iter().all(|(_, is_stuck)| !is_stuck), "{waits:?}");
    }
    assert!(refused[0].0 >= Duration::from_mins(10), "{refused:?}");
    // A task that sleeps and does not say that it waits is stuck.
    let clock = watched(&Meter::new("north"));
    clock.sleep(PATIENCE * 3).await;
    assert_eq!(*clock.sleeps.lock().unwrap(), [(PATIENCE * 3, true)]);
}
