//! The HTTP side of a node, on actix-web. WebSocket upgrades do not come here: the transport
//! takes them over before.
//!
//! | module | holds |
//! |---|---|
//! | `state` | what handlers share; the API key |
//! | `gate` | what every request passes: CORS, headers, one shape of errors |
//! | `body`, `params` | what requests bring, read strictly |
//! | `followed` | whether somebody follows a message |
//! | `publish`, `rooms`, `users`, `nodes` | the API |
//! | `receipts` | who has got a message |
//! | `sessions`, `trace` | what operators ask |
//! | `status`, `metrics`, `connection` | what monitoring asks |
//! | `dev`, `pages` | development mode |
//! | `openapi` | the document of it all |

use actix_web::{
    App, Error, HttpRequest, HttpResponse, Route,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    guard,
    http::{StatusCode, header},
    middleware::{Compress, from_fn},
    web::{self, ServiceConfig},
};
use hubbub_protocol::error::{ErrorCode, HubError};

mod body;
mod connection;
mod dev;
mod error;
mod followed;
mod gate;
mod metrics;
mod nodes;
mod openapi;
mod pages;
mod params;
mod publish;
mod receipts;
mod rooms;
mod sessions;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod trace;
mod users;

pub use error::ApiError;
pub use openapi::ApiDocument;
pub use state::{BODY_EXTRA_BYTES, HttpState};

/// The application of one worker.
pub fn app(
    state: HttpState,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    app_with(state, |_| {})
}

/// The same, and `extra` adds what else the node answers over HTTP, such as long-polling. It goes
/// first, and its errors keep their own shape.
pub fn app_with(
    state: HttpState,
    extra: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::new(state))
        .configure(extra)
        .configure(mount)
        .service(web::resource("/ws").to(upgrade_only))
        .default_service(web::to(unknown_route))
        .wrap(Compress::default())
        .wrap(from_fn(gate::pass))
}

/// Reading, of which HEAD is the headless form (RFC 9110, section 9.3.2).
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

use actix_web::web::{delete, post};

macro_rules! routes {
    ($( $path:literal => $( $method:ident $handler:path ),+ ; )*) => {
        /// Every path that is mounted, with its methods in lower case.
        pub const ROUTES: &[(&str, &[&str])] = &[ $( ($path, &[ $( stringify!($method) ),+ ]), )* ];

        fn mount(config: &mut ServiceConfig) {
            $(
                config.service(
                    web::resource($path)
                        $( .route($method().to($handler)) )+
                        .default_service(web::to(wrong_method)),
                );
            )*
        }
    };
}

routes! {
    "/api/rooms" => get rooms::list;
    "/api/rooms/{room}" => get rooms::one;
    "/api/rooms/{room}/members" => get rooms::members;
    "/api/rooms/{room}/messages" => get rooms::messages, post publish::to_room;
    "/api/rooms/{room}/messages/{message}/receipts" => get receipts::receipts;
    "/api/rooms/{room}/messages/{message}/trace" => get trace::trace;
    "/api/users/{user}" => get users::one;
    "/api/users/{user}/messages" => post publish::to_user;
    "/api/users/{user}/notifications" => post publish::notify;
    "/api/users/{user}/sessions" => delete users::close;
    "/api/sessions" => get sessions::list;
    "/api/sessions/{session}" => get sessions::one, delete sessions::close;
    "/api/nodes" => get nodes::list;
    "/api/nodes/{node}/drain" => post sessions::drain;
    "/api/broadcast" => post publish::broadcast;
    "/api/message" => post publish::message;
    "/api/connection" => get connection::seen;
    "/api/ws/stats" => get status::stats;
    "/api/ws/health" => get status::health;
    "/api/openapi.json" => get openapi::document;
    "/metrics" => get metrics::prometheus;
    "/metrics/websocket" => get status::websocket;
    "/healthz" => get status::live;
    "/readyz" => get status::ready;
    "/dev/token" => post dev::token;
    "/" => get pages::page;
    "/assets/chat.js" => get pages::script;
    "/assets/chat.css" => get pages::style;
    "/ops" => get pages::ops;
    "/assets/ops.js" => get pages::ops_script;
    "/assets/ops.css" => get pages::ops_style;
}

/// Whether a request was answered by this module and not by `extra`.
fn is_ours(request: &HttpRequest) -> bool {
    request
        .match_pattern()
        .is_none_or(|pattern| pattern == "/ws" || ROUTES.iter().any(|(path, _)| *path == pattern))
}

async fn unknown_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("there is nothing at this address; see /api/openapi.json"))
}

async fn upgrade_only() -> Result<HttpResponse, ApiError> {
    let why = "this address speaks WebSocket; connect with a WebSocket client";
    Err(HubError::bad_request(why).into())
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    let pattern = request.match_pattern().unwrap_or_default();
    let methods = ROUTES.iter().find(|(path, _)| *path == pattern).map_or(&[][..], |(_, m)| m);
    let allowed = methods.join(", ").to_uppercase().replace("GET", "GET, HEAD");
    let why = format!("this address answers {allowed}");
    let error = ApiError::with_status(
        StatusCode::METHOD_NOT_ALLOWED,
        HubError::new(ErrorCode::BadRequest, why),
    );
    let mut response = HttpResponse::from_error(error);
    if let Ok(value) = header::HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}
