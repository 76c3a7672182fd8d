//! One of the two storages: [`Side`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;
use verk_core::{
    QueueName, StorageError,
    storage::{
        Cleared, DequeueRequest, Dequeued, Heartbeat, HeldCount, Inprogress, Lease, NameClaim,
        Page, QueueConnection, Source, Storage,
    },
};

use super::{
    request::{Answer, Request, all_sets, list, node_id, queue_name},
    step::{NODES, QUEUES, Spot, Trouble},
    timetable::{self, CronRequest},
    unique::{self, UniqueRequest, lock_id},
    view::View,
    walk::Walk,
};
use crate::{Key, Operation, conformance::Harness};

/// Longer than any case.
const TTL: Duration = Duration::from_secs(600);

const ALL: Page = Page {
    offset: 0,
    limit: 1_000_000,
};

/// A storage with the connections that the nodes have to it.
pub(super) struct Side<'a> {
    name: &'static str,
    harness: &'a dyn Harness,
    storage: Arc<dyn Storage>,
    queues: HashMap<Inprogress, Box<dyn QueueConnection>>,
    heartbeats: HashMap<usize, Box<dyn Heartbeat>>,
}

impl<'a> Side<'a> {
    pub(super) fn new(name: &'static str, harness: &'a dyn Harness) -> Self {
        Self {
            name,
            storage: harness.storage(),
            harness,
            queues: HashMap::new(),
            heartbeats: HashMap::new(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Sends the request, with a fault, and repairs the fault.
    pub(super) async fn act(
        &mut self,
        request: &Request,
        trouble: Option<Trouble>,
    ) -> Result<Answer, StorageError> {
        self.connect(request).await?;
        match trouble {
            None => self.ask(request).await,
            Some(Trouble::Full) => {
                self.harness.fill().await;
                let answer = self.ask(request).await;
                self.harness.make_room().await;
                answer
            }
            Some(Trouble::Broken(spot)) => {
                let key = key(spot);
                self.harness.break_key(&key).await;
                let answer = self.ask(request).await;
                self.harness.mend_key(&key).await;
                answer
            }
            Some(Trouble::LostReply) => {
                let Some(operation) = operation(request) else {
                    return self.ask(request).await;
                };
                self.harness.lose_reply(operation).await;
                let answer = self.ask(request).await;
                for queue in self.queues.values_mut() {
                    queue.reset().await?;
                }
                answer
            }
        }
    }

    /// Opens the connection that this is asked on, if it is not open.
    async fn connect(&mut self, request: &Request) -> Result<(), StorageError> {
        let request = match request {
            Request::Exchange { dequeue, .. } => dequeue,
            request => request,
        };
        match request {
            Request::Dequeue { node, queue, .. } => {
                let list = list(*node, queue);
                if !self.queues.contains_key(&list) {
                    let connection = self.storage.open_queue(&list).await?;
                    self.queues.insert(list, connection);
                }
            }
            Request::Beat { node } if !self.heartbeats.contains_key(node) => {
                let heartbeat = self.storage.open_heartbeat(&node_id(*node), TTL).await?;
                self.heartbeats.insert(*node, heartbeat);
            }
            _ => {}
        }
        Ok(())
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer, StorageError> {
        let storage = &self.storage;
        Ok(match request {
            Request::Enqueue { queue, jobs } => {
                Answer::of(storage.enqueue(queue, jobs).await, |()| Answer::Done)
            }
            Request::Schedule { jobs } => Answer::of(storage.schedule(jobs).await, Answer::Count),
            Request::Dequeue {
                node,
                queue,
                max_jobs,
                max_bytes,
                prefetched,
            } => {
                let request = look(*max_jobs, *max_bytes, *prefetched);
                let connection = opened(&mut self.queues, *node, queue);
                of_dequeued(connection.dequeue(request).await)
            }
            Request::Exchange { settle, dequeue } => {
                let (
                    Request::Settle { settlements, .. },
                    Request::Dequeue {
                        node,
                        queue,
                        max_jobs,
                        max_bytes,
                        prefetched,
                    },
                ) = (&**settle, &**dequeue)
                else {
                    unreachable!("an exchange is a settlement and a fetch");
                };
                let request = look(*max_jobs, *max_bytes, *prefetched);
                let connection = opened(&mut self.queues, *node, queue);
                let (settled, dequeued) =
                    connection.settle_and_dequeue(settlements, &request).await;
                Answer::Both(
                    Box::new(Answer::of_each(&settled)),
                    Box::new(of_dequeued(dequeued)),
                )
            }
            Request::Settle {
                node,
                queue,
                restore,
                settlements,
            } => {
                let list = list(*node, queue);
                Answer::of_each(&if *restore {
                    storage.restore(&list, settlements).await
                } else {
                    storage.settle(&list, settlements).await
                })
            }
            Request::Move {
                from,
                moves,
                due_by,
            } => Answer::of_each(&storage.move_jobs(from, moves, *due_by).await),
            Request::Clear { from } => {
                Answer::of(storage.clear(from).await, |cleared| match cleared {
                    Cleared::Jobs(jobs) => Answer::Count(jobs),
                    Cleared::HasEffects => Answer::HasEffects,
                })
            }
            Request::SetPaused { queue, note } => {
                let changed = match note {
                    Some(note) => storage.pause(queue, note).await,
                    None => storage.resume(queue).await,
                };
                Answer::of(changed, Answer::Flag)
            }
            Request::Register { node, queues, info } => {
                let node = node_id(*node);
                let registered = storage.register(&node, queues, TTL, info).await;
                Answer::of(registered, |()| Answer::Done)
            }
            Request::Beat { node } => {
                let Some(heartbeat) = self.heartbeats.get_mut(node) else {
                    unreachable!("the connection was opened before");
                };
                Answer::of(heartbeat.beat().await, |beat| Answer::Flag(beat.alive))
            }
            Request::Deregister { node } => {
                Answer::of(storage.deregister(&node_id(*node)).await, Answer::Flag)
            }
            Request::Die { node } => {
                self.harness.expire_heartbeat(&node_id(*node)).await;
                Answer::Done
            }
            Request::ClaimName { node } => {
                Answer::of(storage.claim_name(&node_id(*node), TTL).await, |claim| {
                    Answer::Text(match claim {
                        NameClaim::Granted => "granted".to_owned(),
                        NameClaim::Held { by, .. } => format!("held by {by}"),
                    })
                })
            }
            Request::LoseName { node } => {
                self.harness.expire_name(&node_id(*node)).await;
                Answer::Done
            }
            Request::CountDeaths { node, jids } => {
                let counted = storage.count_deaths(&node_id(*node), jids).await;
                Answer::of(counted, |deaths| {
                    let deaths: std::collections::BTreeMap<_, _> = deaths.into_iter().collect();
                    Answer::Text(format!("{deaths:?}"))
                })
            }
            Request::TrimDead { now, limits } => {
                Answer::of(storage.trim_dead(*now, *limits).await, Answer::Flag)
            }
            Request::Unique(request) => {
                if let UniqueRequest::Expire(lock) = request {
                    self.harness.expire_lock(*lock).await;
                }
                unique::ask(&**storage, request).await
            }
            Request::Cron(request) => timetable::ask(&**storage, request).await,
            Request::Walk(walk) => Answer::of(Walk::take(&**storage, walk).await, Answer::Walked),
            Request::PollSchedule { node } => {
                let poll = storage.poll_schedule(&node_id(*node), TTL).await;
                Answer::of(poll, |poll| {
                    let granted = poll.lease == Lease::Granted;
                    let due = (poll.schedule, poll.retry, poll.cron);
                    Answer::Text(format!("{granted} {due:?}"))
                })
            }
        })
    }

    /// What the storage shows.
    pub(super) async fn view(&self) -> Result<View, StorageError> {
        let storage = &self.storage;
        let queues = (0..QUEUES).map(|queue| async move {
            let queue = queue_name(queue);
            let jobs = storage
                .list(&Source::Queue(queue.clone()), &ALL.into())
                .await?
                .jobs;
            Ok::<_, StorageError>((queue, jobs))
        });
        let lists = lists().map(|list| async move {
            let counted = std::slice::from_ref(&list);
            let (jobs, prefetched, counts) = tokio::try_join!(
                storage.inprogress(&list, ALL),
                storage.prefetched(&list),
                storage.held_counts(counted),
            )?;
            let count = HeldCount {
                jobs: jobs.len(),
                prefetched: prefetched.min(jobs.len()),
            };
            assert_eq!(counts, [count], "of {list:?}");
            Ok::<_, StorageError>((list, jobs, prefetched))
        });
        let sets = all_sets().map(|set| async move {
            let members = storage.list(&Source::Set(set), &ALL.into()).await?.jobs;
            Ok::<_, StorageError>((set, members))
        });
        let (queues, lists, sets, names, paused, nodes, locks, entries) = tokio::try_join!(
            try_join_all(queues),
            try_join_all(lists),
            try_join_all(sets),
            storage.queues(),
            storage.pauses(),
            storage.nodes(),
            storage.locks(ALL),
            timetable::entries(&**storage),
        )?;

        let mut view = View::default();
        for (queue, jobs) in queues {
            view.add_queue(&queue, jobs.into_iter().map(|waiting| waiting.job));
        }
        for (list, jobs, prefetched) in lists {
            view.add_held(&list, jobs.into_iter().rev());
            view.add_prefetched(&list, prefetched);
        }
        for (set, members) in sets {
            let members = members.into_iter();
            let members = members.filter_map(|member| Some((member.job, member.score?)));
            view.add_set(set, members.collect());
        }
        view.add_names(&names.into_iter().collect());
        let paused = paused.into_iter();
        view.add_paused(paused.map(|pause| (pause.queue, pause.note.unwrap_or_default())));
        let ids: Vec<_> = nodes.iter().map(|node| node.id.clone()).collect();
        let infos = storage.node_infos(&ids).await?;
        for (node, info) in nodes.into_iter().zip(infos) {
            let queues: BTreeSet<QueueName> = node.queues.into_iter().collect();
            view.add_node(&node.id, node.alive, &queues);
            let version = info.map(|info| info.version).unwrap_or_default();
            view.add_node_info(&node.id, &version);
        }
        for lock in locks.locks {
            view.add_lock(lock);
        }
        for entry in &entries {
            view.add_cron(entry);
        }
        Ok(view)
    }

    /// Whether nothing is left except what is kept for a while: the deaths of jobs, and the queues
    /// to which jobs came back.
    pub(super) async fn is_empty(&self) -> Result<(), String> {
        let dump = self.harness.dump().await;
        let left = dump
            .keys()
            .keys()
            .find(|key| !key.contains("deaths") && !key.contains("restored"));
        match left {
            None => Ok(()),
            Some(key) => Err(format!("{}: {key:?} is left", self.name)),
        }
    }
}

fn look(max_jobs: usize, max_bytes: usize, prefetched: usize) -> DequeueRequest {
    DequeueRequest {
        max_jobs,
        max_bytes,
        prefetched,
        wait: Duration::ZERO,
        interrupt: CancellationToken::new(),
    }
}

fn opened<'a>(
    queues: &'a mut HashMap<Inprogress, Box<dyn QueueConnection>>,
    node: usize,
    queue: &QueueName,
) -> &'a mut Box<dyn QueueConnection> {
    match queues.get_mut(&list(node, queue)) {
        Some(connection) => connection,
        None => unreachable!("the connection was opened before"),
    }
}

fn of_dequeued(dequeued: Result<Dequeued, StorageError>) -> Answer {
    Answer::of(dequeued, |dequeued| match dequeued {
        Dequeued::Jobs(jobs) => Answer::Jobs(jobs),
        Dequeued::Paused(jobs) if jobs.is_empty() => Answer::Paused,
        Dequeued::Paused(jobs) => Answer::Text(format!("paused, with {jobs:?}")),
        Dequeued::NodeGone => Answer::NodeGone,
    })
}

fn lists() -> impl Iterator<Item = Inprogress> {
    let queues = || (0..QUEUES).map(queue_name);
    (0..NODES).flat_map(move |node| queues().map(move |queue| list(node, &queue)))
}

fn key(spot: Spot) -> Key {
    match spot {
        Spot::Queue(queue) => Key::Queue(queue_name(queue)),
        Spot::Inprogress { node, queue } => Key::Inprogress(list(node, &queue_name(queue))),
        Spot::Set(set) => Key::Set(set),
        Spot::Paused => Key::Paused,
        Spot::Lock(lock) => Key::Lock(lock_id(lock)),
        Spot::Cron => Key::Cron,
        Spot::CronDue => Key::CronDue,
    }
}

/// What the harness calls it, if it can lose the reply.
fn operation(request: &Request) -> Option<Operation> {
    match request {
        Request::Dequeue { .. } | Request::Exchange { .. } => Some(Operation::Dequeue),
        Request::Settle {
            restore: false,
            settlements,
            ..
        } if !settlements.is_empty() => Some(Operation::Settle),
        Request::Cron(CronRequest::Upsert(..)) => Some(Operation::UpsertCron),
        Request::Cron(CronRequest::Tick(..)) => Some(Operation::TickCron),
        Request::Move { moves, .. } if !moves.is_empty() => Some(Operation::MoveJobs),
        _ => None,
    }
}
