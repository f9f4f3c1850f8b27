//! The voters change in two blocks that Raft's membership changes with, by a threshold of operators; whoever
//! trusts genesis follows by proof, and believes nobody who has left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::{Answer, ProofError, verify};
use chancery_ledger::authority::{
    ApplyError, Block, BlockError, Entry, Outcome, Refusal, RosterFault, ledger_record,
};
use chancery_ledger::command::{
    Body, Command, EnvelopeError, Limits, PublicKey, Role, SignedCommand, VerifiedSignatures,
};
use chancery_ledger::decide::Decision;
use chancery_ledger::evidence::{Evidence, EvidenceError, EvidenceFileError, Proof};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{
    Fresh, Head, QuorumError, ROSTER_LINKS_MAX, Roster, RosterChain, RosterLink, RosterLinkError, Voter,
    VoterSet,
};
use chancery_ledger::state::Recording;
use chancery_ledger::trust::{RosterChainError, Trust, TrustError};
use house::{
    HOUR_MS, House, everything, name, nonce, principal, public, request, roster, terms, voter, voters,
};

/// Two operators must sign.
fn founded() -> House {
    let mut house = House::found_with(Limits { operator_threshold: 2, ..house::limits() });
    house.register("a");
    let now_ms = house.now_ms;
    house.grant(terms("a", &["deploy"], &["prod/*"], now_ms));
    house
}

fn chain(links: &[RosterLink]) -> RosterChain {
    let chain = RosterChain { links: links.to_vec() };
    assert_eq!(RosterChain::decode(&chain.encode()).unwrap(), chain);
    chain
}

/// {1, 2, 3}, then {2, 3, 4}, then {3, 4, 5}: nodes 1 and 2 have left.
fn changed() -> (House, Vec<RosterLink>) {
    let mut house = founded();
    let mut links = house.change(&[2, 3, 4]).to_vec();
    house.register("b");
    links.extend(house.change(&[3, 4, 5]));
    house.register("c");
    (house, links)
}

fn apply(house: &House, block: &Block) -> RosterFault {
    match house.state().apply(&house.replicas[0].nodes, block).unwrap_err() {
        ApplyError::Roster(fault) => fault,
        other => panic!("{other}"),
    }
}

// ----------------------------------------------------------------------------------------------------
// Blocks.

#[test]
fn a_change_takes_a_joint_block_and_a_uniform_one() {
    let mut house = founded();
    let first = house.roster.clone();
    let before = *house.head();
    let signed = house.signed_change(voters(&[2, 3, 4]));
    let (joint, uniform) = house.propose_change(signed.clone());
    assert_eq!(uniform.previous_hash, joint.hash());
    assert_eq!((uniform.head_block, uniform.head_hash), (joint.head_block, joint.head_hash));

    let applied = house.apply(&joint.encode());
    assert!(matches!(applied.outcomes.as_slice(), [Outcome::Applied(_)]));
    let both = Roster::new(vec![first.sets()[0].clone(), voters(&[2, 3, 4])]).unwrap();
    assert_eq!(house.head().roster, both.id(before.block + 1));
    assert!(matches!(house.entry(before.log_size), Entry::Command { signed: found, .. } if found == signed));

    let applied = house.apply(&uniform.encode());
    assert!(applied.outcomes.is_empty());
    let head = *house.head();
    assert_eq!(head.roster, roster(&[2, 3, 4]).id(before.block + 2));
    assert_eq!(head.log_size, before.log_size + 3);
    let Entry::State { roster: named, block, .. } = house.entry(head.log_size - 1) else { panic!() };
    assert_eq!((named, block), (head.roster, head.block));
    let view = Recording::new(&house.replicas[0].nodes, house.state().summary().root);
    let record = ledger_record(&view).unwrap();
    assert_eq!((record.roster, record.roster_blocks), (roster(&[2, 3, 4]), 2));

    // Node 1 proposes no more, and node 2, which stayed, does.
    let head_now = (head.block, head.hash());
    let previous = house.state().summary().block_hash;
    let left =
        Block::propose(house.ledger, previous, house.now_ms, (1, 7), head_now, vec![], &house::key("node-1"));
    let error = house.state().apply(&house.replicas[0].nodes, &left).unwrap_err();
    assert!(matches!(error, ApplyError::Proposer { proposer: 1, .. }), "{error}");
    house.register("b");
    assert_eq!(house.head().roster, head.roster);
}

