//! Answers from a proven head's state: the decision's read set, cut out of the tree.

use chancery_ledger::answer::{Answer, HeadProof};
use chancery_ledger::authority::GrantRef;
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Decision, Interval, Request, decide};
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::state::{PrunedTree, Recording, Root, prune};

use super::{CheckError, Rounds};
use crate::store::applied::AppliedView;

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
        (view, root): (&AppliedView, Root),
        nonce_path: Option<NoncePath>,
        request: &Request,
    ) -> Result<Answer, CheckError> {
        let HeadProof { head, statements, head_statements } = proof.clone();
        let clocks = || statements.iter().filter_map(|s| Some(s.fresh?.clock_ms));
        let interval = Interval {
            low_ms: head.time_ms.max(clocks().min().unwrap_or(0)),
            high_ms: head.time_ms.max(clocks().max().unwrap_or(u64::MAX)),
        };
        let Shown { tree, hint } = show(view, root, request, interval)?;
        let language = LANGUAGE_VERSION.into();
        let answer = Answer { head, statements, head_statements, nonce_path, tree, hint, language };
        self.check_size(answer.encode().len())?;
        Ok(answer)
    }

    pub(super) fn check_size(&self, size_bytes: usize) -> Result<(), CheckError> {
        let allowed = self.proof_size_bytes_max;
        if size_bytes <= allowed {
            return Ok(());
        }
        Err(CheckError::NoProof(format!("it has {size_bytes} bytes, {allowed} are allowed")))
    }
}

/// Decides `request` over the state at `root`, and cuts out what shows the decision.
pub(super) fn show(
    nodes: &AppliedView,
    root: Root,
    request: &Request,
    interval: Interval,
) -> Result<Shown, CheckError> {
    let no_proof = |why: &dyn std::fmt::Display| CheckError::NoProof(why.to_string());
    let look = |request: &Request| {
        let view = Recording::new(nodes, root);
        let decision = decide(&view, request, interval).map_err(|error| no_proof(&error))?;
        Ok::<_, CheckError>((decision, view.into_keys()))
    };
    let (decision, mut keys) = look(request)?;
    let mut hint = None;
    if let Decision::Permit(authority) = &decision {
        // A permit need only show the one chain: look again, at that one first.
        hint = authority.chain.first().copied();
        (_, keys) = look(&Request { hint, ..request.clone() })?;
    }
    let tree = prune(nodes, root, &keys).map_err(|error| no_proof(&error))?;
    Ok(Shown { tree, hint })
}
