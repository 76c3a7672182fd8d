//! Texts, names, payloads and requests as somebody writes them who wants to harm: [`Random`].

use axum::http::{HeaderName, HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::url::value;

/// What may end a text, an attribute, a path or a query, or change what follows. `zq` is in no page
/// of ours.
const WORDS: &[&str] = &[
    "<zq onzq=1>",
    "'\"><zq>",
    "\" onzq=\"1",
    "' onzq='1",
    "</title></bdi></script><zq>",
    "<!--",
    "]]>",
    "{{ zq }}",
    "javascript:zq",
    "//zq.example",
    "&lt;zq&gt;",
    "&#60;zq",
    "&",
    "\0",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "\u{fffd}",
    "%2F",
    "%2e%2e",
    "%",
    "%zq",
    "/",
    "\\",
    ".",
    "..",
    "~",
    "~.",
    "?",
    "#",
    ":",
    "@",
    "+",
    "|",
    "-",
    "=",
    ";",
    ",",
    "*",
    "\n",
    "\r\n",
    "\t",
    " ",
    "'",
    "\"",
    "`",
    "é",
    "💥",
    "a",
    "Charge",
    "default",
];

/// Numbers, times, cursors and keys at the edges.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "7",
    "100",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e999",
    "NaN",
    "inf",
    "0.0000001",
    "1700000000",
    "1700000000.5-a",
    "4000000000",
    "1000000000000000000",
    "true",
    "all",
    "yes",
    "newest",
    "oldest",
    "latency",
    "24h",
    "delete",
    "n0",
    "n18446744073709551615",
    "p0",
    "n1e308_18446744073709551615",
    "pNaN_0",
    "2023-11-14T22:13",
    "2023-11-14T22:13:20+25:00",
    "-009999-01-01T00:00",
    "9999-12-31T23:59:60Z",
    "00000000000000000000000000000001",
    "0000000000000000000000000000000000000000000000000000000000000000:@0",
    "0000000000000000000000000000000000000000000000000000000000000000:1700000000",
];

/// The names in queries, forms and bodies.
const FIELDS: &[&str] = &[
    "class", "queue", "error", "text", "since", "until", "at", "order", "done", "n", "gone",
    "days", "jid", "name", "sort", "range", "from", "limit", "minutes", "process", "job", "scope",
    "confirm", "time", "in", "typed", "reason", "sha256", "dry_run", "all", "args", "at", "held",
    "revision", "seen",
];

/// The keys of a payload, of the report of a process, and of notes.
const KEYS: &[&str] = &[
    "class",
    "jid",
    "queue",
    "args",
    "created_at",
    "enqueued_at",
    "failed_at",
    "retried_at",
    "retry_count",
    "error_class",
    "error_message",
    "error_backtrace",
    "retry",
    "retry_queue",
    "tags",
    "expires_in",
    "backtrace",
    "traceparent",
    "encrypt",
    "retry_for",
    "hostname",
    "pid",
    "tag",
    "labels",
    "version",
    "queues",
    "concurrency",
    "capsules",
    "started_at",
    "embedded",
    "payload",
    "run_at",
    "by",
    "who",
    "reason",
    "since",
    "action",
    "target",
    "filter",
    "count",
    "verk",
    "u",
    "d",
];

const HEADERS: &[&str] = &[
    "accept",
    "authorization",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "if-none-match",
    "origin",
    "referer",
    "sec-fetch-site",
    "x-forwarded-prefix",
    "x-user",
];

