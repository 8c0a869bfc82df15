//! Answers, and the two bodies in which the platform reports errors (API notes, 12).

use std::time::Duration;

use serde_json::{Value, json};

use super::Ticks;
use super::account::Account;
use super::config::RetryAfter;

/// An answer, before anything is done to it on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    /// Records in it.
    pub(super) items: usize,
    pub(super) retry_after: Option<String>,
}

const JSON: &str = "application/json; charset=utf-8";

impl Answer {
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

    /// Something else than JSON.
    pub(super) fn html(status: u16) -> Self {
        let body = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n\
                    <center><h1>Bad Gateway</h1></center>\r\n<hr><center>gateway</center>\r\n\
                    </body>\r\n</html>\r\n";
        Self {
            status,
            kind: "text/html",
            body: body.into(),
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
pub(super) fn problem(status: u16, title: &str, detail: &str) -> Answer {
    Answer::json(
        status,
        &json!({"type": null, "title": title, "status": status, "detail": detail, "instance": null}),
    )
}

/// 429. Its body was never captured; this is a guess (API notes, 13).
pub(super) fn too_many(retry_after: Option<String>) -> Answer {
    let body = json!({
        "type": null, "title": "Too Many Requests", "status": 429, "detail": null, "instance": null
    });
    Answer {
        retry_after,
        ..Answer::json(429, &body)
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

impl Account {
    /// The platform's own error body.
    pub(super) fn exception(&mut self, status: u16, code: &Value, key: &str, text: &str) -> Answer {
        let id = self.error_id().simple().to_string();
        Answer::json(
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

    pub(super) fn unauthorised(&mut self) -> Answer {
        self.exception(401, &json!(401), "ERROR_UNAUTHORIZED", "Acesso negado")
    }

    /// Bad input, or anything else the platform did not expect.
    pub(super) fn internal(&mut self, text: &str) -> Answer {
        self.exception(500, &json!(500), "ERROR_INTERNAL", text)
    }

    /// Its status comes as a name, as the spec has it, where the others come as numbers, as
    /// recorded (API notes, 12).
    pub(super) fn not_found(&mut self) -> Answer {
        self.exception(
            404,
            &json!("NotFound"),
            "ERROR_NOT_FOUND",
            "Registro não encontrado",
        )
    }
}
