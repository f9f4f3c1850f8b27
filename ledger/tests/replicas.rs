//! Three replicas and a plain model, given the same random blocks: the replicas agree byte for byte, replay
//! gives the same again, and every outcome and every decision is the model's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_wrap)]

mod house;
mod plain_authority;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use chancery_ledger::authority::{
    Block, Decided, Dedup, Entry, Finding, GrantRef, Outcome, Place, Replay, ReplayError, State, Verdict,
    VerifiedEntry,
};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Bound, BoundKind, Bounds, Command, DecisionId, DecisionRef, GenerationId,
    GrantId, HaltScope, LedgerId, Limits, LineageConstraints, LineagePolicy, OutcomeKind, Pattern, Patterns,
    Per, Principal, RequestId, Requirements, Role, SignedCommand, Terms, VerifiedSignatures,
};
use chancery_ledger::decide::{Decision, Denial, Interval, Request, decide, explain};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Roster, RosterChain, Voter, VoterSet};
use chancery_ledger::knowledge::{Item, Knowledge, KnowledgeTree};
use chancery_ledger::state::{MemoryLeaves, Recording, get, verify_whole};
use chancery_proto::v1 as wire;
use house::{FOUNDED_MS, HOUR_MS, House, Replica, name, patterns, public, scope};
use plain_authority::{Plain, Recorded, Seen, Signatures, conditions};
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;

const SIGNERS: [&str; 20] = [
    "operator-1",
    "operator-2",
    "issuer",
    "team-issuer",
    "revoker",
    "team-revoker",
    "gate",
    "halter",
    "team-halter",
    "resumer-1",
    "resumer-2",
    "team-resumer",
    "spare-1",
    "spare-2",
    "stranger",
    "team/a",
    "team/b",
    "team/c",
    "team/d",
    "other",
];
const AGENTS: [&str; 5] = ["team/a", "team/b", "team/c", "team/d", "other"];
const ACTIONS: [&[&str]; 6] =
    [&["*"], &["repo/*"], &["repo/read"], &["repo/write", "repo/read"], &["deploy"], &["deploy", "repo/*"]];
const RESOURCES: [&[&str]; 4] = [&["*"], &["prod/*"], &["prod/db"], &["prod/db", "test"]];
const LINEAGES: [&str; 4] = ["team/x", "team/a", "other", "team/d"];
const HALTED_ACTIONS: [&str; 4] = ["*", "repo/*", "repo/write", "deploy"];
const HALTED_RESOURCES: [&str; 4] = ["*", "prod/*", "prod/db", "test"];
const REQUESTED_ACTIONS: [&str; 3] = ["repo/read", "repo/write", "deploy"];
const REQUESTED_RESOURCES: [&str; 3] = ["prod/db", "prod/web", "test"];

/// One command to be, as plain choices, so that it shrinks; what it refers to is found when it is sent.
#[derive(Clone, Debug)]
enum Ask {
    AddPrincipal {
        who: usize,
        role: usize,
        wide: bool,
    },
    RemovePrincipal {
        who: usize,
    },
    RotatePrincipal {
        old: usize,
        new: usize,
    },
    Register {
        agent: usize,
        keyed: bool,
        lineage: Option<usize>,
    },
    Retire {
        agent: usize,
    },
    Grant(AskTerms),
    Delegate {
        parent: Index,
        terms: AskTerms,
        widen: u8,
    },
    DelegateUnknown(AskTerms),
    Revoke {
        grant: Index,
    },
    /// Revokes the grant that is then given.
    RevokeAhead(AskTerms),
    RevokeAgent {
        agent: usize,
    },
    Halt {
        what: usize,
        which: Index,
    },
    /// By one resumer, or by two.
    Resume {
        halt: Index,
        both: bool,
        /// Under the hash of another command.
        other: bool,
    },
    SetLineage {
        lineage: usize,
        policy: LineagePolicy,
        actions: Option<usize>,
        resources: Option<usize>,
        max_staleness_ms: u64,
        with: Option<usize>,
    },
    RegisterGeneration {
        lineage: usize,
        model: usize,
        /// The one before it, or another.
        parent: Option<Index>,
    },
    Release {
        lineage: usize,
        which: Index,
        with: Option<usize>,
    },
    RollBack {
        lineage: usize,
        which: Index,
        /// With the number of another.
        other: bool,
    },
    SetRules(u32),
    SetRoster(AskRoster),
    Authorize(AskAuthorize),
    Outcome(AskOutcome),
    Genesis,
    /// The very bytes of an earlier command.
    Again(Index),
    /// Another command under the request id of an earlier one.
    Reuse(Index),
}

#[derive(Clone, Debug)]
struct AskTerms {
    agent: usize,
    actions: usize,
    resources: usize,
    begins_ms: i64,
    lasts_ms: u64,
    max_staleness_ms: u64,
    delegable_depth: u32,
    /// Of each kind at most one: whose, and how much.
    bounds: [Option<(usize, u64)>; 4],
    /// How old what is known of the argument `id` may be.
    knows_ms: Option<u64>,
    condition: Option<usize>,
}

