//! Authority as a plain model: maps and loops, no trees, no records, no hashes but the ids of grants.
//! It is written from the rules, not from the code that it is held against.

pub(crate) mod conditions;
mod limits;

use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::authority::{BoundTaken, Cause, Decided, GenerationRef, GrantRef, Verdict};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Bound, Command, DecisionId, DecisionRef, Generation, GenerationId,
    Genesis, GrantId, HaltScope, LedgerId, Limits, LineageConstraints, LineagePolicy, Name, OutcomeKind, Per,
    PublicKey, RequestId, Role, Scope, SignedCommand, Terms,
};
use chancery_ledger::decide::{Authority, Decision, Denial, Interval, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{RosterId, Voter, VoterSet};

/// What becomes of a command, as far as anybody can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Applied(Cause),
    Before(Cause),
    Refused(&'static str),
}

/// What whoever made an envelope knows of its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    Good,
    TooMany,
    OfOthers,
    Bad,
}

#[derive(Clone)]
struct Who {
    roles: Vec<Role>,
    scope: Scope,
    active: bool,
}

#[derive(Clone)]
pub(crate) struct Agent {
    key: Option<PublicKey>,
    lineage: String,
    retired: Option<Cause>,
    epoch: u64,
    epoch_began: Option<Cause>,
    /// All that were recorded, in order.
    pub(crate) decisions: Vec<Recorded>,
}

/// A recorded decision. A permit has a deadline.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) id: DecisionId,
    pub(crate) deadline_ms: Option<u64>,
    outcomes: Vec<(OutcomeKind, Option<Hash>, Cause)>,
}

#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) terms: Terms,
    parent: Option<GrantId>,
    epoch: u64,
    granted: Cause,
    revoked: Option<Cause>,
}

/// A halt, and who said that it may end.
#[derive(Clone)]
pub(crate) struct Stopped {
    pub(crate) scope: HaltScope,
    reason: String,
    cause: Cause,
    pub(crate) command: Hash,
    said: Vec<Cause>,
    pub(crate) ended: Option<Cause>,
}

/// What was said of a lineage.
#[derive(Clone)]
struct Line {
    policy: LineagePolicy,
    constraints: LineageConstraints,
    /// In the order of their numbers, which begin with 1.
    generations: Vec<Made>,
    in_service: BTreeSet<u64>,
    set: Option<Cause>,
    moved: Option<Cause>,
}

#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) id: GenerationId,
    registered: Cause,
    released: bool,
}

#[derive(Clone)]
struct Done {
    command: Vec<u8>,
    not_after_ms: u64,
    cause: Cause,
}

/// The whole authority of one ledger.
#[derive(Clone)]
pub(crate) struct Plain {
    ledger: LedgerId,
    limits: Limits,
    pub(crate) block: u64,
    pub(crate) time_ms: u64,
    pub(crate) log_size: u64,
    principals: BTreeMap<PublicKey, Who>,
    pub(crate) agents: BTreeMap<String, Agent>,
    /// What leaves say was decided, by their index.
    pub(crate) verdicts: BTreeMap<u64, Verdict>,
    pub(crate) grants: BTreeMap<GrantId, Held>,
    /// In the order of the log.
    pub(crate) granted: Vec<GrantId>,
    tombstones: BTreeMap<GrantId, Cause>,
    pub(crate) halts: BTreeMap<u64, Stopped>,
    lines: BTreeMap<String, Line>,
    done: BTreeMap<(PublicKey, RequestId), Done>,
    /// All that permitted decisions ever took of bounds.
    pub(crate) spent: Vec<limits::Spent>,
    /// In force.
    voters: VoterSet,
    roster: RosterId,
    /// Everybody who ever was one.
    ever: Vec<Voter>,
    /// The block is a joint roster block.
    joint: bool,
}

const TEN_MINUTES_MS: u64 = 600_000;
const DAY_MS: u64 = 86_400_000;

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => pattern == name,
    }
}

/// A pattern covers another if it matches all that the other does.
fn covers(wide: &str, narrow: &str) -> bool {
    match (wide.strip_suffix('*'), narrow.strip_suffix('*')) {
        (Some(wide), Some(narrow)) => narrow.starts_with(wide),
        _ => matches(wide, narrow),
    }
}

fn any_matches(patterns: &chancery_ledger::command::Patterns, name: &Name) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_str(), name.as_str()))
}

fn all_covered(
    wide: &chancery_ledger::command::Patterns,
    narrow: &chancery_ledger::command::Patterns,
) -> bool {
    narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide.as_str(), narrow.as_str())))
}

/// The bounds that are shared by a key.
fn keys(terms: &Terms) -> impl Iterator<Item = (&Bound, &Name)> {
    terms.bounds.iter().filter_map(|bound| match &bound.per {
        Per::Key(key) => Some((bound, key)),
        _ => None,
    })
}

fn within(wide: &Scope, narrow: &Scope) -> bool {
    all_covered(&wide.agents, &narrow.agents)
        && all_covered(&wide.actions, &narrow.actions)
        && all_covered(&wide.resources, &narrow.resources)
}

/// Nothing if the command takes effect now; what took effect before; or the code of a refusal.
type Became = Result<Option<Cause>, &'static str>;

