//! Errors as problem bodies (RFC 9457): what, where, and what to do.

use crate::index::IndexError;
use crate::retrieve::{NoCopy, ObjectError};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An answer that is no success.
#[derive(Debug)]
pub struct Problem {
    pub(super) status: StatusCode,
    detail: String,
}

impl Problem {
    /// With a status and a sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    /// 400.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404; also for what exists and must not be seen.
    pub fn unknown(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("{what} is not here"))
    }

    /// 406.
    pub fn unacceptable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(status = self.status.as_u16(), detail = self.detail, "request failed");
        }
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Problem {
        let status = match error {
            IndexError::TooBroad => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<NoCopy> for Problem {
    fn from(error: NoCopy) -> Problem {
        match error {
            NoCopy::Object(e) => e.into(),
            NoCopy::Decode(e) if e.is_ours() => Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()),
            // PS3.18 8.7.3.4: what cannot be turned into Explicit VR Little Endian is not acceptable by default.
            e => Problem::unacceptable(format!("{e}; ask for transfer-syntax=* to get it as stored")),
        }
    }
}

/// A task that panicked or was cancelled.
pub fn task_failed(error: tokio::task::JoinError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a task failed: {error}"))
}
