//! A small founded ledger: three nodes that apply the same blocks, principals with fixed keys, and a server
//! that answers checks with everything that proves them.

#![allow(dead_code, reason = "each test uses a part of the house")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::answer::{Answer, Moment, Nonce, PastAnswer};
use chancery_ledger::authority::{Applied, Block, Entry, GrantRef, Outcome, State, Summary, Verdict};
use chancery_ledger::checkpoint::{Checkpoint, KeyName, SignatureLine, SignedCheckpoint};
use chancery_ledger::command::{
    Authorize, Body, Bound, BoundKind, Bounds, Command, DecisionId, DecisionRef, Digests, Generation,
    GenerationId, Genesis, GrantId, HaltScope, Identifier, LedgerId, Limits, LineageConstraints,
    LineagePolicy, Name, Patterns, Per, Principal, PublicKey, RequestId, Requirement, Requirements, Role,
    Scope, SignedCommand, Template, Terms,
};
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Decision, Interval, Request, decide};
use chancery_ledger::evidence::{Evidence, Leaf, Proof, Record, RecordedBy};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{
    Fresh, Head, HeadQuorum, Number, Roster, RosterChain, RosterId, RosterLink, Statement, Voter, VoterSet,
};
use chancery_ledger::log::nonces::NonceTree;
use chancery_ledger::log::{MemoryTiles, leaf_hash, prove_inclusion};
use chancery_ledger::state::{MemoryNodes, PrunedTree, Recording, Root, Update, prune};
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;

pub(crate) const ORIGIN: &str = "chancery.example/house";

/// The ledger's time in block 0, in milliseconds since 1970.
pub(crate) const FOUNDED_MS: u64 = 1_800_000_000_000;

pub(crate) const HOUR_MS: u64 = 3_600_000;

pub(crate) fn key(label: &str) -> SigningKey {
    SigningKey::from_bytes(&Hash::of(&[label.as_bytes()]).0)
}

