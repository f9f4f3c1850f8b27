//! Checkpoints: once a second, if the log has grown, the newest head is cosigned by as many voters as answer, and
//! published once these are a quorum.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::checkpoint::{
    Checkpoint, KeyName, SignatureLine, SignatureType, SignedCheckpoint, VerifierKey, tlog_policy,
};
use chancery_ledger::head::{Head, HeadVoters, RosterChain, Voter, VoterSet};
use ed25519_dalek::SigningKey;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::network::Peers;
use crate::signer::Signer;
use crate::store::applied::AppliedStore;

/// How often the log is looked at. A checkpoint is at most so much behind, and what it takes to gather it.
const EVERY: Duration = Duration::from_millis(500);

/// How long cosignatures are waited for.
const PATIENCE: Duration = Duration::from_millis(400);

/// A checkpoint that a quorum cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Leaves that it covers: no tile and no entry beyond them is served.
    pub size: u64,
    /// The note.
    pub note: String,
    /// Who must have cosigned it, for other tools (c2sp.org/tlog-policy); none while the voters change.
    pub policy: Option<String>,
    /// An encoded [`RosterChain`] from genesis to the roster whose voters must have, for whoever has a trust file.
    pub rosters: Vec<u8>,
}

/// Publishes checkpoints.
pub struct Checkpoints {
    /// The log's own key, which proves nothing: tools want a signature under the origin's name.
    pub log_key: SigningKey,
    /// This node's voice.
    pub signer: Arc<Signer>,
    /// The others'.
    pub peers: Peers,
    /// The log.
    pub store: AppliedStore,
}

/// The checkpoint of the log of `head`, and the name of `voter`'s key for cosignatures.
///
/// # Errors
/// The origin or the node's name is no name of a key.
pub fn checkpoint_of(origin: &str, head: &Head, voter: &Voter) -> Result<(Checkpoint, KeyName), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let name = voter.cosigner_name(origin).map_err(|error| told(&error))?;
    let origin = KeyName::new(origin).map_err(|error| told(&error))?;
    let checkpoint = Checkpoint::new(origin, head.log_size, head.log_root).map_err(|error| told(&error))?;
    Ok((checkpoint, name))
}

impl Checkpoints {
    /// Publishes until `stopped`. Whoever watches sees none that covers less than one before it.
    pub async fn run(self, published: watch::Sender<Option<Arc<Published>>>, stopped: watch::Receiver<bool>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            ticks.tick().await;
            let head = self.store.read_state(|state| *state.head());
            if published.borrow().as_ref().is_some_and(|published| published.size >= head.log_size) {
                continue;
            }
            match self.gather(&head).await {
                Ok(checkpoint) => drop(published.send_replace(Some(Arc::new(checkpoint)))),
                Err(why) => tracing::debug!(block = head.block, why, "no checkpoint"),
            }
        }
    }

    async fn gather(&self, head: &Head) -> Result<Published, String> {
        let deadline = Instant::now() + PATIENCE;
        let origin = self.store.founding().origin().to_owned();
        let (checkpoint, _) = checkpoint_of(&origin, head, self.signer.voter())?;
        let rosters = self.store.rosters();
        if rosters.unproven().is_some_and(|unproven| unproven.block <= head.block) {
            return Err("its roster is not proven yet".into());
        }
        let voters = HeadVoters::of(rosters.at(head.block).1);
        let mut lines = vec![checkpoint.sign(&self.log_key)];
        let mut keys = Vec::new();
        let mut nodes = BTreeSet::new();
        let mut asked: FuturesUnordered<_> = voters
            .voters()
            .map(|voter| async move { (voter, self.cosignature_of(voter, head.block, deadline).await) })
            .collect();
        while let Some((voter, answer)) = asked.next().await {
            let line = match answer {
                Ok(line) => line,
                Err(why) => {
                    tracing::debug!(node = voter.node, block = head.block, why, "no cosignature");
                    continue;
                }
            };
            let key = voter.cosigner_key(&origin).map_err(|error| error.to_string())?;
            // A line that does not verify is left out: a note with it would be refused whole.
            if checkpoint.is_cosigned(&line, &key) {
                nodes.insert(voter.node);
                lines.push(line);
                keys.push(key);
            }
        }
        if !voters.has_quorum(&nodes) {
            return Err(format!("{} nodes cosigned, which is no quorum", nodes.len()));
        }
        let policy = self.policy(&origin, rosters.at(head.block).1.sets());
        let mut links = rosters.chain_since(0);
        links.retain(|link| link.head.block <= head.block);
        let note = SignedCheckpoint::new(checkpoint, lines).map_err(|error| error.to_string())?.encode();
        Ok(Published { size: head.log_size, note, policy, rosters: RosterChain { links }.encode() })
    }

    async fn cosignature_of(
        &self,
        voter: &Voter,
        block: u64,
        deadline: Instant,
    ) -> Result<SignatureLine, String> {
        if voter.node == self.signer.voter().node {
            return self.signer.cosign(block, Duration::ZERO).await.map_err(|error| error.to_string());
        }
        let line = self.peers.cosign(voter.node, block, deadline).await.map_err(|error| error.to_string())?;
        SignatureLine::parse(&line).map_err(|error| error.to_string())
    }

    /// While two sets of voters must each have a quorum, no policy file can say so.
    fn policy(&self, origin: &str, sets: &[VoterSet]) -> Option<String> {
        let [voters] = sets else { return None };
        let keys = voters.voters().iter().map(|voter| voter.cosigner_key(origin));
        let keys = keys.collect::<Result<Vec<_>, _>>().ok()?;
        let name = KeyName::new(origin).ok()?;
        let log = VerifierKey::new(name, SignatureType::Ed25519, self.log_key.verifying_key()).ok()?;
        tlog_policy(&log, &keys, usize::try_from(voters.quorum()).ok()?).ok()
    }
}
