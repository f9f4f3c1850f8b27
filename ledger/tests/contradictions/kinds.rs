//! Each kind: a liar is convicted of it, and what an honest node does that looks like it is not.

use chancery_ledger::authority::Block;
use chancery_ledger::command::{Body, LedgerId, SignedCommand};
use chancery_ledger::evidence::{Charge, Contradiction, ContradictionError, Message};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Number, RosterId};
use chancery_ledger::trust::Trust;

use super::{fresh, pair, sign};
use crate::house::{House, ORIGIN, key, name, roster, terms};

fn hash(label: &str) -> Hash {
    Hash::of(&[label.as_bytes()])
}

/// A head of a ledger in which each block has one command and its STATE leaf.
fn head(house: &House, block: u64) -> Head {
    let label = block.to_string();
    Head {
        block,
        time_ms: house.head().time_ms + block,
        log_size: 2 * (block + 1),
        log_root: hash(&label),
        state_root: hash(&label),
        ..*house.head()
    }
}

#[track_caller]
fn convicts(house: &House, a: impl Into<Message>, b: impl Into<Message>, charge: Charge) {
    let (a, b) = (a.into(), b.into());
    let found = pair(house, a, b).expect("a contradiction");
    let conviction = found.verify(&house.trust).unwrap();
    assert_eq!((conviction.voter.node, conviction.charge), (2, charge));
    assert_eq!(Contradiction::from_json(found.to_json().as_bytes()).unwrap(), found);
}

#[track_caller]
fn passes(house: &House, a: impl Into<Message>, b: impl Into<Message>) {
    assert_eq!(pair(house, a, b), None);
}

#[test]
fn one_number_for_two_statements() {
    let house = House::found();
    let (head, genesis) = (head(&house, 5), house.roster_id());
    let number = Number { epoch: 1, counter: 7 };
    let one = sign(2, (1, 7), fresh(5, genesis), head);
    let convicted_by = |other| convicts(&house, one, other, Charge::NumberTwice { number });
    convicted_by(sign(2, (1, 7), None, head));
    convicted_by(sign(2, (1, 7), fresh(6, genesis), head));
    // Neither the same again, nor the same counter after a restart, nor another node's number.
    passes(&house, one, sign(2, (1, 7), fresh(5, genesis), head));
    passes(&house, one, sign(2, (2, 7), fresh(6, genesis), head));
    passes(&house, one, sign(3, (1, 7), fresh(6, genesis), head));
}

#[test]
fn a_log_that_ends_below_a_head_that_was_signed_before() {
    let house = House::found();
    let genesis = house.roster_id();
    let at_seven = sign(2, (1, 1), None, head(&house, 7));
    let charge = Charge::TailBelowHead { tail_block: 6, head_block: 7 };
    convicts(&house, at_seven, sign(2, (1, 2), fresh(6, genesis), head(&house, 6)), charge);
    // A restart is no excuse, and the earlier one may be fresh as well.
    convicts(&house, at_seven, sign(2, (2, 0), fresh(6, genesis), head(&house, 6)), charge);
    let long = sign(2, (1, 1), fresh(9, genesis), head(&house, 7));
    convicts(&house, long, sign(2, (1, 2), fresh(6, genesis), head(&house, 6)), charge);
    // One that is below its own head needs no other.
    let alone = sign(2, (1, 2), fresh(6, genesis), head(&house, 7));
    convicts(&house, alone, alone, charge);

    // An uncommitted tail may be cut, down to the newest head.
    passes(&house, long, sign(2, (1, 2), fresh(7, genesis), head(&house, 7)));
    // A log that was shorter before the head.
    passes(&house, at_seven, sign(2, (1, 0), fresh(6, genesis), head(&house, 6)));
    // An older head, read a moment before or asked for, is nothing.
    passes(&house, at_seven, sign(2, (1, 2), fresh(7, genesis), head(&house, 3)));
    passes(&house, at_seven, sign(2, (1, 2), None, head(&house, 3)));
    // Another node may lag.
    passes(&house, at_seven, sign(3, (1, 2), fresh(6, genesis), head(&house, 6)));
}

