//! Raft's membership, as this node changes it while it leads: learners, and who leads next.
//!
//! Voters change only in roster blocks, which the [sequencer](crate::sequencer) proposes. Whatever changes
//! the membership takes its [turn](Memberships::turn) here: Raft would end a joint membership with any other
//! change, and without the block that must say so.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::{ChangeMembershipOutcome, ChangeMembershipRequest, Precondition};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::raft::Raft;
use crate::raft::types::{CommittedLeaderId, LogId, NodeId, Payload, RaftNode, TypeConfig};
use crate::store::applied::AppliedStore;

/// Entries that a node may lack and still count as caught up: about what is in flight.
pub const CAUGHT_UP_ENTRIES: u64 = 128;

/// Learners at once.
pub const LEARNERS_MAX: usize = 16;

/// Why the membership is not changed, or leadership is not handed over.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader does it.
    #[error("this node does not lead; {}", leader(.0))]
    NotLeader(Option<NodeId>),
    /// A change of voters is not finished.
    #[error("a change of the voters is under way")]
    UnderWay,
    /// It votes, and is therefore no learner.
    #[error("node {0} is a voter")]
    IsVoter(NodeId),
    /// It does not vote.
    #[error("node {0} is not a voter")]
    NotAVoter(NodeId),
    /// Ids are never used again.
    #[error("node id {0} was a voter's that is removed: a node that comes back takes a new id and key")]
    Removed(NodeId),
    /// It is a learner already, under another name or address.
    #[error("node {node} is a learner already, as {name} at {address}")]
    OtherNode {
        /// Which.
        node: NodeId,
        /// Its name.
        name: String,
        /// Its address.
        address: String,
    },
    /// No learner of that id.
    #[error("node {0} is no learner")]
    NoLearner(NodeId),
    /// The learner has another name than the voter that it is to become.
    #[error("node {node} is a learner by the name of {found}, not {expected}")]
    OtherName {
        /// Which.
        node: NodeId,
        /// The learner's.
        found: String,
        /// The voter's.
        expected: String,
    },
    /// It lacks too much of the log to vote, or to lead.
    #[error("node {node} lacks {entries} entries of the log: it must catch up first")]
    Behind {
        /// Which.
        node: NodeId,
        /// How many.
        entries: u64,
    },
    /// Enough learners.
    #[error("{LEARNERS_MAX} nodes are learners already")]
    TooManyLearners,
    /// It did not come to lead in time.
    #[error("node {0} did not take over in time")]
    NotTakenOver(NodeId),
    /// Raft's reason.
    #[error("raft: {0}")]
    Raft(String),
}

fn leader(leader: &Option<NodeId>) -> String {
    leader.map_or_else(|| "no leader is known".into(), |leader| format!("node {leader} does"))
}

/// The result of a change of membership.
pub(crate) type Changed =
    Result<ChangeMembershipOutcome<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

/// How far a node is with the log, as the leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last entry that it is known to have.
    pub matched_index: Option<u64>,
    /// The leader's last entry.
    pub last_index: u64,
}

impl Progress {
    /// Entries that it lacks.
    pub fn lag_entries(self) -> u64 {
        let has = self.matched_index.map_or(0, |index| index.saturating_add(1));
        self.last_index.saturating_add(1).saturating_sub(has)
    }

    /// Whether it lacks few enough to vote or lead.
    pub fn is_caught_up(self) -> bool {
        self.matched_index.is_some() && self.lag_entries() <= CAUGHT_UP_ENTRIES
    }
}

/// Changes this node's view of who replicates, while it leads.
pub struct Memberships {
    node: NodeId,
    raft: Raft,
    store: AppliedStore,
    turn: Mutex<()>,
}

impl Memberships {
    /// For `node`.
    pub fn new(node: NodeId, raft: Raft, store: AppliedStore) -> Self {
        Self { node, raft, store, turn: Mutex::new(()) }
    }

    /// One change at a time.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Proposes a change in `term`, if the membership is still the one set at `set_at`. Needs the turn.
    pub(crate) async fn change(
        &self,
        _turn: &MutexGuard<'_, ()>,
        term: u64,
        set_at: Option<LogId>,
        members: ChangeMembers<NodeId, RaftNode>,
        (joint, uniform): (Payload, Payload),
    ) -> Changed {
        // Removed voters stay as learners: they still have to sign the head of the block that removes them.
        let request =
            ChangeMembershipRequest::new(members, true).with_payload(joint, uniform).with_preconditions([
                Precondition::CommittedLeaderId { committed_leader_id: CommittedLeaderId::from(term) },
                Precondition::LastMembershipLogId { last_membership_log_id: set_at },
            ]);
        self.raft.change_membership_with_payload(request).await
    }

    /// Has `node` replicate the log without a vote. Returns once that is committed.
    pub async fn add_learner(&self, node: NodeId, at: RaftNode) -> Result<(), MembershipError> {
        let turn = self.turn().await;
        let term = self.term()?;
        let rosters = self.store.rosters();
        if rosters.voter(node).is_some() {
            return Err(MembershipError::IsVoter(node));
        }
        if rosters.is_removed(node) {
            return Err(MembershipError::Removed(node));
        }
        let stored = self.store.membership();
        let membership = stored.membership();
        match membership.get_node(&node) {
            Some(found) if *found == at => return Ok(()),
            Some(RaftNode { address, name }) => {
                let (name, address) = (name.clone(), address.clone());
                return Err(MembershipError::OtherNode { node, name, address });
            }
            None if membership.learner_ids().count() >= LEARNERS_MAX => {
                return Err(MembershipError::TooManyLearners);
            }
            None => {}
        }
        let added = ChangeMembers::AddNodes(BTreeMap::from([(node, at)]));
        self.change_learners(&turn, term, *stored.log_id(), added).await
    }

