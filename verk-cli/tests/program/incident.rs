//! The incident of the guide: the mail provider was down.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use tokio::net::TcpSocket;

use crate::support::{Shop, run};

/// How many mails were to be sent.
const MAILS: usize = 20;

/// The program with the workers: the example `own_program`.
fn own_program() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_verk"));
    binary.parent().unwrap().join("examples/own_program")
}

/// A process of workers, which is ended when the test is.
struct Workers(Child);

impl Workers {
    fn start(shop: &Shop, mail_server: SocketAddr) -> Self {
        let program = Command::new(own_program())
            .env("REDIS_URL", shop.redis.url())
            .env("MAIL_SERVER", mail_server.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(program.expect("`cargo build --examples -p verk-cli` builds the example own_program"))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_mail_provider_was_down_for_an_hour() {
    let shop = Shop::new();
    // Nobody listens at this address yet, and nobody else can.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mail_server = socket.local_addr().unwrap();
    for number in 0..MAILS {
        let args = format!(r#"["user{number}@example.com"]"#);
        let mut enqueue = Command::new(own_program());
        let enqueue = enqueue
            .args(["verk", "enqueue", "SendWelcome", &args])
            .env("REDIS_URL", shop.redis.url());
        let enqueued = run(enqueue);
        assert_eq!(enqueued.code, 0, "{}", enqueued.stderr);
    }
    let workers = Workers::start(&shop, mail_server);
    shop.wait_for("all fail", |stats| stats["retries"] == MAILS);

    // Which class fails, with which error, and where?
    let failed = shop.json(&["retries", "--limit", "0"]);
    assert_eq!(failed.len(), MAILS);
    assert!(failed.iter().all(|job| job["class"] == "SendWelcome"));
    let message = failed[0]["error_message"].as_str().unwrap();
    assert!(message.contains("refused"), "{message}");
    let jid = failed[0]["jid"].as_str().unwrap();
    let shown = shop.output(&["jobs", "show", jid]);
    for part in [
        "SendWelcome",
        "in the retry set",
        "refused",
        "@example.com",
        "Error",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }

    // Nothing more should fail until the provider is back.
    let paused = shop.output(&["pause", "mailers", "--reason", "the mail provider is down"]);
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    // One address is broken: its job must not run again.
    assert_eq!(
        shop.output(&["jobs", "kill", jid]).stdout,
        "moved 1 job to the dead set\n"
    );
    let filter = [
        "--place",
        "retries",
        "--class",
        "SendWelcome",
        "--error",
        "refused",
    ];
    let requeue = |more: &str| {
        let mut args = vec!["jobs", "run"];
        args.extend(filter);
        args.push(more);
        shop.output(&args)
    };
    let dry = requeue("--dry-run");
    assert_eq!(
        dry.stdout,
        format!("dry run: {} jobs would be changed\n", MAILS - 1)
    );
    let done = requeue("--yes");
    assert_eq!(
        done.stdout,
        format!("moved {} jobs to the queue\n", MAILS - 1)
    );
    let why = shop
        .json(&["jobs", "why", failed[1]["jid"].as_str().unwrap()])
        .remove(0);
    let reasons = why["reasons"].to_string();
    assert!(reasons.contains("the mail provider is down"), "{reasons}");

    // The provider is back.
    let (sent, mails) = mpsc::channel();
    runtime.spawn(async move {
        let listener = socket.listen(64).unwrap();
        while listener.accept().await.is_ok() && sent.send(()).is_ok() {}
    });
    assert_eq!(
        shop.output(&["resume", "mailers"]).stdout,
        "resumed queue mailers\n"
    );
    shop.wait_for("the queue is empty", |stats| {
        stats["waiting"] == 0 && stats["retries"] == 0 && stats["dead"] == 1
    });
    assert_eq!(mails.iter().take(MAILS - 1).count(), MAILS - 1);
    drop(workers);

    let actions: Vec<String> = shop
        .json(&["audit"])
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions[..4], ["resume", "requeue", "kill", "pause"]);
}

#[test]
fn the_workers_of_a_program_read_the_arguments() {
    let shop = Shop::new();
    let verk = |args: &[&str]| {
        let mut program = Command::new(own_program());
        run(program
            .arg("verk")
            .args(args)
            .env("REDIS_URL", shop.redis.url()))
    };
    for args in ["[]", "[1]", r#"["ada", 2]"#, "{}"] {
        let refused = verk(&["enqueue", "SendWelcome", args]);
        assert_eq!(refused.code, 2, "{args}");
        assert!(refused.stderr.contains("SendWelcome"), "{}", refused.stderr);
    }
    assert_eq!(verk(&["enqueue", "SendWelcome", r#"["ada"]"#]).code, 0);
    let queues = shop.json(&["queues"]);
    assert_eq!(
        (&queues[0]["queue"], &queues[0]["waiting"]),
        (&"mailers".into(), &1.into())
    );
    // A command runs no queue, and so is no node.
    assert_eq!(shop.json(&["nodes"]).len(), 0);
    shop.output(&["enqueue", "SendWelcome", "[1]", "--queue", "mailers"]);
    let wrong = shop.json(&["jobs", "list", "queue:mailers"]).remove(1);
    let shown = verk(&["jobs", "show", wrong["jid"].as_str().unwrap()]).stdout;
    for part in [
        "own_program.rs",
        "queue mailers",
        "cannot read the arguments: argument 1 (`email`)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let settings = verk(&["config"]);
    assert!(
        settings.stdout.contains("this program"),
        "{}",
        settings.stdout
    );
    assert_eq!(verk(&["stats", "--redis", "redis://elsewhere"]).code, 2);
}
