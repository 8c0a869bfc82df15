//! Tells the user what a request waits for.

use std::future::Future;
use std::time::Duration;

use super::{Context, Failure};
use crate::api::{Client, WaitReason};
use crate::data::Trouble;

/// How long a live command tries to reach a platform to which it has no connection.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Waits for an answer. If that takes long, prints the reason once. Gives up after [`GIVE_UP`]
/// without a connection: a person is waiting, and can repeat the command later.
pub(super) async fn patiently<T>(
    context: &Context,
    client: &Client,
    answer: impl Future<Output = T>,
) -> Result<T, Failure> {
    let zone = context.zone()?;
    let mut answer = std::pin::pin!(answer);
    let mut told = false;
    let mut unreachable_since = None;
    loop {
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            () = context.clock.sleep(Duration::from_secs(1)) => {
                let trouble = client.trouble();
                if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.unreachable) {
                    let now = context.clock.running();
                    let since = *unreachable_since.get_or_insert(now);
                    if context.clock.elapsed(since) >= GIVE_UP {
                        return Err(Failure::failed(anyhow::anyhow!(
                            "cannot reach {}: {}; check the base URL and the network",
                            trouble.place,
                            trouble.detail
                        )));
                    }
                } else {
                    unreachable_since = None;
                }
                if let Some(waiting) = client.waiting().filter(|_| !told) {
                    told = true;
                    let reason = match waiting.reason {
                        WaitReason::OwnLimit => {
                            "the configured share of the rate limit is used up".to_owned()
                        }
                        WaitReason::Refused => "the platform's rate limit is used up".to_owned(),
                        WaitReason::Backoff => trouble.map_or_else(
                            || "retrying the last request, which failed".to_owned(),
                            |Trouble { place, detail, .. }| {
                                format!("retrying the last request to {place}, which failed ({detail})")
                            },
                        ),
                    };
                    context.note(&format!(
                        "waiting until {}: {reason}; press Ctrl-C to give up",
                        zone.show_seconds(waiting.until)
                    ));
                }
            }
        }
    }
}
