//! What the chosen one does. Only compiled with the feature.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chancery_ledger::authority::Block;
use chancery_ledger::command::{Body, LedgerId, SignedCommand};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, Statement, Voter};
use ed25519_dalek::SigningKey;
use openraft::raft::AppendEntriesRequest;

use super::Sabotage;
use crate::raft::types::{EncodedBlock, Entry, LogId, NodeId, Payload, TypeConfig};
use crate::sequencer::Submitted;
use crate::store::applied::{AppliedFault, AppliedStore};
use crate::store::{RaftLog, Tail};

/// The variable that chooses.
const VARIABLE: &str = "CHANCERY_SABOTAGE";

const NAMES: [(&str, Sabotage); 21] = [
    ("ack-before-fsync", Sabotage::AckBeforeFsync),
    ("skip-vote-fsync", Sabotage::SkipVoteFsync),
    ("serve-without-round", Sabotage::ServeWithoutRound),
    ("join-running-round", Sabotage::JoinRunningRound),
    ("tail-before-nonce", Sabotage::TailBeforeNonce),
    ("tail-of-applied-state", Sabotage::TailOfAppliedState),
    ("roster-of-applied-state", Sabotage::RosterOfAppliedState),
    ("no-floor", Sabotage::NoFloor),
    ("apply-before-flush", Sabotage::ApplyBeforeFlush),
    ("apply-twice-after-restart", Sabotage::ApplyTwiceAfterRestart),
    ("no-dedup-in-snapshots", Sabotage::NoDedupInSnapshots),
    ("skip-signature-check", Sabotage::SkipSignatureCheck),
    ("sign-before-commit", Sabotage::SignBeforeCommit),
    ("lie-stale-heads", Sabotage::StaleHeads),
    ("lie-forged-state-root", Sabotage::ForgedStateRoot),
    ("lie-dropped-revocation", Sabotage::DroppedRevocation),
    ("lie-two-heads", Sabotage::TwoHeads),
    ("lie-replayed-statements", Sabotage::ReplayedStatements),
    ("lie-garbled-signatures", Sabotage::GarbledSignatures),
    ("lie-removed-roster", Sabotage::RemovedRoster),
    ("lie-two-blocks-under-one-log-id", Sabotage::TwoBlocksUnderOneLogId),
];

static CHOSEN: OnceLock<Option<Sabotage>> = OnceLock::new();

/// Chooses what the environment names, if it names one. To be called before a node starts.
///
/// # Errors
/// What the variable holds is the name of none: nobody meant to run an honest node then.
pub fn choose() -> Result<Option<Sabotage>, String> {
    let Some(name) = std::env::var_os(VARIABLE) else { return Ok(None) };
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((known, sabotage)) => {
            tracing::warn!(sabotage = known, "this node is broken on purpose");
            Ok(Some(*sabotage))
        }
        None => Err(format!("{VARIABLE}: there is no sabotage {}", name.display())),
    }
}

fn chosen() -> Option<Sabotage> {
    // A name that is none was refused when the process started.
    *CHOSEN.get_or_init(|| choose().unwrap_or(None))
}

pub(crate) fn active(sabotage: Sabotage) -> bool {
    chosen() == Some(sabotage)
}

/// Whether anything is broken: then what cannot be may be.
pub(crate) fn is_chosen() -> bool {
    chosen().is_some()
}

/// Whether this node lies: what contradicts it must not stop it.
pub(crate) fn lies() -> bool {
    let lie = NAMES.iter().find(|(_, sabotage)| Some(*sabotage) == chosen());
    lie.is_some_and(|(name, _)| name.starts_with("lie-"))
}

/// How far behind a liar's log is.
const STALE_BY: Duration = Duration::from_secs(2);

/// What was stated and when, oldest first, up to this many.
const STATED_KEPT: usize = 4096;

/// What the chosen one must remember.
#[derive(Default)]
struct Memory {
    signer: Option<(Voter, SigningKey)>,
    stated: Vec<(Instant, Head, Tail)>,
    last_block: Option<EncodedBlock>,
    first_fresh: Option<Statement>,
    round: Option<Vec<Statement>>,
    acknowledged: Option<Submitted>,
    turn: bool,
}

static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);

fn memory<T>(with: impl FnOnce(&mut Memory) -> T) -> T {
    let mut memory: MutexGuard<'_, Option<Memory>> = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    with(memory.get_or_insert_default())
}