/// What a request shows.
#[derive(Clone, Debug)]
struct AskShown {
    args: AskArgs,
    /// Of which id the agent knows something, and how old that is; it asks about id 0.
    knows: Option<(usize, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum AskArgs {
    Amount(Option<u64>),
    /// Of the table.
    Given(usize),
}

#[derive(Clone, Debug)]
struct AskAuthorize {
    /// What this grant allows, in place of agent, action and resource: most of what is asked at random is denied.
    held: Option<Index>,
    agent: usize,
    action: usize,
    resource: usize,
    hint: Option<Index>,
    /// An earlier decision, and whether its id is another's.
    parent: Option<(Index, bool)>,
    execute_within_ms: u64,
    shown: AskShown,
    generation: AskGeneration,
}

#[derive(Clone, Debug)]
struct AskGeneration {
    /// None, nobody's, any of the lineage's, or else what is in service.
    kind: u8,
    which: Index,
}

#[derive(Clone, Debug)]
struct AskOutcome {
    /// Of the newest permit, or of any decision.
    decision: Option<Index>,
    kind: usize,
    result: Option<u8>,
    astray: bool,
}

/// A change of the voters that are there when it is sent.
#[derive(Clone, Debug)]
struct AskRoster {
    /// Which of the voters leave.
    leave: u8,
    /// Which nodes come, of eight that there are.
    come: u8,
    /// Of whom the first to come has the name and the key.
    name: Option<u64>,
    key: Option<u64>,
    /// Who signs beside the signer.
    operators: Vec<usize>,
    /// It is for a roster that was in force earlier.
    late: bool,
}

#[derive(Clone, Debug)]
struct Sent {
    ask: Ask,
    /// Whoever would be right, or somebody.
    by: Option<usize>,
    envelope: Signatures,
    lives_ms: i64,
}

fn ask_terms() -> impl Strategy<Value = AskTerms> {
    (
        0..AGENTS.len(),
        0..ACTIONS.len(),
        0..RESOURCES.len(),
        prop_oneof![6 => Just(-1_000), 1 => Just(0), 1 => Just(90_000), 1 => Just(-100_000_000)],
        prop_oneof![6 => Just(HOUR_MS), 2 => Just(100_000), 1 => Just(1), 1 => Just(300_000_000)],
        prop_oneof![6 => Just(5_000), 2 => Just(1), 1 => Just(10_000), 1 => Just(10_001)],
        prop_oneof![4 => Just(2), 2 => Just(8), 1 => Just(0), 1 => Just(1)],
        ask_bounds(),
        prop_oneof![8 => Just(None), 1 => Just(Some(1_000)), 1 => Just(Some(u64::MAX))],
        prop::option::weighted(0.2, 0..conditions::CONDITIONS.len()),
    )
        .prop_map(
            |(
                agent,
                actions,
                resources,
                begins_ms,
                lasts_ms,
                max_staleness_ms,
                delegable_depth,
                bounds,
                knows_ms,
                condition,
            )| {
                AskTerms {
                    agent,
                    actions,
                    resources,
                    begins_ms,
                    lasts_ms,
                    max_staleness_ms,
                    delegable_depth,
                    bounds,
                    knows_ms,
                    condition,
                }
            },
        )
}

fn ask_bounds() -> impl Strategy<Value = [Option<(usize, u64)>; 4]> {
    let one = || prop::option::weighted(0.15, (0..4_usize, 1..4_u64));
    [one(), one(), one(), one()]
}

fn ask_shown() -> impl Strategy<Value = AskShown> {
    let amount = prop_oneof![8 => (0..15_u64).prop_map(Some), 1 => Just(None)];
    let knows = prop::option::weighted(0.8, (0..2_usize, prop_oneof![Just(0), Just(1_000), Just(1_001)]));
    let args = prop_oneof![
        4 => amount.prop_map(AskArgs::Amount),
        3 => (0..conditions::ARGS.len()).prop_map(AskArgs::Given),
    ];
    (args, knows).prop_map(|(args, knows)| AskShown { args, knows })
}

fn ask_generation() -> impl Strategy<Value = AskGeneration> {
    (0..12_u8, any::<Index>()).prop_map(|(kind, which)| AskGeneration { kind, which })
}

fn ask_roster() -> impl Strategy<Value = AskRoster> {
    let other = || prop::option::weighted(0.2, 1..=8_u64);
    let operators = prop_oneof![
        8 => Just(vec![1]), 1 => Just(vec![]), 1 => proptest::collection::vec(0..SIGNERS.len(), 1),
    ];
    // Few at a time, so that the eight last for a while.
    let few = || any::<(u8, u8)>().prop_map(|(a, b)| a & b);
    (few(), few(), other(), other(), operators, prop::bool::weighted(0.1)).prop_map(
        |(leave, come, name, key, operators, late)| AskRoster { leave, come, name, key, operators, late },
    )
}

fn ask_authorize() -> impl Strategy<Value = AskAuthorize> {
    (
        0..AGENTS.len(),
        0..REQUESTED_ACTIONS.len(),
        0..REQUESTED_RESOURCES.len(),
        prop::option::of(any::<Index>()),
        prop::option::weighted(0.2, (any::<Index>(), prop::bool::weighted(0.2))),
        prop_oneof![4 => Just(60_000), 2 => Just(2_000), 1 => Just(1), 1 => Just(60_001)],
        ask_shown(),
        ask_generation(),
        prop::option::weighted(0.7, any::<Index>()),
    )
        .prop_map(
            |(agent, action, resource, hint, parent, execute_within_ms, shown, generation, held)| {
                AskAuthorize {
                    held,
                    shown,
                    generation,
                    agent,
                    action,
                    resource,
                    hint,
                    parent,
                    execute_within_ms,
                }
            },
        )
}

fn ask_outcome() -> impl Strategy<Value = AskOutcome> {
    let result = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 1 => Just(Some(1))];
    let decision = prop::option::weighted(0.4, any::<Index>());
    (decision, 0..OutcomeKind::ALL.len(), result, prop::bool::weighted(0.1))
        .prop_map(|(decision, kind, result, astray)| AskOutcome { decision, kind, result, astray })
}

fn asks() -> impl Strategy<Value = Ask> {
    let (agent, signer) = (0..AGENTS.len(), 0..SIGNERS.len());
    prop_oneof![
        1 => (signer.clone(), 0..8_usize, any::<bool>())
            .prop_map(|(who, role, wide)| Ask::AddPrincipal { who, role, wide }),
        1 => signer.clone().prop_map(|who| Ask::RemovePrincipal { who }),
        1 => (signer.clone(), signer).prop_map(|(old, new)| Ask::RotatePrincipal { old, new }),
        3 => (agent.clone(), prop::bool::weighted(0.9), prop::option::weighted(0.4, 0..LINEAGES.len()))
            .prop_map(|(agent, keyed, lineage)| Ask::Register { agent, keyed, lineage }),
        1 => agent.clone().prop_map(|agent| Ask::Retire { agent }),
        14 => ask_terms().prop_map(Ask::Grant),
        16 => (any::<Index>(), ask_terms(), prop_oneof![4 => Just(0), 1 => any::<u8>()])
            .prop_map(|(parent, terms, widen)| Ask::Delegate { parent, terms, widen }),
        1 => ask_terms().prop_map(Ask::DelegateUnknown),
        3 => any::<Index>().prop_map(|grant| Ask::Revoke { grant }),
        1 => ask_terms().prop_map(Ask::RevokeAhead),
        1 => agent.prop_map(|agent| Ask::RevokeAgent { agent }),
        3 => (prop_oneof![1 => Just(0), 10 => 1..6_usize, 10 => Just(5)], any::<Index>())
            .prop_map(|(what, which)| Ask::Halt { what, which }),
        4 => (any::<Index>(), prop::bool::weighted(0.7), prop::bool::weighted(0.05))
            .prop_map(|(halt, both, other)| Ask::Resume { halt, both, other }),
        2 => ask_lineages(),
        5 => (lineages(), 0..3_usize, prop::option::weighted(0.2, any::<Index>()))
            .prop_map(|(lineage, model, parent)| Ask::RegisterGeneration { lineage, model, parent }),
        8 => (lineages(), any::<Index>(), co_signers())
            .prop_map(|(lineage, which, with)| Ask::Release { lineage, which, with }),
        3 => (lineages(), any::<Index>(), prop::bool::weighted(0.1))
            .prop_map(|(lineage, which, other)| Ask::RollBack { lineage, which, other }),
        1 => (1..3_u32).prop_map(Ask::SetRules),
        1 => ask_roster().prop_map(Ask::SetRoster),
        24 => ask_authorize().prop_map(Ask::Authorize),
        12 => ask_outcome().prop_map(Ask::Outcome),
        1 => Just(Ask::Genesis),
        2 => any::<Index>().prop_map(Ask::Again),
        1 => any::<Index>().prop_map(Ask::Reuse),
    ]
}

/// One of a few most often, so that it comes to have several generations.
fn lineages() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..2_usize, 1 => 2..LINEAGES.len()]
}

