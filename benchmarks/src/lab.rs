//! Where measurements are made: all systems in turn, several times.

use anyhow::Result;
use benchmark_harness::{Done, Role};

use crate::{
    child::{Child, Load},
    report::{Measured, Outcome},
    server::Server,
    settings::Settings,
    systems::Contender,
};

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
        let mut all = vec![Contender::verk(), Contender::floor()];
        all.extend(self.peers.iter().cloned());
        all
    }

    /// Measures all contenders in turn, as often as it was asked for. One that fails is not measured again.
    pub(crate) fn measure(
        &self,
        what: &str,
        contenders: &[Contender],
        run: impl Fn(&Contender) -> Result<Measured>,
    ) -> Vec<(String, Outcome)> {
        let mut runs: Vec<Result<Vec<Measured>>> =
            contenders.iter().map(|_| Ok(Vec::new())).collect();
        for number in 1..=self.settings.runs() {
            for (contender, runs) in contenders.iter().zip(&mut runs) {
                let Ok(measured) = runs else { continue };
                match run(contender) {
                    Ok(figures) => {
                        if let Some((name, value)) = figures.first() {
                            eprintln!("{what} {} run {number}: {name} {value:.4}", contender.name);
                        }
                        measured.push(figures);
                    }
                    Err(error) => {
                        eprintln!("{what} {} run {number}: {error:#}", contender.name);
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
                (contender.name.clone(), outcome)
            })
            .collect()
    }
}

/// Enqueues jobs, as fast as the contender can.
pub(crate) fn fill(contender: &Contender, server: &Server, load: &Load) -> Result<Done> {
    let load = if contender.has_bulk {
        Load {
            batch: 1000.min(load.jobs.unwrap_or(1).div_ceil(load.queues)),
            ..load.clone()
        }
    } else {
        Load {
            tasks: 50,
            ..load.clone()
        }
    };
    let mut producer = Child::start(contender, Role::Enqueue, &server.url(), &load)?;
    producer.go()?;
    producer.done()
}
