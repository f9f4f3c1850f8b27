//! A convicted node, with both of its messages side by side.

use chancery_ledger::evidence::{Contradiction, Conviction, Message};
use serde_json::{Value, json};

use super::{Page, Table, head_json, short, style, utc};

/// What a message says, line by line.
type Facts = Vec<(&'static str, String)>;

/// Who is convicted, of what, and by which words. Lines that differ stand out.
pub(crate) fn conviction(page: Page, conviction: &Conviction, contradiction: &Contradiction) -> Page {
    let voter = &conviction.voter;
    let page = page
        .field(
            "who",
            format!("{} (node {}), key {}", style::name(voter.name.as_str()), voter.node, voter.key),
        )
        .field("signed", style::bad(&conviction.charge.to_string()));
    let messages: Vec<Facts> = contradiction.messages().map(facts).collect();
    let mut table = match messages.len() {
        1 => Table::new(&["", "the message"]),
        _ => Table::new(&["", "the earlier message", "the later message"]),
    };
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in messages.iter().flatten() {
        if !labels.contains(label) {
            labels.push(label);
        }
    }
    for label in labels {
        let said = |facts: &Facts| facts.iter().find(|(l, _)| *l == label).map(|(_, value)| value.clone());
        let values: Vec<Option<String>> = messages.iter().map(said).collect();
        let same = values.iter().all(|value| value.as_ref() == values.first().and_then(Option::as_ref));
        let shown = values.iter().map(|value| match value {
            Some(value) if same => value.clone(),
            Some(value) => style::warn(value),
            None => style::dim("-"),
        });
        table.row(std::iter::once(style::dim(label)).chain(shown));
    }
    page.table(table).field("verified", "here: the node's own signatures, and nobody's word")
}

/// The same for machines, without `outcome`.
pub(crate) fn conviction_json(conviction: &Conviction, contradiction: &Contradiction) -> Value {
    json!({
        "node": conviction.voter.node,
        "name": conviction.voter.name.as_str(),
        "public_key": conviction.voter.key.to_string(),
        "charge": conviction.charge.code(),
        "message": conviction.to_string(),
        "messages": contradiction.messages().map(message_json).collect::<Vec<_>>(),
    })
}

fn facts(message: &Message) -> Facts {
    match message {
        Message::Statement(statement) => {
            let head = &statement.head;
            let mut facts: Facts = vec![
                ("kind", if statement.fresh.is_some() { "fresh statement" } else { "signed head" }.into()),
                ("number", format!("{}.{}", statement.number.epoch, statement.number.counter)),
            ];
            if let Some(fresh) = &statement.fresh {
                facts.extend([
                    ("nonce root", short(&fresh.nonce_root)),
                    ("clock", utc(fresh.clock_ms)),
                    ("log ends at block", fresh.tail_block.to_string()),
                    (
                        "under roster",
                        format!("{} of block {}", short(&fresh.tail_roster.digest), fresh.tail_roster.block),
                    ),
                ]);
            }
            facts.extend([
                ("head of block", head.block.to_string()),
                ("head hash", short(&head.hash())),
                ("ledger time", utc(head.time_ms)),
                ("log size", head.log_size.to_string()),
                ("log root", short(&head.log_root)),
                ("state root", short(&head.state_root)),
                ("roster", format!("{} of block {}", short(&head.roster.digest), head.roster.block)),
                ("rules", head.rules_version.to_string()),
            ]);
            facts
        }
        Message::Block(block) => vec![
            ("kind", "proposed block".into()),
            ("term", block.term.to_string()),
            ("after block", short(&block.previous_hash)),
            ("block hash", short(&block.hash())),
            ("stamp", utc(block.stamp_ms)),
            ("head of block", block.head_block.to_string()),
            ("head hash", short(&block.head_hash)),
            ("commands", block.commands.len().to_string()),
        ],
    }
}

fn message_json(message: &Message) -> Value {
    match message {
        Message::Statement(statement) => {
            let mut value = json!({
                "kind": "statement",
                "epoch": statement.number.epoch,
                "counter": statement.number.counter,
                "head": head_json(&statement.head),
            });
            if let (Some(fields), Some(fresh)) = (value.as_object_mut(), &statement.fresh) {
                fields.insert("nonce_root".into(), json!(fresh.nonce_root.to_string()));
                fields.insert("clock_ms".into(), json!(fresh.clock_ms));
                fields.insert("tail_block".into(), json!(fresh.tail_block));
                fields.insert("tail_roster".into(), json!(fresh.tail_roster.to_string()));
            }
            value
        }
        Message::Block(block) => json!({
            "kind": "block",
            "term": block.term,
            "previous_hash": block.previous_hash.to_string(),
            "block_hash": block.hash().to_string(),
            "stamp_ms": block.stamp_ms,
            "head_block": block.head_block,
            "head_hash": block.head_hash.to_string(),
            "commands": block.commands.len(),
        }),
    }
}
