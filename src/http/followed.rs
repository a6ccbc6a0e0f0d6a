//! Whether somebody follows what a request publishes: the header `traceparent` (W3C Trace Context).

use std::{convert::Infallible, future::Ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use hubbub_protocol::traceparent::TraceParent;

/// The trace that the request brings. One that is not valid, or comes twice, is ignored, as the
/// recommendation wants it.
pub struct Followed(pub Option<TraceParent>);

impl FromRequest for Followed {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut headers = request.headers().get_all("traceparent");
        let trace = match (headers.next(), headers.next()) {
            (Some(only), None) => only.to_str().ok().and_then(TraceParent::parse),
            _ => None,
        };
        std::future::ready(Ok(Self(trace)))
    }
}
