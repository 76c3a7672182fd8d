use std::collections::BTreeMap;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::*;
use crate::{names::QueueName, time::clock::by_hand::ClockByHand};

const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

fn registration(clock: &ClockByHand) -> Arc<Registration> {
    let node = NodeId::register("here").unwrap();
    let heartbeat = Duration::from_secs(30);
    Arc::new(Registration::new(node, heartbeat, false, clock.instant()))
}

/// A life that runs until the test ends it.
#[derive(Debug)]
struct Begun {
    life: Life,
    end: CancellationToken,
}

impl Begun {
    /// The ids of this process that still ran when it began.
    fn earlier(&self) -> Vec<NodeId> {
        let earlier = self.life.earlier.iter().filter_map(Weak::upgrade);
        earlier.map(|it| it.node().clone()).collect()
    }

    fn is_draining(&self) -> bool {
        self.life.ends.drain.is_cancelled()
    }

    fn is_cancelled(&self) -> bool {
        self.life.ends.cancel.is_cancelled()
    }
}

/// A node whose lives the test ends.
struct Node {
    clock: Arc<ClockByHand>,
    stop: CancellationToken,
    begun: mpsc::UnboundedReceiver<Begun>,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    /// A node that registers again or, without `registers_again`, tries to until it is stopped.
    fn start(registers_again: bool) -> Self {
        let (clock, stop) = (ClockByHand::new(), CancellationToken::new());
        let (sender, begun) = mpsc::unbounded_channel();
        let task = tokio::spawn({
            let (clock, stop) = (Arc::clone(&clock), stop.clone());
            async move {
                let live = |life| {
                    let end = CancellationToken::new();
                    let end_of_life = end.clone();
                    sender.send(Begun { life, end }).unwrap();
                    async move { end_of_life.cancelled().await }
                };
                let again = |_| async {
                    if !registers_again {
                        stop.cancelled().await;
                    }
                    registers_again.then(|| registration(&clock))
                };
                let time = (&*clock as &dyn Clock, SHUTDOWN_TIMEOUT);
                run(registration(&clock), &stop, time, live, again).await;
            }
        });
        Self {
            clock,
            stop,
            begun,
            task,
        }
    }

    async fn next(&mut self) -> Begun {
        self.begun.recv().await.unwrap()
    }
}