#[test]
fn a_log_under_another_roster_than_a_head_that_was_signed_before() {
    let house = House::found();
    let genesis = house.roster_id();
    let changed = roster(&[1, 2, 3]).id(6);
    let of = |roster| Head { roster, ..head(&house, 8) };
    let signed = sign(2, (1, 1), None, of(changed));
    let charge = |tail_roster, head_roster| Charge::RosterBelowHead { tail_roster, head_roster };
    // The roster before, one of the same block, and one that the log up to the head does not have.
    let twin = RosterId { block: 6, digest: hash("twin") };
    let lie = RosterId { block: 8, digest: hash("lie") };
    for other in [genesis, twin, lie] {
        let later = sign(2, (1, 2), fresh(9, other), head(&house, 3));
        convicts(&house, signed, later, charge(other, changed));
    }
    let alone = sign(2, (1, 2), fresh(9, genesis), of(changed));
    convicts(&house, alone, alone, charge(genesis, changed));

    // A later roster, which may also be cut again with its block while it is not committed.
    let next = RosterId { block: 9, digest: hash("next") };
    passes(&house, signed, sign(2, (1, 2), fresh(9, next), of(changed)));
    passes(
        &house,
        sign(2, (1, 2), fresh(9, next), of(changed)),
        sign(2, (1, 3), fresh(8, changed), of(changed)),
    );
    // Before the head was signed, the log may have ended anywhere.
    passes(&house, signed, sign(2, (1, 0), fresh(9, genesis), head(&house, 3)));
    passes(&house, signed, sign(2, (1, 0), fresh(9, lie), head(&house, 3)));
}

#[test]
fn a_roster_from_beyond_the_end() {
    let house = House::found();
    let ahead = RosterId { block: 6, digest: hash("ahead") };
    let charge = Charge::RosterAhead { roster_block: 6, block: 5 };
    let in_tail = sign(2, (1, 1), fresh(5, ahead), head(&house, 5));
    convicts(&house, in_tail, in_tail, charge);
    let in_head = sign(2, (1, 1), None, Head { roster: ahead, ..head(&house, 5) });
    convicts(&house, in_head, in_head, charge);
    let at_the_end = sign(2, (1, 1), fresh(6, ahead), head(&house, 5));
    passes(&house, at_the_end, at_the_end);
}

#[test]
fn heads_that_are_not_of_one_ledger() {
    let house = House::found();
    let five = head(&house, 5);
    let one = sign(2, (3, 9), None, five);
    let other = |head| sign(2, (1, 2), None, head);
    // Every field counts.
    for changed in [
        Head { time_ms: five.time_ms + 1, ..five },
        Head { log_size: 11, ..five },
        Head { log_root: hash("x"), ..five },
        Head { state_root: hash("x"), ..five },
        Head { roster: roster(&[1, 2]).id(5), ..five },
        Head { rules_version: 2, ..five },
    ] {
        convicts(&house, one, other(changed), Charge::HeadTwice { block: 5 });
        // A block without leaves changes nothing but the number.
        if changed.log_size == five.log_size {
            let later = Head { block: 6, ..changed };
            convicts(&house, one, other(later), Charge::SizeTwice { log_size: 12 });
        }
    }
    let six = head(&house, 6);
    let later = |six| other(six);
    convicts(
        &house,
        one,
        later(Head { log_size: 11, ..six }),
        Charge::LogShrank { block: 5, later_block: 6 },
    );
    let earlier = five.time_ms - 1;
    convicts(
        &house,
        one,
        later(Head { time_ms: earlier, ..six }),
        Charge::TimeFell { block: 5, later_block: 6 },
    );
    let rewritten = Head { roster: roster(&[1, 2]).id(4), ..six };
    convicts(&house, one, later(rewritten), Charge::RosterRewritten { block: 5, later_block: 6 });

    passes(&house, one, other(five));
    passes(&house, one, later(six));
    passes(&house, one, later(Head { block: 6, ..five }));
    passes(&house, one, later(Head { time_ms: five.time_ms, ..six }));
    passes(&house, one, later(Head { roster: roster(&[1, 2]).id(6), ..six }));
    // Two nodes that differ: one of them lies, but these do not show which.
    passes(&house, one, sign(3, (1, 2), None, Head { state_root: hash("x"), ..five }));
}

