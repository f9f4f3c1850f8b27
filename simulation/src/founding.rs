//! The simulated ledger: its genesis, its keys, its trust.

use std::sync::Arc;

use chancery_ledger::authority::Block;
use chancery_ledger::command::{
    Body, Command, Genesis, LedgerId, Limits, Name, Patterns, Principal, PublicKey, RequestId, Role, Scope,
    SignedCommand,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Roster, Voter, VoterSet};
use chancery_ledger::trust::Trust;
use chancery_node::store::applied::Founding;
use ed25519_dalek::SigningKey;

use crate::clock::START_MS;

const ORIGIN: &str = "chancery.example/simulation";

/// How far apart clocks may be, in milliseconds.
pub(crate) const CLOCK_SKEW_MS_MAX: u64 = 500;

/// The founding nodes.
pub(crate) const NODES: [u64; 3] = [1, 2, 3];

/// Nodes that may come to vote.
pub(crate) const SPARES: [u64; 2] = [4, 5];

/// What everybody knows.
pub(crate) struct Ledger {
    pub(crate) founding: Arc<Founding>,
    pub(crate) trust: Trust,
}

pub(crate) fn key(label: &str) -> SigningKey {
    SigningKey::from_bytes(&Hash::of(&[label.as_bytes()]).0)
}

pub(crate) fn public(label: &str) -> PublicKey {
    PublicKey(key(label).verifying_key().to_bytes())
}

pub(crate) fn node_key(node: u64) -> SigningKey {
    key(&format!("node-{node}"))
}

pub(crate) fn name(text: &str) -> Name {
    // INVARIANT: the simulation's names are names.
    Name::new(text).unwrap()
}

fn everything() -> Scope {
    let all = || Patterns::collect(["*"]).unwrap();
    Scope { agents: all(), actions: all(), resources: all() }
}

fn principal(label: &str, role: Role) -> Principal {
    Principal { key: public(label), name: name(label), roles: vec![role], scope: everything() }
}

/// `node` as a voter.
pub(crate) fn voter(node: u64) -> Voter {
    let label = format!("node-{node}");
    Voter { node, name: name(&label), key: public(&label) }
}

/// Founds the ledger.
pub(crate) fn found() -> Ledger {
    let roster = Roster::new(vec![VoterSet::majority(NODES.map(voter).into()).unwrap()]).unwrap();
    let mut principals = vec![
        principal("operator", Role::Operator),
        principal("issuer", Role::Issuer),
        principal("revoker", Role::Revoker),
    ];
    principals.sort_by_key(|principal| principal.key);
    let limits = Limits { clock_skew_ms_max: CLOCK_SKEW_MS_MAX, ..Limits::default() };
    let genesis = Genesis {
        origin: ORIGIN.into(),
        roster: roster.clone(),
        principals,
        limits,
        rules_version: chancery_ledger::authority::RULES_VERSION,
    };
    let command = Command {
        signer: public("operator"),
        request_id: RequestId([0; 16]),
        not_after_ms: START_MS,
        body: Body::Genesis(genesis),
    };
    let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &[&key("operator")]).unwrap();
    let founding = Founding::new(&Block::genesis(START_MS, signed)).unwrap();
    let trust = Trust::new(ORIGIN.into(), founding.ledger(), roster, limits.clock_skew_ms_max);
    Ledger { founding: Arc::new(founding), trust }
}
