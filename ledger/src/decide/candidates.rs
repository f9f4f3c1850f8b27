//! What an agent was granted, in short: to guess which grant permits a request before it is decided.

use super::Request;
use crate::authority::{AgentRecord, GrantRecord, GrantRef, Place, View, ViewError, record, referred};
use crate::command::{Name, Patterns};

/// Some of an agent's grants: which they are, and what they name.
///
/// It is a guess and decides nothing: grants may have ended since, or been revoked, and others may have come. What it
/// finds is [`Request::hint`]'s, under which [`decide`](super::decide) looks for itself.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// The agent's epoch and how many grants it had in it: a list only grows within its epoch.
    read_at: (u64, u32),
    first: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    grant: GrantRef,
    actions: Patterns,
    resources: Patterns,
}

impl Candidates {
    /// The first `most` that `agent` was granted in its epoch; none if it is unknown, or if that is what is `known`.
    ///
    /// # Errors
    /// As of [`decide`](super::decide).
    pub fn read<V: View>(
        view: &V,
        agent: &Name,
        most: usize,
        known: Option<&Self>,
    ) -> Result<Option<Self>, ViewError<V::Error>> {
        let Some(record) = record::<_, AgentRecord>(view, &Place::agent(agent))? else { return Ok(None) };
        let read_at = (record.epoch, record.grants);
        if known.is_some_and(|known| known.read_at == read_at) {
            return Ok(None);
        }
        let mut first = Vec::new();
        for number in 0..record.pages {
            let page: Vec<GrantRef> = referred(view, &Place::page(agent, record.epoch, number))?;
            for grant in page {
                if first.len() >= most {
                    return Ok(Some(Self { read_at, first }));
                }
                let GrantRecord { terms, .. } = referred(view, &Place::grant(grant))?;
                first.push(Candidate { grant, actions: terms.actions, resources: terms.resources });
            }
        }
        Ok(Some(Self { read_at, first }))
    }

    /// The same with `grant` first, since it permits what another did not; none if it is not among them.
    pub fn preferring(&self, grant: GrantRef) -> Option<Self> {
        let place = self.first.iter().position(|candidate| candidate.grant == grant)?;
        let mut preferring = self.clone();
        preferring.first.get_mut(..=place)?.rotate_right(1);
        Some(preferring)
    }

    /// The first whose names match `request`.
    pub fn of(&self, request: &Request) -> Option<GrantRef> {
        let matches = |candidate: &&Candidate| {
            candidate.actions.matches(&request.action) && candidate.resources.matches(&request.resource)
        };
        self.first.iter().find(matches).map(|candidate| candidate.grant)
    }
}