#[test]
fn the_log_reads_the_roster_from_the_block_alone() {
    let (house, links) = changed();
    let mut found = Vec::new();
    for (number, encoded) in (0_u64..).zip(&house.blocks) {
        let block = Block::decode(encoded).unwrap();
        let of_bytes = Block::roster_of(encoded).unwrap();
        assert_eq!(of_bytes, block.roster);
        found.extend(of_bytes.map(|roster| roster.id(number)));
        // However it is cut, it is never another roster.
        for end in 0..encoded.len().min(700) {
            let cut = Block::roster_of(&encoded[..end]);
            assert!(cut.is_err() || cut == Ok(None) || cut == Ok(block.roster.clone()), "{end}");
        }
    }
    assert_eq!(found, links.iter().map(RosterLink::id).collect::<Vec<_>>());
}

#[test]
fn any_voter_of_a_joint_roster_may_end_the_change() {
    for node in 1..=4 {
        let mut house = founded();
        let signed = house.signed_change(voters(&[2, 3, 4]));
        let (joint, _) = house.propose_change(signed);
        house.apply(&joint.encode());
        // Another leader, of another term, with a head of its own.
        let (head, previous) = (*house.head(), house.state().summary().block_hash);
        let (head, key) = ((head.block, head.hash()), house::key(&format!("node-{node}")));
        let next = roster(&[2, 3, 4]);
        let now_ms = house.now_ms + 5;
        let uniform = Block::propose_uniform(house.ledger, previous, now_ms, (node, 9), head, next, &key);
        house.apply(&uniform.encode());
        assert_eq!(house.head().roster, roster(&[2, 3, 4]).id(house.head().block));
    }
}

#[test]
fn a_replica_stops_at_a_block_whose_roster_cannot_follow() {
    let mut house = founded();
    let (previous, now_ms) = (house.state().summary().block_hash, house.now_ms);
    let (head, key) = ((house.head().block, house.head().hash()), house::key("node-1"));
    let joint_to = |house: &House, next: &[u64], command: SignedCommand, from: &[u64]| {
        let joint = Roster::new(vec![voters(from), voters(next)]).unwrap();
        Block::propose_joint(house.ledger, previous, now_ms, (1, 7), head, (joint, command), &key)
    };
    let good = house.signed_change(voters(&[2, 3, 4]));
    let elsewhere = joint_to(&house, &[2, 3, 4], good.clone(), &[1, 2]);
    assert_eq!(apply(&house, &elsewhere), RosterFault::OtherRoster);
    let uniform = |house: &House, previous, next| {
        Block::propose_uniform(house.ledger, previous, now_ms, (1, 7), head, next, &key)
    };
    assert_eq!(apply(&house, &uniform(&house, previous, roster(&[1, 2, 3]))), RosterFault::NotUnderWay);
    // Raft has changed with the entry: a refused command is no refusal.
    let body =
        Body::SetRoster { voters: voters(&[2, 3, 4]), replaces: house.head().roster, operators: vec![] };
    let alone = house.signed("operator-1", body);
    let refused = RosterFault::Refused(Refusal::TooFewOperators { signed: 1, threshold: 2 });
    assert_eq!(apply(&house, &joint_to(&house, &[2, 3, 4], alone, &[1, 2, 3])), refused);

    let (joint, completing) = house.propose_change(good.clone());
    house.apply(&joint.encode());
    let next = house.state().summary().block_hash;
    assert_eq!(apply(&house, &uniform(&house, next, roster(&[1, 2, 3]))), RosterFault::OtherRoster);
    assert_eq!(apply(&house, &uniform(&house, next, roster(&[2, 3, 5]))), RosterFault::OtherRoster);
    let other = house.signed("issuer", Body::RetireAgent { agent: name("a") });
    assert_eq!(apply(&house, &house.propose(vec![other.clone()])), RosterFault::UnderWay);
    let again = Roster::new(vec![voters(&[1, 2, 3]), voters(&[2, 3, 4])]).unwrap();
    let again = Block::propose_joint(house.ledger, next, now_ms, (1, 7), head, (again, good.clone()), &key);
    assert_eq!(apply(&house, &again), RosterFault::UnderWay);
    // Nor is another change admitted.
    let admitted = |house: &mut House, body| {
        let command = house.command("operator-1", body);
        let signed = house.sign(&command, &["operator-1", "operator-2"]);
        house
            .state()
            .admit(&house.replicas[0].nodes, &signed, house.now_ms, &VerifiedSignatures::default())
            .unwrap()
    };
    let body = house.set_roster(voters(&[2, 3, 5]));
    assert_eq!(admitted(&mut house, body), Err(Refusal::RosterChangeUnderWay));
    house.apply(&completing.encode());
    house.block(vec![other]);

    // Nor does the same change come again.
    let back = house.state().summary().block_hash;
    assert_eq!(house.roster.joint_with(&voters(&[2, 3, 4])), None);
    let same = Roster::new(vec![voters(&[2, 3, 4]), voters(&[2, 3, 4])]).unwrap();
    let head_now = (house.head().block, house.head().hash());
    let key = house::key("node-2");
    let same = Block::propose_joint(house.ledger, back, now_ms, (2, 7), head_now, (same, good), &key);
    assert_eq!(apply(&house, &same), RosterFault::OtherRoster);
}

