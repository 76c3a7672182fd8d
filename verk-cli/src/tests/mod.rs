//! The output of each command, compared with `tests/expected`. `BLESS=1 cargo test -p verk-cli`
//! writes these files again: read the difference.
//!
//! A file has commands, each with what it prints. It runs on a storage in memory and on Redis, with
//! the same jobs, and both print the same. `$ verk clear q < q` answers a question with `q`;
//! without an answer there is no terminal. Times are `[TIME]`, and the storage is `[ADDRESS]`.

pub(crate) mod fixture;

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use clap::Parser;
use verk_core::manage::Admin;

use self::fixture::Stored;
use crate::{
    args::Cli,
    commands::{self, Session},
    output::Output,
};

/// The bytes that a command prints, to stdout and to stderr, in their order.
#[derive(Clone, Debug, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command meets.
#[derive(Clone, Copy, Debug, Default)]
struct Scene<'a> {
    /// What the person answers; without it, there is no terminal.
    answer: Option<&'a str>,
    /// The columns of the terminal.
    width: Option<u16>,
    /// Whether Ctrl-C was pressed.
    interrupted: bool,
}

/// Runs a line such as `verk jobs list dead`, and returns what it prints and its exit code.
async fn run(admin: &Admin, line: &str, scene: Scene<'_>) -> String {
    let Scene {
        answer,
        width,
        interrupted,
    } = scene;
    let printed = Printed::default();
    let out = || Box::new(printed.clone());
    let words = words(line);
    let parsed = Cli::try_parse_from(&words);
    let code = match parsed {
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            writeln!(out(), "{first}").unwrap();
            error.exit_code()
        }
        Ok(cli) => {
            let answer = answer.map(|answer| format!("{answer}\n"));
            let mut output =
                Output::of_test(cli.shared.output, width, answer, interrupted, out(), out());
            let result = match commands::without_storage(&cli.command, None, &mut output) {
                Some(result) => result,
                None => {
                    let mut session = Session {
                        admin,
                        connection: None,
                        user: Some("ada".to_owned()),
                        output: &mut output,
                    };
                    session.run(&cli.command).await
                }
            };
            i32::from(output.end(result))
        }
    };
    let bytes = printed.0.lock().unwrap().clone();
    let mut text = String::from_utf8(bytes).unwrap();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("[exit {code}]\n"));
    let address = admin.address();
    without_times(&text.replace(&address, "[ADDRESS]"))
}

/// Words between spaces; `'...'` is one word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for char in line.chars() {
        match char {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(char),
        }
    }
    words
}

/// The text with `[TIME]` for each time: `2026-11-29 14:02:11`, `2026-11-29T14:02:11.120Z`; with
/// `[HASH]` for each SHA-256, and `[NUMBER]` for a long number.
fn without_times(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_time = |at: usize| {
        let pattern = b"dddd-dd-ddxdd:dd:dd";
        bytes.get(at..at + pattern.len()).is_some_and(|part| {
            part.iter().zip(pattern).all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                b'x' => matches!(byte, b'T' | b' '),
                _ => byte == wanted,
            })
        })
    };
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    let is_hash = |at: usize| {
        bytes
            .get(at..at + 64)
            .is_some_and(|part| part.iter().all(is_hex))
    };
    let mut replaced = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if is_time(at) {
            replaced.extend(b"[TIME]");
            at += "dddd-dd-ddxdd:dd:dd".len();
            while bytes
                .get(at)
                .is_some_and(|byte| matches!(byte, b'.' | b'Z' | b'0'..=b'9'))
            {
                at += 1;
            }
        } else if is_hash(at) {
            replaced.extend(b"[HASH]");
            at += 64;
        } else if byte.is_ascii_digit() {
            let is_of_number = |at: &usize| {
                let byte = bytes.get(*at);
                byte.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
            };
            let end = (at..).find(|at| !is_of_number(at)).unwrap();
            let number = &text[at..end];
            let whole = number.split_once('.').map_or("", |(whole, _)| whole);
            if whole.len() > 3 || number.len() > 9 {
                replaced.extend(b"[NUMBER]");
            } else {
                replaced.extend(number.as_bytes());
            }
            at = end;
        } else {
            replaced.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(replaced).unwrap()
}