#[tokio::test]
async fn a_lost_node_id_drains_while_the_next_one_lives() {
    let mut node = Node::start(true);
    let first = node.next().await;
    assert_eq!(first.earlier(), []);
    first.life.registration.lose();
    let second = node.next().await;
    assert!(first.is_draining() && !first.is_cancelled());
    assert!(!second.is_draining());
    assert_eq!(second.earlier(), [first.life.registration.node().clone()]);

    // Only ids that still run count.
    first.end.cancel();
    drop(first);
    second.life.registration.lose();
    let third = node.next().await;
    assert_eq!(third.earlier(), [second.life.registration.node().clone()]);

    node.stop.cancel();
    assert!(third.is_draining());
    second.end.cancel();
    third.end.cancel();
    node.task.await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_all_lives_and_then_cancels_them() {
    let mut node = Node::start(true);
    let first = node.next().await;
    first.life.registration.lose();
    let second = node.next().await;
    node.stop.cancel();
    first.end.cancel();
    assert_eq!(node.clock.pass_sleep().await, SHUTDOWN_TIMEOUT);
    second.life.ends.cancel.cancelled().await;
    // Cancelled jobs are handed back before the node ends.
    assert!(!node.task.is_finished());
    second.end.cancel();
    node.task.await.unwrap();
}

#[tokio::test]
async fn lives_that_end_in_time_are_not_cancelled() {
    let mut node = Node::start(true);
    let life = node.next().await;
    node.stop.cancel();
    life.end.cancel();
    node.task.await.unwrap();
    assert!(life.is_draining() && !life.is_cancelled());
}

#[tokio::test]
async fn a_node_that_cannot_register_again_ends_when_it_is_stopped() {
    let mut node = Node::start(false);
    let life = node.next().await;
    life.life.registration.lose();
    life.life.ends.drain.cancelled().await;
    node.stop.cancel();
    life.end.cancel();
    node.task.await.unwrap();
    assert!(node.begun.recv().await.is_none(), "no life began");
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// The managers of a life, which the test ends.
struct Managers {
    queues: Arc<Queues>,
    drain: CancellationToken,
    begun: mpsc::UnboundedReceiver<(QueueName, CancellationToken)>,
    task: tokio::task::JoinHandle<()>,
}

impl Managers {
    fn start(names: &[&str]) -> Self {
        let names: BTreeMap<_, _> = names.iter().map(|name| (queue(name), 1)).collect();
        let (queues, drain) = (Arc::new(Queues::new(&names)), CancellationToken::new());
        let (sender, begun) = mpsc::unbounded_channel();
        let task = tokio::spawn({
            let (queues, drain) = (Arc::clone(&queues), drain.clone());
            async move {
                let node = NodeId::register("here").unwrap();
                run_queues(&queues, &node, &drain, |guard| {
                    let (queue, end) = (
                        guard.handle.inprogress().queue.clone(),
                        CancellationToken::new(),
                    );
                    sender.send((queue, end.clone())).unwrap();
                    async move {
                        let _guard = guard;
                        end.cancelled().await;
                    }
                })
                .await;
            }
        });
        Self {
            queues,
            drain,
            begun,
            task,
        }
    }

    /// The next manager that begins, and what ends it.
    async fn next(&mut self) -> (QueueName, CancellationToken) {
        self.begun.recv().await.unwrap()
    }
}

#[tokio::test]
async fn each_queue_gets_a_manager_also_one_that_is_added_later() {
    let mut managers = Managers::start(&["a", "b"]);
    let (a, end_of_a) = managers.next().await;
    let (b, end_of_b) = managers.next().await;
    managers.queues.set_share(&queue("c"), 1, false);
    let (c, end_of_c) = managers.next().await;
    assert_eq!([a, b, c], ["a", "b", "c"].map(queue));

    managers.drain.cancel();
    for end in [end_of_a, end_of_b] {
        end.cancel();
    }
    assert!(!managers.task.is_finished(), "it waits for each of them");
    end_of_c.cancel();
    managers.task.await.unwrap();
}

#[tokio::test]
async fn a_queue_that_comes_back_waits_for_its_old_manager() {
    let mut managers = Managers::start(&["a"]);
    let (_, end_of_first) = managers.next().await;
    managers.queues.remove(&queue("a")).unwrap();
    managers.queues.set_share(&queue("a"), 1, false);
    managers.queues.set_share(&queue("b"), 1, false);
    let (next, end_of_b) = managers.next().await;
    assert_eq!(next, queue("b"), "the old manager of `a` drains");
    end_of_first.cancel();
    let (next, end_of_second) = managers.next().await;
    assert_eq!(next, queue("a"));

    managers.drain.cancel();
    for end in [end_of_b, end_of_second] {
        end.cancel();
    }
    managers.task.await.unwrap();
}

#[tokio::test]
async fn no_manager_begins_while_a_life_drains() {
    let mut managers = Managers::start(&["a"]);
    let (_, end) = managers.next().await;
    managers.drain.cancel();
    managers.queues.set_share(&queue("b"), 1, false);
    end.cancel();
    managers.task.await.unwrap();
    assert!(managers.begun.recv().await.is_none());
}

#[tokio::test]
async fn the_last_statistics_come_after_all_that_counts_and_the_node_leaves_last() {
    let clock = ClockByHand::new();
    let (steps, mut order) = mpsc::unbounded_channel();
    let others = Others::default();
    let watch = CancellationToken::new();
    others.parts.spawn({
        let (watch, steps) = (watch.clone(), steps.clone());
        async move {
            watch.cancelled().await;
            steps.send("the watch ends").unwrap();
        }
    });
    others.stats.spawn({
        let (counted, steps) = (others.counted.clone(), steps.clone());
        async move {
            counted.cancelled().await;
            steps.send("the last statistics").unwrap();
        }
    });
    let counted = others.counted.clone();
    let deregister = async move { steps.send("deregistered").unwrap() };
    let mut end = std::pin::pin!(others.end(deregister, &*clock));
    assert!((&mut end).now_or_never().is_none() && !counted.is_cancelled());
    watch.cancel();
    assert!(end.await, "in time");
    for step in ["the watch ends", "the last statistics", "deregistered"] {
        assert_eq!(order.recv().await, Some(step));
    }
}

#[tokio::test]
async fn a_storage_that_does_not_answer_holds_up_the_end_for_two_seconds() {
    let clock = ClockByHand::new();
    let end = Others::default().end(std::future::pending(), &*clock);
    let (in_time, waited) = tokio::join!(end, clock.pass_sleep());
    assert!(!in_time);
    assert_eq!(waited, SIGN_OFF);
}
