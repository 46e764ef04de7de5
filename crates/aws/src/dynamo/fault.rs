//! What DynamoDB's errors mean.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use control::ports::TableError;

/// What to make of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The condition did not hold.
    Condition,
    /// Another transaction has the item just now. Nothing was written.
    Contended,
    /// Too much was asked for. Nothing was written.
    Throttled,
    /// No answer, or one that says nothing: it may or may not have been written.
    Silent,
    /// The request breaks a limit.
    Limit,
    /// Asking again does not help: no such table, no permission, bad credentials.
    Refused,
}

pub(super) fn fault<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Fault {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Fault::Silent
        }
        SdkError::ServiceError(context) => {
            let known = error.code().and_then(by_code);
            known.unwrap_or(if context.raw().status().is_server_error() {
                Fault::Silent
            } else {
                Fault::Refused
            })
        }
        _ => Fault::Refused,
    }
}

/// Codes of errors, and of the reasons of a cancelled transaction.
pub(super) fn by_code(code: &str) -> Option<Fault> {
    Some(match code {
        "ConditionalCheckFailedException" | "ConditionalCheckFailed" => Fault::Condition,
        "TransactionConflictException" | "TransactionConflict" => Fault::Contended,
        // The same token is under way: its first request has no answer yet.
        "TransactionInProgressException" => Fault::Silent,
        "ProvisionedThroughputExceededException"
        | "ProvisionedThroughputExceeded"
        | "ThrottlingException"
        | "ThrottlingError"
        | "RequestLimitExceeded"
        | "LimitExceededException" => Fault::Throttled,
        "ValidationException"
        | "ValidationError"
        | "ItemCollectionSizeLimitExceededException"
        | "ItemCollectionSizeLimitExceeded" => Fault::Limit,
        "InternalServerError" | "InternalServerErrorException" | "ServiceUnavailable" => {
            Fault::Silent
        }
        _ => return None,
    })
}

/// The error of a request that is not made again.
pub(super) fn explain<E>(error: &SdkError<E>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match fault(error) {
        Fault::Limit => TableError::Limit(error.message().unwrap_or("a limit").to_owned()),
        _ => TableError::Unavailable(DisplayErrorContext(error).to_string()),
    }
}