#[test]
fn a_roster_block_has_its_own_commands_and_no_others() {
    let mut house = founded();
    let signed = house.signed_change(voters(&[2, 3, 4]));
    let (joint, uniform) = house.propose_change(signed.clone());
    let mut cases = Vec::new();
    let with = |block: &Block, commands| {
        let mut block = block.clone();
        block.commands = commands;
        block
    };
    for block in [&joint, &uniform] {
        for commands in [vec![], vec![signed.clone()], vec![signed.clone(), signed.clone()]] {
            cases.push(with(block, commands));
        }
    }
    let other = house.signed_change(voters(&[2, 3, 5]));
    cases.push(with(&joint, vec![other]));
    let other = house.signed("issuer", Body::RetireAgent { agent: name("a") });
    cases.push(with(&joint, vec![other]));
    let mut none = uniform.clone();
    none.roster = None;
    cases.push(none);
    let good = cases.iter().filter(|block| Block::decode(&block.encode()).is_ok()).count();
    assert_eq!(good, 2, "just the two that were proposed");
    for block in cases.iter().filter(|block| **block != joint && **block != uniform) {
        let error = Block::decode(&block.encode()).unwrap_err();
        assert_eq!(error == BlockError::NotARosterBlock, block.roster.is_some(), "{error}");
        // Nor is it applied by who did not decode it: its proposer's signature is not over these bytes.
        assert!(house.state().apply(&house.replicas[0].nodes, block).is_err());
    }
}

// ----------------------------------------------------------------------------------------------------
// Commands.

#[test]
fn each_change_that_may_not_be_is_refused_for_its_own_reason() {
    let (mut house, _) = changed();
    let op = public("operator-2");
    let body = |house: &House, voters, operators: Vec<PublicKey>| Body::SetRoster {
        voters,
        replaces: house.head().roster,
        operators,
    };
    let set = |voters: Vec<Voter>| {
        let mut voters = voters;
        voters.sort_by_key(|voter| voter.node);
        VoterSet::majority(voters).unwrap()
    };
    let stay = || vec![voter(3), voter(4)];
    let with = |come: Voter| set([stay(), vec![come]].concat());
    let good = || with(voter(6));
    let in_force = house.head().roster;
    let earlier = house.trust.genesis.id(0);
    let revoker = public("revoker");
    let cases: Vec<(Body, &[&str], Refusal)> = vec![
        (body(&house, good(), vec![]), &["operator-1"], Refusal::TooFewOperators { signed: 1, threshold: 2 }),
        (body(&house, good(), vec![revoker]), &["operator-1", "revoker"], Refusal::UnknownOperator(revoker)),
        (
            Body::SetRoster { voters: good(), replaces: earlier, operators: vec![op] },
            &["operator-1", "operator-2"],
            Refusal::OtherRoster { replaces: earlier, in_force },
        ),
        (body(&house, voters(&[3, 4, 5]), vec![op]), &["operator-1", "operator-2"], Refusal::SameVoters),
        (
            body(&house, VoterSet::new(vec![voter(3), voter(4), voter(5)], 3).unwrap(), vec![op]),
            &["operator-1", "operator-2"],
            Refusal::SameVoters,
        ),
        (body(&house, with(voter(1)), vec![op]), &["operator-1", "operator-2"], Refusal::NodeIdUsed(1)),
        (
            // Of one that stays, under another key.
            body(&house, set(vec![voter(3), Voter { node: 4, ..voter(6) }]), vec![op]),
            &["operator-1", "operator-2"],
            Refusal::NodeIdUsed(4),
        ),
        (
            body(&house, with(Voter { name: name("node-2"), ..voter(6) }), vec![op]),
            &["operator-1", "operator-2"],
            Refusal::NodeNameUsed(name("node-2")),
        ),
        (
            body(&house, with(Voter { key: public("node-1"), ..voter(6) }), vec![op]),
            &["operator-1", "operator-2"],
            Refusal::NodeKeyUsed(public("node-1")),
        ),
        (
            // The key of one that is replaced.
            body(&house, with(Voter { key: public("node-5"), ..voter(6) }), vec![op]),
            &["operator-1", "operator-2"],
            Refusal::NodeKeyUsed(public("node-5")),
        ),
        (
            body(&house, good(), vec![op]),
            &["operator-1"],
            Refusal::Envelope(EnvelopeError::WrongSigners { signed: 1, required: 2 }),
        ),
    ];
    for (body, signers, refusal) in cases {
        let command = house.command("operator-1", body);
        let signed = house.sign(&command, signers);
        let before = house.state().summary().root;
        let admitted = house
            .state()
            .admit(&house.replicas[0].nodes, &signed, house.now_ms, &VerifiedSignatures::default())
            .unwrap();
        assert_eq!(admitted, Err(refusal.clone()));
        let applied = house.block(vec![signed]);
        assert_eq!(applied.outcomes, [Outcome::Refused(refusal)]);
        assert_eq!(house.state().summary().root, before);
    }
    for (signer, refusal) in [
        ("stranger", Refusal::UnknownPrincipal(public("stranger"))),
        ("issuer", Refusal::WrongRole(vec![Role::Operator])),
    ] {
        let command = house.command(signer, body(&house, good(), vec![op]));
        let signed = house.sign(&command, &[signer, "operator-2"]);
        assert_eq!(house.block(vec![signed]).outcomes, [Outcome::Refused(refusal)]);
    }
    // A good one, but in a block of its own only; admission says yes, for a roster block.
    let signed = house.signed_change(good());
    assert!(
        house
            .state()
            .admit(&house.replicas[0].nodes, &signed, house.now_ms, &VerifiedSignatures::default())
            .unwrap()
            .is_ok()
    );
    let applied = house.block(vec![signed.clone()]);
    assert_eq!(applied.outcomes, [Outcome::Refused(Refusal::NotInRosterBlock)]);
    assert!(applied.leaves.is_empty());
    house.change(&[3, 4, 6]);
    // An operator that has been removed is none; and as many as must sign must stay.
    let remove = Body::RemovePrincipal { key: op };
    let signed = house.signed("operator-1", remove.clone());
    assert_eq!(house.block(vec![signed]).outcomes, [Outcome::Refused(Refusal::OperatorsNeeded(2))]);
    house.applied("operator-1", Body::AddPrincipal(principal("operator-3", &[Role::Operator], everything())));
    house.applied("operator-1", remove);
    let signed = house.signed_change(voters(&[3, 4, 7]));
    assert_eq!(house.block(vec![signed]).outcomes, [Outcome::Refused(Refusal::UnknownOperator(op))]);
}

