//! Reading: leaves with their proofs, evidence, and what nodes say of themselves.

use chancery_ledger::authority::{Decided, ENTRY_SIZE_BYTES_MAX, Entry, Verdict};
use chancery_ledger::checkpoint::Checkpoint;
use chancery_ledger::command::roster_from_wire;
use chancery_ledger::decide::Denial;
use chancery_ledger::evidence::{Evidence, EvidenceError, Leaf, Record};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Roster, RosterId};
use chancery_ledger::trust::WITNESSES_MAX;
use chancery_proto::v1::api::{self, LeafRequest, StatusReply, StatusRequest};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Ledger;
use crate::check::{Checked, list};
use crate::endpoints::{Attempt, Failure, Try, call, printable};
use crate::receipt::{Receipt, ReceiptError, hashes, verify_leaf};

/// Longest reply to each of these calls, in bytes.
const REPLY_SIZE_BYTES_MAX: usize = 2 * ENTRY_SIZE_BYTES_MAX;

/// Most peers that a node may say it has.
const PEERS_MAX: usize = 128;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No node gave it in time.
    #[error("no answer: {}", list(.tries))]
    Unavailable {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// What a node gave proves nothing, and no other node gave what does.
    #[error("{endpoint}: {source}")]
    Unproven {
        /// Which.
        endpoint: String,
        /// What is wrong with it.
        source: Box<ReceiptError>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// The evidence that was put together does not verify.
    #[error("the evidence does not verify: {0}")]
    Evidence(#[from] EvidenceError),
}

/// What one node says of itself and of the others. Nothing of it is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Its number.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// The leader that it knows.
    pub leader: Option<u64>,
    /// Its Raft term.
    pub term: u64,
    /// Its newest applied head.
    pub head: Option<Head>,
    /// The last block in its Raft log.
    pub tail_block: u64,
    /// `None` if it signs; else why not.
    pub silent_because: Option<String>,
    /// What it knows of the others.
    pub peers: Vec<PeerStatus>,
    /// Its program's version.
    pub version: String,
    /// The roster that the end of its Raft log says is in force, and its id; none if it does not say, or
    /// says nonsense. Both halves, while a change is under way.
    pub roster: Option<(RosterId, Roster)>,
    /// Nodes that replicate without a vote.
    pub learners: Vec<LearnerStatus>,
    /// Where its Raft log is.
    pub log: LogStatus,
    /// The witnesses that it asks for cosignatures.
    pub witnesses: Vec<WitnessStatus>,
}

/// What a node says of a witness that it asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessStatus {
    /// Its key's name.
    pub name: String,
    /// Leaves of the newest checkpoint that the node knows it to have cosigned; `None` if of none since the node started.
    pub size: Option<u64>,
    /// Milliseconds since it last cosigned for the node; `None` if it did not since the node started.
    pub cosigned_ms: Option<u64>,
    /// Why it did not the last time that it was asked; `None` if it did, or has something newer.
    pub error: Option<String>,
}

/// A node that replicates without a vote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LearnerStatus {
    /// Its number.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// `host:port` of its peer port.
    pub address: String,
}

/// Where a node's Raft log is: indices of entries, where there are any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStatus {
    /// The last.
    pub last_index: Option<u64>,
    /// The last that a quorum has.
    pub committed_index: Option<u64>,
    /// The last that is applied.
    pub applied_index: Option<u64>,
    /// The last in the newest snapshot.
    pub snapshot_index: Option<u64>,
    /// The block that the newest snapshot holds.
    pub snapshot_block: Option<u64>,
    /// The last that is gone.
    pub purged_index: Option<u64>,
}

/// What a node says of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its number.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub reachable: bool,
    /// Its clock less the asked node's, in milliseconds.
    pub clock_offset_ms: i64,
    /// Half of the round trip, in milliseconds.
    pub clock_error_ms: u64,
    /// Raft log entries that the leader knows it to lack; only the leader says.
    pub lag_entries: Option<u64>,
    /// `host:port` of its peer port.
    pub address: String,
    /// Milliseconds since it last answered; `None` if it never did.
    pub silent_ms: Option<u64>,
}

