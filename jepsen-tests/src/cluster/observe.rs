//! What is seen of a cluster past the proxies: who leads, who signs, and in the end the whole log of each.

use std::collections::BTreeMap;
use std::time::Duration;

use chancery_client::chancery_ledger::head::Head;
use chancery_client::{NodeStatus, Options};
use tokio::time::{Instant, sleep, timeout};

use super::Cluster;
use crate::fault::HarnessError;
use crate::history::NodeLog;

/// How long one node may take to say how it is.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_500);

/// From here on a clock is off, in milliseconds: more than measuring it takes.
const CLOCK_OFF_MS: u64 = 20;

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a leaf may take to come. Reading the log is no test of its speed.
pub(super) const LEAF_TIMEOUT: Duration = Duration::from_secs(120);

/// What the nodes said of themselves at one moment; those that did not answer are missing.
pub type Sight = BTreeMap<u64, NodeStatus>;

impl Cluster {
    /// What each node says of itself.
    pub async fn look(&self) -> Sight {
        let all = self.control.status().await;
        all.into_iter().filter_map(|(_, status)| status.ok()).map(|status| (status.node, status)).collect()
    }

    /// The leader that most of the nodes name, if it is awake.
    pub async fn leader(&self) -> Option<u64> {
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        for leader in self.look().await.values().filter_map(|status| status.leader) {
            *votes.entry(leader).or_default() += 1;
        }
        let leader = votes.into_iter().max_by_key(|(_, count)| *count)?.0;
        self.awake().contains(&leader).then_some(leader)
    }

    /// Whether another node sees the clock of one of `nodes` off, or it sees so itself.
    pub async fn clock_is_seen_wrong(&self, nodes: &[u64]) -> bool {
        let sight = self.look().await;
        let peers = sight.values().flat_map(|status| &status.peers);
        let mut peers = peers.filter(|peer| nodes.contains(&peer.node));
        let silent = |node: &u64| sight.get(node).is_some_and(|status| status.silent_because.is_some());
        nodes.iter().any(silent) || peers.any(|peer| peer.clock_offset_ms.unsigned_abs() >= CLOCK_OFF_MS)
    }

    /// Waits until every member votes and signs under one leader and has the same head, that of the last block in
    /// its log; then nothing is under way. The head.
    ///
    /// # Errors
    /// They did not within `patience`, with what they said last.
    pub async fn settle(&mut self, patience: Duration) -> Result<Head, HarnessError> {
        let deadline = Instant::now() + patience;
        loop {
            let sight = self.look().await;
            if let Some(head) = self.settled(&sight) {
                return Ok(head);
            }
            if let Some((node, status)) = self.ended()?.first() {
                let words = self.last_words(*node);
                return Err(HarnessError::TooLate(format!(
                    "node {node} ended by itself ({status}):\n{words}"
                )));
            }
            if Instant::now() >= deadline {
                let mut text = format!("the nodes do not come to one head within {patience:?}:");
                for node in self.nodes() {
                    text += &format!("\nnode {node}: {:?}\n{}", sight.get(&node), self.last_words(node));
                }
                return Err(HarnessError::TooLate(text));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn settled(&self, sight: &Sight) -> Option<Head> {
        let first = sight.values().next()?;
        let (leader, head) = (first.leader?, first.head?);
        let agrees = |status: &NodeStatus| {
            let done = status.tail_block == head.block && status.silent_because.is_none();
            let votes = status.roster.as_ref().is_some_and(|(_, roster)| {
                !roster.is_joint() && roster.voters().map(|voter| voter.node).eq(self.members.iter().copied())
            });
            done && votes && status.leader == Some(leader) && status.head == Some(head)
        };
        (sight.keys().eq(&self.members) && sight.values().all(agrees)).then_some(head)
    }

    /// The first `size` leaves, as each node serves them.
    ///
    /// # Errors
    /// A node does not serve them in time.
    pub async fn logs(&self, size: u64) -> Result<Vec<NodeLog>, HarnessError> {
        let mut logs = Vec::new();
        for node in self.nodes() {
            let failed = |why: String| HarnessError::TooLate(format!("the log of node {node}: {why}"));
            let options = Options { read_timeout: LEAF_TIMEOUT, ..Options::default() };
            let ledger = self.connect_directly("operator", node, options).await?;
            let mut watch = ledger.watch(0).await.map_err(|error| failed(error.to_string()))?;
            let mut leaves = Vec::new();
            while watch.next_index() < size {
                let event = timeout(LEAF_TIMEOUT, watch.next_change()).await;
                let event = event.map_err(|_| failed("a leaf does not come".into()))?;
                leaves.push(event.map_err(|error| failed(error.to_string()))?.entry.encode());
            }
            logs.push(NodeLog { node, leaves });
        }
        Ok(logs)
    }
}
