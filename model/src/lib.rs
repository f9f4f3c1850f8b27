//! A model of the rules that make a check provably fresh, and searches for what they must rule out.
//!
//! Three models, each as small as its question:
//!
//! - [`raft`]: nodes that are honest but crash, lose what was not synced, are cut off, install snapshots and
//!   change membership. Searched for a quorum of statements over a nonce that are all below a block that was
//!   acknowledged before the nonce was made.
//! - [`clocks`]: clocks that are wrong, step and drift. Searched for permits past their end or before their
//!   start, and for checks that pass after a revocation's `dead_at`.
//! - [`lying`]: one node that signs whatever it likes. Searched exhaustively, for stale proofs and for stale
//!   proofs that leave nothing to convict it by.
//!
//! In each, the rules are a struct of switches. [`sabotage`] has the table: with a rule switched off, the search
//! must find a counterexample, or it could not have found one with the rule on either.
//!
//! The models are pure and seeded: one seed, one outcome. They share no code with the nodes; what they check is
//! the rules, not their implementation.

#![expect(
    clippy::indexing_slicing,
    reason = "nodes are numbered below NODES_MAX and positions are in range by construction; in a model, a panic is a \
              finding"
)]

pub mod clocks;
pub mod lying;
pub mod node_set;
pub mod raft;
pub mod random;
pub mod sabotage;