#[test]
fn operators_sign_one_after_the_other() {
    let mut house = founded();
    let body = house.set_roster(voters(&[2, 3, 4]));
    let command = house.command("operator-1", body);
    let whole = house.sign(&command, &["operator-1", "operator-2"]);
    let half = SignedCommand::decode(&house.sign(&command, &["operator-1"]).encode()).unwrap();
    assert_eq!(half.missing_signers(), [public("operator-2")]);
    assert_eq!(half.verify(house.ledger), Err(EnvelopeError::WrongSigners { signed: 1, required: 2 }));
    let stranger = half.clone().co_sign(house.ledger, &house::key("stranger"));
    assert_eq!(stranger, Err(EnvelopeError::NotASigner(public("stranger"))));
    let both = half.clone().co_sign(house.ledger, &house::key("operator-2")).unwrap();
    assert_eq!(both, whole);
    assert!(both.missing_signers().is_empty() && both.verify(house.ledger).is_ok());
    let again = both.co_sign(house.ledger, &house::key("operator-1")).unwrap();
    assert_eq!(again.encode(), whole.encode());
    // Nobody puts his name beside a signature that is none.
    let mut forged = half.encode();
    *forged.last_mut().unwrap() ^= 1;
    let forged = SignedCommand::decode(&forged).unwrap();
    let refused = forged.co_sign(house.ledger, &house::key("operator-2"));
    assert_eq!(refused, Err(EnvelopeError::BadSignature(public("operator-1"))));
    // The signer is not named again, and nobody twice.
    for operators in [vec![public("operator-1")], vec![public("operator-2"); 2]] {
        let replaces = house.head().roster;
        let body = Body::SetRoster { voters: voters(&[2, 3, 4]), replaces, operators };
        let command = house.command("operator-1", body);
        assert!(SignedCommand::sign(house.ledger, &command, &[]).is_err());
    }
}

#[test]
fn genesis_sets_a_threshold_that_its_operators_can_reach() {
    let founds = |operator_threshold, signatures_per_command_max| {
        let limits = Limits { operator_threshold, signatures_per_command_max, ..house::limits() };
        let body = Body::Genesis(house::genesis(limits));
        let command = Command {
            signer: public("operator-1"),
            request_id: chancery_ledger::command::RequestId([0; 16]),
            not_after_ms: house::FOUNDED_MS + HOUR_MS,
            body,
        };
        SignedCommand::sign(chancery_ledger::command::LedgerId::GENESIS, &command, &[]).is_ok()
    };
    assert!(founds(1, 2) && founds(2, 2));
    assert!(!founds(0, 2) && !founds(3, 4), "there are two operators");
    assert_eq!([1, 2, 3, 4, 5].map(Limits::operator_majority), [1, 2, 2, 3, 3]);
}

