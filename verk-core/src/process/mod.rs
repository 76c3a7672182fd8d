//! The report of a process, in Sidekiq's words. It is made here, and backends store it as it is.

pub(crate) mod manager;
pub(crate) mod signals;

use std::{
    collections::BTreeMap,
    env, process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    config::Config,
    names::NodeId,
    node::about::{VERSION, process_identity},
    queues::status::{QueueStatus, RunSnapshot},
    storage::{MAX_BATCH_BYTES, ProcessReport},
    time::clock::unix_seconds,
};

/// The values that do not change while the process lives.
#[derive(Debug)]
pub(crate) struct Process {
    host: String,
    pid: u32,
    identity: String,
    tag: String,
    labels: Vec<String>,
    started_at: SystemTime,
    sidekiq_6_work: bool,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct Activity<'a> {
    pub(crate) queues: &'a [QueueStatus],
    /// The oldest first.
    pub(crate) runs: &'a [RunSnapshot],
    pub(crate) quiet: bool,
    pub(crate) now: SystemTime,
    pub(crate) rtt: Duration,
}

impl Process {
    /// This process, whose first node this is.
    pub(crate) fn this(host: String, node: &NodeId, config: &Config, now: SystemTime) -> Self {
        Self {
            identity: process_identity(&host, node),
            host,
            pid: process::id(),
            tag: config.tag.clone().unwrap_or_else(program),
            labels: config.labels.clone(),
            started_at: now,
            sidekiq_6_work: config.sidekiq_6_work,
        }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn report(&self, activity: &Activity<'_>) -> ProcessReport {
        ProcessReport {
            identity: self.identity.clone(),
            info: json(&self.info(activity.queues)),
            concurrency: concurrency(activity.queues),
            busy: activity.runs.len(),
            quiet: activity.quiet,
            beat: activity.now,
            rss: resident_kib(),
            rtt: activity.rtt,
            work: work(activity.runs),
            sidekiq_6_work: self.sidekiq_6_work,
        }
    }

    fn info<'a>(&'a self, queues: &'a [QueueStatus]) -> Info<'a> {
        let names = || queues.iter().map(|queue| queue.name.as_str());
        let weights = |name| BTreeMap::from([(name, 0)]);
        let capsule = |queue: &'a QueueStatus| {
            let name = queue.name.as_str();
            let capsule = Capsule {
                concurrency: queue.concurrency,
                mode: "strict",
                weights: weights(name),
            };
            (name, capsule)
        };
        Info {
            hostname: &self.host,
            started_at: unix_seconds(self.started_at),
            pid: self.pid,
            tag: &self.tag,
            concurrency: concurrency(queues),
            capsules: queues.iter().map(capsule).collect(),
            queues: names().collect(),
            weights: names().map(weights).collect(),
            labels: &self.labels,
            identity: &self.identity,
            version: VERSION,
            embedded: false,
        }
    }
}

/// Sidekiq's `info`. A queue has a concurrency of its own in verk, so it is shown as a capsule.
#[derive(Serialize)]
struct Info<'a> {
    hostname: &'a str,
    started_at: f64,
    pid: u32,
    tag: &'a str,
    /// Read up to Sidekiq 8.1.1.
    concurrency: usize,
    /// Read from Sidekiq 8.0.9.
    capsules: BTreeMap<&'a str, Capsule<'a>>,
    /// Read before that.
    queues: Vec<&'a str>,
    weights: Vec<BTreeMap<&'a str, u32>>,
    labels: &'a [String],
    identity: &'a str,
    version: &'static str,
    /// An embedded Sidekiq cannot be stopped.
    embedded: bool,
}

#[derive(Serialize)]
struct Capsule<'a> {
    concurrency: usize,
    mode: &'static str,
    weights: BTreeMap<&'a str, u32>,
}

/// A running job, as Sidekiq shows it.
#[derive(Serialize)]
struct Work<'a> {
    queue: &'a str,
    payload: &'a str,
    run_at: u64,
}

/// The running jobs by their ids, because there are no threads. If they are very large, those that
/// began first.
fn work(runs: &[RunSnapshot]) -> BTreeMap<String, Bytes> {
    let mut bytes = 0;
    let fitting = runs.iter().take_while(|run| {
        bytes += run.job.original_json().len();
        bytes <= MAX_BATCH_BYTES
    });
    let shown = fitting.map(|run| {
        let run_at = run.started_at.duration_since(UNIX_EPOCH);
        let work = Work {
            queue: run.queue.as_str(),
            payload: &String::from_utf8_lossy(run.job.original_json()),
            run_at: run_at.unwrap_or_default().as_secs(),
        };
        (run.job.jid().to_string(), json(&work))
    });
    shown.collect()
}

