//! The store under a running Raft of one voter: blocks, roster blocks, learners, and a chain that breaks.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use chancery_ledger::head::RosterId;
use openraft::entry::RaftPayload;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, ChangeMembershipRequest, SnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, Raft, RaftNetworkFactory, RaftNetworkV2};

use super::openraft_suite::StateInMemory;
use super::*;
use crate::raft::types::{RaftNode, Snapshot, SnapshotFolder, Vote};
use crate::store::LogFault;

/// Reaches nobody.
struct NoNetwork;

fn unreachable() -> Unreachable<TypeConfig> {
    Unreachable::new(&AnyError::error("no network"))
}

impl RaftNetworkFactory<TypeConfig> for NoNetwork {
    type Network = Self;

    async fn new_client(&mut self, _: NodeId, _: &RaftNode) -> Self {
        Self
    }
}

impl RaftNetworkV2<TypeConfig> for NoNetwork {
    type SnapshotData = SnapshotFolder;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(unreachable().into())
    }
}

type TestRaft = Raft<TypeConfig, StateInMemory>;

async fn started(folder: &Folder) -> (TestRaft, RaftLog) {
    let alone = Genesis { voters: BTreeSet::from([1]), ..genesis() };
    let log = RaftLog::open(folder.path(), &alone, Arc::new(TestFormat), folder.options).unwrap();
    let config = openraft::Config {
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    let config = Arc::new(config.validate().unwrap());
    let raft = TestRaft::new(1, config, NoNetwork, log.clone(), StateInMemory::default()).await.unwrap();
    raft.initialize(BTreeMap::from([(1, RaftNode::default())])).await.unwrap();
    let wait = raft.wait(Some(Duration::from_secs(60)));
    wait.applied_index_at_least(Some(1), "leads alone, its first entry applied").await.unwrap();
    (raft, log)
}

async fn write(raft: &TestRaft, term: u64, block: EncodedBlock) -> bool {
    let (responder, written) = openraft::impls::ProgressResponder::complete_only();
    raft.write(block).with_leader(term).responder(responder).await.unwrap();
    // A Raft that stops drops its responders.
    written.await.is_ok_and(|written| written.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_entry_carries_roster_and_membership() {
    let folder = Folder::new();
    let (raft, log) = started(&folder).await;
    let term = raft.as_leader().unwrap().term();
    let tail = || log.read_tail_with(|tail| *tail).unwrap();
    assert_eq!((tail().block, tail().roster.block), (0, 0));

    let block = block_after(tail().block_hash, &[1]);
    assert!(!write(&raft, term + 1, block.clone()).await, "a late proposal is refused, not appended");
    assert!(write(&raft, term, block).await);
    assert_eq!((tail().block, tail().roster.block), (1, 0));

    // Learners are no blocks.
    raft.add_learner(2, RaftNode::default(), false).await.unwrap();
    assert_eq!((tail().block, tail().roster.block), (1, 0));

    // The voters stay, the roster is renewed: one uniform entry.
    let roster_block = roster_block_after(tail().block_hash, &membership(&[&[1]], &[]));
    let digest = Hash::labelled("test/roster", &[roster_block.bytes()]);
    let payload = |block: EncodedBlock| Payload::normal(block);
    let request = ChangeMembershipRequest::new([1], true)
        .with_payload(payload(vec![0].into()), payload(roster_block.clone()));
    let outcome = raft.change_membership_with_payload(request).await.unwrap();
    assert!(outcome.joint.is_none());
    assert_eq!((tail().block, tail().roster), (2, RosterId { block: 2, digest }));

    // A new voter: the joint entry is appended, and waits for the voter.
    let joint = roster_block_after(tail().block_hash, &membership(&[&[1], &[1, 2]], &[]));
    let uniform = roster_block_after(TestFormat.hash(joint.bytes()), &membership(&[&[1, 2]], &[]));
    let request = ChangeMembershipRequest::new([1, 2], true).with_payload(payload(joint), payload(uniform));
    let changing = raft.clone();
    let changing = tokio::spawn(async move { changing.change_membership_with_payload(request).await });
    while tail().block < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tail().roster.block, 3);
    changing.abort();
    raft.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_voters_without_a_block_stops_the_node() {
    let folder = Folder::new();
    let (raft, log) = started(&folder).await;
    raft.add_learner(2, RaftNode::default(), false).await.unwrap();
    raft.change_membership([1, 2], true).await.unwrap_err();
    let fault = log.fault().borrow().clone().unwrap();
    assert!(matches!(*fault, LogFault::VotersWithoutRoster { .. }));
    assert!(log.read_tail_with(|tail| *tail).is_err());
    assert!(raft.as_leader().is_err() || raft.write_blank().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chain_stops_the_node() {
    let folder = Folder::new();
    let (raft, log) = started(&folder).await;
    let term = raft.as_leader().unwrap().term();
    assert!(!write(&raft, term, block_after(Hash::ZERO, &[])).await);
    let fault = log.fault().borrow().clone().unwrap();
    assert!(matches!(*fault, LogFault::Chain { .. }));
}
