//! Nodes and processes, which register and report themselves in cells.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use verk_core::{
    manage::{Found, RunningCursor},
    names::NodeId,
    storage::{
        DequeueRequest, Inprogress, JobStore as _, NodeStore as _, Page, ProcessReport,
        ProcessSignal, ProcessStore as _,
    },
    time::{Clock as _, SystemClock},
};
use verk_testing::conformance::Harness as _;

use crate::{Fleet, HOUR, fleets, name, payload};

/// A node in each cell, each of which holds as many jobs as the number of its cell, and one more.
async fn hold(fleet: &Fleet) -> Vec<Inprogress> {
    let mut lists = Vec::new();
    for (number, cell) in fleet.memories.iter().enumerate() {
        let held = Inprogress {
            queue: name("mailers"),
            node: NodeId::register("web").unwrap(),
        };
        let queues = std::slice::from_ref(&held.queue);
        let info = verk_core::storage::StoredNodeInfo {
            version: format!("verk {number}"),
            ..Default::default()
        };
        cell.register(&held.node, queues, HOUR, &info)
            .await
            .unwrap();
        let jobs: Vec<_> = (0..=number)
            .map(|job| payload("mailers", &format!("{number}-{job}")))
            .collect();
        cell.enqueue(&held.queue, &jobs).await.unwrap();
        let mut connection = cell.open_queue(&held).await.unwrap();
        let request = DequeueRequest {
            max_jobs: 100,
            max_bytes: 1 << 20,
            prefetched: 0,
            wait: Duration::ZERO,
            interrupt: CancellationToken::new(),
        };
        connection.dequeue(request).await.unwrap();
        lists.push(held);
    }
    lists
}

#[tokio::test]
async fn nodes_and_what_they_hold_are_read_from_their_cells() {
    for fleet in fleets() {
        let lists = hold(&fleet).await;
        // Before the nodes are known, all cells are asked.
        let last = lists.last().unwrap();
        let counts = fleet
            .view
            .held_counts(std::slice::from_ref(last))
            .await
            .unwrap();
        assert_eq!(counts[0].jobs, lists.len());
        for _ in 0..2 {
            let nodes = fleet.admin.nodes().await.unwrap();
            assert_eq!(nodes.len(), lists.len());
            for (number, held) in lists.iter().enumerate() {
                let node = nodes.iter().find(|node| node.id == held.node).unwrap();
                assert_eq!(node.queues[0].held, number + 1);
                let info = node.info.as_ref().unwrap();
                assert_eq!(info.version, format!("verk {number}"));
            }
        }
        let all: usize = (1..=lists.len()).sum();
        assert_eq!(fleet.admin.in_progress().await.unwrap().len(), all);
        let overview = fleet.admin.overview().await.unwrap();
        assert_eq!(overview.queues[0].running, all);
        let found = fleet.admin.find_job("0-0").await.unwrap();
        let Some(Found::InProgress(found)) = found else {
            panic!("{found:?}");
        };
        assert_eq!(found.node, lists[0].node);
        let page = Page {
            offset: 1,
            limit: 100,
        };
        let jobs = fleet.view.inprogress(last, page).await.unwrap();
        assert_eq!(jobs.len(), lists.len() - 1);
        assert_eq!(fleet.view.prefetched(last).await.unwrap(), 0);

        fleet.memories[0].expire_heartbeat(&lists[0].node).await;
        let silent = fleet.view.silent_nodes().await.unwrap();
        assert_eq!(silent.len(), 1);
        assert_eq!(silent[0].id, lists[0].node);
    }
}

#[tokio::test]
async fn lists_of_unknown_nodes_are_found_in_all_cells() {
    for fleet in fleets() {
        for (number, cell) in fleet.memories.iter().enumerate() {
            let held = Inprogress {
                queue: name("mailers"),
                node: format!("old-{number}").as_str().into(),
            };
            cell.add_inprogress(&held, "{}".into()).await;
        }
        let found = fleet.admin.foreign_lists().await.unwrap();
        assert_eq!(found.len(), fleet.memories.len());
    }
}

fn report(identity: &str, jobs: usize) -> ProcessReport {
    let work = (0..jobs).map(|job| {
        let work = format!(r#"{{"queue":"mailers","payload":"{{}}","run_at":{job}}}"#);
        (format!("{identity}-{job}"), work.into())
    });
    ProcessReport {
        identity: identity.to_owned(),
        info: "{}".into(),
        concurrency: 10,
        busy: jobs,
        quiet: false,
        beat: SystemClock.now(),
        rss: 1,
        rtt: Duration::from_millis(1),
        work: work.collect::<BTreeMap<_, _>>(),
        sidekiq_6_work: false,
    }
}

#[tokio::test]
async fn processes_and_their_jobs_are_read_from_all_cells() {
    for fleet in fleets() {
        let identities: Vec<String> = (0..20).map(|number| format!("web:{number}:abc")).collect();
        for (number, identity) in identities.iter().enumerate() {
            // Those of verk at home, and some of another program anywhere.
            let cell = if number % 5 == 0 {
                number % fleet.memories.len()
            } else {
                fleet.cells.of_name(identity)
            };
            let report = report(identity, number);
            fleet.memories[cell].report_process(&report).await.unwrap();
        }
        let processes = fleet.admin.processes().await.unwrap();
        let shown: Vec<&String> = processes.iter().map(|process| &process.identity).collect();
        let mut sorted: Vec<&String> = identities.iter().collect();
        sorted.sort();
        assert_eq!(shown, sorted);

        for limit in [1, 10, 25, 100] {
            let (mut seen, mut from) = (Vec::new(), None);
            loop {
                let page = fleet.admin.running(from, limit).await.unwrap();
                assert!(page.jobs.len() <= 100);
                seen.extend(page.jobs.into_iter().map(|job| (job.process, job.thread)));
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
            let by_process: Vec<&String> = seen.iter().map(|(process, _)| process).collect();
            assert!(by_process.is_sorted());
            let all: usize = (0..20).sum();
            let distinct: BTreeSet<_> = seen.iter().collect();
            assert_eq!((seen.len(), distinct.len()), (all, all));
        }
        let from = RunningCursor::of_process("web:7:abc");
        let page = fleet.admin.running(Some(from), 3).await.unwrap();
        assert_eq!(page.jobs[0].process, "web:7:abc");

        for (number, identity) in identities.iter().enumerate() {
            let process = fleet.admin.find_process(identity).await.unwrap().unwrap();
            assert_eq!(process.busy, number);
            let signal = ProcessSignal::Quiet;
            assert!(fleet.admin.signal(identity, signal).await.unwrap());
            let mut taken = Vec::new();
            for cell in &fleet.memories {
                taken.extend(cell.report_process(&report(identity, 0)).await.unwrap());
            }
            assert_eq!(taken, [signal]);
        }
        assert!(
            fleet
                .admin
                .find_process("web:99:abc")
                .await
                .unwrap()
                .is_none()
        );
        let sent = fleet.view.signal_process("web:99:abc", ProcessSignal::Stop);
        assert!(!sent.await.unwrap());
    }
}

#[tokio::test]
async fn the_address_names_a_few_cells() {
    let [one, three, many] = fleets().map(|fleet| fleet.admin.address());
    assert_eq!(three, [&one[..]; 3].join(", "));
    assert_eq!(many, format!("{}, and 12 more", [&one[..]; 4].join(", ")));
}
