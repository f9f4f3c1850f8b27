//! What each operation's floor consists of, at three nodes, a quorum of two of them.
//!
//! A floor has every signature, verification, hash, synced write and message that the operation's guarantees demand, each
//! at what it costs when it is done alone or, for messages, by as many callers as the operation has. What is done once for
//! several operations (a round, a block) counts by how many shared it when Chancery was measured. Decoding, deciding, the
//! database, Raft, locks and threads are not in it.

use serde::{Deserialize, Serialize};

use super::units::Units;
use crate::workloads::batching::Batching;

/// Where something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Side {
    /// On any of the nodes.
    Node,
    /// In the client.
    Client,
}

/// One kind of thing that an operation cannot do without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    pub(crate) what: &'static str,
    pub(crate) side: Side,
    /// How often, for one operation.
    pub(crate) count: f64,
    /// CPU time of each, in microseconds.
    pub(crate) each_us: f64,
}

/// The floor of one operation.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Floor {
    pub(crate) items: Vec<Item>,
}

/// CPU time of a message and its answer, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CallCost {
    pub(crate) node_us: f64,
    pub(crate) client_us: f64,
}

/// What messages cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// A unary call with a question and an answer of their sizes.
    pub(crate) check: CallCost,
    /// The same on an open stream.
    pub(crate) streamed_check: CallCost,
    /// A unary call with a command and a receipt of their sizes.
    pub(crate) write: CallCost,
    /// A message of a node to another and its answer, on an open stream; both ends are nodes.
    pub(crate) between_nodes: CallCost,
}

/// What an answer shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerShape {
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    /// Those of them that are the pruned tree.
    pub(crate) tree_bytes: usize,
    /// Inner nodes of the pruned tree, each hashed once.
    pub(crate) inner_nodes: usize,
    /// Its leaves.
    pub(crate) leaves: usize,
    /// Bytes of their values.
    pub(crate) value_bytes: usize,
    /// Signatures that prove it.
    pub(crate) signatures: usize,
}

impl AnswerShape {
    /// What is left of it where the client keeps the tree: in a session, while nothing is written.
    pub(crate) fn without_tree(self) -> Self {
        let reply_bytes = self.reply_bytes.saturating_sub(self.tree_bytes);
        Self { reply_bytes, tree_bytes: 0, inner_nodes: 0, leaves: 0, value_bytes: 0, ..self }
    }
}

/// What a command and its receipt are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriteShape {
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    /// Hashes from its leaf to the log's root.
    pub(crate) inclusion_hashes: usize,
    /// Bytes of its leaf.
    pub(crate) leaf_bytes: usize,
}

/// Nodes of a quorum of three.
const QUORUM: f64 = 2.0;

const NODES: f64 = 3.0;

impl Floor {
    /// CPU time on one side, in microseconds.
    pub(crate) fn cpu_us(&self, side: Side) -> f64 {
        self.items.iter().filter(|item| item.side == side).map(|item| item.count * item.each_us).sum()
    }

    /// CPU time in all, in microseconds.
    pub(crate) fn total_us(&self) -> f64 {
        self.cpu_us(Side::Node) + self.cpu_us(Side::Client)
    }

    fn add(&mut self, side: Side, what: &'static str, count: f64, each_us: f64) {
        self.items.push(Item { what, side, count, each_us });
    }

    fn call(&mut self, what: &'static str, count: f64, cost: CallCost) {
        self.add(Side::Node, what, count, cost.node_us);
        self.add(Side::Client, what, count, cost.client_us);
    }

