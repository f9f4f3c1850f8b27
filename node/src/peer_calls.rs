//! What this node answers its peers, besides Raft.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::authority::Block;
use chancery_ledger::hash::Hash;
use tokio::time::Instant;

use crate::clock::{Clock, ClockWatch};
use crate::network::{ClockReading, Declined, PeerHandler, PeerId, SubmitOutcome, SubmitResult};
use crate::raft::types::{Entry, LogId};
use crate::roster_proofs::ProvenRosters;
use crate::sequencer::Submitted;
use crate::signer::{NotSigning, Signer};
use crate::store::applied::LedgerBlocks;
use crate::store::{BlockFormat as _, RaftLog, roster_of};
use crate::submit::Submissions;

/// How long a peer's question for a head waits for the block to be applied.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);

/// Answers peers.
pub(crate) struct PeerCalls {
    pub(crate) signer: Arc<Signer>,
    pub(crate) log: RaftLog,
    pub(crate) clocks: Arc<ClockWatch>,
    pub(crate) rosters: ProvenRosters,
    pub(crate) submissions: Submissions,
    pub(crate) timeout: Duration,
}

impl PeerHandler for PeerCalls {
    async fn statement(&self, _caller: PeerId, nonce_root: Hash) -> Result<Vec<u8>, Declined> {
        Ok(self.signer.fresh(nonce_root).map_err(declined)?.encode())
    }

    async fn sign_head(&self, _caller: PeerId, block: u64) -> Result<Vec<u8>, Declined> {
        Ok(self.signer.head(block, HEAD_PATIENCE).await.map_err(declined)?.encode())
    }

    async fn cosign(&self, _caller: PeerId, block: u64) -> Result<String, Declined> {
        Ok(self.signer.cosign(block, HEAD_PATIENCE).await.map_err(declined)?.encode())
    }

    fn clock(&self) -> ClockReading {
        let clock: &dyn Clock = &**self.clocks.clock();
        ClockReading { clock_ms: clock.wall_ms(), monotonic_ok: true }
    }

    fn accept_entries(
        &self,
        prev: Option<LogId>,
        last_block: Option<Hash>,
        entries: &[Entry],
    ) -> Result<Option<Hash>, Declined> {
        let last_block = last_block.or_else(|| self.log.block_hash_at_end(prev));
        accept(last_block, entries, self.clocks.clock().wall_ms(), self.clocks.limit_ms())
    }

    fn roster_links(&self, since_block: u64) -> Vec<u8> {
        self.rosters.chain_since(since_block)
    }

    async fn submit(&self, _caller: PeerId, signed_command: Vec<u8>) -> SubmitResult {
        let deadline = Instant::now() + self.timeout;
        match self.submissions.submit_forwarded(&signed_command, deadline).await {
            Submitted::Acknowledged { index, block, time_ms, before, quorum } => SubmitResult {
                outcome: SubmitOutcome::Applied { index, block, time_ms, before },
                head: quorum.head.encode().to_vec(),
                head_statements: quorum.statements.iter().map(|statement| statement.encode()).collect(),
            },
            Submitted::Refused(refusal) => {
                SubmitOutcome::Refused { code: refusal.code().into(), message: refusal.to_string() }.into()
            }
            Submitted::RefusedElsewhere { code, message } => SubmitOutcome::Refused { code, message }.into(),
            Submitted::NotLeader => SubmitOutcome::NotLeader.into(),
            Submitted::NotDone(message) => SubmitOutcome::NotDone { message }.into(),
            Submitted::Unknown(message) => SubmitOutcome::Unknown { message }.into(),
        }
    }
}

/// What can be said of entries without the state: blocks follow each other, none comes from the future, and a
/// roster block carries its roster's membership. The store refuses the rest, and is dead then.
fn accept(
    mut last_block: Option<Hash>,
    entries: &[Entry],
    clock_ms: u64,
    limit_ms: u64,
) -> Result<Option<Hash>, Declined> {
    let fault =
        |index: u64, why: &dyn std::fmt::Display| Declined::Fault(format!("log index {index}: {why}"));
    for Entry { log_id, payload } in entries {
        roster_of(payload, &LedgerBlocks).map_err(|error| fault(log_id.index, &error))?;
        let Some(block) = payload.block() else { continue };
        accept_stamp(block.bytes(), clock_ms, limit_ms)?;
        let previous = LedgerBlocks.previous(block.bytes()).map_err(|error| fault(log_id.index, &error))?;
        if last_block.is_some_and(|last| last != previous) {
            return Err(fault(log_id.index, &"the block does not follow the one before it"));
        }
        last_block = Some(LedgerBlocks.hash(block.bytes()));
    }
    Ok(last_block)
}