// ----------------------------------------------------------------------------------------------------
// Following.

#[test]
fn who_trusts_genesis_follows_every_change() {
    let (house, links) = changed();
    let founding = house.founding_trust();
    let newest = links[3].id();
    let all = founding.extend(&chain(&links)).unwrap();
    assert_eq!((all.newest_roster(), all.roster(newest).unwrap()), (newest, &roster(&[3, 4, 5])));
    assert_eq!(all, house.trust);
    // In parts it is the same.
    let mut trust = founding.clone();
    for link in &links {
        assert_eq!(trust.roster(link.id()), Err(TrustError::UnknownRoster(link.id())));
        trust = trust.extend(&chain(std::slice::from_ref(link))).unwrap();
        assert_eq!(trust.newest_roster(), link.id());
    }
    assert_eq!(trust, all);
    assert_eq!(trust.roster_chain_to(links[1].id()).unwrap(), chain(&links[..2]));
    assert_eq!(trust.roster_chain_to(founding.newest_roster()).unwrap(), chain(&[]));
    // A minimum that the chain does not lead through.
    let fork = roster(&[2, 3, 5]).id(links[1].id().block);
    let result = founding.clone().since_roster(fork).extend(&chain(&links));
    assert_eq!(result, Err(RosterChainError::NotThroughMinimum(fork)));
    assert!(founding.clone().since_roster(links[1].id()).extend(&chain(&links)).is_ok());
    assert!(founding.since_roster(fork).extend(&chain(&links[..1])).is_ok(), "it is not that far yet");
}