    /// A proven linearizable check whose question and answer are carried by so many messages of a kind.
    ///
    /// The node that serves it tells one other a round's root and gets its statement: a quorum of two signs, and the
    /// serving node verifies the other's. The nonces of a round are a tree: for each a leaf and, in all, one inner node. The
    /// client makes the same hashes on its way up, hashes the pruned tree, and verifies two statements, once for all
    /// checks of its connection in that round. That the state is read and cut costs no hash: they are stored.
    pub(crate) fn check(
        units: &Units,
        (what, times, carried): (&'static str, f64, CallCost),
        between_nodes: CallCost,
        batching: &Batching,
        shape: &AnswerShape,
    ) -> Self {
        let mut floor = Self::default();
        let round = share(batching.per_batch);
        let connection = share(batching.per_batch_and_connection);
        floor.call(what, times, carried);
        floor.add(Side::Node, "signatures under a round, of a quorum", QUORUM * round, units.sign_us);
        floor.add(Side::Node, "verification of the other's, by the node that serves", round, units.verify_us);
        floor.add(
            Side::Node,
            "message to the other node, both ends",
            round,
            between_nodes.node_us + between_nodes.client_us,
        );
        floor.add(
            Side::Node,
            "hashes of nonces: the question, its leaf, an inner node",
            5.0,
            units.node_hash_us,
        );
        floor.add(
            Side::Client,
            "verifications of a round's statements",
            QUORUM * connection,
            units.verify_us,
        );
        let path = batching.per_batch.max(1.0).log2().ceil();
        floor.add(Side::Client, "hashes up to the round's root", path + 3.0, units.node_hash_us);
        floor.add(
            Side::Client,
            "hashes of the pruned tree: inner nodes and leaves",
            count(shape.inner_nodes + shape.leaves),
            units.node_hash_us,
        );
        floor.add(
            Side::Client,
            "KiB of its values hashed",
            count(shape.value_bytes) / 1024.0,
            units.hash_kib_us,
        );
        floor
    }

    /// Verifying one answer that shares its round with none: its statements, the way from the nonce to the round's root, and
    /// the pruned tree.
    pub(crate) fn answer(units: &Units, shape: &AnswerShape) -> Self {
        let mut floor = Self::default();
        floor.add(Side::Client, "verifications of statements", count(shape.signatures), units.verify_us);
        floor.add(Side::Client, "hashes of the question and up to the round's root", 3.0, units.node_hash_us);
        floor.add(
            Side::Client,
            "hashes of the pruned tree: inner nodes and leaves",
            count(shape.inner_nodes + shape.leaves),
            units.node_hash_us,
        );
        floor.add(
            Side::Client,
            "KiB of its values hashed",
            count(shape.value_bytes) / 1024.0,
            units.hash_kib_us,
        );
        floor
    }

    /// A command: granted, revoked or decided, and acknowledged with a receipt.
    ///
    /// The client signs; each of three nodes verifies once, before it applies. A block has the proposer's signature, which
    /// two followers verify; it goes to both, and each of three writes and syncs it. A quorum of two signs its head, the
    /// leader verifies the other's. Each node hashes the leaf and its share of the log's tree. The client verifies
    /// the two signatures on the head, once for all of its connection's commands in that block, and hashes its way up. Each
    /// node hashes the nodes of the state tree that the command makes, of which blocks of the same size make so many
    /// (`micro::state_tree` counts them).
    pub(crate) fn write(
        units: &Units,
        calls: &Calls,
        batching: &Batching,
        (shape, tree_nodes): (&WriteShape, f64),
    ) -> Self {
        let mut floor = Self::default();
        let block = share(batching.per_batch);
        let connection = share(batching.per_batch_and_connection);
        let signature = share(batching.per_signature);
        floor.call("unary call: command and receipt", 1.0, calls.write);
        floor.add(Side::Client, "signature of the command", signature, units.sign_us);
        floor.add(
            Side::Node,
            "verification of the command, on each node",
            NODES * signature,
            units.verify_us,
        );
        floor.add(Side::Node, "signature of the block", block, units.sign_us);
        floor.add(Side::Node, "verification of it, on two nodes", QUORUM * block, units.verify_us);
        let message = calls.between_nodes.node_us + calls.between_nodes.client_us;
        floor.add(Side::Node, "messages to two nodes, both ends", QUORUM * block, message);
        floor.add(Side::Node, "synced writes", NODES * block, units.sync_us);
        floor.add(Side::Node, "signatures under the head, of a quorum", QUORUM * block, units.sign_us);
        floor.add(Side::Node, "verification of the other's, by the leader", block, units.verify_us);
        let leaf = count(shape.leaf_bytes) / 1024.0;
        floor.add(Side::Node, "KiB of leaves hashed, on each node", NODES * leaf, units.hash_kib_us);
        floor.add(Side::Node, "hashes of the log's tree, on each node", NODES, units.node_hash_us);
        floor.add(
            Side::Node,
            "hashes of the state tree, on each node",
            NODES * tree_nodes,
            units.node_hash_us,
        );
        floor.add(
            Side::Client,
            "verifications of the head's signatures",
            QUORUM * connection,
            units.verify_us,
        );
        floor.add(Side::Client, "KiB of the leaf hashed", leaf, units.hash_kib_us);
        floor.add(
            Side::Client,
            "hashes up to the log's root",
            count(shape.inclusion_hashes),
            units.node_hash_us,
        );
        floor
    }
}

/// What one of so many has of what is done once for all.
pub(crate) fn share(by: f64) -> f64 {
    1.0 / by.max(1.0)
}

#[allow(clippy::cast_precision_loss, reason = "what one answer has")]
fn count(n: usize) -> f64 {
    n as f64
}
