//! A random run: a house, and what its log says of grants, halts and permits, read by nothing but the log.

use std::collections::BTreeMap;

use chancery_ledger::authority::{Decided, Entry, GrantRef, Verdict};
use chancery_ledger::command::{
    Authorize, Body, DecisionId, DecisionRef, GrantId, HaltScope, Limits, SignedCommand, Terms,
};
use chancery_ledger::decide::{Decision, Interval, Request, decide};
use chancery_ledger::hash::Hash;
use chancery_ledger::state::Recording;

use super::asks::{AGENTS, Act, Step, lineage};
use super::book::Book;
use super::house::{self, House};

pub(crate) struct Held {
    pub(crate) terms: Terms,
    pub(crate) parent: Option<GrantId>,
    pub(crate) root: GrantId,
}

pub(crate) struct Halted {
    pub(crate) index: u64,
    pub(crate) scope: HaltScope,
    pub(crate) command: Hash,
}

/// A permit, checked or recorded.
pub(crate) struct Permitted {
    pub(crate) request: Request,
    pub(crate) interval: Interval,
    /// The agent's grant, then its ancestors.
    pub(crate) chain: Vec<GrantId>,
    /// In force when it was decided.
    pub(crate) halts: Vec<HaltScope>,
}

pub(crate) struct Run {
    pub(crate) house: House,
    pub(crate) held: BTreeMap<GrantId, Held>,
    /// In the order of the log.
    pub(crate) granted: Vec<GrantId>,
    /// In force.
    pub(crate) halts: Vec<Halted>,
    /// The permits.
    pub(crate) decisions: Vec<DecisionRef>,
    pub(crate) book: Book,
    /// Of the last block.
    pub(crate) recorded: Vec<Permitted>,
}

impl Run {
    pub(crate) fn found() -> Self {
        let limits = Limits {
            resumer_threshold: 1,
            dedup_entries_per_signer_max: 1_000,
            open_decisions_per_agent_max: 64,
            ..house::limits()
        };
        let mut house = House::found_with(limits);
        house.replicas.truncate(1);
        for agent in AGENTS {
            house.register_in(agent, lineage(agent));
        }
        Self {
            house,
            held: BTreeMap::new(),
            granted: Vec::new(),
            halts: Vec::new(),
            decisions: Vec::new(),
            book: Book::default(),
            recorded: Vec::new(),
        }
    }

    pub(crate) fn reference(&self, grant: GrantId) -> GrantRef {
        GrantRef { grant, root: self.held[&grant].root }
    }

    pub(crate) fn terms(&self, grant: GrantId) -> &Terms {
        &self.held[&grant].terms
    }

    /// One block, and what its leaves say.
    pub(crate) fn block(&mut self, step: &Step) {
        self.house.now_ms += step.later_ms;
        self.recorded.clear();
        let commands: Vec<SignedCommand> =
            step.acts.iter().filter_map(|act: &Act| act.command(self)).collect();
        if commands.is_empty() {
            return;
        }
        let first = self.house.head().log_size;
        let applied = self.house.block(commands);
        for (index, leaf) in (first..).zip(&applied.leaves) {
            if let Entry::Command { time_ms, signed, verdict, .. } = Entry::decode(leaf).unwrap() {
                self.follow(index, time_ms, &signed, verdict);
            }
        }
    }

    fn follow(&mut self, index: u64, time_ms: u64, signed: &SignedCommand, verdict: Option<Verdict>) {
        let ledger = self.house.ledger;
        match &signed.command().body {
            Body::Grant { terms, .. } => {
                let id = GrantId::of(ledger, signed.command_bytes());
                self.held.insert(id, Held { terms: terms.clone(), parent: None, root: id });
                self.granted.push(id);
            }
            Body::Delegate { parent, terms, .. } => {
                let id = GrantId::of(ledger, signed.command_bytes());
                let (root, parent) = (self.held[parent].root, Some(*parent));
                self.held.insert(id, Held { terms: terms.clone(), parent, root });
                self.granted.push(id);
            }
            Body::Halt { scope, .. } => {
                let (scope, command) = (scope.clone(), signed.command_hash());
                self.halts.push(Halted { index, scope, command });
            }
            Body::Resume { halt, .. } => self.halts.retain(|halted| halted.index != *halt),
            Body::Authorize(asked) => {
                let Verdict { number, decided } = verdict.unwrap();
                if let Decided::Permit { chain, deadline_ms, .. } = decided {
                    let id = DecisionId::of(ledger, signed.command_bytes());
                    let chain: Vec<GrantId> = chain.iter().map(|link| link.grant).collect();
                    let links: Vec<_> = chain.iter().map(|link| (*link, &self.held[link].terms)).collect();
                    self.book.take(id, &links, asked.args.as_deref(), time_ms, deadline_ms);
                    self.decisions.push(DecisionRef { agent: asked.agent.clone(), number, id });
                    let interval = Interval { low_ms: time_ms, high_ms: time_ms };
                    self.recorded.push(self.permitted(request(asked), interval, chain));
                }
            }
            Body::Outcome(said) => self.book.settle(said.decision.id, said.kind, time_ms),
            _ => {}
        }
    }

    fn permitted(&self, request: Request, interval: Interval, chain: Vec<GrantId>) -> Permitted {
        let halts = self.halts.iter().map(|halt| halt.scope.clone()).collect();
        Permitted { request, interval, chain, halts }
    }

    /// What the whole state says, now.
    pub(crate) fn decide(&self, request: &Request, interval: Interval) -> Decision {
        let root = self.house.state().summary().root;
        decide(&Recording::new(&self.house.replicas[0].nodes, root), request, interval).unwrap()
    }

    /// The same, if it is a permit.
    pub(crate) fn permits(&self, request: &Request, interval: Interval) -> Option<Permitted> {
        let Decision::Permit(authority) = self.decide(request, interval) else { return None };
        let chain = authority.chain.iter().map(|link| link.grant).collect();
        Some(self.permitted(request.clone(), interval, chain))
    }
}

fn request(asked: &Authorize) -> Request {
    Request {
        agent: asked.agent.clone(),
        action: asked.action.clone(),
        resource: asked.resource.clone(),
        args_digest: asked.args_digest,
        args: asked.args.clone(),
        generation: asked.generation,
        knowledge: asked.knowledge.clone(),
        hint: asked.hint,
    }
}
