//! Arguments of all kinds, and their form in a job.
#![forbid(unsafe_code)]
#![deny(warnings)]

use std::{borrow::Cow, collections::BTreeMap, future::Future};

use verk::{Worker, job::ArgsReader};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Plan {
    Free,
    Pro,
}

#[verk::worker]
pub(crate) async fn greet(
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

fn first_line() -> u32 {
    1
}

#[verk::worker]
async fn import(
    path: String,
    #[arg(default = first_line)] line: u32,
    #[arg(default)] labels: Vec<String>,
    dry_run: Option<bool>,
) {
    drop((path, line, labels, dry_run));
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Order {
    number: u64,
    cents: u32,
}

#[verk::worker]
async fn charge(verk::State(bank): verk::State<&'static str>, #[args] order: Order) {
    drop((bank, order));
}

fn decode<W: Worker>(args: &str) -> Result<W, verk::job::ArgsError> {
    let mut reader = ArgsReader::new(args)?;
    let job = W::decode_args(&mut reader)?;
    reader.finish()?;
    Ok(job)
}

fn a_job() -> Greet {
    Greet::new(
        "ada@example.com",
        String::from("Ada"),
        Plan::Pro,
        7,
        0.5,
        None,
        BTreeMap::new(),
        "hi".into(),
        (1, [2, 3]),
    )
}

fn spawn<T>(_: impl Future<Output = T> + Send + 'static) {}

#[test]
fn accepted() {
    let args = a_job().encode_args().unwrap();
    assert_eq!(
        args,
        r#"["ada@example.com","Ada","Pro",7,0.5,null,{},"hi",[1,[2,3]]]"#
    );

    let mut reader = ArgsReader::new(&args).unwrap();
    let job = Greet::decode_args(&mut reader).unwrap();
    reader.finish().unwrap();
    assert_eq!(job.email, "ada@example.com");
    assert_eq!(job.plan, Plan::Pro);
    assert_eq!(job.clone().r#type, 7);
    assert!(format!("{job:?}").starts_with("Greet { email: "));

    let mut reader = ArgsReader::new("[1]").unwrap();
    let error = Greet::decode_args(&mut reader).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 1 (`email`) does not decode: found an integer, expected a string"
    );
    let mut reader = ArgsReader::new(r#"["a","b","Pro","x"]"#).unwrap();
    let error = Greet::decode_args(&mut reader).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 4 (`type`) does not decode: found a string, expected u8"
    );

    assert_eq!(Sweep::new().encode_args().unwrap(), "[]");

    let full = Import::new("a.csv", 7, vec![], None);
    assert_eq!(full.encode_args().unwrap(), r#"["a.csv",7,[],null]"#);
    let short: Import = decode(r#"["a.csv"]"#).unwrap();
    assert_eq!((short.line, short.labels, short.dry_run), (1, vec![], None));
    let error = decode::<Import>("[]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 1 (`path`) is missing: the job has 0"
    );
    let error = decode::<Import>(r#"["a.csv",null]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 2 (`line`) does not decode: found null, expected u32"
    );
    let error = decode::<Import>(r#"["a.csv",7,[],null,1,2]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job has 6 arguments, the worker takes 4"
    );
    let named: Import = serde_json::from_str(r#"{"path":"a.csv"}"#).unwrap();
    assert_eq!((named.line, named.dry_run), (1, None));
    let in_order: Import = serde_json::from_str(r#"["a.csv",3]"#).unwrap();
    assert_eq!((in_order.line, in_order.labels.len()), (3, 0));

    let order = Order {
        number: 7,
        cents: 1999,
    };
    let args = Charge::new(order.clone()).encode_args().unwrap();
    assert_eq!(args, r#"[{"number":7,"cents":1999}]"#);
    assert_eq!(decode::<Charge>(&args).unwrap().order, order);
    for positional in ["[7,1999]", "[[7,1999]]"] {
        let error = decode::<Charge>(positional).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the worker takes one argument, `order`, which is a JSON object"
        );
    }
    let error = decode::<Charge>(r#"[{"number":7,"cents":"much"}]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 1 (`order.cents`) does not decode: found a string, expected u32"
    );
    let error = decode::<Charge>(r#"[{"number":7,"cents":1999},true]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job has 2 arguments, the worker takes 1"
    );
    assert_eq!(Sweep.encode_args().unwrap(), "[]");
    Sweep::decode_args(&mut ArgsReader::new("[]").unwrap()).unwrap();

    // The future owns its arguments, also if they were made from borrowed ones.
    let local = String::from("ada@example.com");
    spawn(Greet::enqueue(
        &local,
        local.as_str(),
        Plan::Free,
        7,
        0.5,
        None,
        BTreeMap::new(),
        "".into(),
        (1, [2, 3]),
    ));
    spawn(Sweep::enqueue());

    let _ = greet(
        String::new(),
        String::new(),
        Plan::Free,
        7,
        0.5,
        None,
        BTreeMap::new(),
        "".into(),
        (1, [2, 3]),
    );
}
