//! What arguments may look like, and what becomes of them.
#![forbid(unsafe_code)]
#![deny(warnings)]

use std::{borrow::Cow, collections::BTreeMap, future::Future};

use verk::{ArgsReader, Worker};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Plan {
    Free,
    Pro,
}

#[verk::worker]
pub async fn greet(
    email: String,
    name: std::string::String,
    plan: Plan,
    r#type: u8,
    mut ratio: f64,
    /// Where the greeting goes, if not to the mail.
    phone: Option<String>,
    _labels: BTreeMap<String, Vec<u64>>,
    text: Cow<'static, str>,
    pair: (u32, [u8; 2]),
) {
    ratio += 1.0;
    drop((email, name, plan, r#type, ratio, phone, text, pair));
}

#[verk::worker]
async fn sweep() {}

fn a_job() -> Greet {
    Greet::new("ada@example.com", String::from("Ada"), Plan::Pro, 7, 0.5, None, BTreeMap::new(), "hi".into(), (1, [2, 3]))
}

fn spawn<T>(_: impl Future<Output = T> + Send + 'static) {}

fn main() {
    let args = a_job().encode_args().unwrap();
    assert_eq!(args, r#"["ada@example.com","Ada","Pro",7,0.5,null,{},"hi",[1,[2,3]]]"#);

    let mut reader = ArgsReader::new(&args).unwrap();
    let job = Greet::decode_args(&mut reader).unwrap();
    reader.finish().unwrap();
    assert_eq!(job.email, "ada@example.com");
    assert_eq!(job.plan, Plan::Pro);
    assert_eq!(job.clone().r#type, 7);
    assert!(format!("{job:?}").starts_with("Greet { email: "));

    let mut reader = ArgsReader::new("[1]").unwrap();
    let error = Greet::decode_args(&mut reader).unwrap_err();
    assert_eq!(error.to_string(), "argument 1 (`email`) does not decode");
    let mut reader = ArgsReader::new(r#"["a","b","Pro","x"]"#).unwrap();
    let error = Greet::decode_args(&mut reader).unwrap_err();
    assert_eq!(error.to_string(), "argument 4 (`type`) does not decode");

    assert_eq!(Sweep::new().encode_args().unwrap(), "[]");
    assert_eq!(Sweep.encode_args().unwrap(), "[]");
    Sweep::decode_args(&mut ArgsReader::new("[]").unwrap()).unwrap();

    // The future owns its arguments, whatever they were made from.
    let local = String::from("ada@example.com");
    spawn(Greet::enqueue(&local, local.as_str(), Plan::Free, 7, 0.5, None, BTreeMap::new(), "".into(), (1, [2, 3])));
    spawn(Sweep::enqueue());

    let _ = greet(
        String::new(), String::new(), Plan::Free, 7, 0.5, None, BTreeMap::new(), "".into(), (1, [2, 3]),
    );
}
