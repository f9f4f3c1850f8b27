//! Faults on real Chancery clusters, and the checkers that judge what they did.
//!
//! The nodes are the real program, `chancery node`, as processes of their own. Nothing here depends on the
//! node's code: what a checker believes comes from the clients' histories and from signed bytes alone.

pub mod checkers;
pub mod client;
pub mod cluster;
pub mod downtime;
pub mod edn;
pub mod fault;
pub mod follower;
pub mod history;
pub mod judge;
pub mod nemesis;
pub mod proxy;
pub mod recorder;
pub mod refused_proofs;
pub mod round;
pub mod run;
pub mod seed;
pub mod workload;
