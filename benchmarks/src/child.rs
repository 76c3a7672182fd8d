//! A running program that is measured: the tool's end of the protocol.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{self, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use benchmark_harness::{Done, Role, Said};

use crate::systems::{Contender, Program};

/// A program that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a program may take to end.
const FAREWELL: Duration = Duration::from_secs(3);
/// How many lines of a program's errors are kept.
const COMPLAINTS: usize = 5;

/// What a program is to do; see `benchmark_harness::Options`.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) jobs: Option<u64>,
    /// What comes before the keys of verk.
    pub(crate) prefix: Option<&'static str>,
    pub(crate) queues: u64,
    pub(crate) concurrency: u64,
    pub(crate) tasks: u64,
    pub(crate) batch: u64,
    pub(crate) every: Option<Duration>,
    /// How many jobs are enqueued in a second, instead of as many as possible.
    pub(crate) rate: Option<u64>,
    pub(crate) sleep: Duration,
    /// How much CPU a job takes.
    pub(crate) spin: Duration,
    pub(crate) log: Option<std::path::PathBuf>,
    /// How many threads its runtime has, instead of the default.
    pub(crate) threads: Option<usize>,
}

impl Load {
    pub(crate) fn of(jobs: u64) -> Self {
        Self {
            jobs: Some(jobs),
            prefix: None,
            queues: 1,
            concurrency: 25,
            tasks: 1,
            batch: 1,
            every: None,
            rate: None,
            sleep: Duration::ZERO,
            spin: Duration::ZERO,
            log: None,
            threads: None,
        }
    }
}

impl Load {
    /// For a peer, at most so many jobs, because it takes longer.
    pub(crate) fn of_peer_if(&self, contender: &Contender, most_jobs: u64) -> Self {
        let jobs = match self.jobs {
            Some(jobs) if contender.is_peer() => Some(jobs.min(most_jobs)),
            jobs => jobs,
        };
        Self {
            jobs,
            ..self.clone()
        }
    }
}

/// A process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: process::Child,
    input: Option<ChildStdin>,
    said: mpsc::Receiver<Said>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Child {
    /// Starts a program, and waits until it is connected.
    pub(crate) fn start(contender: &Contender, role: Role, url: &str, load: &Load) -> Result<Self> {
        let mut command = match &contender.program {
            Program::Own => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["system", &contender.name]);
                command
            }
            Program::Other(words) => {
                let (program, first) = words.split_first().context("no program")?;
                let mut command = Command::new(program);
                command.args(first);
                command
            }
        };
        command
            .arg(match role {
                Role::Enqueue => "enqueue",
                Role::Work => "work",
            })
            .args(["--url", url])
            .args(["--queues", &load.queues.to_string()])
            .args(["--concurrency", &load.concurrency.to_string()])
            .args(["--tasks", &load.tasks.to_string()])
            .args(["--batch", &load.batch.to_string()])
            .args(["--sleep", &load.sleep.as_millis().to_string()]);
        if let Some(jobs) = load.jobs {
            command.args(["--jobs", &jobs.to_string()]);
        }
        if let Some(every) = load.every {
            command.args(["--every", &every.as_micros().to_string()]);
        }
        // Not all programs have these three.
        if let Some(prefix) = load.prefix {
            command.args(["--prefix", prefix]);
        }
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if !load.spin.is_zero() {
            command.args(["--spin", &load.spin.as_micros().to_string()]);
        }
        if let Some(log) = &load.log {
            command.arg("--log").arg(log);
        }
        if let Some(threads) = load.threads {
            command.env("TOKIO_WORKER_THREADS", threads.to_string());
        }
        if let Some(ahead) = contender.ahead {
            command.args(["--ahead", &ahead.to_string()]);
        }
        if contender.tuned {
            command.arg("--tuned");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", contender.name))?;
        let complaints = Arc::default();
        let child = Self {
            name: contender.name.clone(),
            input: process.stdin.take(),
            said: listen(process.stdout.take()),
            complaints: keep(process.stderr.take(), &complaints),
            process,
        };
        match child.hear()? {
            Said::Ready => Ok(child),
            Said::Done(_) => bail!("{} was done before it was ready", child.name),
        }
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("it was told to end")?;
        writeln!(input, "go").with_context(|| format!("{} has ended", self.name))
    }

    /// Waits until all jobs are enqueued, or were run.
    pub(crate) fn done(&self) -> Result<Done> {
        match self.hear()? {
            Said::Done(done) => Ok(done),
            Said::Ready => bail!("{} was ready twice", self.name),
        }
    }

    fn hear(&self) -> Result<Said> {
        self.said.recv_timeout(PATIENCE).map_err(|error| {
            let complaints = self
                .complaints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .join(" / ");
            match error {
                mpsc::RecvTimeoutError::Timeout => {
                    anyhow!("no answer within {PATIENCE:?} {complaints}")
                }
                mpsc::RecvTimeoutError::Disconnected => anyhow!("it ended: {complaints}"),
            }
        })
    }

    /// What it has used of the machine.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let dir = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{dir}/status"))?;
        let number = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.context("no such line in status")?.parse()?)
        };
        let mut cpu = Duration::ZERO;
        for task in fs::read_dir(format!("{dir}/task"))? {
            // A thread may end meanwhile.
            let on_cpu = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let on_cpu = on_cpu.split_whitespace().next().unwrap_or("0").parse()?;
            cpu += Duration::from_nanos(on_cpu);
        }
        Ok(Usage {
            peak_mib: number("VmHWM:")? / 1024.0,
            mib: number("VmRSS:")? / 1024.0,
            threads: number("Threads:")?,
            cpu,
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.input = None;
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // It may have ended by itself. After the wait it has ended in any case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a process has used of the machine so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) peak_mib: f64,
    pub(crate) mib: f64,
    pub(crate) threads: f64,
    pub(crate) cpu: Duration,
}

/// Reads the messages of a program, and skips its other output.
fn listen(output: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Said> {
    let (sender, said) = mpsc::channel();
    if let Some(output) = output {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(said) = serde_json::from_str(&line)
                    && sender.send(said).is_err()
                {
                    return;
                }
            }
        });
    }
    said
}

fn keep(
    errors: Option<impl Read + Send + 'static>,
    lines: &Arc<Mutex<Vec<String>>>,
) -> Arc<Mutex<Vec<String>>> {
    if let Some(errors) = errors {
        let lines = Arc::clone(lines);
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() < COMPLAINTS {
                    lines.push(line);
                }
            }
        });
    }
    Arc::clone(lines)
}
