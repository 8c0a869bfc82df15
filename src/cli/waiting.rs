//! Telling the person at the terminal what a request waits for.

use std::future::Future;
use std::time::Duration;

use super::{Context, Failure};
use crate::api::{Client, Trouble, WaitReason};

/// How long a platform to which there is no connection is tried by a command that only asks.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Waits for an answer, and says once why if that takes long. Gives up if there is no connection
/// at all for a while: nothing is lost by asking later, and somebody is waiting.
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
                            "{} cannot be reached: {}; is the base URL right?",
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
                        WaitReason::OwnLimit => "our part of the rate limit is used up".to_owned(),
                        WaitReason::Refused => "the platform's rate limit is reached".to_owned(),
                        WaitReason::Backoff => trouble.map_or_else(
                            || "the last request failed and is tried again".to_owned(),
                            |Trouble { place, detail, .. }| {
                                format!(
                                    "the last request to {place} failed ({detail}) and is tried \
                                     again"
                                )
                            },
                        ),
                    };
                    context.note(&format!(
                        "waiting until {}: {reason}; Ctrl-C to give up",
                        zone.show_seconds(waiting.until)
                    ));
                }
            }
        }
    }
}
