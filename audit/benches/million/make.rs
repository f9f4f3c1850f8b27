//! Makes a log: blocks of 100 commands, in turn a grant, a recorded decision, and a revocation of an earlier grant.

use std::collections::VecDeque;
use std::path::Path;

use chancery_ledger::authority::{Block, GrantRef, Outcome, State};
use chancery_ledger::command::{
    Authorize, Body, Bounds, Command, Genesis, GrantId, LedgerId, Limits, Name, Patterns, Principal,
    PublicKey, RequestId, Requirements, Role, Scope, SignedCommand, Terms,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Roster, Voter, VoterSet};
use chancery_ledger::state::MemoryNodes;
use ed25519_dalek::SigningKey;

use crate::file::LogWriter;

const BLOCK: u64 = 100;
const FOUNDED_MS: u64 = 1_800_000_000_000;

/// From block to block: 200 commands a second.
const BLOCK_MS: u64 = 500;

/// What the client gives a command by itself.
const LIFETIME_MS: u64 = 60_000;

/// How many of each kind there are.
const SIGNERS: u64 = 4;

/// Grants in force, about.
const LIVE_GRANTS: usize = 20_000;

pub(crate) fn make(entries: u64, path: &Path) {
    let mut house = House::found(path, entries);
    while entries - house.state.head().log_size > 1 {
        // The last leaf is the block's STATE leaf.
        let commands = BLOCK.min(entries - house.state.head().log_size - 1);
        let commands = (0..commands).map(|_| house.command()).collect();
        house.block(commands);
    }
    let head = *house.state.head();
    assert_eq!(head.log_size, entries);
    house.log.finish(house.ledger, head.log_size, head.log_root);
}

struct House {
    ledger: LedgerId,
    state: State,
    nodes: MemoryNodes,
    log: LogWriter,
    now_ms: u64,
    commands: u64,
    agents: u64,
    /// Granted, and not revoked, the oldest first.
    live: VecDeque<(GrantId, u64)>,
}

