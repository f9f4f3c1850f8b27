//! Answers: a check's decision with everything that proves it.
//!
//! An [`Answer`] carries no verdict. [`verify`] establishes which state was decided from (a quorum signed its
//! head), that nothing later was acknowledged before the nonce was made (a quorum of fresh statements over
//! it), and then runs [`decide`](crate::decide::decide()) itself, over the pruned tree alone.

mod wire;

pub use wire::{AnswerError, decode_answer};

use std::collections::BTreeSet;

use crate::authority::{AgentRecord, GrantRef, Place, RULES_VERSION, ViewError, record};
use crate::condition::LANGUAGE_VERSION;
use crate::decide::{Decision, Interval, Request, decide};
use crate::hash::Hash;
use crate::head::{Freshness, Head, QuorumError, RosterId, Statement, verify_fresh};
use crate::knowledge::Knowledge;
use crate::log::{VerifyError, nonces::NoncePath};
use crate::state::{PrunedReadError, PrunedTree, PrunedView, UnusedError};
use crate::trust::{Trust, TrustError};

/// A client's own 32 random bytes, made for one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; 32]);

impl Nonce {
    /// What stands in the round's tree: the nonce bound to the question, so that no answer can later be passed
    /// off as one to another question.
    ///
    /// `SHA-256("chancery/question/v1" ‖ 00 ‖ nonce ‖ argument digest ‖ knowledge root ‖ agent ‖ action ‖
    /// resource)`; without knowledge its root is zero, and each name stands after its length in two bytes.
    pub fn question(&self, request: &Request) -> [u8; 32] {
        let mut names = Vec::with_capacity(128);
        for name in [&request.agent, &request.action, &request.resource] {
            // INVARIANT: a name has at most 256 bytes, so its length fits two.
            let [.., high, low] = name.as_str().len().to_be_bytes();
            names.extend([high, low]);
            names.extend_from_slice(name.as_str().as_bytes());
        }
        let knowledge = request.knowledge.as_ref().map_or(Hash::ZERO, Knowledge::root);
        let parts: [&[u8]; 4] = [&self.0, request.args_digest.as_bytes(), knowledge.as_bytes(), &names];
        Hash::labelled("chancery/question/v1", &parts).0
    }
}

/// What proves one check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The state that was decided from.
    pub head: Head,
    /// A quorum's fresh statements over the round's nonce root, sorted by node.
    pub statements: Vec<Statement>,
    /// Further signatures on `head`, sorted by node.
    pub head_statements: Vec<Statement>,
    /// From [`Nonce::question`] to the round's root.
    pub nonce_path: NoncePath,
    /// The read set.
    pub tree: PrunedTree,
    /// The grant that a permit rests on, so that it shows no other. A denial has none.
    pub hint: Option<GrantRef>,
    /// Version of the Cedar language that conditions were decided in; a verifier decides in that one or not at
    /// all.
    pub language: String,
}

