//! Everything that must have no effect has none: a typed refusal, no leaf, and the same state as before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::authority::{
    ApplyError, BLOCK_COMMANDS_MAX, BLOCK_SIZE_BYTES_MAX, Block, BlockError, Cause, ENTRY_SIZE_BYTES_MAX,
    Entry, EntryError, Outcome, Refusal, State,
};
use chancery_ledger::command::{
    Body, COMMAND_LIFETIME_MS_MAX, COMMAND_SIZE_BYTES_MAX, Command, EnvelopeError, GrantId, LedgerId, Limits,
    MalformedCommand, NameError, Principal, PublicKey, RequestId, Role, SignedCommand, Terms,
    VerifiedSignatures,
};
use chancery_ledger::decide::{Decision, Denial};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Voter, VoterSet};
use chancery_ledger::knowledge::{Item, KnowledgeError, KnowledgeTree};
use chancery_ledger::log::VerifyError;
use chancery_ledger::state::MemoryNodes;
use chancery_proto::v1 as wire;
use house::{FOUNDED_MS, HOUR_MS, House, everything, name, patterns, principal, public, scope, terms};
use prost::Message;

/// Sends `signed` and demands this refusal, no leaf, and nothing else changed than the block's number.
#[track_caller]
fn refused(house: &mut House, signed: &SignedCommand, refusal: &Refusal) {
    let before = house.state().summary().clone();
    let admitted = house
        .state()
        .admit(&house.replicas[0].nodes, signed, house.now_ms, &VerifiedSignatures::default())
        .unwrap();
    assert_eq!(admitted.as_ref(), Err(refusal));
    let applied = house.block(vec![signed.clone()]);
    assert_eq!(applied.outcomes, [Outcome::Refused(refusal.clone())]);
    assert!(applied.leaves.is_empty() && applied.new_nodes.is_empty() && applied.dedup.is_empty());
    let after = house.state().summary();
    assert_eq!(
        (after.root, after.next_node, &after.frontier),
        (before.root, before.next_node, &before.frontier)
    );
    let number = before.head.block + 1;
    assert_eq!(after.head, chancery_ledger::head::Head { block: number, ..before.head });
}

#[track_caller]
fn refuse(house: &mut House, signer: &str, body: Body, refusal: &Refusal) {
    let signed = house.signed(signer, body);
    refused(house, &signed, refusal);
}

#[track_caller]
fn cause(outcome: Outcome) -> Cause {
    match outcome {
        Outcome::Applied(cause) => cause,
        other => panic!("{other:?}"),
    }
}

// ----------------------------------------------------------------------------------------------------
// Encodings.

/// A grant on the wire, as its signer would encode it.
fn wire_grant() -> wire::Command {
    wire::Command {
        signer: public("issuer").0.to_vec(),
        request_id: vec![7; 16],
        not_after_ms: FOUNDED_MS + HOUR_MS,
        body: Some(wire::command::Body::Grant(wire::Grant {
            terms: Some(wire::Terms {
                agent: "team/a".into(),
                actions: vec!["deploy".into(), "repo/*".into()],
                resources: vec!["prod/*".into()],
                not_before_ms: 1,
                not_after_ms: 2,
                max_staleness_ms: 5,
                delegable_depth: 1,
                ..wire::Terms::default()
            }),
            schema: String::new(),
        })),
    }
}

fn change_terms(change: impl FnOnce(&mut wire::Terms)) -> wire::Command {
    let mut command = wire_grant();
    if let Some(wire::command::Body::Grant(wire::Grant { terms: Some(terms), .. })) = &mut command.body {
        change(terms);
    }
    command
}

fn with_body(body: wire::command::Body) -> wire::Command {
    wire::Command { body: Some(body), ..wire_grant() }
}

fn wire_principal(roles: Vec<i32>) -> wire::command::Body {
    wire::command::Body::AddPrincipal(wire::AddPrincipal {
        principal: Some(wire::Principal {
            key: vec![1; 32],
            name: "somebody".into(),
            roles,
            scope: Some(wire::Scope::default()),
        }),
    })
}

/// A recorded decision on the wire, and what became of it.
fn wire_authorize(change: impl FnOnce(&mut wire::Authorize)) -> wire::Command {
    let mut authorize = wire::Authorize {
        agent: "team/a".into(),
        action: "deploy".into(),
        resource: "prod/db".into(),
        args_digest: vec![1; 32],
        args: b"{}".to_vec(),
        generation: vec![8; 32],
        knowledge: Some(wire_knowledge()),
        hint: Some(wire::GrantRef { grant: vec![2; 32], root: vec![3; 32] }),
        parent: Some(wire_decision()),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        execute_within_ms: 1,
    };
    change(&mut authorize);
    with_body(wire::command::Body::Authorize(authorize))
}

/// One item, which is shown.
fn wire_knowledge() -> wire::Knowledge {
    let (source, digest) = (name("policy"), Hash([6; 32]));
    let tree = KnowledgeTree::new(vec![Item { source, digest, retrieved_at_ms: 7 }]).unwrap();
    wire::Knowledge::decode(tree.show(&[name("policy")]).unwrap().encode().as_slice()).unwrap()
}

fn wire_decision() -> wire::DecisionRef {
    wire::DecisionRef { agent: "team/a".into(), number: 1, id: vec![4; 32] }
}

fn wire_outcome(change: impl FnOnce(&mut wire::Outcome)) -> wire::Command {
    let mut outcome = wire::Outcome { decision: Some(wire_decision()), kind: 1, result_digest: vec![5; 32] };
    change(&mut outcome);
    with_body(wire::command::Body::Outcome(outcome))
}

