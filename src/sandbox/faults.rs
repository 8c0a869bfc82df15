//! Applies faults to answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::account::SandboxAccount;
use super::config::Fault;
use super::errors::{self, Reply};
use crate::clock::Clock;

impl SandboxAccount {
    /// Draws the fault of the next answer.
    pub(super) fn draw_fault(&mut self) -> Fault {
        let rates = self.faults.clone();
        let shares = [
            rates.too_many,
            rates.internal,
            rates.bad_gateway,
            rates.unavailable,
            rates.cut,
            rates.reset,
            rates.error_true,
            rates.slow,
            rates.html,
            rates.unauthorized,
            rates.forbidden,
        ];
        if shares.iter().all(|share| *share <= 0.0) {
            return Fault::None;
        }
        let mut drawn = self.fault_dice.f64();
        let hit = shares.iter().position(|share| {
            drawn -= share;
            drawn < 0.0
        });
        match hit {
            Some(0) => {
                let wait = Duration::from_secs(self.fault_dice.u64(1..4));
                Fault::TooMany(errors::retry_after(rates.retry_after, self.now(), wait))
            }
            Some(1) => Fault::Internal,
            Some(2) => Fault::BadGateway,
            Some(3) => Fault::Unavailable,
            Some(4) => Fault::Cut,
            Some(5) => Fault::Reset,
            Some(6) => Fault::ErrorTrue,
            Some(7) => Fault::Slow(rates.slow_for),
            Some(8) => Fault::Html,
            Some(9) => Fault::Unauthorized,
            Some(_) => Fault::Forbidden,
            None => Fault::None,
        }
    }

    /// The answer with which a fault replaces the right one; `None` if the fault only damages it.
    pub(super) fn faulty(&mut self, fault: &Fault) -> Option<Reply> {
        Some(match fault {
            Fault::None | Fault::Cut | Fault::Slow(_) | Fault::Late(_) => return None,
            Fault::TooMany(retry_after) => errors::too_many(retry_after.clone()),
            Fault::Internal => self.internal("Ocorreu um erro inesperado."),
            Fault::BadGateway => Reply::html(502),
            Fault::Unavailable | Fault::Reset => Reply::empty(503),
            Fault::ErrorTrue => Reply {
                status: 200,
                ..self.internal("Tente novamente.")
            },
            Fault::Unauthorized => self.unauthorised(),
            Fault::Reply(status, body) => Reply {
                status: *status,
                ..Reply::good(body.clone().into_bytes(), 0)
            },
            Fault::Html => Reply::html(200),
            Fault::Forbidden => Reply::html(403),
        })
    }
}

/// A body that ends in the middle: its first half, then an error that makes the server close the
/// connection.
pub(super) fn cut(body: &[u8]) -> Body {
    let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
    let parts = stream::unfold(0, move |step| {
        let half = half.clone();
        async move {
            match step {
                0 => Some((Ok(half), 1)),
                1 => {
                    // Lets the first half leave before the connection is closed.
                    tokio::task::yield_now().await;
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), 2))
                }
                _ => None,
            }
        }
    });
    // Compression asks once more after the end.
    Body::from_stream(parts.fuse())
}

/// A body sent in ten pieces over a time.
pub(super) fn slow(body: Vec<u8>, over: Duration, clock: Arc<dyn Clock>) -> Body {
    let body = Bytes::from(body);
    let drop = body.len().div_ceil(10).max(1);
    let drops = stream::unfold(0_usize, move |sent| {
        let (body, clock) = (body.clone(), Arc::clone(&clock));
        async move {
            if sent >= body.len() {
                return None;
            }
            clock.sleep(over / 10).await;
            let to = (sent + drop).min(body.len());
            Some((Ok::<_, io::Error>(body.slice(sent..to)), to))
        }
    });
    Body::from_stream(drops.fuse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;
    use crate::data::Timestamp;

    #[tokio::test]
    async fn a_spoilt_body_that_has_ended_may_be_asked_for_more() {
        let clock = Arc::new(FakeClock::at(Timestamp::from_micros(0)));
        let over = Duration::from_secs(1);
        for body in [cut(b"0123456789"), slow(b"0123456789".into(), over, clock)] {
            let mut parts = body.into_data_stream();
            while parts.next().await.is_some() {}
            assert!(parts.next().await.is_none());
        }
    }
}
