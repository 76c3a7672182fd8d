//! A worker process of a run: verk as users run it, with a line in the ledger for everything that
//! it does.

use std::{
    convert::Infallible,
    io::{self, Write},
    path::PathBuf,
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt, future::BoxFuture};
use tracing::{Subscriber, level_filters::LevelFilter, span};
use tracing_subscriber::{
    Layer,
    layer::{self, SubscriberExt},
    util::SubscriberInitExt,
};
use verk::{
    BoxError, Event, EventKind, Job, RetryIn,
    cron::Tick,
    events::Events,
    guard,
    prelude::*,
    redis::RedisConfig,
    time::{Clock, SystemClock},
};

use crate::{
    kind::{KEPT, KEPT_KEY, Kind, QUEUES},
    ledger::{Attempt, Ledger, Life, Record},
};

/// What a worker process is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The worker, and how often it was started before.
    #[arg(long, value_parser = |text: &str| text.parse::<Life>().map_err(|()| "not a life"))]
    pub life: Life,
    /// The file to which everything is written.
    #[arg(long)]
    pub ledger: PathBuf,
    /// Where Redis is.
    #[arg(long)]
    pub redis: String,
    /// The text before every key.
    #[arg(long)]
    pub prefix: Option<String>,
    /// The heartbeat, in milliseconds.
    #[arg(long)]
    pub heartbeat: u64,
    /// How many jobs run at once.
    #[arg(long)]
    pub concurrency: usize,
    /// How many queues it runs.
    #[arg(long, default_value_t = 1)]
    pub queues: usize,
    /// One more queue.
    #[arg(long)]
    pub backlog: Option<String>,
}

/// How long a short job takes.
const SHORT: Duration = Duration::from_millis(20);

/// How long a slow job takes.
const SLOW: Duration = Duration::from_millis(200);

/// How long running jobs may take to end after TERM: less than a slow job.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

/// The ledger that the jobs of a worker write to, and the worker's name in it.
#[derive(Clone, Debug)]
pub(crate) struct Diary {
    ledger: Ledger,
    life: Life,
}

/// The job of every run.
#[verk::worker(retry_in = soon)]
pub(crate) async fn chaos(
    kind: Kind,
    #[arg(default)] padding: String,
    State(diary): State<Diary>,
    ctx: JobContext,
) -> Result<(), &'static str> {
    let attempt = Attempt {
        jid: ctx.jid().to_string(),
        number: ctx.attempt(),
    };
    diary
        .ledger
        .write(&Record::Started(diary.life, attempt.clone()));
    drop(padding);
    if let Some(tick) = Tick::of(ctx.job()) {
        let due = tick.due().duration_since(SystemTime::UNIX_EPOCH);
        diary.ledger.write(&Record::Tick {
            jid: attempt.jid.clone(),
            due: due.unwrap_or_default().as_secs(),
        });
    } else if ctx.job().get(KEPT_KEY) != Some(KEPT) {
        return Err("the payload was changed");
    }
    let result = match kind {
        Kind::Short => {
            ctx.sleep(SHORT).await;
            Ok(())
        }
        Kind::Slow | Kind::Unique => {
            ctx.sleep(SLOW).await;
            Ok(())
        }
        Kind::FailsOnce | Kind::UniqueFails if attempt.number == 1 => Err("once"),
        Kind::Dies => Err("for good"),
        Kind::Poison => process::abort(),
        Kind::Quick
        | Kind::FailsOnce
        | Kind::UniqueFails
        | Kind::Tick
        | Kind::Backlog
        | Kind::Huge
        | Kind::Scheduled
        | Kind::Twice
        | Kind::Malformed
        | Kind::Misfit => Ok(()),
    };
    diary.ledger.write(&Record::Ended(diary.life, attempt));
    result
}

fn soon(_retry_count: u32, error: &&'static str) -> RetryIn {
    match *error {
        "once" => RetryIn::After(Duration::from_millis(300)),
        _ => RetryIn::Kill,
    }
}

/// Runs a worker process until it is stopped.
///
/// # Errors
///
/// When verk cannot run.
pub async fn run(options: Options) -> Result<(), BoxError> {
    let diary = Diary {
        ledger: Ledger::open(&options.ledger)?,
        life: options.life,
    };
    let controls = Arc::new(Controls::new(diary.clone()));
    log_to_stderr(&controls);
    {
        // Not a task: the runtime would wait at its end for a line that does not come.
        let controls = Arc::clone(&controls);
        thread::spawn(move || controls.listen());
    }
    let verk = loop {
        let mut builder = Verk::builder();
        let backlog = options.backlog.as_deref();
        for queue in QUEUES.into_iter().take(options.queues).chain(backlog) {
            builder = builder.queue(queue, options.concurrency);
        }
        let built = builder
            .redis(RedisConfig::new(&options.redis).prefix(options.prefix.clone()))
            .heartbeat(Duration::from_millis(options.heartbeat))
            .poll_interval(Duration::from_secs(1))
            .shutdown_timeout(SHUTDOWN_TIMEOUT)
            .clock(Arc::<JumpingClock>::clone(&controls.clock))
            .state(diary.clone())
            .build()
            .await;
        match built {
            Ok(verk) => break verk,
            // Redis may be down just now. A process manager would start the program again.
            Err(error) => say(&format!("cannot start, trying again: {error:?}")),
        }
    };
    // Set once.
    let _ = controls.verk.set(verk.clone());
    let mut events = verk.events();
    let ran = tokio::select! {
        ran = verk.run() => ran,
        never = tell(&mut events, &diary) => match never {},
    };
    // What happened last.
    let _ = tell(&mut events, &diary).now_or_never();
    Ok(ran?)
}

