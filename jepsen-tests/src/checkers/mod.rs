//! The judges of a history. Each says [`Valid`](Verdict::Valid) only of what it has looked at whole.
//!
//! * With our own indices and blocks as the witness, in n log n, whatever the length: [`log`] (nothing lost,
//!   nothing twice), [`real_time`] (indices and blocks against the clients' clock), [`replay`] (every check's
//!   result from the log up to its block), [`decisions`] (every recorded one from the log before it), [`bounds`]
//!   (never overspent, never exhausted too early) and [`halts`] (by the log, and by the clients' clock alone).
//! * Without them: [`linearizability`] searches an order that explains what clients saw, and [`porcupine`] has a
//!   program that others wrote do the same.
//! * [`following`] compares what followers of the log were told with the log.
//! * [`permits`] compares every permit with the acknowledged revocations; [`proofs`] verifies every answer again,
//!   from its bytes; [`heads`] holds all that nodes ever signed against one another and the log.

mod authority;
pub mod bounds;
pub mod decisions;
pub mod following;
pub mod halts;
pub mod heads;
mod leaves;
pub mod linearizability;
pub mod log;
pub mod permits;
pub mod porcupine;
pub mod proofs;
mod real_order;
pub mod real_time;
pub mod replay;
mod search;
mod spending;
mod verdict;

pub use leaves::{Leaf, Leaves};
pub use verdict::{Finding, Verdict};

use crate::history::{NodeLog, Operation};
use chancery_ledger::command::LedgerId;

/// The checkers that take our indices and blocks as the witness, and [`permits`]. If the logs differ or
/// are not logs, that is the one finding.
pub fn witnessed(ledger: LedgerId, operations: &[Operation], logs: &[NodeLog]) -> Vec<Finding> {
    match Leaves::read(ledger, logs) {
        Err(verdict) => vec![Finding { checker: log::NAME, examined: 0, verdict }],
        Ok(leaves) => vec![
            log::check(operations, &leaves),
            real_time::check(operations, &leaves),
            replay::check(operations, &leaves),
            decisions::check(operations, &leaves),
            bounds::check(&leaves),
            halts::check(operations, &leaves),
            permits::check(operations),
        ],
    }
}
