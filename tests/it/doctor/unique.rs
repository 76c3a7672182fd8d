//! What the doctor finds about unique locks, on both storages.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use verk::{
    Job, Unique, Until,
    doctor::{Finding, Severity},
    prelude::*,
    storage::{DequeueRequest, Inprogress, Move, MoveTarget, Source, StoredNodeInfo},
};

use super::{
    names,
    storages::{Ward, wards},
};
use crate::support::{ALL, payloads, queue_name};

#[verk::worker(class = "Doctor::Unique", queue = "clinic")]
async fn unique_patient(_number: u32) {}

const UNIQUE: Unique = Unique::new();

impl Ward {
    async fn enqueue(&self, number: u32, unique: Unique) -> verk::names::Jid {
        let job = UniquePatient::new(number).unique(unique);
        self.verk.enqueue(job).await.unwrap()
    }

    /// Deletes the first job of the queue, as a program does that knows no locks.
    async fn delete_first(&self) {
        let queue = Source::Queue(queue_name("clinic"));
        let jobs = self.storage().list(&queue, &ALL.into()).await.unwrap().jobs;
        let first = payloads(jobs).remove(0);
        let delete = [Move::new(first, MoveTarget::Delete)];
        self.storage().move_jobs(&queue, &delete, None).await;
    }

    async fn fetch(&self, max_jobs: usize) -> usize {
        let node = self.verk.admin().nodes().await.unwrap().remove(0).id;
        let queue = queue_name("clinic");
        let list = Inprogress { queue, node };
        let mut connection = self.storage().open_queue(&list).await.unwrap();
        let request = DequeueRequest {
            max_jobs,
            max_bytes: 1_000_000,
            prefetched: 0,
            wait: Duration::ZERO,
            interrupt: CancellationToken::new(),
        };
        match connection.dequeue(request).await.unwrap() {
            verk::storage::Dequeued::Jobs(jobs) => jobs.len(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn locks_whose_jobs_are_stored_are_well() {
    for ward in wards().await {
        for number in 0..3 {
            ward.enqueue(number, UNIQUE).await;
        }
        assert_eq!(ward.fetch(2).await, 2);
        let later = UniquePatient::new(7).schedule_in(Duration::from_secs(3600));
        ward.verk.enqueue(later.unique(UNIQUE)).await.unwrap();
        // Time frees these, with a job or without.
        for until in [Until::Time, Until::DoneOr] {
            let unique = UNIQUE.until(until(Duration::from_secs(36_000)));
            ward.enqueue(10, unique).await;
        }
        ward.age_locks().await;
        assert_eq!(ward.findings().await, []);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn a_lock_whose_job_is_nowhere_is_found_and_stays() {
    for ward in wards().await {
        let jid = ward.enqueue(1, UNIQUE).await;
        ward.delete_first().await;
        ward.enqueue(2, UNIQUE.until(Until::Time(Duration::from_secs(36_000))))
            .await;
        ward.delete_first().await;
        ward.enqueue(3, UNIQUE).await;
        assert_eq!(ward.findings().await, [], "the locks are new");

        ward.age_locks().await;
        let lock = ward.verk.admin().locks(ALL).await.unwrap().locks;
        let lock = lock.into_iter().find(|lock| lock.jid == jid).unwrap();
        let findings = ward.findings().await;
        let [
            Finding::LockWithoutJob {
                lock: found,
                class,
                jid: of,
                age_s,
            },
        ] = &findings[..]
        else {
            panic!("{findings:?}");
        };
        assert_eq!(
            (*found, class.as_str(), of),
            (lock.id, "Doctor::Unique", &jid)
        );
        assert!(*age_s >= 180, "{age_s}");
        let text = findings[0].to_string();
        assert!(
            text.contains(jid.as_str()) && text.contains(&lock.id.to_string()),
            "{text}"
        );
        assert_eq!(
            ward.verk.admin().lock(lock.id).await.unwrap(),
            Some(lock.clone())
        );

        ward.verk.admin().release_lock(&lock).await.unwrap();
        assert_eq!(ward.findings().await, []);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn a_search_that_is_not_done_says_so() {
    for ward in wards().await {
        for number in 0..150 {
            ward.enqueue(number, UNIQUE).await;
        }
        ward.age_locks().await;
        assert_eq!(ward.findings().await, []);
        let doctor = ward.verk.admin().doctor().max_jobs(10);
        let report = doctor.examine().await.unwrap();
        assert!(!report.complete && report.findings.is_empty(), "{report}");
        ward.verk.shutdown().await;
    }
}

// matrix: unique × mixed fleet
#[tokio::test]
async fn a_program_that_frees_no_locks_is_found() {
    for ward in wards().await {
        ward.show_sidekiq("clinic").await;
        ward.enqueue(1, UNIQUE.until(Until::DoneOr(Duration::from_secs(60))))
            .await;
        let known = names(&ward.findings().await);
        assert_eq!(known, ["other_movers"], "time frees it");

        ward.enqueue(2, UNIQUE).await;
        let findings = ward.findings().await;
        let bypassed = Finding::LocksBypassed {
            class: "Doctor::Unique".to_owned(),
            queue: queue_name("clinic"),
            sidekiq: true,
            elixir: false,
        };
        assert!(findings.contains(&bypassed), "{findings:?}");
        assert!(bypassed.to_string().contains("done_or"), "{bypassed}");
        ward.show_sidekiq("aside").await;
        assert_eq!(names(&ward.findings().await), ["other_movers"]);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_that_is_too_old_for_locks_is_found() {
    for ward in wards().await {
        let info = StoredNodeInfo {
            version: "verk 0.0.9".to_owned(),
            level: 1,
            ..StoredNodeInfo::default()
        };
        let old = ward.register("old", info).await;
        let job = Job::new("Doctor::Plain", queue_name("clinic"), "[]".to_owned());
        ward.verk.enqueue(job.unwrap()).await.unwrap();
        let of_class = ["unknown_class"];
        assert_eq!(names(&ward.findings().await), of_class, "no job has a lock");

        ward.enqueue(1, UNIQUE).await;
        let findings = ward.findings().await;
        let expected = Finding::OldNode {
            node: old.clone(),
            version: "verk 0.0.9".to_owned(),
            queue: queue_name("clinic"),
        };
        assert!(findings.contains(&expected), "{findings:?}");
        assert_eq!(expected.severity(), Severity::Warning);
        assert!(ward.storage().deregister(&old).await.unwrap());
        assert_eq!(names(&ward.findings().await), of_class);
        ward.verk.shutdown().await;
    }
}
