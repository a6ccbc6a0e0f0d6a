//! How a refusal leaves the hub: always `{"error":{"code","message"}}`.

use std::{collections::BTreeMap, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use hubbub_protocol::error::{ErrorCode, HubError};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        response::{Response, ResponsesBuilder},
    },
};

/// A refusal with the status of its code, or with another one.
#[derive(Clone, Debug)]
pub struct ApiError {
    error: HubError,
    status: StatusCode,
}

impl ApiError {
    /// A refusal whose status says more than its code, such as 405.
    pub fn with_status(status: StatusCode, error: HubError) -> Self {
        Self { error, status }
    }

    /// There is nothing of that name. 404.
    pub fn not_found(message: &'static str) -> Self {
        HubError::new(ErrorCode::NotFound, message).into()
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.error.code
    }

    /// What a client that got `status` from a part that knows nothing of hubbub is told.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            401 => ErrorCode::Unauthorized,
            403 => ErrorCode::Forbidden,
            404 => ErrorCode::NotFound,
            410 => ErrorCode::Gone,
            413 => ErrorCode::TooLarge,
            429 => ErrorCode::RateLimited,
            500.. => ErrorCode::Unavailable,
            _ => ErrorCode::BadRequest,
        };
        let reason = status.canonical_reason().unwrap_or("the request was refused");
        Self::with_status(status, HubError::new(code, reason))
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        // Every status of a code is a valid one.
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { error, status }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(ErrorBody {
            error: ErrorDetail { code: self.error.code.as_str(), message: &self.error.message },
        })
    }
}

/// Every refusal has this shape.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody<'a> {
    /// What went wrong.
    error: ErrorDetail<'a>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub struct ErrorDetail<'a> {
    /// A stable word; the same on every wire.
    #[schema(example = "bad_request")]
    code: &'static str,
    /// One sentence for a person.
    message: &'a str,
}

/// The refusals that any call may answer with, for the OpenAPI document.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [
            ("400", "`bad_request`: a name, field, parameter or the JSON is wrong"),
            ("429", "`too_many_rooms`: the hub keeps as many rooms as it may"),
            ("503", "`unavailable`: not possible right now; try again"),
        ]
        .into_iter()
        .fold(ResponsesBuilder::new(), |all, (status, why)| all.response(status, refusal(why)))
        .build()
        .into()
    }
}

/// The refusals of calls that need the API key.
pub(super) struct KeyRefusals;

impl IntoResponses for KeyRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = Refusals::responses();
        for (status, why) in [
            ("401", "`unauthorized`: the API key is missing or wrong"),
            ("403", "`forbidden`: no API key is configured, or the room is reserved"),
            ("404", "`not_found`: there is no such thing"),
            ("413", "`too_large`: the body is larger than it may be"),
        ] {
            all.insert(status.to_owned(), refusal(why).into());
        }
        all
    }
}

fn refusal(why: &str) -> Response {
    ResponseBuilder::new()
        .description(why)
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_another_part_becomes_a_code() {
        for (status, code) in [
            (400, ErrorCode::BadRequest),
            (406, ErrorCode::BadRequest),
            (413, ErrorCode::TooLarge),
            (500, ErrorCode::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            let error = ApiError::of_status(status);
            assert_eq!((error.status_code(), error.code()), (status, code));
        }
    }
}