/// The second operator, most often.
fn co_signers() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![8 => Just(Some(1)), 1 => Just(None), 1 => (0..SIGNERS.len()).prop_map(Some)]
}

fn ask_lineages() -> impl Strategy<Value = Ask> {
    let policy = (prop::bool::weighted(0.6), prop_oneof![4 => 1..=2_u32, 1 => Just(3)], 1..=3_u32).prop_map(
        |(quarantine, threshold, in_service_max)| LineagePolicy { quarantine, threshold, in_service_max },
    );
    let staleness_ms = prop_oneof![4 => Just(0), 1 => Just(1_000), 1 => Just(20_000)];
    let patterns = |count: usize| prop::option::weighted(0.3, 0..count);
    (
        0..LINEAGES.len(),
        policy,
        patterns(ACTIONS.len()),
        patterns(RESOURCES.len()),
        staleness_ms,
        co_signers(),
    )
        .prop_map(|(lineage, policy, actions, resources, max_staleness_ms, with)| Ask::SetLineage {
            lineage,
            policy,
            actions,
            resources,
            max_staleness_ms,
            with,
        })
}

fn sent() -> impl Strategy<Value = Sent> {
    let envelope = prop_oneof![
        40 => Just(Signatures::Good), 1 => Just(Signatures::TooMany),
        1 => Just(Signatures::OfOthers), 1 => Just(Signatures::Bad),
    ];
    let lives_ms = prop_oneof![
        30 => Just(HOUR_MS as i64), 5 => Just(0), 1 => Just(-1), 1 => Just(86_400_000), 1 => Just(86_400_001),
        2 => Just(1_000),
    ];
    (asks(), prop::option::weighted(0.15, 0..SIGNERS.len()), envelope, lives_ms)
        .prop_map(|(ask, by, envelope, lives_ms)| Sent { ask, by, envelope, lives_ms })
}

#[derive(Clone, Debug)]
struct AskBlock {
    later_ms: i64,
    sent: Vec<Sent>,
    /// Roster blocks, after the block.
    change: Option<Sent>,
    requests: Vec<AskRequest>,
}

#[derive(Clone, Debug)]
struct AskRequest {
    agent: usize,
    action: usize,
    resource: usize,
    /// Around which grant's edge, and how far from it; else around now.
    edge: Option<(Index, bool)>,
    low_ms: i64,
    spread_ms: u64,
    hint: Option<Index>,
    shown: AskShown,
    generation: AskGeneration,
}

fn ask_requests() -> impl Strategy<Value = AskRequest> {
    (
        0..AGENTS.len(),
        0..REQUESTED_ACTIONS.len(),
        0..REQUESTED_RESOURCES.len(),
        prop::option::of((any::<Index>(), any::<bool>())),
        -2..3_i64,
        0..3_u64,
        prop::option::of(any::<Index>()),
        ask_shown(),
        ask_generation(),
    )
        .prop_map(|(agent, action, resource, edge, low_ms, spread_ms, hint, shown, generation)| {
            AskRequest { shown, generation, agent, action, resource, edge, low_ms, spread_ms, hint }
        })
}

fn ask_blocks() -> impl Strategy<Value = AskBlock> {
    let later_ms = prop_oneof![
        20 => Just(1_000), 2 => Just(0), 2 => Just(-5_000), 2 => Just(60_000), 1 => Just(700_000),
        1 => Just(90_000_000),
    ];
    let change = (sent(), ask_roster()).prop_map(|(sent, ask)| Sent { ask: Ask::SetRoster(ask), ..sent });
    let change = prop::option::weighted(0.3, change);
    let sent = proptest::collection::vec(sent(), 1..8);
    (later_ms, sent, change, proptest::collection::vec(ask_requests(), 0..8))
        .prop_map(|(later_ms, sent, change, requests)| AskBlock { later_ms, sent, change, requests })
}

struct Run {
    house: House,
    plain: Plain,
    /// Every command that was sent.
    sent: Vec<(SignedCommand, Signatures)>,
    requests: u64,
}

impl Run {
    fn found() -> Self {
        let limits = Limits {
            grants_per_agent_max: 34,
            dedup_entries_per_signer_max: 12,
            delegation_depth_max: 3,
            operator_threshold: 2,
            open_decisions_per_agent_max: 2,
            ..house::limits()
        };
        let house = House::found_with(limits);
        let plain = Plain::found(house.ledger, FOUNDED_MS, &house::genesis(limits));
        Self { house, plain, sent: Vec::new(), requests: 0 }
    }

    fn terms(&self, ask: &AskTerms) -> Terms {
        let begins_ms = self.house.now_ms.saturating_add_signed(ask.begins_ms);
        Terms {
            agent: name(AGENTS[ask.agent]),
            actions: patterns(ACTIONS[ask.actions]),
            resources: patterns(RESOURCES[ask.resources]),
            not_before_ms: begins_ms,
            not_after_ms: begins_ms + ask.lasts_ms,
            max_staleness_ms: ask.max_staleness_ms,
            delegable_depth: ask.delegable_depth,
            knowledge: Requirements::collect(
                ask.knows_ms.map(|max_age_ms| house::requirement("about/{args.id}", max_age_ms)),
            )
            .unwrap(),
            bounds: bounds(&ask.bounds),
            condition: ask.condition.map(|number| conditions::CONDITIONS[number].condition()),
        }
    }

    /// `ask`, narrowed to what `parent` allows, but for what `widen` says.
    fn narrowed(&self, parent: &Terms, ask: &AskTerms, widen: u8) -> Terms {
        let asked = self.terms(ask);
        let narrow = |parent: &Patterns, asked: &Patterns, keep: bool| {
            if keep || parent.covers(asked) { asked.clone() } else { parent.clone() }
        };
        let keep = |bit: u8| widen & (1 << bit) != 0;
        let mut not_before_ms = asked.not_before_ms.max(parent.not_before_ms);
        let mut not_after_ms = asked.not_after_ms.min(parent.not_after_ms);
        if not_before_ms >= not_after_ms {
            (not_before_ms, not_after_ms) = (parent.not_before_ms, parent.not_after_ms);
        }
        let depth = parent.delegable_depth.saturating_sub(1);
        let by_key = |bound: &&Bound| matches!(bound.per, Per::Key(_));
        let same = |a: &Bound, b: &Bound| (&a.name, &a.kind, &a.per) == (&b.name, &b.kind, &b.per);
        let known = |bound: &&Bound| !by_key(bound) || parent.bounds.iter().any(|known| same(known, bound));
        let shared = asked.bounds.iter().filter(known).cloned();
        Terms {
            agent: asked.agent,
            actions: narrow(&parent.actions, &asked.actions, keep(0)),
            resources: narrow(&parent.resources, &asked.resources, keep(1)),
            not_before_ms: if keep(2) { asked.not_before_ms } else { not_before_ms },
            not_after_ms: if keep(2) { asked.not_after_ms } else { not_after_ms },
            max_staleness_ms: if keep(3) {
                asked.max_staleness_ms
            } else {
                asked.max_staleness_ms.min(parent.max_staleness_ms)
            },
            delegable_depth: if keep(4) { asked.delegable_depth } else { depth },
            knowledge: asked.knowledge,
            bounds: if keep(5) { asked.bounds.clone() } else { Bounds::collect(shared).unwrap() },
            condition: asked.condition,
        }
    }

