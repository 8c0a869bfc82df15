//! Being stopped while something is waited for.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::policy::RunError;

/// What is waited for, unless `stop` is cancelled before it is there.
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
