//! Failures as clients act on them.

use assay_engine::EngineError;
use assay_protocol::ErrorCode;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;

/// MLflow's error codes, of those that are sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidParameterValue,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
    EndpointNotFound,
    NotImplemented,
    TemporarilyUnavailable,
    InternalError,
}

impl Code {
    /// The word and the status that clients know.
    fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Code::InvalidParameterValue => ("INVALID_PARAMETER_VALUE", StatusCode::BAD_REQUEST),
            Code::ResourceAlreadyExists => ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
            Code::ResourceDoesNotExist => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
            Code::EndpointNotFound => ("ENDPOINT_NOT_FOUND", StatusCode::NOT_FOUND),
            Code::NotImplemented => ("NOT_IMPLEMENTED", StatusCode::NOT_IMPLEMENTED),
            Code::TemporarilyUnavailable => ("TEMPORARILY_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
            Code::InternalError => ("INTERNAL_ERROR", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A failure on its way out.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidParameterValue, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Failure {
        Failure::new(Code::ResourceDoesNotExist, message)
    }

    /// The same of what is there already, where it contradicts that.
    pub(super) fn of_existing(error: EngineError) -> Failure {
        match error.code() {
            ErrorCode::Conflict => Failure::new(Code::ResourceAlreadyExists, error.to_string()),
            _ => error.into(),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let code = match error.code() {
            ErrorCode::NotFound => Code::ResourceDoesNotExist,
            ErrorCode::Invalid | ErrorCode::Conflict | ErrorCode::ReadOnly => Code::InvalidParameterValue,
            // Clients send it again, and there may be room then.
            ErrorCode::DiskFull => Code::TemporarilyUnavailable,
            _ => Code::InternalError,
        };
        Failure { code, message: error.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let (word, status) = self.code.parts();
        if self.code == Code::InternalError {
            tracing::error!(message = self.message, "a request of a client failed");
        }
        let body = serde_json::json!({ "error_code": word, "message": self.message }).to_string();
        let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
        response.body(Body::from(body)).unwrap_or_default()
    }
}