/// Writes what happens to the ledger.
async fn tell(events: &mut Events, diary: &Diary) -> Infallible {
    let (ledger, life) = (&diary.ledger, diary.life);
    let settled = |job: &Job, number| {
        let attempt = Attempt {
            jid: job.jid().to_string(),
            number,
        };
        ledger.write(&Record::Settled(life, attempt));
    };
    let mut caught = 0;
    loop {
        let event = events.recv().await;
        // Before the event, so that the ledger has the panics that a process caught, however it
        // ends.
        let panics = guard::caught();
        if panics > caught {
            ledger.write(&Record::Caught(life, panics));
            caught = panics;
        }
        match event {
            Some(Ok(Event {
                what: EventKind::JobFinished { .. },
                job: Some(job),
                ..
            })) => settled(&job, job.failures() + 1),
            Some(Ok(Event {
                what: EventKind::JobFailed { .. },
                job: Some(job),
                ..
            })) => settled(&job, job.failures()),
            Some(Ok(Event {
                what: EventKind::JobLost,
                ..
            })) => ledger.write(&Record::Lost(life)),
            Some(Ok(Event {
                what: EventKind::JobsRestored { count, .. },
                ..
            })) => {
                ledger.write(&Record::Restored(life, count));
            }
            Some(Ok(Event {
                what: EventKind::NodeRegistered { node, .. },
                ..
            })) => {
                ledger.write(&Record::Node(life, node.to_string()));
            }
            Some(Ok(Event {
                what: EventKind::LockRepaired { jid, .. },
                ..
            })) => ledger.write(&Record::Repaired(life, jid.to_string())),
            Some(Ok(_)) => {}
            // The default client keeps the Verk until the process ends.
            None => std::future::pending().await,
            Some(Err(lagged)) => say(&format!("the ledger misses settlements: {lagged}")),
        }
    }
}

/// Says something in the log, if anybody reads it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The log of a program as verk's users write it, with a layer that panics on command.
fn log_to_stderr(controls: &Arc<Controls>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // As `tracing_subscriber::fmt()` does: a line that cannot be written is a panic.
        .log_internal_errors(true)
        .with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(PanickingLayer(Arc::clone(&controls.log_panics)))
        .with(lines)
        .init();
}

/// The commands of a worker process, one a line.
#[derive(Debug)]
struct Controls {
    diary: Diary,
    clock: Arc<JumpingClock>,
    log_panics: Arc<AtomicBool>,
    /// Once it is built.
    verk: OnceLock<Verk>,
}

impl Controls {
    fn new(diary: Diary) -> Self {
        Self {
            diary,
            clock: Arc::default(),
            log_panics: Arc::default(),
            verk: OnceLock::new(),
        }
    }

    /// Takes commands. `clock MILLISECONDS` sets how far the clock is off. `log panics` and
    /// `log works` switch the subscriber. `rest` asks for the state of the worker. When the input
    /// ends, the process ends.
    fn listen(&self) {
        for line in io::stdin().lines().map_while(Result::ok) {
            match line.as_str() {
                "log panics" => self.log_panics.store(true, Ordering::Relaxed),
                "log works" => self.log_panics.store(false, Ordering::Relaxed),
                "rest" => self.say_how_it_is(),
                _ => {
                    let offset = line.strip_prefix("clock ");
                    if let Some(offset) = offset.and_then(|text| text.parse().ok()) {
                        self.clock.offset_ms.store(offset, Ordering::Relaxed);
                    }
                }
            }
        }
        process::exit(1);
    }

    fn say_how_it_is(&self) {
        let Some(verk) = self.verk.get() else { return };
        let running = verk.running_jobs().len();
        let rest = Record::Rest(self.diary.life, running);
        self.diary.ledger.write(&rest);
    }
}

/// A subscriber that panics at every second call, on average, while it is switched on.
struct PanickingLayer(Arc<AtomicBool>);

impl PanickingLayer {
    fn called(&self) {
        assert!(
            !self.0.load(Ordering::Relaxed) || rand::random(),
            "told to panic"
        );
    }
}

impl<S: Subscriber> Layer<S> for PanickingLayer {
    fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: layer::Context<'_, S>) {
        self.called();
    }

    fn on_enter(&self, _: &span::Id, _: layer::Context<'_, S>) {
        self.called();
    }

    fn on_exit(&self, _: &span::Id, _: layer::Context<'_, S>) {
        self.called();
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        self.called();
    }

    fn on_close(&self, _: span::Id, _: layer::Context<'_, S>) {
        self.called();
    }
}

/// A time of day that can be set. It does not change how long a wait takes, as with the machine's
/// clock.
#[derive(Debug, Default)]
struct JumpingClock {
    offset_ms: AtomicI64,
}

impl Clock for JumpingClock {
    fn now(&self) -> SystemTime {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(offset.unsigned_abs());
        let now = SystemClock.now();
        if offset < 0 { now - by } else { now + by }
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(deadline)
    }
}
