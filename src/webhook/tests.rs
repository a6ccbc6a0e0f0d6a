#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::atomic::AtomicBool;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, web};
use hubbub_protocol::error::ErrorCode;

use super::*;

/// A service that decides, on a free port.
struct Service {
    url: String,
    asked: Arc<AtomicUsize>,
    handle: ServerHandle,
    release: Arc<AtomicBool>,
}

async fn service() -> Service {
    let asked = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(AtomicBool::new(false));
    let shared = (asked.clone(), release.clone());
    let server = HttpServer::new(move || {
        App::new().app_data(web::Data::new(shared.clone())).default_service(web::to(decide))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let url = format!("http://{}/join", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Service { url, asked, handle, release }
}

async fn decide(
    state: web::Data<(Arc<AtomicUsize>, Arc<AtomicBool>)>,
    request: HttpRequest,
    question: web::Json<serde_json::Value>,
) -> HttpResponse {
    state.0.fetch_add(1, Ordering::SeqCst);
    match question["roomId"].as_str().unwrap() {
        "yes" => HttpResponse::Ok().body(r#"{"allow":true,"because":"ok"}"#),
        "no" => HttpResponse::Ok().body(r#"{"allow":false}"#),
        "admins" => {
            let allow = question["roles"] == serde_json::json!(["admin"]);
            HttpResponse::Ok().json(serde_json::json!({ "allow": allow }))
        }
        "basic" => {
            let given = request.headers().get("authorization").map(|v| v.to_str().unwrap());
            // "u:p w"
            HttpResponse::Ok().json(serde_json::json!({ "allow": given == Some("Basic dTpwIHc=") }))
        }
        "word" => HttpResponse::Ok().body(r#"{"allow":"true"}"#),
        "text" => HttpResponse::Ok().body("true"),
        "large" => HttpResponse::Ok().body(format!(r#"{{"allow":true{}}}"#, " ".repeat(5000))),
        "created" => HttpResponse::Created().body(r#"{"allow":true}"#),
        "moved" => HttpResponse::TemporaryRedirect()
            .insert_header(("location", "/elsewhere"))
            .body(r#"{"allow":true}"#),
        "broken" => HttpResponse::InternalServerError().finish(),
        "slow" => {
            while !state.1.load(Ordering::SeqCst) {
                actix_rt::time::sleep(Duration::from_millis(5)).await;
            }
            HttpResponse::Ok().body(r#"{"allow":true}"#)
        }
        other => panic!("{other}"),
    }
}

fn webhook(url: &str, timeout_ms: u64, cache_ms: u64) -> Webhook {
    let rooms = Rooms {
        webhook_url: Some(ServiceUrl::new(url)),
        webhook_timeout_ms: timeout_ms,
        webhook_cache_ms: cache_ms,
        ..Rooms::default()
    };
    Webhook::new(&rooms, &metrics())
}

fn metrics() -> Metrics {
    Metrics::new(&prometheus::Registry::new()).unwrap()
}

async fn ask(webhook: &Webhook, room: &str, roles: &[&str]) -> Result<bool, HubError> {
    let grants =
        Grants { roles: roles.iter().map(|role| role.to_string()).collect(), ..Grants::default() };
    webhook.may_join(&UserId::new("ann").unwrap(), &RoomName::new(room).unwrap(), &grants).await
}

#[actix_rt::test]
async fn the_service_decides_and_is_asked_once() {
    let service = service().await;
    let webhook = webhook(&service.url, 5000, 60_000);
    for _ in 0..3 {
        assert_eq!(ask(&webhook, "yes", &[]).await, Ok(true));
        assert_eq!(ask(&webhook, "no", &[]).await, Ok(false));
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 2);
    let counted = &webhook.inner.counted;
    assert_eq!((counted.allowed.get(), counted.denied.get()), (1, 1));
    assert_eq!((counted.remembered.get(), counted.failed.get()), (4, 0));
    assert_eq!(counted.seconds.get_sample_count(), 2);
    // Another role is another question.
    assert_eq!(ask(&webhook, "admins", &["admin"]).await, Ok(true));
    assert_eq!(ask(&webhook, "admins", &[]).await, Ok(false));
    service.handle.stop(false).await;
}

#[actix_rt::test]
async fn without_a_cache_each_question_is_asked() {
    let service = service().await;
    let webhook = webhook(&service.url, 5000, 0);
    for _ in 0..3 {
        assert_eq!(ask(&webhook, "yes", &[]).await, Ok(true));
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 3);
    service.handle.stop(false).await;
}

#[actix_rt::test]
async fn user_and_password_are_sent_as_basic() {
    let service = service().await;
    let url = service.url.replace("://", "://u:p w@");
    assert_eq!(ask(&webhook(&url, 5000, 0), "basic", &[]).await, Ok(true));
    service.handle.stop(false).await;
}

#[actix_rt::test]
async fn anything_else_refuses_and_is_not_kept() {
    let service = service().await;
    let webhook = webhook(&service.url, 5000, 60_000);
    for room in ["word", "text", "large", "created", "moved", "broken"] {
        for _ in 0..2 {
            let error = ask(&webhook, room, &[]).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::Unavailable, "{room}");
            assert_eq!(error.message, "the room webhook did not answer");
        }
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 12);
    service.handle.stop(false).await;
}

#[actix_rt::test]
async fn a_late_answer_and_none_at_all_refuse() {
    let service = service().await;
    let late = webhook(&service.url, 50, 60_000);
    assert_eq!(ask(&late, "slow", &[]).await.unwrap_err().code, ErrorCode::Unavailable);
    assert_eq!(late.inner.outstanding.load(Ordering::SeqCst), 0);
    service.release.store(true, Ordering::SeqCst);
    service.handle.stop(false).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = webhook(&format!("http://{closed}/"), 5000, 60_000);
    assert_eq!(ask(&nobody, "yes", &[]).await.unwrap_err().code, ErrorCode::Unavailable);
    let nowhere = Webhook::new(&Rooms::default(), &metrics());
    assert_eq!(ask(&nowhere, "yes", &[]).await.unwrap_err().code, ErrorCode::Unavailable);
}

#[actix_rt::test]
async fn questions_under_way_are_bounded() {
    let webhook = webhook("http://127.0.0.1:9/", 5000, 0);
    let outstanding = &webhook.inner.outstanding;
    let turns: Vec<_> = std::iter::from_fn(|| Turn::take(outstanding)).collect();
    assert_eq!(turns.len(), MAX_OUTSTANDING);
    assert_eq!(ask(&webhook, "yes", &[]).await.unwrap_err().code, ErrorCode::Unavailable);
    drop(turns);
    assert!(Turn::take(outstanding).is_some());
}

#[test]
fn the_cache_is_bounded_and_forgets() {
    let mut cache = Cache::default();
    let question = |n: usize| Question {
        user_id: UserId::new(format!("u{n}")).unwrap(),
        room_id: RoomName::new("r").unwrap(),
        roles: [].into(),
    };
    let now = Instant::now();
    let until = now + Duration::from_secs(60);
    for n in 0..MAX_CACHED + 10 {
        cache.insert(question(n), true, until);
        cache.insert(question(MAX_CACHED + 9), false, until);
        assert!(cache.order.len() <= MAX_CACHED && cache.decisions.len() <= MAX_CACHED);
    }
    assert_eq!(cache.get(&question(0), now), None);
    assert_eq!(cache.get(&question(MAX_CACHED + 8), now), Some(true));
    assert_eq!(cache.get(&question(MAX_CACHED + 8), until), None);
    cache.insert(question(0), true, now);
    assert_eq!(cache.get(&question(0), now), None);
}

#[test]
fn the_address_is_split() {
    for (url, uri, basic) in [
        ("http://h:1/p?q=1", "http://h:1/p?q=1", None),
        ("https://u:p@h/p", "https://h/p", Some(("u", "p"))),
        ("http://u@h", "http://h", Some(("u", ""))),
        ("http://u:p@ss/w@h/x", "http://h/x", Some(("u", "p@ss/w"))),
    ] {
        let split = split(&ServiceUrl::new(url));
        let expected = basic.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(split, (uri.to_owned(), expected), "{url}");
    }
}
