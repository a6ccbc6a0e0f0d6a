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

#[test]
fn sessions_are_looked_at_and_closed_one_by_one() {
    let hub = Hub::start(&[]);
    let mut ann = hub.member("ann", "r");
    let mut tab = hub.ws("ann");
    let _bob = hub.member("bob", "r");
    ann.refused(json!({"type": "leave", "roomId": "elsewhere"}), "not_a_member");
    let list = hub.api().get("/api/sessions?order=errors").expect(200);
    assert_eq!(list["sessionCount"], 3, "{list}");
    let first = &list["sessions"][0];
    assert_eq!(
        (&first["userId"], &first["lastError"]["code"]),
        (&json!("ann"), &json!("not_a_member"))
    );
    let path = format!("/api/sessions/{}", first["id"].as_str().unwrap());
    let one = hub.api().get(&path).expect(200);
    assert_eq!(
        (&one["rooms"], &one["wire"], &one["waitingBytes"]),
        (&json!(["r"]), &json!("json"), &json!(0))
    );
    assert!(one["receivedFrames"].as_u64().unwrap() >= 2, "{one}");
    assert!(one["tokenEndsAt"].is_string(), "{one}");

    assert_eq!(hub.api().delete(&path).expect(200), json!({"closed": 1}));
    ann.expect_close(4403);
    tab.fence();
    until("the session is gone", Duration::from_secs(5), || {
        (hub.api().get(&path).status == 404).then_some(())
    });
    assert_eq!(hub.api().get("/api/sessions?user=ann").expect(200)["sessionCount"], 1);
    hub.http().get("/api/sessions").expect_error(401, "unauthorized");
}

#[test]
fn a_message_is_followed_to_those_who_have_it() {
    let hub = Hub::start(&[]);
    let (mut ann, mut bob) = (hub.member("ann", "r"), hub.member("bob", "r"));
    let _cy = hub.ws("cy");
    let id = ann.say("r", "hello")["messageId"].as_str().unwrap().to_owned();
    bob.hears("hello");
    let trace = |what: &str| hub.api().get(&format!("/api/rooms/r/messages/{what}")).expect(200);
    let all = until("both have it", Duration::from_secs(5), || {
        Some(trace(&format!("{id}/trace"))).filter(|all| all["written"] == 2)
    });
    assert_eq!((&all["offset"], &all["userId"]), (&json!(1), &json!("ann")), "{all}");
    let users: Vec<_> = all["sessions"].as_array().unwrap().iter().map(|s| &s["userId"]).collect();
    assert_eq!(users, ["ann", "bob"]);
    let answer =
        |user: &str| trace(&format!("1/trace?user={user}"))["answer"].as_str().unwrap().to_owned();
    assert!(answer("bob").contains("written"), "{}", answer("bob"));
    assert!(answer("cy").contains("not a member"), "{}", answer("cy"));
    assert!(answer("dan").contains("no session"), "{}", answer("dan"));
    hub.api().get("/api/rooms/r/messages/2/trace").expect_error(404, "not_found");
}

#[test]
fn a_drain_over_http_ends_the_node_in_good_order() {
    let mut hub = Hub::start(&[("HUBBUB__NODE__ID", "n7")]);
    let mut ann = hub.member("ann", "r");
    hub.api().post("/api/nodes/n8/drain", &json!({})).expect_error(404, "not_found");
    let answer = hub.api().post("/api/nodes/n7/drain", &json!({}));
    assert_eq!(answer.expect(202), json!({"draining": true, "nodeId": "n7"}));
    ann.expect_kind("closing");
    ann.expect_close(1012);
    assert!(hub.wait_exit(Duration::from_secs(10)).success());
}
