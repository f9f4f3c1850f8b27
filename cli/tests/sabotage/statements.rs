//! What nodes signed, held against itself.

use std::collections::BTreeMap;

use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_ledger::head::{Head, Number, Roster, Statement};

/// The checker's name.
pub(crate) const NAME: &str = "statements";

/// Demands of statements, in any order, that of one block there is one head, whoever signed it; that none shows a
/// head beyond its own log; that no number is used twice; and that no node, by the order of its numbers, states
/// a log that ends before a head that it signed. Those that their node did not sign are left out.
pub(crate) fn judge(roster: &Roster, statements: &[Statement]) -> Finding {
    let signed: Vec<&Statement> = statements
        .iter()
        .filter(|one| roster.voter(one.node).is_some_and(|voter| one.verify(voter).is_ok()))
        .collect();
    let examined = signed.len() as u64;
    let verdict = match contradiction(&signed) {
        None => Verdict::Valid,
        Some(what) => Verdict::Violation { checker: NAME, what, operations: Vec::new() },
    };
    Finding { checker: NAME, examined, verdict }
}

fn contradiction(statements: &[&Statement]) -> Option<String> {
    let mut heads: BTreeMap<u64, (u64, Head)> = BTreeMap::new();
    let mut numbers: BTreeMap<(u64, Number), &Statement> = BTreeMap::new();
    for one in statements {
        let Statement { node, head, .. } = **one;
        let (other, first) = *heads.entry(head.block).or_insert((node, head));
        if first != head {
            return Some(format!("nodes {other} and {node} signed two heads of block {}", head.block));
        }
        if let Some(fresh) = one.fresh.filter(|fresh| fresh.tail_block < head.block) {
            let (tail, head) = (fresh.tail_block, head.block);
            return Some(format!("node {node} signed the head of block {head} with a log up to {tail}"));
        }
        if numbers.insert((node, one.number), one).is_some_and(|earlier| earlier != *one) {
            return Some(format!("node {node} used number {:?} twice", one.number));
        }
    }
    let mut signed: BTreeMap<u64, u64> = BTreeMap::new();
    for ((node, number), one) in numbers {
        let highest = signed.entry(node).or_default();
        if let Some(fresh) = one.fresh.filter(|fresh| fresh.tail_block < *highest) {
            let tail = fresh.tail_block;
            return Some(format!(
                "node {node} states at {number:?} a log up to {tail}, after the head of block {highest}"
            ));
        }
        *highest = one.head.block.max(*highest);
    }
    None
}
