//! Texts of those who mean harm, and any keys on any terminal.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::storage::{JobSet, ProcessReport};

use super::Top;
use crate::{
    tests::fixture::{self, Stored},
    text::clean,
};

/// What moves the cursor, rings, turns the direction around, is wide, has no width, or is long.
const TEXTS: [&str; 6] = [
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{9b}31mred\r\nline\tx\u{8}",
    "\u{202e}desrever\u{2066}",
    "日本語日本語日本語日本語日本語日本語日本語日本語日本語",
    "e\u{301}\u{301}\u{301}\u{200d}\u{fe0f}👩\u{200d}👩\u{200d}👧",
    "",
];

/// A payload whose every text is this one.
fn payload(text: &str) -> Bytes {
    let text = serde_json::to_string(text).unwrap();
    let job = format!(
        r#"{{"class":{text},"jid":{text},"queue":{text},"args":[{text}],"tags":[{text}],"error_class":{text},"error_message":{text},"error_backtrace":[{text},{text}],"failed_at":1,"retried_at":1e300,"retry_count":4000000000,"created_at":-5,"enqueued_at":2}}"#
    );
    job.into()
}

/// A process whose every text is this one, and whose numbers are the largest.
fn process(text: &str, number: usize) -> ProcessReport {
    let json = serde_json::to_string(text).unwrap();
    let info = format!(
        r#"{{"hostname":{json},"tag":{json},"labels":[{json}],"version":{json},"queues":["q",{json}],"started_at":1e300}}"#
    );
    let work = format!(r#"{{"queue":{json},"payload":{json},"run_at":99999999999}}"#);
    ProcessReport {
        identity: format!("{text}{number}"),
        info: info.into(),
        concurrency: usize::MAX,
        busy: usize::MAX,
        quiet: false,
        beat: UNIX_EPOCH,
        rss: u64::MAX,
        rtt: Duration::MAX,
        work: [(text.to_owned(), Bytes::from(work))].into(),
        sidekiq_6_work: false,
    }
}

/// A storage in memory with the jobs and processes of somebody who means harm.
async fn hostile() -> Stored {
    let storage = fixture::storages().await.swap_remove(0);
    assert!(storage.is_memory());
    let long = "many words ".repeat(2_000);
    for (number, text) in TEXTS.into_iter().chain([&*long]).enumerate() {
        for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
            let now = storage.admin_of("top").now();
            storage.add(set, now, payload(text)).await;
        }
        let name = format!("a{}", clean(text));
        let name: String = name.chars().take(60).collect();
        storage.push(&name, payload(text)).await;
        storage.push(&name, text.as_bytes().to_vec().into()).await;
        let report = process(text, number);
        storage.storage().report_process(&report).await.unwrap();
    }
    // The names of queues take these.
    let name = "\u{202e}\u{200b}日本語".repeat(10);
    storage.push(&name, Bytes::from_static(b"\0\xff")).await;
    let admin = storage.admin_of("top");
    admin.pause_queue_everywhere(&name).await.unwrap();
    storage
}

/// No cell has what steers a terminal.
fn check(top: &mut Top) {
    top.screen();
    let buffer = top.terminal.backend().buffer();
    for cell in buffer.content() {
        let symbol = cell.symbol();
        // Characters can be joined only within a cell.
        let symbol = symbol.replace('\u{200d}', "");
        assert_eq!(clean(&symbol), symbol);
    }
}

#[tokio::test]
async fn no_text_steers_the_terminal() {
    let storage = hostile().await;
    let mut top = Top::start(storage.admin_of("top")).await;
    for tab in ["1", "2", "3", "4", "5", "6"] {
        top.press(tab).await;
        for _ in 0..8 {
            check(&mut top);
            top.press("Enter").await;
            check(&mut top);
            if tab == "1" {
                top.press("Enter").await;
                check(&mut top);
                top.press("Esc").await;
            }
            // Questions, and what was done.
            for key in ["d", "y", "S", "n", "p", "r"] {
                top.press(key).await;
                check(&mut top);
            }
            top.press("Esc Esc Down").await;
        }
    }
    for keys in ["5 g", "Enter", "4 g", "Down Enter", "Enter"] {
        top.press(keys).await;
        check(&mut top);
    }
    top.event(crossterm::event::Event::Paste("/".to_owned()))
        .await;
    top.press("5 /").await;
    let text = TEXTS.concat();
    top.event(crossterm::event::Event::Paste(text)).await;
    check(&mut top);
    top.press("Enter").await;
    check(&mut top);
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[tokio::test]
async fn any_keys_on_any_terminal_are_survived() {
    const KEYS: [&str; 34] = [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "Tab",
        "BackTab",
        "Down",
        "Up",
        "PgDn",
        "PgUp",
        "Home",
        "End",
        "n",
        "b",
        "Enter",
        "Enter",
        "Esc",
        "/",
        "?",
        "p",
        "r",
        "d",
        "x",
        "y",
        "Q",
        "S",
        "g",
        "s",
        "R",
        "a",
        "Backspace",
        "Space",
    ];
    let storage = hostile().await;
    let mut top = Top::start(storage.admin_of("top")).await;
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    for _ in 0..500 {
        let key = KEYS[usize::try_from(chance.below(KEYS.len() as u64)).unwrap()];
        top.press(key).await;
        if chance.below(8) == 0 {
            let columns = u16::try_from(1 + chance.below(200)).unwrap();
            let rows = u16::try_from(1 + chance.below(60)).unwrap();
            top.resize(columns, rows).await;
        }
        check(&mut top);
    }
}