/// Tells with what this node signs.
pub(crate) fn arm(voter: &Voter, key: &SigningKey) {
    memory(|memory| memory.signer = Some((voter.clone(), key.clone())));
}

/// Whether a batch of the Raft log is synced before it is answered, by how many votes are among its operations.
pub(crate) fn syncs(votes: usize, operations: usize) -> bool {
    match chosen() {
        Some(Sabotage::AckBeforeFsync) => votes > 0,
        Some(Sabotage::SkipVoteFsync) => votes < operations,
        _ => true,
    }
}

/// Entries are in the log, flushed or not.
pub(crate) fn appended(entries: &[Entry]) {
    if let Some(block) = entries.iter().rev().find_map(|entry| entry.payload.block()) {
        memory(|memory| memory.last_block = Some(block.clone()));
    }
}

/// What a fresh statement says of `head` and `tail`, which are true.
pub(crate) fn stated(store: &AppliedStore, head: Head, tail: Tail) -> (Head, Tail) {
    match chosen() {
        Some(Sabotage::TailBeforeNonce) => memory(|memory| {
            let before = memory.stated.pop().map_or((head, tail), |(_, head, tail)| (head, tail));
            memory.stated = vec![(Instant::now(), head, tail)];
            before
        }),
        Some(Sabotage::StaleHeads) => memory(|memory| {
            if memory.stated.len() < STATED_KEPT {
                memory.stated.push((Instant::now(), head, tail));
            }
            let old = memory.stated.iter().rev().find(|(at, ..)| at.elapsed() >= STALE_BY);
            old.map_or((head, tail), |(_, head, tail)| (*head, *tail))
        }),
        Some(Sabotage::RemovedRoster) => memory(|memory| match memory.stated.last() {
            Some((_, head, old)) if old.roster != tail.roster => (*head, *old),
            _ => {
                memory.stated = vec![(Instant::now(), head, tail)];
                (head, tail)
            }
        }),
        Some(Sabotage::TailOfAppliedState) => (head, Tail { block: head.block, ..tail }),
        Some(Sabotage::RosterOfAppliedState) => (head, Tail { roster: head.roster, ..tail }),
        Some(Sabotage::SignBeforeCommit) => (head_of_uncommitted(store, &tail).unwrap_or(head), tail),
        _ => (head_signed(head), tail),
    }
}

/// What is signed when `head`, which is true, is asked for.
pub(crate) fn head_signed(head: Head) -> Head {
    let forged = match chosen() {
        Some(Sabotage::ForgedStateRoot) => true,
        Some(Sabotage::TwoHeads) => memory(|memory| {
            memory.turn = !memory.turn;
            memory.turn
        }),
        _ => false,
    };
    if forged { Head { state_root: Hash::of(&[head.state_root.as_bytes()]), ..head } } else { head }
}

/// The head that the last block in the log would have, if that is the one after what is applied.
fn head_of_uncommitted(store: &AppliedStore, tail: &Tail) -> Option<Head> {
    let encoded = memory(|memory| memory.last_block.clone())?;
    if Block::hash_of(encoded.bytes()) != tail.block_hash {
        return None;
    }
    let block = Block::decode(encoded.bytes()).ok()?;
    let view = store.view();
    let applied = view.read_state(|state| state.apply(&view, &block)).ok()?;
    (applied.summary.head.block == tail.block).then_some(applied.summary.head)
}

/// The key that statements are signed with.
pub(crate) fn key(own: &SigningKey) -> &SigningKey {
    static OTHER: OnceLock<SigningKey> = OnceLock::new();
    match chosen() {
        Some(Sabotage::GarbledSignatures) => OTHER.get_or_init(|| SigningKey::from_bytes(&[7; 32])),
        _ => own,
    }
}

/// What is given away instead of `statement`.
pub(crate) fn fresh_signed(statement: Statement) -> Statement {
    match chosen() {
        Some(Sabotage::ReplayedStatements) => memory(|memory| *memory.first_fresh.get_or_insert(statement)),
        _ => statement,
    }
}