impl Plain {
    pub(crate) fn found(ledger: LedgerId, time_ms: u64, genesis: &Genesis) -> Self {
        let who = |p: &chancery_ledger::command::Principal| {
            (p.key, Who { roles: p.roles.clone(), scope: p.scope.clone(), active: true })
        };
        Self {
            ledger,
            limits: genesis.limits,
            block: 0,
            time_ms,
            log_size: 2,
            principals: genesis.principals.iter().map(who).collect(),
            agents: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            grants: BTreeMap::new(),
            granted: Vec::new(),
            tombstones: BTreeMap::new(),
            halts: BTreeMap::new(),
            lines: BTreeMap::new(),
            done: BTreeMap::new(),
            spent: Vec::new(),
            voters: genesis.roster.sets()[0].clone(),
            roster: genesis.roster.id(0),
            ever: genesis.roster.sets()[0].voters().to_vec(),
            joint: false,
        }
    }

    /// Both blocks of a change of the voters, if the command may stand in the first; else it is no block.
    /// `roster` is the id of the roster after them.
    pub(crate) fn change(
        &mut self,
        stamp_ms: u64,
        command: &(SignedCommand, Signatures),
        roster: RosterId,
    ) -> Seen {
        let Body::SetRoster { voters, .. } = &command.0.command().body else { panic!("no change") };
        let mut changed = self.clone();
        changed.joint = true;
        let seen = changed.apply(stamp_ms, std::slice::from_ref(command)).remove(0);
        if matches!(seen, Seen::Applied(_)) {
            // The uniform block adds a STATE leaf and nothing else.
            changed.joint = false;
            changed.block += 1;
            changed.log_size += 1;
            changed.roster = roster;
            changed.voters = voters.clone();
            changed.ever.extend(voters.voters().iter().filter(|v| !self.ever.contains(v)).cloned());
            *self = changed;
        }
        seen
    }

    pub(crate) fn apply(&mut self, stamp_ms: u64, commands: &[(SignedCommand, Signatures)]) -> Vec<Seen> {
        self.block += 1;
        let time_ms = self.time_ms.max(stamp_ms);
        let size_before = self.log_size;
        let mut seen = Vec::new();
        for (signed, signatures) in commands {
            let (index, block) = (self.log_size, self.block);
            let cause = Cause { index, block, time_ms, signer: signed.command().signer };
            seen.push(match self.one(signed, *signatures, cause) {
                Ok(None) => {
                    self.log_size += 1;
                    let done = Done {
                        command: signed.command_bytes().to_vec(),
                        not_after_ms: signed.command().not_after_ms,
                        cause,
                    };
                    self.done.insert(signed.dedup_key(), done);
                    Seen::Applied(cause)
                }
                Ok(Some(first)) => Seen::Before(first),
                Err(code) => Seen::Refused(code),
            });
        }
        if self.log_size > size_before {
            self.log_size += 1;
            self.time_ms = time_ms;
            self.done.retain(|_, done| done.not_after_ms / TEN_MINUTES_MS >= time_ms / TEN_MINUTES_MS);
        }
        seen
    }

    fn one(&mut self, signed: &SignedCommand, signatures: Signatures, cause: Cause) -> Became {
        match signatures {
            Signatures::Good => {}
            Signatures::TooMany => return Err("too_many_signatures"),
            Signatures::OfOthers => return Err("wrong_signers"),
            Signatures::Bad => return Err("bad_signature"),
        }
        let command = signed.command();
        if let Some(done) = self.done.get(&signed.dedup_key()) {
            let same = done.command == signed.command_bytes();
            return if same { Ok(Some(done.cause)) } else { Err("request_id_reused") };
        }
        if command.not_after_ms < cause.time_ms {
            return Err("expired");
        }
        if command.not_after_ms > cause.time_ms + DAY_MS {
            return Err("too_far_ahead");
        }
        let pending = self.done.keys().filter(|(signer, _)| *signer == command.signer).count();
        if pending >= self.limits.dedup_entries_per_signer_max as usize {
            return Err("too_many_pending");
        }
        match &command.body {
            Body::Authorize(asked) => {
                self.authorize(command, asked, DecisionId::of(self.ledger, signed.command_bytes()), cause)
            }
            Body::Outcome(said) => self.outcome(command, said, cause),
            Body::Halt { scope, reason } => self.halt(command, scope, reason, signed.command_hash(), cause),
            Body::Resume { halt, halt_command } => self.resume(command, *halt, *halt_command, cause),
            _ => self.body(command, GrantId::of(self.ledger, signed.command_bytes()), cause),
        }
    }