/// Why an answer proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The head is of another ledger, older than what is known, or of an unknown roster.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The state follows rules that this program does not have.
    #[error("rules version {0} is unknown to this program")]
    UnknownRules(u32),
    /// Conditions were decided in another language than this program's.
    #[error("conditions were decided in Cedar {0:?}, this program has {LANGUAGE_VERSION}")]
    OtherLanguage(String),
    /// The nonce path is not one.
    #[error("nonce path: {0}")]
    NoncePath(#[from] VerifyError),
    /// The fresh statements do not prove freshness.
    #[error("freshness: {0}")]
    Freshness(#[source] QuorumError),
    /// The head is not signed by a quorum.
    #[error("head: {0}")]
    Head(#[source] QuorumError),
    /// The read set is of another state than the head's.
    #[error("the read set's root is {found}, the head's state root {expected}")]
    StateRoot {
        /// Root of the pruned tree.
        found: Hash,
        /// What the quorum signed.
        expected: Hash,
    },
    /// The decision needs something that the read set does not show, or that contradicts itself.
    #[error("the read set does not decide: {0}")]
    Undecided(#[from] ViewError<PrunedReadError>),
    /// The read set shows something that the decision did not use.
    #[error("the read set: {0}")]
    Unused(#[from] UnusedError),
    /// The answer has a hint, and the decision does not rest on it.
    #[error("the hint is not the grant that the decision rests on")]
    UnusedHint,
}

/// A check, proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The decision, as this program made it.
    pub decision: Decision,
    /// The state that it was made from.
    pub head: Head,
    /// The clocks of the quorum.
    pub freshness: Freshness,
    /// The interval in which it holds.
    pub interval: Interval,
    /// The nodes whose fresh statements counted.
    pub nodes: Vec<u64>,
    /// What was recorded of the agent by then; none if it is unknown. The same at two heads: no decision of it
    /// was recorded in between.
    pub recorded: Option<Recorded>,
}

/// How many decisions of an agent were ever recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Permits and denials.
    pub decisions: u64,
    /// The permits among them.
    pub permits: u64,
}

impl Answer {
    /// The one roster that the fresh statements must name: the first one's.
    fn named_roster(&self) -> Option<RosterId> {
        self.statements.iter().find_map(|statement| statement.fresh).map(|fresh| fresh.tail_roster)
    }

    /// The newest roster that a verifier must know.
    pub fn newest_roster(&self) -> RosterId {
        let named = self.named_roster().filter(|named| named.block > self.head.roster.block);
        named.unwrap_or(self.head.roster)
    }

    /// The interval that the statements' clocks and the head leave. The server cannot choose the time: these
    /// are signed by a quorum.
    fn interval(&self, freshness: Freshness) -> Interval {
        Interval {
            low_ms: self.head.time_ms.max(freshness.clock_min_ms),
            high_ms: self.head.time_ms.max(freshness.clock_max_ms),
        }
    }
}

/// Verifies `answer` to `request` under `nonce`, and decides.
///
/// # Errors
/// Each way in which an answer can fail has its own. None of them is a denial: a denial is proven too.
pub fn verify(
    trust: &Trust,
    request: &Request,
    nonce: Nonce,
    answer: &Answer,
) -> Result<Verified, ProofError> {
    let head = &answer.head;
    trust.check_head(head)?;
    if head.rules_version != RULES_VERSION {
        return Err(ProofError::UnknownRules(head.rules_version));
    }
    if answer.language != LANGUAGE_VERSION {
        return Err(ProofError::OtherLanguage(answer.language.clone()));
    }
    let nonce_root = answer.nonce_path.root(&nonce.question(request))?;
    // Exactly one roster: the first statement's, which the trust must know, and all others must name.
    let named = answer.named_roster().ok_or(ProofError::Freshness(QuorumError::TooFew(0)))?;
    let roster = trust.fresh_roster(named)?;
    if head.block < named.block {
        return Err(TrustError::UnknownRoster(named).into());
    }
    let freshness = verify_fresh(head.ledger, roster, named, nonce_root, head, &answer.statements)
        .map_err(ProofError::Freshness)?;
    // The head's signatures count under the roster in force at its block; a roster block's under two.
    let with_head = answer.statements.iter().filter(|statement| statement.head == *head);
    let signatures: Vec<Statement> = with_head.chain(&answer.head_statements).copied().collect();
    trust.voters_of(head)?.verify(head, &signatures).map_err(ProofError::Head)?;

    let (found, expected) = (answer.tree.root_hash(), head.state_root);
    if found != expected {
        return Err(ProofError::StateRoot { found, expected });
    }
    let view = PrunedView::new(&answer.tree);
    let interval = answer.interval(freshness);
    let request = Request { hint: answer.hint, ..request.clone() };
    let decision = decide(&view, &request, interval)?;
    // `decide` read it too, whatever it decided.
    let agent: Option<AgentRecord> = record(&view, &Place::agent(&request.agent))?;
    let recorded = agent.map(|agent| Recorded { decisions: agent.decisions, permits: agent.permits });
    view.finish()?;
    let rests_on = match &decision {
        Decision::Permit(authority) => authority.chain.first(),
        Decision::Denied(_) => None,
    };
    if answer.hint.is_some() && answer.hint.as_ref() != rests_on {
        return Err(ProofError::UnusedHint);
    }
    let nodes: BTreeSet<u64> = answer.statements.iter().map(|statement| statement.node).collect();
    let nodes = nodes.into_iter().collect();
    Ok(Verified { decision, head: *head, freshness, interval, nodes, recorded })
}