#[test]
fn a_recorded_decision_has_one_encoding() {
    use MalformedCommand as M;
    for good in [wire_authorize(|_| {}), wire_outcome(|_| {}), wire_outcome(|o| o.result_digest.clear())] {
        let bytes = good.encode_to_vec();
        let command = Command::decode(&bytes).unwrap();
        let house = House::found();
        assert_eq!(house.sign(&command, &[]).command_bytes(), bytes);
    }
    let decision = |change: fn(&mut wire::DecisionRef)| {
        let mut decision = wire_decision();
        change(&mut decision);
        Some(decision)
    };
    let cases = [
        (wire_authorize(|a| a.agent.clear()), M::Name { field: "agent", source: NameError::Empty }),
        (wire_authorize(|a| a.action = "*".into()), M::Name { field: "action", source: NameError::Wildcard }),
        (wire_authorize(|a| a.resource.clear()), M::Name { field: "resource", source: NameError::Empty }),
        (wire_authorize(|a| a.args_digest.clear()), M::Length("args_digest")),
        (wire_authorize(|a| a.hint.as_mut().unwrap().root.clear()), M::Length("root")),
        (wire_authorize(|a| a.traceparent.push('0')), M::OutOfBounds("traceparent")),
        (wire_authorize(|a| a.args = vec![b' '; 4_097]), M::OutOfBounds("args")),
        (wire_authorize(|a| a.generation.push(8)), M::Length("generation")),
        (
            wire_authorize(|a| a.knowledge.as_mut().unwrap().root = vec![0; 32]),
            M::Knowledge(KnowledgeError::Path {
                source_name: name("policy"),
                error: VerifyError::RootMismatch,
            }),
        ),
        (wire_authorize(|a| a.knowledge.as_mut().unwrap().count = 0), M::Knowledge(KnowledgeError::Count)),
        (wire_authorize(|a| a.knowledge.as_mut().unwrap().root.clear()), M::Length("knowledge hash")),
        (wire_authorize(|a| a.knowledge.as_mut().unwrap().shown[0].item = None), M::Missing("a shown item")),
        (wire_authorize(|a| a.execute_within_ms = 0), M::OutOfBounds("execute_within_ms")),
        (wire_authorize(|a| a.parent = decision(|d| d.number = 0)), M::OutOfBounds("decision number")),
        (wire_outcome(|o| o.decision = None), M::Missing("decision")),
        (wire_outcome(|o| o.decision = decision(|d| d.id.clear())), M::Length("decision id")),
        (wire_outcome(|o| o.kind = 0), M::Unknown("outcome kind")),
        (wire_outcome(|o| o.kind = 5), M::Unknown("outcome kind")),
        (wire_outcome(|o| o.result_digest = vec![5; 31]), M::Length("result_digest")),
    ];
    for (command, expected) in cases {
        assert_eq!(Command::decode(&command.encode_to_vec()), Err(expected));
    }
}

fn wire_halt(scope: Option<wire::HaltScope>, reason: &str) -> wire::command::Body {
    wire::command::Body::Halt(wire::Halt { scope, reason: reason.into() })
}

#[test]
fn a_command_has_one_encoding() {
    use MalformedCommand as M;
    use wire::halt_scope::Scope as S;
    let good = wire_grant().encode_to_vec();
    Command::decode(&good).unwrap();
    let name = |field, source| M::Name { field, source };
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let everything = wire::HaltScope { scope: Some(S::Everything(wire::Everything {})) };
    let halt_of = |scope| with_body(wire_halt(Some(wire::HaltScope { scope: Some(scope) }), ""));
    let many: Vec<String> = (0..65).map(|number| format!("p{number:02}")).collect();
    let cases: Vec<(&str, wire::Command, MalformedCommand)> = vec![
        ("no body", wire::Command { body: None, ..wire_grant() }, M::Missing("the command's body")),
        ("no signer", wire::Command { signer: vec![], ..wire_grant() }, M::Length("signer")),
        ("long signer", wire::Command { signer: vec![1; 33], ..wire_grant() }, M::Length("signer")),
        ("short id", wire::Command { request_id: vec![1; 15], ..wire_grant() }, M::Length("request_id")),
        (
            "no terms",
            with_body(wire::command::Body::Grant(wire::Grant { terms: None, schema: String::new() })),
            M::Missing("terms"),
        ),
        ("no agent", change_terms(|t| t.agent.clear()), name("agent", NameError::Empty)),
        ("agent with *", change_terms(|t| t.agent = "team/*".into()), name("agent", NameError::Wildcard)),
        ("white space", change_terms(|t| t.agent = "a b".into()), name("agent", NameError::Character)),
        (
            "dots",
            change_terms(|t| t.resources = texts(&["a/../b"])),
            name("resources", NameError::DotSegment),
        ),
        ("long name", change_terms(|t| t.agent = "x".repeat(257)), name("agent", NameError::TooLong)),
        ("unsorted", change_terms(|t| t.actions.reverse()), name("actions", NameError::Unsorted)),
        ("twice", change_terms(|t| t.resources = texts(&["a", "a"])), name("resources", NameError::Unsorted)),
        ("many", change_terms(|t| t.actions = many), name("actions", NameError::TooMany)),
        ("inner *", change_terms(|t| t.actions = texts(&["a*"])), name("actions", NameError::Wildcard)),
        ("no action", change_terms(|t| t.actions.clear()), M::Missing("an action or a resource")),
        ("no resource", change_terms(|t| t.resources.clear()), M::Missing("an action or a resource")),
        ("no time", change_terms(|t| t.not_before_ms = 2), M::OutOfBounds("not_before_ms")),
        ("no staleness", change_terms(|t| t.max_staleness_ms = 0), M::OutOfBounds("max_staleness_ms")),
        ("too deep", change_terms(|t| t.delegable_depth = 9), M::OutOfBounds("delegable_depth")),
        ("no role", with_body(wire_principal(vec![])), M::Missing("a role")),
        ("role 0", with_body(wire_principal(vec![0])), M::Unknown("role")),
        ("role 8", with_body(wire_principal(vec![8])), M::Unknown("role")),
        ("negative role", with_body(wire_principal(vec![-1])), M::Unknown("role")),
        ("roles unsorted", with_body(wire_principal(vec![2, 1])), M::Unsorted("roles")),
        ("role twice", with_body(wire_principal(vec![1, 1])), M::Unsorted("roles")),
        ("no halt scope", with_body(wire_halt(None, "")), M::Missing("the halt's scope")),
        (
            "empty halt scope",
            with_body(wire_halt(Some(wire::HaltScope { scope: None }), "")),
            M::Missing("the halt's scope"),
        ),
        (
            "halt of a pattern of agents",
            halt_of(S::Agent("team/*".into())),
            name("agent", NameError::Wildcard),
        ),
        ("halt of no lineage", halt_of(S::Lineage(String::new())), name("lineage", NameError::Empty)),
        ("halt of no action", halt_of(S::Action(String::new())), name("action", NameError::Empty)),
        ("halt of a*", halt_of(S::Resource("a*".into())), name("resource", NameError::Wildcard)),
        ("halt of half a grant", halt_of(S::Subtree(vec![1; 16])), M::Length("subtree")),
        (
            "halt for a long reason",
            with_body(wire_halt(Some(everything.clone()), &"x".repeat(513))),
            M::OutOfBounds("reason"),
        ),
        ("halt for two lines", with_body(wire_halt(Some(everything), "a\nb")), M::OutOfBounds("reason")),
        (
            "resume without a command",
            with_body(wire::command::Body::Resume(wire::Resume { halt: 4, halt_command: vec![] })),
            M::Length("halt_command"),
        ),
    ];
    for (what, command, expected) in cases {
        assert_eq!(Command::decode(&command.encode_to_vec()), Err(expected), "{what}");
    }
}