    /// What the agent knows of one id, as old as it is by the house's clock, and of something else.
    fn knowledge(&self, shown: &AskShown) -> Option<Knowledge> {
        let item = |source: String, retrieved_at_ms| Item {
            source: name(&source),
            digest: Hash::of(&[b"what was read"]),
            retrieved_at_ms,
        };
        let (id, age_ms) = shown.knows?;
        let source = format!("about/{id}");
        let items = vec![item(source.clone(), self.house.now_ms - age_ms), item("other".into(), 0)];
        Some(KnowledgeTree::new(items).unwrap().show(&[name(&source)]).unwrap())
    }

    /// Who signs beside the signer.
    fn beside(&self, sent: &Sent, with: Option<usize>) -> Vec<chancery_ledger::command::PublicKey> {
        let signer = public(sent.by.map_or("operator-1", |by| SIGNERS[by]));
        with.map(|with| public(SIGNERS[with])).into_iter().filter(|key| *key != signer).collect()
    }

    fn some_generation(
        &self,
        lineage: &chancery_ledger::command::Name,
        which: &Index,
    ) -> (u64, GenerationId) {
        let there = self.plain.generations(lineage);
        if there.is_empty() {
            return (1, GenerationId(Hash::ZERO));
        }
        let place = which.index(there.len());
        (place as u64 + 1, there[place].id)
    }

    fn some_grant(&self, index: &Index) -> Option<GrantId> {
        let granted = &self.plain.granted;
        (!granted.is_empty()).then(|| granted[index.index(granted.len())])
    }

    /// The commands of one ask, signed.
    fn signed(&mut self, sent: &Sent) -> Vec<(SignedCommand, Signatures)> {
        let lives = sent.lives_ms;
        let unknown = GrantId(Hash::of(&[b"unknown"]));
        let (rightful, body) = match &sent.ask {
            Ask::AddPrincipal { who, role, wide } => {
                let roles = match Role::ALL.get(*role) {
                    Some(role) => vec![*role],
                    None => vec![Role::Issuer, Role::Revoker],
                };
                let scope =
                    if *wide { house::everything() } else { scope(&["team/*"], &["deploy"], &["prod/*"]) };
                let label = SIGNERS[*who];
                let principal = Principal { key: public(label), name: name(label), roles, scope };
                ("operator-1", Body::AddPrincipal(principal))
            }
            Ask::RemovePrincipal { who } => {
                ("operator-1", Body::RemovePrincipal { key: public(SIGNERS[*who]) })
            }
            Ask::RotatePrincipal { old, new } => {
                let (old_key, new_key) = (public(SIGNERS[*old]), public(SIGNERS[*new]));
                (SIGNERS[*old], Body::RotatePrincipal { old_key, new_key })
            }
            Ask::Register { agent, keyed, lineage } => {
                let agent = AGENTS[*agent];
                let key = keyed.then(|| public(agent));
                let lineage = lineage.map(|which| name(LINEAGES[which]));
                let (agent, owner) = (name(agent), name("owner"));
                ("operator-1", Body::RegisterAgent { agent, owner, key, lineage })
            }
            Ask::Retire { agent } => ("issuer", Body::RetireAgent { agent: name(AGENTS[*agent]) }),
            Ask::Grant(terms) => ("issuer", Body::grant(self.terms(terms))),
            Ask::Delegate { parent, terms, widen } => match self.some_grant(parent) {
                Some(parent) => {
                    let held = &self.plain.grants[&parent].terms;
                    let holder = AGENTS.iter().find(|agent| **agent == held.agent.as_str()).unwrap();
                    (*holder, Body::delegate(parent, self.narrowed(held, terms, *widen)))
                }
                None => ("issuer", Body::grant(self.terms(terms))),
            },
            Ask::DelegateUnknown(terms) => ("team/a", Body::delegate(unknown, self.terms(terms))),
            Ask::Revoke { grant } => {
                let grant = self.some_grant(grant).unwrap_or(unknown);
                ("revoker", Body::RevokeGrant { grant, reason: String::new() })
            }
            Ask::RevokeAhead(terms) => {
                let grant = self.command("issuer", Body::grant(self.terms(terms)), HOUR_MS as i64);
                let grant = self.envelope(&grant, "issuer", Signatures::Good);
                let id = GrantId::of(self.house.ledger, grant.0.command_bytes());
                let by = sent.by.map_or("revoker", |by| SIGNERS[by]);
                let revoke = Body::RevokeGrant { grant: id, reason: "ahead".into() };
                let revoke = self.command(by, revoke, lives);
                return vec![self.envelope(&revoke, by, sent.envelope), grant];
            }
            Ask::RevokeAgent { agent } => {
                ("revoker", Body::RevokeAgent { agent: name(AGENTS[*agent]), reason: "all".into() })
            }
            Ask::Halt { what, which } => {
                let pattern = |of: &[&str]| Pattern::new(of[which.index(of.len())]).unwrap();
                let scope = match what {
                    0 => HaltScope::Everything,
                    1 => HaltScope::Agent(name(AGENTS[which.index(AGENTS.len())])),
                    2 => HaltScope::Lineage(name(LINEAGES[which.index(LINEAGES.len())])),
                    3 => HaltScope::Action(pattern(&HALTED_ACTIONS)),
                    4 => HaltScope::Resource(pattern(&HALTED_RESOURCES)),
                    _ => HaltScope::Subtree(self.some_grant(which).unwrap_or(unknown)),
                };
                ("halter", Body::Halt { scope, reason: "halted".into() })
            }
            Ask::Resume { halt, both, other } => {
                let late = self.plain.halts.iter().any(|(_, stopped)| stopped.ended.is_some());
                // A third resumer, who comes when two have ended it.
                let late = late && !both && halt.index(2) == 0;
                let halts = self.plain.halts.iter().filter(|(_, stopped)| !late || stopped.ended.is_some());
                let halts: Vec<_> = halts.map(|(index, stopped)| (*index, stopped.command)).collect();
                let (halt, halt_command) =
                    if halts.is_empty() { (0, Hash::ZERO) } else { halts[halt.index(halts.len())] };
                let halt_command = if *other { Hash::ZERO } else { halt_command };
                let resume = Body::Resume { halt, halt_command };
                if *both {
                    let first = self.command("resumer-2", resume.clone(), lives);
                    let first = self.envelope(&first, "resumer-2", Signatures::Good);
                    let by = sent.by.map_or("resumer-1", |by| SIGNERS[by]);
                    let second = self.command(by, resume, lives);
                    return vec![first, self.envelope(&second, by, sent.envelope)];
                }
                (if late { "team-resumer" } else { "resumer-1" }, resume)
            }
            Ask::SetLineage { lineage, policy, actions, resources, max_staleness_ms, with } => {
                let list = |of: &[&[&str]], which: &Option<usize>| {
                    which.map_or_else(Patterns::default, |which| patterns(of[which]))
                };
                let constraints = LineageConstraints {
                    actions: list(&ACTIONS, actions),
                    resources: list(&RESOURCES, resources),
                    max_staleness_ms: *max_staleness_ms,
                };
                let (lineage, operators) = (name(LINEAGES[*lineage]), self.beside(sent, *with));
                ("operator-1", Body::SetLineage { lineage, policy: *policy, constraints, operators })
            }
            Ask::RegisterGeneration { lineage, model, parent } => {
                let there = self.plain.generations(&name(LINEAGES[*lineage]));
                let parent = match parent {
                    None => there.last().map(|made| made.id),
                    Some(which) if !there.is_empty() => Some(there[which.index(there.len())].id),
                    // Nobody's, or none where there should be one.
                    Some(which) => (which.index(2) == 0).then_some(GenerationId(Hash::ZERO)),
                };
                let parent = if *model == 2 && there.len() == 1 { None } else { parent };
                let made = house::generation(LINEAGES[*lineage], parent, ["a", "b", "c"][*model]);
                ("operator-1", Body::RegisterGeneration(Box::new(made)))
            }
            Ask::Release { lineage, which, with } => {
                let lineage = name(LINEAGES[*lineage]);
                let generation = self.some_generation(&lineage, which).1;
                let reviewers = self.beside(sent, *with);
                ("operator-1", Body::ReleaseGeneration { lineage, generation, reviewers })
            }
            Ask::RollBack { lineage, which, other } => {
                let lineage = name(LINEAGES[*lineage]);
                let (number, generation) = self.some_generation(&lineage, which);
                let number = if *other { number + 1 } else { number };
                ("operator-1", Body::RollbackLineage { lineage, number, generation })
            }
            Ask::SetRules(rules_version) => ("operator-1", Body::SetRules { rules_version: *rules_version }),
            Ask::SetRoster(ask) => ("operator-1", self.set_roster(ask, sent.by)),
            Ask::Authorize(ask) => ("gate", self.authorize(ask)),
            Ask::Outcome(ask) => ("gate", self.outcome(ask)),
            Ask::Genesis => ("operator-1", Body::Genesis(house::genesis(house::limits()))),
            Ask::Again(index) => {
                return if self.sent.is_empty() {
                    Vec::new()
                } else {
                    vec![self.sent[index.index(self.sent.len())].clone()]
                };
            }
            Ask::Reuse(index) => {
                if self.sent.is_empty() {
                    return Vec::new();
                }
                let earlier = self.sent[index.index(self.sent.len())].0.command().clone();
                let by = SIGNERS.iter().find(|label| public(label) == earlier.signer).unwrap();
                let body = Body::RetireAgent { agent: name("nobody") };
                let command = Command { request_id: earlier.request_id, ..self.command(by, body, lives) };
                return vec![self.envelope(&command, by, sent.envelope)];
            }
        };
        let by = sent.by.map_or(rightful, |by| SIGNERS[by]);
        // Genesis and a rotation have more signers than one.
        let command = self.command(by, body, lives);
        vec![self.envelope(&command, by, sent.envelope)]
    }

