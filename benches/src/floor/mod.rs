//! The floor: what an operation cannot do without, measured by the same program in the same turns.

pub(crate) mod calls;
pub(crate) mod composed;
mod raw;
pub(crate) mod server;
pub(crate) mod units;

use crate::system::NODES;

/// Which node a connection goes to: they are spread over all of them.
pub(crate) fn node_of(connection: usize) -> u16 {
    let node = connection % usize::from(NODES) + 1;
    // INVARIANT: no more than there are nodes.
    u16::try_from(node).unwrap_or(1)
}
