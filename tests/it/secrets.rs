//! A password shows nowhere: not in logs of any level, errors, `Debug`, JSON of the configuration,
//! or in Redis.
//!
//! One program does everything that may show a password, in a process of its own, so that the test
//! sees the output and log of all its threads.

use std::{env, fmt::Debug, process, time::Duration};

use tracing::level_filters::LevelFilter;
use verk::{Event, EventKind, Verk, events::Events, prelude::*, redis::RedisConfig};
use verk_testing::{RedisServer, within};

use crate::{
    program::Program,
    support::{PATIENCE, States},
};

mod arguments;

/// Set in the environment of the program, to the address of its Redis.
const PROGRAM: &str = "VERK_TEST_OF_SECRETS";

/// The password, which is nowhere else.
const CANARY: &str = "xanthous-canary";

/// Looks for itself whether what it is given is shown.
#[verk::worker(queue = "secrets", max_retry_count = 0)]
async fn prying(ctx: JobContext) -> Result<(), String> {
    print(&ctx);
    print(ctx.client());
    print(ctx.job());
    Err("for the log".to_owned())
}

fn print(value: &impl Debug) {
    println!("{value:?} {value:#?}");
}

fn print_error(error: &dyn std::error::Error) {
    println!("{error} {error:?} {error:#?}");
    if let Some(source) = error.source() {
        print_error(source);
    }
}

fn url_of(address: &str) -> String {
    format!("redis://app:{CANARY}@{address}")
}

/// No test, but the program of [`a_password_shows_nowhere`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program() {
    let Ok(address) = env::var(PROGRAM) else {
        return;
    };
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .init();
    tracing::trace!("every level is shown");

    // What cannot be reached, is wrong, or is refused.
    for url in [
        url_of("127.0.0.1:1"),
        url_of("127.0.0.1:port"),
        url_of(&address).replace("app", "nobody"),
        format!("redis+sentinel://{CANARY}@{address}/main?sentinel_pass={CANARY}"),
        format!("redis+unix:///no/such.sock?user=app&pass={CANARY}"),
        format!("no-scheme://{CANARY}@host"),
    ] {
        let config = RedisConfig::new(url).connect_timeout(Duration::from_secs(1));
        print(&config);
        let builder = Verk::builder().redis(config).queue("secrets", 1);
        print(&builder);
        print_error(&builder.build().await.expect_err("nothing there"));
    }
    let file = format!("[redis]\nurl = \"{}\"\npool_size = \"x\"", url_of(&address));
    let path = env::temp_dir().join(format!("verk-secrets-{}.toml", process::id()));
    std::fs::write(&path, file).unwrap();
    print_error(&RedisConfig::from_file(&path).expect_err("a pool of size x"));
    std::fs::remove_file(&path).unwrap();

    // What is well, until the password is changed, and is well again.
    let config = RedisConfig::new(url_of(&address));
    println!("{}", serde_json::to_string(&config).unwrap());
    let builder = Verk::builder()
        .redis(config)
        .queue("secrets", 2)
        .tag("secrets".to_owned())
        .heartbeat(Duration::from_millis(900));
    print(&builder);
    let verk = States::new().give(builder).build().await.unwrap();
    print(&verk);
    print(verk.client());
    print(verk.storage());
    print(verk.config());
    println!("{}", serde_json::to_string(verk.config()).unwrap());
    let mut events = verk.events();
    verk.start().unwrap();
    verk.enqueue(Prying::new()).await.unwrap();
    let wait_for = async |events: &mut Events, wanted: fn(&Event) -> bool| {
        within(PATIENCE, async {
            loop {
                let event = events.recv().await.unwrap().unwrap();
                print(&event);
                if wanted(&event) {
                    return;
                }
            }
        })
        .await;
    };
    wait_for(&mut events, |event| {
        matches!(event.what, EventKind::JobFailed { .. })
    })
    .await;
    println!("RUNS");
    // The test changes the password, and cuts all connections.
    within(PATIENCE, async {
        while verk.health().ready {
            tokio::task::yield_now().await;
        }
    })
    .await;
    print(&verk.health());
    print_error(&verk.enqueue(Prying::new()).await.expect_err("refused"));
    println!("REFUSED");
    within(PATIENCE, async {
        while !verk.health().ready {
            tokio::task::yield_now().await;
        }
    })
    .await;
    verk.shutdown().await;
    println!("DONE");
}

/// Everything that is in Redis, as text.
fn contents(redis: &RedisServer) -> String {
    const ALL: &str = "
        local all = {}
        for _, key in ipairs(redis.call('KEYS', '*')) do
            table.insert(all, key .. ' ' .. redis.call('DUMP', key))
            if redis.call('TYPE', key).ok == 'hash' then
                table.insert(all, table.concat(redis.call('HGETALL', key), ' '))
            end
        end
        return table.concat(all, ' ')";
    let all = redis.command(&["EVAL", ALL, "0"]).into_bytes().unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_password_shows_nowhere() {
    let redis = RedisServer::builder()
        .tcp()
        // So that reading a key shows its text.
        .setting("rdbcompression", "no")
        .start();
    let set_password = |password: &str| {
        let password = format!(">{password}");
        let user = [
            "ACL", "SETUSER", "app", "reset", "on", &password, "~*", "&*", "+@all",
        ];
        redis.command(&user);
        redis.command(&["CLIENT", "KILL", "USER", "app"]);
    };
    set_password(CANARY);
    let address = redis.url().replace("redis://", "");
    let mut program = Program::start("secrets::program", &[(PROGRAM, &address)]);
    program.read_until("\nRUNS\n");
    let in_redis = contents(&redis);
    set_password("another");
    // The first refusal may be one of a connection that was cut.
    program.read_until("WRONGPASS");
    program.read_until("\nREFUSED\n");
    set_password(CANARY);
    program.read_until("\nDONE\n");

    for (shown, marks) in [
        // Each of these is from a place that would show it.
        (
            &program.shown,
            [
                "WRONGPASS",
                "Prying",
                "heartbeat",
                "every level is shown",
                "127.0.0.1:1",
            ],
        ),
        (
            &in_redis,
            [
                "verk_nodes",
                "processes",
                "\"tag\":\"secrets\"",
                "Prying",
                "for the log",
            ],
        ),
    ] {
        for mark in marks {
            assert!(shown.contains(mark), "no {mark} in: {shown}");
        }
        let line = shown.lines().find(|line| line.contains(CANARY));
        assert_eq!(line, None);
    }
}
