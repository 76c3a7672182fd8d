//! The texts of errors: the cause and what to do about it, each text once, in the output that a
//! user sees.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use verk::{
    BuildError, EnqueueError, Job, Verk,
    error::{Applied, StorageErrorKind},
    prelude::*,
    redis::RedisConfig,
};
use verk_testing::RedisServer;

use crate::support::{Logged, States, queue_name, until};

/// The text of `build()` about `redis`, after a check that it says nothing twice.
async fn refusal(redis: RedisConfig) -> (StorageErrorKind, String) {
    let redis = redis.connect_timeout(Duration::from_secs(3));
    let builder = Verk::builder().redis(redis);
    let error = builder.build().await.expect_err("not to be used");
    let BuildError::Storage(storage) = &error else {
        panic!("{error}");
    };
    let kind = storage.kind();
    assert_eq!(storage.applied(), Applied::NotApplied);
    let text = error.to_string();
    assert_eq!(format!("{error:?}"), text, "what a main shows");
    assert_said_once(error);
    (kind, text)
}

#[track_caller]
fn assert_said_once(error: impl std::error::Error + Send + Sync + 'static) {
    let error = anyhow::Error::new(error);
    let whole = format!("{error:#}");
    for part in error.chain() {
        let part = part.to_string();
        assert_eq!(whole.matches(&part).count(), 1, "{part:?} in {whole:?}");
    }
    // Nor does one message have a part twice.
    let parts: Vec<_> = whole.split(": ").filter(|part| part.len() > 12).collect();
    for part in &parts {
        assert_eq!(parts.iter().filter(|it| *it == part).count(), 1, "{whole}");
    }
}

/// A server that answers the first bytes of each client with `answer`, and hangs up.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(answer);
        }
    });
    address
}

