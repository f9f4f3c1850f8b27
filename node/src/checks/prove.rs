//! Answers from a proven head's state: the decision's read set, cut out of the tree.

use std::collections::BTreeSet;

use chancery_ledger::answer::{Answer, HeadProof, encode_answer_around};
use chancery_ledger::authority::GrantRef;
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Candidates, Decision, Interval, Request, decide_with};
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::state::{Key, NodeRead, PrunedTree, Recording, Root, Sent, encode_keys, prune};

use super::hints::{GRANTS_MAX, Hints};
use super::session::KeptAnswer;
use super::{CheckError, Rounds};

/// What a decision reads, and the grant that a permit rests on.
pub(super) struct ReadSet {
    pub(super) keys: BTreeSet<Key>,
    pub(super) hint: Option<GrantRef>,
}

impl Rounds {
    /// The answer to `request` from the state of the proven head.
    pub(super) fn prove_now(
        &self,
        proof: &HeadProof,
        (nodes, root): (&impl NodeRead, Root),
        nonce_path: Option<NoncePath>,
        request: &Request,
    ) -> Result<Answer, CheckError> {
        let ReadSet { keys, hint } = read_set(nodes, root, request, interval(proof), Some(&self.hints))?;
        let tree = cut(nodes, root, &keys)?;
        let HeadProof { head, statements, head_statements } = proof.clone();
        let language = LANGUAGE_VERSION.into();
        Ok(Answer { head, statements, head_statements, nonce_path, tree, hint, language })
    }

    /// The same for who keeps the nodes that were `sent`, encoded beside what proves its round.
    pub(super) fn prove_around(
        &self,
        proof: &HeadProof,
        (nodes, root): (&impl NodeRead, Root),
        nonce_path: &NoncePath,
        request: &Request,
        sent: &mut Sent,
    ) -> Result<KeptAnswer, CheckError> {
        let ReadSet { keys, hint } = read_set(nodes, root, request, interval(proof), Some(&self.hints))?;
        let missing = sent.missing(nodes, root, &keys).map_err(|error| no_proof(&error))?;
        let answer = encode_answer_around(Some(nonce_path), hint, LANGUAGE_VERSION);
        let kept = KeptAnswer { answer, keys: encode_keys(&keys), missing };
        if let Err(error) = self.check_size(kept.size_bytes()) {
            // What counts as sent is not.
            sent.forget();
            return Err(error);
        }
        Ok(kept)
    }

    /// The answer as it is sent.
    pub(super) fn encoded(&self, answer: &Answer) -> Result<Vec<u8>, CheckError> {
        let bytes = answer.encode();
        self.check_size(bytes.len())?;
        Ok(bytes)
    }

    /// The same beside what proves its round.
    pub(super) fn encoded_beside(&self, answer: &Answer) -> Result<Vec<u8>, CheckError> {
        let bytes = answer.encode_beside();
        self.check_size(bytes.len())?;
        Ok(bytes)
    }

    pub(super) fn check_size(&self, size_bytes: usize) -> Result<(), CheckError> {
        let allowed = self.proof_size_bytes_max;
        if size_bytes <= allowed {
            return Ok(());
        }
        Err(CheckError::NoProof(format!("it has {size_bytes} bytes, {allowed} are allowed")))
    }
}

fn no_proof(why: &dyn std::fmt::Display) -> CheckError {
    CheckError::NoProof(why.to_string())
}

/// The interval in which a decision by this proof holds.
fn interval(proof: &HeadProof) -> Interval {
    let HeadProof { head, statements, .. } = proof;
    let clocks = || statements.iter().filter_map(|s| Some(s.fresh?.clock_ms));
    Interval {
        low_ms: head.time_ms.max(clocks().min().unwrap_or(0)),
        high_ms: head.time_ms.max(clocks().max().unwrap_or(u64::MAX)),
    }
}

/// What shows the values of `keys` in the state at `root`.
pub(super) fn cut<N: NodeRead>(
    nodes: &N,
    root: Root,
    keys: &BTreeSet<Key>,
) -> Result<PrunedTree, CheckError> {
    prune(nodes, root, keys).map_err(|error| no_proof(&error))
}

/// Decides `request` over the state at `root`: what shows the decision. A grant that `hints` know is asked first.
pub(super) fn read_set<N: NodeRead>(
    nodes: &N,
    root: Root,
    request: &Request,
    interval: Interval,
    hints: Option<&Hints>,
) -> Result<ReadSet, CheckError> {
    let look = |hint: Option<GrantRef>| {
        let view = Recording::new(nodes, root);
        let decided = decide_with(&view, request, hint, interval);
        let (decision, _) = decided.map_err(|error| no_proof(&error))?;
        Ok::<_, CheckError>((decision, view.into_keys()))
    };
    let known = hints.and_then(|hints| hints.of(&request.agent));
    if let Some(hint) = known.as_ref().and_then(|known| known.of(request)) {
        let (decision, keys) = look(Some(hint))?;
        // What another grant decided is found without the hint: that one need not be shown.
        if rests_on(&decision) == Some(hint) {
            return Ok(ReadSet { keys, hint: Some(hint) });
        }
    }
    let (decision, keys) = look(None)?;
    let Some(hint) = rests_on(&decision) else { return Ok(ReadSet { keys, hint: None }) };
    if let Some(hints) = hints {
        // The next question may be about another grant of the agent; or the guess was of one that is revoked.
        let state = Recording::new(nodes, root);
        let read = Candidates::read(&state, &request.agent, GRANTS_MAX, known.as_deref());
        let read = read.map_err(|error| no_proof(&error))?;
        if let Some(candidates) = read.or_else(|| known?.preferring(hint)) {
            hints.keep(request.agent.clone(), candidates);
        }
    }
    // A permit need only show the one chain: look again, at that one first.
    let (_, keys) = look(Some(hint))?;
    Ok(ReadSet { keys, hint: Some(hint) })
}

/// The grant that a permit rests on.
fn rests_on(decision: &Decision) -> Option<GrantRef> {
    match decision {
        Decision::Permit(authority) => authority.chain.first().copied(),
        Decision::Denied(_) => None,
    }
}
