//! Real workers on a real Redis, whose connections break.

use std::{collections::BTreeSet, fs, time::Duration};

use tempfile::NamedTempFile;
use verk::{
    EventKind, State, Verk,
    events::Events,
    prelude::*,
    redis::{RedisConfig, RedisStorage},
};
use verk_testing::{CuttingProxy, RedisCommand, RedisServer, within};

use crate::support::{Log, Logged, PATIENCE, States, at_once, wait_for};

#[verk::worker]
async fn numbered(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

#[verk::worker(retry_at = at_once)]
async fn shaky(number: u32, State(log): State<Log>, ctx: JobContext) -> Result<(), String> {
    if ctx.attempt() == 1 {
        return Err("the first time".into());
    }
    log.push(number.to_string());
    Ok(())
}

/// A node on a Redis of its own, through a proxy.
struct Node {
    verk: Verk,
    events: Events,
    log: Log,
    proxy: CuttingProxy,
    redis: RedisServer,
}

impl Node {
    async fn start() -> Self {
        Self::on(RedisServer::start()).await
    }

    async fn on(redis: RedisServer) -> Self {
        let proxy = CuttingProxy::start(&redis);
        let states = States::new();
        let config = RedisConfig::new(proxy.url()).response_timeout(Duration::from_secs(2));
        let builder = Verk::builder()
            .redis(config)
            .queue("default", 10)
            .heartbeat(Duration::from_secs(1));
        let verk = states.give(builder).build().await.unwrap();
        let events = verk.events();
        verk.start().unwrap();
        Self {
            verk,
            events,
            log: states.log,
            proxy,
            redis,
        }
    }

    async fn wait_for_finished(&mut self, count: usize) {
        for _ in 0..count {
            wait_for(&mut self.events, |event| {
                matches!(event.what, EventKind::JobFinished { .. }).then_some(())
            })
            .await;
        }
    }

    /// Waits until so many jobs have run; one that ran again counts once.
    async fn wait_until_ran(&mut self, count: usize) {
        while self.log.entries().iter().collect::<BTreeSet<_>>().len() < count {
            // The outcome of a run is published after it.
            wait_for(&mut self.events, Some).await;
        }
    }

    /// Each of the jobs ran at least once, and nothing is left in any key but the names of queues,
    /// statistics, and a lock of Sidekiq's that expires.
    async fn assert_all_ran(self, count: u32) -> Vec<String> {
        self.verk.shutdown().await;
        let ran = self.log.entries();
        let numbers: BTreeSet<u32> = ran.iter().map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..count).collect());
        let keys = self.redis.command(&["KEYS", "*"]).into_array().unwrap();
        let keys: Vec<_> = keys
            .into_iter()
            .map(|key| key.into_bytes().unwrap())
            .filter(|key| !key.starts_with(b"stat:") && key != "process_cleanup")
            .collect();
        assert_eq!(keys, ["queues"]);
        ran
    }
}

#[tokio::test]
async fn jobs_run_fail_and_run_again() {
    let mut node = Node::start().await;
    node.verk
        .client()
        .enqueue_all((0..500).map(Numbered::new))
        .await
        .unwrap();
    node.verk
        .client()
        .enqueue_all((500..600).map(Shaky::new))
        .await
        .unwrap();
    node.wait_for_finished(600).await;
    assert_eq!(node.assert_all_ran(600).await.len(), 600, "each once");
}

