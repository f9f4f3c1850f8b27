//! The audit of a log by somebody who trusts nobody: from what is published, and a trust file.
//!
//! Everything is hashed, every signature verified, and every state made again; what does not come out the same is a
//! finding, with the index of the leaf, what was expected and what was found.

pub mod engine;
pub mod finding;
