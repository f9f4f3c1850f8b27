//! Contradictions: a liar is convicted by its own signatures, an honest node never is, whatever happens to it.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../house/mod.rs"]
mod house;

mod honest_node;
mod kinds;
mod never_honest;
mod tampered;

use chancery_ledger::evidence::{Contradiction, Message};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, Number, RosterId, Statement};
use house::{House, key, voter};

/// Signs as `node`.
fn sign(node: u64, number: (u64, u64), fresh: Option<Fresh>, head: Head) -> Statement {
    let number = Number { epoch: number.0, counter: number.1 };
    Statement::sign(&voter(node), &key(&format!("node-{node}")), number, fresh, head)
}

/// What a log that ends at `tail_block` under `tail_roster` lets a node say.
fn fresh(tail_block: u64, tail_roster: RosterId) -> Option<Fresh> {
    Some(Fresh { nonce_root: Hash::of(&[b"a round"]), clock_ms: 1, tail_block, tail_roster })
}

fn pair(house: &House, a: impl Into<Message>, b: impl Into<Message>) -> Option<Contradiction> {
    let (a, b) = (a.into(), b.into());
    let found = Contradiction::find(&house.trust, &a, &b);
    assert_eq!(found, Contradiction::find(&house.trust, &b, &a), "the order does not matter");
    found
}
