//! `decide`: may this agent do this, now?
//!
//! One function for the node that answers, the client that believes no verdict and runs it again over the
//! proof alone, and the auditor years later. What it reads through its [`View`] is exactly what a proof must
//! contain.

mod explain;
mod links;

pub use explain::{Considered, Explanation, Link, explain};

use crate::authority::{
    AgentRecord, Allowance, Cause, Chain, GrantRecord, GrantRef, PAGE_GRANTS_MAX, Place, View, ViewError,
    Void, record, referred,
};
use crate::command::{Identifier, Name, Template, Terms};
use crate::condition::{Call, ConditionFault, Unreadable};
use crate::hash::Hash;
use crate::knowledge::Knowledge;
use crate::state::{Key, NodeRead, Recording, TreeError, Value};
use links::judged;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who would act.
    pub agent: Name,
    /// What it would do.
    pub action: Name,
    /// On what.
    pub resource: Name,
    /// SHA-256 of the call's arguments; the permit is bound to it.
    pub args_digest: Hash,
    /// The arguments themselves, as canonical JSON of at most 4 KiB that hashes to the digest. What reads an
    /// argument (a condition, a sum, the name of a required source) denies where they are not shown.
    pub args: Option<Vec<u8>>,
    /// What the agent had in front of it, with what is shown of it.
    pub knowledge: Option<Knowledge>,
    /// The grant to try first: a permit then needs to show only that one's chain.
    pub hint: Option<GrantRef>,
}

/// When: the ledger's time and the clocks of the quorum leave an interval, and the answer must hold in all
/// of it. Milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    /// Earliest: a grant must have begun by then.
    pub low_ms: u64,
    /// Latest: a grant must not have ended by then.
    pub high_ms: u64,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may.
    Permit(Authority),
    /// It may not.
    Denied(Denial),
}

/// What a permit rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    /// The agent's grant, then its ancestors up to the root.
    pub chain: Vec<GrantRef>,
    /// The agent's generation.
    pub generation: u64,
    /// How old the answer may be when the agent acts, in milliseconds: the strictest of the chain.
    pub max_staleness_ms: u64,
    /// When the chain's first grant ends, in ledger time.
    pub not_after_ms: u64,
    /// What is left of the chain's bounds, from the agent's grant up. If there is any, a mere check is no
    /// permit: only a recorded decision spends.
    pub bounds: Vec<Allowance>,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denial {
    /// No agent of that name was ever registered.
    UnknownAgent,
    /// The agent, or one that delegated to it, was retired.
    Retired {
        /// Which.
        agent: Name,
        /// By which command.
        cause: Cause,
    },
    /// A grant that would allow it was revoked, or one that it was delegated from.
    Revoked {
        /// The revoked grant.
        grant: GrantRef,
        /// By which command.
        cause: Cause,
    },
    /// Everything that the agent held was revoked, or all that one held that delegated to it.
    AllRevoked {
        /// Whose.
        agent: Name,
        /// By which command.
        cause: Cause,
    },
    /// Too little is left of a bound.
    BoundExhausted {
        /// The grant that has the bound.
        grant: GrantRef,
        /// The bound's name.
        name: Identifier,
        /// How much there may be of it.
        limit: u64,
        /// What is spent.
        used: u64,
        /// What the request would spend; none if the argument that the bound adds up is not shown, or is no
        /// whole number of at least 0.
        wanted: Option<u64>,
    },
    /// A source that a grant requires is not among what is shown of the request's knowledge, or too old.
    KnowledgeMissing {
        /// The grant that requires it.
        grant: GrantRef,
        /// The source, as the grant names it.
        template: Template,
        /// The source for this request; none if an argument that names it is not shown, or names none.
        source: Option<Name>,
        /// How old it may be, in milliseconds.
        max_age_ms: u64,
        /// When the newest that is shown was retrieved, in ledger time.
        retrieved_at_ms: Option<u64>,
    },
    /// A grant that would allow it has ended.
    Ended {
        /// The chain's end, in ledger time.
        not_after_ms: u64,
    },
    /// A grant that would allow it has not begun.
    NotBegun {
        /// The chain's beginning, in ledger time.
        not_before_ms: u64,
    },
    /// A condition of a grant that would allow it does not hold, or one of a grant that it was delegated from.
    ConditionFailed {
        /// Whose condition.
        grant: GrantRef,
        /// Why it does not hold.
        reason: ConditionFault,
    },
    /// None of the agent's grants allows it.
    NoGrant,
}

impl Denial {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownAgent => "unknown_agent",
            Self::Retired { .. } => "retired",
            Self::Revoked { .. } => "revoked",
            Self::AllRevoked { .. } => "all_revoked",
            Self::BoundExhausted { .. } => "bound_exhausted",
            Self::KnowledgeMissing { .. } => "knowledge_missing",
            Self::Ended { .. } => "ended",
            Self::NotBegun { .. } => "not_begun",
            Self::ConditionFailed { .. } => "condition_failed",
            Self::NoGrant => "no_grant",
        }
    }

    /// The command that brought it about, if one did.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Retired { cause, .. } | Self::Revoked { cause, .. } | Self::AllRevoked { cause, .. } => {
                Some(cause)
            }
            _ => None,
        }
    }

    /// Which of several reasons is told: what somebody did before what merely is; the latest of its kind.
    fn rank(&self) -> (u8, u64) {
        let index = self.cause().map_or(0, |cause| cause.index);
        match self {
            // Told before any grant is looked at.
            Self::UnknownAgent => (13, 0),
            Self::Revoked { .. } => (11, index),
            Self::Retired { .. } => (10, index),
            Self::AllRevoked { .. } => (9, index),
            Self::BoundExhausted { .. } => (8, 0),
            Self::KnowledgeMissing { .. } => (7, 0),
            Self::ConditionFailed { .. } => (6, 0),
            Self::Ended { not_after_ms } => (5, *not_after_ms),
            Self::NotBegun { not_before_ms } => (4, u64::MAX - not_before_ms),
            Self::NoGrant => (1, 0),
        }
    }
}

