#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

#[derive(Debug)]
struct Probe {
    name: Option<Box<str>>,
    data: Option<Box<RawValue>>,
}

impl FromObject for Probe {
    const FIELDS: &'static [&'static str] = &["name", "data", "userId", "key", "event"];

    fn from_object(object: &Object<'_>) -> Result<Self, HubError> {
        object.user()?;
        object.key()?;
        object.event()?;
        Ok(Self { name: object.text("name")?, data: object.data()? })
    }
}

fn refusal(body: &[u8]) -> String {
    let error = parse::<Probe>(body).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    error.message.into_owned()
}

#[test]
fn fields_are_read_and_data_is_untouched() {
    let probe: Probe = parse(br#" {"n\u0061me":"x","data":{"n": 1.50}} "#).unwrap();
    assert_eq!(probe.name.as_deref(), Some("x"));
    assert_eq!(probe.data.unwrap().get(), r#"{"n": 1.50}"#);
    let probe: Probe = parse(br#"{"name":null,"data":null}"#).unwrap();
    assert!(probe.name.is_none() && probe.data.is_none());
}

#[test]
fn a_refusal_names_the_place_and_not_the_content() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(b"\xff\xfe").contains("UTF-8"));
    assert_eq!(refusal(b"{\n\"name\": secret}"), "the body is not JSON (line 2, column 9)");
    assert!(refusal(b"{} {}").contains("not JSON"));
    for list in ["[]", "\"secret\"", "7", "null", r#"{"name":"a","name":"b"}"#] {
        let message = refusal(list.as_bytes());
        assert!(message.contains("JSON object with each field once"), "{list}: {message}");
    }
    let unknown = refusal(br#"{"name":"a","contnet":"secret"}"#);
    assert!(unknown.starts_with("unknown field `contnet`; known are name, data"), "{unknown}");
    let long = format!(r#"{{"{}":1}}"#, "y".repeat(500));
    assert!(refusal(long.as_bytes()).len() < 120);
    for (body, field) in [
        (r#"{"name":["secret"]}"#, "`name`"),
        (r#"{"userId":""}"#, "`userId`"),
        (r#"{"userId":7}"#, "`userId`"),
        (r#"{"key":""}"#, "`key`"),
        (r#"{"event":""}"#, "`event`"),
    ] {
        let message = refusal(body.as_bytes());
        assert!(message.starts_with(field) && !message.contains("secret"), "{message}");
    }
}

#[test]
fn data_may_nest_as_deep_as_on_the_wire() {
    let nested = |n: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(parse::<Probe>(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(refusal(nested(MAX_DEPTH + 1).as_bytes()).contains("nested deeper"));
    assert!(refusal(nested(30_000).as_bytes()).contains("nested deeper"));
    let text = format!(r#"{{"data":"{}\"["}}"#, "[".repeat(100));
    assert!(parse::<Probe>(text.as_bytes()).is_ok());
}