pub(crate) fn public(label: &str) -> PublicKey {
    PublicKey(key(label).verifying_key().to_bytes())
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn patterns(texts: &[&str]) -> Patterns {
    Patterns::collect(texts.iter().copied()).unwrap()
}

pub(crate) fn scope(agents: &[&str], actions: &[&str], resources: &[&str]) -> Scope {
    Scope { agents: patterns(agents), actions: patterns(actions), resources: patterns(resources) }
}

/// Terms of an hour from `not_before_ms`, at 5 s of staleness, that may be delegated twice.
pub(crate) fn terms(agent: &str, actions: &[&str], resources: &[&str], not_before_ms: u64) -> Terms {
    Terms {
        agent: name(agent),
        actions: patterns(actions),
        resources: patterns(resources),
        not_before_ms,
        not_after_ms: not_before_ms + HOUR_MS,
        max_staleness_ms: 5_000,
        delegable_depth: 2,
        condition: None,
        knowledge: Requirements::default(),
        bounds: Bounds::default(),
    }
}

pub(crate) fn bound(name: &str, kind: BoundKind, limit: u64, per: Per) -> Bound {
    Bound { name: identifier(name), kind, limit, per }
}

pub(crate) fn identifier(text: &str) -> Identifier {
    Identifier::new(text).unwrap()
}

pub(crate) fn requirement(source: &str, max_age_ms: u64) -> Requirement {
    Requirement { source: Template::new(source).unwrap(), max_age_ms }
}

pub(crate) fn principal(label: &str, roles: &[Role], scope: Scope) -> Principal {
    Principal { key: public(label), name: name(label), roles: roles.to_vec(), scope }
}

pub(crate) fn everything() -> Scope {
    scope(&["*"], &["*"], &["*"])
}

pub(crate) fn limits() -> Limits {
    Limits {
        signatures_per_command_max: 2,
        grants_per_agent_max: 40,
        dedup_entries_per_signer_max: 100,
        resumer_threshold: 2,
        ..Limits::default()
    }
}

pub(crate) fn voter(node: u64) -> Voter {
    let label = format!("node-{node}");
    Voter { node, name: name(&label), key: public(&label) }
}

/// The key of a voter that may have another's.
fn voter_key(voter: &Voter) -> SigningKey {
    let label = (1..10).map(|node| format!("node-{node}")).find(|label| public(label) == voter.key);
    key(&label.unwrap())
}

pub(crate) fn voters(nodes: &[u64]) -> VoterSet {
    VoterSet::majority(nodes.iter().map(|node| voter(*node)).collect()).unwrap()
}

pub(crate) fn roster(nodes: &[u64]) -> Roster {
    Roster::new(vec![voters(nodes)]).unwrap()
}

/// Two operators, an issuer of everything and one of a team, two revokers and two halters likewise, a gate, and
/// three resumers, one of them of the team.
pub(crate) fn principals() -> Vec<Principal> {
    let team = || scope(&["team/*"], &["deploy", "repo/*"], &["prod/*"]);
    let mut principals = vec![
        principal("operator-1", &[Role::Operator], everything()),
        principal("operator-2", &[Role::Operator], scope(&["team/*"], &["*"], &["*"])),
        principal("issuer", &[Role::Issuer], everything()),
        principal("team-issuer", &[Role::Issuer], team()),
        principal("revoker", &[Role::Revoker], everything()),
        principal("team-revoker", &[Role::Revoker], team()),
        principal("gate", &[Role::Gate], everything()),
        principal("halter", &[Role::Halter], everything()),
        principal("team-halter", &[Role::Halter], team()),
        principal("resumer-1", &[Role::Resumer], everything()),
        principal("resumer-2", &[Role::Resumer], everything()),
        principal("team-resumer", &[Role::Resumer], team()),
    ];
    principals.sort_by_key(|principal| principal.key);
    principals
}

pub(crate) fn genesis(limits: Limits) -> Genesis {
    Genesis {
        origin: ORIGIN.into(),
        roster: roster(&[1, 2, 3]),
        principals: principals(),
        limits,
        rules_version: 1,
    }
}

/// What one node has.
pub(crate) struct Replica {
    pub(crate) state: State,
    pub(crate) nodes: MemoryNodes,
    /// Every leaf of the log, encoded.
    pub(crate) leaves: Vec<Vec<u8>>,
    /// After each block.
    pub(crate) summaries: Vec<Summary>,
}

impl Replica {
    pub(crate) fn found(block: &Block) -> Self {
        let (state, applied) = State::genesis(&MemoryNodes::new(), block).unwrap();
        let (nodes, leaves, summaries) = (MemoryNodes::new(), Vec::new(), Vec::new());
        let mut replica = Self { state, nodes, leaves, summaries };
        replica.keep(&applied);
        replica
    }

    pub(crate) fn apply(&mut self, encoded: &[u8]) -> Applied {
        let block = Block::decode(encoded).unwrap();
        assert_eq!(block.encode(), encoded);
        let applied = self.state.apply(&self.nodes, &block).unwrap();
        self.state.advance(&applied);
        self.keep(&applied);
        applied
    }

    fn keep(&mut self, applied: &Applied) {
        self.nodes.insert(&Update {
            root: applied.summary.root,
            new: applied.new_nodes.clone(),
            stale: applied.stale_nodes.clone(),
            next_id: applied.summary.next_node,
        });
        self.summaries.push(applied.summary.clone());
        self.leaves.extend(applied.leaves.iter().cloned());
    }
}

/// The ledger, its keys, and its three nodes.
pub(crate) struct House {
    pub(crate) ledger: LedgerId,
    pub(crate) trust: Trust,
    /// Every block, encoded.
    pub(crate) blocks: Vec<Vec<u8>>,
    pub(crate) replicas: Vec<Replica>,
    /// In force after the last block.
    pub(crate) roster: Roster,
    /// In force before it.
    before: Roster,
    /// Everybody who ever voted.
    voters: BTreeMap<u64, Voter>,
    pub(crate) now_ms: u64,
    requests: u64,
    statements: Cell<u64>,
}

impl House {
    pub(crate) fn found() -> Self {
        Self::found_with(limits())
    }

    pub(crate) fn found_with(limits: Limits) -> Self {
        let command = Command {
            signer: public("operator-1"),
            request_id: RequestId([0; 16]),
            not_after_ms: FOUNDED_MS,
            body: Body::Genesis(genesis(limits)),
        };
        let keys = [&key("operator-1"), &key("operator-2")];
        let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &keys).unwrap();
        let block = Block::genesis(FOUNDED_MS, signed);
        let ledger = LedgerId(block.hash());
        let encoded = block.encode();
        assert_eq!(Block::decode(&encoded).unwrap(), block);
        let replicas = (0..3).map(|_| Replica::found(&block)).collect();
        let trust = Trust::new(ORIGIN.into(), ledger, roster(&[1, 2, 3]), limits.clock_skew_ms_max);
        Self {
            ledger,
            trust,
            blocks: vec![encoded],
            replicas,
            roster: roster(&[1, 2, 3]),
            before: roster(&[1, 2, 3]),
            voters: (1..=3).map(|node| (node, voter(node))).collect(),
            now_ms: FOUNDED_MS,
            requests: 0,
            statements: Cell::new(0),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.replicas[0].state
    }

    pub(crate) fn head(&self) -> &Head {
        self.state().head()
    }

    pub(crate) fn roster_id(&self) -> RosterId {
        self.trust.genesis.id(0)
    }

    /// A command of `signer`, under the next request id, good for an hour.
    pub(crate) fn command(&mut self, signer: &str, body: Body) -> Command {
        self.requests += 1;
        let mut request_id = [0; 16];
        request_id[8..].copy_from_slice(&self.requests.to_be_bytes());
        Command {
            signer: public(signer),
            request_id: RequestId(request_id),
            not_after_ms: self.now_ms + HOUR_MS,
            body,
        }
    }

    /// The same, signed by `signer`.
    pub(crate) fn signed(&mut self, signer: &str, body: Body) -> SignedCommand {
        let command = self.command(signer, body);
        self.sign(&command, &[signer])
    }

    pub(crate) fn sign(&self, command: &Command, signers: &[&str]) -> SignedCommand {
        let keys: Vec<SigningKey> = signers.iter().map(|label| key(label)).collect();
        SignedCommand::sign(self.ledger, command, &keys.iter().collect::<Vec<_>>()).unwrap()
    }

    /// A block of the first voter upon the last one.
    pub(crate) fn propose(&self, commands: Vec<SignedCommand>) -> Block {
        let (proposer, head, key) = self.proposer();
        let previous = self.state().summary().block_hash;
        Block::propose(self.ledger, previous, self.now_ms, proposer, head, commands, &key)
    }

    /// The two blocks that change the voters as `command` asks: the second is made before the first is
    /// applied.
    pub(crate) fn propose_change(&self, command: SignedCommand) -> (Block, Block) {
        let Body::SetRoster { voters, .. } = &command.command().body else { panic!("no change") };
        let joint = self.roster.joint_with(voters).unwrap();
        let uniform = joint.completed().unwrap();
        let ((proposer, head, key), now_ms) = (self.proposer(), self.now_ms);
        let previous = self.state().summary().block_hash;
        let change = (joint, command);
        let joint = Block::propose_joint(self.ledger, previous, now_ms, proposer, head, change, &key);
        let previous = joint.hash();
        let uniform = Block::propose_uniform(self.ledger, previous, now_ms, proposer, head, uniform, &key);
        (joint, uniform)
    }

    /// A voter and its term; its head; its key.
    fn proposer(&self) -> ((u64, u64), (u64, Hash), SigningKey) {
        let head = self.head();
        let voter = self.roster.voters().next().unwrap();
        ((voter.node, 7), (head.block, head.hash()), voter_key(voter))
    }

    /// Asks for these voters: by `operator-1`, together with `operator-2`.
    pub(crate) fn set_roster(&self, voters: VoterSet) -> Body {
        Body::SetRoster { voters, replaces: self.head().roster, operators: vec![public("operator-2")] }
    }

    /// The same, signed by both.
    pub(crate) fn signed_change(&mut self, voters: VoterSet) -> SignedCommand {
        let body = self.set_roster(voters);
        let command = self.command("operator-1", body);
        self.sign(&command, &["operator-1", "operator-2"])
    }

    /// Changes the voters to these nodes, and lets the trust know: the links of both blocks.
    pub(crate) fn change(&mut self, nodes: &[u64]) -> [RosterLink; 2] {
        self.now_ms += 1_000;
        let signed = self.signed_change(voters(nodes));
        let (joint, uniform) = self.propose_change(signed);
        let links = [joint, uniform].map(|block| {
            let before = self.roster.clone();
            self.apply(&block.encode());
            self.link(&before)
        });
        self.trust = self.trust.extend(&RosterChain { links: links.to_vec() }).unwrap();
        links
    }

    /// The link of the last block, which brought the roster into force after `before`: everybody signs.
    pub(crate) fn link(&self, before: &Roster) -> RosterLink {
        let mut nodes: Vec<u64> =
            before.voters().chain(self.roster.voters()).map(|voter| voter.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.link_by(&nodes)
    }

    /// The same, signed by these.
    pub(crate) fn link_by(&self, nodes: &[u64]) -> RosterLink {
        let head = *self.head();
        let statements = nodes.iter().map(|node| self.head_statement(*node, head)).collect();
        RosterLink { roster: self.roster.clone(), head, statements }
    }

    /// Whom a client believes that has seen no change yet.
    pub(crate) fn founding_trust(&self) -> Trust {
        self.trust.founding()
    }

    /// Applies a block of these commands.
    pub(crate) fn block(&mut self, commands: Vec<SignedCommand>) -> Applied {
        let encoded = self.propose(commands).encode();
        self.apply(&encoded)
    }

    /// A block without effect: its one command is refused.
    pub(crate) fn block_without_effect(&mut self) {
        let refused = self.signed("operator-1", Body::RetireAgent { agent: name("nobody") });
        assert!(self.block(vec![refused]).leaves.is_empty());
    }

    /// Applies one block on every node; they must agree in everything, byte for byte.
    pub(crate) fn apply(&mut self, encoded: &[u8]) -> Applied {
        let encoded = encoded.to_vec();
        self.before = self.roster.clone();
        if let Some(roster) = Block::roster_of(&encoded).unwrap() {
            self.voters.extend(roster.voters().map(|voter| (voter.node, voter.clone())));
            self.roster = roster;
        }
        let applied: Vec<Applied> = self.replicas.iter_mut().map(|replica| replica.apply(&encoded)).collect();
        self.blocks.push(encoded);
        for other in &applied[1..] {
            assert_eq!(applied[0].summary, other.summary);
            assert_eq!(applied[0].leaves, other.leaves);
            assert_eq!(applied[0].outcomes, other.outcomes);
            assert_eq!(applied[0].new_nodes, other.new_nodes);
            assert_eq!(applied[0].stale_nodes, other.stale_nodes);
            assert_eq!(applied[0].dedup, other.dedup);
            assert_eq!(applied[0].dedup_dropped, other.dedup_dropped);
        }
        applied.into_iter().next().unwrap()
    }

    /// One command in a block of its own, a second later.
    pub(crate) fn send(&mut self, signed: &SignedCommand) -> Outcome {
        self.now_ms += 1_000;
        self.block(vec![signed.clone()]).outcomes.pop().unwrap()
    }

    /// The same, which must take effect.
    pub(crate) fn applied(&mut self, signer: &str, body: Body) -> SignedCommand {
        let signed = self.signed(signer, body);
        let outcome = self.send(&signed);
        assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
        signed
    }

    pub(crate) fn register(&mut self, agent: &str) {
        self.applied("operator-1", registration(agent, None));
    }

    pub(crate) fn register_in(&mut self, agent: &str, lineage: &str) {
        self.applied("operator-1", registration(agent, Some(lineage)));
    }

    pub(crate) fn grant(&mut self, terms: Terms) -> GrantId {
        let signed = self.applied("issuer", Body::grant(terms));
        GrantId::of(self.ledger, signed.command_bytes())
    }

    pub(crate) fn delegate(&mut self, holder: &str, parent: GrantId, terms: Terms) -> GrantId {
        let signed = self.applied(holder, Body::delegate(parent, terms));
        GrantId::of(self.ledger, signed.command_bytes())
    }

    /// Has a decision recorded: which it is, and what its leaf says.
    pub(crate) fn authorize(&mut self, asked: Authorize) -> (DecisionRef, Verdict) {
        let signed = self.signed("gate", Body::Authorize(asked.clone()));
        let Outcome::Applied(cause) = self.send(&signed) else { panic!("not recorded") };
        let Entry::Command { verdict: Some(verdict), .. } = self.entry(cause.index) else { panic!() };
        let id = DecisionId::of(self.ledger, signed.command_bytes());
        (DecisionRef { agent: asked.agent, number: verdict.number, id }, verdict)
    }

    pub(crate) fn revoke(&mut self, grant: GrantId) {
        self.applied("revoker", Body::RevokeGrant { grant, reason: "no longer needed".into() });
    }

    /// Halts: the leaf's index, and what resumes it.
    pub(crate) fn halt(&mut self, scope: HaltScope) -> (u64, Body) {
        let signed = self.applied("halter", Body::Halt { scope, reason: "ticket 1404".into() });
        let index = self.state().dedup().get(&signed.dedup_key()).unwrap().index;
        (index, Body::Resume { halt: index, halt_command: signed.command_hash() })
    }

    /// Registers a generation whose model is `model`.
    pub(crate) fn register_generation(
        &mut self,
        lineage: &str,
        parent: Option<GenerationId>,
        model: &str,
    ) -> GenerationId {
        let generation = generation(lineage, parent, model);
        let id = generation.id(self.ledger);
        self.applied("operator-1", Body::RegisterGeneration(Box::new(generation)));
        id
    }

    /// Has a generation act, by both operators.
    pub(crate) fn release(&mut self, lineage: &str, generation: GenerationId) {
        let reviewers = vec![public("operator-2")];
        let body = Body::ReleaseGeneration { lineage: name(lineage), generation, reviewers };
        self.applied_by(&["operator-1", "operator-2"], body);
    }

    /// A command that several sign, which must take effect.
    pub(crate) fn applied_by(&mut self, signers: &[&str], body: Body) -> SignedCommand {
        let command = self.command(signers[0], body);
        let signed = self.sign(&command, signers);
        let outcome = self.send(&signed);
        assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
        signed
    }

    /// Ends a halt, by two resumers.
    pub(crate) fn resume(&mut self, resume: &Body) {
        self.applied("resumer-1", resume.clone());
        self.applied("resumer-2", resume.clone());
    }

    // ------------------------------------------------------------------------------------------------
    // Answers.

    /// The decision of the whole state, and the least read set that proves it: a permit by the one chain
    /// that it rests on, which then is the hint.
    pub(crate) fn read_set(
        &self,
        request: &Request,
        interval: Interval,
    ) -> (Decision, PrunedTree, Option<GrantRef>) {
        self.read_set_of(self.state().summary().root, request, interval)
    }

    /// The same of the state after `block`.
    pub(crate) fn read_set_at(
        &self,
        block: u64,
        request: &Request,
        interval: Interval,
    ) -> (Decision, PrunedTree, Option<GrantRef>) {
        let root = self.replicas[0].summaries[usize::try_from(block).unwrap()].root;
        self.read_set_of(root, request, interval)
    }

    fn read_set_of(
        &self,
        root: Root,
        request: &Request,
        interval: Interval,
    ) -> (Decision, PrunedTree, Option<GrantRef>) {
        let nodes = &self.replicas[0].nodes;
        let run = |request: &Request| {
            let view = Recording::new(nodes, root);
            let decision = decide(&view, request, interval).unwrap();
            (decision, prune(nodes, root, &view.into_keys()).unwrap())
        };
        let (decision, tree) = run(&Request { hint: None, ..request.clone() });
        match &decision {
            Decision::Permit(authority) => {
                let hint = authority.chain.first().copied();
                let (again, tree) = run(&Request { hint, ..request.clone() });
                assert_eq!(again, decision);
                (decision, tree, hint)
            }
            Decision::Denied(_) => (decision, tree, None),
        }
    }

    fn number(&self) -> Number {
        self.statements.set(self.statements.get() + 1);
        Number { epoch: 1, counter: self.statements.get() }
    }

    pub(crate) fn fresh_statement(&self, node: u64, fresh: Fresh, head: Head) -> Statement {
        self.statement(node, Some(fresh), head)
    }

    pub(crate) fn head_statement(&self, node: u64, head: Head) -> Statement {
        self.statement(node, None, head)
    }

    fn statement(&self, node: u64, fresh: Option<Fresh>, head: Head) -> Statement {
        let voter = self.voters.get(&node).cloned().unwrap_or_else(|| voter(node));
        Statement::sign(&voter, &voter_key(&voter), self.number(), fresh, head)
    }

    /// What an honest node at the last block says when shown `nonce_root` at `clock_ms`.
    pub(crate) fn fresh(&self, nonce_root: Hash, clock_ms: u64) -> Fresh {
        let head = self.head();
        Fresh { nonce_root, clock_ms, tail_block: head.block, tail_roster: head.roster }
    }

    /// The nonces of a round in which the question of `request` stands at place 2 of 5.
    pub(crate) fn round(&self, request: &Request, nonce: Nonce) -> NonceTree {
        let other = |number: u8| Hash::of(&[&[number]]).0;
        NonceTree::new(vec![other(0), other(1), nonce.question(request), other(3), other(4)]).unwrap()
    }

    /// A full answer: fresh statements of `fresh` (each node with its clock), the further signatures of
    /// `signers` on the head.
    pub(crate) fn answer_by(
        &self,
        request: &Request,
        nonce: Nonce,
        fresh: &[(u64, u64)],
        signers: &[u64],
    ) -> Answer {
        let head = *self.head();
        let round = self.round(request, nonce);
        let statements: Vec<Statement> = fresh
            .iter()
            .map(|(node, clock_ms)| self.fresh_statement(*node, self.fresh(round.root(), *clock_ms), head))
            .collect();
        let head_statements = signers.iter().map(|node| self.head_statement(*node, head)).collect();
        let clocks = || fresh.iter().map(|(_, clock_ms)| *clock_ms);
        let interval = Interval {
            low_ms: head.time_ms.max(clocks().min().unwrap_or(0)),
            high_ms: head.time_ms.max(clocks().max().unwrap_or(0)),
        };
        let (_, tree, hint) = self.read_set(request, interval);
        let (nonce_path, language) = (round.path(2), LANGUAGE_VERSION.into());
        Answer { head, statements, head_statements, nonce_path, tree, hint, language }
    }

    /// An answer half a second after the last block, by all voters but the last, unless he is needed. He signed
    /// the head as well, and so did those whom a roster block left out.
    pub(crate) fn answer(&self, request: &Request, nonce: Nonce) -> Answer {
        let mut fresh: BTreeSet<u64> = self.roster.voters().map(|voter| voter.node).collect();
        let all: BTreeSet<u64> = self.before.voters().map(|voter| voter.node).chain(fresh.clone()).collect();
        let last = fresh.pop_last().unwrap();
        if !self.roster.has_quorum(&fresh) {
            fresh.insert(last);
        }
        let clocks = fresh.iter().zip((0..).step_by(10)).map(|(n, ms)| (*n, self.now_ms + 500 + ms));
        let signers: Vec<u64> = all.difference(&fresh).copied().collect();
        self.answer_by(request, nonce, &clocks.collect::<Vec<_>>(), &signers)
    }

    /// An answer to a check that is under no nonce.
    pub(crate) fn recent(&self, request: &Request) -> Answer {
        Answer { nonce_path: None, ..self.answer(request, nonce("the node's own")) }
    }

    /// What was at `moment`, proven by the last head.
    pub(crate) fn past(&self, request: &Request, moment: Moment) -> PastAnswer {
        let Answer { head, statements, head_statements, .. } = self.recent(request);
        let states: Vec<(u64, u64, u64)> = (0..head.log_size)
            .filter_map(|index| match self.entry(index) {
                Entry::State { block, time_ms, .. } => Some((index, block, time_ms)),
                Entry::Command { .. } => None,
            })
            .collect();
        let is_after = |(_, block, time_ms): &(u64, u64, u64)| match moment {
            Moment::Block(asked) => *block > asked,
            Moment::Time(asked_ms) => *time_ms > asked_ms,
        };
        let count = states.iter().take_while(|state| !is_after(state)).count();
        let (index, block, block_time_ms) = states[count - 1];
        let time_ms = if let Moment::Time(time_ms) = moment { time_ms } else { block_time_ms };
        let (_, tree, hint) =
            self.read_set_at(block, request, Interval { low_ms: time_ms, high_ms: time_ms });
        let (state, next) = (self.leaf(index), states.get(count).map(|(index, ..)| self.leaf(*index)));
        let language = LANGUAGE_VERSION.into();
        PastAnswer { head, statements, head_statements, state, next, tree, hint, language }
    }

    /// The leaf at `index`, proven in the whole log.
    pub(crate) fn leaf(&self, index: u64) -> Leaf {
        let leaves = &self.replicas[0].leaves;
        let hashes: Vec<Hash> = leaves.iter().map(|entry| leaf_hash(entry)).collect();
        let mut tiles = MemoryTiles::new();
        tiles.append(&hashes);
        let proof = prove_inclusion(&tiles, index, self.head().log_size).unwrap();
        Leaf { index, entry: leaves[usize::try_from(index).unwrap()].clone(), proof }
    }

    /// Evidence of the command at `index`, under the head of the last block, which all voters signed; `cause` is
    /// the index of what it names.
    pub(crate) fn record(&self, index: u64, cause: Option<u64>) -> Record {
        let nodes = self.roster.voters().map(|voter| voter.node);
        let head = *self.head();
        let statements = nodes.map(|node| self.head_statement(node, head)).collect();
        Record {
            origin: ORIGIN.into(),
            ledger: self.ledger,
            leaf: self.leaf(index),
            cause: cause.map(|index| self.leaf(index)),
            head: HeadQuorum { head, statements },
            rosters: self.trust.roster_chain_to(head.roster).unwrap(),
        }
    }

    /// Who cosigns the checkpoint of the last head, sorted.
    pub(crate) fn cosigners(&self) -> Vec<u64> {
        let head = self.head();
        let voters = self.trust.cosigners_after(head.block, head.roster).unwrap();
        voters.voters().map(|voter| voter.node).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The checkpoint of the last head: what is signed.
    pub(crate) fn bare_checkpoint(&self) -> Checkpoint {
        let head = self.head();
        Checkpoint::new(KeyName::new(ORIGIN).unwrap(), head.log_size, head.log_root).unwrap()
    }

    /// A node's cosignature of the last head's checkpoint.
    pub(crate) fn cosignature(&self, node: u64, time_s: u64) -> SignatureLine {
        self.cosign(&self.bare_checkpoint(), node, time_s)
    }

    /// A node's cosignature of any checkpoint.
    pub(crate) fn cosign(&self, checkpoint: &Checkpoint, node: u64, time_s: u64) -> SignatureLine {
        let voter = self.voters.get(&node).cloned().unwrap_or_else(|| voter(node));
        let name = KeyName::new(&format!("{ORIGIN}/{}", voter.name)).unwrap();
        checkpoint.cosign(&name, time_s, &voter_key(&voter)).unwrap()
    }

    /// The checkpoint of the last head as nodes publish it: signed by the log, and cosigned then.
    pub(crate) fn checkpoint(&self, cosigned: &[(u64, u64)]) -> SignedCheckpoint {
        let checkpoint = self.bare_checkpoint();
        let cosignatures = cosigned.iter().map(|(node, time_s)| self.cosignature(*node, *time_s));
        let lines = std::iter::once(checkpoint.sign(&key("log"))).chain(cosignatures).collect();
        SignedCheckpoint::new(checkpoint, lines).unwrap()
    }

    /// Evidence that what is at `index` was recorded by the time that the cosignatures show.
    pub(crate) fn recorded_by(&self, index: u64, cosigned: &[(u64, u64)]) -> RecordedBy {
        let leaves = [self.leaf(index), self.leaf(self.head().log_size - 1)];
        RecordedBy::new(&self.trust, &self.checkpoint(cosigned), leaves).unwrap()
    }

    /// Evidence of one check, with the leaf that a denial rests on.
    pub(crate) fn evidence(&self, request: &Request, nonce: Nonce) -> Evidence {
        let answer = self.answer(request, nonce);
        let verified = chancery_ledger::answer::verify(&self.trust, request, nonce, &answer).unwrap();
        let cause = match &verified.decision {
            Decision::Denied(denial) => denial.cause().map(|cause| self.leaf(cause.index)),
            Decision::Permit(_) => None,
        };
        Evidence {
            origin: ORIGIN.into(),
            ledger: self.ledger,
            request: request.clone(),
            rosters: self.trust.roster_chain_to(answer.newest_roster()).unwrap(),
            proof: Proof::Check { nonce, answer },
            cause,
        }
    }

    /// Evidence of the past, with the leaf that a denial rests on.
    pub(crate) fn past_evidence(&self, request: &Request, moment: Moment) -> Evidence {
        let answer = self.past(request, moment);
        let verified = chancery_ledger::answer::verify_past(&self.trust, request, moment, &answer).unwrap();
        let cause = match &verified.decision {
            Decision::Denied(denial) => denial.cause().map(|cause| self.leaf(cause.index)),
            Decision::Permit(_) => None,
        };
        Evidence {
            origin: ORIGIN.into(),
            ledger: self.ledger,
            request: request.clone(),
            rosters: self.trust.roster_chain_to(answer.newest_roster()).unwrap(),
            proof: Proof::Past { moment, answer },
            cause,
        }
    }

    /// The command in a leaf.
    pub(crate) fn entry(&self, index: u64) -> Entry {
        Entry::decode(&self.replicas[0].leaves[usize::try_from(index).unwrap()]).unwrap()
    }
}

/// A generation that differs from another in its model.
pub(crate) fn generation(lineage: &str, parent: Option<GenerationId>, model: &str) -> Generation {
    let of = |text: &str| Hash::of(&[text.as_bytes()]);
    let digests = Digests {
        model: of(model),
        prompt: of("prompt"),
        tools: of("tools"),
        parameters: of("parameters"),
        memory: of("memory"),
    };
    Generation { lineage: name(lineage), parent, digests }
}

/// Quarantine, two signatures, one generation in service: as it is where nothing was said, at two operators.
pub(crate) const STRICT: LineagePolicy = LineagePolicy { quarantine: true, threshold: 2, in_service_max: 1 };

/// No constraint.
pub(crate) fn anything() -> LineageConstraints {
    LineageConstraints::default()
}

/// A registration of an agent with a key of its own.
pub(crate) fn registration(agent: &str, lineage: Option<&str>) -> Body {
    Body::RegisterAgent {
        agent: name(agent),
        owner: name("owner@example.com"),
        key: Some(public(agent)),
        lineage: lineage.map(name),
    }
}

pub(crate) fn request(agent: &str, action: &str, resource: &str) -> Request {
    Request {
        agent: name(agent),
        action: name(action),
        resource: name(resource),
        args_digest: Hash::of(&[b"arguments"]),
        args: None,
        knowledge: None,
        generation: None,
        hint: None,
    }
}

/// The same, to be recorded: the execution may begin within 2 s.
pub(crate) fn authorize(agent: &str, action: &str, resource: &str) -> Authorize {
    Authorize::of(request(agent, action, resource), 2_000)
}

pub(crate) fn nonce(label: &str) -> Nonce {
    Nonce(Hash::of(&[b"nonce", label.as_bytes()]).0)
}

pub(crate) fn nodes_of(statements: &[Statement]) -> BTreeSet<u64> {
    statements.iter().map(|statement| statement.node).collect()
}