    /// `node` replicates no more. Returns once that is committed.
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), MembershipError> {
        let turn = self.turn().await;
        let term = self.term()?;
        if self.store.rosters().voter(node).is_some() {
            return Err(MembershipError::IsVoter(node));
        }
        let stored = self.store.membership();
        if stored.membership().get_node(&node).is_none() {
            return Err(MembershipError::NoLearner(node));
        }
        let removed = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
        self.change_learners(&turn, term, *stored.log_id(), removed).await
    }

    /// A change that leaves the voters alone; its entry is no block.
    async fn change_learners(
        &self,
        turn: &MutexGuard<'_, ()>,
        term: u64,
        set_at: Option<LogId>,
        members: ChangeMembers<NodeId, RaftNode>,
    ) -> Result<(), MembershipError> {
        // While joint, Raft would take this for the end of the change.
        if self.store.rosters().is_joint() {
            return Err(MembershipError::UnderWay);
        }
        match self.change(turn, term, set_at, members, Default::default()).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(MembershipError::NotLeader(forward.leader_id))
            }
            Err(error) => Err(MembershipError::Raft(error.to_string())),
        }
    }

    /// How far `node` is with the log; `None` unless this node leads and replicates to it.
    pub fn progress(&self, node: NodeId) -> Option<Progress> {
        self.store.membership().membership().get_node(&node)?;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let last_index = metrics.last_log_index.unwrap_or(0);
        if node == self.node {
            return Some(Progress { matched_index: metrics.last_log_index, last_index });
        }
        // One that was added a moment ago may not be in there yet.
        let matched_index = replication.get(&node).and_then(|matched| Some(matched.as_ref()?.index));
        Some(Progress { matched_index, last_index })
    }

    /// Whether `node` has caught up; the error says why not.
    pub fn check_caught_up(&self, node: NodeId) -> Result<(), MembershipError> {
        let progress = self.progress(node).ok_or(MembershipError::NoLearner(node))?;
        if progress.is_caught_up() {
            Ok(())
        } else {
            Err(MembershipError::Behind { node, entries: progress.lag_entries() })
        }
    }

    /// Waits until `node` has caught up, as one does that was away for a moment.
    async fn wait_until_caught_up(&self, node: NodeId, deadline: Instant) -> Result<(), MembershipError> {
        let mut metrics = self.raft.metrics();
        loop {
            let behind = match self.check_caught_up(node) {
                Ok(()) => return Ok(()),
                Err(behind) => behind,
            };
            self.term()?;
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(behind),
            }
        }
    }

    /// The voter besides this node that has most of the log: who leads next if this node goes.
    pub fn successor(&self) -> Option<NodeId> {
        let rosters = self.store.rosters();
        // Of a change that is under way, the voters that stay.
        let set = rosters.newest().1.sets().last()?;
        let others = set.voters().iter().map(|voter| voter.node).filter(|node| *node != self.node);
        others.max_by_key(|node| self.progress(*node).map(|progress| progress.matched_index))
    }

    /// Asks Raft to let another voter lead. Does not wait for it.
    pub async fn step_down(&self) {
        let Some(next) = self.successor() else { return };
        tracing::info!(to = next, "leadership is handed over");
        if let Err(error) = self.raft.trigger().transfer_leader(next).await {
            tracing::warn!(%error, "leadership could not be handed over");
        }
    }

    /// Hands leadership over to `to` and waits until it leads; the term in which it does.
    pub async fn transfer(&self, to: NodeId, deadline: Instant) -> Result<u64, MembershipError> {
        let turn = self.turn().await;
        let term = self.term()?;
        if to == self.node {
            return Ok(term);
        }
        let rosters = self.store.rosters();
        if rosters.is_joint() {
            return Err(MembershipError::UnderWay);
        }
        if rosters.voter(to).is_none() {
            return Err(MembershipError::NotAVoter(to));
        }
        self.wait_until_caught_up(to, deadline).await?;
        let asked = self.raft.trigger().transfer_leader(to).await;
        asked.map_err(|error| MembershipError::Raft(error.to_string()))?;
        drop(turn);
        let mut metrics = self.raft.server_metrics();
        let taken_over = async {
            loop {
                let (leader, term) = {
                    let metrics = metrics.borrow_and_update();
                    (metrics.current_leader, metrics.vote.leader_id.term)
                };
                if leader == Some(to) {
                    return Some(term);
                }
                metrics.changed().await.ok()?;
            }
        };
        match timeout_at(deadline, taken_over).await {
            Ok(Some(term)) => Ok(term),
            Ok(None) | Err(_) => Err(MembershipError::NotTakenOver(to)),
        }
    }

    /// The term in which this node leads.
    fn term(&self) -> Result<u64, MembershipError> {
        match self.raft.as_leader() {
            Ok(leader) => Ok(leader.term()),
            Err(_) => Err(MembershipError::NotLeader(self.raft.metrics().borrow_watched().current_leader)),
        }
    }
}
