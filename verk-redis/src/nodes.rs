//! Names, registrations and the list of nodes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use verk_core::{
    Jid, QueueName, StorageError,
    names::NodeId,
    storage::{
        ForeignList, ForeignPage, Heartbeat, Inprogress, MAX_BATCH_JOBS, NameClaim, Node,
        NodeStore, Settled, Settlement, StoredNodeInfo,
    },
    time::{from_unix_seconds, unix_seconds},
};

use crate::{
    connect::{
        link::Link,
        reply,
        scripts::{self, Arg, arg, milliseconds},
    },
    error::Failure,
    glob,
    heartbeat::{INFO_LASTS, RedisHeartbeat},
    storage::RedisStorage,
};

#[async_trait]
impl NodeStore for RedisStorage {
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        claim_name(&self.link, node, ttl)
            .await
            .map_err(|failure| failure.during("claim the name of a node"))
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        info: &StoredNodeInfo,
    ) -> Result<(), StorageError> {
        let keys = &self.link.keys;
        let info = info_words(info);
        let mut args = vec![arg(milliseconds(ttl)), arg(node), arg(INFO_LASTS)];
        args.push(arg(info.len()));
        args.extend(info);
        for queue in queues {
            args.push(arg(queue));
        }
        let keys = [
            keys.heartbeat(node),
            keys.nodes(),
            keys.node_queues(node),
            keys.node_info(node),
        ];
        match self.link.run(&scripts::REGISTER, &keys, &args).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.during("register a node")),
        }
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        let heartbeat = RedisHeartbeat::open(Arc::clone(&self.link), node, ttl).await?;
        Ok(Box::new(heartbeat))
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        deregister(&self.link, node)
            .await
            .map_err(|failure| failure.during("deregister a node"))
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        list(&self.link)
            .await
            .map_err(|failure| failure.during("list the nodes"))
    }

    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError> {
        infos(&self.link, nodes)
            .await
            .map_err(|failure| failure.during("read what nodes are"))
    }

    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        silent(&self.link)
            .await
            .map_err(|failure| failure.during("look for nodes without a heartbeat"))
    }

    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.settle_jobs("restore jobs", inprogress, settlements, true)
            .await
    }

    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        count_deaths(&self.link, node, started)
            .await
            .map_err(|failure| failure.during("count the deaths of jobs"))
    }

    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError> {
        foreign_lists(&self.link, cursor)
            .await
            .map_err(|failure| failure.during("look for lists of other nodes"))
    }
}

/// How long a death of a job counts.
const DEATHS_LAST: Duration = Duration::from_secs(72 * 60 * 60);

/// About how many keys one part of a scan reads.
const SCANNED_KEYS: usize = 1000;

async fn claim_name(link: &Link, node: &NodeId, ttl: Duration) -> Result<NameClaim, Failure> {
    let args = [arg(node), arg(milliseconds(ttl))];
    let keys = [link.keys.name(node)];
    let reply = link.run(&scripts::CLAIM_NAME, &keys, &args).await?;
    let [holder, left] = match <[Value; 2]>::try_from(reply::array(reply)?) {
        Ok(held) => held,
        Err(empty) if empty.is_empty() => return Ok(NameClaim::Granted),
        Err(_) => return Err(Failure::unexpected_reply("a holder with its time to live")),
    };
    let left = u64::try_from(reply::integer(left)?).map(Duration::from_millis);
    Ok(NameClaim::Held {
        by: NodeId::from(reply::text(holder)?.as_str()),
        // Below zero if it has none. Then it is no claim of verk's, and does not expire.
        ttl: left.unwrap_or(ttl),
    })
}

async fn deregister(link: &Link, node: &NodeId) -> Result<bool, Failure> {
    let keys = &link.keys;
    let mut members = redis::cmd("SMEMBERS");
    members.arg(keys.node_queues(node));
    loop {
        let queues = reply::payloads(link.ask(&members).await?)?;
        let mut all_keys = vec![
            keys.heartbeat(node),
            keys.nodes(),
            keys.node_queues(node),
            keys.name(node),
            keys.node_stats(node),
            keys.node_deaths(node),
            keys.lease(),
        ];
        all_keys.extend(queues.iter().map(|queue| keys.inprogress_of(queue, node)));
        all_keys.extend(queues.iter().map(|queue| keys.prefetched_of(queue, node)));
        all_keys.push(keys.node_info(node));
        let mut args = vec![arg(node)];
        args.extend(queues.iter().map(|queue| Arg::Borrowed(&queue[..])));
        match reply::integer(link.run(&scripts::DEREGISTER, &all_keys, &args).await?)? {
            0 => return Ok(false),
            1 => return Ok(true),
            // A queue was added meanwhile.
            _ => {}
        }
    }
}