fn link_error(trust: &Trust, links: &[RosterLink]) -> (usize, RosterLinkError) {
    match trust.extend(&RosterChain { links: links.to_vec() }) {
        Err(RosterChainError::Link { position, source }) => (position, source),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_has_every_link_in_its_place() {
    let (house, links) = changed();
    let trust = house.founding_trust();
    let block = |link: usize| links[link].head.block;
    let other_block = |link: usize, before: u64| RosterLinkError::OtherBlock { block: block(link), before };
    let pick = |places: &[usize]| places.iter().map(|place| links[*place].clone()).collect::<Vec<_>>();
    let cases = [
        (pick(&[1]), 0, RosterLinkError::OtherRoster),
        (pick(&[2]), 0, RosterLinkError::OtherRoster),
        (pick(&[0, 2]), 1, other_block(2, block(0))),
        (pick(&[0, 3]), 1, other_block(3, block(0))),
        (pick(&[0, 1, 3]), 2, RosterLinkError::OtherRoster),
        (pick(&[1, 0]), 0, RosterLinkError::OtherRoster),
        (pick(&[0, 0]), 1, other_block(0, block(0))),
        (pick(&[0, 1, 1]), 2, RosterLinkError::OtherRoster),
        (pick(&[0, 1, 0]), 2, other_block(0, block(1))),
        (pick(&[0, 1, 2, 3, 3]), 4, RosterLinkError::OtherRoster),
    ];
    for (links, position, error) in cases {
        assert_eq!(link_error(&trust, &links), (position, error));
    }
    let many = vec![links[0].clone(); ROSTER_LINKS_MAX as usize + 1];
    assert_eq!(trust.extend(&RosterChain { links: many }), Err(RosterChainError::TooLong));
    // Known links are not shown again.
    assert_eq!(link_error(&house.trust, &links[3..]).0, 0);
}

#[test]
fn a_roster_block_is_signed_by_a_quorum_before_and_after() {
    let mut house = founded();
    let (first, second) = (house.roster.clone(), [4, 5, 6]);
    let signed = house.signed_change(voters(&second));
    let (joint, uniform) = house.propose_change(signed);
    let trust = house.founding_trust();
    let too_few = |count| RosterLinkError::Quorum(QuorumError::TooFew(count));
    house.apply(&joint.encode());
    for (nodes, enough) in [
        (&[1, 2, 3][..], false),
        (&[4, 5, 6], false),
        (&[1, 4, 5, 6], false),
        (&[1, 2, 3, 4], false),
        (&[1, 2, 4, 5], true),
    ] {
        let links = [house.link_by(nodes)];
        if enough {
            assert!(trust.extend(&chain(&links)).is_ok());
        } else {
            assert_eq!(link_error(&trust, &links), (0, too_few(nodes.len())));
        }
    }
    let joint = house.link(&first);
    house.apply(&uniform.encode());
    for (nodes, enough) in
        [(&[4, 5, 6][..], false), (&[1, 2, 3], false), (&[1, 2, 3, 4], false), (&[2, 3, 4, 6], true)]
    {
        let links = [joint.clone(), house.link_by(nodes)];
        if enough {
            assert!(trust.extend(&chain(&links)).is_ok());
        } else {
            assert_eq!(link_error(&trust, &links), (1, too_few(nodes.len())));
        }
    }
    // Of somebody else, of an earlier roster, over another head, under another ledger.
    let good = house.link_by(&[1, 2, 4, 5]);
    let trust = trust.extend(&chain(std::slice::from_ref(&joint))).unwrap();
    let with = |change: &dyn Fn(&mut RosterLink)| {
        let mut link = good.clone();
        change(&mut link);
        link_error(&trust, &[link]).1
    };
    let quorum = |error| RosterLinkError::Quorum(error);
    let head = good.head;
    let outside = house.head_statement(7, head);
    let others = house.head_statement(1, joint.head);
    assert_eq!(with(&|link| link.statements.push(outside)), quorum(QuorumError::OutsideRoster(7)));
    assert_eq!(with(&|link| link.statements.push(link.statements[0])), quorum(QuorumError::Twice(1)));
    assert_eq!(with(&|link| link.statements[0] = others), quorum(QuorumError::OtherHead(1)));
    assert_eq!(with(&|link| link.head.ledger.0 = Hash::ZERO), RosterLinkError::OtherLedger);
    assert_eq!(with(&|link| link.head.roster = joint.head.roster), RosterLinkError::NotNamed);
    assert_eq!(with(&|link| link.roster = roster(&[4, 5, 7])), RosterLinkError::NotNamed);
    assert_eq!(with(&|link| link.head.block += 1), RosterLinkError::NotNamed);
    let elsewhere = roster(&[4, 5, 7]);
    assert_eq!(
        with(&|link| {
            link.head.roster = elsewhere.id(link.head.block);
            link.roster = elsewhere.clone();
        }),
        RosterLinkError::OtherRoster
    );

    // After a further change, those of the first roster say nothing about it.
    let between = house.roster.clone();
    house.trust = trust.extend(&chain(&[good])).unwrap();
    let signed = house.signed_change(voters(&[4, 5, 8]));
    let (joint, _) = house.propose_change(signed);
    house.apply(&joint.encode());
    let removed = [house.link_by(&[1, 2, 3])];
    assert_eq!(link_error(&house.trust, &removed), (0, quorum(QuorumError::OutsideRoster(1))));
    assert!(house.trust.extend(&chain(&[house.link(&between)])).is_ok());
}

#[test]
fn no_byte_of_a_chain_can_be_changed() {
    let mut house = founded();
    let links = house.change(&[2, 3, 4]);
    let trust = house.founding_trust();
    let bytes = chain(&links).encode();
    let read = |bytes: &[u8]| trust.extend(&RosterChain::decode(bytes).ok()?).ok();
    let believed = read(&bytes).unwrap();
    let mut decoded = 0;
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            decoded += usize::from(RosterChain::decode(&changed).is_ok());
            assert_eq!(read(&changed), None, "byte {at}");
        }
        let mut cut = bytes.clone();
        cut.remove(at);
        assert_eq!(read(&cut), None, "without byte {at}");
        // A whole link less is a shorter chain, and that is all it is.
        if let Some(shorter) = read(&bytes[..at]) {
            assert!(trust.roster_chain().links.len() <= shorter.roster_chain().links.len());
            assert!(believed.join(&shorter).unwrap() == believed);
        }
    }
    assert!(decoded > bytes.len(), "{decoded}: most flips are in signatures, hashes and keys");
}

// ----------------------------------------------------------------------------------------------------
// Answers and evidence.

fn is_permit(decision: &Decision) -> bool {
    matches!(decision, Decision::Permit(_))
}

