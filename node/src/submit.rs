//! From a client's bytes to the leader's sequencer, with at most one hop.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::authority::Refusal;
use chancery_ledger::command::{LedgerId, SignedCommand, VerifiedSignatures};
use chancery_ledger::head::{Head, HeadQuorum, Statement};
use tokio::time::{Instant, sleep};

use crate::network::{Peers, SubmitOutcome};
use crate::raft::Raft;
use crate::sabotage;
use crate::sequencer::{Sequencer, Submitted};

/// How long to wait before looking for a leader again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);

/// Takes commands on any node.
#[derive(Clone)]
pub struct Submissions {
    ledger: LedgerId,
    node: u64,
    raft: Raft,
    peers: Peers,
    sequencer: Sequencer,
    signatures: Arc<VerifiedSignatures>,
}

impl Submissions {
    /// Takes commands for `ledger` as `node`, which found `signatures` good.
    pub const fn new(
        ledger: LedgerId,
        node: u64,
        raft: Raft,
        peers: Peers,
        sequencer: Sequencer,
        signatures: Arc<VerifiedSignatures>,
    ) -> Self {
        Self { ledger, node, raft, peers, sequencer, signatures }
    }

    /// Gives the encoded `SignedCommand` to the leader, whoever that is, until `deadline`.
    pub async fn submit(&self, bytes: &[u8], deadline: Instant) -> Submitted {
        let signed = match self.check_envelope(bytes) {
            Ok(signed) => signed,
            Err(refusal) => return Submitted::Refused(refusal),
        };
        if let Some(answer) = sabotage::pretended(&signed) {
            return answer;
        }
        loop {
            let answer = match self.raft.current_leader().await {
                Some(leader) if leader == self.node => self.sequencer.submit(signed.clone(), deadline).await,
                Some(leader) => self.forward(leader, bytes, deadline).await,
                None => Submitted::NotLeader,
            };
            // Only "not leader" is tried again: it says for certain that nothing was done.
            sabotage::acknowledged(&answer);
            if !matches!(answer, Submitted::NotLeader) || Instant::now() + LEADER_PATIENCE >= deadline {
                return answer;
            }
            sleep(LEADER_PATIENCE).await;
        }
    }

    /// A command that another node forwards: taken if this node leads, and never forwarded again.
    pub async fn submit_forwarded(&self, bytes: &[u8], deadline: Instant) -> Submitted {
        match self.check_envelope(bytes) {
            Ok(signed) => self.sequencer.submit(signed, deadline).await,
            Err(refusal) => Submitted::Refused(refusal),
        }
    }

    /// The one hop. What comes back is believed no further than its signatures go: the client verifies them.
    async fn forward(&self, leader: u64, bytes: &[u8], deadline: Instant) -> Submitted {
        let answer = match self.peers.submit(leader, bytes.to_vec(), deadline).await {
            Ok(answer) => answer,
            // The leader may just have gone: whoever is elected next is asked.
            Err(error) if error.is_surely_not_done() => return Submitted::NotLeader,
            Err(error) => return Submitted::Unknown(error.to_string()),
        };
        match answer.outcome {
            SubmitOutcome::Applied { index, block, time_ms, before } => {
                let statements: Result<Vec<_>, _> =
                    answer.head_statements.iter().map(|bytes| Statement::decode(bytes)).collect();
                match (Head::decode(&answer.head), statements) {
                    (Ok(head), Ok(statements)) => {
                        let quorum = Arc::new(HeadQuorum { head, statements });
                        Submitted::Acknowledged { index, block, time_ms, before, quorum }
                    }
                    _ => Submitted::Unknown("the leader's answer is malformed".into()),
                }
            }
            SubmitOutcome::Refused { code, message } => Submitted::RefusedElsewhere { code, message },
            SubmitOutcome::NotLeader => Submitted::NotLeader,
            SubmitOutcome::NotDone { message } => Submitted::NotDone(message),
            SubmitOutcome::Unknown { message } => Submitted::Unknown(message),
        }
    }

    /// Whatever can be refused without the state.
    fn check_envelope(&self, bytes: &[u8]) -> Result<SignedCommand, Refusal> {
        let signed = SignedCommand::decode(bytes)?;
        signed.verify_with(self.ledger, &self.signatures)?;
        Ok(signed)
    }
}
