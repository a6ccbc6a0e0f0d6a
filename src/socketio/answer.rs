//! The answers of Engine.IO over HTTP, byte for byte as clients know them.

use actix_web::{HttpResponse, http::StatusCode, http::header};
use hubbub_protocol::{error::HubError, wire::engineio::EngineError};

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// A refusal that every client knows.
pub(super) fn refusal(error: EngineError) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header(NO_STORE)
        .body(error.body())
}

/// A refusal of the hub's own.
pub(super) fn hub_error(status: StatusCode, error: &HubError) -> HttpResponse {
    HttpResponse::build(status).insert_header(NO_STORE).json(serde_json::json!({ "error": error }))
}

/// The answer to a GET.
pub(super) fn payload(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=UTF-8"))
        .insert_header(NO_STORE)
        .body(body)
}

/// The answer to a POST whose packets were taken.
pub(super) fn taken() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html"))
        .insert_header(NO_STORE)
        .body("ok")
}

/// The answer to a POST that is larger than the client was told it may be.
pub(super) fn too_large() -> HttpResponse {
    HttpResponse::PayloadTooLarge().insert_header(NO_STORE).finish()
}
