//! The client that pages load from the hub: `/socket.io/socket.io.js`.

use std::rc::Rc;

use actix_http::header;
use actix_web::{
    HttpRequest, HttpResponse,
    middleware::Compress,
    web::{self, ServiceConfig},
};

use super::cors::Cors;
use crate::transport::Transport;

/// The version of the client under `web/vendor/socket.io-client`.
const VERSION: &str = "4.8.4";

const SCRIPT: &[u8] = include_bytes!("../../web/vendor/socket.io-client/socket.io.min.js");
const MODULE: &[u8] = include_bytes!("../../web/vendor/socket.io-client/socket.io.esm.min.js");

/// Where each build is.
const FILES: [(&str, &[u8]); 3] = [
    ("/socket.io/socket.io.js", SCRIPT),
    ("/socket.io/socket.io.min.js", SCRIPT),
    ("/socket.io/socket.io.esm.min.js", MODULE),
];

/// Mounts the files.
pub(super) fn configure(cfg: &mut ServiceConfig) {
    for (path, file) in FILES {
        let get = move |request: HttpRequest| async move { serve(&request, file) };
        cfg.service(
            web::resource(path)
                .wrap(Compress::default())
                .route(web::get().to(get))
                .route(web::head().to(get)),
        );
    }
}

fn serve(request: &HttpRequest, file: &'static [u8]) -> HttpResponse {
    let tag = format!("\"{VERSION}\"");
    let known = request.headers().get_all(header::IF_NONE_MATCH);
    let known = known.filter_map(|v| v.to_str().ok()).any(|list| matches(list, &tag));
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "public, max-age=0"));
    let mut response = if known {
        response.finish()
    } else {
        response.insert_header((header::CONTENT_TYPE, "application/javascript; charset=utf-8"));
        response.body(file)
    };
    if let Some(transport) = request.app_data::<Rc<Transport>>() {
        let allowed = &transport.config.server.allowed_origins;
        Cors::of(request.head(), allowed).apply(&mut response);
    }
    response
}

/// Whether a list of entity tags names this one; weakly is enough (RFC 9110,
/// section 13.1.2).
fn matches(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_listed_tags_match() {
        let tag = "\"4.8.4\"";
        for list in ["\"4.8.4\"", "W/\"4.8.4\"", "\"x\", \"4.8.4\"", "*"] {
            assert!(matches(list, tag), "{list}");
        }
        assert!(!matches("\"4.8\"", tag) && !matches("", tag));
    }

    #[test]
    fn the_version_is_that_of_the_files() {
        for file in [SCRIPT, MODULE] {
            let head = String::from_utf8_lossy(&file[..100]);
            assert!(head.contains(&format!("Socket.IO v{VERSION}")), "{head}");
        }
    }
}