#[tokio::test]
async fn runs_are_counted_in_the_keys_of_sidekiq_and_verk() {
    let mut node = Node::start().await;
    for jobs in [20, 30] {
        let client = node.verk.client();
        client.enqueue_all((0..jobs).map(Shaky::new)).await.unwrap();
        client
            .enqueue_all((0..100).map(Numbered::new))
            .await
            .unwrap();
        node.wait_for_finished(jobs as usize + 100).await;
    }
    let before = node.verk.admin().stats_history(1).await.unwrap()[0].day;
    // The last report: its reply is lost.
    node.proxy.lose_reply(|command| {
        let first_key = command.args().get(3);
        command.name() == "EVALSHA" && first_key.is_some_and(|key| key.ends_with(b":stats"))
    });
    node.verk.shutdown().await;
    assert_eq!(node.proxy.losses(), 1);

    let stats = node.verk.admin().stats().await.unwrap();
    assert_eq!((stats.processed, stats.failed), (300, 50));
    let queue = stats.queue("default").unwrap();
    assert_eq!((queue.processed, queue.failed), (300, 50));
    let get = |key: &str| -> u64 {
        let value = node.redis.command(&["GET", key]).into_bytes();
        value.map_or(0, |value| {
            std::str::from_utf8(&value).unwrap().parse().unwrap()
        })
    };
    assert_eq!((get("stat:processed"), get("stat:failed")), (300, 50));
    let of_queue = (get("stat:processed:default"), get("stat:failed:default"));
    assert_eq!(of_queue, (250, 50), "Verk counts what succeeded");

    let history = node.verk.admin().stats_history(2).await.unwrap();
    // The day may have ended meanwhile.
    let sum = |count: fn(&verk::stats::DayStats) -> u64| history.iter().map(count).sum::<u64>();
    assert_eq!((sum(|of| of.processed), sum(|of| of.failed)), (300, 50));
    let days = history.iter().map(|of| of.day);
    for day in days.filter(|day| *day >= before) {
        let key = format!("stat:processed:{day}");
        let ttl = node.redis.command(&["TTL", &key]).as_integer().unwrap();
        let five_years = 5 * 365 * 24 * 60 * 60;
        assert!(
            ttl == -2 || (five_years - 600..=five_years).contains(&ttl),
            "{ttl}"
        );
    }
    let left = node.redis.command(&["KEYS", "verk*"]).into_array().unwrap();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[tokio::test]
async fn connections_that_break_are_replaced() {
    let mut node = Node::start().await;
    for round in 0..5 {
        let jobs = || (round * 50..(round + 1) * 50).map(Shaky::new);
        // The cut of the round before may show only now. They may be stored then, and run twice.
        while let Err(error) = node.verk.client().enqueue_all(jobs()).await {
            assert!(error.source.may_be_stored(), "{error}");
        }
        // Whatever is on its way now: fetches, outcomes, heartbeats.
        node.wait_for_finished(5).await;
        node.proxy.cut();
        node.wait_until_ran((round + 1) as usize * 50).await;
    }
    node.assert_all_ran(250).await;
}

#[tokio::test]
async fn lost_replies_to_scripts_lose_no_job_and_run_none_twice() {
    let mut node = Node::start().await;
    // Of the queue. The heartbeat and others have scripts as well, and a lost reply of theirs may
    // take with it the connection on which the test enqueues.
    let of_the_queue = |command: &RedisCommand| {
        command.name() == "EVALSHA" && command.mentions("inprogress:default:")
    };
    for round in 0..5 {
        node.proxy.lose_reply(of_the_queue);
        let jobs = (round * 20..(round + 1) * 20).map(Numbered::new);
        node.verk.client().enqueue_all(jobs).await.unwrap();
        node.wait_for_finished(20).await;
    }
    assert_eq!(node.proxy.losses(), 5);
    assert_eq!(node.assert_all_ran(100).await.len(), 100, "each once");
}

#[tokio::test]
async fn a_lost_reply_to_a_waiting_fetch_loses_no_job() {
    let mut node = Node::start().await;
    for number in 0..5 {
        node.proxy.lose_reply(|command| command.name() == "BLMOVE");
        node.verk.enqueue(Numbered::new(number)).await.unwrap();
        node.wait_for_finished(1).await;
    }
    assert_eq!(node.assert_all_ran(5).await.len(), 5, "each once");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let mut node = Node::start().await;
    node.redis.command(&["SCRIPT", "FLUSH"]);
    node.verk
        .client()
        .enqueue_all((0..50).map(Shaky::new))
        .await
        .unwrap();
    node.wait_for_finished(50).await;
    node.assert_all_ran(50).await;
}

#[tokio::test]
async fn a_redis_that_was_restarted_with_its_data_is_used_again() {
    let redis = RedisServer::builder()
        .setting("appendonly", "yes")
        .setting("appendfsync", "always")
        .start();
    let mut node = Node::on(redis).await;
    for round in 0..3 {
        node.verk
            .client()
            .enqueue_all((round * 50..(round + 1) * 50).map(Shaky::new))
            .await
            .unwrap();
        node.wait_for_finished(5).await;
        node.redis.restart();
        node.wait_until_ran((round + 1) as usize * 50).await;
    }
    node.assert_all_ran(150).await;
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_used_again() {
    let mut node = Node::start().await;
    node.redis.restart();
    // The node's heartbeat is gone with all else: it registers again.
    loop {
        if node.verk.enqueue(Numbered::new(0)).await.is_ok() {
            break;
        }
    }
    node.wait_for_finished(1).await;
    node.assert_all_ran(1).await;
}

#[tokio::test]
async fn a_full_redis_drains() {
    let mut node = Node::start().await;
    // Nothing is fetched until Redis is full.
    node.proxy.set_refusing(true);
    node.proxy.cut();
    let direct = Verk::builder()
        .redis(node.redis.url())
        .build()
        .await
        .unwrap();
    direct
        .client()
        .enqueue_all((0..300).map(Shaky::new))
        .await
        .unwrap();
    node.redis
        .command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    node.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = direct.enqueue(Shaky::new(300)).await.unwrap_err();
    assert!(!refused.may_be_stored());
    node.proxy.set_refusing(false);
    node.wait_for_finished(300).await;
    node.assert_all_ran(300).await;
}

#[tokio::test]
async fn a_redis_that_may_evict_jobs_is_warned_of() {
    let redis = RedisServer::start();
    let warning = ["WARN", "policy=\"allkeys-lru\"", "may evict keys"];
    redis.command(&["CONFIG", "SET", "maxmemory", "1gb"]);
    for (policy, warnings) in [("noeviction", 0), ("allkeys-lru", 1)] {
        redis.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let (logged, _guard) = Logged::capture();
        Verk::builder().redis(redis.url()).build().await.unwrap();
        assert_eq!(logged.lines_with(&warning), warnings, "{policy}");
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_one_line_without_the_password() {
    let error = Verk::builder()
        .redis("redis://user:canary@127.0.0.1:1")
        .queue("default", 1);
    let error = States::new().give(error).build().await.unwrap_err();
    let shown = format!("{error:?}");
    assert!(
        shown.contains("127.0.0.1:1") && !shown.contains("canary") && !shown.contains('\n'),
        "{shown}"
    );
}

#[tokio::test]
async fn no_error_and_no_debug_shows_a_password() {
    let redis = RedisServer::builder().tcp().start();
    redis.command(&["CONFIG", "SET", "requirepass", "another"]);
    let address = redis.url().trim_start_matches("redis://").to_owned();
    for url in [
        format!("redis://:canary@{address}"),
        format!("redis://user:canary@{address}"),
        format!("redis://user:c%61nary@{address}"),
        "redis://user:canary@127.0.0.1:port".to_owned(),
        "redis://user:canary@".to_owned(),
        "canary@host".to_owned(),
        "http://user:canary@host".to_owned(),
        "redis+unix:///no/such.sock?pass=canary".to_owned(),
        "rediss://user:canary@127.0.0.1:1".to_owned(),
        "redis+sentinel://user:canary@127.0.0.1:1/main?sentinel_pass=canary".to_owned(),
        // A Redis that is no Sentinel.
        format!("redis+sentinel://{address}/main?sentinel_pass=canary"),
        format!("redis+sentinel://user:canary@{address}"),
        format!("redis+sentinel://{address}/main?pass=canary"),
    ] {
        let builder = Verk::builder().redis(url.as_str());
        let mut shown = format!("{builder:?}");
        let error = builder.build().await.unwrap_err();
        shown += &format!("{error} {error:?} {error:#?}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            shown += &format!("{error} {error:?}");
            source = error.source();
        }
        assert!(!shown.contains("canary"), "{url}: {shown}");
    }
    let verk = Verk::builder()
        .redis(format!("redis://:another@{address}"))
        .build()
        .await
        .unwrap();
    let shown = format!("{verk:?} {:?} {:?}", verk.client(), verk.storage());
    assert!(!shown.contains("another"), "{shown}");
}

#[tokio::test]
async fn a_server_that_repeats_what_it_does_not_know_gives_no_password_away() {
    let settings = NamedTempFile::new().unwrap();
    let forget = "rename-command HELLO \"\"\nrename-command AUTH \"\"\n";
    fs::write(settings.path(), forget).unwrap();
    let include = settings.path().display().to_string();
    let redis = RedisServer::builder().tcp().setting("include", &include);
    let redis = redis.start();
    let port = redis.port();
    for url in [
        format!("redis://:canary@127.0.0.1:{port}"),
        format!("redis+sentinel://127.0.0.1:{port}/main?sentinel_pass=canary"),
    ] {
        let error = RedisStorage::connect(url).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(
            shown.contains("AuthenticationFailed") && !shown.contains("canary"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn no_log_shows_a_password_that_does_not_do_any_more() {
    let redis = RedisServer::builder().tcp().start();
    let user = |password: &str| {
        let password = format!(">{password}");
        let user = [
            "ACL",
            "SETUSER",
            "app",
            "on",
            "resetpass",
            &password,
            "~*",
            "&*",
            "+@all",
        ];
        redis.command(&user);
    };
    user("canary");
    let (logged, _guard) = Logged::capture();
    let address = redis.url().replace("redis://", "");
    let builder = Verk::builder()
        .redis(format!("redis://app:canary@{address}"))
        .queue("default", 1)
        .heartbeat(Duration::from_secs(1));
    let verk = States::new().give(builder).build().await.unwrap();
    verk.start().unwrap();
    user("changed");
    redis.command(&["CLIENT", "KILL", "USER", "app"]);
    within(PATIENCE, async {
        while logged.lines_with(&["WRONGPASS"]) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    user("canary");
    verk.shutdown().await;
    assert_eq!(logged.lines_with(&["canary"]), 0);
}