#[test]
fn bytes_that_no_encoder_writes_are_refused() {
    let good = wire_grant().encode_to_vec();
    for length in 0..good.len() {
        assert!(Command::decode(&good[..length]).is_err(), "cut at {length}");
    }
    let more = |bytes: &[u8]| Command::decode(&[&good, bytes].concat());
    let not_canonical = Err(MalformedCommand::NotCanonical);
    assert_eq!(more(&[0xa0, 0x1f, 1]), not_canonical, "unknown field 500");
    assert_eq!(more(&[0xfa, 0x03, 0]), not_canonical, "unknown command 63");
    assert_eq!(more(&[0x18, 5]), not_canonical, "not_after_ms twice");
    assert_eq!(more(&[0x18, 0]), not_canonical, "a default written out");
    assert_eq!(more(&[0xc2, 0x01, 0]), not_canonical, "two bodies");
    // The key of field 3 in two bytes instead of one.
    let place = good.iter().position(|byte| *byte == 0x18).unwrap();
    let longer = [&good[..place], &[0x98, 0x00], &good[place + 1..]].concat();
    assert_eq!(Command::decode(&longer), not_canonical, "a field key longer than it need be");
    // Fields out of order: the body first.
    let body = wire::Command { signer: vec![], request_id: vec![], not_after_ms: 0, ..wire_grant() };
    let rest = wire::Command { body: None, ..wire_grant() };
    let swapped = [body.encode_to_vec(), rest.encode_to_vec()].concat();
    assert_eq!(Command::decode(&swapped), not_canonical, "fields out of order");
    let long = vec![0; COMMAND_SIZE_BYTES_MAX + 1];
    let too_large =
        MalformedCommand::TooLarge { size: COMMAND_SIZE_BYTES_MAX + 1, max: COMMAND_SIZE_BYTES_MAX };
    assert_eq!(Command::decode(&long), Err(too_large));
}

#[test]
fn an_envelope_is_sorted_and_exact() {
    let house = House::found();
    let command = Command {
        signer: public("issuer"),
        request_id: RequestId([1; 16]),
        not_after_ms: FOUNDED_MS,
        body: Body::RetireAgent { agent: name("a") },
    };
    let signed = house.sign(&command, &["issuer", "gate"]);
    let good = wire::SignedCommand::decode(signed.encode().as_slice()).unwrap();
    let decode = |wire: &wire::SignedCommand| SignedCommand::decode(&wire.encode_to_vec());
    assert_eq!(decode(&good).unwrap(), signed);
    let malformed = |why| Err(EnvelopeError::Malformed(why));

    let mut unsorted = good.clone();
    unsorted.signatures.reverse();
    assert_eq!(decode(&unsorted), malformed(MalformedCommand::Unsorted("signatures")));
    let mut twice = good.clone();
    twice.signatures[1] = twice.signatures[0].clone();
    assert_eq!(decode(&twice), malformed(MalformedCommand::Unsorted("signatures")));
    let mut short = good.clone();
    short.signatures[0].signature.pop();
    assert_eq!(decode(&short), malformed(MalformedCommand::Length("signature")));
    let mut short = good.clone();
    short.signatures[0].key.pop();
    assert_eq!(decode(&short), malformed(MalformedCommand::Length("signature key")));
    let mut many = good.clone();
    many.signatures = (0..65)
        .map(|number| wire::Signature { key: vec![number; 32], signature: vec![0; 64], batch: None })
        .collect();
    assert_eq!(decode(&many), malformed(MalformedCommand::OutOfBounds("signatures")));
    let empty = wire::SignedCommand::default();
    assert_eq!(decode(&empty), malformed(MalformedCommand::Length("signer")));
    let bytes = signed.encode();
    for length in 0..bytes.len() {
        // Where a whole signature is cut off, one is missing.
        let cut = SignedCommand::decode(&bytes[..length]);
        assert!(cut.is_err() || cut.is_ok_and(|cut| cut.signature_count() < 2));
    }
}

#[test]
fn a_block_and_an_entry_are_exact() {
    let mut house = House::found();
    let signed = house.signed("operator-1", Body::RetireAgent { agent: name("a") });
    let block = house.propose(vec![signed.clone()]);
    let bytes = block.encode();
    for length in 0..bytes.len() {
        let cut = Block::decode(&bytes[..length]);
        assert!(cut.and_then(|cut| cut.verify(house.ledger, &public("node-1"))).is_err());
    }
    let malformed = |why| Err(BlockError::Malformed(why));
    assert_eq!(Block::decode(&[&bytes[..], &[0x78, 1]].concat()), malformed(MalformedCommand::NotCanonical));
    let wire_block = wire::Block::decode(bytes.as_slice()).unwrap();
    let none = wire::Block { commands: vec![], ..wire_block.clone() };
    let out_of_bounds = malformed(MalformedCommand::OutOfBounds("commands of a block"));
    assert_eq!(Block::decode(&none.encode_to_vec()), out_of_bounds);
    let command = wire_block.commands[0].clone();
    let many = wire::Block { commands: vec![command; BLOCK_COMMANDS_MAX + 1], ..wire_block.clone() };
    assert_eq!(Block::decode(&many.encode_to_vec()), out_of_bounds);
    let short = wire::Block { previous_hash: vec![0; 31], ..wire_block.clone() };
    assert_eq!(Block::decode(&short.encode_to_vec()), malformed(MalformedCommand::Length("previous_hash")));
    let large = vec![0; BLOCK_SIZE_BYTES_MAX + 1];
    let size = large.len();
    let too_large = MalformedCommand::TooLarge { size, max: BLOCK_SIZE_BYTES_MAX };
    assert_eq!(Block::decode(&large), malformed(too_large));

    for index in 0..2 {
        let entry = house.replicas[0].leaves[index].clone();
        assert_eq!(Entry::decode(&entry).unwrap().encode(), entry);
        for length in 0..entry.len() {
            assert!(Entry::decode(&entry[..length]).is_err());
        }
    }
    let no_body = Err(EntryError::Malformed(MalformedCommand::Missing("the entry's body")));
    assert_eq!(Entry::decode(&[]), no_body);
    assert!(Entry::decode(&vec![0; ENTRY_SIZE_BYTES_MAX + 1]).is_err());
}

