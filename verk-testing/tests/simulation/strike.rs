//! Lets things go wrong in a cluster.

use std::{ops::Range, sync::PoisonError, time::Duration};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use verk_core::time::Clock;

use crate::{
    cluster::{Cluster, NODES},
    node::Node,
    trouble::Trouble,
};

impl Cluster {
    /// Causes one fault after the other, forever.
    pub(crate) async fn let_things_go_wrong(&self) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let troubles = Trouble::of(self.cells.len());
        loop {
            self.sleep(Duration::from_millis(random.random_range(100..4_000)))
                .await;
            self.compare_locks().await;
            let trouble = *troubles.choose(&mut random).expect("some");
            let place = random.random_range(0..NODES);
            let time = Duration::from_millis(random.random_range(100..15_000));
            let seed = random.random();
            let cell = match self.cells.len() {
                1 => 0,
                cells => random.random_range(0..cells),
            };
            let (cluster, node) = (self.clone(), self.node(place));
            self.beside.spawn(async move {
                cluster
                    .strike((trouble, cell), node, place, time, seed)
                    .await;
            });
        }
    }

    fn node(&self, place: usize) -> Option<Node> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes[place].clone()
    }

    /// Lets one thing go wrong, for a while. `cell` is where, if it is in one cell.
    async fn strike(
        &self,
        (trouble, cell): (Trouble, usize),
        node: Option<Node>,
        place: usize,
        time: Duration,
        seed: u64,
    ) {
        // There is none while one starts.
        let Some(node) = node else { return };
        if node.is_dead() {
            return;
        }
        self.ledger.struck(trouble);
        let (links, here) = (&node.links, &node.links[cell]);
        match trouble {
            Trouble::Kill | Trouble::KillInCall | Trouble::Deploy => {
                self.replace(trouble, node, place, time, seed).await;
            }
            Trouble::Freeze => links.iter().for_each(|link| link.freeze(time)),
            Trouble::Partition => links.iter().for_each(|link| link.cut(time)),
            Trouble::HeartbeatsLost => links.iter().for_each(|link| link.lose_heartbeats(time)),
            Trouble::CellFrozen => here.freeze(time),
            Trouble::CellCut => here.cut(time),
            Trouble::CellHeartbeatsLost => here.lose_heartbeats(time),
            Trouble::Refuse => self.refuse(0..self.cells.len(), time).await,
            Trouble::CellDown => self.refuse(cell..cell + 1, time).await,
            Trouble::CellRestarts => {
                self.cells[cell].restart();
                self.refuse(cell..cell + 1, time / 10).await;
            }
            Trouble::Full => self.fill(0..self.cells.len(), time).await,
            Trouble::CellFull => self.fill(cell..cell + 1, time).await,
            Trouble::PauseEverywhere => {
                let (view, queue) = (self.ledger.plan().view(), self.ledger.plan().queue(seed));
                let _ = view.pause(queue, &Bytes::new()).await;
                self.sleep(time).await;
                while view.resume(queue).await.is_err() {
                    self.sleep(Duration::from_secs(1)).await;
                }
            }
            Trouble::Pause => {
                let queue = self.ledger.plan().queue(seed).as_str();
                let _ = node.verk.pause_queue(queue);
                self.sleep(time).await;
                let _ = node.verk.resume_queue(queue);
            }
            Trouble::ClockOfNode => {
                let seconds = i64::try_from(time.as_millis()).unwrap_or_default() - 7_500;
                node.skew.set(seconds);
            }
            Trouble::Clocks => {
                let seconds = time / 4;
                let now = self.clock.now();
                self.clock.set(if seed.is_multiple_of(2) {
                    now + seconds
                } else {
                    now - seconds
                });
            }
            Trouble::CallRefused | Trouble::CallLost | Trouble::ReplyLost | Trouble::Delay => {}
        }
    }

    /// These cells refuse everything for a while.
    async fn refuse(&self, cells: Range<usize>, time: Duration) {
        let nodes = self.all();
        let links = nodes.iter().flat_map(|node| &node.links[cells.clone()]);
        links.for_each(|link| link.trouble());
        let faults = || {
            self.cells[cells.clone()]
                .iter()
                .map(|cell| cell.storage.faults())
        };
        faults().for_each(|faults| faults.set_refusing(true));
        self.sleep(time).await;
        faults().for_each(|faults| faults.set_refusing(false));
    }

    /// These cells have no room for new jobs for a while.
    async fn fill(&self, cells: Range<usize>, time: Duration) {
        let faults = || {
            self.cells[cells.clone()]
                .iter()
                .map(|cell| cell.storage.faults())
        };
        faults().for_each(|faults| faults.set_full(true));
        self.sleep(time).await;
        faults().for_each(|faults| faults.set_full(false));
    }

    /// Ends a process, and starts another in its place.
    async fn replace(&self, trouble: Trouble, node: Node, place: usize, time: Duration, seed: u64) {
        {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes[place] = None;
        }
        match trouble {
            Trouble::Kill => node.links.iter().for_each(|link| link.kill()),
            Trouble::KillInCall => {
                node.links.iter().for_each(|link| link.kill_in_call());
                self.sleep(time).await;
                node.links.iter().for_each(|link| link.kill());
            }
            _ => {
                // What it cannot sign off is given to others.
                node.links.iter().for_each(|link| link.trouble());
                node.verk.shutdown().await;
                node.links.iter().for_each(|link| link.kill());
            }
        }
        self.sleep(time / 2).await;
        self.start(place, seed).await;
        // Its tasks end, which reach nothing any more.
        node.verk.shutdown().await;
    }
}