    fn authorize(&self, ask: &AskAuthorize) -> Body {
        let parent = ask
            .parent
            .as_ref()
            .map(|(index, astray)| self.some_decision(&self.decisions(|_| true), Some(index), *astray));
        let hint = ask.hint.as_ref().and_then(|index| self.some_grant(index));
        let (agent, action, resource) =
            (AGENTS[ask.agent], REQUESTED_ACTIONS[ask.action], REQUESTED_RESOURCES[ask.resource]);
        let held = ask.held.as_ref().and_then(|index| self.some_grant(index));
        let held = held.and_then(|grant| {
            let terms = &self.plain.grants[&grant].terms;
            let agent = AGENTS.into_iter().find(|agent| terms.agent.as_str() == *agent)?;
            let action = REQUESTED_ACTIONS.into_iter().find(|action| terms.actions.matches(&name(action)))?;
            let resource = REQUESTED_RESOURCES.into_iter().find(|one| terms.resources.matches(&name(one)))?;
            Some((agent, action, resource))
        });
        let (agent, action, resource) = held.unwrap_or((agent, action, resource));
        let request = with_arguments(house::request(agent, action, resource), &ask.shown);
        Body::Authorize(Authorize {
            agent: request.agent,
            action: request.action,
            resource: request.resource,
            args_digest: request.args_digest,
            args: request.args,
            generation: self.generation(agent, &ask.generation),
            knowledge: self.knowledge(&ask.shown),
            hint: hint.map(|grant| self.plain.reference(grant)),
            parent,
            traceparent: None,
            execute_within_ms: ask.execute_within_ms,
        })
    }

    fn outcome(&self, ask: &AskOutcome) -> Body {
        let among = match &ask.decision {
            Some(_) => self.decisions(|_| true),
            None => self.decisions(|recorded| recorded.deadline_ms.is_some()),
        };
        Body::Outcome(ActionOutcome {
            decision: self.some_decision(&among, ask.decision.as_ref(), ask.astray),
            kind: OutcomeKind::ALL[ask.kind],
            result_digest: ask.result.map(|result| Hash::of(&[&[result]])),
        })
    }

    /// Every recorded decision, those of one agent together, that is so.
    fn decisions(&self, so: impl Fn(&Recorded) -> bool) -> Vec<DecisionRef> {
        let all = self.plain.agents.iter().flat_map(|(agent, state)| {
            state.decisions.iter().zip(1..).map(move |(recorded, number)| (agent, recorded, number))
        });
        all.filter(|(_, recorded, _)| so(recorded))
            .map(|(agent, recorded, number)| DecisionRef { agent: name(agent), number, id: recorded.id })
            .collect()
    }

    /// One of them, the last if none is chosen; `astray` under another id.
    fn some_decision(&self, among: &[DecisionRef], index: Option<&Index>, astray: bool) -> DecisionRef {
        let nowhere = DecisionRef { agent: name("team/a"), number: 1, id: DecisionId(Hash::ZERO) };
        if among.is_empty() {
            return nowhere;
        }
        let found = index.map_or(among.len() - 1, |index| index.index(among.len()));
        let id = if astray { nowhere.id } else { among[found].id };
        DecisionRef { id, ..among[found].clone() }
    }

