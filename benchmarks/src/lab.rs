//! Where measurements are made: all systems in turn, several times.

use std::thread;

use anyhow::{Result, anyhow};
use benchmark_harness::{Done, Role};

use crate::{
    child::{Child, Load},
    report::{Measured, Outcome},
    settings::Settings,
    systems::Contender,
};

/// What is measured beside others: it has a name in the results.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

impl Named for Contender {
    fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) settings: Settings,
    peers: Vec<Contender>,
}

impl Lab {
    pub(crate) fn new(settings: Settings, peers: Vec<Contender>) -> Self {
        Self { settings, peers }
    }

    /// verk, the floor and the peers.
    pub(crate) fn all(&self) -> Vec<Contender> {
        let mut all = vec![Contender::verk(), self.floor()];
        all.extend(self.peers.iter().cloned());
        all
    }

    pub(crate) fn floor(&self) -> Contender {
        Contender::floor(self.settings.floor_ahead)
    }

    /// Measures all contenders in turn, as often as the options say. A contender that fails is not
    /// measured again.
    pub(crate) fn measure<T: Named>(
        &self,
        what: &str,
        contenders: &[T],
        run: impl Fn(&T) -> Result<Measured>,
    ) -> Vec<(String, Outcome)> {
        self.collect(what, contenders, |contenders| {
            contenders.iter().map(|contender| run(contender)).collect()
        })
    }

    /// As [`measure`](Self::measure), but all contenders at once: for measurements that take time
    /// and almost nothing of the machine.
    pub(crate) fn measure_at_once<T: Named + Sync>(
        &self,
        what: &str,
        contenders: &[T],
        run: impl Fn(&T) -> Result<Measured> + Sync,
    ) -> Vec<(String, Outcome)> {
        self.collect(what, contenders, |contenders| {
            thread::scope(|scope| {
                let run = &run;
                let running: Vec<_> = contenders
                    .iter()
                    .map(|contender| scope.spawn(move || run(contender)))
                    .collect();
                running
                    .into_iter()
                    .map(|run| run.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))))
                    .collect()
            })
        })
    }

    fn collect<T: Named>(
        &self,
        what: &str,
        contenders: &[T],
        run: impl Fn(&[&T]) -> Vec<Result<Measured>>,
    ) -> Vec<(String, Outcome)> {
        let mut runs: Vec<Result<Vec<Measured>>> =
            contenders.iter().map(|_| Ok(Vec::new())).collect();
        for number in 1..=self.settings.runs() {
            let (well, left): (Vec<_>, Vec<_>) = contenders
                .iter()
                .zip(&mut runs)
                .filter(|(_, runs)| runs.is_ok())
                .unzip();
            for ((contender, runs), outcome) in well.iter().zip(left).zip(run(&well)) {
                let Ok(measured) = runs else { continue };
                match outcome {
                    Ok(figures) => {
                        if let Some((name, value)) = figures.first() {
                            eprintln!(
                                "{what} {} run {number}: {name} {value:.4}",
                                contender.name()
                            );
                        }
                        measured.push(figures);
                    }
                    Err(error) => {
                        eprintln!("{what} {} run {number}: {error:#}", contender.name());
                        *runs = Err(error);
                    }
                }
            }
        }
        contenders
            .iter()
            .zip(runs)
            .map(|(contender, runs)| {
                let outcome = match runs {
                    Ok(runs) => Outcome::of(&runs),
                    Err(error) => Outcome::Failed {
                        error: format!("{error:#}"),
                    },
                };
                (contender.name().to_owned(), outcome)
            })
            .collect()
    }
}

/// Enqueues jobs, as fast as the contender can.
pub(crate) fn fill(contender: &Contender, url: &str, load: &Load) -> Result<Done> {
    let load = if contender.has_bulk {
        Load {
            batch: 1000.min(load.jobs.unwrap_or(1).div_ceil(load.queues)),
            threads: None,
            ..load.clone()
        }
    } else {
        Load {
            tasks: 50,
            threads: None,
            ..load.clone()
        }
    };
    let mut producer = Child::start(contender, Role::Enqueue, url, &load)?;
    producer.go()?;
    producer.done()
}