fn concurrency(queues: &[QueueStatus]) -> usize {
    queues.iter().map(|queue| queue.concurrency).sum()
}

fn json(value: &impl Serialize) -> Bytes {
    // Texts, numbers and maps of texts always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// The name of the program's file.
fn program() -> String {
    let file = env::current_exe().ok();
    let name = file.as_deref().and_then(|file| file.file_stem());
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// How much memory this process has, in KiB; 0 if the system does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    resident_in(&status).unwrap_or(0)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{job::Job, names::QueueName, queues::status::Status};

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn queue(name: &str, concurrency: usize) -> QueueStatus {
        QueueStatus {
            name: QueueName::new(name).unwrap(),
            concurrency,
            running: 0,
            status: Status::Idle,
            paused_everywhere: false,
        }
    }

    fn run(payload: &str) -> RunSnapshot {
        RunSnapshot {
            job: Arc::new(Job::decode(Bytes::from(payload.to_owned())).unwrap()),
            queue: QueueName::new("low").unwrap(),
            started_at: at(1_700_000_050),
        }
    }

    fn this() -> Process {
        Process {
            host: "web-1".into(),
            pid: 42,
            identity: "web-1:42:0123456789ab".into(),
            tag: "billing".into(),
            labels: vec!["eu".into()],
            started_at: at(1_700_000_000),
            sidekiq_6_work: false,
        }
    }

    fn report(queues: &[QueueStatus], runs: &[RunSnapshot]) -> ProcessReport {
        this().report(&Activity {
            queues,
            runs,
            quiet: true,
            now: at(1_700_000_060),
            rtt: Duration::from_micros(250),
        })
    }

    #[test]
    fn info_is_that_of_sidekiq_7_and_8() {
        let report = report(&[queue("default", 25), queue("low", 5)], &[]);
        let expected = concat!(
            r#"{"hostname":"web-1","started_at":1700000000.0,"pid":42,"tag":"billing","concurrency":30,"#,
            r#""capsules":{"default":{"concurrency":25,"mode":"strict","weights":{"default":0}},"#,
            r#""low":{"concurrency":5,"mode":"strict","weights":{"low":0}}},"#,
            r#""queues":["default","low"],"weights":[{"default":0},{"low":0}],"labels":["eu"],"#,
            r#""identity":"web-1:42:0123456789ab","version":"verk "#,
            env!("CARGO_PKG_VERSION"),
            r#"","embedded":false}"#,
        );
        assert_eq!(report.info, expected);
        assert_eq!(
            (report.concurrency, report.busy, report.quiet),
            (30, 0, true)
        );
    }

    #[test]
    fn a_running_job_is_shown_with_its_payload_as_text() {
        let job = run(r#"{"class":"A","jid":"j1","args":["\u00e9",1.50]}"#);
        let report = report(&[], &[job]);
        let expected = r#"{"queue":"low","payload":"{\"class\":\"A\",\"jid\":\"j1\",\"args\":[\"\\u00e9\",1.50]}","run_at":1700000050}"#;
        assert_eq!(report.work["j1"], expected);
        assert_eq!(report.busy, 1);
    }

    #[test]
    fn very_large_jobs_are_counted_and_not_shown() {
        let large = |jid: u32| {
            let text = "x".repeat(MAX_BATCH_BYTES / 2);
            run(&format!(
                r#"{{"class":"A","jid":"{jid}","args":["{text}"]}}"#
            ))
        };
        let report = report(&[], &[large(1), large(2), large(3)]);
        assert_eq!(report.busy, 3);
        assert_eq!(report.work.keys().collect::<Vec<_>>(), ["1"]);
    }

    #[test]
    fn the_process_is_named_after_its_node() {
        let node = NodeId::from("worker.1.0123456789ab");
        let process = Process::this("h".into(), &node, &Config::default(), at(0));
        let pid = process::id();
        assert_eq!(process.identity(), format!("h:{pid}:0123456789ab"));
        assert!(process.tag.starts_with("verk_core"), "{}", process.tag);
    }

    #[test]
    fn memory_is_read_from_linux() {
        let status = "Name:\tsidekiq_worker\nVmHWM:\t   9000 kB\nVmRSS:\t    8128 kB\n";
        assert_eq!(resident_in(status), Some(8_128));
        assert_eq!(resident_in("VmRSS: unknown"), None);
        assert_eq!(resident_in(""), None);
    }
}