impl Ledger {
    /// What each endpoint says of itself, in the context's order.
    pub async fn status(&self) -> Vec<(String, Result<NodeStatus, Failure>)> {
        let time = self.options().read_timeout;
        let mut asked = JoinSet::new();
        for (place, endpoint) in self.endpoints().all().iter().enumerate() {
            let mut client = endpoint.client(REPLY_SIZE_BYTES_MAX);
            asked.spawn(async move { (place, call(time, client.status(StatusRequest {})).await) });
        }
        let silent = |endpoint: &crate::endpoints::Endpoint| (endpoint.name.clone(), Err(Failure::TimedOut));
        let mut all: Vec<_> = self.endpoints().all().iter().map(silent).collect();
        while let Some(joined) = asked.join_next().await {
            if let Ok((place, reply)) = joined
                && let Some((_, status)) = all.get_mut(place)
            {
                *status = reply.and_then(NodeStatus::new);
            }
        }
        all
    }

    /// The leaf at `index`, with an inclusion proof for the log of `log_size` leaves, as a node gives it. It
    /// proves nothing until it is held against a head of that size: see [`Ledger::leaf_in`].
    ///
    /// # Errors
    /// No node gave one in time.
    pub async fn leaf(&self, index: u64, log_size: u64) -> Result<Leaf, ReadError> {
        let (leaf, ()) = self.leaf_that(index, log_size, |_| Ok(())).await?;
        Ok(leaf)
    }

    /// The leaf at `index`, proven to be in the log of `head`, and what it says.
    ///
    /// # Errors
    /// No node gave one in time, or none that is proven.
    pub async fn leaf_in(&self, head: &Head, index: u64) -> Result<(Leaf, Entry), ReadError> {
        self.leaf_that(index, head.log_size, |leaf| verify_leaf(leaf, head)).await
    }

    /// The leaf at `index`, proven to be in the log of `checkpoint`, and what it says. Whether the checkpoint is to be
    /// believed, its signatures must show.
    ///
    /// # Errors
    /// No node gave one in time, or none that is in that log.
    pub async fn leaf_of(&self, checkpoint: &Checkpoint, index: u64) -> Result<(Leaf, Entry), ReadError> {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        self.leaf_that(index, size, |leaf| Ok(leaf.verify_in(size, &root)?)).await
    }

    /// Evidence of a check, for who does not trust this client: with the leaf of the command that brought a
    /// denial about, if one did. It is verified before it is returned.
    ///
    /// # Errors
    /// No node gave that leaf in time, or what it gave is not the one that the denial names.
    pub async fn evidence(&self, checked: &Checked) -> Result<Evidence, ReadError> {
        let leaf = self.cause_in(checked.verified.decision.denial(), &checked.verified.head).await?;
        let evidence = checked.evidence(leaf);
        evidence.verify(&self.trust())?;
        Ok(evidence)
    }

    /// Evidence that a command took effect, for who does not trust this client; of a recorded denial with the leaf
    /// of the command that brought it about, if one did. It is verified before it is returned.
    ///
    /// # Errors
    /// No node gave that leaf in time, or what it gave is not the one that the denial names.
    pub async fn record(&self, receipt: &Receipt) -> Result<Record, ReadError> {
        let head = &receipt.head.head;
        let denial = match &receipt.verdict {
            Some(Verdict { decided: Decided::Denied(denial), .. }) => Some(denial),
            _ => None,
        };
        let cause = self.cause_in(denial, head).await?;
        let trust = self.trust();
        let record = Record {
            origin: trust.origin.clone(),
            ledger: trust.ledger,
            leaf: receipt.leaf.clone(),
            cause,
            head: receipt.head.clone(),
            rosters: trust.roster_chain_to(head.roster).map_err(EvidenceError::from)?,
        };
        record.verify(&trust)?;
        Ok(record)
    }

    /// The leaf of the command that brought a denial about, if one did, in the log of `head`.
    pub(crate) async fn cause_in(
        &self,
        denial: Option<&Denial>,
        head: &Head,
    ) -> Result<Option<Leaf>, ReadError> {
        match denial.and_then(Denial::cause) {
            Some(cause) => Ok(Some(self.leaf_in(head, cause.index).await?.0)),
            None => Ok(None),
        }
    }

