//! Answers: a check's decision with everything that proves it.
//!
//! An [`Answer`] carries no verdict. [`verify`] establishes which state was decided from (a quorum signed its
//! head), that nothing later was acknowledged before the nonce was made (a quorum of fresh statements over
//! it), and then runs [`decide`](crate::decide::decide()) itself, over the pruned tree alone.
//!
//! [`verify_recent`] does the same without a nonce of the client's own: how new the state is, the nodes' clocks
//! say. [`verify_past`] decides over an earlier state, which says nothing of now.

mod head_proof;
mod past;
mod wire;

pub use head_proof::HeadProof;
pub use past::{Moment, PastAnswer, PastFault, VerifiedPast, verify_past};
pub use wire::{
    AnswerError, decode_answer, decode_answer_around, decode_answer_beside, decode_past_answer,
    encode_answer_around,
};

use head_proof::{newest_roster, verify_head_proof};

use crate::authority::{GrantRef, LeafError, ViewError};
use crate::condition::LANGUAGE_VERSION;
use crate::decide::{Decision, Interval, Request, decide_with};
use crate::hash::Hash;
use crate::head::{Freshness, Head, QuorumError, RosterId, Statement};
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
    /// `SHA-256("chancery/question/v1" ‖ 00 ‖ nonce ‖ argument digest ‖ generation ‖ knowledge root ‖ agent ‖ action ‖
    /// resource)`: 32 zero bytes each without a generation or knowledge, each name after its length in two bytes.
    pub fn question(&self, request: &Request) -> [u8; 32] {
        let mut names = Vec::with_capacity(128);
        for name in [&request.agent, &request.action, &request.resource] {
            // INVARIANT: a name has at most 256 bytes, so its length fits two.
            let [.., high, low] = name.as_str().len().to_be_bytes();
            names.extend([high, low]);
            names.extend_from_slice(name.as_str().as_bytes());
        }
        let generation = request.generation.map_or(Hash::ZERO, |id| id.0);
        let knowledge = request.knowledge.as_ref().map_or(Hash::ZERO, Knowledge::root);
        let hashes = [request.args_digest, generation, knowledge];
        let [args_digest, generation, knowledge] = hashes.each_ref().map(|hash| hash.as_bytes().as_slice());
        let parts = [&self.0, args_digest, generation, knowledge, names.as_slice()];
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
    /// From [`Nonce::question`] to the round's root; none if the check was not under a nonce.
    pub nonce_path: Option<NoncePath>,
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
    /// There is no nonce path, and one is needed; or there is one, and nothing for it to show.
    #[error("the answer has a nonce path, or none, where it must be otherwise")]
    OtherMode,
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
    /// A leaf is not in the head's log.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The leaves do not show which state was the one that was asked about.
    #[error(transparent)]
    Past(#[from] PastFault),
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
    /// The newest roster that a verifier must know.
    pub fn newest_roster(&self) -> RosterId {
        newest_roster(&self.head, &self.statements)
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
    head_proof::check_head(trust, &answer.head)?;
    let path = answer.nonce_path.as_ref().ok_or(ProofError::OtherMode)?;
    let nonce_root = path.root(&nonce.question(request))?;
    decide_now(trust, request, Some(nonce_root), answer)
}

/// Verifies `answer` to `request`, which was not asked under a nonce, and decides. Nothing is missing that was
/// acknowledged before [`Freshness::clock_min_ms`] less the clocks' bound. Whether that is recent enough is for
/// the caller to say, by its own clock.
///
/// # Errors
/// As [`verify`].
pub fn verify_recent(trust: &Trust, request: &Request, answer: &Answer) -> Result<Verified, ProofError> {
    head_proof::check_head(trust, &answer.head)?;
    if answer.nonce_path.is_some() {
        return Err(ProofError::OtherMode);
    }
    decide_now(trust, request, None, answer)
}

fn decide_now(
    trust: &Trust,
    request: &Request,
    nonce_root: Option<Hash>,
    answer: &Answer,
) -> Result<Verified, ProofError> {
    let Answer { head, statements, head_statements, .. } = answer;
    let freshness = verify_head_proof(trust, nonce_root, head, statements, head_statements)?;
    // The server cannot choose the time: the clocks and the head are signed by a quorum.
    let interval = Interval {
        low_ms: head.time_ms.max(freshness.clock_min_ms),
        high_ms: head.time_ms.max(freshness.clock_max_ms),
    };
    let shown = ReadSet { tree: &answer.tree, hint: answer.hint, language: &answer.language };
    let (decision, recorded) = shown.decide(head.state_root, request, interval)?;
    let nodes = statements.iter().map(|statement| statement.node).collect();
    Ok(Verified { decision, head: *head, freshness, interval, nodes, recorded })
}

/// What an answer shows of a state.
struct ReadSet<'a> {
    tree: &'a PrunedTree,
    hint: Option<GrantRef>,
    language: &'a str,
}

impl ReadSet<'_> {
    /// Decides over the tree alone, which must be of the state `expected`, and must show what is needed and no
    /// more.
    fn decide(
        &self,
        expected: Hash,
        request: &Request,
        interval: Interval,
    ) -> Result<(Decision, Option<Recorded>), ProofError> {
        let ReadSet { tree, hint, language } = *self;
        if language != LANGUAGE_VERSION {
            return Err(ProofError::OtherLanguage(language.into()));
        }
        let found = tree.root_hash();
        if found != expected {
            return Err(ProofError::StateRoot { found, expected });
        }
        let view = PrunedView::new(tree);
        let (decision, agent) = decide_with(&view, request, hint, interval)?;
        let recorded = agent.map(|agent| Recorded { decisions: agent.decisions, permits: agent.permits });
        view.finish()?;
        let rests_on = match &decision {
            Decision::Permit(authority) => authority.chain.first(),
            Decision::Denied(_) => None,
        };
        if hint.is_some() && hint.as_ref() != rests_on {
            return Err(ProofError::UnusedHint);
        }
        Ok((decision, recorded))
    }
}
