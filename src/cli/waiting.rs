//! Telling the person at the terminal what a request waits for.

use std::future::Future;
use std::time::Duration;

use super::{Context, Failure};
use crate::api::{Client, WaitReason};

/// Waits for an answer, and says once why if that takes long.
pub(super) async fn patiently<T>(
    context: &Context,
    client: &Client,
    answer: impl Future<Output = T>,
) -> Result<T, Failure> {
    let zone = context.zone()?;
    let mut answer = std::pin::pin!(answer);
    let mut told = false;
    loop {
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            () = context.clock.sleep(Duration::from_secs(1)) => {
                if let Some(waiting) = client.waiting().filter(|_| !told) {
                    told = true;
                    let reason = match waiting.reason {
                        WaitReason::OwnLimit => "our part of the rate limit is used up",
                        WaitReason::Refused => "the platform's rate limit is reached",
                        WaitReason::Backoff => "the last request failed and is tried again",
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
