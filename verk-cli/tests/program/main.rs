//! The binary `verk` as a process: its pipes, its exit codes, and an incident with real workers.

mod cells;
mod incident;
mod migrate;
mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
};

use support::{Shop, verk};
use verk_testing::RedisServer;

#[test]
fn a_reader_that_has_enough_ends_the_output_quietly() {
    let shop = Shop::new();
    shop.enqueue("mailers", 5_000);
    for format in ["table", "json"] {
        let mut list = shop
            .verk(&["jobs", "list", "queue:mailers", "-n", "0", "-o", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(list.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().is_ok());
        // As `head -1` does.
        drop(lines);
        let output = list.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_change_is_finished_although_nobody_reads_what_it_prints() {
    let shop = Shop::new();
    let queues: Vec<String> = (0..60).map(|number| format!("q{number}")).collect();
    let mut pause = shop.verk(&["pause"]);
    let mut pause = pause.args(&queues).stdout(Stdio::piped()).spawn().unwrap();
    drop(pause.stdout.take());
    assert_eq!(pause.wait().unwrap().code(), Some(0));
    assert_eq!(
        shop.json(&["queues"])
            .iter()
            .filter(|queue| !queue["paused"].is_null())
            .count(),
        60
    );

    let full = std::fs::File::create("/dev/full").unwrap();
    let pause = shop.verk(&["resume", "q0"]).stdout(full).output().unwrap();
    assert_eq!(
        pause.status.code(),
        Some(4),
        "it is done, and nobody can know"
    );
    assert_eq!(
        shop.json(&["queues"])
            .iter()
            .filter(|queue| !queue["paused"].is_null())
            .count(),
        59
    );
}

#[test]
fn a_kill_cuts_no_dead_set_whose_limit_it_does_not_know() {
    let shop = Shop::new();
    shop.enqueue("mailers", 12_000);
    let all = ["jobs", "kill", "--place", "queue:mailers", "--all", "--yes"];
    assert_eq!(
        shop.output(&all).stdout,
        "moved 12,000 jobs to the dead set\n"
    );
    assert_eq!(shop.json(&["stats"])[0]["dead"], 12_000);
}

#[test]
fn all_jobs_are_listed_on_as_many_lines() {
    let shop = Shop::new();
    shop.enqueue("mailers", 2_500);
    let all = shop.output(&[
        "jobs",
        "list",
        "queue:mailers",
        "--limit",
        "0",
        "-o",
        "json",
    ]);
    assert_eq!(all.stdout.lines().count(), 2_500);
    let table = shop.output(&["jobs", "list", "queue:mailers", "--limit", "0"]);
    assert_eq!(
        table.stdout.lines().count(),
        2_501,
        "a head, and a line for each"
    );
    assert_eq!(table.stderr, "2,500 of 2,500 jobs in queue mailers\n");
}

#[test]
fn a_redis_that_is_away_is_said_in_one_line() {
    // Nobody listens at port 1.
    let output = support::run(verk("redis://127.0.0.1:1", &["stats"]));
    assert_eq!((output.code, &*output.stdout), (3, ""));
    assert!(
        output.stderr.contains("start Redis, or correct the URL"),
        "{}",
        output.stderr
    );
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_password_is_never_printed() {
    let server = RedisServer::builder().tcp().start();
    server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let with_password = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let wrong = format!("redis://:hunter3@127.0.0.1:{}", server.port());
    for (url, args, code) in [
        (&*with_password, &["stats"][..], 0),
        (&*with_password, &["config"], 0),
        (&*with_password, &["config", "-o", "json"], 0),
        (&*wrong, &["stats"], 3),
        (&*wrong, &["config"], 0),
        (
            "redis://127.0.0.1:1",
            &["stats", "--redis", &with_password],
            2,
        ),
        ("redis://user:hunter2@", &["stats"], 3),
    ] {
        let output = support::run(verk(url, args));
        let all = format!("{}{}", output.stdout, output.stderr);
        assert!(!all.contains("hunter"), "{args:?}: {all}");
        assert_eq!(output.code, code, "{args:?}: {all}");
    }
}

#[test]
fn a_setting_says_where_it_comes_from() {
    let file = std::env::temp_dir().join(format!("verk-cli-{}.toml", std::process::id()));
    std::fs::write(&file, "max_retry_count = 7\n[redis]\npool_size = 2\n").unwrap();
    let path = file.to_str().unwrap();
    let mut config = verk("redis://127.0.0.1:6379", &["config", "--config", path]);
    let output = support::run(config.env("VERK_HEARTBEAT", "12s"));
    std::fs::remove_file(&file).unwrap();
    let from = |setting: &str| {
        let mut lines = output.stdout.lines();
        let line = lines.find(|line| line.split_whitespace().next() == Some(setting));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        (words[1].to_owned(), words[2].to_owned())
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(from("max_retry_count"), pair("7", path));
    assert_eq!(from("heartbeat"), pair("\"12s\"", "VERK_HEARTBEAT"));
    assert_eq!(from("redis.pool_size"), pair("2", path));
    assert_eq!(
        from("redis.url"),
        pair("\"redis://127.0.0.1:6379\"", "VERK_REDIS_URL")
    );
    assert_eq!(from("poison_pill_after"), pair("3", "default"));
}

#[test]
fn tail_prints_what_happens_until_it_has_enough() {
    let shop = Shop::new();
    let mut tail = shop
        .verk(&["tail", "--limit", "3", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["event"], "counts");
    shop.output(&["pause", "mailers"]);
    let pause = next();
    assert_eq!(
        (&pause["event"], &pause["queue"]),
        (&"paused".into(), &"mailers".into())
    );
    shop.output(&["resume", "mailers"]);
    assert_eq!(next()["event"], "resumed");
    assert!(tail.wait().unwrap().success());
}

#[test]
fn the_dashboard_is_served_until_a_signal() {
    let shop = Shop::new();
    // TERM is how systemd and Docker stop it.
    for signal in ["INT", "TERM"] {
        let mut web = shop
            .verk(&["web", "--bind", "127.0.0.1:0", "--title", "the shop"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(web.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let ask = |host: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            page
        };
        let page = ask(address);
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("the shop"), "{page}");
        // A name that somebody else lets resolve to this machine.
        let page = ask("evil.example");
        assert!(page.starts_with("HTTP/1.1 421"), "{page}");
        support::signal(&web, signal);
        assert!(web.wait().unwrap().success(), "{signal}");
    }

    let output = shop.output(&["web", "--bind", "0.0.0.0:0"]);
    assert_eq!(output.code, 2);
    assert!(
        output.stderr.contains("can be reached from other machines"),
        "{}",
        output.stderr
    );
}

#[test]
fn completions_are_printed_without_a_redis() {
    for shell in ["bash", "zsh", "fish"] {
        let output = support::run(verk("redis://127.0.0.1:1", &["completions", shell]));
        assert_eq!(output.code, 0, "{}", output.stderr);
        for option in ["reschedule", "prefix"] {
            assert!(output.stdout.contains(option), "{shell}: {option}");
        }
    }
}

#[test]
fn colors_are_printed_only_where_asked() {
    let shop = Shop::new();
    shop.enqueue("mailers", 1);
    let colored = |args: &[&str]| shop.output(args).stdout.contains('\u{1b}');
    assert!(!colored(&["queues"]), "stdout is a pipe");
    assert!(colored(&["queues", "--color", "always"]));
    assert!(!colored(&["queues", "--color", "never"]));
}