#[test]
fn the_largest_command_fits_a_leaf() {
    let mut house = House::found_with(Limits { signatures_per_command_max: 64, ..house::limits() });
    house.register("team/a");
    // 62 patterns of 256 bytes: 2 bytes below the bound of a command.
    let long = |number: usize| format!("{number:02}/{}", "x".repeat(253));
    let actions: Vec<String> = (0..61).map(long).collect();
    let mut body = terms("team/a", &["*"], &["*"], house.now_ms);
    body.actions = patterns(&actions.iter().map(String::as_str).collect::<Vec<_>>());
    let command = house.command("issuer", Body::grant(body));
    let signed = house.sign(&command, &["issuer"]);
    assert!(signed.command_bytes().len() > COMMAND_SIZE_BYTES_MAX - 700);
    cause(house.send(&signed));
    assert!(house.replicas[0].leaves.iter().all(|leaf| leaf.len() <= ENTRY_SIZE_BYTES_MAX));
}

// ----------------------------------------------------------------------------------------------------
// Genesis and blocks.

#[test]
fn genesis_is_one_command_signed_by_every_operator() {
    let sign = |body: Body, ledger, keys: &[&str]| {
        let command = Command {
            signer: public("operator-1"),
            request_id: RequestId([0; 16]),
            not_after_ms: FOUNDED_MS,
            body,
        };
        let keys: Vec<_> = keys.iter().map(|label| house::key(label)).collect();
        SignedCommand::sign(ledger, &command, &keys.iter().collect::<Vec<_>>()).unwrap()
    };
    let genesis = || Body::Genesis(house::genesis(house::limits()));
    let found = |block: &Block| State::genesis(&MemoryNodes::new(), block);
    let both = ["operator-1", "operator-2"];
    let good = sign(genesis(), LedgerId::GENESIS, &both);
    found(&Block::genesis(FOUNDED_MS, good.clone())).unwrap();

    let refused = [
        sign(genesis(), LedgerId::GENESIS, &["operator-1"]),
        sign(genesis(), LedgerId::GENESIS, &["operator-1", "operator-2", "issuer"]),
        sign(genesis(), LedgerId(Hash::of(&[b"another"])), &both),
        sign(Body::RetireAgent { agent: name("a") }, LedgerId::GENESIS, &["operator-1"]),
    ];
    for signed in refused {
        let error = found(&Block::genesis(FOUNDED_MS, signed)).unwrap_err();
        assert!(matches!(error, ApplyError::Genesis(_)), "{error}");
    }
    let mut two = Block::genesis(FOUNDED_MS, good.clone());
    two.commands.push(good.clone());
    assert!(matches!(found(&two), Err(ApplyError::Genesis(_))));
    let mut chained = Block::genesis(FOUNDED_MS, good.clone());
    chained.previous_hash = Hash::of(&[b"before"]);
    assert!(matches!(found(&chained), Err(ApplyError::Genesis(_))));
    let mut proposed = Block::genesis(FOUNDED_MS, good);
    proposed.proposer = 1;
    assert!(matches!(found(&proposed), Err(ApplyError::Genesis(_))));
    let mut other = house::genesis(house::limits());
    other.rules_version = 2;
    let other = sign(Body::Genesis(other), LedgerId::GENESIS, &both);
    let error = found(&Block::genesis(FOUNDED_MS, other)).unwrap_err();
    assert!(matches!(error, ApplyError::UnknownRules(2)));
}

#[test]
fn a_node_is_named_as_a_key_in_a_note_can_be() {
    let voters = |name: &str| {
        let voter = |(node, name): (u64, &str)| Voter { name: house::name(name), ..house::voter(node) };
        VoterSet::majority([(1, "node-1"), (2, name)].map(voter).to_vec())
    };
    assert!(voters(&"n".repeat(255)).is_some());
    // A cosignature could not bear these.
    assert!(voters("node+2").is_none());
    assert!(voters(&"n".repeat(256)).is_none());
    // Nor may two nodes have one name.
    assert!(voters("node-1").is_none());
}

#[test]
fn a_block_that_is_not_the_next_one_stops_the_replica() {
    let mut house = House::found();
    let signed = house.signed("operator-1", Body::RetireAgent { agent: name("a") });
    house.now_ms += 1_000;
    let state = house.state().clone();
    let nodes = &house.replicas[0].nodes;
    let apply = |block: &Block| state.apply(nodes, block).unwrap_err();
    let head = (0, state.head().hash());
    let hash = state.summary().block_hash;
    let propose = |previous, proposer: (u64, u64), head, key: &str| {
        let (ledger, stamp, commands) = (house.ledger, house.now_ms, vec![signed.clone()]);
        Block::propose(ledger, previous, stamp, proposer, head, commands, &house::key(key))
    };
    state.apply(nodes, &propose(hash, (1, 7), head, "node-1")).unwrap();
    let chain = apply(&propose(Hash::ZERO, (1, 7), head, "node-1"));
    assert!(matches!(chain, ApplyError::Chain { .. }));
    let stranger = apply(&propose(hash, (4, 7), head, "node-4"));
    assert!(matches!(stranger, ApplyError::Proposer { proposer: 4, .. }));
    let forged = apply(&propose(hash, (1, 7), head, "node-2"));
    assert!(matches!(forged, ApplyError::Proposer { proposer: 1, .. }));
    let heads = apply(&propose(hash, (1, 7), (0, Hash::ZERO), "node-1"));
    assert!(matches!(heads, ApplyError::HeadsDiffer { block: 0, .. }));
    let ahead = apply(&propose(hash, (1, 7), (1, Hash::ZERO), "node-1"));
    assert!(matches!(ahead, ApplyError::HeadAhead { claimed: 1, newest: 0 }));
    let mut later = propose(hash, (1, 7), head, "node-1");
    later.stamp_ms += 1;
    assert!(matches!(apply(&later), ApplyError::Proposer { .. }));
}

