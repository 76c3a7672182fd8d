//! What the doctor finds about the timetable, on both storages.

use std::time::{Duration, SystemTime};

use verk::{
    cron::Cron,
    doctor::{Finding, Severity},
    manage::PauseNote,
    storage::{CronChange, CronUpsert, StoredCron, StoredNodeInfo},
};

use super::storages::{Ward, wards};
use crate::support::queue_name;

#[verk::worker(class = "Doctor::Daily", queue = "clinic")]
async fn daily_patient() {}

impl Ward {
    async fn read(&self, name: &str) -> StoredCron {
        let read = self.storage().cron_named(&[name.to_owned()]).await;
        read.unwrap().remove(0).unwrap()
    }

    async fn upsert(&self, name: &str, class: &str, queue: &str) {
        let entry = Cron::new("@daily").class(class, [0; 0]).queue(queue);
        self.verk.cron().upsert(name, entry).await.unwrap();
    }

    /// Replaces an entry as `change` says.
    async fn replace(&self, name: &str, change: impl FnOnce(&mut CronUpsert)) {
        let stored = self.read(name).await;
        let mut upsert = CronUpsert {
            seen: Some(stored.seen()),
            queue: None,
            definition: stored.definition,
            hash: stored.hash,
            next: stored.next,
            even_if_superseded: true,
        };
        change(&mut upsert);
        let replaced = self.storage().upsert_cron(name, &upsert).await.unwrap();
        assert_eq!(replaced, CronChange::Done);
    }

    /// Stores an entry as a worker declares it, with this hash.
    async fn declare(&self, name: &str, hash: &str) {
        self.upsert(name, "Doctor::Daily", "clinic").await;
        self.replace(name, |upsert| {
            let text = String::from_utf8(upsert.definition.to_vec()).unwrap();
            assert!(text.contains(r#""origin":"dynamic""#), "{text}");
            let text = text.replace(r#""origin":"dynamic""#, r#""origin":"static""#);
            upsert.definition = text.into();
            upsert.hash = hash.to_owned();
        })
        .await;
    }

    /// Registers a node that declares this.
    async fn register_declaring(&self, node: &str, cron: &str) {
        let info = StoredNodeInfo {
            level: 2,
            cron: cron.to_owned().into(),
            ..StoredNodeInfo::default()
        };
        self.register(node, info).await;
    }
}

fn name() -> String {
    "daily".to_owned()
}

#[tokio::test]
async fn entries_that_run_as_they_are_declared_are_well() {
    for ward in wards().await {
        ward.upsert("made", "Doctor::Daily", "clinic").await;
        ward.declare("daily", "0f").await;
        ward.register_declaring("one", r#"{"daily":"0f"}"#).await;
        // Due now: a node is about to take it.
        let now = ward.verk.admin().now();
        ward.replace("made", |upsert| upsert.next = Some(now)).await;
        assert_eq!(ward.findings().await, []);
        // Nobody expects these to run.
        ward.upsert("paused", "Doctor::Gone", "nowhere").await;
        ward.declare("dropped", "0e").await;
        for name in ["paused", "dropped"] {
            let note = PauseNote::new().by("ada");
            assert!(ward.verk.cron().pause(name, note).await.unwrap());
        }
        assert_eq!(ward.findings().await, []);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn an_entry_that_cannot_run_is_found() {
    for ward in wards().await {
        ward.upsert("daily", "Doctor::Daily", "clinic").await;
        ward.replace("daily", |upsert| {
            upsert.definition = "no definition".into();
            upsert.hash = "0".to_owned();
            upsert.next = Some(SystemTime::UNIX_EPOCH);
        })
        .await;
        let findings = ward.findings().await;
        let [Finding::CronDamaged { name: of, problem }] = &findings[..] else {
            panic!("{findings:?}");
        };
        assert_eq!(*of, name());
        assert!(problem.contains("lost"), "{problem}");
        assert_eq!(findings[0].severity(), Severity::Error);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn entries_whose_runs_nobody_takes_are_found() {
    for ward in wards().await {
        let now = ward.verk.admin().now();
        for (name, late) in [("on-time", 5), ("late", 100), ("later", 3_700)] {
            ward.upsert(name, "Doctor::Daily", "clinic").await;
            let due = now - Duration::from_secs(late);
            ward.replace(name, |upsert| upsert.next = Some(due)).await;
        }
        let findings = ward.findings().await;
        let [
            Finding::CronLate {
                entries: 2,
                example,
                late_s,
            },
        ] = &findings[..]
        else {
            panic!("{findings:?}");
        };
        assert_eq!(example, "later");
        assert!(*late_s >= 3_700, "{late_s}");
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn an_entry_that_no_live_node_declares_is_found() {
    for ward in wards().await {
        ward.declare("daily", "0f").await;
        let orphaned = |paused| Finding::CronOrphaned {
            name: name(),
            paused,
        };
        assert_eq!(ward.findings().await, [orphaned(false)]);
        assert_eq!(orphaned(false).severity(), Severity::Warning);

        let storage = ward.storage();
        let since = Some(SystemTime::UNIX_EPOCH);
        assert!(storage.mark_cron("daily", since).await.unwrap());
        assert!(storage.pause_cron("daily", &"{}".into()).await.unwrap());
        assert_eq!(ward.findings().await, [orphaned(true)]);
        assert_eq!(orphaned(true).severity(), Severity::Notice);

        ward.register_declaring("one", r#"{"daily":"0f"}"#).await;
        assert_eq!(ward.findings().await, []);
        ward.verk.shutdown().await;
    }
}

/// A node that declares more than it says may declare any entry.
#[tokio::test]
async fn what_is_declared_is_not_judged_if_it_is_not_known() {
    for ward in wards().await {
        ward.declare("daily", "0f").await;
        ward.register_declaring("many", r#"{"other":"0e","":""}"#)
            .await;
        assert_eq!(ward.findings().await, []);
        ward.verk.shutdown().await;
    }
}

#[tokio::test]
async fn an_entry_that_is_declared_differently_is_found() {
    for ward in wards().await {
        ward.declare("daily", "0f").await;
        ward.register_declaring("old", r#"{"daily":"0e"}"#).await;
        let disagrees = |stored| Finding::CronDisagrees {
            name: name(),
            stored,
        };
        assert_eq!(ward.findings().await, [disagrees(false)]);
        assert_eq!(disagrees(false).severity(), Severity::Warning);
        ward.register_declaring("new", r#"{"daily":"0f"}"#).await;
        assert_eq!(ward.findings().await, [disagrees(true)]);
        assert_eq!(disagrees(true).severity(), Severity::Notice);
        ward.verk.shutdown().await;
    }
}

// matrix: cron × mixed fleet
#[tokio::test]
async fn an_entry_whose_jobs_nobody_can_run_is_found() {
    for ward in wards().await {
        ward.upsert("daily", "Doctor::Gone", "clinic").await;
        let nobody = Finding::CronNobodyRuns {
            name: name(),
            queue: queue_name("clinic"),
            class: "Doctor::Gone".to_owned(),
        };
        assert_eq!(ward.findings().await, [nobody]);
        // Nobody knows the classes of Ruby.
        ward.show_sidekiq("clinic").await;
        let findings = ward.findings().await;
        let found = |finding: &Finding| matches!(finding, Finding::CronNobodyRuns { .. });
        assert!(!findings.iter().any(found), "{findings:?}");
        ward.verk.shutdown().await;
    }
}
