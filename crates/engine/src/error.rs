//! What can go wrong, with the code that clients act on.

use assay_protocol::{ErrorBody, ErrorCode};
use assay_store::StoreError;

/// Why a use case could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Training or prediction failed.
    #[error(transparent)]
    Learn(#[from] assay_learn::LearnError),
    /// A source cannot be read.
    #[error(transparent)]
    Format(#[from] assay_formats::FormatError),
    /// An image cannot be used.
    #[error(transparent)]
    Media(#[from] assay_media::MediaError),
    /// Something outside failed.
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// The code that clients act on.
    pub fn code(&self) -> ErrorCode {
        match self {
            EngineError::Format(assay_formats::FormatError::DiskFull(_)) => ErrorCode::DiskFull,
            EngineError::Invalid(_) | EngineError::Format(_) | EngineError::Media(_) => ErrorCode::Invalid,
            EngineError::Conflict(_) => ErrorCode::Conflict,
            EngineError::NotFound(_) => ErrorCode::NotFound,
            EngineError::Learn(
                assay_learn::LearnError::Config(_)
                | assay_learn::LearnError::NoDevice(_)
                | assay_learn::LearnError::Weights { .. },
            ) => ErrorCode::Invalid,
            EngineError::Learn(_) | EngineError::Internal(_) => ErrorCode::Internal,
            EngineError::Store(error) => match error {
                StoreError::NotFound { .. } => ErrorCode::NotFound,
                StoreError::NotMlflow { .. } => ErrorCode::Invalid,
                StoreError::Conflict(_) | StoreError::InUse { .. } => ErrorCode::Conflict,
                StoreError::DiskFull => ErrorCode::DiskFull,
                StoreError::ReadOnly(_) | StoreError::Newer { .. } => ErrorCode::ReadOnly,
                _ => ErrorCode::Internal,
            },
        }
    }
}

impl From<EngineError> for ErrorBody {
    fn from(error: EngineError) -> ErrorBody {
        ErrorBody::new(error.code(), error.to_string())
    }
}