fn key(kind: &str, number: u64) -> SigningKey {
    SigningKey::from_bytes(&Hash::of(&[kind.as_bytes(), &number.to_be_bytes()]).0)
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn name(text: impl AsRef<str>) -> Name {
    Name::new(text.as_ref().to_owned()).unwrap()
}

fn agent(number: u64) -> Name {
    name(format!("team-{}/agent-{number}", number % 16))
}

fn everything() -> Patterns {
    Patterns::collect(["*"]).unwrap()
}

fn genesis() -> Genesis {
    let voter =
        |node: u64| Voter { node, name: name(format!("node-{node}")), key: public(&key("node", node)) };
    let roles = [("operator", Role::Operator), ("issuer", Role::Issuer), ("revoker", Role::Revoker)];
    let kinds = roles.into_iter().chain([("gate", Role::Gate)]);
    let mut principals: Vec<Principal> = kinds
        .flat_map(|(kind, role)| {
            (0..SIGNERS).map(move |number| Principal {
                key: public(&key(kind, number)),
                name: name(format!("{kind}-{number}")),
                roles: vec![role],
                scope: Scope { agents: everything(), actions: everything(), resources: everything() },
            })
        })
        .collect();
    principals.sort_by_key(|principal| principal.key);
    Genesis {
        origin: "bench.example/ledger".into(),
        roster: Roster::new(vec![VoterSet::majority((1..=3).map(voter).collect()).unwrap()]).unwrap(),
        principals,
        limits: Limits::default(),
        rules_version: 1,
    }
}

impl House {
    fn found(path: &Path, entries: u64) -> Self {
        let operators: Vec<SigningKey> = (0..SIGNERS).map(|number| key("operator", number)).collect();
        let command = Command {
            signer: public(&operators[0]),
            request_id: RequestId([0; 16]),
            not_after_ms: FOUNDED_MS,
            body: Body::Genesis(genesis()),
        };
        let signed =
            SignedCommand::sign(LedgerId::GENESIS, &command, &operators.iter().collect::<Vec<_>>()).unwrap();
        let block = Block::genesis(FOUNDED_MS, signed);
        let mut nodes = MemoryNodes::new();
        let (state, applied) = State::genesis(&nodes, &block).unwrap();
        nodes.replace(&applied.new_nodes, &applied.stale_nodes);
        let mut log = LogWriter::create(path);
        applied.leaves.iter().for_each(|leaf| log.push(leaf));
        let agents = (entries / 300).max(10);
        let ledger = LedgerId(block.hash());
        Self { ledger, state, nodes, log, now_ms: FOUNDED_MS, commands: 0, agents, live: VecDeque::new() }
    }

    fn command(&mut self) -> SignedCommand {
        let number = self.commands;
        self.commands += 1;
        if number < self.agents {
            let (agent, owner) = (agent(number), name("owner@example.com"));
            return self.signed(
                "issuer",
                number,
                Body::RegisterAgent { agent, owner, key: None, lineage: None },
            );
        }
        match number % 3 {
            0 if self.live.len() > LIVE_GRANTS.min(self.agents as usize * 8) => {
                let (grant, _) = self.live.pop_front().unwrap();
                self.signed("revoker", number, Body::RevokeGrant { grant, reason: "no longer needed".into() })
            }
            1 if !self.live.is_empty() => {
                // Any of those that are older than this block.
                let (grant, number_of) = self.live[scattered(number) as usize % self.live.len()];
                let authorize = Authorize {
                    agent: agent(number_of),
                    action: name("deploy"),
                    resource: name(format!("prod/service-{}", number % 50)),
                    args_digest: Hash::of(&[&number.to_be_bytes()]),
                    args: None,
                    knowledge: None,
                    generation: None,
                    hint: Some(GrantRef { grant, root: grant }),
                    parent: None,
                    traceparent: None,
                    execute_within_ms: 2_000,
                };
                self.signed("gate", number, Body::Authorize(authorize))
            }
            _ => {
                let number_of = scattered(number) % self.agents;
                let terms = Terms {
                    agent: agent(number_of),
                    actions: Patterns::collect(["deploy", "repo/*"]).unwrap(),
                    resources: Patterns::collect(["prod/*", "staging/*"]).unwrap(),
                    not_before_ms: self.now_ms,
                    not_after_ms: self.now_ms + 30 * 24 * 3_600_000,
                    max_staleness_ms: 5_000,
                    delegable_depth: 0,
                    condition: None,
                    knowledge: Requirements::default(),
                    bounds: Bounds::default(),
                };
                let signed = self.signed("issuer", number, Body::grant(terms));
                self.live.push_back((GrantId::of(self.ledger, signed.command_bytes()), number_of));
                signed
            }
        }
    }

    fn signed(&self, kind: &str, number: u64, body: Body) -> SignedCommand {
        let signer = key(kind, scattered(number) % SIGNERS);
        let mut request_id = [0; 16];
        request_id[8..].copy_from_slice(&number.to_be_bytes());
        let command = Command {
            signer: public(&signer),
            request_id: RequestId(request_id),
            not_after_ms: self.now_ms + LIFETIME_MS,
            body,
        };
        SignedCommand::sign(self.ledger, &command, &[&signer]).unwrap()
    }

    fn block(&mut self, commands: Vec<SignedCommand>) {
        self.now_ms += BLOCK_MS;
        let summary = self.state.summary();
        let (previous, head) = (summary.block_hash, (summary.head.block, summary.head.hash()));
        let block =
            Block::propose(self.ledger, previous, self.now_ms, (1, 1), head, commands, &key("node", 1));
        let applied = self.state.apply(&self.nodes, &block).unwrap();
        for outcome in &applied.outcomes {
            assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
        }
        applied.leaves.iter().for_each(|leaf| self.log.push(leaf));
        self.nodes.replace(&applied.new_nodes, &applied.stale_nodes);
        self.state.advance(&applied);
    }
}

/// A number that looks like chance, the same each time.
fn scattered(number: u64) -> u64 {
    let [a, b, c, d, ..] = Hash::of(&[&number.to_be_bytes()]).0;
    u32::from_be_bytes([a, b, c, d]).into()
}
