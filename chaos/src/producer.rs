//! Those who enqueue: [`Producer`].

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use verk::{BuildError, Clock, EnqueueExt, IntoJob, Job, SystemClock, Verk};

use crate::{
    fleet::Fleet,
    kind::Kind,
    ledger::{Ledger, Record},
    worker::job,
};
use verk::redis::RedisConfig;

/// What is enqueued.
#[derive(Clone, Debug)]
pub struct Production {
    /// The most jobs; producers stop earlier when the faults are over.
    pub jobs: usize,
    /// How long a producer waits after each job.
    pub pause: Duration,
    /// The kinds of jobs, each with how often it is taken.
    pub kinds: Vec<(Kind, u32)>,
}

/// Enqueues jobs, and writes what it was told of them.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    verk: Verk,
    ledger: Ledger,
}

impl Producer {
    pub(crate) async fn connect(fleet: &Fleet) -> Result<Self, BuildError> {
        use verk::prelude::RedisBuilderExt;
        let redis = RedisConfig::new(fleet.producer_proxy.url());
        Ok(Self {
            verk: Verk::builder().redis(redis).build().await?,
            ledger: fleet.ledger.clone(),
        })
    }

    /// Enqueues until everything is sent, or `stop`.
    pub(crate) async fn produce(&self, production: Production, seed: u64, stop: CancellationToken) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let clock: &dyn Clock = &SystemClock;
        let total: u32 = production.kinds.iter().map(|(_, share)| share).sum();
        for _ in 0..production.jobs {
            if stop.is_cancelled() {
                return;
            }
            let mut card = rng.random_range(0..total);
            let mut kinds = production.kinds.iter();
            let kind = loop {
                match kinds.next() {
                    Some((_, share)) if card >= *share => card -= share,
                    Some((kind, _)) => break *kind,
                    None => return,
                }
            };
            self.send(kind).await;
            if !production.pause.is_zero() {
                clock.sleep(production.pause).await;
            }
        }
    }

    /// Enqueues one job. What may be stored is not sent again.
    pub(crate) async fn send(&self, kind: Kind) {
        let job = job(kind);
        let jid = job.jid().to_string();
        self.sent(&jid, kind);
        let sent = match kind {
            Kind::Scheduled => {
                let later = job.into_job().schedule_in(Duration::from_millis(700));
                self.verk.enqueue(later).await
            }
            _ => self.verk.enqueue(job).await,
        };
        self.ledger.write(&match sent {
            Ok(_) => Record::Stored(jid),
            Err(error) if error.may_be_stored() => Record::MayBeStored(jid),
            Err(_) => Record::NotStored(jid),
        });
    }

    fn sent(&self, jid: &str, kind: Kind) {
        self.ledger.write(&Record::Sent {
            jid: jid.to_owned(),
            kind,
        });
    }

    /// Puts something into the queue that no client of ours would: straight to the server.
    pub(crate) fn put(&self, fleet: &Fleet, kind: Kind, random: u64) {
        let twice = job(Kind::Twice);
        let (jid, payload) = match kind {
            Kind::Malformed => {
                let payload = format!("{{\"jid\":\"{random:x}\", no job");
                (format!("{random:x}"), payload.into_bytes())
            }
            _ => (twice.jid().to_string(), Job::encode(&twice).to_vec()),
        };
        self.sent(&jid, kind);
        let push: Vec<&[u8]> = match kind {
            Kind::Malformed => vec![b"LPUSH", b"queue:default", &payload],
            _ => vec![b"LPUSH", b"queue:default", &payload, &payload],
        };
        self.ledger
            .write(&match fleet.server.command(&push).as_integer() {
                Some(_) => Record::Stored(jid),
                None => Record::NotStored(jid),
            });
    }
}
