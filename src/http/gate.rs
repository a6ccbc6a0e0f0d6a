//! What every request passes on its way in and out: CORS, common headers, one shape of errors.

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web,
};
use hubbub_protocol::error::{ErrorCode, HubError};

use super::{error::ApiError, is_ours, state::HttpState};

/// What pages of allowed origins may send.
const CORS_METHODS: &str = "GET, HEAD, POST, DELETE";
/// Headers they may send.
const CORS_HEADERS: &str = "authorization, content-type";
/// Seconds for which browsers keep the answer to a preflight.
const CORS_MAX_AGE: &str = "600";

/// Answers preflights, and puts on every answer what it must have.
pub(super) async fn pass<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<web::Data<HttpState>>().cloned();
    // Only the API is for pages of other origins.
    let origin =
        request.headers().get(header::ORIGIN).filter(|_| request.path().starts_with("/api/"));
    let cors =
        origin.and_then(|origin| allow(&state.as_ref()?.config.server.allowed_origins, origin));
    let preflight = origin.is_some()
        && request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        request.into_response(answer_preflight(cors.is_some()))
    } else {
        one_shape(next.call(request).await?.map_into_boxed_body())
    };
    if let (Some(error), Some(state)) =
        (response.response().error().and_then(|e| e.as_error::<ApiError>()), &state)
    {
        state.hub.shared().metrics.errors.with_label_values(&[error.code().as_str()]).inc();
    }
    let path_is_api = response.request().path().starts_with("/api/");
    let headers = response.headers_mut();
    if let Some(allowed) = cors {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    if path_is_api {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    dress(headers);
    Ok(response)
}

/// Headers that every answer has unless it brings its own.
fn dress(headers: &mut HeaderMap) {
    for (name, value) in
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// What `Access-Control-Allow-Origin` says to an origin; none if it is not allowed. Credentials
/// are never allowed: the API key is no cookie.
fn allow(allowed: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    if allowed.iter().any(|one| one == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let text = origin.to_str().ok()?;
    allowed.iter().any(|one| one.eq_ignore_ascii_case(text)).then(|| origin.clone())
}

fn answer_preflight(allowed: bool) -> HttpResponse {
    if !allowed {
        let why = "pages of this origin may not use the API; see server.allowed_origins";
        let refusal = ApiError::from(HubError::new(ErrorCode::Forbidden, why));
        return HttpResponse::from_error(refusal);
    }
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE))
        .finish()
}

/// Gives a refusal that actix-web made by itself the shape of ours.
fn one_shape(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || json || !is_ours(response.request()) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut ours = response.error_response(ApiError::of_status(status));
    if let Some(allow) = allow {
        ours.headers_mut().insert(header::ALLOW, allow);
    }
    ours
}
