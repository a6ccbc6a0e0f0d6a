//! `/dev/token`: in development mode anybody who opens the page may chat.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    id::UserId,
    limits::MAX_USER_NAME,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    body::{FromObject, Object, Strict},
    error::{ApiError, ErrorBody},
    state::{HttpState, state},
};
use crate::auth::{Grant, mint, unix_seconds};

/// How long a token of development mode is good, in seconds: 12 hours.
pub const TTL_SECONDS: u64 = 12 * 3600;

/// Who wants to chat.
#[derive(ToSchema)]
pub struct Wanted {
    /// User id, 1 to 128 bytes without control characters.
    #[schema(value_type = String)]
    sub: UserId,
    /// Name to show, at most 128 bytes without control characters.
    name: Option<Box<str>>,
}

impl FromObject for Wanted {
    const FIELDS: &'static [&'static str] = &["sub", "name"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        let sub = UserId::new(object.need("sub")?)
            .map_err(|e| HubError::bad_request(format!("`sub`: {}", e.message)))?;
        let name = object.text("name")?.filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|n| n.len() > MAX_USER_NAME || n.contains(char::is_control)) {
            return Err(HubError::bad_request(format!(
                "`name` must have at most {MAX_USER_NAME} bytes and no control characters"
            )));
        }
        Ok(Self { sub, name })
    }
}

/// A token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// JWT (HS256), good for 12 hours on this node until it ends.
    token: String,
}

/// The node is in development mode and the request comes from its own page or from no page.
/// Stands first among the arguments, so that nothing of another request is read.
pub struct DevPage(());

impl actix_web::FromRequest for DevPage {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        std::future::ready(state(request).and_then(|state| {
            if state.development().is_none() {
                return Err(ApiError::not_found("tokens are given in development mode only"));
            }
            if !same_origin(request) {
                let why = "tokens are given to the hub's own page only";
                return Err(HubError::new(ErrorCode::Forbidden, why).into());
            }
            Ok(Self(()))
        }))
    }
}

/// Whether no page of another origin asks: the host of `Origin` is that of `Host`. Browsers send
/// `Origin` with every POST; programs need not.
fn same_origin(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let Some((_, origin)) = origin.split_once("://") else { return false };
    text(header::HOST.as_str()).is_some_and(|host| host.eq_ignore_ascii_case(origin))
}

/// Get a token for the chat page
///
/// In development mode only, and not for pages of another origin.
#[utoipa::path(
    post, path = "/dev/token", tag = "development",
    request_body = Wanted,
    responses(
        (status = 200, description = "A token", body = Token),
        (status = 400, description = "`bad_request`", body = ErrorBody),
        (status = 403, description = "`forbidden`: a page of another origin", body = ErrorBody),
        (status = 404, description = "`not_found`: not in development mode", body = ErrorBody),
    )
)]
pub async fn token(
    _: DevPage,
    state: web::Data<HttpState>,
    body: Strict<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let Some(secret) = state.development() else {
        return Err(ApiError::not_found("tokens are given in development mode only"));
    };
    let Wanted { sub, name } = body.0;
    let grant = Grant {
        sub: sub.to_string(),
        name: name.map(Into::into),
        ttl_seconds: TTL_SECONDS,
        issuer: state.config.auth.issuer.clone(),
        audience: state.config.auth.audience.clone(),
        ..Grant::default()
    };
    let (token, _) = mint(secret, &grant, unix_seconds())
        .map_err(|error| HubError::bad_request(error.to_string()))?;
    Ok(HttpResponse::Ok().json(Token { token }))
}
