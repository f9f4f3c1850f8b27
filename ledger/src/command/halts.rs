//! What a halt stops.

use std::fmt;

use super::wire::{hash, name, pattern};
use super::{GrantId, MalformedCommand, Name, Pattern, Patterns, Scope};
use chancery_proto::v1 as wire;

use wire::halt_scope::Scope as W;

/// What a halt stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HaltScope {
    /// Every agent.
    Everything,
    /// An agent, and what acts by a delegation of it.
    Agent(Name),
    /// Every agent of a lineage, and what acts by a delegation of one.
    Lineage(Name),
    /// An action, or all that a pattern matches.
    Action(Pattern),
    /// A resource, or all that a pattern matches.
    Resource(Pattern),
    /// A grant, and every delegation below it.
    Subtree(GrantId),
}

impl HaltScope {
    /// A stable name for machines.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Agent(_) => "agent",
            Self::Lineage(_) => "lineage",
            Self::Action(_) => "action",
            Self::Resource(_) => "resource",
            Self::Subtree(_) => "subtree",
        }
    }

    /// What it names, as text; `None` for everything.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Everything => None,
            Self::Agent(name) | Self::Lineage(name) => Some(name.to_string()),
            Self::Action(pattern) | Self::Resource(pattern) => Some(pattern.to_string()),
            Self::Subtree(grant) => Some(grant.to_string()),
        }
    }

    /// Whether a principal with `scope` may stop all of this. Of a subtree that is the agent that holds the
    /// grant: `holder`; without one nobody may.
    pub(crate) fn is_within(&self, scope: &Scope, holder: Option<&Name>) -> bool {
        let every = Patterns::is_everything;
        let covers = |patterns: &Patterns, pattern: &Pattern| patterns.iter().any(|one| one.covers(pattern));
        match self {
            Self::Everything => every(&scope.agents) && every(&scope.actions) && every(&scope.resources),
            Self::Agent(name) | Self::Lineage(name) => scope.agents.matches(name),
            // Whoever acts, it stops: so it takes who may speak of every agent.
            Self::Action(pattern) => every(&scope.agents) && covers(&scope.actions, pattern),
            Self::Resource(pattern) => every(&scope.agents) && covers(&scope.resources, pattern),
            Self::Subtree(_) => holder.is_some_and(|holder| scope.agents.matches(holder)),
        }
    }

    pub(crate) fn to_wire(&self) -> wire::HaltScope {
        let scope = match self {
            Self::Everything => W::Everything(wire::Everything {}),
            Self::Agent(name) => W::Agent(name.to_string()),
            Self::Lineage(name) => W::Lineage(name.to_string()),
            Self::Action(pattern) => W::Action(pattern.to_string()),
            Self::Resource(pattern) => W::Resource(pattern.to_string()),
            Self::Subtree(grant) => W::Subtree(grant.0.0.to_vec()),
        };
        wire::HaltScope { scope: Some(scope) }
    }

    pub(crate) fn from_wire(w: Option<wire::HaltScope>) -> Result<Self, MalformedCommand> {
        let missing = MalformedCommand::Missing("the halt's scope");
        Ok(match w.and_then(|w| w.scope).ok_or(missing)? {
            W::Everything(wire::Everything {}) => Self::Everything,
            W::Agent(text) => Self::Agent(name("agent", text)?),
            W::Lineage(text) => Self::Lineage(name("lineage", text)?),
            W::Action(text) => Self::Action(pattern("action", text)?),
            W::Resource(text) => Self::Resource(pattern("resource", text)?),
            W::Subtree(bytes) => Self::Subtree(GrantId(hash("subtree", &bytes)?)),
        })
    }
}

impl fmt::Display for HaltScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Lineage(name) => write!(f, "lineage {name}"),
            Self::Action(pattern) => write!(f, "action {pattern}"),
            Self::Resource(pattern) => write!(f, "resource {pattern}"),
            Self::Subtree(grant) => write!(f, "grant {grant} and all below it"),
        }
    }
}