// ----------------------------------------------------------------------------------------------------
// Envelopes.

#[test]
fn signatures_are_exactly_those_required() {
    let mut house = House::found();
    let retire = || Body::RetireAgent { agent: name("a") };
    let command = house.command("operator-1", retire());

    let none = house.sign(&command, &[]);
    let wrong = |signed| Refusal::Envelope(EnvelopeError::WrongSigners { signed, required: 1 });
    refused(&mut house, &none, &wrong(0));
    let other = house.sign(&command, &["operator-2"]);
    refused(&mut house, &other, &wrong(1));
    let extra = house.sign(&command, &["operator-1", "operator-2"]);
    refused(&mut house, &extra, &wrong(2));
    let many = house.sign(&command, &["operator-1", "operator-2", "issuer"]);
    refused(&mut house, &many, &Refusal::TooManySignatures(2));

    let elsewhere = LedgerId(Hash::of(&[b"another ledger"]));
    let bad = SignedCommand::sign(elsewhere, &command, &[&house::key("operator-1")]).unwrap();
    let bad_signature = Refusal::Envelope(EnvelopeError::BadSignature(public("operator-1")));
    refused(&mut house, &bad, &bad_signature);
    let good = house.sign(&command, &["operator-1"]);
    let mut flipped = good.encode();
    *flipped.last_mut().unwrap() ^= 1;
    refused(&mut house, &SignedCommand::decode(&flipped).unwrap(), &bad_signature);

    let rotate = Body::RotatePrincipal { old_key: public("gate"), new_key: public("gate-2") };
    let rotate = house.command("gate", rotate);
    let alone = house.sign(&rotate, &["gate"]);
    let wrong = Refusal::Envelope(EnvelopeError::WrongSigners { signed: 1, required: 2 });
    refused(&mut house, &alone, &wrong);
}

/// Keys of small order, whose signatures some verifiers accept over anything.
const SMALL_ORDER: [[u8; 32]; 4] = [
    [0; 32],
    {
        let mut identity = [0; 32];
        identity[0] = 1;
        identity
    },
    {
        let mut order_2 = [0xff; 32];
        order_2[0] = 0xec;
        order_2[31] = 0x7f;
        order_2
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

#[test]
fn a_key_of_small_order_signs_nothing() {
    let mut house = House::found();
    for bytes in SMALL_ORDER {
        let key = PublicKey(bytes);
        let weak = Principal { key, ..principal("weak", &[Role::Operator], everything()) };
        house.applied("operator-1", Body::AddPrincipal(weak));
        let mut command = house.command("operator-1", Body::RetireAgent { agent: name("a") });
        command.signer = key;
        // R = A, S = 0 satisfies the equation without cofactor for the identity, and for others now and then.
        for first in [bytes, SMALL_ORDER[1]] {
            let unsigned = house.sign(&command, &[]);
            let mut envelope = wire::SignedCommand::decode(unsigned.encode().as_slice()).unwrap();
            let signature = [first, [0; 32]].concat();
            envelope.signatures = vec![wire::Signature { key: bytes.to_vec(), signature, batch: None }];
            let signed = SignedCommand::decode(&envelope.encode_to_vec()).unwrap();
            refused(&mut house, &signed, &Refusal::Envelope(EnvelopeError::BadSignature(key)));
        }
    }
}

#[test]
fn a_command_lives_from_24_hours_before_its_end_to_its_end() {
    let mut house = House::found();
    house.now_ms += 1_000;
    let now_ms = house.now_ms;
    let at = |house: &mut House, not_after_ms: u64, agent: &str| {
        let body = Body::RegisterAgent { agent: name(agent), owner: name("o"), key: None, lineage: None };
        let command = Command { not_after_ms, ..house.command("operator-1", body) };
        house.sign(&command, &["operator-1"])
    };
    let past = at(&mut house, now_ms - 1, "a");
    refused(&mut house, &past, &Refusal::Expired { time_ms: now_ms, not_after_ms: now_ms - 1 });
    let far = at(&mut house, now_ms + COMMAND_LIFETIME_MS_MAX + 1, "a");
    refused(&mut house, &far, &Refusal::TooFarAhead { time_ms: now_ms });
    let never = at(&mut house, u64::MAX, "a");
    refused(&mut house, &never, &Refusal::TooFarAhead { time_ms: now_ms });
    let edges = [at(&mut house, now_ms, "a"), at(&mut house, now_ms + COMMAND_LIFETIME_MS_MAX, "b")];
    let applied = house.block(edges.to_vec());
    assert!(applied.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))));

    // What was too early is not lost: the same bytes take effect later.
    house.now_ms += 1;
    assert_eq!(far.command().not_after_ms, house.now_ms + COMMAND_LIFETIME_MS_MAX);
    let applied = house.block(vec![far]);
    assert!(matches!(applied.outcomes[0], Outcome::Refused(Refusal::AgentExists(_))));
}

#[test]
fn time_never_goes_back() {
    let mut house = House::found();
    house.register("team/a");
    let time_ms = house.head().time_ms;
    house.now_ms -= HOUR_MS;
    let body = Body::RegisterAgent { agent: name("b"), owner: name("o"), key: None, lineage: None };
    let command = Command { not_after_ms: time_ms, ..house.command("operator-1", body) };
    let signed = house.sign(&command, &["operator-1"]);
    let applied = house.block(vec![signed]);
    assert_eq!(cause(applied.outcomes[0].clone()).time_ms, time_ms);
    assert_eq!(house.head().time_ms, time_ms);
}