/// The fields of the info of a node, in the order of [`info_words`] and [`info`].
const INFO_FIELDS: [&str; 7] = [
    "version",
    "level",
    "process",
    "registered_at",
    "class_count",
    "classes",
    "cron",
];

/// The fields and the values of an info; none for the default.
fn info_words(info: &StoredNodeInfo) -> Vec<Arg<'_>> {
    if *info == StoredNodeInfo::default() {
        return Vec::new();
    }
    let registered_at = info.registered_at.map(unix_seconds).unwrap_or_default();
    let values = [
        Arg::Borrowed(info.version.as_bytes()),
        arg(info.level),
        Arg::Borrowed(info.process.as_bytes()),
        arg(registered_at),
        arg(info.class_count),
        Arg::Borrowed(&info.classes[..]),
        Arg::Borrowed(&info.cron[..]),
    ];
    let words = INFO_FIELDS.into_iter().zip(values);
    words
        .flat_map(|(field, value)| [Arg::Borrowed(field.as_bytes()), value])
        .collect()
}

async fn infos(link: &Link, nodes: &[NodeId]) -> Result<Vec<Option<StoredNodeInfo>>, Failure> {
    let mut infos = Vec::with_capacity(nodes.len());
    for nodes in nodes.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for node in nodes {
            commands
                .cmd("HMGET")
                .arg(link.keys.node_info(node))
                .arg(&INFO_FIELDS);
        }
        let replies = link.ask_all(&commands).await?;
        if replies.len() != nodes.len() {
            return Err(Failure::unexpected_reply("a reply for each node"));
        }
        for reply in replies {
            infos.push(match reply {
                // A key of another program.
                Err(failure) if failure.is_wrong_type() => None,
                reply => info(reply?)?,
            });
        }
    }
    Ok(infos)
}

/// `None` without a version. Other values that are missing, or have another form, are 0 or empty.
fn info(values: Value) -> Result<Option<StoredNodeInfo>, Failure> {
    let Ok(
        [
            version,
            level,
            process,
            registered_at,
            class_count,
            classes,
            cron,
        ],
    ) = <[Value; 7]>::try_from(reply::array(values)?)
    else {
        return Err(Failure::unexpected_reply("the fields of a node"));
    };
    let seconds: f64 = reply::number(registered_at);
    Ok(reply::text(version).ok().map(|version| StoredNodeInfo {
        version,
        level: reply::number(level),
        process: reply::text(process).unwrap_or_default(),
        registered_at: (seconds > 0.0).then(|| from_unix_seconds(seconds)),
        class_count: reply::number(class_count),
        classes: reply::payload(classes).unwrap_or_default(),
        cron: reply::payload(cron).unwrap_or_default(),
    }))
}

async fn list(link: &Link) -> Result<Vec<Node>, Failure> {
    let mut nodes = Vec::new();
    for ids in ids(link).await?.chunks(MAX_BATCH_JOBS) {
        nodes.extend(facts(link, ids).await?);
    }
    Ok(nodes)
}

/// The nodes without a heartbeat. If there are none, one command for all is enough.
async fn silent(link: &Link) -> Result<Vec<Node>, Failure> {
    let mut silent = Vec::new();
    for ids in ids(link).await?.chunks(MAX_BATCH_JOBS) {
        let mut exist = redis::cmd("EXISTS");
        for id in ids {
            exist.arg(link.keys.heartbeat(id));
        }
        if reply::count(link.ask(&exist).await?)? < ids.len() {
            let nodes = facts(link, ids).await?.into_iter();
            silent.extend(nodes.filter(|node| !node.alive));
        }
    }
    Ok(silent)
}

/// Whether nodes are alive, and their queues.
async fn facts(link: &Link, ids: &[NodeId]) -> Result<Vec<Node>, Failure> {
    let mut commands = redis::pipe();
    for id in ids {
        commands
            .cmd("EXISTS")
            .arg(link.keys.heartbeat(id))
            .cmd("SMEMBERS")
            .arg(link.keys.node_queues(id));
    }
    let mut replies = link.ask_all(&commands).await?.into_iter();
    ids.iter()
        .map(|id| {
            let (Some(alive), Some(queues)) = (replies.next(), replies.next()) else {
                return Err(Failure::unexpected_reply("two replies for each node"));
            };
            Ok(Node {
                id: id.clone(),
                alive: reply::integer(alive?)? == 1,
                queues: reply::queue_names(queues?)?,
            })
        })
        .collect()
}