    fn set_roster(&self, ask: &AskRoster, by: Option<usize>) -> Body {
        let now = self.house.roster.sets()[0].voters();
        let mut voters: BTreeMap<u64, Voter> = now.iter().map(|voter| (voter.node, voter.clone())).collect();
        voters.retain(|node, _| ask.leave & (1 << (node - 1)) == 0);
        let mut first = true;
        for node in (1..=8).filter(|node| ask.come & (1 << (node - 1)) != 0) {
            let mut voter = house::voter(node);
            if std::mem::take(&mut first) {
                voter.name = ask.name.map_or(voter.name, |other| house::voter(other).name);
                voter.key = ask.key.map_or(voter.key, |other| house::voter(other).key);
            }
            voters.entry(node).or_insert(voter);
        }
        // What is no set of voters cannot be encoded: then the same voters again.
        let voters = VoterSet::majority(voters.into_values().collect());
        let voters = voters.unwrap_or_else(|| self.house.roster.sets()[0].clone());
        let signer = by.map_or("operator-1", |by| SIGNERS[by]);
        let mut operators: Vec<_> = ask.operators.iter().map(|who| public(SIGNERS[*who])).collect();
        operators.retain(|key| *key != public(signer));
        let head = self.house.head();
        let replaces = if ask.late { self.house.trust.genesis.id(7) } else { head.roster };
        Body::SetRoster { voters, replaces, operators }
    }

    fn command(&mut self, signer: &str, body: Body, lives_ms: i64) -> Command {
        self.requests += 1;
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.requests.to_be_bytes());
        Command {
            signer: public(signer),
            request_id: RequestId(request_id),
            not_after_ms: self.plain.time_ms.max(self.house.now_ms).saturating_add_signed(lives_ms),
            body,
        }
    }

    fn envelope(&self, command: &Command, by: &str, signatures: Signatures) -> (SignedCommand, Signatures) {
        let mut signers = vec![by];
        match &command.body {
            Body::RotatePrincipal { new_key, .. } => {
                signers.extend(SIGNERS.iter().find(|label| public(label) == *new_key));
            }
            Body::Genesis(_) => signers.extend(["operator-1", "operator-2"]),
            Body::SetRoster { operators, .. }
            | Body::SetLineage { operators, .. }
            | Body::ReleaseGeneration { reviewers: operators, .. } => {
                signers.extend(SIGNERS.iter().filter(|label| operators.contains(&public(label))));
            }
            _ => {}
        }
        signers.sort_unstable();
        signers.dedup();
        let ledger = match signatures {
            Signatures::Good => self.house.ledger,
            Signatures::Bad => LedgerId(Hash::of(&[b"another ledger"])),
            Signatures::OfOthers if signers.len() > 1 => {
                signers.pop();
                self.house.ledger
            }
            Signatures::OfOthers => {
                signers.push("nobody");
                self.house.ledger
            }
            Signatures::TooMany => {
                signers.extend(["nobody", "nobody-else"]);
                self.house.ledger
            }
        };
        let signatures = if signers.len() > 2 { Signatures::TooMany } else { signatures };
        let keys: Vec<_> = signers.iter().map(|label| house::key(label)).collect();
        let signed = SignedCommand::sign(ledger, command, &keys.iter().collect::<Vec<_>>()).unwrap();
        (SignedCommand::decode(&signed.encode()).unwrap(), signatures)
    }

    fn block(&mut self, ask: &AskBlock) {
        self.house.now_ms = self.house.now_ms.saturating_add_signed(ask.later_ms);
        let mut commands = Vec::new();
        for one in &ask.sent {
            let signed = self.signed(one);
            self.sent.extend(signed.iter().cloned());
            commands.extend(signed);
        }
        if commands.is_empty() {
            return;
        }
        let head_before = *self.house.head();
        let expected = self.plain.apply(self.house.now_ms, &commands);
        // What admission says of the first command is what apply then does with it.
        let state = self.house.state();
        let admitted = state
            .admit(
                &self.house.replicas[0].nodes,
                &commands[0].0,
                self.house.now_ms,
                &VerifiedSignatures::default(),
            )
            .unwrap();
        // But for a change of the voters, which is admitted to a roster block.
        let refused = matches!(expected[0], Seen::Refused(code) if code != "not_in_roster_block");
        assert_eq!(admitted.is_ok(), !refused);

        let applied = self.house.block(commands.iter().map(|(signed, _)| signed.clone()).collect());
        let seen: Vec<Seen> = applied.outcomes.iter().map(seen).collect();
        assert_eq!(seen, expected);
        let head = *self.house.head();
        assert_eq!((head.block, head.time_ms), (self.plain.block, self.plain.time_ms));
        assert_eq!(head.log_size, self.plain.log_size);
        for (leaf, index) in applied.leaves.iter().zip(head_before.log_size..) {
            let Entry::Command { verdict, .. } = Entry::decode(leaf).unwrap() else { continue };
            assert_eq!(verdict.as_ref(), self.plain.verdicts.get(&index));
            verdict.iter().for_each(count_verdict);
        }
        if applied.leaves.is_empty() {
            assert_eq!(head, Head { block: head.block, ..head_before });
        } else {
            assert_ne!(head.state_root, head_before.state_root);
        }
        count(&expected);
        if self.plain.halts.values().any(|halt| halt.ended.is_some()) {
            *MET.lock().unwrap().entry("a halt ended").or_default() += 1;
        }
    }

    /// A change of the voters, if it may be: else no block may be proposed.
    fn change(&mut self, sent: &Sent) {
        let command = self.signed(sent).remove(0);
        self.sent.push(command.clone());
        let Body::SetRoster { voters, .. } = &command.0.command().body else { panic!("no change") };
        let roster = Roster::new(vec![voters.clone()]).unwrap().id(self.house.head().block + 2);
        let expected = self.plain.change(self.house.now_ms, &command, roster);
        count(std::slice::from_ref(&expected));
        let state = self.house.state();
        let admitted = state
            .admit(
                &self.house.replicas[0].nodes,
                &command.0,
                self.house.now_ms,
                &VerifiedSignatures::default(),
            )
            .unwrap();
        match expected {
            Seen::Applied(_) => assert!(admitted.is_ok()),
            Seen::Refused(code) => return assert_eq!(admitted.unwrap_err().code(), code),
            Seen::Before(_) => unreachable!("each command has a request id of its own"),
        }
        let (joint, uniform) = self.house.propose_change(command.0);
        let before = self.house.roster.clone();
        let applied = self.house.apply(&joint.encode());
        assert_eq!(applied.outcomes.iter().map(seen).collect::<Vec<_>>(), [expected]);
        let between = self.house.roster.clone();
        let links = [self.house.link(&before), {
            let applied = self.house.apply(&uniform.encode());
            assert_eq!(applied.leaves.len(), 1);
            self.house.link(&between)
        }];
        let head = *self.house.head();
        assert_eq!((head.block, head.log_size), (self.plain.block, self.plain.log_size));
        assert_eq!(head.roster, roster);
        // Whoever follows the links comes to the same.
        let chain = RosterChain { links: links.to_vec() };
        self.house.trust = self.house.trust.extend(&chain).unwrap();
        assert_eq!(self.house.trust.roster(roster).unwrap(), &self.house.roster);
        *MET.lock().unwrap().entry("voters changed").or_default() += 1;
    }

    fn generation(&self, agent: &str, ask: &AskGeneration) -> Option<GenerationId> {
        let agent = name(agent);
        match ask.kind {
            0 => None,
            1 => Some(GenerationId(Hash::ZERO)),
            2..7 => Some(self.some_generation(&self.plain.lineage(&agent), &ask.which).1),
            _ => self.plain.in_service(&agent),
        }
    }

    fn request(&self, ask: &AskRequest) -> (Request, Interval) {
        let around_ms = match &ask.edge {
            Some((grant, end)) => self.some_grant(grant).map_or(self.plain.time_ms, |grant| {
                let terms = &self.plain.grants[&grant].terms;
                if *end { terms.not_after_ms } else { terms.not_before_ms }
            }),
            None => self.plain.time_ms,
        };
        // No answer is from before the last block: what bounds measured then is partly forgotten.
        let low_ms = around_ms.saturating_add_signed(ask.low_ms).max(self.plain.time_ms);
        let hint = ask.hint.as_ref().and_then(|index| self.some_grant(index));
        let request = Request {
            hint: hint.map(|grant| self.plain.reference(grant)),
            generation: self.generation(AGENTS[ask.agent], &ask.generation),
            knowledge: self.knowledge(&ask.shown),
            ..with_arguments(
                house::request(
                    AGENTS[ask.agent],
                    REQUESTED_ACTIONS[ask.action],
                    REQUESTED_RESOURCES[ask.resource],
                ),
                &ask.shown,
            )
        };
        (request, Interval { low_ms, high_ms: low_ms + ask.spread_ms })
    }

    fn check(&self, request: &Request, interval: Interval) {
        let expected = self.plain.decide(request, interval);
        let replica = &self.house.replicas[0];
        let view = Recording::new(&replica.nodes, replica.state.summary().root);
        let decided = decide(&view, request, interval).unwrap();
        assert_eq!(decided, expected, "{request:?} {interval:?}");
        assert_eq!(explain(&view, request, interval).unwrap().decision, decided);
        count_decision(&decided);
        if let Decision::Permit(authority) = &decided
            && authority.chain.iter().any(|link| self.plain.grants[&link.grant].terms.condition.is_some())
        {
            *MET.lock().unwrap().entry("permit under a condition").or_default() += 1;
        }
        // A hint to where no grant stands is as good as none.
        let nowhere = GrantRef { grant: GrantId(Hash::ZERO), root: GrantId(Hash::ZERO) };
        let astray = Request { hint: Some(nowhere), ..request.clone() };
        let without = Request { hint: None, ..request.clone() };
        assert_eq!(decide(&view, &astray, interval).unwrap(), self.plain.decide(&without, interval));
    }

    /// The buckets in the tree are the chains over the live entries, and everything in the tree is sound.
    fn check_whole(&self) {
        for replica in &self.house.replicas {
            let (state, root) = (&replica.state, replica.state.summary().root);
            verify_whole(&replica.nodes, root).unwrap();
            let in_tree =
                |bucket: u64| get(&replica.nodes, root, &Place::dedup_bucket(bucket).key()).unwrap();
            let live: BTreeMap<u64, _> = state.dedup().buckets().collect();
            for bucket in live.keys() {
                assert!(in_tree(*bucket).is_some());
            }
            assert!(in_tree(live.keys().next().map_or(0, |first| first.saturating_sub(1))).is_none());
        }
    }

    /// The counters of an agent are those of all that was recorded, of every epoch.
    fn check_counters(&self) {
        let (nodes, root) = (&self.house.replicas[0].nodes, self.house.state().summary().root);
        for (agent, plain) in &self.plain.agents {
            let value = get(nodes, root, &Place::agent(&name(agent)).key()).unwrap().unwrap();
            let record = wire::Record::decode(&*value).unwrap();
            let Some(wire::record::Body::Agent(record)) = record.body else { panic!("{record:?}") };
            let permits = plain.decisions.iter().filter(|recorded| recorded.deadline_ms.is_some());
            let (decisions, permits) = (plain.decisions.len() as u64, permits.count() as u64);
            assert_eq!((record.decisions, record.permits), (decisions, permits), "{agent}");
        }
    }

    /// Replays every block upon genesis, through a state that is taken apart and resumed after each.
    fn replay(&self) {
        let mut replica = Replica::found(&Block::decode(&self.house.blocks[0]).unwrap());
        let mut dedup = Dedup::default();
        for block in &self.house.blocks[1..] {
            let applied = replica.apply(block);
            applied.dedup_dropped.iter().for_each(|bucket| dedup.drop_bucket(*bucket));
            applied.dedup.iter().for_each(|entry| dedup.insert(*entry));
            let heads: Vec<_> = (0..replica.state.head().block)
                .filter_map(|block| replica.state.head_of(block).copied())
                .collect();
            replica.state = State::resume(replica.state.summary().clone(), dedup.clone(), heads);
        }
        assert_eq!(replica.leaves, self.house.replicas[0].leaves);
        assert_eq!(replica.state.summary(), self.house.state().summary());
        self.replay_leaves();
    }

    /// Replays the log from nothing but its leaves, and once with another verdict in one of them.
    fn replay_leaves(&self) {
        let leaves = &self.house.replicas[0].leaves;
        let mut entries: Vec<Entry> = leaves.iter().map(|leaf| Entry::decode(leaf).unwrap()).collect();
        let head = *replayed(self.house.ledger, &entries).unwrap().head();
        assert_eq!(Head { block: self.house.head().block, ..head }, *self.house.head());

        let verdicts = (0..).zip(&mut entries).filter_map(|(index, entry)| match entry {
            Entry::Command { verdict: Some(verdict), .. } => Some((index, verdict)),
            _ => None,
        });
        let Some((index, verdict)) = verdicts.last() else { return };
        verdict.decided = match verdict.decided {
            Decided::Permit { .. } => Decided::Denied(Denial::NoGrant),
            Decided::Denied(_) => {
                Decided::Permit { chain: Vec::new(), deadline_ms: 0, bounds: Vec::new(), generation: None }
            }
        };
        let error = replayed(self.house.ledger, &entries).unwrap_err();
        let ReplayError::Finding(finding) = error else { panic!("{error}") };
        assert!(matches!(*finding, Finding::Differs { index: at, .. } if at == index), "{finding}");
    }
}

