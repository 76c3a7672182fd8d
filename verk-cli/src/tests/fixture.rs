//! The jobs of the tests, on each storage.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use verk_core::{
    Client, Verk, VerkBuilder,
    manage::Admin,
    storage::{
        DeadLimits, Due, DueSet, JobSet, Move, MoveTarget, ProcessReport, Settled, Source, Storage,
    },
    time::unix_seconds,
};
use verk_redis::{RedisBuilderExt, RedisConfig, RedisStorage};
use verk_testing::{MemoryStorage, RedisServer, VirtualClock};

pub(crate) struct Stored {
    admin: Admin,
    /// The same, with the clock of this machine.
    of_doctor: Admin,
    storage: Arc<dyn Storage>,
    redis: Option<RedisServer>,
}

/// In memory and on Redis, each with the same jobs. Their time stands still, so that ages do not
/// change during a test.
pub(crate) async fn storages() -> Vec<Stored> {
    let clock = Arc::new(VirtualClock::new());
    let memory = MemoryStorage::default();
    let of_memory = Stored::new(
        Verk::builder().clock(clock.clone()).storage(memory.clone()),
        Arc::new(memory),
        None,
    );
    let server = RedisServer::builder().setting("appendonly", "yes").start();
    let config = RedisConfig::new(server.url());
    let redis = RedisStorage::connect(config.clone()).await.unwrap();
    let of_redis = Stored::new(
        Verk::builder().clock(clock.clone()).redis(config),
        Arc::new(redis),
        Some(server),
    );
    vec![of_memory.await, of_redis.await]
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

impl Stored {
    async fn new(
        builder: VerkBuilder,
        storage: Arc<dyn Storage>,
        redis: Option<RedisServer>,
    ) -> Self {
        let stored = Self {
            admin: builder.build().await.unwrap().admin(),
            of_doctor: Client::new(Arc::clone(&storage)).admin(),
            storage,
            redis,
        };
        stored.fill().await;
        stored
    }

    /// The handle for a command. The doctor compares the clocks of this machine and the storage.
    pub(crate) fn admin_of(&self, command: &str) -> &Admin {
        if command.contains("doctor") {
            &self.of_doctor
        } else {
            &self.admin
        }
    }

    #[cfg(feature = "tui")]
    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.redis.is_none()
    }

    async fn fill(&self) {
        // In the middle of a minute.
        let now = self.admin.now() - Duration::from_secs(20);
        let job = |class: &str, jid: &str, queue: &str, more: &str| {
            let enqueued = unix_seconds(now - minutes(63));
            Bytes::from(format!(
                r#"{{"class":"{class}","jid":"{jid}","queue":"{queue}","args":["{jid}@example.com",1.50],"created_at":{enqueued},"enqueued_at":{enqueued}{more}}}"#
            ))
        };
        let failed = |message: &str, count: u32| {
            let (first, last) = (
                unix_seconds(now - minutes(62)),
                unix_seconds(now - minutes(61)),
            );
            format!(
                r#","retry":5,"retry_count":{count},"failed_at":{first},"retried_at":{last},"error_class":"SmtpError","error_message":"{message}","error_backtrace":["caused by: connection refused","at mailers/src/smtp.rs:41"]"#
            )
        };
        let later = now + minutes(120) + Duration::from_millis(40_500);
        self.add(
            JobSet::Schedule,
            later,
            job("SendNewsletter", "s1", "mailers", ""),
        )
        .await;
        let retry = job(
            "SendWelcome",
            "f1",
            "mailers",
            &failed("the mail server did not answer", 0),
        );
        self.add(JobSet::Retry, later, retry).await;
        for (number, message) in [
            "the mail server did not answer",
            "the mail server did not answer",
            "no such mailbox: \\u001b[2J",
        ]
        .into_iter()
        .enumerate()
        {
            let jid = format!("d{number}");
            let died = now - minutes(140 - 10 * number as u64);
            let dead = job("SendWelcome", &jid, "mailers", &failed(message, 5));
            self.add(JobSet::Dead, died, dead).await;
        }
        self.add(
            JobSet::Dead,
            now - minutes(90),
            job("Charge", "c1", "payments", ""),
        )
        .await;
        self.push("mailers", job("SendWelcome", "w1", "mailers", ""))
            .await;
        self.push("mailers", job("SendWelcome", "w2", "mailers", ""))
            .await;
        self.push(
            "reports",
            job("BuildReport", "r1", "reports", r#","tags":["year"]"#),
        )
        .await;
        self.push("reports", Bytes::from_static(b"\x1b[31mnot a job\xff"))
            .await;

        for (identity, jid) in [
            ("web-1:42:0123456789ab", "b1"),
            ("web-2:43:ba9876543210", "b2"),
        ] {
            let report = process(identity, jid, now);
            self.storage.report_process(&report).await.unwrap();
        }
    }

    pub(crate) async fn push(&self, queue: &str, payload: Bytes) {
        let queue = queue.parse().unwrap();
        self.storage.enqueue(&queue, &[payload]).await.unwrap();
    }

    pub(crate) async fn add(&self, set: JobSet, at: SystemTime, payload: Bytes) {
        self.push("mailers", payload.clone()).await;
        let job = Due {
            at,
            job: payload.clone(),
        };
        let to = match set {
            JobSet::Schedule => MoveTarget::Set {
                set: DueSet::Schedule,
                job,
            },
            JobSet::Retry => MoveTarget::Set {
                set: DueSet::Retry,
                job,
            },
            JobSet::Dead => MoveTarget::Dead {
                job,
                limits: DeadLimits {
                    max_jobs: 1_000,
                    timeout: Duration::from_secs(1 << 40),
                },
            },
        };
        let queue = Source::Queue("mailers".parse().unwrap());
        let moved = self
            .storage
            .move_jobs(&queue, &[Move::new(payload, to)], None)
            .await;
        assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
    }
}

/// A process of Sidekiq that runs a job.
fn process(identity: &str, jid: &str, now: SystemTime) -> ProcessReport {
    let payload =
        format!(r#"{{"class":"BuildReport","jid":"{jid}","queue":"reports","args":[2026]}}"#);
    let run_at = now.duration_since(UNIX_EPOCH).unwrap().as_secs() - 63 * 60;
    let payload = serde_json::to_string(&payload).unwrap();
    let work = format!(r#"{{"queue":"reports","payload":{payload},"run_at":{run_at}}}"#);
    ProcessReport {
        identity: identity.to_owned(),
        info: Bytes::from_static(
            br#"{"version":"7.3.10","concurrency":5,"queues":["reports","low"],"tag":"shop"}"#,
        ),
        concurrency: 5,
        busy: 1,
        quiet: false,
        beat: now - minutes(63),
        rss: 51_200,
        rtt: Duration::from_micros(250),
        work: [(jid.to_owned(), Bytes::from(work))].into(),
        sidekiq_6_work: false,
    }
}
