//! What grants and revocations mean, said as plainly as possible, and without a line of the ledger's own code.

use std::collections::{HashMap, HashSet};

/// Whether a pattern (a name, `prefix/*` or `*`) matches a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => pattern == name,
    }
}

/// Who may do what, after some prefix of the log.
#[derive(Debug, Default)]
pub(super) struct Authority {
    agents: HashSet<String>,
    retired: HashSet<String>,
    grants: HashMap<String, Granted>,
    /// Grants that are not void, by the agent that holds them.
    held: HashMap<String, Vec<String>>,
    /// Revoked, whether seen or not.
    revoked: HashSet<String>,
}

/// A grant or a delegation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Granted {
    pub(super) agent: String,
    pub(super) actions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) parent: Option<String>,
}

impl Granted {
    fn allows(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|pattern| matches(pattern, action))
            && self.resources.iter().any(|pattern| matches(pattern, resource))
    }
}

impl Authority {
    pub(super) fn register(&mut self, agent: &str) {
        self.agents.insert(agent.into());
    }

    pub(super) fn retire(&mut self, agent: &str) {
        self.retired.insert(agent.into());
    }

    pub(super) fn grant(&mut self, id: String, granted: Granted) {
        if !self.revoked.contains(&id) {
            self.held.entry(granted.agent.clone()).or_default().push(id.clone());
        }
        self.grants.insert(id, granted);
    }

    pub(super) fn revoke(&mut self, id: &str) {
        self.revoked.insert(id.into());
        if let Some(held) = self.grants.get(id).and_then(|granted| self.held.get_mut(&granted.agent)) {
            held.retain(|one| one != id);
        }
    }

    /// Revokes all that `agent` was granted so far.
    pub(super) fn revoke_all(&mut self, agent: &str) {
        self.revoked.extend(self.held.remove(agent).unwrap_or_default());
    }

    pub(super) fn is_registered(&self, agent: &str) -> bool {
        self.agents.contains(agent)
    }

    /// Whether `agent` may, by any of its grants.
    pub(super) fn permits(&self, agent: &str, action: &str, resource: &str) -> bool {
        let held = self.held.get(agent).map_or(&[][..], Vec::as_slice);
        held.iter().any(|grant| self.chain(grant, agent, action, resource).is_some())
    }

    /// The chain from `leaf` to its root, if it is whole and in force and allows `agent` the action.
    pub(super) fn chain(&self, leaf: &str, agent: &str, action: &str, resource: &str) -> Option<Vec<String>> {
        let mut chain = vec![leaf.to_owned()];
        let mut link = self.grants.get(leaf).filter(|granted| granted.agent == agent)?;
        loop {
            let id = chain.last()?;
            let void = self.revoked.contains(id) || self.retired.contains(&link.agent);
            if void || !link.allows(action, resource) || chain.len() > self.grants.len() {
                return None;
            }
            let Some(parent) = &link.parent else { return Some(chain) };
            link = self.grants.get(parent)?;
            chain.push(parent.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_only_below_their_prefix() {
        assert!(matches("*", "a") && matches("a/*", "a/b") && matches("a", "a"));
        assert!(
            !matches("a/*", "a/") && !matches("a/*", "a") && !matches("a", "ab") && !matches("a/*", "ab/c")
        );
    }
}
