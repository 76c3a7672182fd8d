//! Jobs that lie in another cell than their queue.

use futures_util::TryStreamExt;
use verk_core::{
    manage::{Found, Query},
    storage::{JobStore as _, ListRequest, Order, Position, Settled, Source},
    storage::{Move, MoveTarget},
};

use crate::{Fleet, fleets, jids, name, payload};

/// Two jobs in each of three cells, the first two at home. Returns their ids in order.
async fn scatter(fleet: &Fleet) -> Vec<String> {
    let home = fleet.cells.of(&name("mailers"));
    let mut all = Vec::new();
    let others = (0..fleet.memories.len()).filter(|cell| *cell != home);
    for cell in std::iter::once(home).chain(others).take(3) {
        for number in 0..2 {
            let jid = format!("{cell}-{number}");
            fleet.put(&fleet.memories[cell], "mailers", &jid).await;
            all.push(jid);
        }
    }
    all
}

#[tokio::test]
async fn a_queue_is_read_over_all_cells() {
    for fleet in fleets() {
        let mut all = scatter(&fleet).await;
        let mailers = fleet.admin.queue("mailers").unwrap();
        assert_eq!(mailers.count().await.unwrap(), all.len());
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for limit in [1, 2, 3, 5, 10] {
                let query = Query::new().order(order).limit(limit);
                let mut page = mailers.list(&query).await.unwrap();
                let mut seen = jids(&page.entries);
                let mut indices: Vec<u64> = page
                    .entries
                    .iter()
                    .map(|entry| entry.index().unwrap())
                    .collect();
                while let Some(next) = page.next {
                    page = mailers.list(&query.clone().at(next)).await.unwrap();
                    seen.extend(jids(&page.entries));
                    indices.extend(page.entries.iter().map(|entry| entry.index().unwrap()));
                }
                assert_eq!(seen, all, "{limit}");
                let mut expected: Vec<u64> = (0..all.len() as u64).collect();
                if order == Order::NewestFirst {
                    expected.reverse();
                }
                assert_eq!(indices, expected);
                // And back to the start.
                let mut back = Vec::new();
                while let Some(previous) = page.previous {
                    page = mailers.list(&query.clone().at(previous)).await.unwrap();
                    back.splice(0..0, jids(&page.entries));
                }
                assert_eq!(back, all[..back.len()]);
                assert!(back.len() + limit >= all.len());
            }
            all.reverse();
        }
        let stats = fleet.admin.stats().await.unwrap();
        assert_eq!(stats.queues[0].enqueued, all.len());
    }
}

#[tokio::test]
async fn texts_and_bytes_bound_a_page() {
    for fleet in fleets() {
        let all = scatter(&fleet).await;
        let source = Source::Queue(name("mailers"));
        for (texts, max_bytes) in [(vec![], 1), (vec![], 150), (vec!["jid"], 1 << 20)] {
            let (mut seen, mut next) = (Vec::new(), Some(Position::default()));
            while let Some(from) = next {
                let request = ListRequest {
                    from,
                    max_bytes,
                    texts: texts.iter().map(ToString::to_string).collect(),
                    ..ListRequest::default()
                };
                let page = fleet.view.list(&source, &request).await.unwrap();
                let bytes: usize = page.jobs.iter().map(|job| job.job.len()).sum();
                assert!(page.jobs.len() <= 1 || bytes <= max_bytes);
                seen.extend(page.jobs);
                next = page.next;
            }
            assert_eq!(seen.len(), all.len());
        }
    }
}

#[tokio::test]
async fn a_stray_is_found_moved_and_deleted() {
    for fleet in fleets() {
        let all = scatter(&fleet).await;
        let mailers = fleet.admin.queue("mailers").unwrap();
        for jid in &all {
            let found = fleet.admin.find_job(jid.as_str()).await.unwrap();
            let Some(Found::Waiting(entry)) = found else {
                panic!("{jid}: {found:?}");
            };
            assert!(entry.kill().await.unwrap(), "{jid}");
            assert!(!entry.kill().await.unwrap(), "{jid}");
            let dead = fleet.admin.dead_set().find(jid.as_str()).await.unwrap();
            assert!(dead.unwrap().requeue().await.unwrap());
        }
        assert_eq!(mailers.count().await.unwrap(), all.len());
        assert_eq!(
            mailers
                .select()
                .jid(all[all.len() - 1].as_str())
                .delete()
                .await
                .unwrap(),
            1
        );
        assert_eq!(mailers.clear().await.unwrap(), all.len() - 1);
        assert_eq!(mailers.count().await.unwrap(), 0);
        assert_eq!(fleet.view.queues().await.unwrap(), []);
    }
}

