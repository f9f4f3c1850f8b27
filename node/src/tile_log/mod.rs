//! The log for whoever does not trust this node: tiles, entries and cosigned checkpoints over plain HTTP, as
//! c2sp.org/tlog-tiles has them, for tools that others wrote.
//!
//! What is served says nothing that a reader must believe. A checkpoint counts by the cosignatures of a quorum, each of
//! which a node makes of the log that it applied itself, and, if the reader demands it, of witnesses; tiles and entries
//! count by the checkpoint's root.

mod callers;
mod checkpoints;
mod routes;
mod server;
mod witnesses;

#[cfg(test)]
mod tests;

pub use checkpoints::{Checkpoints, Published, checkpoint_of};
pub use server::TileServer;
pub use witnesses::{WitnessBook, Witnessed, Witnesses};
