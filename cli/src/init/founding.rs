//! The founding of a ledger: keys, genesis and trust, all in memory.

use chancery_ledger::authority::{Block, RULES_VERSION, State};
use chancery_ledger::command::{
    Body, Command, Genesis, LedgerId, Limits, Name, Patterns, Principal, RequestId, Role, Scope,
    SignedCommand,
};
use chancery_ledger::head::{Roster, Voter, VoterSet};
use chancery_ledger::state::MemoryNodes;
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;

use crate::exit::{Failure, Result};
use crate::keys;
use crate::output::now_ms;

/// How long after its stamp a genesis command could have been put into its block.
const GENESIS_LIFETIME_MS: u64 = 60_000;

/// A first principal: its name, which is also its context's, and what it may do everywhere.
#[derive(Clone, Debug)]
pub(crate) struct FirstPrincipal {
    /// Its name.
    pub(crate) name: String,
    /// Its roles, sorted.
    pub(crate) roles: &'static [Role],
}

impl FirstPrincipal {
    /// One with these roles.
    pub(crate) fn new(name: impl Into<String>, roles: &'static [Role]) -> Self {
        Self { name: name.into(), roles }
    }
}

/// One principal for each of the roles that a ledger needs, but as many operators and resumers as are wanted:
/// `operator`, `operator-2` and so on.
pub(crate) fn one_per_role(operators: u32, resumers: u32) -> Vec<FirstPrincipal> {
    let several = |count: u32, name: &'static str, roles: &'static [Role]| {
        let further = (2..=count).map(move |number| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(further).map(move |name| FirstPrincipal::new(name, roles))
    };
    let mut principals: Vec<_> = several(operators, "operator", &[Role::Operator]).collect();
    principals.extend([
        FirstPrincipal::new("issuer", &[Role::Issuer]),
        FirstPrincipal::new("revoker", &[Role::Revoker]),
        FirstPrincipal::new("gate", &[Role::Gate]),
        FirstPrincipal::new("halter", &[Role::Halter]),
    ]);
    principals.extend(several(resumers, "resumer", &[Role::Resumer]));
    principals
}

/// A ledger that was founded, with every secret there is.
pub(crate) struct Founding {
    /// The encoded genesis block.
    pub(crate) genesis: Vec<u8>,
    /// What clients must get from somewhere safe.
    pub(crate) trust: Trust,
    /// Each node's signing key, in the roster's order.
    pub(crate) node_keys: Vec<SigningKey>,
    /// Each first principal's key, in their order.
    pub(crate) principal_keys: Vec<SigningKey>,
}

/// Founds the ledger `origin` with `node_count` nodes, called `node-1` and so on.
pub(crate) fn found(
    origin: &str,
    node_count: u64,
    principals: &[FirstPrincipal],
    limits: Limits,
) -> Result<Founding> {
    let invalid = |what: String| Failure::usage(format!("this ledger cannot be founded: {what}"));
    let node_keys = (0..node_count).map(|_| keys::generate()).collect::<Result<Vec<_>>>()?;
    let principal_keys = principals.iter().map(|_| keys::generate()).collect::<Result<Vec<_>>>()?;

    let voter = |(key, node): (&SigningKey, u64)| {
        let name = Name::new(node_name(node)).map_err(|error| invalid(format!("a name {error}")))?;
        Ok(Voter { node, name, key: keys::public(key) })
    };
    let voters = node_keys.iter().zip(1..).map(voter).collect::<Result<Vec<_>>>()?;
    let roster = VoterSet::majority(voters).and_then(|set| Roster::new(vec![set]));
    let roster = roster.ok_or_else(|| invalid("it has no nodes".into()))?;

    let everything = Patterns::collect(["*"]).map_err(|error| invalid(error.to_string()))?;
    let scope = Scope { agents: everything.clone(), actions: everything.clone(), resources: everything };
    let mut admitted = principals
        .iter()
        .zip(&principal_keys)
        .map(|(principal, key)| {
            let name =
                Name::new(principal.name.as_str()).map_err(|error| invalid(format!("a name {error}")))?;
            Ok(Principal {
                key: keys::public(key),
                name,
                roles: principal.roles.to_vec(),
                scope: scope.clone(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    admitted.sort_by_key(|principal| principal.key);

    let is_operator = |principal: &FirstPrincipal| principal.roles.contains(&Role::Operator);
    let operators: Vec<&SigningKey> = principals
        .iter()
        .zip(&principal_keys)
        .filter_map(|(principal, key)| is_operator(principal).then_some(key))
        .collect();
    let signer = operators.first().ok_or_else(|| invalid("nobody is its operator".into()))?;

    let stamp_ms = now_ms();
    let mut request_id = [0; 16];
    keys::fill_random(&mut request_id)?;
    let command = Command {
        signer: keys::public(signer),
        request_id: RequestId(request_id),
        not_after_ms: stamp_ms.saturating_add(GENESIS_LIFETIME_MS),
        body: Body::Genesis(Genesis {
            origin: origin.into(),
            roster: roster.clone(),
            principals: admitted,
            limits,
            rules_version: RULES_VERSION,
        }),
    };
    let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &operators)
        .map_err(|error| invalid(error.to_string()))?;
    let block = Block::genesis(stamp_ms, signed);
    // Founded once here, by the same code that every node will run.
    State::genesis(&MemoryNodes::default(), &block).map_err(|error| invalid(error.to_string()))?;
    let ledger = LedgerId(block.hash());
    let trust = Trust::new(origin.into(), ledger, roster, limits.clock_skew_ms_max);
    Ok(Founding { genesis: block.encode(), trust, node_keys, principal_keys })
}

/// The name of a node: in the roster, in its certificate and in what it signs.
pub(crate) fn node_name(node: u64) -> String {
    format!("node-{node}")
}
