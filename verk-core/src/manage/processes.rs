//! The processes of the fleet: [`Process`].

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};

use super::Admin;
use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{MAX_BATCH_BYTES, Node, ProcessReport, ProcessSignal},
    time::clock::from_unix_seconds,
};

/// # Processes
impl Admin {
    /// Reads the processes that run queues, those of Ruby's Sidekiq too, by identity: each that has
    /// reported itself within the last minute.
    ///
    /// A process of verk reports itself every 10 seconds, unless
    /// [`process_registry`](crate::VerkBuilder::process_registry) is off. So the numbers are up to
    /// 10 seconds old. [`running`](Self::running) returns the jobs of the processes, and
    /// [`nodes`](Self::nodes) the nodes of verk and of Elixir's Verk.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::{MemoryStorage, within};
    /// # use std::time::Duration;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// verk.start()?;
    /// let admin = verk.admin();
    /// # within(Duration::from_secs(60), async {
    /// #     while admin.processes().await.unwrap().is_empty() { tokio::task::yield_now().await }
    /// # }).await;
    /// for process in admin.processes().await? {
    ///     println!("{} runs {} of {} jobs", process.identity, process.busy, process.concurrency);
    ///     assert_eq!((process.concurrency, process.quiet), (25, false));
    ///     assert_eq!(process.queues[0].name.as_str(), "default");
    /// }
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn processes(&self) -> Result<Vec<Process>, StorageError> {
        let nodes = self.storage().nodes().await?;
        self.processes_among(&nodes).await
    }

    /// The processes, with their nodes among these.
    pub(super) async fn processes_among(
        &self,
        nodes: &[Node],
    ) -> Result<Vec<Process>, StorageError> {
        let reports = self.storage().processes().await?.into_iter();
        Ok(reports.map(|report| Process::of(report, nodes)).collect())
    }

    /// Finds one of the [processes](Self::processes) by its identity; `None` if it is not shown.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn find_process(&self, identity: &str) -> Result<Option<Process>, StorageError> {
        let Some(report) = self.storage().process(identity).await? else {
            return Ok(None);
        };
        let nodes = self.storage().nodes().await?;
        Ok(Some(Process::of(report, &nodes)))
    }

    /// Sends a signal to a process, of verk or of Sidekiq. The process obeys it with its next
    /// report, so within about 10 seconds. Returns whether it was sent: `false` if no such process
    /// is shown, or if it is an [embedded](Process::embedded) Sidekiq, which must not be stopped
    /// from outside.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::{MemoryStorage, within};
    /// # use std::time::Duration;
    /// use verk_core::storage::ProcessSignal;
    ///
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// # verk.start()?;
    /// let admin = verk.admin();
    /// # within(Duration::from_secs(60), async {
    /// #     while admin.processes().await.unwrap().is_empty() { tokio::task::yield_now().await }
    /// # }).await;
    /// for process in admin.processes().await? {
    ///     assert!(admin.signal(&process.identity, ProcessSignal::Quiet).await?);
    /// }
    /// assert!(!admin.signal("web-1:42:0123456789ab", ProcessSignal::Quiet).await?);
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails. After a lost reply the signal may have been sent. You can safely
    /// send it again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the signal was sent or not.
    pub async fn signal(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
        match self.storage().process(identity).await? {
            Some(report) if !Info::of(&report).embedded() => {
                self.storage().signal_process(identity, signal).await
            }
            _ => Ok(false),
        }
    }
}

