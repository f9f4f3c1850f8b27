//! Indices and blocks against the clients' clock.

use std::collections::HashMap;

use super::real_order::{Done, Item};
use super::{Finding, Leaves, Verdict};
use crate::history::{Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "real-time";

/// Demands that the log's order never contradicts the clients' clock. Whatever block a client had proof of when
/// something began:
///
/// * a command that began then is in a later block, and at a later index than every command acknowledged by then;
/// * a check that began then is decided from that block or a later one.
///
/// A command that is in the log though its outcome is unknown is bound likewise, by when it was first sent. An
/// acknowledgement that shows another command, of the same effect, bounds only what comes after it.
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    Finding::of(NAME, operations.len(), judge(operations, leaves))
}

fn judge(operations: &[Operation], leaves: &Leaves) -> Result<(), Verdict> {
    let returned = |one: &Operation, value: u64| {
        one.returned_us.map(|returned_us| Item { returned_us, value, operation: one.id })
    };
    let blocks = operations.iter().filter_map(|one| match one.outcome {
        Outcome::Acknowledged { block, .. }
        | Outcome::Permitted { block, .. }
        | Outcome::Denied { block, .. } => returned(one, block),
        _ => None,
    });
    let indices = operations.iter().filter_map(|one| match one.outcome {
        Outcome::Acknowledged { index, .. } => returned(one, index),
        _ => None,
    });
    let (blocks, indices) = (Done::new(blocks.collect()), Done::new(indices.collect()));

    for (began, index, block) in commands(operations, leaves) {
        let (id, invoked_us) = (began.id, began.invoked_us);
        if let Some(known) = blocks.before(invoked_us).filter(|known| known.value >= block) {
            let what = format!("a command is in block {block}, but block {} was there before", known.value);
            return Err(Verdict::violation(NAME, what, &[known.operation, id]));
        }
        if let Some(known) = indices.before(invoked_us).filter(|known| known.value >= index) {
            let what = format!("a command is at index {index}, but index {} was there before", known.value);
            return Err(Verdict::violation(NAME, what, &[known.operation, id]));
        }
    }
    for check in operations {
        let (Outcome::Permitted { block, .. } | Outcome::Denied { block, .. }) = &check.outcome else {
            continue;
        };
        if let Some(known) = blocks.before(check.invoked_us).filter(|known| known.value > *block) {
            let what =
                format!("a check is decided from block {block}, after block {} was shown", known.value);
            return Err(Verdict::violation(NAME, what, &[known.operation, check.id]));
        }
    }
    Ok(())
}

/// Every command in the log that clients gave: the operation that gave it first, its index and its block.
fn commands<'a>(
    operations: &'a [Operation],
    leaves: &'a Leaves,
) -> impl Iterator<Item = (&'a Operation, u64, u64)> {
    let mut first: HashMap<&str, &Operation> = HashMap::new();
    for operation in operations {
        let Some(command) = &operation.command else { continue };
        let earliest = first.entry(command).or_insert(operation);
        if operation.invoked_us < earliest.invoked_us {
            *earliest = operation;
        }
    }
    first.into_iter().filter_map(|(command, operation)| {
        let leaf = leaves.of_command(command)?;
        Some((operation, leaf.index, leaf.block))
    })
}
