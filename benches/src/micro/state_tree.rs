//! What applying a block costs, and how many nodes of the state tree each of its commands makes: each of those is hashed
//! once, on each node, whatever else is saved.
//!
//! A ledger in this process, without a disk, with as many agents and grants as the measured one has.

use chancery_client::SigningKey;
use chancery_client::chancery_ledger::authority::{Block, State};
use chancery_client::chancery_ledger::command::{
    Authorize, Body, Bounds, Command, Genesis, GrantId, LedgerId, Limits, Name, Patterns, Principal,
    PublicKey, RequestId, Requirements, Role, Scope, SignedCommand, Terms,
};
use chancery_client::chancery_ledger::decide::Request;
use chancery_client::chancery_ledger::hash::Hash;
use chancery_client::chancery_ledger::head::{Roster, Voter, VoterSet};
use chancery_client::chancery_ledger::state::MemoryNodes;
use serde::{Deserialize, Serialize};

use crate::floor::units::thread_cpu;
use crate::workloads::chancery::Kind;

/// Commands of a block while the ledger is filled.
const FILLED_AT_ONCE: usize = 500;

/// Blocks that are measured.
const BLOCKS: usize = 7;

const BEGAN_MS: u64 = 1_000_000;
const ENDS_MS: u64 = BEGAN_MS + 12 * 3_600_000;

/// What a command of a block came to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// New nodes of the state tree, for one command.
    pub(crate) tree_nodes: f64,
    /// CPU time of `apply` for one command, its signature's verification among it, in microseconds.
    pub(crate) apply_us: f64,
}

/// The ledger.
pub(crate) struct House {
    ledger: LedgerId,
    state: State,
    nodes: MemoryNodes,
    /// Every principal in one.
    key: SigningKey,
    node: SigningKey,
    agents: usize,
    commands: u64,
    granted: Vec<GrantId>,
}

type Failed<T> = Result<T, String>;