#[test]
fn an_answer_counts_under_the_rosters_that_it_names() {
    let mut house = founded();
    let (asked, nonce) = (request("a", "deploy", "prod/db"), nonce("one"));
    let signed = house.signed_change(voters(&[2, 3, 4]));
    let (joint, uniform) = house.propose_change(signed);
    let first = house.roster.clone();
    let mut trust = house.founding_trust();
    for block in [joint, uniform] {
        let before = house.roster.clone();
        let old = house.answer(&asked, nonce);
        house.apply(&block.encode());
        let named = house.head().roster;
        // At the roster block itself, the quorum before counts on the head, too: here node 1 signs with them.
        let fresh: Vec<_> = house.roster.voters().map(|v| (v.node, house.now_ms + 1)).collect();
        let answer = house.answer_by(&asked, nonce, &fresh, &[]);
        let unknown = verify(&trust, &asked, nonce, &answer).unwrap_err();
        assert!(
            matches!(unknown, ProofError::Trust(TrustError::UnknownRoster(id)) if id == named),
            "{unknown}"
        );
        assert_eq!(answer.newest_roster(), named);
        trust = trust.extend(&chain(&[house.link(&before)])).unwrap();
        let verified = verify(&trust, &asked, nonce, &answer);
        if house.roster.is_joint() {
            assert!(is_permit(&verified.unwrap().decision));
            // The new half alone is none, nor is the old.
            for half in [&[2, 3, 4][..1], &[1, 4]] {
                let few: Vec<_> = half.iter().map(|node| (*node, house.now_ms + 1)).collect();
                let few = house.answer_by(&asked, nonce, &few, &[]);
                let error = verify(&trust, &asked, nonce, &few).unwrap_err();
                assert!(matches!(error, ProofError::Freshness(QuorumError::TooFew(_))), "{error}");
            }
        } else {
            // {2, 3, 4} are quorums of both sets.
            assert!(is_permit(&verified.unwrap().decision));
        }
        // What was fresh under the roster before is so no more, once the new one was verified.
        let later = trust.clone().since_roster(named);
        let error = verify(&later, &asked, nonce, &old).unwrap_err();
        assert!(matches!(error, ProofError::Trust(TrustError::RosterRolledBack { .. })), "{error}");
        assert!(verify(&trust, &asked, nonce, &old).is_ok(), "but it was asked before that");
    }
    assert_ne!(house.roster, first);
}

#[test]
fn the_head_of_a_roster_block_needs_both_quorums_in_an_answer_too() {
    let mut house = founded();
    let (asked, nonce) = (request("a", "deploy", "prod/db"), nonce("one"));
    house.change(&[4, 5, 6]);
    let clocks = [(4, house.now_ms + 1), (5, house.now_ms + 1)];
    let alone = house.answer_by(&asked, nonce, &clocks, &[6]);
    let error = verify(&house.trust, &asked, nonce, &alone).unwrap_err();
    assert!(matches!(error, ProofError::Head(QuorumError::TooFew(3))), "{error}");
    let both = house.answer_by(&asked, nonce, &clocks, &[1, 2]);
    assert!(is_permit(&verify(&house.trust, &asked, nonce, &both).unwrap().decision));
    // One block later, those who left do not count any more.
    house.register("b");
    let clocks = [(4, house.now_ms + 1), (5, house.now_ms + 1)];
    let left = house.answer_by(&asked, nonce, &clocks, &[1]);
    let error = verify(&house.trust, &asked, nonce, &left).unwrap_err();
    assert!(matches!(error, ProofError::Head(QuorumError::OutsideRoster(1))), "{error}");
    let alone = house.answer_by(&asked, nonce, &clocks, &[]);
    assert!(is_permit(&verify(&house.trust, &asked, nonce, &alone).unwrap().decision));
}

#[test]
fn who_left_and_kept_the_keys_is_not_believed() {
    let (house, links) = changed();
    let (asked, nonce) = (request("a", "deploy", "prod/db"), nonce("one"));
    let honest = house.answer(&asked, nonce);
    // All of {1, 2, 3} sign a head of their own, under the roster that had them.
    let forged = Head { roster: house.trust.genesis.id(0), ..*house.head() };
    let root = house.round(&asked, nonce).root();
    let fresh = |named| Fresh { tail_roster: named, ..house.fresh(root, house.now_ms + 1) };
    let by = |nodes: &[u64], named| {
        nodes.iter().map(|node| house.fresh_statement(*node, fresh(named), forged)).collect::<Vec<_>>()
    };
    let removed = Answer {
        head: forged,
        statements: by(&[1, 2, 3], forged.roster),
        head_statements: vec![],
        ..honest.clone()
    };
    // A client that knows genesis alone cannot tell; one that knows more refuses, fresh or not.
    assert!(verify(&house.founding_trust(), &asked, nonce, &removed).is_ok());
    let since = house.trust.clone().since_roster(house.trust.newest_roster());
    let error = verify(&since, &asked, nonce, &removed).unwrap_err();
    assert!(matches!(error, ProofError::Trust(TrustError::RosterRolledBack { .. })), "{error}");
    let replaced = |trust: &Trust, answer: &Answer| {
        let error = verify(trust, &asked, nonce, answer).unwrap_err();
        assert!(
            matches!(error, ProofError::Trust(TrustError::RosterReplaced { by, .. }) if by == links[0].id()),
            "{error}"
        );
    };
    replaced(&house.trust, &removed);
    // Beside honest fresh statements, their head is no better.
    let mixed = Answer {
        statements: honest.statements.clone(),
        head_statements: [1, 2].map(|node| house.head_statement(node, forged)).to_vec(),
        ..removed.clone()
    };
    replaced(&house.trust, &mixed);
    // In evidence it is believed only by who knows no better.
    let proof = Proof::Check { nonce, answer: removed };
    let evidence = Evidence { rosters: chain(&[]), proof, ..house.evidence(&asked, nonce) };
    assert!(evidence.verify(&house.founding_trust()).is_ok());
    let error = evidence.verify(&since).unwrap_err();
    assert!(
        matches!(error, EvidenceError::Answer(ProofError::Trust(TrustError::RosterReplaced { .. }))),
        "{error}"
    );
}

