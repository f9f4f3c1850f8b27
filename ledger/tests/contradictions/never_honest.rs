//! Properties: no trace of an honest node convicts it, in whatever order it is heard; and the book finds
//! exactly what comparing all pairs finds.

use chancery_ledger::evidence::{Contradiction, Message, StatementBook};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, RosterId, Statement};
use proptest::prelude::*;

use super::honest_node::{NODE, chain, events, statements};
use super::{fresh, sign};
use crate::house::House;

const UNBOUNDED: usize = usize::MAX;

/// In an order of its own for each `seed`.
fn shuffled(mut statements: Vec<Statement>, seed: u64) -> Vec<Statement> {
    statements.sort_by_key(|statement| Hash::of(&[&seed.to_be_bytes(), &statement.encode()]));
    statements
}

fn any_pair(house: &House, statements: &[Statement]) -> bool {
    let messages: Vec<Message> = statements.iter().map(|statement| (*statement).into()).collect();
    let find = |a, b| Contradiction::find(&house.trust, a, b).is_some();
    messages.iter().enumerate().any(|(place, a)| messages[place..].iter().any(|b| find(a, b)))
}

/// A statement with one thing about it changed.
#[derive(Clone, Copy, Debug)]
struct Lie {
    place: prop::sample::Index,
    what: u8,
    by: u64,
}

fn lies() -> impl Strategy<Value = Vec<Lie>> {
    let lie = (any::<prop::sample::Index>(), 0..8_u8, 1..4_u64);
    proptest::collection::vec(lie.prop_map(|(place, what, by)| Lie { place, what, by }), 1..4)
}

fn lie(statement: Statement, Lie { what, by, .. }: Lie) -> Statement {
    let Statement { mut number, mut fresh, mut head, .. } = statement;
    match (what, fresh.as_mut()) {
        (0, _) => number.counter = number.counter.saturating_sub(by),
        (1, _) => number.epoch += by,
        (2, _) => head.state_root = Hash::of(&[b"lie"]),
        (3, _) => head.log_size -= head.log_size.min(by),
        (4, _) => head.roster.block = head.roster.block.saturating_sub(by),
        (5, Some(fresh)) => fresh.tail_block = fresh.tail_block.saturating_sub(by),
        (6, Some(fresh)) => fresh.tail_roster = head.roster,
        (_, Some(fresh)) => fresh.tail_roster.digest = Hash::of(&[b"lie"]),
        (_, None) => head.block += by,
    }
    sign(NODE, (number.epoch, number.counter), fresh, head)
}

/// Statements of few values, so that many of them contradict each other, and many do not.
fn any_statement(house: &House) -> impl Strategy<Value = Statement> + use<> {
    let genesis = *house.head();
    let values = (0..5_u64, 0..4_u64, 0..3_u64, 0..12_u64);
    (values, proptest::option::of((0..7_u64, 0..3_u64))).prop_map(move |(values, tail)| {
        let (block, size, roster_block, counter) = values;
        let roster = |block| RosterId { block, digest: Hash::of(&[b"roster"]) };
        let root = Hash::of(&[&size.to_be_bytes()]);
        let head = Head { block, log_size: size, log_root: root, roster: roster(roster_block), ..genesis };
        let log: Option<Fresh> = tail.and_then(|(tail, named)| fresh(tail, roster(named)));
        sign(NODE, (1, counter), log, head)
    })
}

/// The book finds something at the very statement with which the first pair is complete, and it verifies.
fn book_finds_what_all_pairs_find(house: &House, statements: &[Statement]) -> Result<(), TestCaseError> {
    let mut book = StatementBook::new(UNBOUNDED);
    for (place, statement) in statements.iter().enumerate() {
        let found = book.note(&house.trust, statement);
        // No two of those before did: the book was right about them.
        let last = Message::from(*statement);
        let with = |other: &Statement| Contradiction::find(&house.trust, &last, &(*other).into()).is_some();
        prop_assert_eq!(found.is_some(), statements[..=place].iter().any(with), "at {}", place);
        if let Some(found) = found {
            prop_assert_eq!(found.verify(&house.trust).unwrap().voter.node, NODE);
            return Ok(());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_node_is_never_convicted(chain in chain(), events in events(), seed: u64) {
        let house = House::found();
        let statements = shuffled(statements(&house, &chain, &events), seed);
        prop_assert!(!any_pair(&house, &statements));
        for kept_max in [1, 5, UNBOUNDED] {
            let mut book = StatementBook::new(kept_max);
            for statement in statements.iter().chain(&statements) {
                prop_assert_eq!(book.note(&house.trust, statement), None);
            }
        }
    }

    #[test]
    fn the_book_finds_every_lie_that_a_pair_shows(
        chain in chain(), events in events(), lies in lies(), seed: u64,
    ) {
        let house = House::found();
        let mut statements = statements(&house, &chain, &events);
        prop_assume!(!statements.is_empty());
        for told in lies {
            let place = told.place.index(statements.len());
            statements[place] = lie(statements[place], told);
        }
        book_finds_what_all_pairs_find(&house, &shuffled(statements, seed))?;
    }

    #[test]
    fn the_book_finds_what_all_pairs_find_in_noise(
        statements in proptest::collection::vec(any_statement(&House::found()), 1..16),
    ) {
        book_finds_what_all_pairs_find(&House::found(), &statements)?;
    }
}

#[test]
fn the_book_is_bounded_and_passes_over_strangers() {
    let house = House::found();
    let (genesis, head) = (house.roster_id(), *house.head());
    let at = |block| Head { block, log_size: block + 2, ..head };
    let mut book = StatementBook::new(4);
    for block in 0..100 {
        let statement = sign(2, (1, block), fresh(block, genesis), at(block));
        assert_eq!(book.note(&house.trust, &statement), None);
    }
    let other = |block| Head { state_root: Hash::of(&[b"x"]), ..at(block) };
    // What it dropped is not compared; what it keeps is, for each node by itself.
    assert_eq!(book.note(&house.trust, &sign(2, (1, 100), None, other(50))), None);
    assert_eq!(book.note(&house.trust, &sign(1, (1, 100), None, other(99))), None);
    assert!(book.note(&house.trust, &sign(2, (1, 100), None, other(99))).is_some());
    // Node 4 is no voter: nothing of it is kept, or found.
    for state in [b"a", b"b"] {
        let lie = Head { state_root: Hash::of(&[state]), ..at(1) };
        assert_eq!(book.note(&house.trust, &sign(4, (1, 1), None, lie)), None);
    }
}
