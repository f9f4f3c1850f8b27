//! What grants, revocations and halts mean, said as plainly as possible, and without a line of the ledger's own code.

use std::collections::{BTreeSet, HashMap, HashSet};

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
    /// Each agent's lineage.
    agents: HashMap<String, String>,
    retired: HashSet<String>,
    grants: HashMap<String, Granted>,
    /// Grants that are not void, by the agent that holds them.
    held: HashMap<String, Vec<String>>,
    /// Revoked, whether seen or not.
    revoked: HashSet<String>,
    /// How many resumers end a halt.
    resumer_threshold: usize,
    /// Halts in force, in the order of their leaves.
    halts: Vec<Halt>,
}

/// A grant or a delegation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Granted {
    pub(super) agent: String,
    pub(super) actions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) parent: Option<String>,
    pub(super) not_after_ms: u64,
    pub(super) max_staleness_ms: u64,
    /// It has bounds: what is left of them is not known here.
    pub(super) bounded: bool,
}

/// A halt in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Halt {
    /// Its leaf.
    pub(super) index: u64,
    pub(super) scope: Scope,
    /// Who said that it may end.
    pub(super) resumers: BTreeSet<String>,
}

/// What a halt stops: the ledger's word for the kind, and what that names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scope {
    pub(super) kind: String,
    pub(super) subject: Option<String>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question<'a> {
    pub(super) agent: &'a str,
    pub(super) action: &'a str,
    pub(super) resource: &'a str,
}

impl Scope {
    /// Whether it stops the question, whatever was granted. `lineage` is the agent's.
    pub(super) fn stops(&self, asked: Question<'_>, lineage: &str) -> bool {
        let subject = self.subject.as_deref().unwrap_or_default();
        match self.kind.as_str() {
            "action" => matches(subject, asked.action),
            "resource" => matches(subject, asked.resource),
            _ => self.stops_agent(asked.agent, lineage),
        }
    }

    /// Whether it stops what rests on `grant`, which is held by `agent` of `lineage`.
    pub(super) fn stops_link(&self, grant: &str, agent: &str, lineage: &str) -> bool {
        self.kind == "subtree" && self.subject.as_deref() == Some(grant) || self.stops_agent(agent, lineage)
    }

    fn stops_agent(&self, agent: &str, lineage: &str) -> bool {
        let subject = self.subject.as_deref();
        match self.kind.as_str() {
            "everything" => true,
            "agent" => subject == Some(agent),
            "lineage" => subject == Some(lineage),
            _ => false,
        }
    }
}

impl Granted {
    fn allows(&self, asked: Question<'_>) -> bool {
        self.actions.iter().any(|pattern| matches(pattern, asked.action))
            && self.resources.iter().any(|pattern| matches(pattern, asked.resource))
    }
}

impl Authority {
    pub(super) fn found(&mut self, resumer_threshold: usize) {
        self.resumer_threshold = resumer_threshold;
    }

    pub(super) fn register(&mut self, agent: &str, lineage: Option<&str>) {
        self.agents.insert(agent.into(), lineage.unwrap_or(agent).into());
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

    pub(super) fn halt(&mut self, index: u64, scope: Scope) {
        self.halts.push(Halt { index, scope, resumers: BTreeSet::new() });
    }

    /// `resumer` says that the halt may end: it does, if that is enough.
    pub(super) fn resume(&mut self, index: u64, resumer: String) {
        if let Some(halt) = self.halts.iter_mut().find(|halt| halt.index == index) {
            halt.resumers.insert(resumer);
        }
        self.halts.retain(|halt| halt.resumers.len() < self.resumer_threshold);
    }

    pub(super) fn is_registered(&self, agent: &str) -> bool {
        self.agents.contains_key(agent)
    }

    /// An agent that nobody registered is one of its own.
    pub(super) fn lineage<'a>(&'a self, agent: &'a str) -> &'a str {
        self.agents.get(agent).map_or(agent, String::as_str)
    }

    pub(super) fn granted(&self, id: &str) -> Option<&Granted> {
        self.grants.get(id)
    }

    /// The halts in force that stop the question whatever was granted.
    pub(super) fn halts_of<'a>(&'a self, asked: Question<'a>) -> impl Iterator<Item = &'a Halt> {
        let lineage = self.lineage(asked.agent);
        self.halts.iter().filter(move |halt| halt.scope.stops(asked, lineage))
    }

    /// The halts in force that stop what rests on the chain.
    pub(super) fn halts_of_chain<'a>(&'a self, chain: &'a [String]) -> impl Iterator<Item = &'a Halt> {
        let stops = move |halt: &&Halt| {
            chain.iter().any(|grant| {
                let agent = self.granted(grant).map_or("", |granted| granted.agent.as_str());
                halt.scope.stops_link(grant, agent, self.lineage(agent))
            })
        };
        self.halts.iter().filter(stops)
    }

    /// Every chain in force that allows it, halts and bounds aside.
    pub(super) fn chains(&self, asked: Question<'_>) -> Vec<Vec<String>> {
        let held = self.held.get(asked.agent).map_or(&[][..], Vec::as_slice);
        held.iter().filter_map(|grant| self.chain(grant, asked)).collect()
    }

    /// Whether a link of the chain has bounds.
    pub(super) fn is_bounded(&self, chain: &[String]) -> bool {
        chain.iter().filter_map(|grant| self.granted(grant)).any(|granted| granted.bounded)
    }

    /// The chain from `leaf` to its root, if it is whole and in force and allows the agent the action, halts and
    /// bounds aside.
    pub(super) fn chain(&self, leaf: &str, asked: Question<'_>) -> Option<Vec<String>> {
        let mut chain = vec![leaf.to_owned()];
        let mut link = self.grants.get(leaf).filter(|granted| granted.agent == asked.agent)?;
        loop {
            let id = chain.last()?;
            let void = self.revoked.contains(id) || self.retired.contains(&link.agent);
            if void || !link.allows(asked) || chain.len() > self.grants.len() {
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
