//! A grant and its ancestors: whether each link is in force.

use std::borrow::Cow;

use super::records::{AgentRecord, Cause, GrantRecord, GrantRef, Place};
use super::view::{View, ViewError, referred};
use crate::command::{DELEGATION_DEPTH_MAX, Name};

/// A grant, then its parent, up to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Each grant with where it stands; never empty.
    pub links: Vec<(GrantRef, GrantRecord)>,
}

/// Why a link is not in force, whatever the time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Void {
    /// The grant was revoked.
    Revoked {
        /// Which link of the chain.
        grant: GrantRef,
        /// What revoked it.
        cause: Cause,
    },
    /// Everything that the link's subject held was revoked.
    AllRevoked {
        /// The subject.
        agent: Name,
        /// What revoked it; absent only in a corrupt state.
        cause: Option<Cause>,
    },
    /// The link's subject was retired.
    Retired {
        /// The subject.
        agent: Name,
        /// What retired it.
        cause: Cause,
    },
}

impl Chain {
    /// Follows `leaf`, whose record is known, up to its root.
    pub(crate) fn read<V: View>(
        view: &V,
        leaf: GrantRef,
        record: GrantRecord,
    ) -> Result<Self, ViewError<V::Error>> {
        let mut links = vec![(leaf, record)];
        // Depth is checked when a delegation is applied; the bound here is for states that are corrupt.
        for _ in 0..DELEGATION_DEPTH_MAX {
            let Some((_, GrantRecord { parent: Some(parent), .. })) = links.last() else { break };
            let parent = GrantRef { grant: *parent, root: leaf.root };
            links.push((parent, referred(view, &Place::grant(parent))?));
        }
        match links.last() {
            Some((end, GrantRecord { parent: None, .. })) if end.grant == leaf.root => Ok(Self { links }),
            _ => Err(ViewError::Dangling("grant")),
        }
    }

    /// The first link, from the leaf up, that is void. The leaf's subject is `holder`; reads that of every other link up
    /// to there.
    pub(crate) fn void<V: View>(
        &self,
        view: &V,
        holder: &AgentRecord,
    ) -> Result<Option<Void>, ViewError<V::Error>> {
        for (above, (grant, record)) in self.links.iter().enumerate() {
            if let Some(cause) = record.revoked {
                return Ok(Some(Void::Revoked { grant: *grant, cause }));
            }
            let agent = &record.terms.agent;
            let subject = match above {
                0 => Cow::Borrowed(holder),
                _ => Cow::Owned(referred::<_, AgentRecord>(view, &Place::agent(agent))?),
            };
            if let Some(cause) = subject.retired {
                return Ok(Some(Void::Retired { agent: agent.clone(), cause }));
            }
            if subject.epoch != record.epoch {
                return Ok(Some(Void::AllRevoked { agent: agent.clone(), cause: subject.epoch_began }));
            }
        }
        Ok(None)
    }

    /// The strictest staleness of the chain, in milliseconds.
    pub fn max_staleness_ms(&self) -> u64 {
        self.links.iter().map(|(_, link)| link.terms.max_staleness_ms).min().unwrap_or(0)
    }

    /// The earliest end of the chain, in ledger time.
    pub fn not_after_ms(&self) -> u64 {
        self.links.iter().map(|(_, link)| link.terms.not_after_ms).min().unwrap_or(0)
    }

    /// The latest beginning of the chain, in ledger time.
    pub fn not_before_ms(&self) -> u64 {
        self.links.iter().map(|(_, link)| link.terms.not_before_ms).max().unwrap_or(u64::MAX)
    }

    /// Whether `agent` holds any link.
    pub fn includes(&self, agent: &Name) -> bool {
        self.links.iter().any(|(_, link)| link.terms.agent == *agent)
    }
}
