//! What a session learns of the others while it joins.

use serde_json::json;

use super::*;

#[actix_web::test]
async fn who_comes_while_another_joins_is_told_to_it() {
    let node = Node::start(closed());
    let _old = node.session("old", &["r"]).await;
    let mut ann = node.session("ann", &["full"]).await;
    // So much waits for her that nothing more is told before she takes it.
    let content = "x".repeat(60_000);
    for _ in 0..8 {
        node.post("/api/rooms/full/messages", json!({"content": content})).await;
    }
    ann.send(json!({"type": "join", "roomId": "r"}));
    let listed = async |user: &str, there: bool| {
        for _ in 0..2000 {
            let (_, page) = node.get("/api/rooms/r/members").await;
            let members = page["members"].as_array().cloned().unwrap_or_default();
            if members.iter().any(|member| member["userId"] == user) == there {
                return;
            }
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{user} is not listed in time");
    };
    listed("ann", true).await;
    // The list for her is made; these come and go behind it.
    let _ben = node.session("ben", &["r"]).await;
    let cy = node.session("cy", &["r"]).await;
    cy.send(json!({"type": "leave", "roomId": "r"}));
    listed("cy", false).await;
    let joined = ann.expect("joined").await;
    let members: Vec<_> = joined["members"].as_array().unwrap().iter().collect();
    let named: Vec<_> = members.iter().map(|member| member["userId"].as_str().unwrap()).collect();
    assert_eq!(named, ["ann", "old"], "{joined}");
    assert_eq!(ann.expect("user_joined").await["userId"], "ben");
    // And each once.
    let _dan = node.session("dan", &["r"]).await;
    assert_eq!(ann.expect("user_joined").await["userId"], "dan");
    assert!(!ann.seen.iter().any(|event| event["userId"] == "cy"), "{:?}", ann.seen);
}
