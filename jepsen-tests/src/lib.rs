//! Faults on real Chancery clusters, and the checkers that judge what they did.
//!
//! The nodes are the real program, `chancery node`, as processes of their own. Nothing here depends on the
//! node's code: what a checker believes comes from the clients' histories and from signed bytes alone.

pub mod checkers;
pub mod edn;
pub mod history;
