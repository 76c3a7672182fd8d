//! Screens, compared with `tests/screens`. `BLESS=1 cargo test -p verk-cli` writes these files
//! again: read the difference.
//!
//! A file has keys, each line followed by the screen after them. `size 40x10` is a terminal of
//! another size, and `type TEXT` types. The screen is the same on a storage in memory and on Redis.

use std::{env, fs, path::Path};

use crossterm::event::KeyCode;

use super::Top;
use crate::tests::fixture;

/// The line with `h`, `m` and so on for each digit of a time.
fn without_times(line: &str) -> String {
    let mut line = line.to_owned();
    for pattern in ["yyyy-mm-dd hh:mm:ss", "yyyy-mm-ddThh:mm:ss", "hh:mm:ss"] {
        let is_time = |part: &str| {
            part.len() == pattern.len()
                && part
                    .chars()
                    .zip(pattern.chars())
                    .all(|(char, wanted)| match wanted {
                        'y' | 'm' | 'd' | 'h' | 's' => char.is_ascii_digit(),
                        _ => char == wanted,
                    })
        };
        let starts = 0..line.len();
        let found: Vec<usize> = starts
            .filter(|at| line.get(*at..at + pattern.len()).is_some_and(is_time))
            .collect();
        for at in found {
            line.replace_range(at..at + pattern.len(), pattern);
        }
    }
    line
}

/// Does what a line of a file says.
async fn obey(top: &mut Top, line: &str) {
    if let Some(size) = line.strip_prefix("size ") {
        let (columns, rows) = size.split_once('x').unwrap();
        top.resize(columns.parse().unwrap(), rows.parse().unwrap())
            .await;
    } else if let Some(text) = line.strip_prefix("type ") {
        for char in text.chars() {
            top.key(KeyCode::Char(char)).await;
        }
    } else {
        top.press(line).await;
    }
}

async fn compare(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap();
    for storage in fixture::storages().await {
        let mut top = Top::start(storage.admin_of("top")).await;
        let mut shown = String::new();
        for line in expected.lines() {
            if line.starts_with('#') {
                shown.push_str(&format!("{line}\n"));
            } else if let Some(keys) = line.strip_prefix("$ ") {
                obey(&mut top, keys).await;
                let screen = top.screen();
                let screen = screen
                    .iter()
                    .map(|line| format!("|{}\n", without_times(line)));
                shown.push_str(&format!("{line}\n{}\n", screen.collect::<String>()));
            }
        }
        let blesses = env::var_os("BLESS").is_some();
        if blesses && storage.is_memory() {
            fs::write(&path, shown).unwrap();
        } else if !blesses {
            let lines = shown.lines().zip(expected.lines());
            let different: Vec<_> = lines
                .filter(|(shown, expected)| shown != expected)
                .collect();
            let path = path.display();
            assert!(
                shown == expected,
                "{path}: shown and expected:\n{different:#?}"
            );
        }
    }
}

macro_rules! compared {
    ($($name:ident)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                compare(stringify!($name)).await;
            }
        )+
    };
}

compared! { dead details filters help processes queues retries running scheduled sizes }