#[tokio::test]
async fn build_says_what_to_do_about_each_known_mistake() {
    let redis = RedisServer::builder().tcp().start();
    redis.command(&["CONFIG", "SET", "requirepass", "letmein"]);
    let address = redis.url().replace("redis://", "");
    let open = RedisServer::builder().tcp().start();
    let open_address = open.url().replace("redis://", "");
    let web = answering(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    let tls = answering(b"\x15\x03\x01\x00\x02\x02\x46");
    let closing = answering(b"");
    use StorageErrorKind::{Misconfigured, NotPermitted, Unreachable};
    for (url, kind, advice) in [
        // No scheme, or another one.
        (
            "localhost:6379".to_owned(),
            Misconfigured,
            "did you mean redis://localhost:6379?",
        ),
        (
            "127.0.0.1".to_owned(),
            Misconfigured,
            "did you mean redis://127.0.0.1?",
        ),
        (
            ":letmein@cache:6379/1".to_owned(),
            Misconfigured,
            "did you mean redis://***@cache:6379/1?",
        ),
        (
            "http://cache:6379".to_owned(),
            Misconfigured,
            "did you mean redis://cache:6379?",
        ),
        (
            "/run/redis.sock".to_owned(),
            Misconfigured,
            "did you mean redis+unix:///run/redis.sock?",
        ),
        (
            "amqp://cache".to_owned(),
            Misconfigured,
            "it begins with redis://",
        ),
        (String::new(), Misconfigured, "it is empty"),
        (
            format!("redis://{address}/x"),
            Misconfigured,
            "Invalid database number",
        ),
        (
            format!("redis://{open_address}/9999"),
            Misconfigured,
            "no database of this number",
        ),
        // Credentials.
        (
            format!("redis://{address}"),
            NotPermitted,
            "put it into the URL, redis://:password@host",
        ),
        (
            format!("redis://:wrong@{address}"),
            NotPermitted,
            "refuses the user or the password of the URL",
        ),
        // Nobody, or somebody else.
        (
            "redis://127.0.0.1:1".to_owned(),
            Unreachable,
            "no connection to Redis at 127.0.0.1:1: nobody listens there: start Redis",
        ),
        (
            "redis+unix:///no/such.sock".to_owned(),
            Unreachable,
            "there is no such socket",
        ),
        (
            "redis://no-such-host.invalid".to_owned(),
            Unreachable,
            "the name of the host is not known",
        ),
        (
            format!("redis://{web}"),
            Unreachable,
            "does not speak Redis's protocol",
        ),
        (
            format!("redis://{tls}"),
            Unreachable,
            "for one with TLS it begins with rediss",
        ),
        (
            format!("redis://{closing}"),
            Unreachable,
            "with TLS the URL begins with rediss",
        ),
    ] {
        let (found, text) = refusal(RedisConfig::new(&url)).await;
        assert!(text.contains(advice), "{url}: {text}");
        assert_eq!(found, kind, "{url}: {text}");
        assert!(
            !text.contains("letmein") && !text.contains("wrong@"),
            "{text}"
        );
    }
}

fn job() -> Job {
    Job::new("Mail", queue_name("default"), r#"["xanthous"]"#.to_owned()).unwrap()
}

/// The text of an enqueue, after a check that it says nothing twice and no argument.
async fn not_enqueued(verk: &Verk) -> (EnqueueError, String) {
    let error = verk.enqueue(job()).await.expect_err("refused");
    let text = error.to_string();
    assert!(!format!("{text} {error:?}").contains("xanthous"), "{text}");
    // What it says and what it answers are the same.
    let may_be = text.contains("may be enqueued");
    assert_eq!(may_be, error.may_be_stored(), "{text}");
    assert_eq!(text.contains("was not enqueued"), !may_be, "{text}");
    (error, text)
}

fn kind(error: &EnqueueError) -> StorageErrorKind {
    let EnqueueError::Storage { source, .. } = error else {
        panic!("{error}");
    };
    source.kind()
}

#[tokio::test]
async fn an_enqueue_says_why_and_whether_it_may_be_stored() {
    let redis = RedisServer::builder().tcp().start();
    let config = RedisConfig::new(redis.url())
        .pool_size(1)
        .connect_timeout(Duration::from_secs(1))
        .response_timeout(Duration::from_secs(1));
    let verk = Verk::builder().redis(config).build().await.unwrap();

    redis.command(&["SET", "queue:default", "text"]);
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::WrongType, "{text}");
    assert_said_once(error);
    redis.command(&["DEL", "queue:default"]);

    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::Full, "{text}");
    assert!(text.contains("raise its maxmemory"), "{text}");
    assert_said_once(error);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);

    redis.command(&["ACL", "SETUSER", "default", "-lpush"]);
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::NotPermitted, "{text}");
    assert!(text.contains("lacks a right"), "{text}");
    assert_said_once(error);
    redis.command(&["ACL", "SETUSER", "default", "+lpush"]);

    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::Unavailable, "{text}");
    assert_said_once(error);
    redis.command(&["REPLICAOF", "NO", "ONE"]);

    // It answers nothing for longer than the response time-out, to the push and to all that
    // follows.
    verk.enqueue(job()).await.unwrap();
    redis.command(&["CLIENT", "PAUSE", "600000", "ALL"]);
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::NoReply, "{text}");
    assert!(
        error.may_be_stored() && text.contains("redis.response_timeout"),
        "{text}"
    );
    assert_said_once(error);

    redis.stop();
    let error = loop {
        // The first may find that its connection ended.
        let (error, text) = not_enqueued(&verk).await;
        if !error.may_be_stored() {
            assert!(text.contains("(nothing was sent)"), "{text}");
            assert!(!text.contains("not applied"), "{text}");
            break error;
        }
    };
    assert_eq!(kind(&error), StorageErrorKind::Unreachable);
    assert_said_once(error);
    let error = verk.client().enqueue_all([job(), job()]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("0 jobs are enqueued, then it stopped: job "),
        "{error}"
    );
    assert_said_once(error);
    let error = verk.storage().nodes().await.unwrap_err();
    assert!(error.to_string().contains("(nothing was sent)"), "{error}");
    assert_said_once(error);
}

#[tokio::test]
async fn a_command_that_redis_hides_quotes_no_payload() {
    let redis = RedisServer::builder()
        .setting("rename-command LPUSH", "hidden")
        .start();
    let verk = Verk::builder().redis(redis.url()).build().await.unwrap();
    let (error, text) = not_enqueued(&verk).await;
    assert_eq!(kind(&error), StorageErrorKind::NotPermitted, "{text}");
    assert!(
        text.contains("rename-command") && text.contains("LPUSH"),
        "{text}"
    );
    assert_said_once(error);
}

#[tokio::test]
async fn a_log_line_holds_the_whole_cause_in_one_field() {
    let redis = RedisServer::start();
    let (logged, _guard) = Logged::capture();
    let builder = Verk::builder().redis(redis.url()).queue("default", 1);
    let verk = States::new().give(builder).build().await.unwrap();
    redis.command(&["SET", "queue:default", "text"]);
    verk.start().unwrap();
    until(|| logged.lines_with(&["cannot fetch jobs", "WRONGTYPE", "failed to "]) > 0).await;
    verk.shutdown().await;
}
