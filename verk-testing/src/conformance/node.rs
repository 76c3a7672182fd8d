//! Nodes: their names, heartbeats and registration.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::{
    names::NodeId,
    storage::{NameClaim, Node, StoredNodeInfo, Target},
};

use super::{
    Harness,
    fixture::{Fixture, TTL, assert_done, bytes, node_id, queue_name},
};

const SHORT: Duration = Duration::from_secs(100);

/// A registered node is listed with its queues, and alive.
pub async fn register_lists_the_node(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.nodes().await.unwrap(), []);
    let node = node_id();
    let queues = ["a", "b:c"].map(queue_name);
    storage
        .register(&node, &queues, TTL, &Default::default())
        .await
        .unwrap();
    assert_eq!(nodes(harness).await, [alive(&node, &["a", "b:c"])]);

    let ttl = harness.heartbeat_ttl(&node).await.unwrap();
    assert!(ttl <= TTL && ttl > TTL / 2, "{ttl:?}");
}

/// What a node says about itself is read until the node deregisters, dead or alive.
pub async fn a_node_says_what_it_is(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    let (node, silent) = (node_id(), node_id());
    let infos = async || {
        let nodes = [silent.clone(), node.clone(), node_id()];
        storage.node_infos(&nodes).await.unwrap()
    };
    let mut info = StoredNodeInfo {
        version: "verk 0.1.0".to_owned(),
        level: 1,
        process: "web:1:0123456789ab".to_owned(),
        registered_at: Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)),
        class_count: 2,
        classes: r#"["A","B"]"#.into(),
        cron: r#"{"daily":"0f"}"#.into(),
    };
    let queues = [queue_name("a")];
    storage
        .register(&silent, &queues, TTL, &StoredNodeInfo::default())
        .await
        .unwrap();
    storage.register(&node, &queues, TTL, &info).await.unwrap();
    assert_eq!(infos().await, [None, Some(info.clone()), None]);
    assert_eq!(storage.node_infos(&[]).await.unwrap(), []);

    info.class_count = 3;
    storage.register(&node, &[], TTL, &info).await.unwrap();
    assert_eq!(infos().await, [None, Some(info.clone()), None]);
    harness.expire_heartbeat(&node).await;
    assert_eq!(infos().await, [None, Some(info), None]);

    for node in [&node, &silent] {
        assert!(storage.deregister(node).await.unwrap());
    }
    assert_eq!(infos().await, [None, None, None]);
    assert_eq!(harness.dump().await, before);
}

/// A node may have no queues, and odd characters in its name.
pub async fn a_node_needs_no_queue(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = NodeId::register("web:1 ü*").unwrap();
    storage
        .register(&node, &[], TTL, &Default::default())
        .await
        .unwrap();
    assert_eq!(nodes(harness).await, [alive(&node, &[])]);
}

/// Registering again adds queues and renews the heartbeat.
pub async fn register_again_adds_queues(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let register = async |queue, ttl| {
        let queues = [queue_name(queue)];
        storage
            .register(&node, &queues, ttl, &Default::default())
            .await
            .unwrap();
    };
    register("a", SHORT).await;
    register("b", TTL).await;
    assert_eq!(nodes(harness).await, [alive(&node, &["a", "b"])]);
    assert!(harness.heartbeat_ttl(&node).await > Some(SHORT));

    harness.expire_heartbeat(&node).await;
    register("b", TTL).await;
    assert_eq!(nodes(harness).await, [alive(&node, &["a", "b"])]);
}

/// A node without a heartbeat is listed as such until it is deregistered.
pub async fn a_dead_node_is_listed(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let other = Fixture::new(harness).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    let dead = Node {
        alive: false,
        ..alive(&fixture.held.node, &["default"])
    };
    let mut expected = [dead, alive(&other.held.node, &["default"])];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(nodes(harness).await, expected);
}

/// A heartbeat renews the time to live, and returns the time.
pub async fn a_beat_renews_the_heartbeat(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    storage
        .register(&node, &[], SHORT, &Default::default())
        .await
        .unwrap();
    let mut heartbeat = storage.open_heartbeat(&node, TTL).await.unwrap();
    let beat = heartbeat.beat().await.unwrap();
    assert!(beat.alive);
    assert_realistic(beat.server_time);
    assert!(harness.heartbeat_ttl(&node).await > Some(SHORT));
    assert!(heartbeat.beat().await.unwrap().alive);
}

