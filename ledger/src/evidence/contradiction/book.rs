//! The book of what nodes stated, which finds the first statement that contradicts an earlier one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::charge::between_statements;
use super::{Contradiction, Message};
use crate::hash::Hash;
use crate::head::{Fresh, Number, RosterId, Statement};
use crate::trust::Trust;

/// Keeps statements of each node, up to a bound, and holds every further one against them.
///
/// A statement is compared with only a few others, found in `O(log n)`, and yet with all that are kept: what
/// is compared are the neighbours in orders in which a contradiction between any two would show between
/// neighbours. What was dropped for the bound is compared no more. (The bound holds for each of the orders by
/// itself, and each drops what is oldest in it.)
#[derive(Debug)]
pub struct StatementBook {
    kept_max: usize,
    nodes: BTreeMap<u64, NodeBook>,
}

/// What one node stated, in each of the orders.
#[derive(Debug, Default)]
struct NodeBook {
    /// By number.
    numbers: BTreeMap<Number, Arc<Statement>>,
    /// By the block of the head: one statement for each block.
    heads: BTreeMap<u64, Arc<Statement>>,
    /// By number, those whose head is of a later block than all under lower numbers: what a log must reach.
    reached: BTreeMap<Number, Arc<Statement>>,
    /// By number, with the tail block, those fresh ones whose log ends before all under higher numbers: what a
    /// head must not pass.
    tails: BTreeMap<Number, (u64, Arc<Statement>)>,
    /// By the roster that is named: the fresh one with the highest number.
    rosters: BTreeMap<RosterId, Arc<Statement>>,
}

impl StatementBook {
    /// An empty book, for at most `kept_max` statements of each node in each of five orders.
    pub const fn new(kept_max: usize) -> Self {
        Self { kept_max, nodes: BTreeMap::new() }
    }

    /// Takes down `statement`, **whose signature must have been verified**, unless it contradicts itself or
    /// one that is kept. Statements about other ledgers, and by nodes of no roster that `trust` proves, are
    /// passed over.
    pub fn note(&mut self, trust: &Trust, statement: &Statement) -> Option<Contradiction> {
        if statement.head.ledger != trust.ledger || trust.voter(statement.node).is_none() {
            return None;
        }
        let node = self.nodes.entry(statement.node).or_default();
        let message = Message::from(*statement);
        let against = |other: &Statement| Contradiction::find(trust, &message, &Message::from(*other));
        if let found @ Some(_) = against(statement) {
            return found;
        }
        if let Some(other) = node.contradicted_by(statement) {
            return against(&other);
        }
        node.insert(statement, self.kept_max);
        None
    }
}

impl NodeBook {
    /// One that is kept and cannot be honest together with `statement`.
    fn contradicted_by(&self, statement: &Statement) -> Option<Arc<Statement>> {
        let (number, block, roster) = (statement.number, statement.head.block, statement.head.roster);
        let neighbours = [
            self.numbers.get(&number),
            // Of heads that are of one ledger pair by pair of neighbours, all are of one ledger.
            self.heads.range(..=block).next_back().map(|(_, other)| other),
            self.heads.range(block..).next().map(|(_, other)| other),
            // Its log against the latest head that was signed before. If that head's roster is the one that
            // the log names, so is that of every head since the roster's block, or two of them differ.
            self.reached.range(..=number).next_back().map(|(_, other)| other),
            // Its head against the shortest log that was stated after it.
            self.tails.range(number..).next().map(|(_, (_, other))| other),
        ];
        // Its head's roster against every roster up to its block that was named after it: few, or lies.
        let last = RosterId { block, digest: Hash([0xff; 32]) };
        let named = self.rosters.range(..=last).filter(|(id, _)| **id != roster).map(|(_, other)| other);
        let mut candidates = neighbours.into_iter().flatten().chain(named);
        candidates.find(|other| between_statements(other, statement).is_some()).cloned()
    }

    fn insert(&mut self, statement: &Statement, kept_max: usize) {
        let (number, block) = (statement.number, statement.head.block);
        let statement = Arc::new(*statement);
        let share = || Arc::clone(&statement);
        self.numbers.insert(number, share());
        self.heads.entry(block).or_insert_with(share);
        let before = self.reached.range(..=number).next_back();
        if before.is_none_or(|(_, before)| before.head.block < block) {
            remove_while(&mut self.reached, |map| {
                map.range(number..).next().filter(|(_, after)| after.head.block <= block).map(|(n, _)| *n)
            });
            self.reached.insert(number, share());
        }
        if let Some(Fresh { tail_block, tail_roster, .. }) = statement.fresh {
            let after = self.tails.range(number..).next();
            if after.is_none_or(|(_, (after, _))| *after > tail_block) {
                remove_while(&mut self.tails, |map| {
                    let before = map.range(..number).next_back();
                    before.filter(|(_, (before, _))| *before >= tail_block).map(|(n, _)| *n)
                });
                self.tails.insert(number, (tail_block, share()));
            }
            let named = self.rosters.entry(tail_roster).or_insert_with(share);
            if named.number < number {
                *named = share();
            }
        }
        bound(&mut self.numbers, kept_max);
        bound(&mut self.heads, kept_max);
        bound(&mut self.reached, kept_max);
        bound(&mut self.tails, kept_max);
        bound(&mut self.rosters, kept_max);
    }
}

/// Removes what `next` names until it names nothing.
fn remove_while<V>(map: &mut BTreeMap<Number, V>, next: impl Fn(&BTreeMap<Number, V>) -> Option<Number>) {
    while let Some(number) = next(map) {
        map.remove(&number);
    }
}

/// Drops the first beyond `kept_max`.
fn bound<K: Ord, V>(map: &mut BTreeMap<K, V>, kept_max: usize) {
    while map.len() > kept_max {
        map.pop_first();
    }
}