/// Less than these logs' trees: what is changed seldom is forgotten, and made anew.
const TREE_BYTES_MAX: u64 = 2_000;

/// The log applied again, block by block.
fn replayed(ledger: LedgerId, entries: &[Entry]) -> Result<Replay<MemoryLeaves>, ReplayError<Infallible>> {
    let batches = VerifiedSignatures::default();
    let verified = entries.iter().map(|entry| VerifiedEntry::of(ledger, entry.clone(), &batches).unwrap());
    let verified: Vec<_> = verified.collect();
    let mut blocks = verified.split_inclusive(|leaf| matches!(leaf.entry(), Entry::State { .. }));
    let mut replay =
        Replay::genesis(ledger, MemoryLeaves::default(), TREE_BYTES_MAX, blocks.next().unwrap())?;
    blocks.try_for_each(|leaves| replay.apply(leaves).map(drop))?;
    Ok(replay)
}

fn bounds(ask: &[Option<(usize, u64)>; 4]) -> Bounds {
    let kinds = [
        BoundKind::Count,
        BoundKind::Sum { argument: house::identifier("amount") },
        BoundKind::Rate { window_ms: 3_000 },
        BoundKind::Concurrency,
    ];
    let one = |(kind, asked): (BoundKind, &Option<(usize, u64)>)| {
        let (per, limit) = (*asked)?;
        let limit = if matches!(kind, BoundKind::Sum { .. }) { 10 * limit } else { limit };
        let per = match per {
            0 => Per::Grant,
            1 => Per::Agent,
            2 => Per::Key(name("prod/budget")),
            _ => Per::Key(name("budget")),
        };
        Some(house::bound(kind.name(), kind, limit, per))
    };
    Bounds::collect(kinds.into_iter().zip(ask).filter_map(one)).unwrap()
}