fn proposal(house: &House, term: u64, previous: Hash, stamp_ms: u64, command: &SignedCommand) -> Block {
    let head = (5, head(house, 5).hash());
    let commands = vec![command.clone()];
    Block::propose(house.ledger, previous, stamp_ms, (2, term), head, commands, &key("node-2"))
}

#[test]
fn two_blocks_after_one_predecessor_in_one_term() {
    let mut house = House::found();
    let body = Body::RetireAgent { agent: name("team/a") };
    let command = house.signed("operator-1", body);
    let previous = hash("previous");
    let one = proposal(&house, 4, previous, 1, &command);
    convicts(
        &house,
        one.clone(),
        proposal(&house, 4, previous, 2, &command),
        Charge::ProposalTwice { term: 4 },
    );
    passes(&house, one.clone(), one.clone());
    passes(&house, one.clone(), proposal(&house, 5, previous, 2, &command));
    passes(&house, one.clone(), proposal(&house, 4, one.hash(), 2, &command));
}

#[test]
fn a_block_that_names_another_head_than_the_node_signed() {
    let mut house = House::found();
    let command = house.signed("issuer", Body::grant(terms("team/a", &["deploy"], &["prod/*"], 0)));
    let block = proposal(&house, 4, hash("previous"), 1, &command);
    let charge = Charge::HeadTwice { block: 5 };
    let other = Head { state_root: hash("x"), ..head(&house, 5) };
    convicts(&house, block.clone(), sign(2, (1, 1), None, other), charge);
    passes(&house, block.clone(), sign(2, (1, 1), None, head(&house, 5)));
    passes(&house, block.clone(), sign(2, (1, 1), None, head(&house, 6)));

    let lie = (5, other.hash());
    let (ledger, key) = (house.ledger, key("node-2"));
    let lying = Block::propose(ledger, hash("later"), 1, (2, 5), lie, vec![command], &key);
    convicts(&house, block, lying, charge);
}

#[test]
fn what_convicts_nobody_says_why() {
    let house = House::found();
    let genesis = house.roster_id();
    let at_seven = sign(2, (1, 1), None, head(&house, 7));
    let below = sign(2, (1, 2), fresh(6, genesis), head(&house, 6));
    let good = pair(&house, at_seven, below).unwrap();
    assert_eq!(
        good.verify(&house.trust).unwrap().to_string(),
        "node-2 (node 2) signed a log that ends at block 6, when the head of block 7 was signed"
    );

    let other = |origin: &str, ledger| Trust::new(origin.into(), ledger, roster(&[1, 2, 3]), 500);
    let error = good.verify(&other("other", house.ledger)).unwrap_err();
    assert!(matches!(error, ContradictionError::OtherOrigin { .. }), "{error}");
    let error = good.verify(&other(ORIGIN, LedgerId(hash("x")))).unwrap_err();
    assert!(matches!(error, ContradictionError::OtherLedger(_)), "{error}");
    let two = Trust::new(ORIGIN.into(), house.ledger, roster(&[1, 3]), 500);
    assert!(matches!(good.verify(&two), Err(ContradictionError::UnknownNode(2))));

    // Statements about another ledger, under this one's name.
    let elsewhere = |head: Head| Head { ledger: LedgerId(hash("x")), ..head };
    let a = sign(2, (1, 1), None, elsewhere(head(&house, 7)));
    let b = sign(2, (1, 2), fresh(6, genesis), elsewhere(head(&house, 6)));
    let error = pair(&house, a, b).unwrap().verify(&house.trust).unwrap_err();
    assert!(matches!(error, ContradictionError::OtherLedger(_)), "{error}");

    // Of two nodes, or honest ones: such files can only be forged.
    let file = good.to_json();
    let encoded = |statement: &chancery_ledger::head::Statement| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(statement.encode())
    };
    let with = |other| {
        let forged = file.replace(&encoded(&below), &encoded(&other));
        Contradiction::from_json(forged.as_bytes()).unwrap().verify(&house.trust).unwrap_err()
    };
    let error = with(sign(3, (1, 2), fresh(6, genesis), head(&house, 6)));
    assert!(matches!(error, ContradictionError::TwoNodes(2, 3)), "{error}");
    let error = with(sign(2, (1, 2), fresh(7, genesis), head(&house, 6)));
    assert!(matches!(error, ContradictionError::Nothing), "{error}");
}