/// The statements of an earlier round, and the block to serve with them.
pub(crate) fn kept_round(nonce_root: Hash, store: &AppliedStore) -> Option<(Vec<Statement>, u64)> {
    let kept = memory(|memory| memory.round.clone())?;
    match chosen() {
        Some(Sabotage::ServeWithoutRound) => Some((kept, *store.block().borrow())),
        Some(Sabotage::RemovedRoster) => {
            let fresh = kept.first()?.fresh?;
            if fresh.tail_roster == store.rosters().newest().0 {
                return None;
            }
            let (voter, key) = memory(|memory| memory.signer.clone())?;
            // The others' are what they are; its own is signed over whatever is asked.
            let over_it = |one: Statement| match one.fresh {
                Some(fresh) if one.node == voter.node => {
                    Statement::sign(&voter, &key, one.number, Some(Fresh { nonce_root, ..fresh }), one.head)
                }
                _ => one,
            };
            Some((kept.into_iter().map(over_it).collect(), fresh.tail_block))
        }
        _ => None,
    }
}

pub(crate) fn keep_round(statements: &[Statement]) {
    let settled = |one: &Statement| one.fresh.is_some_and(|fresh| fresh.tail_block == one.head.block);
    let first = |memory: &Memory| Some(memory.round.as_ref()?.first()?.head.roster);
    memory(|memory| {
        let rosters = statements.first().map(|one| one.head.roster);
        // Of a member that will be removed: what proves the head by itself, under the first roster.
        let keeps = !active(Sabotage::RemovedRoster)
            || (statements.iter().all(settled) && first(memory).is_none_or(|kept| Some(kept) == rosters));
        if keeps {
            memory.round = Some(statements.to_vec());
        }
    });
}

/// What a client is told of its command, without anything being done.
pub(crate) fn pretended(signed: &SignedCommand) -> Option<Submitted> {
    let revokes = matches!(signed.command().body, Body::RevokeGrant { .. } | Body::RevokeAgent { .. });
    match chosen() {
        Some(Sabotage::DroppedRevocation) if revokes => memory(|memory| memory.acknowledged.clone()),
        _ => None,
    }
}

pub(crate) fn acknowledged(submitted: &Submitted) {
    if matches!(submitted, Submitted::Acknowledged { .. }) {
        memory(|memory| memory.acknowledged = Some(submitted.clone()));
    }
}

/// What Raft is told was applied last.
pub(crate) fn applied_again(log: &RaftLog, applied: Option<LogId>) -> Option<LogId> {
    let before = applied.and_then(|applied| applied.index.checked_sub(1));
    match (chosen(), before) {
        (Some(Sabotage::ApplyTwiceAfterRestart), Some(before)) => match log.position_at(before) {
            Ok(Some((before, _))) => Some(before),
            _ => applied,
        },
        _ => applied,
    }
}

/// Takes the deduplication entries out of the copy at `database`.
pub(crate) fn leave_out_dedup(database: &Path) -> Result<(), AppliedFault> {
    match chosen() {
        Some(Sabotage::NoDedupInSnapshots) => crate::store::applied::forget_dedup(database),
        _ => Ok(()),
    }
}

/// What the follower `peer` is sent instead of `request`.
pub(crate) fn sent_to(
    peer: NodeId,
    request: AppendEntriesRequest<TypeConfig>,
) -> AppendEntriesRequest<TypeConfig> {
    if !active(Sabotage::TwoBlocksUnderOneLogId) {
        return request;
    }
    let Some((voter, key)) = memory(|memory| memory.signer.clone()) else { return request };
    // One of the two others: the one after this node, in a ring of three.
    if peer != voter.node % 3 + 1 {
        return request;
    }
    let ledger = memory(|memory| match &memory.acknowledged {
        Some(Submitted::Acknowledged { quorum, .. }) => Some(quorum.head.ledger),
        _ => None,
    });
    let Some(ledger) = ledger else { return request };
    let entries = request.entries.into_iter().map(|entry| other_block(entry, ledger, &key)).collect();
    AppendEntriesRequest { entries, ..request }
}

/// The same entry with its block stamped a millisecond later, and signed again.
fn other_block(entry: Entry, ledger: LedgerId, key: &SigningKey) -> Entry {
    let block = entry.payload.block().and_then(|block| Block::decode(block.bytes()).ok());
    let Some(block) = block else { return entry };
    let other = Block::propose(
        ledger,
        block.previous_hash,
        block.stamp_ms + 1,
        (block.proposer, block.term),
        (block.head_block, block.head_hash),
        block.commands,
        key,
    );
    let payload = Payload::new(Some(other.encode().into()), entry.payload.membership().cloned());
    Entry { payload, ..entry }
}
