//! Nodes that cosigned two logs, with both checkpoints side by side.

use chancery_ledger::checkpoint::Checkpoint;
use chancery_ledger::evidence::{Equivocation, Equivocator};
use serde_json::{Value, json};

use super::{Page, Table, style, utc};

/// Who is convicted, and by which two checkpoints.
pub(crate) fn equivocation(page: Page, equivocation: &Equivocation, guilty: &[Equivocator]) -> Page {
    let [first, second] = equivocation.checkpoints();
    let mut page = page;
    for Equivocator { voter, times_s: [one_s, other_s] } in guilty {
        let name = style::name(voter.name.as_str());
        page = page
            .field("who", format!("{name} (node {}), key {}", voter.node, voter.key))
            .field("cosigned", format!("the one at {}, the other at {}", utc_s(*one_s), utc_s(*other_s)));
    }
    let mut table = Table::new(&["", "the one", "the other"]);
    let row = |label: &str, one: String, other: String| [style::dim(label), one, other];
    table.row(row("leaves", first.size().to_string(), second.size().to_string()));
    table.row(row("root", style::warn(&first.root().to_string()), style::warn(&second.root().to_string())));
    if let Some(fork) = equivocation.fork() {
        let at = format!("root at {}", first.size());
        table.row(row(&at, style::warn(&first.root().to_string()), style::warn(&fork.root.to_string())));
    }
    page.table(table)
        .field(
            "verified",
            "here: no log has both, and who cosigns one says that it extends all that he cosigned before",
        )
        .field("not shown", "which of the two is the ledger's, and what was done with the other")
}

/// The same for machines.
pub(crate) fn equivocation_json(equivocation: &Equivocation, guilty: &[Equivocator]) -> Value {
    let node = |Equivocator { voter, times_s }: &Equivocator| {
        json!({
            "node": voter.node,
            "name": voter.name.as_str(),
            "public_key": voter.key.to_string(),
            "cosigned_s": times_s,
        })
    };
    let checkpoint =
        |checkpoint: &Checkpoint| json!({ "size": checkpoint.size(), "root": checkpoint.root().to_string() });
    json!({
        "outcome": "convicted",
        "charge": "equivocation",
        "nodes": guilty.iter().map(node).collect::<Vec<_>>(),
        "checkpoints": equivocation.checkpoints().map(checkpoint),
        "fork_root": equivocation.fork().map(|fork| fork.root.to_string()),
    })
}

fn utc_s(time_s: u64) -> String {
    utc(time_s.saturating_mul(1_000))
}
