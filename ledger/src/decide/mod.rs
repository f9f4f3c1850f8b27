//! `decide`: may this agent do this, now?
//!
//! One function for the node that answers, the client that believes no verdict and runs it again over the
//! proof alone, and the auditor years later. What it reads through its [`View`] is exactly what a proof must
//! contain.

mod lineages;
mod staleness;

pub use staleness::staleness_after;

use crate::authority::{
    AgentRecord, Cause, Chain, GenerationRef, GrantRecord, GrantRef, HaltRecord, HaltsRecord, LineageRecord,
    PAGE_GRANTS_MAX, Place, View, ViewError, Void, halts_in_force, record, referred,
};
use crate::command::{GenerationId, HaltScope, Name};
use crate::hash::Hash;
use crate::state::{Key, NodeRead, Recording, TreeError, Value};

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
    /// The generation that the agent runs as; the permit is bound to it.
    pub generation: Option<GenerationId>,
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
    /// The generation that may act; none if the agent's lineage has none.
    pub generation: Option<GenerationRef>,
    /// How old the answer may be when the agent acts, in milliseconds: the strictest of the chain.
    pub max_staleness_ms: u64,
    /// When the chain's first grant ends, in ledger time.
    pub not_after_ms: u64,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denial {
    /// It is halted: the call itself, or a grant that would allow it, or who delegated that.
    Halted {
        /// What was halted.
        scope: HaltScope,
        /// Why, for people.
        reason: String,
        /// By which command.
        cause: Cause,
    },
    /// No agent of that name was ever registered.
    UnknownAgent,
    /// The agent, or one that delegated to it, was retired.
    Retired {
        /// Which.
        agent: Name,
        /// By which command.
        cause: Cause,
    },
    /// The agent's lineage has generations, and the request names none of them; or it has none, and the request
    /// names one.
    UnregisteredGeneration {
        /// The lineage.
        lineage: Name,
    },
    /// The generation was in service, and is not any more.
    SupersededGeneration {
        /// The lineage.
        lineage: Name,
        /// The generation's number.
        number: u64,
        /// What last changed which generations are in service.
        cause: Cause,
    },
    /// The generation was not released yet.
    QuarantinedGeneration {
        /// The lineage.
        lineage: Name,
        /// The generation's number.
        number: u64,
        /// What registered it.
        cause: Cause,
    },
    /// The constraints of the agent's lineage do not allow it, or of the lineage of one that delegated to it.
    LineageConstraint {
        /// The lineage.
        lineage: Name,
        /// What they do not allow: the action or the resource.
        outside: &'static str,
        /// What set them.
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
    /// None of the agent's grants allows it.
    NoGrant,
}

impl Denial {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Halted { .. } => "halted",
            Self::UnknownAgent => "unknown_agent",
            Self::UnregisteredGeneration { .. } => "unregistered_generation",
            Self::SupersededGeneration { .. } => "superseded_generation",
            Self::QuarantinedGeneration { .. } => "quarantined_generation",
            Self::LineageConstraint { .. } => "lineage_constraint",
            Self::Retired { .. } => "retired",
            Self::Revoked { .. } => "revoked",
            Self::AllRevoked { .. } => "all_revoked",
            Self::Ended { .. } => "ended",
            Self::NotBegun { .. } => "not_begun",
            Self::NoGrant => "no_grant",
        }
    }

    /// The command that brought it about, if one did.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Halted { cause, .. }
            | Self::Retired { cause, .. }
            | Self::SupersededGeneration { cause, .. }
            | Self::QuarantinedGeneration { cause, .. }
            | Self::LineageConstraint { cause, .. }
            | Self::Revoked { cause, .. }
            | Self::AllRevoked { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Which of several reasons is told: what somebody did before what merely is; the latest of its kind.
    fn rank(&self) -> (u8, u64) {
        let index = self.cause().map_or(0, |cause| cause.index);
        match self {
            Self::Halted { .. } => (12, index),
            Self::Revoked { .. } => (11, index),
            Self::Retired { .. } => (10, index),
            Self::AllRevoked { .. } => (9, index),
            Self::Ended { not_after_ms } => (5, *not_after_ms),
            Self::NotBegun { not_before_ms } => (4, u64::MAX - not_before_ms),
            Self::LineageConstraint { .. } => (3, index),
            // Told at once: no grant is looked at.
            Self::UnknownAgent
            | Self::UnregisteredGeneration { .. }
            | Self::SupersededGeneration { .. }
            | Self::QuarantinedGeneration { .. } => (2, 0),
            Self::NoGrant => (1, 0),
        }
    }
}