    /// The first leaf from any node that is what `verify` demands.
    async fn leaf_that<T>(
        &self,
        index: u64,
        log_size: u64,
        verify: impl Fn(&Leaf) -> Result<T, ReceiptError>,
    ) -> Result<(Leaf, T), ReadError> {
        let mut tries = self.tries(Instant::now() + self.options().read_timeout);
        while let Some(attempt) = tries.next().await {
            let leaf = fetch(&attempt, index, log_size).await;
            match leaf.and_then(|leaf| Ok((verify(&leaf)?, leaf))) {
                Ok((verified, leaf)) => {
                    tries.served(&attempt);
                    return Ok((leaf, verified));
                }
                Err(failure) => tries.failed(&attempt, failure),
            }
        }
        Err(ReadError::of(tries.into_failed()))
    }
}

async fn fetch(attempt: &Attempt<'_>, index: u64, log_size: u64) -> Result<Leaf, Failure> {
    let mut client = attempt.endpoint.client(REPLY_SIZE_BYTES_MAX);
    let reply = call(attempt.time, client.leaf(attempt.request(LeafRequest { index, log_size }))).await?;
    if reply.entry.len() > ENTRY_SIZE_BYTES_MAX {
        return Err(ReceiptError::Bounds("the entry is too long").into());
    }
    Ok(Leaf { index, entry: reply.entry, proof: hashes(&reply.inclusion)? })
}

impl ReadError {
    pub(crate) fn of(mut tries: Vec<Try>) -> Self {
        let unproven = tries.iter().position(|one| matches!(one.failure, Failure::Unacknowledged(_)));
        match unproven.map(|position| tries.remove(position)) {
            Some(Try { endpoint, failure: Failure::Unacknowledged(source) }) => {
                Self::Unproven { endpoint, source: Box::new(source), tries }
            }
            _ => Self::Unavailable { tries },
        }
    }
}

impl NodeStatus {
    fn new(reply: StatusReply) -> Result<Self, Failure> {
        let head = match reply.head.as_slice() {
            [] => None,
            bytes => Some(Head::decode(bytes).map_err(ReceiptError::from)?),
        };
        let peer = |peer: api::PeerStatus| PeerStatus {
            node: peer.node,
            name: printable(&peer.name),
            reachable: peer.reachable,
            clock_offset_ms: peer.clock_offset_ms,
            clock_error_ms: peer.clock_error_ms,
            lag_entries: peer.lag_entries,
            address: printable(&peer.address),
            silent_ms: peer.silent_ms,
        };
        let learner = |learner: api::Learner| LearnerStatus {
            node: learner.node,
            name: printable(&learner.name),
            address: printable(&learner.address),
        };
        let witness = |witness: api::WitnessStatus| WitnessStatus {
            name: printable(&witness.name),
            size: witness.size,
            cosigned_ms: witness.cosigned_ms,
            error: (!witness.error.is_empty()).then(|| printable(&witness.error)),
        };
        let (block, digest) = (reply.roster_block, Hash::from_slice(&reply.roster_digest));
        let roster = reply.roster.and_then(|roster| roster_from_wire(roster).ok());
        let named = digest.map(|digest| RosterId { block, digest }).zip(roster);
        let log = reply.log.unwrap_or_default();
        Ok(Self {
            node: reply.node,
            name: printable(&reply.name),
            leader: Some(reply.leader).filter(|leader| *leader != 0),
            term: reply.term,
            head,
            tail_block: reply.tail_block,
            silent_because: (!reply.signing).then(|| printable(&reply.not_signing_because)),
            peers: reply.peers.into_iter().take(PEERS_MAX).map(peer).collect(),
            version: printable(&reply.version),
            roster: named.filter(|(id, roster)| roster.digest() == id.digest),
            learners: reply.learners.into_iter().take(PEERS_MAX).map(learner).collect(),
            log: LogStatus {
                last_index: log.last_index,
                committed_index: log.committed_index,
                applied_index: log.applied_index,
                snapshot_index: log.snapshot_index,
                snapshot_block: log.snapshot_block,
                purged_index: log.purged_index,
            },
            witnesses: reply.witnesses.into_iter().take(WITNESSES_MAX).map(witness).collect(),
        })
    }
}