#[test]
fn a_retry_returns_the_first_outcome_and_adds_no_leaf() {
    let mut house = House::found();
    let body = Body::RegisterAgent { agent: name("a"), owner: name("o"), key: None, lineage: None };
    let command = house.command("operator-1", body.clone());
    let signed = house.sign(&command, &["operator-1"]);
    // Twice in one block: the second is a retry of the first.
    let applied = house.block(vec![signed.clone(), signed.clone()]);
    let first = cause(applied.outcomes[0].clone());
    assert_eq!(applied.outcomes[1], Outcome::Before(first));
    assert_eq!(applied.leaves.len(), 2);
    let size = house.head().log_size;
    assert_eq!(house.send(&signed), Outcome::Before(first));
    assert_eq!(house.head().log_size, size);

    let other = Body::RegisterAgent { agent: name("b"), owner: name("o"), key: None, lineage: None };
    let reused = house.sign(&Command { body: other, ..command.clone() }, &["operator-1"]);
    refused(&mut house, &reused, &Refusal::RequestIdReused { index: first.index });
    // Another signer's request id is its own.
    let same_id = Command { signer: public("issuer"), ..command };
    let same_id = house.sign(&same_id, &["issuer"]);
    refused(&mut house, &same_id, &Refusal::AgentExists(name("a")));

    // Long after its end it is refused for its age, and its entry is gone.
    house.now_ms += 2 * HOUR_MS;
    house.register("later");
    assert_eq!(house.state().dedup().len(), 1);
    let (time_ms, not_after_ms) = (house.now_ms, signed.command().not_after_ms);
    refused(&mut house, &signed, &Refusal::Expired { time_ms, not_after_ms });
}

#[test]
fn one_signer_cannot_fill_the_ledgers_memory() {
    let mut house = House::found_with(Limits { dedup_entries_per_signer_max: 3, ..house::limits() });
    for agent in ["a", "b", "c"] {
        house.register(agent);
    }
    let body = |agent| Body::RegisterAgent { agent: name(agent), owner: name("o"), key: None, lineage: None };
    refuse(&mut house, "operator-1", body("d"), &Refusal::TooManyPending(3));
    house.applied("issuer", body("d"));
    house.now_ms += 2 * HOUR_MS;
    house.applied("issuer", body("e"));
    house.applied("operator-1", body("f"));
}

// ----------------------------------------------------------------------------------------------------
// Roles and scopes.

#[test]
fn who_may_do_what() {
    let mut house = House::found();
    house.register("team/a");
    let now_ms = house.now_ms;
    let grant = || Body::grant(terms("team/a", &["deploy"], &["prod/db"], now_ms));
    let register =
        |agent| Body::RegisterAgent { agent: name(agent), owner: name("o"), key: None, lineage: None };
    let revoke_all = || Body::RevokeAgent { agent: name("team/a"), reason: String::new() };
    let revoke = || Body::RevokeGrant { grant: GrantId(Hash::ZERO), reason: String::new() };
    let add = || Body::AddPrincipal(principal("new", &[Role::Gate], scope(&["team/a"], &[], &[])));
    let remove = || Body::RemovePrincipal { key: public("gate") };
    let operator = Refusal::WrongRole(vec![Role::Operator]);
    let registrar = Refusal::WrongRole(vec![Role::Operator, Role::Issuer]);
    let issuer = Refusal::WrongRole(vec![Role::Issuer]);
    let revoker = Refusal::WrongRole(vec![Role::Revoker]);
    let cases = [
        ("stranger", grant(), Refusal::UnknownPrincipal(public("stranger"))),
        ("team/a", grant(), Refusal::UnknownPrincipal(public("team/a"))),
        ("operator-1", grant(), issuer.clone()),
        ("revoker", grant(), issuer.clone()),
        ("gate", grant(), issuer),
        ("gate", register("b"), registrar.clone()),
        ("revoker", register("b"), registrar.clone()),
        ("revoker", Body::RetireAgent { agent: name("team/a") }, registrar),
        ("issuer", revoke_all(), revoker.clone()),
        ("operator-1", revoke_all(), revoker.clone()),
        ("issuer", revoke(), revoker.clone()),
        ("operator-1", revoke(), revoker),
        ("issuer", add(), operator.clone()),
        ("gate", remove(), operator.clone()),
        ("issuer", Body::SetRules { rules_version: 2 }, operator),
        ("operator-1", Body::SetRules { rules_version: 1 }, Refusal::RulesInForce(1)),
        ("operator-1", Body::SetRules { rules_version: 2 }, Refusal::RulesNotAdvertised(2)),
        ("operator-1", Body::RemovePrincipal { key: public("x") }, Refusal::UnknownPrincipal(public("x"))),
        ("operator-1", Body::AddPrincipal(principal("gate", &[Role::Gate], everything())), {
            Refusal::PrincipalExists(public("gate"))
        }),
    ];
    for (signer, body, refusal) in cases {
        refuse(&mut house, signer, body, &refusal);
    }
    let command = house.command("operator-1", Body::Genesis(house::genesis(house::limits())));
    let signed = house.sign(&command, &["operator-1", "operator-2"]);
    refused(&mut house, &signed, &Refusal::NotGenesis);
}

#[test]
fn a_scope_ends_where_it_ends() {
    let mut house = House::found();
    house.register("team/a");
    house.register("other");
    let now_ms = house.now_ms;
    let grant = |agent: &str, actions: &[&str], resources: &[&str]| {
        Body::grant(terms(agent, actions, resources, now_ms))
    };
    let out = |what| Refusal::OutOfScope(what);
    let whole = out("the principal's scope");
    let register =
        |agent| Body::RegisterAgent { agent: name(agent), owner: name("o"), key: None, lineage: None };
    let cases = [
        ("team-issuer", grant("other", &["deploy"], &["prod/db"]), out("agent")),
        ("team-issuer", grant("team/a", &["*"], &["prod/db"]), out("actions")),
        ("team-issuer", grant("team/a", &["deploy", "drop"], &["prod/db"]), out("actions")),
        ("team-issuer", grant("team/a", &["deploy/*"], &["prod/db"]), out("actions")),
        ("team-issuer", grant("team/a", &["deploy"], &["*"]), out("resources")),
        ("team-issuer", grant("team/a", &["deploy"], &["prod"]), out("resources")),
        ("team-issuer", register("teams/b"), out("agent")),
        ("team-issuer", Body::RetireAgent { agent: name("other") }, out("agent")),
        ("team-revoker", Body::RevokeAgent { agent: name("other"), reason: String::new() }, out("agent")),
        ("operator-2", register("other/b"), out("agent")),
        ("operator-2", Body::AddPrincipal(principal("new", &[Role::Gate], everything())), whole.clone()),
        ("operator-2", Body::RemovePrincipal { key: public("issuer") }, whole),
    ];
    for (signer, body, refusal) in cases {
        refuse(&mut house, signer, body, &refusal);
    }
    let rotate = Body::RotatePrincipal { old_key: public("gate"), new_key: public("gate-2") };
    let command = house.command("operator-2", rotate);
    let signed = house.sign(&command, &["operator-2", "gate-2"]);
    refused(&mut house, &signed, &out("the principal's scope"));
    // And just inside:
    house.applied("team-issuer", grant("team/a", &["repo/read"], &["prod/*"]));
}