/// Decides `request` over what `view` holds.
///
/// Every decision shows the halts in force; what is halted whatever was granted is denied by them alone. A
/// permit shows one chain in force. Any other denial shows all that the agent was granted in its epoch: every page
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
    let halts = halts_in_force(view)?;
    let agent = record::<_, AgentRecord>(view, &Place::agent(&request.agent))?;
    let lineage = agent.as_ref().map_or(&request.agent, |agent| &agent.lineage);
    if let Some(index) = halts.of_request(request, lineage) {
        return Ok(Decision::Denied(halted(view, index)?));
    }
    let Some(agent) = agent else {
        return Ok(Decision::Denied(Denial::UnknownAgent));
    };
    if let Some(cause) = agent.retired {
        return Ok(Decision::Denied(Denial::Retired { agent: request.agent.clone(), cause }));
    }
    let known: Option<LineageRecord> = record(view, &Place::lineage(&agent.lineage))?;
    let generation = match lineages::standing(view, request, &agent.lineage, known.as_ref())? {
        Ok(generation) => generation,
        Err(denial) => return Ok(Decision::Denied(denial)),
    };
    if let Some(denial) = lineages::constrained::<V>(request, &agent.lineage, known.as_ref())? {
        return Ok(Decision::Denied(denial));
    }
    let standing = Standing { halts: &halts, lineage: known.as_ref(), generation };
    if let Some(hint) = request.hint
        && let Some(grant) = record::<_, GrantRecord>(view, &Place::grant(hint))?
        && let Ok(authority) = consider(view, request, interval, &standing, hint, grant)?
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
            match consider(view, request, interval, &standing, reference, grant)? {
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

/// What holds for the request whatever grant is looked at.
struct Standing<'a> {
    halts: &'a HaltsRecord,
    lineage: Option<&'a LineageRecord>,
    generation: Option<GenerationRef>,
}

/// Whether one grant allows the request; if not, why.
fn consider<V: View>(
    view: &V,
    request: &Request,
    interval: Interval,
    standing: &Standing<'_>,
    reference: GrantRef,
    grant: GrantRecord,
) -> Result<Result<Authority, Denial>, ViewError<V::Error>> {
    let terms = &grant.terms;
    let allows = terms.agent == request.agent
        && terms.actions.matches(&request.action)
        && terms.resources.matches(&request.resource);
    if !allows {
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
    if let Some(index) = standing.halts.of_chain(view, &chain)? {
        return Ok(Err(halted(view, index)?));
    }
    let mut max_staleness_ms = lineages::staleness_ms(chain.max_staleness_ms(), standing.lineage);
    // What an agent may not do itself, it cannot have another do for it.
    for (_, link) in chain.links.iter().skip(1) {
        let (lineage, known) = lineages::lineage_of(view, &link.terms.agent)?;
        if let Some(denial) = lineages::constrained::<V>(request, &lineage, known.as_ref())? {
            return Ok(Err(denial));
        }
        max_staleness_ms = lineages::staleness_ms(max_staleness_ms, known.as_ref());
    }
    Ok(Ok(Authority {
        chain: chain.links.iter().map(|(reference, _)| *reference).collect(),
        generation: standing.generation,
        max_staleness_ms,
        not_after_ms: chain.not_after_ms(),
    }))
}

/// The denial by the halt at `index`, which is in force.
fn halted<V: View>(view: &V, index: u64) -> Result<Denial, ViewError<V::Error>> {
    let HaltRecord { scope, reason, cause, .. } = referred(view, &Place::halt(index))?;
    Ok(Denial::Halted { scope, reason, cause })
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
