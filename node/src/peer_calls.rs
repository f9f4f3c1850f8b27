//! What this node answers its peers, besides Raft.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::authority::Block;
use chancery_ledger::hash::Hash;
use tokio::time::Instant;

use crate::clock::{Clock, ClockWatch};
use crate::network::{ClockReading, Declined, PeerHandler, PeerId, SubmitOutcome, SubmitResult};
use crate::roster_proofs::ProvenRosters;
use crate::sequencer::Submitted;
use crate::signer::{NotSigning, Signer};
use crate::submit::Submissions;

/// How long a peer's question for a head waits for the block to be applied.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);

/// Answers peers.
pub(crate) struct PeerCalls {
    pub(crate) signer: Arc<Signer>,
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

    fn clock(&self) -> ClockReading {
        let clock: &dyn Clock = &**self.clocks.clock();
        ClockReading { clock_ms: clock.wall_ms(), monotonic_ok: true }
    }

    fn accept_block(&self, block: &[u8]) -> Result<(), Declined> {
        accept_stamp(block, self.clocks.clock().wall_ms(), self.clocks.limit_ms())
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
        NotSigning::Log(_) => Declined::Fault(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::LedgerId;
    use ed25519_dalek::SigningKey;

    use super::*;

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
}
