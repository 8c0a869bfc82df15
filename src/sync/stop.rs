//! Waits for something until the work is stopped.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::policy::RunError;

/// Waits for a future. Returns [`RunError::Stopped`] if `stop` is cancelled before the future is ready.
pub(super) async fn unless_stopped<F: Future>(
    stop: &CancellationToken,
    waited_for: F,
) -> Result<F::Output, RunError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(RunError::Stopped),
        there = waited_for => Ok(there),
    }
}