/// A heartbeat says that all nodes live only if they do, and which queues are paused. A backend may
/// need one heartbeat to know the nodes.
pub async fn a_beat_shows_silent_nodes_and_pauses(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let (storage, queue) = (&fixture.storage, &fixture.held.queue);
    let mut heartbeat = fixture.heartbeat(TTL).await;
    heartbeat.beat().await.unwrap();
    let beat = heartbeat.beat().await.unwrap();
    assert_eq!((beat.all_alive, beat.paused), (true, Some([].into())));

    let other = node_id();
    storage
        .register(&other, &[], TTL, &Default::default())
        .await
        .unwrap();
    storage.pause(queue, &Bytes::new()).await.unwrap();
    heartbeat.beat().await.unwrap();
    let beat = heartbeat.beat().await.unwrap();
    let paused = [queue.clone()].into();
    assert_eq!((beat.all_alive, beat.paused), (true, Some(paused)));

    harness.expire_heartbeat(&other).await;
    storage.resume(queue).await.unwrap();
    for _ in 0..3 {
        let beat = heartbeat.beat().await.unwrap();
        assert_eq!((beat.all_alive, beat.paused), (false, Some([].into())));
    }
    assert!(storage.deregister(&other).await.unwrap());
    heartbeat.beat().await.unwrap();
    assert!(heartbeat.beat().await.unwrap().all_alive);
}