/// A job stays in its cell when it goes to another queue: no step crosses two cells.
#[tokio::test]
async fn a_move_stays_in_its_cell() {
    for fleet in fleets() {
        let stray = fleet.elsewhere("mailers");
        fleet.put(stray, "mailers", "a").await;
        let job = payload("mailers", "a");
        let moves = [Move::new(
            job.clone(),
            MoveTarget::Queue {
                queue: name("critical"),
                job,
            },
        )];
        let source = Source::Queue(name("mailers"));
        let moved = fleet.view.move_jobs(&source, &moves, None).await;
        assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
        assert_eq!(fleet.queued(stray, "critical").await, ["a"]);
        let again = fleet.view.move_jobs(&source, &moves, None).await;
        assert!(matches!(again[..], [Settled::NotHeld]), "{again:?}");
    }
}

/// Of two equal jobs in two cells, one move takes one.
#[tokio::test]
async fn one_move_moves_one_job() {
    for fleet in fleets() {
        fleet.put(fleet.home("mailers"), "mailers", "same").await;
        fleet
            .put(fleet.elsewhere("mailers"), "mailers", "same")
            .await;
        let delete = Move::new(payload("mailers", "same"), MoveTarget::Delete);
        let source = Source::Queue(name("mailers"));
        for left in [1, 0] {
            let moves = std::slice::from_ref(&delete);
            let moved = fleet.view.move_jobs(&source, moves, None).await;
            assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
            assert_eq!(fleet.view.len(&source).await.unwrap(), left);
        }
    }
}

/// A selection of a queue reaches each job that stays, whatever is taken meanwhile.
#[tokio::test]
async fn a_scan_reaches_what_stays_while_strays_leave() {
    for fleet in fleets() {
        let home = fleet.home("mailers");
        for number in 0..250 {
            fleet.put(home, "mailers", &format!("home-{number}")).await;
            if fleet.memories.len() > 1 {
                let stray = format!("stray-{number}");
                fleet
                    .put(fleet.elsewhere("mailers"), "mailers", &stray)
                    .await;
            }
        }
        let mailers = fleet.admin.queue("mailers").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut entries = mailers.select().entries();
        while let Some(entry) = entries.try_next().await.unwrap() {
            let jid = entry.job().unwrap().jid().to_string();
            if jid.ends_with('7') {
                assert!(entry.delete().await.unwrap());
            }
            seen.insert(jid);
        }
        assert_eq!(seen.len(), 250 * fleet.memories.len().min(2));
        let sevens = 25 * fleet.memories.len().min(2);
        let left = mailers.count().await.unwrap();
        assert_eq!(left, seen.len() - sevens);
        assert_eq!(mailers.select().delete().await.unwrap(), left);
    }
}

#[tokio::test]
async fn the_oldest_job_of_a_queue_may_be_a_stray() {
    for fleet in fleets() {
        if fleet.memories.len() == 1 {
            continue;
        }
        let at = |jid: &str, at: u64| {
            let job = format!(
                r#"{{"class":"A","jid":"{jid}","queue":"a","args":[],"enqueued_at":{at}}}"#
            );
            [job.into()]
        };
        let (home, other) = (fleet.home("a"), fleet.elsewhere("a"));
        home.enqueue(&name("a"), &at("new", 1_700_000_100))
            .await
            .unwrap();
        other
            .enqueue(&name("a"), &at("old", 1_700_000_000))
            .await
            .unwrap();
        let stats = fleet.view.stats(&[name("a")]).await.unwrap();
        assert_eq!(
            stats.queues[0].oldest,
            Some(at("old", 1_700_000_000)[0].clone())
        );
    }
}