    fn signer(&self, command: &Command, roles: &[Role]) -> Result<Who, &'static str> {
        let who = self.principals.get(&command.signer).filter(|who| who.active);
        let who = who.ok_or("unknown_principal")?;
        if who.roles.iter().any(|role| roles.contains(role)) { Ok(who.clone()) } else { Err("wrong_role") }
    }

    fn body(&mut self, command: &Command, id: GrantId, cause: Cause) -> Became {
        match &command.body {
            Body::Genesis(_) => Err("not_genesis"),
            Body::Authorize(_) | Body::Outcome(_) => unreachable!("no grant comes of them"),
            Body::AddPrincipal(principal) => {
                let signer = self.signer(command, &[Role::Operator])?;
                if !within(&signer.scope, &principal.scope) {
                    return Err("out_of_scope");
                }
                if self.principals.contains_key(&principal.key) {
                    return Err("principal_exists");
                }
                let (roles, scope) = (principal.roles.clone(), principal.scope.clone());
                self.principals.insert(principal.key, Who { roles, scope, active: true });
                Ok(None)
            }
            Body::RemovePrincipal { key } => {
                let signer = self.signer(command, &[Role::Operator])?;
                let who = self.principals.get(key).filter(|who| who.active).ok_or("unknown_principal")?;
                if !within(&signer.scope, &who.scope) {
                    return Err("out_of_scope");
                }
                let operators = self.principals.keys().filter(|key| self.is_operator(key)).count();
                if who.roles.contains(&Role::Operator) && operators == self.limits.operator_threshold as usize
                {
                    return Err("operators_needed");
                }
                self.principals.get_mut(key).unwrap().active = false;
                Ok(None)
            }
            Body::RotatePrincipal { old_key, new_key } => {
                let who = self.principals.get(old_key).filter(|who| who.active).cloned();
                let who = who.ok_or("unknown_principal")?;
                if command.signer != *old_key
                    && !within(&self.signer(command, &[Role::Operator])?.scope, &who.scope)
                {
                    return Err("out_of_scope");
                }
                if self.principals.contains_key(new_key) {
                    return Err("principal_exists");
                }
                self.principals.insert(*new_key, who);
                self.principals.get_mut(old_key).unwrap().active = false;
                Ok(None)
            }
            Body::Halt { .. } | Body::Resume { .. } => unreachable!("they are told apart before"),
            Body::SetLineage { lineage, policy, constraints, operators } => {
                self.set_lineage(command, lineage, (*policy, constraints), operators, cause)
            }
            Body::RegisterGeneration(generation) => self.register_generation(command, generation, cause),
            Body::ReleaseGeneration { lineage, generation, reviewers } => {
                self.release(command, lineage, *generation, reviewers, cause)
            }
            Body::RollbackLineage { lineage, number, generation } => {
                self.roll_back(command, lineage, *number, *generation, cause)
            }
            Body::RegisterAgent { agent, key, lineage, .. } => {
                let signer = self.signer(command, &[Role::Operator, Role::Issuer])?;
                if !any_matches(&signer.scope.agents, agent) {
                    return Err("out_of_scope");
                }
                let lineage = lineage.as_ref().unwrap_or(agent);
                if !any_matches(&signer.scope.agents, lineage) {
                    return Err("out_of_scope");
                }
                if self.agents.contains_key(agent.as_str()) {
                    return Err("agent_exists");
                }
                let (lineage, retired) = (lineage.to_string(), None);
                let (epoch_began, decisions) = (None, Vec::new());
                let agent_state = Agent { key: *key, lineage, retired, epoch: 1, epoch_began, decisions };
                self.agents.insert(agent.to_string(), agent_state);
                Ok(None)
            }
            Body::RetireAgent { agent } => {
                let signer = self.signer(command, &[Role::Operator, Role::Issuer])?;
                if !any_matches(&signer.scope.agents, agent) {
                    return Err("out_of_scope");
                }
                let agent = self.agents.get_mut(agent.as_str()).ok_or("unknown_agent")?;
                if agent.retired.is_some() {
                    return Ok(agent.retired);
                }
                agent.retired = Some(cause);
                Ok(None)
            }
            Body::RevokeAgent { agent, .. } => {
                let signer = self.signer(command, &[Role::Revoker])?;
                if !any_matches(&signer.scope.agents, agent) {
                    return Err("out_of_scope");
                }
                let agent = self.agents.get_mut(agent.as_str()).ok_or("unknown_agent")?;
                agent.epoch += 1;
                agent.epoch_began = Some(cause);
                Ok(None)
            }
            Body::Grant { terms, .. } => {
                let signer = self.signer(command, &[Role::Issuer])?;
                let in_scope = any_matches(&signer.scope.agents, &terms.agent)
                    && all_covered(&signer.scope.actions, &terms.actions)
                    && all_covered(&signer.scope.resources, &terms.resources)
                    && keys(terms).all(|(_, key)| any_matches(&signer.scope.resources, key));
                if !in_scope {
                    return Err("out_of_scope");
                }
                if terms.delegable_depth > self.limits.delegation_depth_max {
                    return Err("too_deep");
                }
                self.hold(terms, None, id, cause)
            }
            Body::Delegate { parent, terms, .. } => {
                let held = self.grants.get(parent).ok_or("unknown_grant")?;
                if self.agents[held.terms.agent.as_str()].key != Some(command.signer) {
                    return Err("not_the_holder");
                }
                let wide = &held.terms;
                let narrow = all_covered(&wide.actions, &terms.actions)
                    && all_covered(&wide.resources, &terms.resources)
                    && wide.not_before_ms <= terms.not_before_ms
                    && terms.not_after_ms <= wide.not_after_ms
                    && terms.max_staleness_ms <= wide.max_staleness_ms;
                if !narrow {
                    return Err("widens");
                }
                if terms.delegable_depth >= wide.delegable_depth {
                    return Err("too_deep");
                }
                let chain = self.chain(*parent);
                if chain.len() > self.limits.delegation_depth_max as usize {
                    return Err("too_deep");
                }
                if chain.iter().any(|link| self.grants[link].terms.agent == terms.agent) {
                    return Err("loops");
                }
                let known: Vec<&Bound> =
                    chain.iter().flat_map(|link| self.grants[link].terms.bounds.iter()).collect();
                let same = |a: &Bound, b: &Bound| (&a.name, &a.kind, &a.per) == (&b.name, &b.kind, &b.per);
                if !keys(terms).all(|(bound, _)| known.iter().any(|known| same(known, bound))) {
                    return Err("widens");
                }
                let ended = chain.iter().any(|link| self.grants[link].terms.not_after_ms <= cause.time_ms);
                if ended || chain.iter().any(|link| self.void(*link).is_some()) {
                    return Err("parent_not_in_force");
                }
                if chain.iter().any(|link| self.stops_link(*link).is_some()) {
                    return Err("halted");
                }
                self.hold(terms, Some(*parent), id, cause)
            }
            Body::RevokeGrant { grant, .. } => self.revoke(command, *grant, cause),
            Body::SetRules { rules_version } => {
                self.signer(command, &[Role::Operator])?;
                Err(if *rules_version == 1 { "rules_in_force" } else { "rules_not_advertised" })
            }
            Body::SetRoster { voters, replaces, operators } => {
                self.signer(command, &[Role::Operator])?;
                self.set_roster(command.signer, voters, *replaces, operators)
            }
        }
    }

    fn gate(&self, command: &Command, agent: &Name) -> Result<(), &'static str> {
        if !any_matches(&self.signer(command, &[Role::Gate])?.scope.agents, agent) {
            return Err("out_of_scope");
        }
        if self.agents.contains_key(agent.as_str()) { Ok(()) } else { Err("unknown_agent") }
    }

    /// The last ones of an agent are kept.
    fn kept(&self, decision: &DecisionRef) -> Option<&Recorded> {
        let all = &self.agents.get(decision.agent.as_str())?.decisions;
        let kept = self.limits.open_decisions_per_agent_max as usize;
        let mut kept = all.iter().enumerate().rev().take(kept);
        let (_, found) = kept.find(|(place, _)| *place as u64 + 1 == decision.number)?;
        (found.id == decision.id).then_some(found)
    }

    fn authorize(&mut self, command: &Command, asked: &Authorize, id: DecisionId, cause: Cause) -> Became {
        self.gate(command, &asked.agent)?;
        if asked.execute_within_ms > self.limits.execution_ms_max {
            return Err("execution_too_late");
        }
        if asked.parent.as_ref().is_some_and(|parent| self.kept(parent).is_none()) {
            return Err("unknown_decision");
        }
        let decisions = &self.agents[asked.agent.as_str()].decisions;
        let number = decisions.len() as u64 + 1;
        let oldest = decisions.iter().rev().nth(self.limits.open_decisions_per_agent_max as usize - 1);
        let open = |one: &Recorded| one.outcomes.is_empty() && one.deadline_ms > Some(cause.time_ms);
        if oldest.is_some_and(open) {
            return Err("too_many_open_decisions");
        }
        let (decided, deadline_ms) =
            match self.decide(&asked.request(), Interval { low_ms: cause.time_ms, high_ms: cause.time_ms }) {
                Decision::Permit(authority) => {
                    let Authority { chain, generation, max_staleness_ms, not_after_ms, bounds } = authority;
                    let ends = [asked.execute_within_ms, max_staleness_ms].map(|ms| cause.time_ms + ms);
                    let deadline_ms = ends.into_iter().chain([not_after_ms]).min().unwrap();
                    self.take((asked.agent.as_str(), number), &bounds, cause.time_ms, deadline_ms);
                    let taken = |left: &chancery_ledger::authority::Allowance| BoundTaken {
                        grant: left.grant,
                        name: left.bound.name.clone(),
                        limit: left.bound.limit,
                        used: left.used,
                        taken: left.wanted,
                    };
                    let bounds = bounds.iter().map(taken).collect();
                    (Decided::Permit { chain, generation, deadline_ms, bounds }, Some(deadline_ms))
                }
                Decision::Denied(denial) => (Decided::Denied(denial), None),
            };
        self.verdicts.insert(cause.index, Verdict { number, decided });
        let recorded = Recorded { id, deadline_ms, outcomes: Vec::new() };
        self.agents.get_mut(asked.agent.as_str()).unwrap().decisions.push(recorded);
        Ok(None)
    }

    fn outcome(&mut self, command: &Command, said: &ActionOutcome, cause: Cause) -> Became {
        use OutcomeKind::{Compensated, Executed, Unknown};
        let DecisionRef { agent, number, .. } = &said.decision;
        self.gate(command, agent)?;
        let decision = self.kept(&said.decision).ok_or("unknown_decision")?;
        if decision.deadline_ms.is_none() {
            return Err("decision_denied");
        }
        let mut outcomes = decision.outcomes.iter();
        if let Some((.., first)) = outcomes.find(|o| (o.0, o.1) == (said.kind, said.result_digest)) {
            return Ok(Some(*first));
        }
        let kinds: Vec<OutcomeKind> = decision.outcomes.iter().map(|outcome| outcome.0).collect();
        if said.kind == Compensated && !kinds.contains(&Executed) && !kinds.contains(&OutcomeKind::Failed) {
            return Err("not_executed");
        }
        let follows = match kinds.last() {
            None => true,
            Some(Unknown) => said.kind != Unknown,
            Some(Executed) => said.kind == Compensated,
            Some(_) => false,
        };
        if !follows {
            return Err("outcome_recorded");
        }
        let place = usize::try_from(*number).unwrap() - 1;
        let recorded = &mut self.agents.get_mut(agent.as_str()).unwrap().decisions[place];
        recorded.outcomes.push((said.kind, said.result_digest, cause));
        self.settle((agent.as_str(), *number), said.kind, cause.time_ms);
        Ok(None)
    }

    fn is_operator(&self, key: &PublicKey) -> bool {
        self.principals.get(key).is_some_and(|who| who.active && who.roles.contains(&Role::Operator))
    }

    fn set_roster(
        &self,
        signer: PublicKey,
        voters: &VoterSet,
        replaces: RosterId,
        others: &[PublicKey],
    ) -> Became {
        if !others.iter().all(|key| self.is_operator(key)) {
            return Err("unknown_operator");
        }
        let signed: BTreeSet<_> = others.iter().chain([&signer]).collect();
        if signed.len() < self.limits.operator_threshold as usize {
            return Err("too_few_operators");
        }
        if replaces != self.roster {
            return Err("other_roster");
        }
        if voters.voters() == self.voters.voters() {
            return Err("same_voters");
        }
        for voter in voters.voters().iter().filter(|voter| !self.voters.voters().contains(voter)) {
            if self.ever.iter().any(|ever| ever.node == voter.node) {
                return Err("node_id_used");
            }
            if self.ever.iter().any(|ever| ever.name == voter.name) {
                return Err("node_name_used");
            }
            if self.ever.iter().any(|ever| ever.key == voter.key) {
                return Err("node_key_used");
            }
        }
        if self.joint { Ok(None) } else { Err("not_in_roster_block") }
    }

    fn revoke(&mut self, command: &Command, grant: GrantId, cause: Cause) -> Became {
        let Some(held) = self.grants.get(&grant) else {
            let signer = self.signer(command, &[Role::Revoker])?;
            if !signer.scope.agents.iter().any(|pattern| pattern.as_str() == "*") {
                return Err("unknown_grant");
            }
            if let Some(first) = self.tombstones.get(&grant) {
                return Ok(Some(*first));
            }
            self.tombstones.insert(grant, cause);
            return Ok(None);
        };
        let signer = self.signer(command, &[Role::Revoker, Role::Issuer])?;
        if held.granted.signer != command.signer {
            if !signer.roles.contains(&Role::Revoker) {
                return Err("wrong_role");
            }
            if !any_matches(&signer.scope.agents, &held.terms.agent) {
                return Err("out_of_scope");
            }
        }
        if held.revoked.is_some() {
            return Ok(held.revoked);
        }
        self.grants.get_mut(&grant).unwrap().revoked = Some(cause);
        Ok(None)
    }

    fn hold(&mut self, terms: &Terms, parent: Option<GrantId>, id: GrantId, cause: Cause) -> Became {
        if terms.max_staleness_ms > self.limits.staleness_cap_ms {
            return Err("staleness_above_cap");
        }
        if terms.not_after_ms <= cause.time_ms {
            return Err("terms_ended");
        }
        let agent = self.agents.get(terms.agent.as_str()).ok_or("unknown_agent")?;
        if agent.retired.is_some() {
            return Err("agent_retired");
        }
        if self.held_by(&terms.agent).len() >= self.limits.grants_per_agent_max as usize {
            return Err("too_many_grants");
        }
        let held = Held {
            terms: terms.clone(),
            parent,
            epoch: agent.epoch,
            granted: cause,
            revoked: self.tombstones.get(&id).copied(),
        };
        assert!(self.grants.insert(id, held).is_none(), "an id is granted once");
        self.granted.push(id);
        Ok(None)
    }

    /// What an agent was granted in its epoch, in the order of the log.
    fn held_by(&self, agent: &Name) -> Vec<GrantId> {
        let epoch = self.agents[agent.as_str()].epoch;
        let of_agent = |id: &&GrantId| {
            let held = &self.grants[id];
            held.terms.agent == *agent && held.epoch == epoch
        };
        self.granted.iter().filter(of_agent).copied().collect()
    }

    /// A grant and its ancestors.
    fn chain(&self, grant: GrantId) -> Vec<GrantId> {
        std::iter::successors(Some(grant), |id| self.grants[id].parent).collect()
    }

    pub(crate) fn reference(&self, grant: GrantId) -> GrantRef {
        GrantRef { grant, root: *self.chain(grant).last().unwrap() }
    }

    /// Why one link is not in force, if it is not.
    fn void(&self, grant: GrantId) -> Option<Denial> {
        let held = &self.grants[&grant];
        let agent = &self.agents[held.terms.agent.as_str()];
        let name = held.terms.agent.clone();
        if let Some(cause) = held.revoked {
            return Some(Denial::Revoked { grant: self.reference(grant), cause });
        }
        if let Some(cause) = agent.retired {
            return Some(Denial::Retired { agent: name, cause });
        }
        (held.epoch != agent.epoch)
            .then(|| Denial::AllRevoked { agent: name, cause: agent.epoch_began.unwrap() })
    }

    /// Whether a principal may stop all of `scope`, or say that it may go on.
    fn may_stop(&self, who: &Who, scope: &HaltScope) -> Result<bool, &'static str> {
        let all = |patterns: &chancery_ledger::command::Patterns| patterns.iter().any(|p| p.as_str() == "*");
        let some = |patterns: &chancery_ledger::command::Patterns, wanted: &str| {
            patterns.iter().any(|p| covers(p.as_str(), wanted))
        };
        let Scope { agents, actions, resources } = &who.scope;
        Ok(match scope {
            HaltScope::Everything => all(agents) && all(actions) && all(resources),
            HaltScope::Agent(name) | HaltScope::Lineage(name) => any_matches(agents, name),
            HaltScope::Action(pattern) => all(agents) && some(actions, pattern.as_str()),
            HaltScope::Resource(pattern) => all(agents) && some(resources, pattern.as_str()),
            HaltScope::Subtree(grant) => {
                any_matches(agents, &self.grants.get(grant).ok_or("unknown_grant")?.terms.agent)
            }
        })
    }

    fn halt(
        &mut self,
        command: &Command,
        scope: &HaltScope,
        reason: &str,
        hash: Hash,
        cause: Cause,
    ) -> Became {
        let signer = self.signer(command, &[Role::Halter])?;
        if !self.may_stop(&signer, scope)? {
            return Err("out_of_scope");
        }
        let (scope, reason) = (scope.clone(), reason.to_owned());
        let stopped = Stopped { scope, reason, cause, command: hash, said: Vec::new(), ended: None };
        self.halts.insert(cause.index, stopped);
        Ok(None)
    }

    fn resume(&mut self, command: &Command, index: u64, hash: Hash, cause: Cause) -> Became {
        let signer = self.signer(command, &[Role::Resumer])?;
        let stopped = self.halts.get(&index).ok_or("unknown_halt")?;
        if stopped.command != hash {
            return Err("other_halt");
        }
        if !self.may_stop(&signer, &stopped.scope)? {
            return Err("out_of_scope");
        }
        if let Some(said) = stopped.said.iter().find(|said| said.signer == command.signer) {
            return Ok(Some(*said));
        }
        if stopped.ended.is_some() {
            return Err("halt_ended");
        }
        let mut said = stopped.said.clone();
        said.retain(|said| self.principals[&said.signer].active);
        said.push(cause);
        let enough = said.len() >= self.limits.resumer_threshold as usize;
        let stopped = self.halts.get_mut(&index).unwrap();
        (stopped.said, stopped.ended) = (said, enough.then_some(cause));
        Ok(None)
    }

    fn line(&self, lineage: &Name) -> Line {
        self.lines.get(lineage.as_str()).cloned().unwrap_or_else(|| Line {
            policy: LineagePolicy {
                quarantine: true,
                threshold: self.limits.operator_threshold,
                in_service_max: 1,
            },
            constraints: LineageConstraints::default(),
            generations: Vec::new(),
            in_service: BTreeSet::new(),
            set: None,
            moved: None,
        })
    }

    /// The generations of a lineage, first to last.
    pub(crate) fn generations(&self, lineage: &Name) -> Vec<Made> {
        self.line(lineage).generations
    }

    /// The lineage of an agent; of one that there is not, its name.
    pub(crate) fn lineage(&self, agent: &Name) -> Name {
        let known = self.agents.get(agent.as_str()).map(|agent| agent.lineage.clone());
        known.map_or_else(|| agent.clone(), |lineage| Name::new(lineage).unwrap())
    }

    /// What the agent's lineage has in service, the newest.
    pub(crate) fn in_service(&self, agent: &Name) -> Option<GenerationId> {
        let line = self.lines.get(&self.agents.get(agent.as_str())?.lineage)?;
        let newest = usize::try_from(*line.in_service.last()?).unwrap();
        Some(line.generations[newest - 1].id)
    }

    /// The signer has one of `roles` and each of `others` one of `theirs`, all with the lineage in their scope.
    fn speak_for(
        &self,
        command: &Command,
        lineage: &Name,
        roles: &[Role],
        (others, theirs, unknown): (&[PublicKey], &[Role], &'static str),
    ) -> Result<Who, &'static str> {
        let signer = self.signer(command, roles)?;
        if !any_matches(&signer.scope.agents, lineage) {
            return Err("out_of_scope");
        }
        for key in others {
            let who = self.principals.get(key).filter(|who| who.active);
            let who = who.filter(|who| who.roles.iter().any(|role| theirs.contains(role))).ok_or(unknown)?;
            if !any_matches(&who.scope.agents, lineage) {
                return Err("out_of_scope");
            }
        }
        Ok(signer)
    }

    fn set_lineage(
        &mut self,
        command: &Command,
        lineage: &Name,
        (policy, constraints): (LineagePolicy, &LineageConstraints),
        others: &[PublicKey],
        cause: Cause,
    ) -> Became {
        let roles = [Role::Operator, Role::Issuer];
        let signer =
            self.speak_for(command, lineage, &roles, (others, &[Role::Operator], "unknown_operator"))?;
        if policy.threshold > self.limits.signatures_per_command_max {
            return Err("threshold_out_of_reach");
        }
        let mut line = self.line(lineage);
        let old = (line.policy, line.constraints.clone());
        if (old.0, &old.1) == (policy, constraints) {
            return Err("lineage_unchanged");
        }
        let wider = |old: &chancery_ledger::command::Patterns, new: &chancery_ledger::command::Patterns| {
            !old.is_empty() && (new.is_empty() || !all_covered(old, new))
        };
        let unlimited = |ms: u64| if ms == 0 { u64::MAX } else { ms };
        let loosens = (old.0.quarantine && !policy.quarantine)
            || policy.threshold < old.0.threshold
            || policy.in_service_max > old.0.in_service_max
            || wider(&old.1.actions, &constraints.actions)
            || wider(&old.1.resources, &constraints.resources)
            || unlimited(constraints.max_staleness_ms) > unlimited(old.1.max_staleness_ms);
        let operators = others.len() + usize::from(signer.roles.contains(&Role::Operator));
        if loosens && operators < old.0.threshold as usize {
            return Err("too_few_operators");
        }
        (line.policy, line.constraints, line.set) = (policy, constraints.clone(), Some(cause));
        while line.in_service.len() > policy.in_service_max as usize {
            line.in_service.pop_first();
            line.moved = Some(cause);
        }
        self.lines.insert(lineage.to_string(), line);
        Ok(None)
    }

    fn register_generation(&mut self, command: &Command, made: &Generation, cause: Cause) -> Became {
        let roles = [Role::Operator, Role::Issuer];
        self.speak_for(command, &made.lineage, &roles, (&[], &[], ""))?;
        let (id, mut line) = (made.id(self.ledger), self.line(&made.lineage));
        if let Some(before) = line.generations.iter().find(|made| made.id == id) {
            return Ok(Some(before.registered));
        }
        match made.parent {
            Some(parent) if !line.generations.iter().any(|made| made.id == parent) => {
                return Err("unknown_generation");
            }
            None if !line.generations.is_empty() => return Err("parent_needed"),
            _ => {}
        }
        let released = !line.policy.quarantine;
        line.generations.push(Made { id, registered: cause, released });
        if released {
            line.serve(line.generations.len() as u64, cause);
        }
        self.lines.insert(made.lineage.to_string(), line);
        Ok(None)
    }

    fn release(
        &mut self,
        command: &Command,
        lineage: &Name,
        id: GenerationId,
        others: &[PublicKey],
        cause: Cause,
    ) -> Became {
        let roles = [Role::Operator, Role::Reviewer];
        self.speak_for(command, lineage, &roles, (others, &roles, "unknown_reviewer"))?;
        let mut line = self.line(lineage);
        let number = line.number(id).ok_or("unknown_generation")?;
        if others.len() + 1 < line.policy.threshold as usize {
            return Err("too_few_reviewers");
        }
        if line.in_service.contains(&number) {
            return Err("in_service");
        }
        let full = line.in_service.len() == line.policy.in_service_max as usize;
        if full && line.in_service.first().is_some_and(|oldest| number < *oldest) {
            return Err("superseded");
        }
        line.generations[usize::try_from(number).unwrap() - 1].released = true;
        line.serve(number, cause);
        self.lines.insert(lineage.to_string(), line);
        Ok(None)
    }

    fn roll_back(
        &mut self,
        command: &Command,
        lineage: &Name,
        number: u64,
        id: GenerationId,
        cause: Cause,
    ) -> Became {
        self.speak_for(command, lineage, &[Role::Operator, Role::Issuer], (&[], &[], ""))?;
        let mut line = self.line(lineage);
        let found = line.number(id).ok_or("unknown_generation")?;
        if found != number {
            return Err("other_generation");
        }
        if !line.generations[usize::try_from(number).unwrap() - 1].released {
            return Err("not_released");
        }
        if line.in_service.last().is_some_and(|newest| *newest <= number) {
            return Err("not_older");
        }
        line.in_service.retain(|other| *other < number);
        line.serve(number, cause);
        self.lines.insert(lineage.to_string(), line);
        Ok(None)
    }

    /// Which generation may act, or why it may not.
    fn standing(&self, request: &Request, lineage: &Name) -> Result<Option<GenerationRef>, Box<Denial>> {
        let line = self.line(lineage);
        let unregistered = Box::new(Denial::UnregisteredGeneration { lineage: lineage.clone() });
        let Some(id) = request.generation else {
            return if line.generations.is_empty() { Ok(None) } else { Err(unregistered) };
        };
        let number = line.number(id).ok_or(unregistered)?;
        let made = &line.generations[usize::try_from(number).unwrap() - 1];
        let lineage = lineage.clone();
        if line.in_service.contains(&number) {
            Ok(Some(GenerationRef { number, id }))
        } else if made.released {
            Err(Box::new(Denial::SupersededGeneration { lineage, number, cause: line.moved.unwrap() }))
        } else {
            Err(Box::new(Denial::QuarantinedGeneration { lineage, number, cause: made.registered }))
        }
    }

    /// What the constraints of an agent's lineage say of the request.
    fn constraint(&self, request: &Request, agent: &Name) -> Option<Denial> {
        let lineage = Name::new(self.agents[agent.as_str()].lineage.clone()).unwrap();
        let line = self.line(&lineage);
        let LineageConstraints { actions, resources, .. } = &line.constraints;
        let outside = if !actions.is_empty() && !any_matches(actions, &request.action) {
            "action"
        } else if !resources.is_empty() && !any_matches(resources, &request.resource) {
            "resource"
        } else {
            return None;
        };
        Some(Denial::LineageConstraint { lineage, outside, cause: line.set.unwrap() })
    }

    fn staleness_ms(&self, agent: &Name) -> u64 {
        let lineage = Name::new(self.agents[agent.as_str()].lineage.clone()).unwrap();
        let limit = self.line(&lineage).constraints.max_staleness_ms;
        if limit == 0 { u64::MAX } else { limit }
    }

    /// The latest halt in force that `stops` says stops something.
    fn stopped(&self, stops: impl Fn(&HaltScope) -> bool) -> Option<Denial> {
        let halt = self.halts.values().rev().find(|halt| halt.ended.is_none() && stops(&halt.scope))?;
        let (scope, reason) = (halt.scope.clone(), halt.reason.clone());
        Some(Denial::Halted { scope, reason, cause: halt.cause })
    }

    fn stops_agent(&self, scope: &HaltScope, agent: &Name) -> bool {
        let lineage = self.agents.get(agent.as_str()).map_or(agent.as_str(), |agent| &agent.lineage);
        match scope {
            HaltScope::Everything => true,
            HaltScope::Agent(name) => name == agent,
            HaltScope::Lineage(name) => name.as_str() == lineage,
            _ => false,
        }
    }

    fn stops_link(&self, grant: GrantId) -> Option<Denial> {
        let agent = &self.grants[&grant].terms.agent;
        self.stopped(|scope| *scope == HaltScope::Subtree(grant) || self.stops_agent(scope, agent))
    }

    fn stops_request(&self, request: &Request) -> Option<Denial> {
        self.stopped(|scope| match scope {
            HaltScope::Action(pattern) => matches(pattern.as_str(), request.action.as_str()),
            HaltScope::Resource(pattern) => matches(pattern.as_str(), request.resource.as_str()),
            scope => self.stops_agent(scope, &request.agent),
        })
    }

    pub(crate) fn decide(&self, request: &Request, interval: Interval) -> Decision {
        if let Some(halted) = self.stops_request(request) {
            return Decision::Denied(halted);
        }
        let Some(agent) = self.agents.get(request.agent.as_str()) else {
            return Decision::Denied(Denial::UnknownAgent);
        };
        if let Some(cause) = agent.retired {
            return Decision::Denied(Denial::Retired { agent: request.agent.clone(), cause });
        }
        let lineage = Name::new(agent.lineage.clone()).unwrap();
        let generation = match self.standing(request, &lineage) {
            Ok(generation) => generation,
            Err(denial) => return Decision::Denied(*denial),
        };
        if let Some(denial) = self.constraint(request, &request.agent) {
            return Decision::Denied(denial);
        }
        let hinted = request.hint.filter(|hint| {
            self.grants.get(&hint.grant).is_some_and(|held| held.terms.agent == request.agent)
                && self.reference(hint.grant) == *hint
        });
        let tried = hinted.map(|hint| hint.grant).into_iter().chain(self.held_by(&request.agent));
        let mut denials = vec![match agent.epoch_began {
            Some(cause) => Denial::AllRevoked { agent: request.agent.clone(), cause },
            None => Denial::NoGrant,
        }];
        for (place, grant) in tried.enumerate() {
            match self.consider(grant, request, interval) {
                Ok(authority) => {
                    return Decision::Permit(Authority { generation, ..authority });
                }
                // A hint that does not help is as if it had not been given.
                Err(_) if place == 0 && hinted.is_some() => {}
                Err(denial) => denials.push(*denial),
            }
        }
        // The gravest; of equals the first.
        let gravest = denials.iter().map(gravity).max().unwrap();
        Decision::Denied(denials.into_iter().find(|denial| gravity(denial) == gravest).unwrap())
    }

    fn consider(&self, grant: GrantId, request: &Request, at: Interval) -> Result<Authority, Box<Denial>> {
        let chain = self.chain(grant);
        let terms = || chain.iter().map(|link| &self.grants[link].terms);
        let allows = terms().all(|terms| {
            any_matches(&terms.actions, &request.action) && any_matches(&terms.resources, &request.resource)
        });
        if !allows {
            return Err(Box::new(Denial::NoGrant));
        }
        if let Some(denial) = chain.iter().find_map(|link| self.void(*link)) {
            return Err(Box::new(denial));
        }
        let not_after_ms = terms().map(|terms| terms.not_after_ms).min().unwrap();
        let not_before_ms = terms().map(|terms| terms.not_before_ms).max().unwrap();
        if at.high_ms >= not_after_ms {
            return Err(Box::new(Denial::Ended { not_after_ms }));
        }
        if at.low_ms < not_before_ms {
            return Err(Box::new(Denial::NotBegun { not_before_ms }));
        }
        let halted = chain.iter().filter_map(|link| self.stops_link(*link)).max_by_key(gravity);
        if let Some(halted) = halted {
            return Err(Box::new(halted));
        }
        let mut subjects = terms().map(|terms| &terms.agent);
        if let Some(denial) = subjects.find_map(|agent| self.constraint(request, agent)) {
            return Err(Box::new(denial));
        }
        let lineages_ms = terms().map(|terms| self.staleness_ms(&terms.agent)).min().unwrap();
        let bounds = self.limits(&chain, request, at)?;
        Ok(Authority {
            chain: chain.iter().map(|link| self.reference(*link)).collect(),
            generation: None,
            max_staleness_ms: terms().map(|t| t.max_staleness_ms).min().unwrap().min(lineages_ms),
            not_after_ms,
            bounds,
        })
    }
}

