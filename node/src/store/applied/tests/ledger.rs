//! A small ledger for tests: its keys, and a leader that makes entries, as nodes would get them from Raft.

use std::collections::BTreeSet;
use std::sync::Arc;

use chancery_ledger::authority::{Applied, Block, State};
use chancery_ledger::command::{
    Body, Command, Genesis, GrantId, LedgerId, Limits, Name, Patterns, Principal, PublicKey, RequestId, Role,
    Scope, SignedCommand, Terms,
};
use chancery_ledger::head::{Head, Number, Roster, RosterLink, Statement, Voter, VoterSet};
use chancery_ledger::state::{MemoryNodes, Update};
use chancery_node::raft::types::{Entry, Membership, NodeId, Payload, log_id};
use chancery_node::store::applied::{Founding, voter_ids};
use chancery_node::store::snapshot::HeadQuorumSource;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;

pub(crate) const GENESIS_MS: u64 = 1_700_000_000_000;
pub(crate) const VOTERS: [NodeId; 3] = [1, 2, 3];

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(crate) fn node_key(node: NodeId) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(node).unwrap(); 32])
}

pub(crate) fn principal_key() -> SigningKey {
    SigningKey::from_bytes(&[99; 32])
}

fn name(text: String) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn voter(node: NodeId) -> Voter {
    Voter { node, name: name(format!("node-{node}")), key: public(&node_key(node)) }
}

pub(crate) fn voters(nodes: &[NodeId]) -> VoterSet {
    VoterSet::majority(nodes.iter().copied().map(voter).collect()).unwrap()
}

pub(crate) fn roster() -> Roster {
    Roster::new(vec![voters(&VOTERS)]).unwrap()
}

/// The genesis block of the ledger with this origin.
pub(crate) fn genesis(origin: &str) -> Block {
    let all = || Patterns::collect(["*"]).unwrap();
    let key = principal_key();
    let principal = Principal {
        key: public(&key),
        name: name("root".into()),
        roles: vec![Role::Operator, Role::Issuer, Role::Revoker],
        scope: Scope { agents: all(), actions: all(), resources: all() },
    };
    let command = Command {
        signer: public(&key),
        request_id: RequestId([0; 16]),
        not_after_ms: GENESIS_MS + 1,
        body: Body::Genesis(Genesis {
            origin: origin.into(),
            roster: roster(),
            principals: vec![principal],
            limits: Limits::default(),
            rules_version: 1,
        }),
    };
    Block::genesis(GENESIS_MS, SignedCommand::sign(LedgerId::GENESIS, &command, &[&key]).unwrap())
}

pub(crate) fn founding() -> Arc<Founding> {
    Arc::new(Founding::new(&genesis("example.com/ledger")).unwrap())
}

/// The membership that the ledger's voters are initialized with.
pub(crate) fn membership(learners: &[NodeId]) -> Membership {
    Membership::new_with_defaults(vec![VOTERS.into_iter().collect()], learners.iter().copied())
}

/// A leader: makes entries, and knows from a model in memory what they come to.
#[derive(Clone)]
pub(crate) struct Leader {
    pub(crate) state: State,
    pub(crate) nodes: MemoryNodes,
    /// What each block came to, block 0 first.
    pub(crate) history: Vec<Applied>,
    pub(crate) term: u64,
    next_index: u64,
    commands: u64,
    stamp_ms: u64,
    grants: Vec<GrantId>,
    /// The roster in force.
    roster: Roster,
    /// The links of the roster blocks, signed by all of their voters.
    pub(crate) links: Vec<RosterLink>,
}

impl Leader {
    pub(crate) fn new() -> Self {
        let (state, applied) = State::genesis(&MemoryNodes::new(), &genesis("example.com/ledger")).unwrap();
        let mut nodes = MemoryNodes::new();
        keep(&mut nodes, &applied);
        let (history, grants) = (vec![applied], Vec::new());
        let (roster, links) = (roster(), Vec::new());
        Self {
            state,
            nodes,
            history,
            term: 1,
            next_index: 0,
            commands: 0,
            stamp_ms: GENESIS_MS,
            grants,
            roster,
            links,
        }
    }

    pub(crate) fn entry(&mut self, payload: Payload) -> Entry {
        let entry = Entry { log_id: log_id(self.term, self.next_index), payload };
        self.next_index += 1;
        entry
    }

    /// The entry that initializes Raft.
    pub(crate) fn initialize(&mut self) -> Entry {
        self.entry(Payload::new(None, Some(membership(&[]))))
    }

    pub(crate) fn blank(&mut self) -> Entry {
        self.entry(Payload::default())
    }

    /// What a leader would propose after the blocks so far.
    pub(crate) fn propose(&self, commands: Vec<SignedCommand>) -> Block {
        let head = self.state.head();
        Block::propose(
            head.ledger,
            self.state.summary().block_hash,
            self.stamp_ms,
            (1, self.term),
            (head.block, head.hash()),
            commands,
            &node_key(1),
        )
    }

    /// A block with `commands`, a second after the last one.
    pub(crate) fn block(&mut self, commands: Vec<SignedCommand>) -> Entry {
        self.stamp_ms += 1000;
        let block = self.propose(commands);
        self.apply(&block);
        self.entry(Payload::new(Some(block.encode().into()), None))
    }

