//! The job struct as an object, with the arguments by name.
use serde::{Deserialize, de::value::SeqDeserializer};

#[verk::worker]
async fn greet(email: String, r#type: u8, phone: Option<String>) {
    drop((email, r#type, phone));
}

#[verk::worker]
async fn sweep() {}

fn error(json: &str) -> String {
    serde_json::from_str::<Greet>(json).unwrap_err().to_string()
}

#[test]
fn accepted() {
    let job = Greet::new("ada", 7, Some("555".to_owned()));
    let json = serde_json::to_string(&job).unwrap();
    assert_eq!(json, r#"{"email":"ada","type":7,"phone":"555"}"#);
    let job: Greet = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (job.email.as_str(), job.r#type, job.phone.as_deref()),
        ("ada", 7, Some("555"))
    );

    let job: Greet = serde_json::from_str(r#"{"type":7,"more":[1],"email":"ada"}"#).unwrap();
    assert_eq!(
        (job.email.as_str(), job.r#type, job.phone),
        ("ada", 7, None)
    );
    assert!(error(r#"{"type":7}"#).starts_with("missing field `email`"));
    assert!(error(r#"{"email":"a","email":"b"}"#).starts_with("duplicate field `email`"));
    assert!(error("5").contains("expected a job of class Greet"));

    let elements = SeqDeserializer::<_, serde::de::value::Error>::new(["ada"].into_iter());
    assert_eq!(
        Greet::deserialize(elements).unwrap_err().to_string(),
        "missing field `type`"
    );
    let job: Greet = serde_json::from_str(r#"["ada",7,"555"]"#).unwrap();
    assert_eq!(job.phone.as_deref(), Some("555"));

    assert_eq!(serde_json::to_string(&Sweep).unwrap(), "{}");
    let Sweep = serde_json::from_str("{}").unwrap();
}
