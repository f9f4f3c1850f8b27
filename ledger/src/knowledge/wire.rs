//! Knowledge on the wire, as a request and a command carry it.

use prost::Message;

use super::{Item, Knowledge, Placed, SHOWN_ITEMS_MAX};
use crate::command::{MalformedCommand, Name, decode_strict};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

/// Longest encoding: 16 items of the longest names, each with a path of 12 hashes.
const KNOWLEDGE_SIZE_BYTES_MAX: usize = 16 * 1024;

impl Knowledge {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        knowledge_to_wire(self).encode_to_vec()
    }

    /// Decodes a canonical message, of which everything that is shown is there.
    ///
    /// # Errors
    /// It is malformed, or something is not there.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedCommand> {
        knowledge_from_wire(decode_strict::<wire::Knowledge>(bytes, KNOWLEDGE_SIZE_BYTES_MAX)?)
    }
}

pub(crate) fn knowledge_to_wire(knowledge: &Knowledge) -> wire::Knowledge {
    let item = |item: &Item| wire::KnowledgeItem {
        source: item.source.to_string(),
        digest: item.digest.0.to_vec(),
        retrieved_at_ms: item.retrieved_at_ms,
    };
    let placed = |placed: &Placed| wire::ShownItem {
        item: Some(item(&placed.item)),
        index: placed.index,
        path: placed.path.iter().map(|hash| hash.0.to_vec()).collect(),
    };
    wire::Knowledge {
        root: knowledge.root().0.to_vec(),
        count: knowledge.count(),
        shown: knowledge.shown().iter().map(placed).collect(),
    }
}

/// Whatever is shown is there, or it is malformed.
pub(crate) fn knowledge_from_wire(w: wire::Knowledge) -> Result<Knowledge, MalformedCommand> {
    if w.shown.len() > SHOWN_ITEMS_MAX {
        return Err(MalformedCommand::OutOfBounds("shown items"));
    }
    let hash = |bytes: &[u8]| Hash::from_slice(bytes).ok_or(MalformedCommand::Length("knowledge hash"));
    let placed = |w: wire::ShownItem| {
        let item = w.item.ok_or(MalformedCommand::Missing("a shown item"))?;
        let source = Name::new(item.source);
        let item = Item {
            source: source.map_err(|source| MalformedCommand::Name { field: "source", source })?,
            digest: hash(&item.digest)?,
            retrieved_at_ms: item.retrieved_at_ms,
        };
        let path = w.path.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?;
        Ok::<_, MalformedCommand>(Placed { item, index: w.index, path })
    };
    let root = hash(&w.root)?;
    let shown = w.shown.into_iter().map(placed).collect::<Result<_, _>>()?;
    Ok(Knowledge::new(root, w.count, shown)?)
}