    /// Moves on to what `block` makes of the state.
    pub(crate) fn apply(&mut self, block: &Block) {
        let applied = self.state.apply(&self.nodes, block).unwrap();
        keep(&mut self.nodes, &applied);
        self.state.advance(&applied);
        self.history.push(applied);
    }

    /// The two blocks of a change of the voters to `nodes`, made at once as a leader does.
    pub(crate) fn roster_blocks(&mut self, nodes: &[NodeId]) -> [Block; 2] {
        self.stamp_ms += 1000;
        let head = *self.state.head();
        let (replaces, operators) = (head.roster, Vec::new());
        let command = self.command(Body::SetRoster { voters: voters(nodes), replaces, operators });
        let joint = self.roster.joint_with(&voters(nodes)).unwrap();
        let uniform = joint.completed().unwrap();
        let (proposer, newest, key) = ((1, self.term), (head.block, head.hash()), node_key(1));
        let previous = self.state.summary().block_hash;
        let change = (joint, command);
        let first =
            Block::propose_joint(head.ledger, previous, self.stamp_ms, proposer, newest, change, &key);
        let second =
            Block::propose_uniform(head.ledger, first.hash(), self.stamp_ms, proposer, newest, uniform, &key);
        [first, second]
    }

    /// A change of the voters to `nodes`: its joint and its uniform entry.
    pub(crate) fn change_voters(&mut self, nodes: &[NodeId]) -> [Entry; 2] {
        self.roster_blocks(nodes).map(|block| {
            self.apply(&block);
            let before = std::mem::replace(&mut self.roster, block.roster.clone().unwrap());
            let signers: BTreeSet<NodeId> =
                before.voters().chain(self.roster.voters()).map(|voter| voter.node).collect();
            let head = *self.state.head();
            let statements = sign_head(head, &signers.iter().copied().collect::<Vec<_>>());
            self.links.push(RosterLink { roster: self.roster.clone(), head, statements });
            let membership = Membership::new_with_defaults(voter_ids(&self.roster), signers);
            self.entry(Payload::new(Some(block.encode().into()), Some(membership)))
        })
    }

    /// Moves the clock on.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.stamp_ms += ms;
    }

    pub(crate) fn command(&mut self, body: Body) -> SignedCommand {
        self.commands += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.commands.to_be_bytes());
        let command = Command {
            signer: public(&principal_key()),
            request_id: RequestId(id),
            not_after_ms: self.stamp_ms + 3_600_000,
            body,
        };
        SignedCommand::sign(self.state.head().ledger, &command, &[&principal_key()]).unwrap()
    }

    /// A block that registers an agent, grants it something twice and revokes the grant before last.
    pub(crate) fn busy_block(&mut self) -> Entry {
        let agent = name(format!("agent-{}", self.commands));
        let owner = name("someone".into());
        let mut commands =
            vec![self.command(Body::RegisterAgent { agent: agent.clone(), owner, key: None, lineage: None })];
        for resource in ["a/*", "b"] {
            let grant = self.command(Body::grant(Terms {
                agent: agent.clone(),
                actions: Patterns::collect(["read"]).unwrap(),
                resources: Patterns::collect([resource]).unwrap(),
                not_before_ms: 0,
                not_after_ms: u64::MAX,
                max_staleness_ms: 1000,
                delegable_depth: 0,
                condition: None,
                knowledge: Default::default(),
                bounds: Default::default(),
            }));
            self.grants.push(GrantId::of(self.state.head().ledger, grant.command_bytes()));
            commands.push(grant);
        }
        if let Some(grant) = self.grants.len().checked_sub(3).map(|at| self.grants[at]) {
            commands.push(self.command(Body::RevokeGrant { grant, reason: "test".into() }));
        }
        self.block(commands)
    }

    /// A block all of whose commands are refused.
    pub(crate) fn empty_block(&mut self) -> Entry {
        let nothing = self.command(Body::SetRules { rules_version: 1 });
        self.block(vec![nothing])
    }

    /// The first entries of a log: the membership, a blank one, `busy` blocks, one without leaves.
    pub(crate) fn some_entries(&mut self, busy: usize) -> Vec<Entry> {
        let mut entries = vec![self.initialize(), self.blank()];
        entries.extend((0..busy).map(|_| self.busy_block()));
        entries.push(self.empty_block());
        entries
    }
}

fn keep(nodes: &mut MemoryNodes, applied: &Applied) {
    nodes.insert(&Update {
        root: applied.summary.root,
        new: applied.new_nodes.clone(),
        stale: Vec::new(),
        next_id: applied.summary.next_node,
    });
}

/// `head`, signed by these nodes.
pub(crate) fn sign_head(head: Head, nodes: &[NodeId]) -> Vec<Statement> {
    let number = Number { epoch: 1, counter: 1 };
    let sign = |node: &NodeId| Statement::sign(&voter(*node), &node_key(*node), number, None, head);
    nodes.iter().map(sign).collect()
}

/// Nodes 1 and 2 sign whatever head this store has.
pub(crate) struct Signers(pub(crate) chancery_node::store::applied::AppliedStore);

impl HeadQuorumSource for Signers {
    fn quorum(&self, block: u64) -> BoxFuture<'_, Option<Vec<Statement>>> {
        Box::pin(async move { Some(sign_head(self.0.head_of(block).unwrap()?, &[1, 2])) })
    }
}
