//! Answers from a proven head's state: the decision's read set, cut out of the tree.

use std::cell::RefCell;
use std::sync::Arc;

use chancery_ledger::answer::{Answer, HeadProof};
use chancery_ledger::authority::GrantRef;
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Decision, Interval, Request, decide};
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::state::{Node, NodeId, NodeRead, PrunedTree, Recording, Root, prune};

use super::{CheckError, Rounds};
use crate::store::applied::{AppliedFault, AppliedView, Nodes};

/// Nodes that are remembered while the answers of one round are made.
const REMEMBERED_MAX: usize = 65_536;

/// A state's nodes, each taken from the store once: all answers of a round come from one state, and each reads the
/// nodes on its ways several times.
pub(super) struct Remembering<'a> {
    view: &'a AppliedView,
    seen: RefCell<Nodes>,
}

impl<'a> Remembering<'a> {
    pub(super) fn new(view: &'a AppliedView) -> Self {
        Self { view, seen: RefCell::default() }
    }
}

impl NodeRead for Remembering<'_> {
    type Error = AppliedFault;

    fn node(&self, id: NodeId) -> Result<Arc<Node>, AppliedFault> {
        // INVARIANT: each borrow ends with its statement, and the view knows nothing of it.
        if let Some(node) = self.seen.borrow().get(&id) {
            return Ok(Arc::clone(node));
        }
        let node = self.view.node(id)?;
        let mut seen = self.seen.borrow_mut();
        if seen.len() < REMEMBERED_MAX {
            seen.insert(id, Arc::clone(&node));
        }
        Ok(node)
    }
}

/// What shows a decision: the read set, and the grant that a permit rests on.
pub(super) struct Shown {
    pub(super) tree: PrunedTree,
    pub(super) hint: Option<GrantRef>,
}

/// The answer to `request` from the state of the proven head.
pub(super) fn prove_now(
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
    let Shown { tree, hint } = show(nodes, root, request, interval)?;
    let language = LANGUAGE_VERSION.into();
    Ok(Answer { head, statements, head_statements, nonce_path, tree, hint, language })
}

impl Rounds {
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

/// Decides `request` over the state at `root`, and cuts out what shows the decision.
pub(super) fn show<N: NodeRead>(
    nodes: &N,
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