/// Runs the commands of a text, and returns it with what they print.
async fn replay(storage: &Stored, text: &str) -> String {
    let mut replayed = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            replayed.push_str(&format!("{line}\n"));
        } else if let Some(command) = line.strip_prefix("$ ") {
            let (command, width) = match command.strip_prefix("COLUMNS=60 ") {
                Some(command) => (command, Some(60)),
                None => (command, None),
            };
            let (command, answer) = match command.split_once(" < ") {
                Some((command, answer)) => (command, Some(answer)),
                None => (command, None),
            };
            let admin = storage.admin_of(command);
            let scene = Scene {
                answer,
                width,
                interrupted: false,
            };
            let printed = run(admin, command, scene).await;
            replayed.push_str(&format!("{line}\n{printed}\n"));
        }
    }
    replayed
}

async fn compare(name: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected");
    let path = path.join(format!("{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap();
    for storage in fixture::storages().await {
        let printed = replay(&storage, &expected).await;
        if env::var_os("BLESS").is_some() && storage.is_memory() {
            fs::write(&path, printed).unwrap();
        } else if env::var_os("BLESS").is_none() {
            let differ = |(printed, expected): &(&str, &str)| printed != expected;
            let lines = printed.lines().zip(expected.lines());
            let different: Vec<_> = lines.filter(differ).collect();
            let path = path.display();
            assert!(
                printed == expected,
                "{path}: printed and expected:\n{different:#?}"
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

compared! {
    changes clear cron doctor enqueue fleet json lists locks pauses running show signals usage why
}

#[tokio::test]
async fn every_command_has_an_expected_output() {
    use clap::CommandFactory as _;

    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected");
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        all.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    // They do not end by themselves, print a script or addresses, or need a connection: see
    // tests/program.
    let elsewhere = [
        "cells ls",
        "completions",
        "config",
        "help",
        "migrate",
        "tail",
        "top",
        "web",
    ];
    let mut names = Vec::new();
    for command in Cli::command().get_subcommands() {
        let inner: Vec<_> = command
            .get_subcommands()
            .map(|inner| inner.get_name())
            .collect();
        match &inner[..] {
            [] => names.push(command.get_name().to_owned()),
            inner => {
                let of = |name: &&str| format!("{} {name}", command.get_name());
                names.extend(inner.iter().map(of));
            }
        }
    }
    for name in names {
        let is_of = |line: &str| {
            let words = line.split_once("verk ").map_or("", |(_, words)| words);
            line.starts_with("$ ")
                && words
                    .strip_prefix(&*name)
                    .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let is_here = all.lines().any(is_of);
        assert!(is_here || elsewhere.contains(&&*name), "{name}");
    }
}

#[test]
fn the_arguments_are_consistent() {
    use clap::CommandFactory as _;

    crate::args::Standalone::command().debug_assert();
}

#[tokio::test]
async fn ctrl_c_ends_a_change_after_its_step_and_says_what_was_done() {
    for storage in fixture::storages().await {
        let command = "verk jobs delete --place dead --class SendWelcome --yes";
        let admin = storage.admin_of(command);
        let interrupted = Scene {
            interrupted: true,
            ..Scene::default()
        };
        let printed = run(admin, command, interrupted).await;
        assert_eq!(printed, "verk: stopped: nothing was changed\n[exit 130]\n");
        let all = "verk jobs delete --place dead --all --yes";
        let printed = run(admin, all, interrupted).await;
        assert!(
            printed.ends_with("stopped: deleted 0 jobs, of 4 that matched\n[exit 130]\n"),
            "{printed}"
        );
        assert_eq!(admin.dead_set().count().await.unwrap(), 4);
    }
}
