//! Head statements over a Raft log: honest nodes, hostile circumstances.
//!
//! Raft with joint membership changes, snapshots, power cuts that lose what was not synced, and partitions. A
//! block's number is the position of its entry in the log. A block counts as acknowledged the moment that a
//! leader commits it, which is earlier than in Chancery and so the stricter question.
//!
//! What happens is a list of [`Event`]s: scripted ([`schedules`]), random ([`search`]), or random around a script.

mod entry;
mod event;
mod node;
mod power;
mod replication;
mod rules;
pub mod schedules;
pub mod search;
mod snapshot;
mod statement;
mod world;

pub use entry::{Content, Entry, Roster};
pub use event::Event;
pub use node::Node;
pub use rules::{NamedRoster, Rules, Tail};
pub use statement::{Nonce, Statement};
pub use world::{Violation, World};