#[test]
fn principals_end_and_do_not_come_back() {
    let mut house = House::found();
    let remove = |label| Body::RemovePrincipal { key: public(label) };
    house.applied("operator-1", remove("operator-2"));
    refuse(&mut house, "operator-1", remove("operator-1"), &Refusal::OperatorsNeeded(1));
    let unknown = Refusal::UnknownPrincipal(public("operator-2"));
    refuse(&mut house, "operator-2", Body::RetireAgent { agent: name("a") }, &unknown);
    refuse(&mut house, "operator-1", remove("operator-2"), &unknown);
    let again = Body::AddPrincipal(principal("operator-2", &[Role::Operator], everything()));
    refuse(&mut house, "operator-1", again, &Refusal::PrincipalExists(public("operator-2")));

    let rotate = |old, new| Body::RotatePrincipal { old_key: public(old), new_key: public(new) };
    let command = house.command("issuer", rotate("issuer", "issuer-2"));
    let signed = house.sign(&command, &["issuer", "issuer-2"]);
    cause(house.send(&signed));
    let unknown = Refusal::UnknownPrincipal(public("issuer"));
    refuse(&mut house, "issuer", Body::RetireAgent { agent: name("a") }, &unknown);
    house.applied(
        "issuer-2",
        Body::RegisterAgent { agent: name("a"), owner: name("o"), key: None, lineage: None },
    );
    let command = house.command("operator-1", rotate("gate", "issuer"));
    let signed = house.sign(&command, &["operator-1", "issuer"]);
    refused(&mut house, &signed, &Refusal::PrincipalExists(public("issuer")));
    let command = house.command("operator-1", rotate("operator-1", "operator-1"));
    let signed = house.sign(&command, &["operator-1"]);
    refused(&mut house, &signed, &Refusal::PrincipalExists(public("operator-1")));
    // Two operators cannot be removed within one block either.
    house.applied("operator-1", Body::AddPrincipal(principal("op-3", &[Role::Operator], everything())));
    let both = [house.signed("operator-1", remove("op-3")), house.signed("operator-1", remove("operator-1"))];
    let applied = house.block(both.to_vec());
    assert_eq!(applied.outcomes[1], Outcome::Refused(Refusal::OperatorsNeeded(1)));
}

// ----------------------------------------------------------------------------------------------------
// Agents, grants, delegations.

#[test]
fn a_name_is_registered_once() {
    let mut house = House::found();
    house.register("a");
    let register = || Body::RegisterAgent { agent: name("a"), owner: name("o"), key: None, lineage: None };
    refuse(&mut house, "operator-1", register(), &Refusal::AgentExists(name("a")));
    let retired = house.applied("operator-1", Body::RetireAgent { agent: name("a") });
    refuse(&mut house, "operator-1", register(), &Refusal::AgentExists(name("a")));
    let first = house.state().dedup().get(&retired.dedup_key()).unwrap().index;
    let again = house.signed("issuer", Body::RetireAgent { agent: name("a") });
    let outcome = house.send(&again);
    assert!(matches!(outcome, Outcome::Before(cause) if cause.index == first));
    let unknown = Refusal::UnknownAgent(name("b"));
    refuse(&mut house, "operator-1", Body::RetireAgent { agent: name("b") }, &unknown);
    refuse(&mut house, "revoker", Body::RevokeAgent { agent: name("b"), reason: String::new() }, &unknown);
}

#[test]
fn grants_keep_to_the_ledgers_bounds() {
    let limits = Limits { grants_per_agent_max: 33, delegation_depth_max: 2, ..house::limits() };
    let mut house = House::found_with(limits);
    house.register("a");
    let now_ms = house.now_ms;
    let good = || terms("a", &["deploy"], &["prod"], now_ms);
    let cap = Terms { max_staleness_ms: 10_001, ..good() };
    refuse(&mut house, "issuer", Body::grant(cap), &Refusal::StalenessAboveCap(10_000));
    let deep = Terms { delegable_depth: 3, ..good() };
    refuse(&mut house, "issuer", Body::grant(deep), &Refusal::TooDeep);
    let ended = Terms { not_before_ms: 1, not_after_ms: now_ms, ..good() };
    refuse(&mut house, "issuer", Body::grant(ended), &Refusal::TermsEnded);
    let unknown = Terms { agent: name("b"), ..good() };
    refuse(&mut house, "issuer", Body::grant(unknown), &Refusal::UnknownAgent(name("b")));
    for _ in 0..33 {
        house.grant(good());
    }
    let many = Refusal::TooManyGrants { agent: name("a"), max: 33 };
    refuse(&mut house, "issuer", Body::grant(good()), &many);
    // A new epoch has room again.
    house.applied("revoker", Body::RevokeAgent { agent: name("a"), reason: String::new() });
    house.grant(good());
    house.applied("operator-1", Body::RetireAgent { agent: name("a") });
    refuse(&mut house, "issuer", Body::grant(good()), &Refusal::AgentRetired(name("a")));
}

