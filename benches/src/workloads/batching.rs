//! How much the operations of a run shared: the floor of an operation has its share of what is done once for several.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// How many of the latest rounds or blocks of a connection are remembered: answers come nearly in order.
const RECENT_MAX: usize = 32;

/// What the operations of a run shared, on average.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batching {
    /// Operations that one batch served: checks of a round, or commands of a block.
    pub(crate) per_batch: f64,
    /// The same, of those that came over one connection.
    pub(crate) per_batch_and_connection: f64,
    /// Commands that one signature covers.
    pub(crate) per_signature: f64,
}

/// Counts while a run goes on.
#[derive(Debug)]
pub(crate) struct Sharing {
    connections: Vec<Mutex<Connection>>,
}

#[derive(Debug, Default)]
struct Connection {
    recent: VecDeque<u64>,
    operations: u64,
    batches_seen: u64,
    /// Sum over the operations of one by how many were in their batch.
    batches: f64,
    looked_at: u64,
    /// The same for signatures, over the operations that were looked at for it.
    signatures: f64,
}

impl Sharing {
    /// Of as many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self { connections: (0..connections).map(|_| Mutex::default()).collect() }
    }

    /// One operation of the batch that `batch` names, which `size` shared, with `signed` under one signature if that was
    /// looked at.
    pub(crate) fn count(&self, caller: usize, batch: u64, size: f64, signed: Option<f64>) {
        let Some(connection) = self.connections.get(caller % self.connections.len().max(1)) else { return };
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.operations += 1;
        connection.batches += 1.0 / size.max(1.0);
        if let Some(signed) = signed {
            connection.looked_at += 1;
            connection.signatures += 1.0 / signed.max(1.0);
        }
        if connection.recent.iter().rev().any(|seen| *seen == batch) {
            return;
        }
        connection.batches_seen += 1;
        connection.recent.push_back(batch);
        if connection.recent.len() > RECENT_MAX {
            connection.recent.pop_front();
        }
    }

    /// What it came to, and begins again. `blocks` is how many blocks there were in all, where no operation says how many
    /// shared its own.
    pub(crate) fn take(&self, blocks: Option<u64>) -> Batching {
        let (mut operations, mut seen, mut batches, mut looked_at, mut signatures) = (0, 0, 0.0, 0, 0.0);
        for connection in &self.connections {
            let counted = std::mem::take(&mut *connection.lock().unwrap_or_else(PoisonError::into_inner));
            operations += counted.operations;
            seen += counted.batches_seen;
            batches += counted.batches;
            looked_at += counted.looked_at;
            signatures += counted.signatures;
        }
        #[allow(clippy::cast_precision_loss, reason = "operations of a few seconds")]
        let (operations, seen, looked_at) = (operations as f64, seen as f64, looked_at as f64);
        #[allow(clippy::cast_precision_loss, reason = "blocks of a few seconds")]
        let batches = blocks.map_or(batches, |blocks| blocks as f64);
        let per = |batches: f64| if batches > 0.0 { operations / batches } else { 0.0 };
        Batching {
            per_batch: per(batches),
            per_batch_and_connection: per(seen),
            per_signature: if signatures > 0.0 { looked_at / signatures } else { 1.0 },
        }
    }
}
