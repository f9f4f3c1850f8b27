//! What can happen.

use crate::node_set::NodeSet;

/// One step of the world. A step that cannot be taken as things stand does nothing.
///
/// Every choice is in the event, so that a list of events is a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// `node` stands for election and asks `voters`, of whom those answer that it reaches.
    Elect {
        /// The candidate.
        node: usize,
        /// Who hears of it.
        voters: NodeSet,
    },
    /// A leader appends a block.
    Append {
        /// The leader.
        node: usize,
    },
    /// A leader appends the joint roster of a change to `voters`.
    ProposeRoster {
        /// The leader.
        node: usize,
        /// The voters after the change.
        voters: NodeSet,
    },
    /// A leader appends the uniform roster that ends a joint one.
    FinishRoster {
        /// The leader.
        node: usize,
    },
    /// A leader sends what follows the last common entry, at most `entries_max` entries.
    Replicate {
        /// The leader.
        from: usize,
        /// The follower.
        to: usize,
        /// Most entries in the message.
        entries_max: usize,
    },
    /// A leader that has purged what a follower needs sends its snapshot.
    SendSnapshot {
        /// The leader.
        from: usize,
        /// The follower.
        to: usize,
    },
    /// A node syncs its log; acknowledgements that waited for it are sent.
    Flush {
        /// The node.
        node: usize,
    },
    /// The newest acknowledgement on its way from a follower to a leader arrives.
    Acknowledge {
        /// The follower.
        from: usize,
        /// The leader.
        to: usize,
    },
    /// That acknowledgement is lost.
    LoseAcknowledgement {
        /// The follower.
        from: usize,
        /// The leader.
        to: usize,
    },
    /// A node applies committed entries, at most `entries_max`.
    Apply {
        /// The node.
        node: usize,
        /// Most entries.
        entries_max: usize,
    },
    /// A node makes its applied state durable as a snapshot.
    TakeSnapshot {
        /// The node.
        node: usize,
    },
    /// A node purges its log up to its snapshot.
    Purge {
        /// The node.
        node: usize,
    },
    /// A node takes the next step of installing a received snapshot: truncate a conflicting log, replace the
    /// applied state, purge the log.
    Install {
        /// The node.
        node: usize,
    },
    /// A node loses its power, and with it what was not synced, or not all of it.
    PowerCut {
        /// The node.
        node: usize,
        /// Whether the unsynced log reached the disk all the same.
        log_survives: bool,
        /// How many unsynced applied entries reached the disk.
        applied_survives: usize,
    },
    /// A node that was down starts.
    Start {
        /// The node.
        node: usize,
    },
    /// From now on messages pass only within `side`, and within the rest.
    Partition {
        /// One side; all nodes, or none: no partition.
        side: NodeSet,
    },
    /// A client makes a nonce and shows it to everyone.
    MakeNonce,
    /// A node signs a statement over every nonce that there is.
    Sign {
        /// The node.
        node: usize,
    },
    /// A node's watch channel catches up with its log. Matters only where the roster is read from it.
    UpdateWatch {
        /// The node.
        node: usize,
    },
}
