//! Removing users.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

#[test]
fn an_operator_closes_every_session_of_a_user() {
    let hub = Hub::start(&[]);
    let mut tabs = [hub.member("ann", "r"), hub.ws("ann")];
    let mut bob = hub.member("bob", "r");
    let answer = hub.api().delete("/api/users/ann/sessions");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json().as_object().unwrap().values().any(|v| *v == 2), "{}", answer.text());
    for ws in &mut tabs {
        ws.expect_close(4403);
    }
    bob.fence();
    hub.metric_until("hubbub_closed_total", &["forbidden"], |n| n == 2.0);
    // Without a ban the user may come back.
    hub.member("ann", "r").close();
    let none = hub.api().delete("/api/users/never-seen/sessions");
    assert_eq!(none.status, 200, "{}", none.text());
    assert!(none.json().as_object().unwrap().values().any(|v| *v == 0), "{}", none.text());
}

#[test]
fn a_banned_user_stays_out_for_a_while() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let answer = hub.api().delete("/api/users/ann/sessions?ban_ms=1500");
    assert_eq!(answer.status, 200, "{}", answer.text());
    ann.expect_close(4403);
    let way = || Handshake::new().bearer(&token("ann", json!({})));
    hub.refusal(way()).expect_error(403, "forbidden");
    let mut late = hub.connect(Handshake::new());
    let request = json!({"type": "auth", "token": token("ann", json!({}))});
    let error = late.request(request).expect_err("a banned user's token");
    assert_eq!(error["code"], "forbidden", "{error}");
    late.expect_close(4403);
    hub.ws("bob").close();
    until("the ban ends", Duration::from_secs(5), || way().open(hub.address).ok())
        .expect_kind("authenticated");
    let wrong = hub.api().delete("/api/users/ann/sessions?ban_ms=soon");
    wrong.expect_error(400, "bad_request");
}
