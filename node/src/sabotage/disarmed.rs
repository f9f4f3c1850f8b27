//! What a program without the feature has of all this: nothing.

use std::path::Path;

use chancery_ledger::command::SignedCommand;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Statement, Voter};
use ed25519_dalek::SigningKey;
use openraft::raft::AppendEntriesRequest;

use super::Sabotage;
use crate::raft::types::{Entry, LogId, NodeId, TypeConfig};
use crate::sequencer::Submitted;
use crate::store::applied::{AppliedFault, AppliedStore};
use crate::store::{RaftLog, Tail};

pub(crate) const fn active(_: Sabotage) -> bool {
    false
}

pub(crate) const fn is_chosen() -> bool {
    false
}

pub(crate) const fn lies() -> bool {
    false
}

pub(crate) const fn arm(_: &Voter, _: &SigningKey) {}

pub(crate) const fn syncs(_votes: usize, _operations: usize) -> bool {
    true
}

pub(crate) const fn appended(_: &[Entry]) {}

pub(crate) const fn stated(_: &AppliedStore, head: Head, tail: Tail) -> (Head, Tail) {
    (head, tail)
}

pub(crate) const fn head_signed(head: Head) -> Head {
    head
}

pub(crate) const fn key(key: &SigningKey) -> &SigningKey {
    key
}

pub(crate) const fn fresh_signed(statement: Statement) -> Statement {
    statement
}

pub(crate) const fn kept_round(_nonce_root: Hash, _: &AppliedStore) -> Option<(Vec<Statement>, u64)> {
    None
}

pub(crate) const fn keep_round(_: &[Statement]) {}

pub(crate) const fn pretended(_: &SignedCommand) -> Option<Submitted> {
    None
}

pub(crate) const fn acknowledged(_: &Submitted) {}

pub(crate) const fn applied_again(_: &RaftLog, applied: Option<LogId>) -> Option<LogId> {
    applied
}

pub(crate) const fn leave_out_dedup(_: &Path) -> Result<(), AppliedFault> {
    Ok(())
}

pub(crate) const fn sent_to(
    _: NodeId,
    request: AppendEntriesRequest<TypeConfig>,
) -> AppendEntriesRequest<TypeConfig> {
    request
}