/// A heartbeat never creates a missing one again.
pub async fn a_beat_never_revives(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    assert_eq!(
        fixture.storage.claim_name(node, TTL).await.unwrap(),
        NameClaim::Granted
    );
    let mut heartbeat = fixture.heartbeat(TTL).await;
    assert!(heartbeat.beat().await.unwrap().alive);

    harness.expire_heartbeat(node).await;
    harness.expire_name(node).await;
    let before = harness.dump().await;
    for _ in 0..2 {
        let beat = heartbeat.beat().await.unwrap();
        assert!(!beat.alive);
        assert_realistic(beat.server_time);
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(harness.heartbeat_ttl(node).await, None);

    assert!(fixture.storage.deregister(node).await.unwrap());
    assert!(!heartbeat.beat().await.unwrap().alive);
    assert_eq!(nodes(harness).await, []);
}

/// A heartbeat of a node that never registered creates nothing.
pub async fn a_beat_without_registration_is_none(harness: &dyn Harness) {
    let before = harness.dump().await;
    let heartbeat = harness.storage().open_heartbeat(&node_id(), TTL).await;
    assert!(!heartbeat.unwrap().beat().await.unwrap().alive);
    assert_eq!(harness.dump().await, before);
}

/// A name has one holder at a time, which may claim it again.
pub async fn a_name_has_one_holder(harness: &dyn Harness) {
    let storage = harness.storage();
    let (first, second) = (node_id(), node_id());
    let claim = async |node: &NodeId| storage.claim_name(node, SHORT).await.unwrap();
    assert_eq!(claim(&first).await, NameClaim::Granted);
    assert_eq!(claim(&first).await, NameClaim::Granted);
    assert_held(&claim(&second).await, &first, Duration::ZERO, SHORT);
    let other = NodeId::register("another name").unwrap();
    assert_eq!(claim(&other).await, NameClaim::Granted);

    harness.expire_name(&first).await;
    assert_eq!(claim(&second).await, NameClaim::Granted);
    assert_held(&claim(&first).await, &second, Duration::ZERO, SHORT);
}

/// Claiming again renews the claim.
pub async fn claiming_again_renews(harness: &dyn Harness) {
    let storage = harness.storage();
    let (first, second) = (node_id(), node_id());
    for ttl in [SHORT, TTL] {
        let claim = storage.claim_name(&first, ttl).await.unwrap();
        assert_eq!(claim, NameClaim::Granted);
    }
    let claim = storage.claim_name(&second, SHORT).await.unwrap();
    assert_held(&claim, &first, SHORT, TTL);
}

/// A heartbeat renews the name of its holder.
pub async fn a_beat_renews_the_name(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    let claim = fixture.storage.claim_name(node, SHORT).await;
    assert_eq!(claim.unwrap(), NameClaim::Granted);
    assert!(fixture.heartbeat(TTL).await.beat().await.unwrap().alive);
    let claim = fixture.storage.claim_name(&node_id(), SHORT).await.unwrap();
    assert_held(&claim, node, SHORT, TTL);
}

/// A heartbeat does not renew a name that another node holds by now, nor take it back.
pub async fn a_beat_leaves_the_name_of_another(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    let storage = &fixture.storage;
    storage.claim_name(node, SHORT).await.unwrap();
    let mut heartbeat = fixture.heartbeat(TTL).await;
    harness.expire_name(node).await;
    assert!(heartbeat.beat().await.unwrap().alive);

    let successor = node_id();
    let claim = storage.claim_name(&successor, SHORT).await.unwrap();
    assert_eq!(claim, NameClaim::Granted);
    assert!(heartbeat.beat().await.unwrap().alive);
    let claim = storage.claim_name(&node_id(), SHORT).await.unwrap();
    assert_held(&claim, &successor, Duration::ZERO, SHORT);
}

/// A node that deregisters is gone with its heartbeat and its name; doing it again is fine.
pub async fn deregister_removes_the_node(harness: &dyn Harness) {
    let before = harness.dump().await;
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    fixture.storage.claim_name(node, TTL).await.unwrap();

    assert!(fixture.storage.deregister(node).await.unwrap());
    assert_eq!(harness.dump().await, before);
    assert_eq!(harness.heartbeat_ttl(node).await, None);
    assert!(fixture.storage.deregister(node).await.unwrap());
    let claim = fixture.storage.claim_name(&node_id(), TTL).await;
    assert_eq!(claim.unwrap(), NameClaim::Granted);
}

/// While one of its lists holds a job, a node stays, dead or alive, with all that belongs to it.
pub async fn deregister_is_refused_while_a_job_is_held(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let node = &fixture.held.node;
    let queues = ["other", "third"].map(queue_name);
    fixture
        .storage
        .register(node, &queues, TTL, &Default::default())
        .await
        .unwrap();
    fixture.storage.claim_name(node, TTL).await.unwrap();

    let before = harness.dump().await;
    assert!(!fixture.storage.deregister(node).await.unwrap());
    assert_eq!(harness.dump().await, before);
    harness.expire_heartbeat(node).await;
    assert!(!fixture.storage.deregister(node).await.unwrap());

    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    assert!(fixture.storage.deregister(node).await.unwrap());
    assert_eq!(nodes(harness).await, []);
}

/// Deregistering leaves the name to the node that holds it by now, and other nodes alone.
pub async fn deregister_leaves_the_name_of_another(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let successor = Fixture::holding(harness, &["a"]).await;
    let node = &fixture.held.node;
    fixture.storage.claim_name(node, TTL).await.unwrap();
    harness.expire_name(node).await;
    let claim = fixture.storage.claim_name(&successor.held.node, TTL).await;
    assert_eq!(claim.unwrap(), NameClaim::Granted);

    assert!(fixture.storage.deregister(node).await.unwrap());
    let claim = fixture.storage.claim_name(&node_id(), TTL).await.unwrap();
    assert_held(&claim, &successor.held.node, Duration::ZERO, TTL);
    assert_eq!(
        nodes(harness).await,
        [alive(&successor.held.node, &["default"])]
    );
    assert_eq!(successor.in_progress().await, bytes(&["a"]));
}

/// The backend tells its time.
pub async fn the_server_has_a_time(harness: &dyn Harness) {
    assert_realistic(harness.storage().server_time().await.unwrap());
}

/// All nodes, by id.
async fn nodes(harness: &dyn Harness) -> Vec<Node> {
    let storage = harness.storage();
    let nodes = sorted(storage.nodes().await.unwrap());
    let mut silent = nodes.clone();
    silent.retain(|node| !node.alive);
    assert_eq!(sorted(storage.silent_nodes().await.unwrap()), silent);
    nodes
}

fn sorted(mut nodes: Vec<Node>) -> Vec<Node> {
    for node in &mut nodes {
        node.queues.sort();
    }
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    nodes
}

fn alive(id: &NodeId, queues: &[&str]) -> Node {
    Node {
        id: id.clone(),
        alive: true,
        queues: queues.iter().map(|name| queue_name(name)).collect(),
    }
}

#[track_caller]
fn assert_held(claim: &NameClaim, by: &NodeId, more_than: Duration, at_most: Duration) {
    match claim {
        NameClaim::Held { by: holder, ttl } => {
            assert_eq!(holder, by);
            assert!(*ttl > more_than && *ttl <= at_most, "{ttl:?}");
        }
        NameClaim::Granted => panic!("granted, but {by} holds it"),
    }
}

#[track_caller]
fn assert_realistic(time: SystemTime) {
    let year_2020 = UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    assert!(time > year_2020, "{time:?}");
}
