//! Answers, and the two bodies in which the platform reports errors (API notes, 12).

use std::time::Duration;

use serde_json::{Value, json};

use super::Ticks;
use super::account::SandboxAccount;
use super::config::RetryAfter;

/// An answer, before anything is done to it on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    /// Records in it.
    pub(super) items: usize,
    pub(super) retry_after: Option<String>,
}

/// How the platform names its bodies, in answers and in deliveries.
pub(super) const JSON: &str = "application/json; charset=utf-8";

impl Reply {
    /// 200 with JSON.
    pub(super) fn good(body: Vec<u8>, items: usize) -> Self {
        Self {
            status: 200,
            kind: JSON,
            body,
            items,
            retry_after: None,
        }
    }

    /// 200 with one record.
    pub(super) fn one(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut body = Vec::with_capacity(4_096);
        write(&mut body);
        Self::good(body, 1)
    }

    /// Any status with any JSON.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            ..Self::good(body.to_string().into_bytes(), 0)
        }
    }

    /// A gateway's page, which is no JSON.
    pub(super) fn html(status: u16) -> Self {
        let title = match status {
            403 => "Forbidden",
            _ => "Bad Gateway",
        };
        let body = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
             <center><h1>{title}</h1></center>\r\n<hr><center>gateway</center>\r\n\
             </body>\r\n</html>\r\n"
        );
        Self {
            status,
            kind: "text/html",
            body: body.into_bytes(),
            items: 0,
            retry_after: None,
        }
    }

    /// A status alone.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            kind: "text/plain",
            body: Vec::new(),
            items: 0,
            retry_after: None,
        }
    }
}

/// The error body of the newer endpoints and of validation.
pub(super) fn problem(status: u16, title: &str, detail: &str) -> Reply {
    Reply::json(
        status,
        &json!({"type": null, "title": title, "status": status, "detail": detail, "instance": null}),
    )
}

/// 429. Its body was never captured; this is a guess (API notes, 13).
pub(super) fn too_many(retry_after: Option<String>) -> Reply {
    let body = json!({
        "type": null, "title": "Too Many Requests", "status": 429, "detail": null, "instance": null
    });
    Reply {
        retry_after,
        ..Reply::json(429, &body)
    }
}

/// The text of a `Retry-After` that asks to wait at least this long.
pub(super) fn retry_after(how: RetryAfter, now: Ticks, wait: Duration) -> Option<String> {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match how {
        RetryAfter::Absent => None,
        RetryAfter::Seconds => Some(seconds.to_string()),
        RetryAfter::Date => Some(http_date(now + Duration::from_secs(seconds + 1))),
    }
}

/// An instant as HTTP writes it.
pub(super) fn http_date(at: Ticks) -> String {
    httpdate::fmt_http_date(at.timestamp().to_datetime().into())
}

impl SandboxAccount {
    /// The platform's own error body.
    pub(super) fn exception(&mut self, status: u16, code: &Value, key: &str, text: &str) -> Reply {
        let id = self.error_id().simple().to_string();
        Reply::json(
            status,
            &json!({
                "error": true,
                "date": self.now().to_string(),
                "key": key,
                "text": text,
                "isUnsolvableError": false,
                "details": null,
                "id": {"value": id, "shortValue": &id[..8]},
                "httpStatusCode": code,
                "version": null,
                "environment": null,
            }),
        )
    }

    pub(super) fn unauthorised(&mut self) -> Reply {
        self.exception(401, &json!(401), "ERROR_UNAUTHORIZED", "Acesso negado")
    }

    /// Anything that the platform did not expect.
    pub(super) fn internal(&mut self, text: &str) -> Reply {
        self.exception(500, &json!(500), "ERROR_INTERNAL", text)
    }

    /// What the platform itself does not let the token see.
    pub(super) fn forbidden(&mut self) -> Reply {
        self.exception(403, &json!(403), "ERROR_FORBIDDEN", "Acesso proibido")
    }

    /// A path that leads nowhere: authentication runs before routing (API notes, 12).
    pub(super) fn no_route(&mut self) -> Reply {
        if self.moods.masked_not_found {
            return self.masked();
        }
        self.unauthorised()
    }

    /// 404 behind a 401 (API notes, 12).
    fn masked(&mut self) -> Reply {
        self.exception(
            401,
            &json!(404),
            "ERROR_NOT_FOUND",
            "Registro não encontrado",
        )
    }

    /// Its status comes as a name, as the spec has it, where the others come as numbers, as
    /// recorded (API notes, 12).
    pub(super) fn not_found(&mut self) -> Reply {
        if self.moods.masked_not_found {
            return self.masked();
        }
        self.exception(
            404,
            &json!("NotFound"),
            "ERROR_NOT_FOUND",
            "Registro não encontrado",
        )
    }
}