/// A process that runs queues, as it last reported itself: see [`Admin::processes`].
///
/// Any program can write a report. A value that is missing, or has another form, is as each field
/// says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Process {
    /// The unique name of the process, `HOST:PID:NONCE`.
    pub identity: String,
    /// The name of the machine; on Heroku, of the dyno. If it is missing, that in the identity.
    pub host: String,
    /// The process id on that machine. If it is missing, that in the identity.
    pub pid: Option<u32>,
    /// What distinguishes this process from another one of the same id: the end of the identity.
    pub nonce: String,
    /// The name of the program: the [setting](crate::VerkBuilder::tag) `tag`. Empty if there is
    /// none.
    pub tag: String,
    /// The labels of the process: the [setting](crate::VerkBuilder::labels) `labels`.
    pub labels: Vec<String>,
    /// The version of its library: `verk 0.1.0` for verk, `7.3.10` for Sidekiq. `None` for Sidekiq
    /// before 7.0.2.
    pub version: Option<String>,
    /// The queues that it runs, those of strict order first to last.
    pub queues: Vec<ProcessQueue>,
    /// How many jobs may run at once; 0 if it is missing.
    pub concurrency: usize,
    /// How many jobs run; 0 if it is missing.
    pub busy: usize,
    /// Whether it fetches no more jobs: it was quieted, or it stops.
    pub quiet: bool,
    /// When it reported this, by its own clock; 1970 if it is missing.
    pub beat: SystemTime,
    /// When it started, by its own clock.
    pub started_at: Option<SystemTime>,
    /// How much memory it uses, in KiB.
    pub rss_kib: Option<u64>,
    /// How long the storage took to answer it; zero if it is missing.
    pub rtt: Duration,
    /// The node of verk whose id ends with the nonce. `None` for other programs, and for a process
    /// that registered again after its first node was declared dead.
    pub node: Option<NodeId>,
    /// Whether it is a Sidekiq inside of another program, such as a web server. It takes no
    /// signals.
    pub embedded: bool,
}

/// A queue that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessQueue {
    /// The name of the queue.
    pub name: QueueName,
    /// How many of its jobs may run at once in the process.
    pub concurrency: usize,
    /// Whether jobs of other queues take the same permits: those of a capsule of Sidekiq. A queue
    /// of verk has permits of its own.
    pub shared: bool,
}

impl Process {
    /// Whether it is of verk, and not of Sidekiq.
    pub(crate) fn is_of_verk(&self) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| version.starts_with("verk "))
    }

    pub(crate) fn of(report: ProcessReport, nodes: &[Node]) -> Self {
        let info = Info::of(&report);
        let mut parts = report.identity.rsplitn(3, ':');
        let nonce = parts.next().unwrap_or_default();
        let pid = parts.next().and_then(|pid| pid.parse().ok());
        let host = parts.next().unwrap_or_default();
        let pid_of_info = info.number("pid").and_then(|pid| u32::try_from(pid).ok());
        let total = match report.concurrency {
            0 => info.concurrency(),
            concurrency => concurrency,
        };
        let version = info.text("version").map(str::to_owned);
        let is_verk = version
            .as_deref()
            .is_some_and(|version| version.starts_with("verk "));
        let is_its_node = |node: &&Node| {
            let id = node.id.as_str();
            id.len() > node.id.name().len() && id.rsplit('.').next() == Some(nonce)
        };
        Self {
            host: info.text("hostname").unwrap_or(host).to_owned(),
            pid: pid_of_info.or(pid),
            nonce: nonce.to_owned(),
            tag: info.text("tag").unwrap_or_default().to_owned(),
            labels: info.texts("labels").map(str::to_owned).collect(),
            queues: info.queues(total),
            concurrency: total,
            busy: report.busy,
            quiet: report.quiet,
            beat: report.beat,
            started_at: info.seconds("started_at").map(from_unix_seconds),
            rss_kib: (report.rss > 0).then_some(report.rss),
            rtt: report.rtt,
            node: nodes
                .iter()
                .filter(|_| is_verk)
                .find(is_its_node)
                .map(|node| node.id.clone()),
            embedded: info.embedded(),
            version,
            identity: report.identity,
        }
    }
}

/// Sidekiq's `info`, which any program can write. Empty if it is no object, or very large.
struct Info(Map<String, Value>);

