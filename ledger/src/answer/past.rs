//! What was: a decision over the state after an earlier block.
//!
//! The log commits to every state, by the STATE leaf that ends each block with leaves. So an earlier state needs
//! no old signatures: its leaf is in the log of a newer head, and the next STATE leaf, which names the one
//! before it, shows that no other state lay between it and the moment that was asked about.

use super::head_proof::{check_head, newest_roster, verify_head_proof};
use super::{ProofError, ReadSet, Recorded};
use crate::authority::{Entry, GrantRef, Leaf, RULES_VERSION};
use crate::decide::{Decision, Interval, Request};
use crate::hash::Hash;
use crate::head::{Freshness, Head, RosterId, Statement};
use crate::state::PrunedTree;
use crate::trust::Trust;

/// When, in the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// After this block, at its ledger time.
    Block(u64),
    /// At this ledger time, in milliseconds since 1970: after the last block whose time is not later.
    Time(u64),
}

/// What proves a decision over an earlier state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastAnswer {
    /// A newer head, in whose log the leaves are.
    pub head: Head,
    /// A quorum's fresh statements, all of one round, sorted by node.
    pub statements: Vec<Statement>,
    /// Further signatures on `head`, sorted by node.
    pub head_statements: Vec<Statement>,
    /// The STATE leaf of the state that was decided from.
    pub state: Leaf,
    /// The STATE leaf after it; none if it is the log's last leaf.
    pub next: Option<Leaf>,
    /// The read set.
    pub tree: PrunedTree,
    /// The grant that a permit rests on, so that it shows no other. A denial has none.
    pub hint: Option<GrantRef>,
    /// Version of the Cedar language that conditions were decided in.
    pub language: String,
}

/// Why leaves do not show which state was the one that was asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PastFault {
    /// The block or time is after everything that the head and its quorum's clocks show.
    #[error("the head and the clocks of its quorum do not reach so far")]
    NotReached,
    /// The leaf that should say what the state was is a command's.
    #[error("leaf {0} is no STATE leaf")]
    NotAState(u64),
    /// The state is from after the moment that was asked about.
    #[error("the state is of block {0}, which is after the moment that was asked about")]
    TooLate(u64),
    /// There was a later state at that moment, or none is shown to have been.
    #[error("it is not shown that the state of block {0} was still the last")]
    NotTheLast(u64),
}

/// A decision over an earlier state, proven. It is no permit, whatever it says: nothing of it is about now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedPast {
    /// The decision, as this program made it.
    pub decision: Decision,
    /// The block that made the state: the last one that had an effect.
    pub block: u64,
    /// The ledger time of that block.
    pub block_time_ms: u64,
    /// The root of the state.
    pub state_root: Hash,
    /// The ledger time at which it was decided: the block's, or the one that was asked about.
    pub time_ms: u64,
    /// The newer head whose log has the state's leaf.
    pub head: Head,
    /// The clocks of the quorum that proved that head.
    pub freshness: Freshness,
    /// The nodes whose statements counted.
    pub nodes: Vec<u64>,
    /// What was recorded of the agent by then; none if it was unknown.
    pub recorded: Option<Recorded>,
}

/// A STATE leaf, as far as it matters here.
struct State {
    index: u64,
    block: u64,
    time_ms: u64,
    root: Hash,
    previous: Option<u64>,
}

impl PastAnswer {
    /// The newest roster that a verifier must know.
    pub fn newest_roster(&self) -> RosterId {
        newest_roster(&self.head, &self.statements)
    }
}

/// Verifies `answer` to `request` about `moment`, and decides.
///
/// # Errors
/// Each way in which an answer can fail has its own. None of them is a denial.
pub fn verify_past(
    trust: &Trust,
    request: &Request,
    moment: Moment,
    answer: &PastAnswer,
) -> Result<VerifiedPast, ProofError> {
    let PastAnswer { head, statements, head_statements, .. } = answer;
    check_head(trust, head)?;
    let freshness = verify_head_proof(trust, None, head, statements, head_statements)?;
    let reached = match moment {
        Moment::Block(block) => block <= head.block,
        Moment::Time(time_ms) => time_ms <= freshness.clock_min_ms,
    };
    if !reached {
        return Err(PastFault::NotReached.into());
    }
    let state = state_in(head, &answer.state)?;
    if is_after(&state, moment) {
        return Err(PastFault::TooLate(state.block).into());
    }
    let is_last = match &answer.next {
        // Every STATE leaf names the one before it: there is none between these two.
        Some(next) => {
            let next = state_in(head, next)?;
            next.previous == Some(state.index) && is_after(&next, moment)
        }
        // Every block that has leaves ends with a STATE leaf, and so does the log.
        None => state.index.checked_add(1) == Some(head.log_size),
    };
    if !is_last {
        return Err(PastFault::NotTheLast(state.block).into());
    }
    let time_ms = match moment {
        Moment::Block(_) => state.time_ms,
        Moment::Time(time_ms) => time_ms,
    };
    let interval = Interval { low_ms: time_ms, high_ms: time_ms };
    let shown = ReadSet { tree: &answer.tree, hint: answer.hint, language: &answer.language };
    let (decision, recorded) = shown.decide(state.root, request, interval)?;
    Ok(VerifiedPast {
        decision,
        block: state.block,
        block_time_ms: state.time_ms,
        state_root: state.root,
        time_ms,
        head: *head,
        freshness,
        nodes: statements.iter().map(|statement| statement.node).collect(),
        recorded,
    })
}

fn state_in(head: &Head, leaf: &Leaf) -> Result<State, ProofError> {
    let index = leaf.index;
    match leaf.verify(head)? {
        Entry::State { rules_version, .. } if rules_version != RULES_VERSION => {
            Err(ProofError::UnknownRules(rules_version))
        }
        Entry::State { block, time_ms, state_root: root, previous, .. } => {
            Ok(State { index, block, time_ms, root, previous })
        }
        Entry::Command { .. } => Err(PastFault::NotAState(index).into()),
    }
}

const fn is_after(state: &State, moment: Moment) -> bool {
    match moment {
        Moment::Block(block) => state.block > block,
        Moment::Time(time_ms) => state.time_ms > time_ms,
    }
}
