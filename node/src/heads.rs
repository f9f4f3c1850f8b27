//! Quorums on heads: what turns "applied" into "acknowledged".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chancery_ledger::head::{Head, HeadQuorum, Statement, Voter};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::fault::Fault;
use crate::network::Peers;
use crate::quickest::{FIRST_PATIENCE, Quickest};
use crate::sabotage;
use crate::signer::{NotSigning, Signer};
use crate::store::applied::AppliedStore;
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
    store: AppliedStore,
    fault: Fault,
    slots: Mutex<BTreeMap<u64, Slot>>,
    quickest: Quickest,
}

impl HeadQuorums {
    /// Gathers from the voters that the rosters in `store` name.
    pub fn new(signer: Arc<Signer>, peers: Peers, store: AppliedStore, fault: Fault) -> Self {
        Self { signer, peers, store, fault, slots: Mutex::default(), quickest: Quickest::default() }
    }

    /// The head of `block` with the signatures that it needs, sorted by node: of a quorum of the roster in
    /// force after it, and if it is a roster block, of one of the roster before it too. Whoever asks first
    /// gathers for all.
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
        // Who has to sign is known once the block is applied here.
        let mut applied = self.store.block();
        match timeout_at(deadline, applied.wait_for(|applied| *applied >= block)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(NotSigning::NotApplied(block).into()),
        }
        let head = self.store.read_state(|state| state.head_of(block).copied());
        let head = head.ok_or(NotSigning::Forgotten(block))?;
        let rosters = self.store.rosters();
        let voters = rosters.head_voters(block);

        let node = self.signer.voter().node;
        let (first, mut others) =
            self.quickest.first(node, voters.voters(), |nodes| voters.has_quorum(nodes));
        let ask = |voter: &'_ Voter| {
            let voter = voter.clone();
            async move { (voter.node, self.signature_of(&voter, block, deadline).await) }
        };
        let mut asked: FuturesUnordered<_> =
            first.into_iter().filter(|voter| voter.node != node).map(ask).collect();
        let others_at = Instant::now() + FIRST_PATIENCE;
        let own = self.signer.head(block, Duration::ZERO).await;
        let mut statements: Vec<Statement> = own.iter().copied().collect();
        let is_quorum = |statements: &[Statement]| {
            let nodes: BTreeSet<u64> = statements.iter().map(|statement| statement.node).collect();
            voters.has_quorum(&nodes)
        };
        while !is_quorum(&statements) {
            // Where one of the first does not sign it, others must.
            if asked.is_empty() {
                if others.is_empty() {
                    break;
                }
                asked.extend(others.drain(..).map(ask));
            }
            tokio::select! {
                Some((node, answer)) = asked.next() => match answer {
                    Ok(statement) => {
                        self.compare(&head, &statement)?;
                        self.quickest.answered(node);
                        statements.push(statement);
                    }
                    Err(why) => {
                        tracing::debug!(node, block, why, "no head signature");
                        asked.extend(others.drain(..).map(ask));
                    }
                },
                () = sleep_until(others_at), if !others.is_empty() => asked.extend(others.drain(..).map(ask)),
            }
        }
        if !is_quorum(&statements) {
            // A node that serves without a vote never signs: that is not why there is no quorum.
            return Err(match own {
                Err(error) if !matches!(error, NotSigning::NotAVoter(_)) => error.into(),
                _ => HeadsError::TooFew { block, signed: statements.len() },
            });
        }
        statements.sort_by_key(|statement| statement.node);
        Ok(Arc::new(HeadQuorum { head, statements }))
    }

    async fn signature_of(&self, voter: &Voter, block: u64, deadline: Instant) -> Result<Statement, String> {
        let asked = self.peers.sign_head(voter.node, block, deadline).await;
        let statement = Statement::decode(&asked.map_err(|error| error.to_string())?);
        let statement = statement.map_err(|error| error.to_string())?;
        statement.verify_with(voter, self.store.signatures()).map_err(|error| error.to_string())?;
        Ok(statement)
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