impl Line {
    fn number(&self, id: GenerationId) -> Option<u64> {
        (1..).zip(&self.generations).find_map(|(number, made)| (made.id == id).then_some(number))
    }

    fn serve(&mut self, number: u64, cause: Cause) {
        self.in_service.insert(number);
        while self.in_service.len() > self.policy.in_service_max as usize {
            self.in_service.pop_first();
        }
        self.moved = Some(cause);
    }
}

/// Halts before revocations before retirements before epochs, the latest first; then what is spent, what is not
/// known, and conditions; then ends, the latest first; then
/// beginnings, the soonest first.
fn gravity(denial: &Denial) -> (u8, i128) {
    match denial {
        Denial::UnknownAgent
        | Denial::UnregisteredGeneration { .. }
        | Denial::SupersededGeneration { .. }
        | Denial::QuarantinedGeneration { .. } => unreachable!("decided before any grant is looked at"),
        Denial::Halted { cause, .. } => (12, cause.index.into()),
        Denial::Revoked { cause, .. } => (11, cause.index.into()),
        Denial::Retired { cause, .. } => (10, cause.index.into()),
        Denial::AllRevoked { cause, .. } => (9, cause.index.into()),
        Denial::BoundExhausted { .. } => (8, 0),
        Denial::KnowledgeMissing { .. } => (7, 0),
        Denial::ConditionFailed { .. } => (6, 0),
        Denial::Ended { not_after_ms } => (5, (*not_after_ms).into()),
        Denial::NotBegun { not_before_ms } => (4, -i128::from(*not_before_ms)),
        Denial::LineageConstraint { cause, .. } => (3, cause.index.into()),
        Denial::NoGrant => (1, 0),
    }
}