/// The same for the same seed.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of some.
    pub(crate) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// A text of some words, seldom a long one.
    pub(crate) fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(4) {
            text += self.of(WORDS);
        }
        let times = match self.below(400) {
            0 => 10_000,
            1..10 => 500,
            _ => 1,
        };
        text.repeat(times)
    }

    /// The name of a queue or a node.
    pub(crate) fn name(&mut self) -> String {
        let text = self.text();
        let name: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        if name.is_empty() {
            ".".to_owned()
        } else {
            name
        }
    }

    /// The value of a parameter.
    pub(crate) fn value(&mut self) -> String {
        match self.below(3) {
            0 => self.text(),
            _ => self.of(VALUES).to_owned(),
        }
    }

    /// JSON, or nearly.
    fn json(&mut self, depth: usize) -> String {
        match self.below(if depth > 3 { 5 } else { 8 }) {
            0 | 1 => serde_json::to_string(&self.text()).unwrap(),
            2 => self.of(VALUES).to_owned(),
            3 => self
                .of(&["null", "true", "\"\\ud800\"", "\"\\u0000\"", "1700000000.5"])
                .to_owned(),
            4 => self.below(2_000_000_000).to_string(),
            5 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.json(depth + 1)).collect();
                format!("[{}]", items.join(","))
            }
            6 => self.object(FIELDS, 3),
            _ => self.object(KEYS, 3),
        }
    }

    /// An object with about `many` keys.
    pub(crate) fn object(&mut self, keys: &[&str], many: usize) -> String {
        let pairs: Vec<String> = (0..self.below(2 * many))
            .map(|_| format!("\"{}\":{}", self.of(keys), self.json(2)))
            .collect();
        format!("{{{}}}", pairs.join(","))
    }

    /// What a program may write beside jobs: the report of a process, a note.
    pub(crate) fn note(&mut self) -> Vec<u8> {
        let note = self.object(KEYS, 8);
        self.spoiled(note)
    }

    /// A payload: mostly a job with some bad values.
    pub(crate) fn payload(&mut self) -> Vec<u8> {
        if self.once_in(60) {
            let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
            return format!(r#"{{"class":"Deep","jid":"deep","queue":"q","args":{deep}}}"#).into();
        }
        let mut text = || serde_json::to_string(&self.text()).unwrap();
        let mut pairs = vec![
            format!("\"class\":{}", text()),
            format!("\"jid\":{}", text()),
            "\"queue\":\"default\"".to_owned(),
            format!("\"args\":[{}]", text()),
            format!("\"error_message\":{}", text()),
            format!("\"error_class\":{}", text()),
            format!("\"error_backtrace\":[{0},{0}]", text()),
            format!("\"tags\":[{}]", text()),
            "\"failed_at\":1700000000.5".to_owned(),
            "\"retry_count\":3".to_owned(),
        ];
        for _ in 0..self.below(6) {
            let pair = format!("\"{}\":{}", self.of(KEYS), self.json(0));
            let at = self.below(pairs.len());
            pairs[at] = pair;
        }
        if self.once_in(20) {
            let word = serde_json::to_string(self.of(WORDS)).unwrap();
            let long = word.trim_matches('"').repeat((1 << 20) / word.len());
            pairs.push(format!("\"{}\":\"{long}\"", self.of(&KEYS[..20])));
        }
        self.spoiled(format!("{{{}}}", pairs.join(",")))
    }

    /// The bytes of a text, seldom cut, or with bytes that are no UTF-8.
    fn spoiled(&mut self, text: String) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        match self.below(8) {
            0 => {
                let end = self.below(bytes.len() + 1);
                bytes.truncate(end);
            }
            1 => {
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, *b"\xff\xc0\x80");
            }
            _ => {}
        }
        bytes
    }

    /// A text as a part of a path, encoded in one of several ways.
    pub(crate) fn part(&mut self) -> String {
        match self.below(8) {
            0 => "%ff%c0%80".to_owned(),
            1 => self.of(VALUES).to_owned(),
            2 => self
                .of(&[".", "..", "%2e", "%2E%2e", "~.", "~..", "%00"])
                .to_owned(),
            _ => {
                let text = self.value();
                percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string()
            }
        }
    }

    /// A query or a form.
    pub(crate) fn form(&mut self, known: &[String]) -> String {
        if self.once_in(20) {
            return self
                .of(&["&&=", "%", "%ff=%ff", "=", "a=b=c&&", "job=%00"])
                .to_owned();
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        for _ in 0..self.below(5) {
            let field = self.of(FIELDS);
            if field == "job" && !known.is_empty() {
                form.append_pair(field, &known[self.below(known.len())]);
            } else {
                form.append_pair(field, &self.value());
            }
        }
        form.finish()
    }

    /// The body of a change.
    pub(crate) fn body(&mut self, path: &str, known: &[String]) -> Vec<u8> {
        let is_api = path.starts_with("/api/");
        match self.below(12) {
            0 => Vec::new(),
            1 => self.note(),
            2 => b"\xff\xfe".to_vec(),
            3 if self.once_in(20) => vec![b'a'; (2 << 20) + 1],
            4..9 if path == "/api/v1/jobs" => br#"{"class":"Charge","args":[1]}"#.to_vec(),
            4..9 if is_api => br#"{"all":true,"in":60}"#.to_vec(),
            4..9 if path.starts_with("/locks/") => b"confirm=yes&revision=0&jid=a".to_vec(),
            4..9 if !known.is_empty() => {
                let all = self.of(&["", "&scope=all", "&scope=all&class=Charge"]);
                let key = value(&known[self.below(known.len())]);
                format!("confirm=yes&in=60&job={key}{all}").into_bytes()
            }
            _ if is_api => self.object(FIELDS, 2).into_bytes(),
            _ => self.form(known).into_bytes(),
        }
    }

    /// A header with any value that a server accepts.
    pub(crate) fn header(&mut self) -> Option<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_static(self.of(HEADERS));
        let value = match self.below(4) {
            0 => self
                .of(&["/ops", "//zq.example", "/a/../b", "null", "none"])
                .to_owned(),
            _ => self.value(),
        };
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    }

    pub(crate) fn method(&mut self, usual: &Method) -> Method {
        match self.below(30) {
            0 => Method::POST,
            1 => Method::HEAD,
            2 => self
                .of(&[
                    &Method::PUT,
                    &Method::DELETE,
                    &Method::OPTIONS,
                    &Method::GET,
                ])
                .clone(),
            _ => usual.clone(),
        }
    }
}
