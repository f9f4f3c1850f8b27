//! Nothing lost, nothing twice: the final log against what clients were told.

use std::collections::{HashMap, HashSet};

use chancery_ledger::command::Body;

use super::{Finding, Leaf, Leaves, Verdict};
use crate::history::{Call, Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "log";

/// Demands that each acknowledged command is in the log at the index and in the block that its client was told,
/// that nothing refused or not done is, and that no client's command is there that no client gave.
///
/// That a command is there twice is found by [`Leaves::read`] already. A command whose outcome is unknown may be
/// there or not. The same bytes given in two operations count as done if either was acknowledged.
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    Finding::of(NAME, operations.len(), judge(operations, leaves))
}

fn judge(operations: &[Operation], leaves: &Leaves) -> Result<(), Verdict> {
    // Given in one operation that failed for certain, and in another that did not: it may be there.
    let mut maybe: HashMap<&str, bool> = HashMap::new();
    for operation in operations {
        if let Some(command) = &operation.command {
            let surely_not = matches!(operation.outcome, Outcome::NotDone { .. } | Outcome::Refused { .. });
            *maybe.entry(command).or_default() |= !surely_not;
        }
    }
    for operation in operations {
        let id = operation.id;
        let wrong = |what: String| Err(Verdict::violation(NAME, what, &[id]));
        let command = match (&operation.call, &operation.command) {
            (Call::Check { .. }, None) => continue,
            (Call::Check { .. }, Some(_)) => return wrong("a check that is a command".into()),
            (_, None) => {
                let why = format!("operation {id} does not say which command it gave");
                return Err(Verdict::Inconclusive { why });
            }
            (_, Some(command)) => command,
        };
        let own = leaves.of_command(command);
        if let Some(leaf) = own.filter(|leaf| !leaves.says(leaf, &operation.call)) {
            return wrong(format!("leaf {} says something else than what was asked for", leaf.index));
        }
        match (&operation.outcome, own) {
            (Outcome::Acknowledged { index, block, before, .. }, own) => {
                let told = |leaf: &&Leaf| (leaf.index, leaf.block) == (*index, *block);
                let another =
                    || leaves.at(*index).filter(|leaf| *before && has_effect(leaf, &operation.call));
                match own {
                    Some(leaf) if told(&leaf) => {}
                    Some(leaf) => return wrong(format!("told index {index}, is at {}", leaf.index)),
                    None if another().filter(told).is_some() => {}
                    None => return wrong(format!("acknowledged at index {index}, and lost")),
                }
            }
            (Outcome::NotDone { .. } | Outcome::Refused { .. }, Some(leaf))
                if maybe.get(command.as_str()) != Some(&true) =>
            {
                return wrong(format!("said to have no effect, but is leaf {}", leaf.index));
            }
            (Outcome::Permitted { .. } | Outcome::Denied { .. }, _) => {
                return wrong("a command with the outcome of a check".into());
            }
            _ => {}
        }
    }
    nothing_of_nobodys(operations, leaves)
}

/// Whether the leaf, of another command, left nothing to do for `call`.
fn has_effect(leaf: &Leaf, call: &Call) -> bool {
    match (&leaf.signed.command().body, call) {
        (Body::RevokeGrant { grant: earlier, .. }, Call::RevokeGrant { grant }) => {
            earlier.to_string() == *grant
        }
        (Body::Outcome(earlier), Call::Outcome { decision, kind, .. }) => {
            earlier.decision.to_string() == *decision && earlier.kind.name() == kind
        }
        (Body::Resume { halt: earlier, .. }, Call::Resume { halt, resumer }) => {
            earlier == halt && leaf.signed.command().signer.to_string() == *resumer
        }
        _ => false,
    }
}

fn nothing_of_nobodys(operations: &[Operation], leaves: &Leaves) -> Result<(), Verdict> {
    let given: HashSet<&str> = operations.iter().filter_map(|one| one.command.as_deref()).collect();
    let nobodys = leaves.commands().iter().find(|leaf| {
        let of_clients = matches!(
            leaf.signed.command().body,
            Body::RegisterAgent { .. }
                | Body::Grant { .. }
                | Body::Delegate { .. }
                | Body::RevokeGrant { .. }
                | Body::RevokeAgent { .. }
                | Body::Halt { .. }
                | Body::Resume { .. }
                | Body::Authorize(_)
                | Body::Outcome(_)
        );
        of_clients && !given.contains(leaf.hash.as_str())
    });
    match nobodys {
        Some(leaf) => {
            let what = format!("leaf {} is a command that no client gave", leaf.index);
            Err(Verdict::violation(NAME, what, &[]))
        }
        None => Ok(()),
    }
}
