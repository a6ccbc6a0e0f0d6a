//! Pages of other origins (`server.allowed_origins`).

use actix_http::{RequestHead, header};
use actix_web::{HttpResponse, http::header::HeaderValue};

/// What a page of another origin is told.
pub(super) struct Cors {
    origin: Option<HeaderValue>,
    credentials: bool,
    listed: bool,
}

impl Cors {
    /// For a request. With a list, the page's own origin is named and it may send
    /// credentials; with `*` everybody may, without credentials.
    pub(super) fn of(head: &RequestHead, allowed: &[String]) -> Self {
        let everybody = allowed.iter().any(|a| a == "*");
        let listed = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            allowed.iter().any(|a| a.eq_ignore_ascii_case(origin))
        };
        let origin = head.headers().get(header::ORIGIN);
        match origin.filter(|o| listed(o)) {
            Some(origin) => Self { origin: Some(origin.clone()), credentials: true, listed: true },
            None => Self {
                origin: everybody.then(|| HeaderValue::from_static("*")),
                credentials: false,
                listed: !everybody && !allowed.is_empty(),
            },
        }
    }

    /// Adds the headers; on errors too, so that the page can read them.
    pub(super) fn apply(self, response: &mut HttpResponse) {
        let headers = response.headers_mut();
        if self.listed {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

/// The answer to a preflight.
pub(super) fn preflight(head: &RequestHead) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET,POST"));
    if let Some(asked) = head.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
        response.append_header((header::VARY, "Access-Control-Request-Headers"));
    }
    response.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(origin: &str, allowed: &[&str]) -> [Option<String>; 3] {
        let mut head = RequestHead::default();
        head.headers_mut().insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        let allowed: Vec<String> = allowed.iter().map(|s| s.to_string()).collect();
        let mut response = HttpResponse::Ok().finish();
        Cors::of(&head, &allowed).apply(&mut response);
        let get = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        [
            get(header::ACCESS_CONTROL_ALLOW_ORIGIN),
            get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS),
            get(header::VARY),
        ]
    }

    #[test]
    fn only_listed_origins_may_send_credentials() {
        let some = |text: &str| Some(text.to_owned());
        let page = "https://a.example";
        assert_eq!(told(page, &[page]), [some(page), some("true"), some("Origin")]);
        assert_eq!(told(page, &["https://b.example"]), [None, None, some("Origin")]);
        assert_eq!(told(page, &["*"]), [some("*"), None, None]);
        assert_eq!(told(page, &[]), [None, None, None]);
    }
}
