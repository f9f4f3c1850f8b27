//! Answers from a proven head's state: the decision's read set, cut out of the tree.

use chancery_ledger::answer::{Answer, HeadProof};
use chancery_ledger::authority::GrantRef;
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Candidates, Decision, Interval, Request, decide};
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::state::{NodeRead, PrunedTree, Recording, Root, prune};

use super::hints::{GRANTS_MAX, Hints};
use super::{CheckError, Rounds};

/// What shows a decision: the read set, and the grant that a permit rests on.
pub(super) struct Shown {
    pub(super) tree: PrunedTree,
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
        let HeadProof { head, statements, head_statements } = proof.clone();
        let clocks = || statements.iter().filter_map(|s| Some(s.fresh?.clock_ms));
        let interval = Interval {
            low_ms: head.time_ms.max(clocks().min().unwrap_or(0)),
            high_ms: head.time_ms.max(clocks().max().unwrap_or(u64::MAX)),
        };
        let Shown { tree, hint } = show(nodes, root, request, interval, Some(&self.hints))?;
        let language = LANGUAGE_VERSION.into();
        Ok(Answer { head, statements, head_statements, nonce_path, tree, hint, language })
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

/// Decides `request` over the state at `root`, and cuts out what shows the decision. A grant that `hints` know is asked
/// first.
pub(super) fn show<N: NodeRead>(
    nodes: &N,
    root: Root,
    request: &Request,
    interval: Interval,
    hints: Option<&Hints>,
) -> Result<Shown, CheckError> {
    let no_proof = |why: &dyn std::fmt::Display| CheckError::NoProof(why.to_string());
    let look = |hint: Option<GrantRef>| {
        let view = Recording::new(nodes, root);
        let request = Request { hint, ..request.clone() };
        let decision = decide(&view, &request, interval).map_err(|error| no_proof(&error))?;
        Ok::<_, CheckError>((decision, view.into_keys()))
    };
    let cut = |keys, hint| {
        let tree = prune(nodes, root, &keys).map_err(|error| no_proof(&error))?;
        Ok(Shown { tree, hint })
    };
    let known = hints.and_then(|hints| hints.of(&request.agent));
    if let Some(hint) = known.as_ref().and_then(|known| known.of(request)) {
        let (decision, keys) = look(Some(hint))?;
        // What another grant decided is found without the hint: that one need not be shown.
        if rests_on(&decision) == Some(hint) {
            return cut(keys, Some(hint));
        }
    }
    let (decision, keys) = look(None)?;
    let Some(hint) = rests_on(&decision) else { return cut(keys, None) };
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
    cut(keys, Some(hint))
}

/// The grant that a permit rests on.
fn rests_on(decision: &Decision) -> Option<GrantRef> {
    match decision {
        Decision::Permit(authority) => authority.chain.first().copied(),
        Decision::Denied(_) => None,
    }
}
