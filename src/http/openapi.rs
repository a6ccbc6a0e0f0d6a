//! The OpenAPI document, generated from the handlers.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header::ContentType, web};
use bytes::Bytes;
use hubbub_protocol::error::HubError;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    connection, dev, error, error::ApiError, metrics, nodes, pages, publish, receipts, rooms,
    sessions, state::HttpState, status, trace, users,
};

/// Describes every route of the hub.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hubbub",
        description = "A clustered realtime hub. Publishing, and reading what names rooms or \
                       users, needs `Authorization: Bearer <auth.api_key>`. Unknown fields and \
                       parameters are refused.",
    ),
    paths(
        publish::to_room, publish::to_user, publish::notify, publish::broadcast, publish::message,
        rooms::list, rooms::one, rooms::members, rooms::messages, receipts::receipts,
        users::one, users::close, nodes::list,
        sessions::list, sessions::one, sessions::close, sessions::drain, trace::trace,
        status::stats, status::health, status::websocket, status::live, status::ready,
        metrics::prometheus, connection::seen, document, dev::token, pages::page, pages::script, pages::style,
        pages::ops, pages::ops_script, pages::ops_style,
    ),
    components(schemas(error::ErrorBody, error::ErrorDetail)),
    modifiers(&Key),
    tags(
        (name = "publish", description = "Speak to rooms, users and everybody"),
        (name = "rooms", description = "Look at rooms"),
        (name = "users", description = "Look at users and send them away"),
        (name = "operators", description = "Sessions, messages on their way, and the operations page"),
        (name = "monitoring", description = "Health, counts, metrics"),
        (name = "development", description = "The chat page of development mode"),
    )
)]
pub struct ApiDocument;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`auth.api_key` of the configuration"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("api_key", SecurityScheme::Http(scheme));
    }
}

/// What a node in development mode answers.
static WHOLE: LazyLock<Result<Bytes, serde_json::Error>> =
    LazyLock::new(|| write(&ApiDocument::openapi()));

/// What every other node answers.
static PRODUCTION: LazyLock<Result<Bytes, serde_json::Error>> = LazyLock::new(|| {
    let mut document = ApiDocument::openapi();
    document.paths.paths.retain(|_, item| {
        let operations = [&item.get, &item.post, &item.delete].into_iter().flatten();
        !operations.filter_map(|call| call.tags.as_ref()).flatten().any(|tag| tag == DEVELOPMENT)
    });
    if let Some(tags) = &mut document.tags {
        tags.retain(|tag| tag.name != DEVELOPMENT);
    }
    write(&document)
});

/// The tag of what is there in development mode only.
const DEVELOPMENT: &str = "development";

fn write(document: &utoipa::openapi::OpenApi) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(document).map(Bytes::from)
}

/// This document
///
/// It says what this node answers: the page of development mode is in it only there.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "monitoring",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub async fn document(state: web::Data<HttpState>) -> Result<HttpResponse, ApiError> {
    let document = if state.development().is_some() { &*WHOLE } else { &*PRODUCTION };
    let document =
        document.as_ref().map_err(|_| HubError::unavailable("the document cannot be written"))?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(document.clone()))
}
