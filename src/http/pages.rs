//! The chat page of development mode and the operations page, built into the binary.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::LazyLock,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag, Header, IfNoneMatch},
    web,
};

use super::{
    error::{ApiError, ErrorBody},
    state::HttpState,
};

/// What the page may load: only itself, and connections to the hub.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// A file of a page.
struct Asset {
    /// Part of the chat page, which is there in development mode only.
    development: bool,
    content_type: &'static str,
    bytes: &'static [u8],
    tag: EntityTag,
}

impl Asset {
    fn new(development: bool, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        // Weak, since the answer may be compressed (RFC 9110, section 8.8.1).
        let tag = EntityTag::new_weak(format!("{:016x}-{:x}", hasher.finish(), bytes.len()));
        Self { development, content_type, bytes, tag }
    }

    /// The file, or 304 if the client has it.
    fn answer(&self, state: &HttpState, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
        if self.development && state.development().is_none() {
            return Err(ApiError::not_found("the chat page is there in development mode only"));
        }
        let known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            .insert_header((header::ETAG, self.tag.to_string()))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::VARY, "accept-encoding"))
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "no-referrer"));
        Ok(if known {
            response.finish()
        } else {
            response.content_type(self.content_type).body(self.bytes)
        })
    }
}

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static PAGE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(true, HTML, include_bytes!("../../web/dist/index.html")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(true, JS, include_bytes!("../../web/dist/chat.js")));
static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(true, CSS, include_bytes!("../../web/dist/chat.css")));
static OPS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(false, HTML, include_bytes!("../../web/dist/ops.html")));
static OPS_SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(false, JS, include_bytes!("../../web/dist/ops.js")));
static OPS_STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(false, CSS, include_bytes!("../../web/dist/ops.css")));

/// The chat page
#[utoipa::path(
    get, path = "/", tag = "development",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it"),
        (status = 404, description = "`not_found`: not in development mode", body = ErrorBody),
    )
)]
pub async fn page(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    PAGE.answer(&state, &request)
}

/// The script of the chat page
#[utoipa::path(
    get, path = "/assets/chat.js", tag = "development",
    responses(
        (status = 200, description = "The script", body = String, content_type = "text/javascript"),
        (status = 304, description = "The client has it"),
        (status = 404, description = "`not_found`: not in development mode", body = ErrorBody),
    )
)]
pub async fn script(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    SCRIPT.answer(&state, &request)
}

/// The style of the chat page
#[utoipa::path(
    get, path = "/assets/chat.css", tag = "development",
    responses(
        (status = 200, description = "The style", body = String, content_type = "text/css"),
        (status = 304, description = "The client has it"),
        (status = 404, description = "`not_found`: not in development mode", body = ErrorBody),
    )
)]
pub async fn style(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    STYLE.answer(&state, &request)
}

/// The operations page
///
/// What it shows it asks the API for, with the key that is entered there.
#[utoipa::path(
    get, path = "/ops", tag = "operators",
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it"),
    )
)]
pub async fn ops(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    OPS.answer(&state, &request)
}

/// The script of the operations page
#[utoipa::path(
    get, path = "/assets/ops.js", tag = "operators",
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/javascript"),
        (status = 304, description = "The client has it"),
    )
)]
pub async fn ops_script(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    OPS_SCRIPT.answer(&state, &request)
}

/// The style of the operations page
#[utoipa::path(
    get, path = "/assets/ops.css", tag = "operators",
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/css"),
        (status = 304, description = "The client has it"),
    )
)]
pub async fn ops_style(
    state: web::Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    OPS_STYLE.answer(&state, &request)
}