impl Info {
    fn of(report: &ProcessReport) -> Self {
        let info = &report.info;
        let read = || serde_json::from_slice(info).ok();
        let fits = info.len() <= MAX_BATCH_BYTES;
        Self(fits.then(read).flatten().unwrap_or_default())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn texts(&self, key: &str) -> impl Iterator<Item = &str> {
        let values = self.0.get(key).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    fn seconds(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    fn embedded(&self) -> bool {
        self.0.get("embedded").and_then(Value::as_bool) == Some(true)
    }

    /// The capsules of Sidekiq from 8.0.9, each with its concurrency and its queues.
    fn capsules(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = &String>)> {
        let capsules = self.0.get("capsules").and_then(Value::as_object);
        let capsules = capsules.into_iter().flat_map(|capsules| capsules.values());
        capsules.filter_map(|capsule| {
            let weights = capsule.get("weights")?.as_object()?;
            Some((count(capsule.get("concurrency")), weights.keys()))
        })
    }

    fn concurrency(&self) -> usize {
        match count(self.0.get("concurrency")) {
            0 => self
                .capsules()
                .map(|(concurrency, _)| concurrency)
                .fold(0, usize::saturating_add),
            concurrency => concurrency,
        }
    }

    /// The queues of a process that runs `total` jobs at once.
    fn queues(&self, total: usize) -> Vec<ProcessQueue> {
        let mut queues: Vec<ProcessQueue> = Vec::new();
        let mut known = HashSet::new();
        let mut add = |names: &mut dyn Iterator<Item = &str>, concurrency| {
            let before = queues.len();
            for name in names.filter_map(|name| QueueName::new(name).ok()) {
                if known.insert(name.clone()) {
                    queues.push(ProcessQueue {
                        name,
                        concurrency,
                        shared: false,
                    });
                }
            }
            let added = queues.get_mut(before..).unwrap_or_default();
            let shared = added.len() > 1;
            added.iter_mut().for_each(|queue| queue.shared = shared);
        };
        for (concurrency, names) in self.capsules() {
            add(&mut names.map(String::as_str), concurrency);
        }
        // Before 8.0.9: the queues of all capsules together. Empty in newer ones.
        add(&mut self.texts("queues"), total);
        queues
    }
}

/// A count that other programs wrote: 0 if it is no number, and at most that of a `u32`, so that
/// sums do not overflow.
fn count(value: Option<&Value>) -> usize {
    let count = value.and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(count.min(u64::from(u32::MAX))).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::UNIX_EPOCH};

    use super::*;

    fn process(identity: &str, info: &str) -> Process {
        let report = ProcessReport {
            identity: identity.to_owned(),
            info: info.to_owned().into(),
            concurrency: 0,
            busy: 1,
            quiet: true,
            beat: UNIX_EPOCH,
            rss: 0,
            rtt: Duration::from_micros(250),
            work: BTreeMap::new(),
            sidekiq_6_work: false,
        };
        let node = |id: &str| Node {
            id: id.into(),
            alive: true,
            queues: Vec::new(),
        };
        Process::of(
            report,
            &[node("c6dfda586469"), node("worker.1.0123456789ab")],
        )
    }

    fn queues(process: &Process) -> Vec<(&str, usize, bool)> {
        let queues = process.queues.iter();
        queues
            .map(|queue| (queue.name.as_str(), queue.concurrency, queue.shared))
            .collect()
    }

    #[test]
    fn a_process_of_verk_is_read() {
        let info = r#"{"hostname":"web-1","started_at":1700000000.5,"pid":42,"tag":"billing","concurrency":30,
            "capsules":{"default":{"concurrency":25,"mode":"strict","weights":{"default":0}},
            "low":{"concurrency":5,"mode":"strict","weights":{"low":0}}},
            "queues":["default","low"],"weights":[{"default":0},{"low":0}],"labels":["eu"],
            "identity":"web-1:42:0123456789ab","version":"verk 0.1.0","embedded":false}"#;
        let process = process("web-1:42:0123456789ab", info);
        assert_eq!((&*process.host, process.pid), ("web-1", Some(42)));
        assert_eq!(
            (&*process.nonce, &*process.tag),
            ("0123456789ab", "billing")
        );
        assert_eq!(
            (process.concurrency, process.busy, process.quiet),
            (30, 1, true)
        );
        assert_eq!(
            queues(&process),
            [("default", 25, false), ("low", 5, false)]
        );
        assert_eq!(process.labels, ["eu"]);
        assert_eq!(process.version.as_deref(), Some("verk 0.1.0"));
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        assert_eq!(process.started_at, Some(started));
        assert_eq!((process.rss_kib, process.embedded), (None, false));
        assert_eq!(process.node, Some("worker.1.0123456789ab".into()));
    }

    /// As Sidekiq 6.4.1, 7.3.10 and 8.1 wrote them.
    #[test]
    fn processes_of_sidekiq_are_read() {
        let old = process(
            "vm:31562:c6dfda586469",
            r#"{"hostname":"vm","started_at":1795465668.7742362,"pid":31562,"tag":"","concurrency":2,"queues":["default"],"labels":[],"identity":"vm:31562:c6dfda586469"}"#,
        );
        assert_eq!(
            (old.version, old.pid, old.concurrency),
            (None, Some(31_562), 2)
        );
        assert_eq!(old.queues[0].name.as_str(), "default");
        assert_eq!(old.node, None, "that node has the whole id as its name");

        let seven = process(
            "vm:31573:50a043cacf17",
            r#"{"hostname":"vm","started_at":1795465676.431453,"pid":31573,"tag":"","concurrency":2,"queues":["default","low","default"],"weights":[{"default":0}],"labels":[],"identity":"vm:31573:50a043cacf17","version":"7.3.10","embedded":true}"#,
        );
        assert_eq!(seven.version.as_deref(), Some("7.3.10"));
        assert!(seven.embedded);
        assert_eq!(queues(&seven), [("default", 2, true), ("low", 2, true)]);

        let eight = process(
            "vm:1:0f",
            r#"{"capsules":{"default":{"concurrency":5,"mode":"weighted","weights":{"default":1,"low":2}},"unsafe":{"concurrency":1,"mode":"strict","weights":{"one":0}}},"version":"8.1.7"}"#,
        );
        assert_eq!(eight.concurrency, 6);
        let expected = [("default", 5, true), ("low", 5, true), ("one", 1, false)];
        assert_eq!(queues(&eight), expected);
    }

    #[test]
    fn an_info_of_any_form_is_read() {
        let bare = process("a:b:c:7:x", "{}");
        for info in ["", "[]", "broken", "{\"pid\":", "\0", "null", "1e999"] {
            assert_eq!(process("a:b:c:7:x", info), bare, "{info}");
        }
        assert_eq!(
            (&*bare.host, bare.pid, &*bare.nonce),
            ("a:b:c", Some(7), "x")
        );
        assert_eq!((bare.started_at, bare.concurrency), (None, 0));
        assert_eq!(queues(&bare), []);

        let odd = r#"{"hostname":1,"pid":-1,"tag":[],"labels":[1,"eu",null],"started_at":"x","version":{},
            "queues":["a\nb","","a",7,{}],"capsules":{"x":1,"y":{"weights":[]},"z":{"concurrency":1e30,"weights":{"q":{}}}},
            "concurrency":18446744073709551615,"embedded":"yes"}"#;
        let odd = process("", odd);
        let most = usize::try_from(u32::MAX).unwrap();
        assert_eq!(
            (odd.pid, odd.concurrency, odd.embedded),
            (None, most, false)
        );
        assert_eq!(odd.labels, ["eu"]);
        assert_eq!(queues(&odd), [("q", 0, false), ("a", most, false)]);
    }

    #[test]
    fn an_info_of_many_megabytes_is_not_read() {
        let large = format!(
            r#"{{"tag":"t","labels":["{}"]}}"#,
            "x".repeat(MAX_BATCH_BYTES)
        );
        assert_eq!(process("a:7:x", &large), process("a:7:x", "{}"));
    }
}