/// Decides `request` over what `view` holds.
///
/// A permit shows one chain in force. A denial shows all that the agent was granted in its epoch: every page
/// of its list and every grant on it, with its chain as far as it could matter.
///
/// # Errors
/// The view cannot tell, or holds records that contradict one another: then there is no answer, and no
/// permit.
pub fn decide<V: View>(
    view: &V,
    request: &Request,
    interval: Interval,
) -> Result<Decision, ViewError<V::Error>> {
    let Some(agent) = record::<_, AgentRecord>(view, &Place::agent(&request.agent))? else {
        return Ok(Decision::Denied(Denial::UnknownAgent));
    };
    if let Some(cause) = agent.retired {
        return Ok(Decision::Denied(Denial::Retired { agent: request.agent.clone(), cause }));
    }
    let asked = Asked::new(request, interval, &agent)?;
    if let Some(hint) = request.hint
        && let Some(grant) = record::<_, GrantRecord>(view, &Place::grant(hint))?
        && let Ok(authority) = consider(view, &asked, hint, grant)?
    {
        return Ok(Decision::Permit(authority));
    }
    let mut told = match agent.epoch_began {
        Some(cause) => Denial::AllRevoked { agent: request.agent.clone(), cause },
        None => Denial::NoGrant,
    };
    let mut listed: u32 = 0;
    for number in 0..agent.pages {
        let page: Vec<GrantRef> = referred(view, &Place::page(&request.agent, agent.epoch, number))?;
        for reference in page {
            listed = listed.saturating_add(1);
            let grant = referred(view, &Place::grant(reference))?;
            match consider(view, &asked, reference, grant)? {
                Ok(authority) => return Ok(Decision::Permit(authority)),
                Err(denial) if denial.rank() > told.rank() => told = denial,
                Err(_) => {}
            }
        }
    }
    // Every grant was seen: a list that is shorter than the record says would hide one.
    let complete = listed == agent.grants && agent.pages as usize * PAGE_GRANTS_MAX >= listed as usize;
    if complete { Ok(Decision::Denied(told)) } else { Err(ViewError::Dangling("page")) }
}

/// The question, as each grant is held against it.
struct Asked<'a> {
    request: &'a Request,
    call: Call,
    interval: Interval,
    agent: &'a AgentRecord,
}

impl<'a> Asked<'a> {
    fn new(request: &'a Request, interval: Interval, agent: &'a AgentRecord) -> Result<Self, Unreadable> {
        let names = [&request.agent, &request.action, &request.resource];
        let call = Call::new(names, request.args_digest, request.args.as_deref())?;
        Ok(Self { request, call, interval, agent })
    }

    /// Whether the terms are about the question at all.
    fn is_named_by(&self, terms: &Terms) -> bool {
        terms.agent == self.request.agent
            && terms.actions.matches(&self.request.action)
            && terms.resources.matches(&self.request.resource)
    }
}

/// Whether one grant allows the request; if not, why.
fn consider<V: View>(
    view: &V,
    asked: &Asked<'_>,
    reference: GrantRef,
    grant: GrantRecord,
) -> Result<Result<Authority, Denial>, ViewError<V::Error>> {
    let Asked { request, interval, agent, .. } = asked;
    if !asked.is_named_by(&grant.terms) {
        return Ok(Err(Denial::NoGrant));
    }
    let chain = Chain::read(view, reference, grant)?;
    // A delegation only narrows, and `apply` saw to it; the ancestors are asked again all the same.
    let allowed = chain.links.iter().all(|(_, link)| {
        link.terms.actions.matches(&request.action) && link.terms.resources.matches(&request.resource)
    });
    if !allowed {
        return Ok(Err(Denial::NoGrant));
    }
    if let Some(void) = chain.void(view)? {
        return Ok(Err(match void {
            Void::Revoked { grant, cause } => Denial::Revoked { grant, cause },
            Void::Retired { agent, cause } => Denial::Retired { agent, cause },
            Void::AllRevoked { agent, cause: Some(cause) } => Denial::AllRevoked { agent, cause },
            Void::AllRevoked { cause: None, .. } => return Err(ViewError::Dangling("agent")),
        }));
    }
    if interval.high_ms >= chain.not_after_ms() {
        return Ok(Err(Denial::Ended { not_after_ms: chain.not_after_ms() }));
    }
    if chain.not_before_ms() > interval.low_ms {
        return Ok(Err(Denial::NotBegun { not_before_ms: chain.not_before_ms() }));
    }
    let bounds = match judged(view, asked, &chain)? {
        Ok(bounds) => bounds,
        Err(denial) => return Ok(Err(denial)),
    };
    Ok(Ok(Authority {
        chain: chain.links.iter().map(|(reference, _)| *reference).collect(),
        generation: agent.generation,
        max_staleness_ms: chain.max_staleness_ms(),
        not_after_ms: chain.not_after_ms(),
        bounds,
    }))
}

/// The whole state, remembering what was read.
impl<N: NodeRead> View for Recording<'_, N> {
    type Error = TreeError<N::Error>;

    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        self.get(key)
    }
}

/// A proof: what it does not show is an error, never an absence.
impl View for crate::state::PrunedView<'_> {
    type Error = crate::state::PrunedReadError;

    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        self.get(key)
    }
}