#[test]
fn a_delegation_only_narrows() {
    let mut house = House::found();
    for agent in ["team/a", "team/b", "team/c", "team/d"] {
        house.register(agent);
    }
    house.applied(
        "operator-1",
        Body::RegisterAgent { agent: name("keyless"), owner: name("o"), key: None, lineage: None },
    );
    let now_ms = house.now_ms;
    let parent = house.grant(terms("team/a", &["repo/*"], &["prod/*"], now_ms));
    let good = || Terms { delegable_depth: 1, ..terms("team/b", &["repo/read"], &["prod/db"], now_ms) };
    let delegate = |parent, terms| Body::delegate(parent, terms);
    let widens = |what| Refusal::Widens(what);
    let cases = [
        (Terms { actions: patterns(&["*"]), ..good() }, widens("actions")),
        (Terms { actions: patterns(&["deploy", "repo/read"]), ..good() }, widens("actions")),
        (Terms { actions: patterns(&["repo"]), ..good() }, widens("actions")),
        (Terms { resources: patterns(&["*"]), ..good() }, widens("resources")),
        (Terms { resources: patterns(&["prod"]), ..good() }, widens("resources")),
        (Terms { not_before_ms: now_ms - 1, ..good() }, widens("time")),
        (Terms { not_after_ms: now_ms + HOUR_MS + 1, ..good() }, widens("time")),
        (Terms { max_staleness_ms: 5_001, ..good() }, widens("staleness")),
        (Terms { delegable_depth: 2, ..good() }, Refusal::TooDeep),
        (Terms { agent: name("team/a"), ..good() }, Refusal::Loops(name("team/a"))),
        (Terms { agent: name("nobody"), ..good() }, Refusal::UnknownAgent(name("nobody"))),
    ];
    for (terms, refusal) in cases {
        refuse(&mut house, "team/a", delegate(parent, terms), &refusal);
    }
    for signer in ["team/b", "issuer", "operator-1", "stranger"] {
        refuse(&mut house, signer, delegate(parent, good()), &Refusal::NotTheHolder);
    }
    let unknown = GrantId(Hash::ZERO);
    refuse(&mut house, "team/a", delegate(unknown, good()), &Refusal::UnknownGrant(unknown));

    let child = house.delegate("team/a", parent, good());
    let grandchild = Terms { agent: name("team/c"), delegable_depth: 0, ..good() };
    let back = Terms { agent: name("team/a"), ..grandchild.clone() };
    refuse(&mut house, "team/b", delegate(child, back), &Refusal::Loops(name("team/a")));
    let grandchild = house.delegate("team/b", child, grandchild);
    let deeper = Terms { agent: name("team/d"), delegable_depth: 0, ..good() };
    refuse(&mut house, "team/c", delegate(grandchild, deeper), &Refusal::TooDeep);

    // Nobody's key is not everybody's.
    let held = house.grant(terms("keyless", &["repo/*"], &["prod/*"], now_ms));
    refuse(&mut house, "team/a", delegate(held, good()), &Refusal::NotTheHolder);
}

#[test]
fn nothing_is_delegated_from_what_is_not_in_force() {
    let voids: [fn(&mut House, GrantId); 4] = [
        |house, parent| house.revoke(parent),
        |house, _| {
            house.applied("revoker", Body::RevokeAgent { agent: name("a"), reason: String::new() });
        },
        |house, _| {
            house.applied("operator-1", Body::RetireAgent { agent: name("a") });
        },
        |house, _| house.now_ms += HOUR_MS,
    ];
    for void in voids {
        let mut house = House::found();
        for agent in ["a", "b", "c"] {
            house.register(agent);
        }
        let now_ms = house.now_ms;
        let parent = house.grant(terms("a", &["*"], &["*"], now_ms));
        let narrower =
            |agent: &str, depth| Terms { delegable_depth: depth, ..terms(agent, &["*"], &["*"], now_ms) };
        let child = house.delegate("a", parent, narrower("b", 1));
        void(&mut house, parent);
        let again = Body::delegate(parent, narrower("c", 1));
        refuse(&mut house, "a", again, &Refusal::ParentNotInForce);
        // Nor from what was delegated before.
        let below = Body::delegate(child, narrower("c", 0));
        refuse(&mut house, "b", below, &Refusal::ParentNotInForce);
    }
}

#[test]
fn a_revocation_is_final_and_the_first_one_counts() {
    let mut house = House::found();
    house.register("team/a");
    house.register("other");
    let now_ms = house.now_ms;
    let grant = house.grant(terms("team/a", &["deploy"], &["prod/db"], now_ms));
    let others = house.grant(terms("other", &["deploy"], &["prod/db"], now_ms));
    let revoke = |grant| Body::RevokeGrant { grant, reason: "why".into() };
    refuse(&mut house, "team-issuer", revoke(grant), &Refusal::WrongRole(vec![Role::Revoker]));
    refuse(&mut house, "team-revoker", revoke(others), &Refusal::OutOfScope("agent"));
    refuse(&mut house, "gate", revoke(grant), &Refusal::WrongRole(vec![Role::Revoker, Role::Issuer]));
    let unseen = GrantId(Hash::of(&[b"unseen"]));
    refuse(&mut house, "team-revoker", revoke(unseen), &Refusal::UnknownGrant(unseen));

    let first = house.signed("team-revoker", revoke(grant));
    let first = cause(house.send(&first));
    let size = house.head().log_size;
    let again = house.signed("revoker", revoke(grant));
    assert_eq!(house.send(&again), Outcome::Before(first));
    assert_eq!(house.head().log_size, size);
    // Whoever issued a grant may revoke it.
    house.applied("issuer", revoke(others));
}

#[test]
fn a_grant_revoked_ahead_of_its_coming_is_stored_revoked() {
    let mut house = House::found();
    house.register("a");
    let now_ms = house.now_ms;
    let granted = house.signed("issuer", Body::grant(terms("a", &["deploy"], &["prod"], now_ms)));
    let id = GrantId::of(house.ledger, granted.command_bytes());
    let revoke = || Body::RevokeGrant { grant: id, reason: String::new() };
    let ahead = house.signed("revoker", revoke());
    let ahead = cause(house.send(&ahead));
    let again = house.signed("revoker", revoke());
    assert_eq!(house.send(&again), Outcome::Before(ahead));
    cause(house.send(&granted));
    let again = house.signed("revoker", revoke());
    assert_eq!(house.send(&again), Outcome::Before(ahead));
    let request = house::request("a", "deploy", "prod");
    let nonce = house::nonce("1");
    let verified =
        chancery_ledger::answer::verify(&house.trust, &request, nonce, &house.answer(&request, nonce));
    let Decision::Denied(Denial::Revoked { cause, .. }) = verified.unwrap().decision else { panic!() };
    assert_eq!(cause, ahead);
}
