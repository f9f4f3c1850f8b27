//! Quorums on heads: what turns "applied" into "acknowledged".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chancery_ledger::head::{Head, HeadQuorum, Roster, Statement, Voter};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};

use crate::fault::Fault;
use crate::network::Peers;
use crate::sabotage;
use crate::signer::{NotSigning, Signer};
use crate::store::snapshot::HeadQuorumSource;

/// Quorums kept: as many as heads are.
const QUORUMS_KEPT: usize = 1024;

/// How long a snapshot's head waits for its quorum before it is asked for again.
const SNAPSHOT_QUORUM_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a head has no quorum, yet or ever.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// This node does not sign it.
    #[error(transparent)]
    NotSigning(#[from] NotSigning),
    /// Too few others did in time.
    #[error("{signed} nodes signed the head of block {block} in time, which is no quorum")]
    TooFew {
        /// Which block.
        block: u64,
        /// How many, this node included.
        signed: usize,
    },
    /// Another node signed another head of the same block. This node stops.
    #[error("node {node} signed another head of block {block}")]
    Differ {
        /// Which node.
        node: u64,
        /// Which block.
        block: u64,
    },
}

type Slot = Arc<OnceCell<Arc<HeadQuorum>>>;

/// Gathers signatures on heads, once for each block.
pub struct HeadQuorums {
    signer: Arc<Signer>,
    peers: Peers,
    roster: Roster,
    fault: Fault,
    slots: Mutex<BTreeMap<u64, Slot>>,
}

impl HeadQuorums {
    /// Gathers from the voters of `roster`.
    pub fn new(signer: Arc<Signer>, peers: Peers, roster: Roster, fault: Fault) -> Self {
        Self { signer, peers, roster, fault, slots: Mutex::default() }
    }

    /// The head of `block` with a quorum's signatures; whoever asks first gathers for all.
    pub async fn quorum(&self, block: u64, deadline: Instant) -> Result<Arc<HeadQuorum>, HeadsError> {
        let slot = self.slot(block);
        let gathered = slot.get_or_try_init(|| self.gather(block, deadline));
        // Others may be gathering with a later deadline: this caller keeps to its own.
        match timeout_at(deadline, gathered).await {
            Ok(quorum) => quorum.cloned(),
            Err(_) => Err(HeadsError::TooFew { block, signed: 0 }),
        }
    }

    fn slot(&self, block: u64) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(slots.entry(block).or_default());
        while slots.len() > QUORUMS_KEPT {
            slots.pop_first();
        }
        slot
    }

    async fn gather(&self, block: u64, deadline: Instant) -> Result<Arc<HeadQuorum>, HeadsError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let mut asked: FuturesUnordered<_> = self
            .roster
            .voters()
            .filter(|voter| voter.node != self.signer.voter().node)
            .map(|voter| async move { (voter, self.signature_of(voter, block, deadline).await) })
            .collect();
        let own = self.signer.head(block, patience).await?;
        let head = own.head;
        let mut statements = vec![own];
        while !self.is_quorum(&statements) {
            let Some((voter, answer)) = asked.next().await else { break };
            match answer {
                Ok(statement) => {
                    self.compare(&head, &statement)?;
                    statements.push(statement);
                }
                Err(why) => tracing::debug!(node = voter.node, block, why, "no head signature"),
            }
        }
        if !self.is_quorum(&statements) {
            return Err(HeadsError::TooFew { block, signed: statements.len() });
        }
        statements.sort_by_key(|statement| statement.node);
        Ok(Arc::new(HeadQuorum { head, statements }))
    }

    async fn signature_of(&self, voter: &Voter, block: u64, deadline: Instant) -> Result<Statement, String> {
        let asked = self.peers.sign_head(voter.node, block, deadline).await;
        let statement = Statement::decode(&asked.map_err(|error| error.to_string())?);
        let statement = statement.map_err(|error| error.to_string())?;
        statement.verify(voter).map_err(|error| error.to_string())?;
        Ok(statement)
    }

    fn is_quorum(&self, statements: &[Statement]) -> bool {
        self.roster.has_quorum(&statements.iter().map(|s| s.node).collect::<BTreeSet<_>>())
    }

    /// Compares the head of a verified statement with this node's own head of that block, if both know it.
    pub fn observe(&self, own: Option<&Head>, other: &Statement) -> Result<(), HeadsError> {
        match own {
            Some(own) if own.block == other.head.block => self.compare(own, other),
            _ => Ok(()),
        }
    }

    /// Two heads of one block cannot both be right, and this node cannot tell which is.
    fn compare(&self, own: &Head, other: &Statement) -> Result<(), HeadsError> {
        if other.head == *own {
            return Ok(());
        }
        if other.head.block == own.block {
            let error = HeadsError::Differ { node: other.node, block: own.block };
            if !sabotage::lies() {
                self.fault.trip(&error);
            }
            return Err(error);
        }
        Err(HeadsError::TooFew { block: own.block, signed: 1 })
    }
}

/// Raft's state machine is there before what gathers quorums.
#[derive(Default)]
pub struct SnapshotHeads {
    heads: OnceLock<Arc<HeadQuorums>>,
}

impl SnapshotHeads {
    /// From now on there is one.
    pub fn set(&self, heads: Arc<HeadQuorums>) {
        // INVARIANT: set once, when the node starts.
        let _ = self.heads.set(heads);
    }
}

impl HeadQuorumSource for SnapshotHeads {
    fn quorum(&self, block: u64) -> BoxFuture<'_, Option<Vec<Statement>>> {
        async move {
            let Some(heads) = self.heads.get() else {
                sleep(SNAPSHOT_QUORUM_TIMEOUT).await;
                return None;
            };
            let quorum = heads.quorum(block, Instant::now() + SNAPSHOT_QUORUM_TIMEOUT).await;
            quorum.ok().map(|quorum| quorum.statements.clone())
        }
        .boxed()
    }
}