/// A block may not come from the future: its stamp would become the ledger's time.
fn accept_stamp(block: &[u8], clock_ms: u64, limit_ms: u64) -> Result<(), Declined> {
    match Block::stamp_of(block) {
        Some(stamp_ms) if stamp_ms <= clock_ms.saturating_add(limit_ms) => Ok(()),
        Some(stamp_ms) => Err(Declined::NotNow(format!(
            "the block is stamped {stamp_ms}, this clock is {clock_ms}, and {limit_ms} ms are allowed"
        ))),
        None => Err(Declined::Fault("not a block".into())),
    }
}

fn declined(error: NotSigning) -> Declined {
    match error {
        NotSigning::Recovering | NotSigning::Clock(_) | NotSigning::NotApplied(_) => {
            Declined::NotNow(error.to_string())
        }
        NotSigning::NotAVoter(_) | NotSigning::Removed(_) | NotSigning::Forgotten(_) => {
            Declined::Gone(error.to_string())
        }
        NotSigning::Log(_) | NotSigning::Unreadable(_) | NotSigning::Unspeakable(_) => {
            Declined::Fault(error.to_string())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::{LedgerId, Name, PublicKey};
    use chancery_ledger::head::{Roster, Voter, VoterSet};
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::raft::types::{EncodedBlock, Membership, Payload, log_id};

    #[test]
    fn a_block_from_the_future_is_not_appended() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let ledger = LedgerId(Hash::ZERO);
        for stamp_ms in [1, 127, 128, 1_795_000_000_000] {
            let block =
                Block::propose(ledger, Hash::of(&[]), stamp_ms, (1, 1), (0, Hash::ZERO), vec![], &key);
            let bytes = block.encode();
            assert_eq!(Block::stamp_of(&bytes), Some(stamp_ms));
            assert_eq!(accept_stamp(&bytes, stamp_ms, 0), Ok(()));
            assert_eq!(accept_stamp(&bytes, stamp_ms - 1, 1), Ok(()));
            assert!(matches!(accept_stamp(&bytes, stamp_ms - 1, 0), Err(Declined::NotNow(_))));
        }
        assert!(matches!(accept_stamp(b"", 1, 1), Err(Declined::Fault(_))));
    }

    #[test]
    fn entries_that_the_log_would_refuse_are_not_appended() {
        let (key, ledger) = (SigningKey::from_bytes(&[1; 32]), LedgerId(Hash::ZERO));
        let after = |previous| {
            let head = (0, Hash::ZERO);
            EncodedBlock::from(Block::propose(ledger, previous, 1, (1, 1), head, vec![], &key).encode())
        };
        let uniform = |previous, nodes: &[u8]| {
            let voter = |node: &u8| Voter {
                node: u64::from(*node),
                name: Name::new(format!("node-{node}")).unwrap(),
                key: PublicKey([*node; 32]),
            };
            let set = VoterSet::majority(nodes.iter().map(voter).collect()).unwrap();
            let (roster, head) = (Roster::new(vec![set]).unwrap(), (0, Hash::ZERO));
            let block = Block::propose_uniform(ledger, previous, 1, (1, 1), head, roster, &key);
            EncodedBlock::from(block.encode())
        };
        let entry = |index, block: &EncodedBlock, voters: &[u64]| {
            let sets = vec![voters.iter().copied().collect()];
            let membership = (!voters.is_empty()).then(|| Membership::new_with_defaults(sets, []));
            Entry { log_id: log_id(1, index), payload: Payload::new(Some(block.clone()), membership) }
        };
        let hash = |block: &EncodedBlock| Block::hash_of(block.bytes());
        let genesis = Hash::of(&[]);
        let first = after(genesis);
        let second = uniform(hash(&first), &[1, 2]);
        let good = [entry(3, &first, &[]), entry(4, &second, &[1, 2])];
        for known in [None, Some(genesis)] {
            assert_eq!(accept(known, &good, 1, 0), Ok(Some(hash(&second))));
        }
        let bad = [
            (Some(hash(&second)), vec![entry(3, &first, &[])]),
            (None, vec![entry(3, &first, &[]), entry(4, &first, &[])]),
            (None, vec![entry(3, &second, &[1, 3])]),
            (None, vec![entry(3, &second, &[])]),
            (None, vec![entry(3, &first, &[1, 2])]),
        ];
        for (known, entries) in bad {
            assert!(matches!(accept(known, &entries, 1, 0), Err(Declined::Fault(_))), "{entries:?}");
        }
    }
}