#[test]
fn evidence_carries_the_rosters_that_it_needs() {
    let mut house = founded();
    let asked = request("a", "deploy", "prod/db");
    let before = house.evidence(&asked, nonce("before"));
    assert_eq!(before.rosters, RosterChain::default());
    assert!(!before.to_json().contains("rosters"));
    let links = [house.change(&[2, 3, 4]), house.change(&[3, 4, 5])].concat();
    house.register("b");
    let after = house.evidence(&asked, nonce("after"));
    assert_eq!(after.rosters.links, links);
    let read = |evidence: &Evidence| {
        let read = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
        assert_eq!(&read, evidence);
        read
    };
    // Whatever of it the reader knows already; and what has been since does not matter.
    house.change(&[5, 6, 7]);
    let founding = house.founding_trust();
    let some = founding.extend(&chain(&links[..3])).unwrap();
    for trust in [&founding, &some, &house.trust] {
        for evidence in [&before, &after] {
            let shown = read(evidence).verify(trust).unwrap();
            assert!(is_permit(shown.proven.decision()));
        }
        let since = trust.clone().since(u64::MAX).since_roster(trust.newest_roster());
        assert!(before.verify(&since).is_ok());
    }
    // No link less, none more.
    for count in 0..6 {
        let all = &house.trust.roster_chain().links;
        let evidence = Evidence { rosters: chain(&all[..count]), ..after.clone() };
        let result = read(&evidence).verify(&house.trust);
        assert_eq!(result.is_ok(), count == 4, "{count}");
        assert!(count == 4 || matches!(result, Err(EvidenceError::OtherRosters)), "{count}");
    }
    let surplus = Evidence { rosters: chain(&links[..2]), ..before.clone() };
    assert!(matches!(surplus.verify(&founding), Err(EvidenceError::OtherRosters)));
    let mut forged = after.clone();
    forged.rosters.links.swap(0, 1);
    assert!(matches!(forged.verify(&founding), Err(EvidenceError::Rosters(RosterChainError::Link { .. }))));
    // Absent is absent, not empty.
    let empty = before.to_json().replace("\"answer\"", "\"rosters\": \"\", \"answer\"");
    assert!(matches!(Evidence::from_json(empty.as_bytes()), Err(EvidenceFileError::Field("rosters"))));
}

#[test]
fn two_histories_are_told_apart() {
    let (mut one, mut other) = (founded(), founded());
    let ours = one.change(&[2, 3, 4]);
    let theirs = other.change(&[1, 2, 5]);
    assert_eq!(one.ledger, other.ledger);
    let forked = TrustError::Forked { known: ours[0].id(), found: theirs[0].id() };
    assert_eq!(one.trust.join(&other.trust), Err(forked));
    let evidence = other.evidence(&request("a", "deploy", "prod/db"), nonce("one"));
    assert!(evidence.verify(&other.founding_trust()).is_ok());
    assert!(matches!(evidence.verify(&one.trust), Err(EvidenceError::Forked(_))));
    assert_eq!(one.founding_trust().join(&one.trust).unwrap(), one.trust);
}

#[test]
fn the_trust_file_keeps_the_newest_roster() {
    let (house, links) = changed();
    let trust = house.founding_trust().since_roster(links[3].id());
    let text = trust.to_toml();
    assert_eq!(Trust::from_toml(&text).unwrap(), trust);
    assert!(!house.founding_trust().to_toml().contains("minimum_roster"));
    let id = links[3].id().to_string();
    for other in [id.to_uppercase(), id.replace('@', "@0"), id.replace('@', "@+"), id.replace('@', "")] {
        let text = text.replace(&id, &other);
        assert!(matches!(Trust::from_toml(&text), Err(TrustError::Malformed(_))), "{other}");
    }
}

#[test]
fn what_was_a_state_stays_one() {
    // The voters that there ever were are in the state: whoever replays from nothing refuses them as well.
    let (house, _) = changed();
    let mut replica = house::Replica::found(&Block::decode(&house.blocks[0]).unwrap());
    for block in &house.blocks[1..] {
        replica.apply(block);
    }
    assert_eq!(replica.state.summary(), house.state().summary());
    chancery_ledger::state::verify_whole(&replica.nodes, replica.state.summary().root).unwrap();
}