fn arguments(shown: &AskShown) -> Option<Vec<u8>> {
    match shown.args {
        AskArgs::Given(number) => conditions::ARGS[number].text.map(Into::into),
        // Canonical.
        AskArgs::Amount(amount) => {
            let amount = amount.map(|amount| format!("\"amount\":{amount},")).unwrap_or_default();
            Some(format!("{{{amount}\"id\":\"0\"}}").into_bytes())
        }
    }
}

/// The request with these arguments.
fn with_arguments(request: Request, shown: &AskShown) -> Request {
    match arguments(shown) {
        None => request,
        Some(text) => Request { args_digest: Hash::of(&[&text]), args: Some(text), ..request },
    }
}

fn seen(outcome: &Outcome) -> Seen {
    match outcome {
        Outcome::Applied(cause) => Seen::Applied(*cause),
        Outcome::Before(cause) => Seen::Before(*cause),
        Outcome::Refused(refusal) => Seen::Refused(refusal.code()),
    }
}

/// What the cases met, so that a generator that has gone blind fails.
static MET: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

fn count(outcomes: &[Seen]) {
    let mut met = MET.lock().unwrap();
    for outcome in outcomes {
        let code = match outcome {
            Seen::Applied(_) => "applied",
            Seen::Before(_) => "before",
            Seen::Refused(code) => code,
        };
        *met.entry(code).or_default() += 1;
    }
}

fn count_decision(decision: &Decision) {
    let code = match decision {
        Decision::Permit(authority) if authority.generation.is_some() => "permit of a generation",
        Decision::Permit(authority) if authority.bounds.iter().any(|left| left.used > 0) => {
            "permit of what is left"
        }
        Decision::Permit(authority) if authority.chain.len() > 1 => "permit by delegation",
        Decision::Permit(_) => "permit",
        Decision::Denied(denial) => match denial.code() {
            "halted" => "denied: halted",
            "unregistered_generation" => "denied: unregistered generation",
            "superseded_generation" => "denied: superseded generation",
            "quarantined_generation" => "denied: quarantined generation",
            "lineage_constraint" => "denied: lineage constraint",
            "revoked" => "denied: revoked",
            "retired" => "denied: retired",
            "all_revoked" => "denied: all revoked",
            "bound_exhausted" => "denied: bound exhausted",
            "knowledge_missing" => "denied: knowledge missing",
            "condition_failed" => "denied: condition failed",
            "ended" => "denied: ended",
            "not_begun" => "denied: not begun",
            "no_grant" => "denied: no grant",
            _ => "denied: unknown agent",
        },
    };
    *MET.lock().unwrap().entry(code).or_default() += 1;
}

fn count_verdict(verdict: &Verdict) {
    let code = if verdict.is_permit() { "recorded permit" } else { "recorded denial" };
    *MET.lock().unwrap().entry(code).or_default() += 1;
}

const MUST_MEET: [&str; 79] = [
    "permit of what is left",
    "denied: bound exhausted",
    "denied: knowledge missing",
    "applied",
    "before",
    "too_many_signatures",
    "wrong_signers",
    "bad_signature",
    "expired",
    "too_far_ahead",
    "request_id_reused",
    "too_many_pending",
    "not_genesis",
    "unknown_principal",
    "wrong_role",
    "out_of_scope",
    "principal_exists",
    "agent_exists",
    "unknown_agent",
    "agent_retired",
    "terms_ended",
    "staleness_above_cap",
    "too_deep",
    "unknown_grant",
    "parent_not_in_force",
    "not_the_holder",
    "widens",
    "loops",
    "rules_in_force",
    "rules_not_advertised",
    "operators_needed",
    "unknown_operator",
    "too_few_operators",
    "other_roster",
    "same_voters",
    "node_id_used",
    "node_name_used",
    "node_key_used",
    "not_in_roster_block",
    "voters changed",
    "execution_too_late",
    "too_many_open_decisions",
    "unknown_decision",
    "decision_denied",
    "outcome_recorded",
    "not_executed",
    "recorded permit",
    "recorded denial",
    "unknown_halt",
    "other_halt",
    "halt_ended",
    "halted",
    "a halt ended",
    "threshold_out_of_reach",
    "lineage_unchanged",
    "unknown_generation",
    "other_generation",
    "parent_needed",
    "unknown_reviewer",
    "too_few_reviewers",
    "in_service",
    "not_released",
    "not_older",
    "permit of a generation",
    "denied: unregistered generation",
    "denied: superseded generation",
    "denied: quarantined generation",
    "denied: lineage constraint",
    "superseded",
    "denied: halted",
    "permit",
    "permit by delegation",
    "denied: revoked",
    "denied: retired",
    "denied: all revoked",
    "denied: condition failed",
    "denied: ended",
    "denied: not begun",
    "permit under a condition",
];

#[test]
fn replicas_agree_and_do_what_the_model_says() {
    let blocks = proptest::collection::vec(ask_blocks(), 1..28);
    // Chance may leave something out; a generator that has gone blind leaves it out again and again.
    for _ in 0..40 {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(96),
            failure_persistence: None,
            max_shrink_iters: 4_000,
            ..ProptestConfig::default()
        });
        runner
            .run(&blocks, |blocks| {
                let mut run = Run::found();
                // Most agents are there from the start, so that short runs do something.
                for (agent, lineage) in AGENTS.iter().zip([None, None, Some("team/x"), Some("team/x")]) {
                    run.house.applied("operator-1", house::registration(agent, lineage));
                    let command = Block::decode(run.house.blocks.last().unwrap()).unwrap().commands.remove(0);
                    let _ = run.plain.apply(run.house.now_ms, &[(command, Signatures::Good)]);
                }
                for block in &blocks {
                    run.block(block);
                    if let Some(change) = &block.change {
                        run.change(change);
                    }
                    for ask in &block.requests {
                        let (request, interval) = run.request(ask);
                        run.check(&request, interval);
                    }
                }
                run.check_whole();
                run.check_counters();
                run.replay();
                Ok(())
            })
            .unwrap();
        let met = MET.lock().unwrap();
        let missing: Vec<_> = MUST_MEET.iter().filter(|code| !met.contains_key(*code)).collect();
        if missing.is_empty() {
            break;
        }
    }
    let met = MET.lock().unwrap();
    for code in MUST_MEET {
        assert!(met.contains_key(code), "no case met {code}: {met:?}");
    }
}