async fn ids(link: &Link) -> Result<Vec<NodeId>, Failure> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(link.keys.nodes());
    let mut ids: Vec<NodeId> = reply::payloads(link.ask(&members).await?)?
        .iter()
        .filter_map(|id| Some(NodeId::from(std::str::from_utf8(id).ok()?)))
        .collect();
    ids.sort();
    Ok(ids)
}

async fn count_deaths(
    link: &Link,
    node: &NodeId,
    started: &[Jid],
) -> Result<HashMap<Jid, u32>, Failure> {
    let keys = &link.keys;
    let mut batches: Vec<&[Jid]> = started.chunks(MAX_BATCH_JOBS).collect();
    let last = batches.pop().unwrap_or_default();
    let calls = batches.into_iter().map(|jids| (jids, "more"));
    let mut counted = HashMap::new();
    for (jids, which) in calls.chain([(last, "last")]) {
        let mut all_keys = vec![keys.heartbeat(node), keys.node_deaths(node), keys.nodes()];
        all_keys.extend(jids.iter().map(|jid| keys.deaths(jid)));
        let mut args = vec![arg(DEATHS_LAST.as_secs()), arg(which), arg(node)];
        args.extend(jids.iter().map(arg));
        let reply = link.run(&scripts::COUNT_DEATHS, &all_keys, &args).await?;
        let mut values = reply::array(reply)?.into_iter();
        while let (Some(jid), Some(deaths)) = (values.next(), values.next()) {
            let deaths = reply::integer(deaths)?;
            let deaths = u32::try_from(deaths.max(0)).unwrap_or(u32::MAX);
            counted.insert(Jid::from(reply::text(jid)?.as_str()), deaths);
        }
    }
    Ok(counted)
}

async fn foreign_lists(link: &Link, cursor: u64) -> Result<ForeignPage, Failure> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor)
        .arg("MATCH")
        .arg(format!(
            "{}*",
            glob::literal(&link.keys.inprogress_prefix())
        ))
        .arg("COUNT")
        .arg(SCANNED_KEYS)
        .arg("TYPE")
        .arg("list");
    let [next, found] = <[Value; 2]>::try_from(reply::array(link.ask(&scan).await?)?)
        .map_err(|_| Failure::unexpected_reply("a cursor with keys"))?;
    let mut foreign = reply::payloads(found)?;
    if !foreign.is_empty() {
        // After the scan: a list that it found had jobs then, so its node was registered. If the
        // node is not registered any more, the list is empty.
        let known = known_lists(link).await?;
        foreign.retain(|key| !known.contains(&key[..]));
    }
    let mut lengths = redis::pipe();
    for key in &foreign {
        lengths.cmd("LLEN").arg(&key[..]);
    }
    let mut lists = Vec::new();
    if !foreign.is_empty() {
        let lengths = link.ask_all(&lengths).await?;
        for (key, jobs) in foreign.iter().zip(lengths) {
            let jobs = reply::count(jobs?)?;
            if jobs > 0 {
                let key = String::from_utf8_lossy(key).into_owned();
                lists.push(ForeignList { key, jobs });
            }
        }
    }
    let next = reply::text(next)?.parse::<u64>();
    let next = next.map_err(|_| Failure::unexpected_reply("a cursor"))?;
    Ok(ForeignPage {
        lists,
        next: (next != 0).then_some(next),
    })
}

/// The names of the lists of all registered nodes.
async fn known_lists(link: &Link) -> Result<HashSet<Vec<u8>>, Failure> {
    let ids = ids(link).await?;
    let mut known = HashSet::new();
    for ids in ids.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for id in ids {
            commands.cmd("SMEMBERS").arg(link.keys.node_queues(id));
        }
        let replies = link.ask_all(&commands).await?;
        for (id, queues) in ids.iter().zip(replies) {
            let queues = reply::payloads(queues?)?;
            known.extend(
                queues
                    .iter()
                    .map(|queue| link.keys.inprogress_of(queue, id)),
            );
        }
    }
    Ok(known)
}
