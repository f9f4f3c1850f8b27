//! `decide`: may this agent do this, now?
//!
//! One function for the node that answers, the client that believes no verdict and runs it again over the
//! proof alone, and the auditor years later. What it reads through its [`View`] is exactly what a proof must
//! contain.

mod candidates;
mod denial;
mod explain;
mod lineages;
mod links;
mod recorded;
mod staleness;

pub use candidates::Candidates;
pub use denial::Denial;
pub use explain::{Considered, Explanation, Link, Measured, Required, explain};
pub use staleness::staleness_after;

use crate::authority::{
    AgentRecord, Allowance, Chain, GenerationRef, GrantRecord, GrantRef, HaltRecord, HaltsRecord,
    LineageRecord, PAGE_GRANTS_MAX, Place, View, ViewError, Void, halts_in_force, record, referred,
};
use crate::command::{GenerationId, Name, Terms};
use crate::condition::Call;
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
    /// The generation that the agent runs as; the permit is bound to it.
    pub generation: Option<GenerationId>,
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

impl Decision {
    /// Why not, if not.
    pub const fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Permit(_) => None,
            Self::Denied(denial) => Some(denial),
        }
    }
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
    /// What is left of the chain's bounds, from the agent's grant up. If there is any, a mere check is no
    /// permit: only a recorded decision spends.
    pub bounds: Vec<Allowance>,
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
    decide_with(view, request, request.hint, interval).map(|(decision, _)| decision)
}

/// [`decide`] with another hint than the request's, or none; and what is recorded of the agent, which every decision reads.
///
/// # Errors
/// As [`decide`].
pub fn decide_with<V: View>(
    view: &V,
    request: &Request,
    hint: Option<GrantRef>,
    interval: Interval,
) -> Result<(Decision, Option<AgentRecord>), ViewError<V::Error>> {
    let agent = record(view, &Place::agent(&request.agent))?;
    let decision = match Asked::read(view, request, agent.as_ref(), interval)? {
        Ok(asked) => asked.decide(view, hint)?,
        Err(denial) => Decision::Denied(denial),
    };
    Ok((decision, agent))
}

/// The question, with what holds for it whatever grant is looked at.
struct Asked<'a> {
    request: &'a Request,
    call: Call<'a>,
    interval: Interval,
    agent: &'a AgentRecord,
    halts: HaltsRecord,
    lineage: Option<LineageRecord>,
    generation: Option<GenerationRef>,
}

impl<'a> Asked<'a> {
    /// Reads what holds for the request, or why it is denied whatever was granted.
    fn read<V: View>(
        view: &V,
        request: &'a Request,
        agent: Option<&'a AgentRecord>,
        interval: Interval,
    ) -> Result<Result<Self, Denial>, ViewError<V::Error>> {
        let halts = halts_in_force(view)?;
        let lineage = agent.map_or(&request.agent, |agent| &agent.lineage);
        if let Some(index) = halts.of_request(request, lineage) {
            return Ok(Err(halted(view, index)?));
        }
        let Some(agent) = agent else {
            return Ok(Err(Denial::UnknownAgent));
        };
        if let Some(cause) = agent.retired {
            return Ok(Err(Denial::Retired { agent: request.agent.clone(), cause }));
        }
        let lineage: Option<LineageRecord> = record(view, &Place::lineage(&agent.lineage))?;
        let generation = match lineages::standing(view, request, &agent.lineage, lineage.as_ref())? {
            Ok(generation) => generation,
            Err(denial) => return Ok(Err(denial)),
        };
        if let Some(denial) = lineages::constrained::<V>(request, &agent.lineage, lineage.as_ref())? {
            return Ok(Err(denial));
        }
        let names = [&request.agent, &request.action, &request.resource];
        let call = Call::new(names, request.args_digest, request.args.as_deref());
        Ok(Ok(Self { request, call, interval, agent, halts, lineage, generation }))
    }

    /// Asks the grant that is hinted at, then every one that the agent was granted.
    fn decide<V: View>(&self, view: &V, hint: Option<GrantRef>) -> Result<Decision, ViewError<V::Error>> {
        if let Some(hint) = hint
            && let Some(grant) = record::<_, GrantRecord>(view, &Place::grant(hint))?
            && let Ok(authority) = consider(view, self, hint, grant)?
        {
            return Ok(Decision::Permit(authority));
        }
        let (request, agent) = (self.request, self.agent);
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
                match consider(view, self, reference, grant)? {
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
    let Asked { request, interval, .. } = asked;
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
    if let Some(void) = chain.void(view, asked.agent)? {
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
    if let Some(index) = asked.halts.of_chain(view, &chain)? {
        return Ok(Err(halted(view, index)?));
    }
    let mut max_staleness_ms = lineages::staleness_ms(chain.max_staleness_ms(), asked.lineage.as_ref());
    // What an agent may not do itself, it cannot have another do for it.
    for (_, link) in chain.links.iter().skip(1) {
        let (lineage, known) = lineages::lineage_of(view, &link.terms.agent)?;
        if let Some(denial) = lineages::constrained::<V>(request, &lineage, known.as_ref())? {
            return Ok(Err(denial));
        }
        max_staleness_ms = lineages::staleness_ms(max_staleness_ms, known.as_ref());
    }
    let bounds = match judged(view, asked, &chain)? {
        Ok(bounds) => bounds,
        Err(denial) => return Ok(Err(denial)),
    };
    Ok(Ok(Authority {
        chain: chain.links.iter().map(|(reference, _)| *reference).collect(),
        generation: asked.generation,
        max_staleness_ms,
        not_after_ms: chain.not_after_ms(),
        bounds,
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
