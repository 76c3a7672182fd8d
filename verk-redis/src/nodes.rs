//! What is done with nodes: names, the end of a registration, the list.

use std::time::Duration;

use bb8_redis::redis::{self, Value};
use verk_core::{
    NodeId,
    storage::{MAX_BATCH_JOBS, NameClaim, Node},
};

use crate::{
    error::Failure,
    heartbeat::milliseconds,
    reply,
    scripts::{self, Arg, arg},
    shared::Shared,
};

pub(crate) async fn claim_name(
    shared: &Shared,
    node: &NodeId,
    ttl: Duration,
) -> Result<NameClaim, Failure> {
    let args = [arg(node), arg(milliseconds(ttl))];
    let keys = [shared.keys.name(node)];
    let reply = shared.run(&scripts::CLAIM_NAME, &keys, &args).await?;
    let [holder, left] = match <[Value; 2]>::try_from(reply::array(reply)?) {
        Ok(held) => held,
        Err(empty) if empty.is_empty() => return Ok(NameClaim::Granted),
        Err(_) => return Err(Failure::unexpected_reply("a holder with its time to live")),
    };
    let left = u64::try_from(reply::integer(left)?).map(Duration::from_millis);
    Ok(NameClaim::Held {
        by: NodeId::from(reply::text(holder)?.as_str()),
        // Below zero when it has none, which is no claim of verk's: it does not end by itself.
        ttl: left.unwrap_or(ttl),
    })
}

pub(crate) async fn deregister(shared: &Shared, node: &NodeId) -> Result<bool, Failure> {
    let keys = &shared.keys;
    let mut members = redis::cmd("SMEMBERS");
    members.arg(keys.node_queues(node));
    loop {
        let queues = reply::payloads(shared.ask(&members).await?)?;
        let mut all_keys = vec![
            keys.heartbeat(node),
            keys.nodes(),
            keys.node_queues(node),
            keys.name(node),
            keys.node_stats(node),
            keys.lease(),
        ];
        all_keys.extend(queues.iter().map(|queue| keys.inprogress_of(queue, node)));
        let mut args = vec![arg(node)];
        args.extend(queues.iter().map(|queue| Arg::Borrowed(&queue[..])));
        match reply::integer(shared.run(&scripts::DEREGISTER, &all_keys, &args).await?)? {
            0 => return Ok(false),
            1 => return Ok(true),
            // A queue was added meanwhile.
            _ => {}
        }
    }
}

pub(crate) async fn list(shared: &Shared) -> Result<Vec<Node>, Failure> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(shared.keys.nodes());
    let mut ids: Vec<NodeId> = reply::payloads(shared.ask(&members).await?)?
        .iter()
        .filter_map(|id| Some(NodeId::from(std::str::from_utf8(id).ok()?)))
        .collect();
    ids.sort();

    let mut nodes = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for id in ids {
            commands
                .cmd("EXISTS")
                .arg(shared.keys.heartbeat(id))
                .cmd("SMEMBERS")
                .arg(shared.keys.node_queues(id));
        }
        let mut replies = shared.ask_all(&commands).await?.into_iter();
        for id in ids {
            let (Some(alive), Some(queues)) = (replies.next(), replies.next()) else {
                return Err(Failure::unexpected_reply("two replies for each node"));
            };
            nodes.push(Node {
                id: id.clone(),
                alive: reply::integer(alive?)? == 1,
                queues: reply::queue_names(queues?)?,
            });
        }
    }
    Ok(nodes)
}
