//! All that nodes ever signed, against one another and against the log.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use chancery_ledger::answer::decode_answer;
use chancery_ledger::authority::Entry;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Number, Roster, RosterId, Statement};
use chancery_ledger::log::{Frontier, leaf_hash};

use super::proofs::bytes_of;
use super::{Finding, Verdict};
use crate::history::Proof;

/// The checker's name.
pub const NAME: &str = "heads";

/// Demands of every statement that its node signed, whatever came of it:
///
/// * one head for each block; size, time and roster of heads never fall from block to block;
/// * the log root at each size is that of the final log, so that all pairs are consistent by RFC 6962, and the
///   state root is the one in the STATE leaf there;
/// * a node never signs two things under one number, and what it says of its log (last block, roster) is never below
///   a head that it signed under an earlier number, nor below the head that it signs with it.
///
/// `rosters` are all that were ever in force; a statement of a node in none of them is inconclusive. One whose
/// signature is not the node's says nothing of the node, and is left out. `log` is the final log, every leaf.
pub fn check<'a>(
    rosters: &[Roster],
    log: &[Vec<u8>],
    proofs: impl IntoIterator<Item = &'a Proof>,
) -> Finding {
    let mut published = Published { rosters, heads: BTreeMap::new(), statements: BTreeMap::new() };
    let judged = published.read(proofs).and_then(|()| published.judge(log));
    let examined = published.statements.values().map(BTreeMap::len).sum();
    Finding::of(NAME, examined, judged)
}

/// What nodes signed.
struct Published<'a> {
    rosters: &'a [Roster],
    /// By block.
    heads: BTreeMap<u64, Head>,
    /// By node and number.
    statements: BTreeMap<u64, BTreeMap<Number, Said>>,
}

/// The part of a statement that binds its node later.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    tail: Option<(u64, RosterId)>,
    head_block: u64,
    head_roster: u64,
    digest: Hash,
}

fn violation(what: String) -> Verdict {
    Verdict::violation(NAME, what, &[])
}

impl Published<'_> {
    fn read<'a>(&mut self, proofs: impl IntoIterator<Item = &'a Proof>) -> Result<(), Verdict> {
        let malformed = |what: &str| Verdict::Inconclusive { why: format!("a kept {what} cannot be read") };
        for proof in proofs {
            match proof {
                Proof::Answer { answer, .. } => {
                    let bytes = bytes_of(answer).ok_or_else(|| malformed("answer"))?;
                    let answer = decode_answer(&bytes, bytes.len()).map_err(|_| malformed("answer"))?;
                    for statement in answer.statements.iter().chain(&answer.head_statements) {
                        self.add(statement)?;
                    }
                }
                Proof::Receipt { statements, .. } => {
                    for statement in statements {
                        self.add(&decode(statement).ok_or_else(|| malformed("receipt"))?)?;
                    }
                }
                Proof::Statement { statement } => {
                    self.add(&decode(statement).ok_or_else(|| malformed("statement"))?)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, statement: &Statement) -> Result<(), Verdict> {
        let (node, number, head) = (statement.node, statement.number, statement.head);
        let Some(voter) = self.rosters.iter().find_map(|roster| roster.voter(node)) else {
            return Err(Verdict::Inconclusive { why: format!("node {node} is in none of the rosters") });
        };
        let said = Said {
            tail: statement.fresh.map(|fresh| (fresh.tail_block, fresh.tail_roster)),
            head_block: head.block,
            head_roster: head.roster.block,
            digest: Hash::of(&[&statement.encode()]),
        };
        // The same statement comes in many answers; its signature is verified once.
        let earlier = self.statements.get(&node).and_then(|of_node| of_node.get(&number));
        if earlier == Some(&said) || statement.verify(voter).is_err() {
            return Ok(());
        }
        if earlier.is_some() {
            return Err(violation(format!("node {node} signed two things under number {number:?}")));
        }
        self.statements.entry(node).or_default().insert(number, said);
        match self.heads.entry(head.block) {
            Slot::Vacant(slot) => {
                slot.insert(head);
                Ok(())
            }
            Slot::Occupied(slot) if *slot.get() == head => Ok(()),
            Slot::Occupied(slot) => {
                let (other, block) = (slot.get(), head.block);
                Err(violation(format!("block {block} has two heads, {other:?} and {head:?} of node {node}")))
            }
        }
    }

    fn judge(&self, log: &[Vec<u8>]) -> Result<(), Verdict> {
        for (node, statements) in &self.statements {
            never_un_know(*node, statements)?;
        }
        self.heads_only_grow()?;
        self.are_of(log)
    }

    fn heads_only_grow(&self) -> Result<(), Verdict> {
        for (earlier, later) in self.heads.values().zip(self.heads.values().skip(1)) {
            let fell = later.ledger != earlier.ledger
                || later.log_size < earlier.log_size
                || later.time_ms < earlier.time_ms
                || later.roster.block < earlier.roster.block;
            if fell {
                return Err(violation(format!("the head {later:?} falls behind the earlier {earlier:?}")));
            }
        }
        Ok(())
    }

    /// Demands that each head is that of a prefix of `log`.
    fn are_of(&self, log: &[Vec<u8>]) -> Result<(), Verdict> {
        let mut frontier = Frontier::new();
        let mut leaves = log.iter();
        let mut last = None;
        // Sizes never fall from block to block.
        for head in self.heads.values() {
            while frontier.size() < head.log_size {
                let Some(leaf) = leaves.next() else {
                    let (block, size) = (head.block, frontier.size());
                    let what = format!("the head of block {block} is of a log longer than the final {size}");
                    return Err(violation(what));
                };
                frontier.append(leaf_hash(leaf));
                last = Some(leaf);
            }
            if frontier.root() != head.log_root {
                return Err(violation(format!("the head of block {} is not of the final log", head.block)));
            }
            let Some(Ok(Entry::State { block, time_ms, state_root, rules_version, .. })) =
                last.map(|leaf| Entry::decode(leaf))
            else {
                return Err(violation(format!("the head of block {} ends at no STATE leaf", head.block)));
            };
            let fits = (time_ms, state_root, rules_version)
                == (head.time_ms, head.state_root, head.rules_version)
                && block <= head.block;
            if !fits {
                return Err(violation(format!("the head of block {} is not its STATE leaf's", head.block)));
            }
        }
        Ok(())
    }
}

/// Rules 1, 4 and 11: what a node says of its log is never below a head that it has signed under an earlier number,
/// nor below its own head. It may fall otherwise: what was never committed can be cut from a log's end.
fn never_un_know(node: u64, statements: &BTreeMap<Number, Said>) -> Result<(), Verdict> {
    let (mut block_min, mut roster_min) = (0, 0);
    for (number, said) in statements {
        block_min = block_min.max(said.head_block);
        roster_min = roster_min.max(said.head_roster);
        let Some((block, roster)) =
            said.tail.filter(|(block, roster)| *block < block_min || roster.block < roster_min)
        else {
            continue;
        };
        let what = format!(
            "node {node} says under {number:?} that its log ends at block {block} under the roster of block {}, \
             but it had signed a head of block {block_min} under the roster of block {roster_min}",
            roster.block
        );
        return Err(violation(what));
    }
    Ok(())
}

fn decode(hex: &str) -> Option<Statement> {
    Statement::decode(&bytes_of(hex)?).ok()
}