impl House {
    /// Founds it and fills it.
    pub(crate) fn found(agents: usize, grants_each: usize) -> Failed<Self> {
        let (key, node) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let signer = public(&key);
        let body = Body::Genesis(genesis(signer, public(&node))?);
        let command = Command { signer, request_id: RequestId([0; 16]), not_after_ms: ENDS_MS, body };
        let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &[&key]).map_err(words)?;
        let block = Block::genesis(BEGAN_MS, signed);
        let mut nodes = MemoryNodes::new();
        let (state, applied) = State::genesis(&nodes, &block).map_err(words)?;
        nodes.replace(&applied.new_nodes, &applied.stale_nodes);
        let ledger = state.summary().head.ledger;
        let mut house = Self { ledger, state, nodes, key, node, agents, commands: 0, granted: Vec::new() };
        let registrations = (0..agents).map(|number| {
            Ok(Body::RegisterAgent { agent: agent(number)?, owner: name("owner")?, key: None, lineage: None })
        });
        house.fill(registrations)?;
        house.fill((0..agents * grants_each).map(|number| granting(number % agents)))?;
        Ok(house)
    }

    /// Blocks of `size` commands of this kind.
    pub(crate) fn measure(&mut self, kind: Kind, size: usize) -> Failed<Applied> {
        if kind == Kind::Revoke {
            self.fill((0..size * BLOCKS).map(granting))?;
        }
        let (mut tree_nodes, mut time_us) = (0, 0.0);
        for block in 0..BLOCKS {
            let mut bodies = Vec::new();
            for number in 0..size {
                bodies.push(self.body(kind, block * size + number)?);
            }
            let (new, took_us) = self.block(bodies)?;
            tree_nodes += new;
            time_us += took_us;
        }
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let (tree_nodes, commands) = (tree_nodes as f64, (size * BLOCKS) as f64);
        Ok(Applied { tree_nodes: tree_nodes / commands, apply_us: time_us / commands })
    }

    fn body(&mut self, kind: Kind, number: usize) -> Failed<Body> {
        // Spread over the agents, as the measured ones are.
        let number = number.wrapping_mul(7_919) % self.agents;
        match kind {
            Kind::Revoke => {
                let grant = self.granted.pop().ok_or("nothing is left to revoke")?;
                Ok(Body::RevokeGrant { grant, reason: "bench".into() })
            }
            Kind::Authorize => {
                let request = Request {
                    agent: agent(number)?,
                    action: name("payments/send")?,
                    resource: name("accounts/7")?,
                    args_digest: Hash::ZERO,
                    args: None,
                    generation: None,
                    knowledge: None,
                    hint: None,
                };
                Ok(Body::Authorize(Authorize::of(request, 10_000)))
            }
            Kind::Grant | Kind::Check | Kind::CheckSession | Kind::CheckBulk | Kind::Mix => granting(number),
        }
    }

    fn fill(&mut self, bodies: impl Iterator<Item = Failed<Body>>) -> Failed<()> {
        let mut waiting = Vec::new();
        for body in bodies {
            waiting.push(body?);
            if waiting.len() == FILLED_AT_ONCE {
                self.block(std::mem::take(&mut waiting))?;
            }
        }
        if waiting.is_empty() { Ok(()) } else { self.block(waiting).map(drop) }
    }

    /// Applies one block: how many nodes it made, and the CPU time that it took, in microseconds.
    fn block(&mut self, bodies: Vec<Body>) -> Failed<(usize, f64)> {
        let mut commands = Vec::new();
        for body in bodies {
            let grants = matches!(body, Body::Grant { .. });
            let signed = self.sign(body)?;
            if grants {
                self.granted.push(GrantId::of(self.ledger, signed.command_bytes()));
            }
            commands.push(signed);
        }
        let (summary, asked) = (self.state.summary(), commands.len());
        let head = (summary.head.block, summary.head.hash());
        let stamp_ms = summary.head.time_ms + 1;
        let block =
            Block::propose(self.ledger, summary.block_hash, stamp_ms, (1, 1), head, commands, &self.node);
        let before = thread_cpu();
        let applied = self.state.apply(&self.nodes, &block).map_err(words)?;
        let took = thread_cpu().saturating_sub(before);
        if applied.leaves.len() != asked + 1 {
            return Err(format!("{} of {asked} commands took effect", applied.leaves.len()));
        }
        self.nodes.replace(&applied.new_nodes, &applied.stale_nodes);
        self.state.advance(&applied);
        Ok((applied.new_nodes.len(), took.as_secs_f64() * 1e6))
    }

    fn sign(&mut self, body: Body) -> Failed<SignedCommand> {
        self.commands += 1;
        let mut request_id = RequestId([1; 16]);
        for (to, from) in request_id.0.iter_mut().zip(self.commands.to_be_bytes()) {
            *to = from;
        }
        let command = Command { signer: public(&self.key), request_id, not_after_ms: ENDS_MS, body };
        SignedCommand::sign(self.ledger, &command, &[&self.key]).map_err(words)
    }
}

fn genesis(principal: PublicKey, node: PublicKey) -> Failed<Genesis> {
    let everything = || Patterns::collect(["*"]).map_err(words);
    let voters = (1..=1).map(|number| Ok(Voter { node: number, name: name("node-1")?, key: node }));
    let set = VoterSet::majority(voters.collect::<Failed<_>>()?).ok_or("no voters")?;
    Ok(Genesis {
        origin: "bench.example/ledger".into(),
        roster: Roster::new(vec![set]).ok_or("no roster")?,
        principals: vec![Principal {
            key: principal,
            name: name("all")?,
            roles: vec![Role::Operator, Role::Issuer, Role::Revoker, Role::Gate],
            scope: Scope { agents: everything()?, actions: everything()?, resources: everything()? },
        }],
        limits: Limits::default(),
        rules_version: 1,
    })
}

fn granting(number: usize) -> Failed<Body> {
    let patterns = |text: &str| Patterns::collect([text]).map_err(words);
    Ok(Body::grant(Terms {
        agent: agent(number)?,
        actions: patterns("payments/send")?,
        resources: patterns("accounts/*")?,
        not_before_ms: 0,
        not_after_ms: ENDS_MS,
        max_staleness_ms: 10_000,
        delegable_depth: 0,
        condition: None,
        knowledge: Requirements::default(),
        bounds: Bounds::default(),
    }))
}

fn agent(number: usize) -> Failed<Name> {
    name(&format!("bench/agent-{number}"))
}

fn name(text: &str) -> Failed<Name> {
    Name::new(text).map_err(words)
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
